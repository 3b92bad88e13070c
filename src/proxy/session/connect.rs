//! Dialling for a CONNECT, as long as its client is there to wait.

use bytes::BytesMut;
use http::StatusCode;
use tokio::io::AsyncReadExt as _;

use super::{ClientIo, Connection, Dialled};
use crate::capture::Wire;
use crate::exchange::{Phase, Target, chain};
use crate::proxy::context::Responder;
use crate::proxy::room::Doing;
use crate::upstream::{DialError, Dialer, Journey, News};

/// What is said of a client that is gone before its connection is made.
pub(super) const GAVE_UP: &str = "the client gave up";

/// What a client may say before its tunnel is there, octets.
const AHEAD: usize = 64 * 1024;

impl Connection {
    /// The upstream for a CONNECT, `None` if there is none to be; where it ends with that, the
    /// client was told so, and this says why. What the client says meanwhile is added to `rest`.
    pub(super) async fn upstream_for(
        &self,
        (io, rest): (&mut ClientIo, &mut BytesMut),
        target: &Target,
        journey: &mut Journey,
    ) -> Result<Option<Wire>, String> {
        let Responder::Upstream(dialer) = &self.context.responder else {
            return Ok(None);
        };
        let dialled = tokio::select! {
            dialled = self.dial(dialer, target, journey) => dialled,
            () = leaves(io, rest) => {
                let why = self.context.left(GAVE_UP);
                return Err(self.given_up(&why, dialer, target, journey));
            }
            () = self.context.stop.cancelled() => {
                let why = self.context.stopped();
                return Err(self.given_up(&why, dialer, target, journey));
            }
        };
        match dialled {
            Ok(wire) => {
                if let Some(stream) = wire.stream() {
                    stream.will_send(format!("connection={}", self.id));
                }
                Ok(Some(wire))
            }
            Err(error) => {
                let why = chain(&error);
                let named = Some((target, Some(&*journey)));
                self.refuse(io, StatusCode::BAD_GATEWAY, named, &why).await;
                Err(why)
            }
        }
    }

    /// Notes a dial that nobody waits for any longer, and how far it got.
    fn given_up(
        &self,
        why: &str,
        dialer: &Dialer,
        target: &Target,
        journey: &mut Journey,
    ) -> String {
        let got = dialer.give_up(target, journey);
        let why = format!("{why} while its tunnel was being connected ({got})");
        let dialled = Dialled {
            target: target.clone(),
            upstream: None,
            journey: std::mem::take(journey),
        };
        self.unused(&dialled, Some(why.clone()), why)
    }

    async fn dial(
        &self,
        dialer: &Dialer,
        target: &Target,
        journey: &mut Journey,
    ) -> Result<Wire, DialError> {
        self.place.seat.does(Doing::Working);
        let live = &self.context.live;
        let entry = live.begin(None, target.host(), None, Phase::Dns);
        let hear = |news: News<'_>| entry.hears(news);
        let dialled = dialer.connect(target, true, journey, &hear).await;
        entry.done();
        dialled
    }
}

/// Returns once the client has left; what it says before is added to `rest`.
pub(super) async fn leaves(io: &mut ClientIo, rest: &mut BytesMut) {
    while rest.len() < AHEAD {
        if !matches!(io.read_buf(rest).await, Ok(1..)) {
            return;
        }
    }
    std::future::pending().await
}
