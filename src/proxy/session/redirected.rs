//! A connection that the kernel redirected to us: its client believes that it speaks to the origin.
//!
//! The kernel knows the address that the client connected to, and that one is dialled, whatever name
//! the client sends: the name decides who answers, and whom the upstream's certificate must be for.
//! Which side speaks first is waited for, so that a protocol whose server does is relayed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use ipnet::IpNet;
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_util::either::Either;

use super::client::{Client, ClientIo};
use super::name_checks::NameChecks;
use super::opening::{self, Beginning, Opening};
use super::{Blind, Dialled, Hello, Inside, client_closes, dial, dialled_for, serve};
use crate::capture::Stream;
use crate::exchange::{DialFailure, Mode, Target, chain};
use crate::proxy::access::RECORDED_STRANGERS;
use crate::proxy::cause;
use crate::proxy::client_leg::{ClientLeg, Destination};
use crate::proxy::context::Responder;
use crate::proxy::io::Prefixed;
use crate::proxy::policy::Decision;
use crate::proxy::upstreams::Upstreams;
use crate::sockets::{MARK, OwnSockets, canonical, tracked_destination};
use crate::tls::Protocol;
use crate::upstream::{Journey, is_of_this_machine};

/// How long one side is waited for once the other has closed without a word.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The alert `access_denied` of TLS (RFC 8446 section 6), in a record of its own.
const ACCESS_DENIED: [u8; 7] = [21, 3, 1, 0, 2, 2, 49];

/// Where redirected connections lead.
pub(crate) trait Destinations: Send + Sync {
    /// Where to dial for a client that connected to `original`, a name where one is known, or why it is
    /// refused: a sentence for the recording.
    fn of(&self, original: SocketAddr) -> Result<Target, String>;
}

/// Each address leads to itself.
#[derive(Debug, Clone, Copy)]
struct Addresses;

impl Destinations for Addresses {
    fn of(&self, original: SocketAddr) -> Result<Target, String> {
        let target = Target::new(&original.ip().to_string(), original.port());
        target.map_err(|error| error.to_string())
    }
}

/// What a listener has to know whose connections the kernel redirects.
pub struct Redirection {
    destinations: Arc<dyn Destinations>,
    /// Whether `destinations` knows the names that the clients looked up: then nobody else is asked about one that
    /// is only relayed.
    knows_names: bool,
    /// Our own connections, which may be redirected by mistake.
    sockets: OwnSockets,
    /// Our listeners.
    listeners: Vec<SocketAddr>,
    /// The networks of the clients that may connect; empty if any client may that can.
    from: Vec<IpNet>,
    /// Connections from elsewhere so far.
    strangers: AtomicU64,
    names: NameChecks,
}

impl Redirection {
    /// Every client that can connect may, and each address leads to itself.
    pub fn new(listeners: Vec<SocketAddr>, sockets: OwnSockets) -> Self {
        Self {
            destinations: Arc::new(Addresses),
            knows_names: false,
            sockets,
            listeners,
            from: Vec::new(),
            strangers: AtomicU64::new(0),
            names: NameChecks::default(),
        }
    }

    /// Clients of these networks only, and of this machine.
    #[must_use]
    pub(crate) fn with_clients_from(self, from: Vec<IpNet>) -> Self {
        Self { from, ..self }
    }

    /// Addresses lead where `destinations` says, which knows the names that they were told for.
    #[must_use]
    pub(crate) fn leading(self, destinations: Arc<dyn Destinations>) -> Self {
        Self {
            destinations,
            knows_names: true,
            ..self
        }
    }

    /// The address that the client connected to; `None` if it connected to our listener itself.
    ///
    /// After REDIRECT the kernel's connection tracking knows it; with TPROXY it is the socket's own
    /// address.
    pub(super) fn original(&self, socket: &TcpStream) -> Option<SocketAddr> {
        let own = canonical(socket.local_addr().ok()?);
        match tracked_destination(socket) {
            Ok(to) if to != own => return Some(to),
            // It was not redirected, or nothing is tracked here.
            Ok(_) | Err(_) => {}
        }
        let is_own = |listener: &SocketAddr| {
            let listener = canonical(*listener);
            listener.port() == own.port()
                && match listener.ip().is_unspecified() {
                    // TPROXY leads there too what is bound for this port of another machine.
                    true => is_of_this_machine(own.ip()),
                    false => listener.ip() == own.ip(),
                }
        };
        (!self.listeners.iter().any(is_own)).then_some(own)
    }

