//! The life of one client connection, as states that consume themselves: each step takes what the
//! one before has found out, and gives the next, or says why the connection is over.
//!
//! ```text
//! accepted ─→ Connect ─→ Connected ──→ Hello ─→ Intercepted    requests inside TLS
//!          │                       ╲╱
//!          │                       ╱╲→ Blind ─→ Tunnel         bytes both ways, unread
//!          ├→ Redirected ─────────────→ Clear                   requests in clear text, to one host
//!          └→ Plain                                             requests in clear text, to any host or a gateway
//! ```
//!
//! One place records the end.

mod client;
mod name_checks;
mod opening;
mod redirected;
mod serve;

#[cfg(any(test, fuzzing))]
pub(super) use opening::check;
pub(crate) use redirected::Destinations;
pub use redirected::Redirection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use self::client::{Client, ClientIo, PLACE_WANTED, RefusedConnect};
use self::opening::{ClientHello, ConnectHead, FirstBytes, Opening};
use self::redirected::{Clear, Redirected};
use super::answer::Answer;
use super::cause;
use super::client_leg::{ClientLeg, Destination};
use super::context::{Context, Responder};
use super::gateway::Gateway;
use super::io::{Marks, Prefixed, Tap};
use super::live::{ConnectedTo, Subject};
use super::places::{IDLE_TUNNEL, Place};
use super::policy::Decision;
use super::upstream_connection::UpstreamIo;
use super::upstreams::{FirstDial, Upstreams};
use crate::capture::{Stream, Wire};
use crate::clock::{Clock, Timestamp};
use crate::exchange::{ConnectionId, DISTRUST, DialFailure, Mode, Phase, Target, chain};
use crate::telemetry::metrics::Leg;
use crate::tls::{self, Protocol};
use crate::upstream::{DialError, Dialer, Journey, News, keep_alive};

/// How much a client may send before its tunnel is open, bytes.
const AHEAD: usize = 64 * 1024;

/// Bytes on their way through a tunnel, each direction. Larger buffers save little (the bytes wait in
/// the kernel anyway), and an idle tunnel keeps both.
const TUNNEL_BUFFER: usize = 8 * 1024;

/// What a listener's clients speak.
#[derive(Clone)]
pub enum Entrance {
    /// HTTP to a proxy: CONNECT, or absolute URLs.
    Proxy,
    /// TLS to what they take for the origin; the server name says which.
    Origin,
    /// Anything, to an address from which the kernel redirected it.
    Redirected(Arc<Redirection>),
    /// HTTP to a module proxy.
    Gateway(Arc<Gateway>),
}

/// The client's first request.
enum FirstRequest {
    Connect(Connect),
    Plain(Plain),
}

/// The client has sent a CONNECT that may pass.
struct Connect {
    io: ClientIo,
    head: ConnectHead,
}

/// Where CONNECT led.
struct Dialled {
    target: Target,
    /// `None` in a replay.
    upstream: Option<Wire>,
    journey: Journey,
    /// The address that the client connected to, where the kernel redirected it.
    original: Option<SocketAddr>,
    /// Why there is no upstream, where the client is told later.
    failure: Option<String>,
}

/// The client was told that its tunnel is open.
struct Connected {
    io: ClientIo,
    /// Bytes that the client sent behind its CONNECT.
    rest: Bytes,
    dialled: Dialled,
    /// The tunnel is relayed, whatever comes.
    is_blind: bool,
}

/// How the client begins in its tunnel.
enum Inside {
    Hello(Hello),
    Blind(Blind),
    Clear(Clear),
}

/// The client began TLS for a host that we intercept.
struct Hello {
    /// Gives the ClientHello again.
    io: Prefixed<ClientIo>,
    /// The server name, else the host of the CONNECT.
    host: String,
    client_hello: ClientHello,
    dialled: Dialled,
}

/// The tunnel is to be relayed unread.
struct Blind {
    io: Prefixed<ClientIo>,
    /// The server name, if one was read.
    sni: Option<String>,
    dialled: Dialled,
}

