//! CONNECT: decide, dial, answer, and see how the client begins in its tunnel.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{Client, ClientIo, RefusedConnect};
use super::opening::{self, ClientHello, ConnectHead, FirstBytes};
use super::tunnel::Tunnel;
use crate::capture::Wire;
use crate::exchange::{Mode, Phase, Target, chain};
use crate::proxy::context::Responder;
use crate::proxy::io::Prefixed;
use crate::proxy::policy::Decision;
use crate::upstream::{DialError, Dialer, Journey, News};

/// Why a connection ended whose client left before it was set up.
pub(super) const GAVE_UP: &str = "the client gave up";

/// How much a client may send before its tunnel is open, bytes.
const AHEAD: usize = 64 * 1024;

/// The client has sent a CONNECT that may pass.
pub(super) struct Connect {
    pub(super) io: ClientIo,
    pub(super) head: ConnectHead,
}

/// Where CONNECT led.
pub(super) struct Dialled {
    pub(super) target: Target,
    /// `None` in a replay.
    pub(super) upstream: Option<Wire>,
    pub(super) journey: Journey,
}

/// The client was told that its tunnel is open.
pub(super) struct Connected {
    io: ClientIo,
    /// Bytes that the client sent behind its CONNECT.
    rest: Bytes,
    dialled: Dialled,
    /// The tunnel is relayed, whatever comes.
    is_blind: bool,
}

/// What the client does in its tunnel.
pub(super) enum Inside {
    Hello(Hello),
    Blind(Blind),
}

/// The client began TLS for a host that we intercept.
pub(super) struct Hello {
    /// Gives the ClientHello again.
    pub(super) io: Prefixed<ClientIo>,
    /// The server name, else the host of the CONNECT.
    pub(super) host: String,
    pub(super) client_hello: ClientHello,
    pub(super) dialled: Dialled,
}

/// The tunnel is to be relayed unread.
pub(super) struct Blind {
    io: Prefixed<ClientIo>,
    /// The server name, if one was read.
    sni: Option<String>,
    dialled: Dialled,
}

impl Connect {
    /// Dials the target, where there is an upstream leg, and tells the client that its tunnel is
    /// open, or why there is none.
    pub(super) async fn dial(self, client: &Client) -> Result<Connected, String> {
        let context = &client.context;
        let Self { mut io, head } = self;
        let target = head.target;
        let decision = context.policy.decide(&target);
        let is_blind = decision == Decision::Tunnel;
        if let Some(captured) = &client.captured {
            captured.has_read_connect(&head.rest, is_blind);
        }
        if let Decision::Refuse(why) = decision {
            if let Responder::Replay(replay) = &context.responder {
                replay.refused(&target, &why);
            }
            let refused = RefusedConnect {
                target: &target,
                head: &head.head,
                journey: None,
            };
            client
                .refuse(&mut io, StatusCode::BAD_GATEWAY, Some(refused), &why)
                .await;
            return Err(why);
        }
        let mut rest = BytesMut::from(head.rest);
        let mut dialled = Dialled {
            target,
            upstream: None,
            journey: Journey::default(),
        };
        if let Responder::Upstream(dialer) = &context.responder {
            let outcome = tokio::select! {
                outcome = dial(client, dialer, &mut dialled) => outcome,
                () = leaves(&mut io, &mut rest) => {
                    let why = context.left(GAVE_UP);
                    return Err(dialled.given_up(client, dialer, &why));
                }
                () = context.stop.cancelled() => {
                    let why = context.stopped();
                    return Err(dialled.given_up(client, dialer, &why));
                }
            };
            if let Err(error) = outcome {
                let why = chain(&error);
                let refused = RefusedConnect {
                    target: &dialled.target,
                    head: &head.head,
                    journey: Some(&dialled.journey),
                };
                client
                    .refuse(&mut io, StatusCode::BAD_GATEWAY, Some(refused), &why)
                    .await;
                return Err(why);
            }
        }
        let answer = b"HTTP/1.1 200 Connection established\r\n\r\n";
        if let Err(error) = io.write_all(answer).await {
            return Err(format!("the client broke off: {error}"));
        }
        Ok(Connected {
            io,
            rest: rest.freeze(),
            dialled,
            is_blind,
        })
    }
}