    /// Why a connection would lead back to where it comes from, if it would: it is one of ours, or of another
    /// modtape that is redirected to.
    fn loops(&self, peer: SocketAddr, original: SocketAddr) -> Option<String> {
        if self.sockets.has(peer) {
            return Some(format!(
                "modtape's own connection to {original} was redirected back to it"
            ));
        }
        let user = self.sockets.user_of_modtape(peer, original)?;
        Some(format!(
            "the connection to {original} is that of another modtape, of user {user}: the rules that redirect \
             here have to exempt its mark ({MARK:#x}), or that user where it may not set one"
        ))
    }

    /// Whether a client may connect: all of this machine may.
    fn admits(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.from.is_empty()
            || self.from.iter().any(|network| network.contains(&peer))
            || is_of_this_machine(peer)
    }
}

/// A redirected connection, with the upstream connection that was dialled for it.
pub(super) struct Redirected {
    io: ClientIo,
    /// Bytes that the client sent meanwhile.
    rest: Bytes,
    dialled: Dialled,
}

/// The client sends requests in clear text to a host that we intercept.
pub(super) struct Clear {
    io: Prefixed<ClientIo>,
    upstreams: Arc<Upstreams>,
}

/// Who spoke first.
enum First {
    Client,
    /// The client has closed its side, or all of it.
    ClientClosed,
    Upstream,
    Nobody,
}