/// Both TLS handshakes are over, and requests may come.
struct Intercepted {
    upstreams: Arc<Upstreams>,
    // Boxed: a future has room for a value in each step that passes it on.
    io: Box<TlsStream<Prefixed<ClientIo>>>,
}

/// A tunnel that is open.
struct Tunnel {
    client: Prefixed<ClientIo>,
    upstream: Wire,
}

/// Requests in clear text: with absolute URLs, or to a gateway.
struct Plain {
    io: Prefixed<ClientIo>,
    destination: Destination,
}

/// A connection that is set up, for the rest of its life.
enum Open {
    Plain(Plain),
    Intercepted(Intercepted),
    Tunnel(Tunnel),
    Clear(Clear),
}

/// Lives the life of a connection and records its end.
pub(super) async fn run(
    context: Arc<Context>,
    id: ConnectionId,
    place: Place,
    socket: TcpStream,
    peer: SocketAddr,
    entrance: Entrance,
) {
    // Head and body leave as separate writes: without this the second waits for an ACK.
    let _ = socket.set_nodelay(true);
    keep_alive(&socket);
    let original = match &entrance {
        Entrance::Redirected(redirection) => redirection.original(&socket),
        Entrance::Proxy | Entrance::Origin | Entrance::Gateway(_) => socket.local_addr().ok(),
    };
    let server = original.unwrap_or(peer);
    let wire = Wire::accepted(socket, peer, server, context.capture.as_ref());
    let mut client = Client::new(context, id, place, peer, wire.stream().cloned());
    if let Some(captured) = &client.captured {
        captured.has_read(format!("connection={id}"));
    }
    let io = Tap::new(wire, Arc::clone(&client.marks));
    let context = Arc::clone(&client.context);
    let wanted = client.place.wanted_in_setup(Arc::clone(&client.marks));
    let open = tokio::select! {
        // The setup comes first: it records how far a connection came that is stopped.
        biased;
        // Boxed, and dropped before the connection is served: it is large, and would else stay for as
        // long as the connection lasts.
        open = Box::pin(open(&mut client, io, &entrance, original)) => open,
        () = context.stop.cancelled() => Err(context.why_stopped()),
        () = wanted => Err(String::from(PLACE_WANTED)),
    };
    let is_tunnel = matches!(open, Ok(Open::Tunnel(_)));
    let why = match open {
        Ok(Open::Plain(plain)) => plain.serve(&client).await,
        Ok(Open::Intercepted(intercepted)) => intercepted.serve(&client).await,
        Ok(Open::Tunnel(tunnel)) => tunnel.relay(&client).await,
        Ok(Open::Clear(clear)) => clear.serve(&client).await,
        Err(why) => why,
    };
    client.closed(is_tunnel, &why).await;
}

/// Sets the connection up, or says why it is over before.
///
/// `original` is the address that the client connected to.
async fn open(
    client: &mut Client,
    io: ClientIo,
    entrance: &Entrance,
    original: Option<SocketAddr>,
) -> Result<Open, String> {
    let inside = match entrance {
        Entrance::Gateway(gateway) => {
            let io = Prefixed::new(Bytes::new(), io);
            let destination = Destination::Gateway(Arc::clone(gateway));
            return Ok(Open::Plain(Plain { io, destination }));
        }
        Entrance::Origin => Connected::to_origin(io)?.listen(client).await?,
        Entrance::Proxy => match first_request(client, io).await? {
            FirstRequest::Connect(connect) => connect.dial(client).await?.listen(client).await?,
            FirstRequest::Plain(plain) => return Ok(Open::Plain(plain)),
        },
        Entrance::Redirected(redirection) => {
            let redirected = Redirected::dial(client, io, redirection, original).await?;
            redirected.listen(client, redirection).await?
        }
    };
    Ok(match inside {
        Inside::Clear(clear) => Open::Clear(clear),
        Inside::Hello(hello) => Open::Intercepted(Intercepted::after(hello, client).await?),
        Inside::Blind(blind) => Open::Tunnel(blind.open(client)?),
    })
}