async fn dial(client: &Client, dialer: &Dialer, dialled: &mut Dialled) -> Result<(), DialError> {
    client.place.waits_for_upstream();
    let live = &client.context.live;
    let entry = live.begin(None, dialled.target.host(), None, Phase::Dns);
    let hear = |news: News<'_>| entry.hears(news);
    let journey = &mut dialled.journey;
    let connected = dialer.connect(&dialled.target, true, journey, &hear).await;
    entry.done();
    let wire = connected?;
    if let Some(captured) = wire.stream() {
        captured.will_send(format!("connection={}", client.id));
    }
    dialled.upstream = Some(wire);
    Ok(())
}

/// Returns once the client has left; what it sends before is added to `rest`.
pub(super) async fn leaves(io: &mut ClientIo, rest: &mut BytesMut) {
    while rest.len() < AHEAD {
        if !matches!(io.read_buf(rest).await, Ok(1..)) {
            return;
        }
    }
    std::future::pending().await
}

impl Dialled {
    /// Records a dial that no client waits for any longer, and how far it got; why it ended.
    fn given_up(&mut self, client: &Client, dialer: &Dialer, why: &str) -> String {
        let got = dialer.give_up(&self.target, &mut self.journey);
        let why = format!("{why} while its tunnel was being connected ({got})");
        self.unused(client, Some(&why));
        why
    }

    /// Records a CONNECT that no TLS handshake followed: the go command races ten of them and uses
    /// one, which is no error.
    fn unused(&self, client: &Client, error: Option<&str>) {
        let journey = client.context.is_live().then_some(&self.journey);
        let (target, side) = (self.target.to_string(), client.side());
        client.opened(Mode::Intercept, &target, &side, journey, error);
    }
}

impl Connected {
    /// A client that believes it speaks to the origin sends no CONNECT: the server name of its TLS
    /// is the target.
    pub(super) fn to_origin(io: ClientIo) -> Result<Self, String> {
        let target = Target::new("origin.invalid", 443).map_err(|error| error.to_string())?;
        Ok(Self {
            io,
            rest: Bytes::new(),
            dialled: Dialled {
                target,
                upstream: None,
                journey: Journey::default(),
            },
            is_blind: false,
        })
    }

    /// Reads how the client begins, unless the tunnel is blind.
    pub(super) async fn listen(self, client: &Client) -> Result<Inside, String> {
        let context = &client.context;
        let Self {
            mut io,
            rest,
            dialled,
            is_blind,
        } = self;
        if is_blind {
            let (io, sni) = (Prefixed::new(rest, io), None);
            return Ok(Inside::Blind(Blind { io, sni, dialled }));
        }
        client.place.waits_for_client();
        let limit = context.deadlines.client_hello;
        let first = tokio::time::timeout(limit, opening::read_hello(&mut io, rest));
        let first = tokio::select! {
            first = first => first,
            () = context.stop.cancelled() => {
                dialled.unused(client, None);
                return Err(context.stopped());
            }
        };
        let FirstBytes { read, client_hello } = match first {
            Ok(Ok(first)) => first,
            Ok(Err(error)) => {
                if let Some(alert) = error.alert() {
                    // The client may be gone already.
                    let _ = io.write_all(alert).await;
                    client.hang_up(&mut io).await;
                }
                let why = chain(&error);
                dialled.unused(client, error.is_worth_telling().then_some(&why[..]));
                return Err(why);
            }
            Err(_) => {
                let why = format!("the client sent no ClientHello within {limit:?}");
                dialled.unused(client, Some(&why));
                return Err(why);
            }
        };
        let io = Prefixed::new(read, io);
        let Some(client_hello) = client_hello else {
            let sni = None;
            return Ok(Inside::Blind(Blind { io, sni, dialled }));
        };
        let sni = client_hello.server_name.clone();
        let host = sni.unwrap_or_else(|| dialled.target.host().to_owned());
        if !context.policy.intercepts(&host) {
            let sni = client_hello.server_name;
            return Ok(Inside::Blind(Blind { io, sni, dialled }));
        }
        Ok(Inside::Hello(Hello {
            io,
            host,
            client_hello,
            dialled,
        }))
    }
}

impl Blind {
    /// The tunnel, if there is an upstream to relay to.
    pub(super) fn open(self, client: &Client) -> Result<Tunnel, String> {
        let Dialled {
            target,
            upstream,
            journey,
        } = self.dialled;
        let mut side = client.side();
        side.sni = self.sni;
        let (mode, journey, error) = match upstream {
            Some(_) => (Mode::Tunnel, Some(&journey), None),
            None => (Mode::Refuse, None, Some("not on the recording")),
        };
        client.opened(mode, &target.to_string(), &side, journey, error);
        let upstream = upstream.ok_or("a replay has nobody to relay to")?;
        Ok(Tunnel {
            client: self.io,
            upstream,
        })
    }
}
