//! Dialling for a CONNECT, as long as its client is there to wait.

use bytes::BytesMut;
use http::StatusCode;
use tokio::io::AsyncReadExt as _;

use super::connection::{ClientIo, Connection, Dialled};
use super::responder::Responder;
use super::room::Doing;
use crate::capture::Wire;
use crate::exchange::{Phase, Target, chain};
use crate::upstream::{DialError, Dialer, Journey};

/// What is said of a client that is gone when its tunnel comes.
const GAVE_UP: &str = "the client gave up while its tunnel was being connected";

/// The same where the recorder ends first, as by Ctrl-C in a hang.
const STOPPED_FIRST: &str = "modtape stopped while a tunnel was being connected";

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
            () = leaves(io, rest) => return Err(self.given_up(GAVE_UP, dialer, target, journey)),
            () = self.context.stop.cancelled() => {
                return Err(self.given_up(STOPPED_FIRST, dialer, target, journey));
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
                let named = (&target.to_string()[..], Some(&*journey));
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
        let why = format!("{why} ({})", dialer.give_up(target, journey));
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
        dialer
            .connect(target, true, journey, &|phase| entry.enter(phase))
            .await
    }
}

/// Returns once the client has left; what it says before is added to `rest`.
async fn leaves(io: &mut ClientIo, rest: &mut BytesMut) {
    while rest.len() < AHEAD {
        if !matches!(io.read_buf(rest).await, Ok(1..)) {
            return;
        }
    }
    std::future::pending().await
}