/// Reads the first request that may pass; a CONNECT has to show the token, where one is asked for.
async fn first_request(client: &mut Client, mut io: ClientIo) -> Result<FirstRequest, String> {
    loop {
        let mut head = match read_opening(client, &mut io).await? {
            Opening::Connect(head) => head,
            Opening::Request { read } => {
                let io = Prefixed::new(read, io);
                let destination = Destination::Plain;
                return Ok(FirstRequest::Plain(Plain { io, destination }));
            }
            Opening::Tls => {
                let why = "the client spoke TLS to the proxy port: use http://";
                return Err(why.to_owned());
            }
        };
        if client.gate.admits(&mut head.fields) {
            return Ok(FirstRequest::Connect(Connect { io, head }));
        }
        client.denied_target = head.target.to_string();
        // A client that did not wait for the answer has sent bytes that are no request.
        let closes = client.gate.is_shut() || !head.rest.is_empty();
        let answer = Answer::challenge(client.gate.status(), closes).to_bytes();
        if let Err(error) = io.write_all(&answer).await {
            return Err(format!("the client broke off: {error}"));
        }
        if closes {
            client.hang_up(&mut io).await;
            return Err(String::from("the client did not show the token"));
        }
        client.marks.expect_read();
    }
}

async fn read_opening(client: &mut Client, io: &mut ClientIo) -> Result<Opening, String> {
    let limit = client.context.deadlines.connect_head;
    match tokio::time::timeout(limit, opening::read(io)).await {
        Ok(Ok(opening)) => {
            client.started = client.marks.first_read().unwrap_or(client.started);
            Ok(opening)
        }
        Ok(Err(error)) => {
            let why = chain(&error);
            client.refuse(io, StatusCode::BAD_REQUEST, None, &why).await;
            Err(why)
        }
        Err(_) => Err(format!("the client sent no whole head within {limit:?}")),
    }
}