impl Redirected {
    /// Dials for a client that may connect; `original` is where it did.
    pub(super) async fn dial(
        client: &Client,
        io: ClientIo,
        redirection: &Redirection,
        original: Option<SocketAddr>,
    ) -> Result<Self, String> {
        let context = &client.context;
        if !redirection.admits(client.peer.ip()) {
            let before = redirection.strangers.fetch_add(1, Ordering::Relaxed);
            let why = format!("{} is in no network of --from", client.peer.ip());
            if before < RECORDED_STRANGERS {
                client.opened(
                    Mode::Refuse,
                    &shown(original),
                    &client.side(),
                    None,
                    Some(&why),
                );
            }
            reset(&io);
            return Err(why);
        }
        let Some(original) = original else {
            return Err(refuse_direct(client, io).await);
        };
        let target = match redirection.loops(client.peer, original) {
            Some(why) => Err(why),
            None => redirection.destinations.of(original).inspect_err(|why| {
                // What would have been asked there is not here.
                if let Some(replay) = context.responder.replay() {
                    replay.refused_address(original, why);
                }
            }),
        };
        let target = target.inspect_err(|why| {
            let shown = original.to_string();
            client.opened(Mode::Refuse, &shown, &client.side(), None, Some(why));
            reset(&io);
        })?;
        let mut redirected = Self {
            io,
            rest: Bytes::new(),
            dialled: Dialled {
                target,
                upstream: None,
                journey: Journey::default(),
                original: Some(original),
                failure: None,
            },
        };
        client.captured.iter().for_each(Stream::is_undecided);
        let Responder::Upstream(dialer) = &context.responder else {
            return Ok(redirected);
        };
        let mut rest = BytesMut::new();
        let Self { io, dialled, .. } = &mut redirected;
        let outcome = tokio::select! {
            outcome = dial(client, dialer, dialled) => outcome,
            () = client_closes(io, &mut rest) => {
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
        // A client whose requests we can answer is told in words, once it has named its host.
        dialled.failure = outcome.err().map(|error| chain(&error));
        redirected.rest = rest.freeze();
        Ok(redirected)
    }

    /// Finds out what the client speaks, and whether that is for us.
    pub(super) async fn listen(
        mut self,
        client: &mut Client,
        redirection: &Redirection,
    ) -> Result<Inside, String> {
        let context = &Arc::clone(&client.context);
        client.place.waits_for_client();
        let first = tokio::select! {
            first = self.first() => first,
            () = self.is_silent(client) => First::Nobody,
            () = context.stop.cancelled() => {
                self.dialled.unused(client, None);
                return Err(context.why_stopped());
            }
        };
        let Self {
            mut io,
            rest,
            mut dialled,
        } = self;
        let mut read = BytesMut::from(rest);
        let beginning = match first {
            First::Client => tokio::select! {
                heard = tokio::time::timeout(
                    context.deadlines.client_hello,
                    opening::read_beginning(&mut io, &mut read),
                ) => heard.unwrap_or(Beginning::Other),
                () = dialled.upstream_speaks() => Beginning::Other,
                () = context.stop.cancelled() => {
                    dialled.unused(client, None);
                    return Err(context.why_stopped());
                }
            },
            First::Upstream => Beginning::Other,
            First::ClientClosed => {
                dialled.unused(client, None);
                return Err(String::from("the client closed before it said anything"));
            }
            First::Nobody if dialled.upstream.is_some() => Beginning::Other,
            First::Nobody => {
                let limit = context.deadlines.client_hello;
                let why = format!("the client said nothing within {limit:?}");
                let why = match (&dialled.failure, context.responder.replay()) {
                    (Some(failure), _) => failure.clone(),
                    (None, Some(_)) => format!("{}; {why}", dialled.not_recorded(client)),
                    (None, None) => why,
                };
                return Err(dialled.refuse(client, &mut io, None, &why).await);
            }
        };
        let io = Prefixed::new(read.freeze(), io);
        let policy = &context.policy;
        let port = dialled.target.port();
        let check = |dialled: &Dialled, host: &str| {
            let names = &redirection.names;
            names.begin(context, dialled, host)
        };
        let mut sni = None;
        let named = match beginning {
            Beginning::Hello(client_hello) => {
                let named = client_hello.server_name.clone();
                let host = named.unwrap_or_else(|| dialled.target.host().to_owned());
                if policy.intercepts(&host) {
                    client.name_check = check(&dialled, &host);
                    return Ok(Inside::Hello(Hello {
                        io,
                        host,
                        client_hello,
                        dialled,
                    }));
                }
                client.captured.iter().for_each(Stream::is_plain);
                sni = client_hello.server_name;
                sni.as_ref().and_then(|name| Target::new(name, port).ok())
            }
            Beginning::Request(named) if named.port() == port => {
                if policy.intercepts(named.host()) {
                    client.name_check = check(&dialled, named.host());
                    return Ok(Inside::Clear(Clear::of(client, io, named, dialled).await));
                }
                client.captured.iter().for_each(Stream::hides);
                Some(named)
            }
            Beginning::Request(_) | Beginning::Other => {
                client.captured.iter().for_each(Stream::hides);
                None
            }
        };
        if let Some(named) = named {
            if !redirection.knows_names {
                client.name_check = check(&dialled, named.host());
            }
            // What was dialled stands beside it.
            dialled.target = named;
        }
        if dialled.upstream.is_some() {
            return Ok(Inside::Blind(Blind { io, sni, dialled }));
        }
        let why = match &dialled.failure {
            Some(failure) => failure.clone(),
            None => dialled.not_recorded(client),
        };
        let mut io = io;
        Err(dialled.refuse(client, io.stream(), sni, &why).await)
    }

    /// Which side sends its first byte, or closes, first.
    async fn first(&self) -> First {
        if !self.rest.is_empty() {
            return First::Client;
        }
        let client = self.io.inner().socket();
        tokio::select! {
            biased;
            heard = has_spoken(client) => match heard {
                true => First::Client,
                false => match tokio::time::timeout(LAST_WORD, self.dialled.upstream_speaks()).await {
                    Ok(()) => First::Upstream,
                    Err(_) => First::ClientClosed,
                }
            },
            heard = self.dialled.upstream_has_spoken() => match heard {
                true => First::Upstream,
                // Its client may not have noticed yet, and is told why once it speaks.
                false => match tokio::time::timeout(LAST_WORD, has_spoken(client)).await {
                    Ok(true) => First::Client,
                    Ok(false) | Err(_) => First::Upstream,
                }
            },
        }
    }

    /// Returns once neither side has said anything for so long that nothing is expected any more.
    async fn is_silent(&self, client: &Client) {
        let deadlines = &client.context.deadlines;
        let limit = match &self.dialled.upstream {
            Some(_) => deadlines.tunnel_idle,
            None => deadlines.client_hello,
        };
        tokio::time::sleep(limit).await;
    }
}

impl Dialled {
    /// Returns whether the upstream has sent a byte, once it has or has closed; never without one.
    async fn upstream_has_spoken(&self) -> bool {
        match &self.upstream {
            Some(upstream) => has_spoken(upstream.socket()).await,
            None => std::future::pending().await,
        }
    }

    /// Returns once the upstream has sent a byte.
    async fn upstream_speaks(&self) {
        if !self.upstream_has_spoken().await {
            std::future::pending().await
        }
    }

    /// Why a replay does not answer.
    fn not_recorded(&self, client: &Client) -> String {
        let (context, target) = (&client.context, &self.target);
        let why = match context.policy.decide(target) {
            Decision::Refuse(why) => why,
            Decision::Intercept | Decision::Tunnel => format!(
                "{} is answered over TLS and HTTP/1 only, and the client spoke neither",
                target.host()
            ),
        };
        if let Some(replay) = context.responder.replay() {
            replay.refused_redirected(target, &why);
        }
        why
    }

    /// Records that a client has nobody to speak to, and lets it know. Returns why.
    async fn refuse(
        &self,
        client: &Client,
        io: &mut ClientIo,
        sni: Option<String>,
        why: &str,
    ) -> String {
        let mut side = client.side();
        side.sni = sni;
        let journey = client.context.is_live().then_some(&self.journey);
        let target = self.target.to_string();
        client.opened(Mode::Refuse, &target, &side, journey, Some(why));
        match client.context.responder {
            // As from a port where nobody listens.
            Responder::Upstream(_) => reset(io),
            Responder::Replay(_) | Responder::Fill(_) if side.sni.is_some() => {
                // The client may be gone already.
                let _ = io.write_all(&ACCESS_DENIED).await;
                client.hang_up(io).await;
            }
            Responder::Replay(_) | Responder::Fill(_) => reset(io),
        }
        why.to_owned()
    }
}

impl Clear {
    async fn of(client: &Client, io: Prefixed<ClientIo>, named: Target, dialled: Dialled) -> Self {
        let context = &client.context;
        client.captured.iter().for_each(Stream::is_plain);
        let journey = context.is_live().then_some(&dialled.journey);
        let error = dialled.failure.as_deref();
        let side = client.side();
        client.opened(Mode::Plain, &named.to_string(), &side, journey, error);
        let Dialled {
            target,
            upstream,
            journey,
            failure,
            ..
        } = dialled;
        let leg = ClientLeg::new(
            context,
            client.id,
            side,
            Destination::Tunnelled {
                target,
                host: named.host().to_owned(),
                is_secure: false,
            },
            Protocol::Http1,
            client.captured.clone(),
        );
        let upstream = upstream.map(Either::Left);
        let upstreams = dialled_for(client, leg, &named, journey, upstream, failure).await;
        Self { io, upstreams }
    }

    /// Serves the requests.
    pub(super) async fn serve(self, client: &Client) -> String {
        serve::run(client, self.upstreams, self.io, None).await
    }
}

/// Tells a client that nobody redirected what this port is for.
async fn refuse_direct(client: &Client, mut io: ClientIo) -> String {
    let why = "nothing redirected this connection: with --mode transparent modtape is no proxy for \
               HTTPS_PROXY (`modtape env --mode transparent` prints rules that redirect)";
    let limit = client.context.deadlines.connect_head;
    match tokio::time::timeout(limit, opening::read(&mut io)).await {
        Ok(Ok(Opening::Connect(_) | Opening::Request { .. })) => {
            client
                .refuse(&mut io, StatusCode::BAD_REQUEST, None, why)
                .await;
        }
        heard => {
            client.opened(Mode::Refuse, "", &client.side(), None, Some(why));
            if let Ok(Ok(Opening::Tls)) = heard {
                // The client may be gone already.
                let _ = io.write_all(&ACCESS_DENIED).await;
                client.hang_up(&mut io).await;
            }
        }
    }
    why.to_owned()
}

/// Returns once the peer has sent a byte, or false once it has closed; the byte stays.
async fn has_spoken(socket: &TcpStream) -> bool {
    matches!(socket.peek(&mut [0]).await, Ok(1..))
}

/// Has the client see a reset once its connection is dropped.
fn reset(io: &ClientIo) {
    // Without it the client sees the connection end in order.
    let _ = SockRef::from(io.inner().socket()).set_linger(Some(Duration::ZERO));
}

fn shown(original: Option<SocketAddr>) -> String {
    original.map_or_else(String::new, |to| to.to_string())
}