impl Connect {
    /// Dials the target, where there is an upstream leg, and tells the client that its tunnel is
    /// open, or why there is none.
    async fn dial(self, client: &Client) -> Result<Connected, String> {
        let context = &client.context;
        let Self { mut io, head } = self;
        let target = head.target;
        let decision = context.policy.decide(&target);
        let is_blind = decision == Decision::Tunnel;
        if let Some(captured) = &client.captured {
            captured.has_read_connect(&head.rest, is_blind);
        }
        if let Decision::Refuse(why) = decision {
            if let Some(replay) = context.responder.replay() {
                replay.refused(&target, &why);
            }
            let refused = RefusedConnect {
                target: &target,
                fields: head.fields,
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
            original: None,
            failure: None,
        };
        if let Responder::Upstream(dialer) = &context.responder {
            let outcome = tokio::select! {
                outcome = dial(client, dialer, &mut dialled) => outcome,
                () = client_closes(&mut io, &mut rest) => {
                    let failure = context.cut_or(DialFailure::ClientLeft);
                    let why = context.why_closed(cause::GAVE_UP);
                    return Err(dialled.given_up(client, dialer, failure, &why));
                }
                () = context.stop.cancelled() => {
                    let failure = context.cut_or(DialFailure::Stopped);
                    let why = context.why_stopped();
                    return Err(dialled.given_up(client, dialer, failure, &why));
                }
            };
            if let Err(error) = outcome {
                let why = chain(&error);
                let refused = RefusedConnect {
                    target: &dialled.target,
                    fields: head.fields,
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
    let subject = Subject {
        connection: client.id,
        host: dialled.target.host(),
        target: Some(dialled.target.to_string()),
        ..Subject::default()
    };
    let entry = live.begin(subject, Phase::Dns);
    let hear = |news: News<'_>| entry.update(news);
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

/// Returns once the client has closed the connection; what it sends before is added to `rest`.
async fn client_closes(io: &mut ClientIo, rest: &mut BytesMut) {
    while rest.len() < AHEAD {
        if !matches!(io.read_buf(rest).await, Ok(1..)) {
            return;
        }
    }
    std::future::pending().await
}

impl Dialled {
    /// Records a dial that no client waits for any longer, and how far it got. Returns why it ended.
    fn given_up(
        &mut self,
        client: &Client,
        dialer: &Dialer,
        failure: DialFailure,
        why: &str,
    ) -> String {
        let got = dialer.give_up(&self.target, &mut self.journey);
        self.journey.failure = Some(failure);
        let why = format!("{why} while its tunnel was being connected ({got})");
        self.unused(client, Some(&why));
        why
    }

    /// Records a CONNECT that no TLS handshake followed: the go command races ten of them and uses
    /// one, which is no error.
    fn unused(&mut self, client: &Client, error: Option<&str>) {
        // What the upstream did is on record; the rest is the client's.
        let failure = &mut self.journey.failure;
        failure.get_or_insert(DialFailure::ClientTls);
        let journey = client.context.is_live().then_some(&self.journey);
        let (target, side) = (self.target.to_string(), client.side());
        client.opened(Mode::Intercept, &target, &side, journey, error);
    }
}

impl Connected {
    /// A client that believes it speaks to the origin sends no CONNECT: the server name of its TLS
    /// is the target.
    fn to_origin(io: ClientIo) -> Result<Self, String> {
        let target = Target::new("origin.invalid", 443).map_err(|error| error.to_string())?;
        Ok(Self {
            io,
            rest: Bytes::new(),
            dialled: Dialled {
                target,
                upstream: None,
                journey: Journey::default(),
                original: None,
                failure: None,
            },
            is_blind: false,
        })
    }

    /// Reads how the client begins, unless the tunnel is blind.
    async fn listen(self, client: &Client) -> Result<Inside, String> {
        let context = &client.context;
        let Self {
            mut io,
            rest,
            mut dialled,
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
                return Err(context.why_stopped());
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
    fn open(self, client: &Client) -> Result<Tunnel, String> {
        let Dialled {
            target,
            upstream,
            journey,
            ..
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

impl Tunnel {
    /// Relays until both sides have closed, either breaks off, nothing passes for too long, or we
    /// are told to stop. Says how it ended.
    async fn relay(mut self, client: &Client) -> String {
        let context = &client.context;
        let legs = client.captured.iter().chain(self.upstream.stream());
        legs.for_each(Stream::blinds);
        let (began, marks) = (context.clock.now(), &client.marks);
        let idle_since = || Some(marks.last_passed().max(began));
        let wanted = client.place.wanted(IDLE_TUNNEL, idle_since);
        let copying = copy_bidirectional_with_sizes(
            &mut self.client,
            &mut self.upstream,
            TUNNEL_BUFFER,
            TUNNEL_BUFFER,
        );
        let limit = context.deadlines.tunnel_idle;
        tokio::select! {
            outcome = copying => match outcome {
                Ok(_) => String::from("both sides closed"),
                Err(error) => error.to_string(),
            },
            () = idle(context.clock, &client.marks, limit) => {
                format!("nothing passed for {limit:?}")
            }
            () = context.stop.cancelled() => context.why_stopped(),
            () = wanted => String::from(PLACE_WANTED),
        }
    }
}

/// Returns once no byte has passed for `limit`.
async fn idle(clock: Clock, marks: &Marks, limit: Duration) {
    // Before the first byte the tunnel's own beginning counts.
    let began = clock.now();
    loop {
        let deadline = marks.last_passed().max(began) + limit;
        if clock.now() >= deadline {
            return;
        }
        tokio::time::sleep_until(clock.instant(deadline)).await;
    }
}

impl Intercepted {
    /// Shakes hands with the upstream, then with the client in the protocol that the upstream chose,
    /// both in the name of the same host.
    async fn after(mut hello: Hello, client: &Client) -> Result<Self, String> {
        let context = &client.context;
        client.place.waits_for_upstream();
        let shaken = match hello.dialled.failure.take() {
            Some(why) => Err(why),
            None => upstream_tls(&mut hello, client).await,
        };
        client.place.waits_for_client();
        let (upstream, failure) = match shaken {
            Ok(upstream) => (upstream, None),
            Err(why) => (None, Some(why)),
        };
        let offered = client_protocol(&hello, client, failure.is_some());
        let Hello {
            io,
            host,
            client_hello,
            mut dialled,
        } = hello;
        let accepted = accept(client, io, &host, offered).await;
        if let Err(NotAccepted { failure, .. }) = &accepted {
            dialled.journey.failure.get_or_insert(*failure);
        }
        let mut side = client.side();
        side.sni = client_hello.server_name;
        let mut protocol = None;
        if let Ok(tls) = &accepted {
            let (_, session) = tls.get_ref();
            protocol = session.alpn_protocol().and_then(Protocol::from_alpn);
            side.alpn = protocol.map(|protocol| protocol.name().to_owned());
            let version = session.protocol_version();
            side.tls = version.map(|version| tls::version_name(version).to_owned());
        }
        let named = Target::new(&host, dialled.target.port()).map_err(|error| error.to_string())?;
        let shown = match dialled.original {
            Some(_) => &named,
            None => &dialled.target,
        };
        let journey = context.is_live().then_some(&dialled.journey);
        let not_accepted = accepted.as_ref().err().map(|error| &error.why);
        let error = failure.as_ref().or(not_accepted);
        client.opened(
            Mode::Intercept,
            &shown.to_string(),
            &side,
            journey,
            error.map(String::as_str),
        );
        let tls = accepted.map_err(|error| error.why)?;
        let Dialled {
            target, journey, ..
        } = dialled;
        let leg = ClientLeg::new(
            context,
            client.id,
            side,
            Destination::Tunnelled {
                target,
                host: named.host().to_owned(),
                is_secure: true,
            },
            protocol.unwrap_or(Protocol::Http1),
            client.captured.clone(),
        );
        Ok(Self {
            upstreams: dialled_for(client, leg, &named, journey, upstream, failure).await,
            io: Box::new(tls),
        })
    }

    /// Serves the requests inside.
    async fn serve(self, client: &Client) -> String {
        serve::run(client, self.upstreams, self.io, None).await
    }
}

/// What a connection that leads to one host has upstream: the dial for its first exchange, and the connection
/// that was dialled, if there is one; else `failure` says why.
async fn dialled_for(
    client: &Client,
    leg: ClientLeg,
    named: &Target,
    journey: Journey,
    upstream: Option<UpstreamIo>,
    failure: Option<String>,
) -> Arc<Upstreams> {
    let first = client.context.is_live().then(|| FirstDial {
        started: client.started,
        journey,
        until: grace_ends(client),
    });
    let upstreams = Upstreams::new(leg, first, failure);
    if let Some(upstream) = upstream {
        upstreams.adopt(named, upstream).await;
    }
    upstreams
}

/// Until when a request still owns the dial.
fn grace_ends(client: &Client) -> Timestamp {
    let now = client.context.clock.now();
    let grace = client.context.deadlines.first_request.as_micros();
    let grace = u64::try_from(grace).unwrap_or(u64::MAX / 2);
    Timestamp::from_micros(now.as_micros() + grace)
}

/// The handshake with the upstream, for as long as the client waits for it; the error is what every
/// request is answered with. `None` in a replay. What the client sends meanwhile goes back to its
/// stream.
async fn upstream_tls(hello: &mut Hello, client: &Client) -> Result<Option<UpstreamIo>, String> {
    let context = &client.context;
    let host = &hello.host;
    let Dialled {
        target,
        upstream,
        journey,
        ..
    } = &mut hello.dialled;
    let (Responder::Upstream(dialer), Some(stream)) = (&context.responder, upstream.take()) else {
        return Ok(None);
    };
    let subject = Subject {
        connection: client.id,
        host,
        target: Some(target.to_string()),
        ..Subject::default()
    };
    let entry = context.live.begin(subject, Phase::Tls);
    let addr = journey.addr;
    entry.connected(ConnectedTo {
        address: addr.map(|addr| addr.to_string().into()),
        local: journey.local_addr,
        via: journey.via.as_deref().map(Into::into),
        is_reused: false,
    });
    let protocols = &hello.client_hello.protocols;
    let hear = |news: News<'_>| entry.update(news);
    let began = context.clock.now();
    let mut ahead = BytesMut::new();
    let (failure, why) = tokio::select! {
        shaken = dialer.handshake(stream, host, protocols, journey, &hear) => {
            entry.done();
            hello.io.add(&ahead);
            return match shaken {
                Ok(tls) => Ok(Some(Either::Right(Box::new(tls)))),
                Err(error) => Err(chain(&error)),
            };
        }
        () = client_closes(hello.io.stream(), &mut ahead) => {
            (DialFailure::ClientLeft, context.why_closed(cause::GAVE_UP))
        }
        () = context.stop.cancelled() => (DialFailure::Stopped, context.why_stopped()),
    };
    hello.io.add(&ahead);
    journey.failure = Some(context.cut_or(failure));
    journey.tls_us = Some(context.clock.now().micros_since(began));
    let at = addr.map_or_else(String::new, |addr| format!(" ({addr}: no answer)"));
    Err(format!("{why} while {host} was shaking hands{at}"))
}

/// The protocol that the client is offered: the one that the upstream chose, so that both legs speak
/// the same.
fn client_protocol(hello: &Hello, client: &Client, upstream_failed: bool) -> Option<Protocol> {
    let wanted = &hello.client_hello.protocols;
    let preferred = wanted.first().copied();
    match &client.context.responder {
        Responder::Upstream(_) if upstream_failed => preferred,
        Responder::Upstream(_) => hello.dialled.journey.alpn,
        Responder::Replay(_) | Responder::Fill(_) => {
            let replay = client.context.responder.replay();
            let recorded = replay.and_then(|replay| replay.protocol(&hello.host));
            let recorded = recorded.filter(|protocol| wanted.contains(protocol));
            recorded.or(preferred)
        }
    }
}

/// Why there was no TLS with a client.
struct NotAccepted {
    failure: DialFailure,
    why: String,
}

/// Our handshake with the client, with a leaf for `host`.
async fn accept(
    client: &Client,
    io: Prefixed<ClientIo>,
    host: &str,
    offered: Option<Protocol>,
) -> Result<TlsStream<Prefixed<ClientIo>>, NotAccepted> {
    let context = &client.context;
    let not_accepted = |failure, why| Err(NotAccepted { failure, why });
    let Some(leafs) = &context.leafs else {
        let why = String::from("there is no root to mint a certificate with");
        return not_accepted(DialFailure::Unknown, why);
    };
    let settings = leafs.settings(host, offered.as_slice(), Clock::wall_now());
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return not_accepted(DialFailure::Unknown, chain(&error)),
    };
    client.captured.iter().for_each(Stream::shakes);
    let accepting = tokio_rustls::TlsAcceptor::from(settings).accept(io);
    let limit = context.deadlines.client_hello;
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(limit, accepting) => accepted,
        () = context.stop.cancelled() => {
            let failure = context.cut_or(DialFailure::Stopped);
            return not_accepted(failure, context.why_stopped());
        }
    };
    if !matches!(accepted, Ok(Ok(_)))
        && let Some(metrics) = &context.metrics
    {
        metrics.tls_failed(Leg::Client);
    }
    match accepted {
        Ok(Ok(tls)) => {
            client.captured.iter().for_each(Stream::settles);
            Ok(tls)
        }
        Ok(Err(error)) => {
            let why = cause::of_handshake(&error);
            let failure = match why.starts_with(DISTRUST) {
                true => DialFailure::ClientDistrust,
                false => DialFailure::ClientTls,
            };
            not_accepted(context.cut_or(failure), context.why_closed(&why))
        }
        Err(_) => {
            let why = format!("the client did not complete TLS within {limit:?}");
            not_accepted(DialFailure::ClientTls, why)
        }
    }
}

impl Plain {
    async fn serve(self, client: &Client) -> String {
        client.captured.iter().for_each(Stream::is_plain);
        let leg = ClientLeg::new(
            &client.context,
            client.id,
            client.side(),
            self.destination,
            Protocol::Http1,
            client.captured.clone(),
        );
        let upstreams = Upstreams::new(leg, None, None);
        serve::run(client, upstreams, self.io, Some(client.gate.clone())).await
    }
}
