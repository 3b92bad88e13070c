//! The life of one client connection: what it says first, what we make of it, how it ends.
//!
//! CONNECT: decide, dial, answer, see the ClientHello, shake hands upstream, then with the client
//! in the protocol that the upstream chose. One step, one function; one place records the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::answer::reason_phrase;
use super::channel::{Channel, Destination, First, note_opened};
use super::context::Context;
use super::opening::{self, Asked, Hello, Opening};
use super::pair::UpstreamIo;
use super::policy::Decision;
use super::prefixed::Prefixed;
use super::responder::Responder;
use super::serve;
use super::tap::{Marks, Tap};
use super::tunnel;
use crate::clock::Timestamp;
use crate::exchange::{ClientSide, Closed, ConnectionId, Mode, Phase, Target};
use crate::recording::format::{Connection as Line, Event};
use crate::tls::{self, Protocol};
use crate::upstream::{DialError, Dialer, Journey};

/// What a listener's clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// A proxy's clients: CONNECT, or absolute URLs.
    Proxy,
    /// Clients that believe they speak with the origin: TLS, and the server name says which.
    Origin,
}

/// The client's socket, counted.
type ClientIo = Tap<TcpStream>;

/// One client connection.
pub(super) struct Connection {
    context: Arc<Context>,
    id: ConnectionId,
    peer: SocketAddr,
    marks: Arc<Marks>,
    started: Timestamp,
    is_tunnel: bool,
}

/// What a CONNECT led to, before the client said more.
struct Dialled {
    target: Target,
    upstream: Option<TcpStream>,
    journey: Journey,
}

impl Connection {
    pub(super) fn new(context: &Arc<Context>, peer: SocketAddr) -> Self {
        Self {
            id: context.next_connection.fetch_add(1, Ordering::Relaxed) + 1,
            marks: Marks::new(context.clock),
            started: context.clock.now(),
            context: Arc::clone(context),
            peer,
            is_tunnel: false,
        }
    }

    /// Lives the connection's life and records its end.
    pub(super) async fn run(mut self, stream: TcpStream, entrance: Entrance) {
        // Head and body leave as separate writes: without this the second waits for an ACK.
        let _ = stream.set_nodelay(true);
        let io = Tap::new(stream, Arc::clone(&self.marks));
        let why = match entrance {
            Entrance::Proxy => self.serve_proxy(io).await,
            Entrance::Origin => self.serve_origin(io).await,
        };
        let (from_client_bytes, to_client_bytes) = self.marks.bytes();
        let closed = Closed {
            id: self.id,
            from_client_bytes,
            to_client_bytes,
            tunnel: self.is_tunnel,
            why: self.context.redactor.text(&why),
        };
        tracing::debug!(target: "modtape::connection", id = self.id, why = %closed.why, "closed");
        let event = Event::Connection(Line::Closed(closed));
        self.context.note(self.context.clock.now(), &event);
    }

    async fn serve_proxy(&mut self, mut io: ClientIo) -> String {
        let limit = self.context.deadlines.connect_head;
        let opening = match tokio::time::timeout(limit, opening::read(&mut io)).await {
            Ok(Ok(opening)) => opening,
            Ok(Err(error)) => {
                let why = with_source(&error);
                self.refuse(&mut io, "400 Bad Request", ("", None), &why)
                    .await;
                return why;
            }
            Err(_) => return format!("the client sent no whole head within {limit:?}"),
        };
        self.started = self.marks.first_read().unwrap_or(self.started);
        match opening {
            Opening::Connect { target, rest } => self.connect(io, target, rest).await,
            Opening::Request { read } => self.serve_plain(Prefixed::new(read, io)).await,
            Opening::Tls => String::from("the client spoke TLS to the proxy port: use http://"),
        }
    }

    async fn serve_origin(&mut self, io: ClientIo) -> String {
        // There is no CONNECT: the name that TLS asks for is the target.
        let target = match Target::new("origin.invalid", 443) {
            Ok(target) => target,
            Err(error) => return error.to_string(),
        };
        let dialled = Dialled {
            target,
            upstream: None,
            journey: Journey::default(),
        };
        self.after_connect(io, Bytes::new(), dialled).await
    }

    async fn serve_plain(&self, io: Prefixed<ClientIo>) -> String {
        let parts = (Destination::Plain, Protocol::Http1);
        let first = None;
        let channel = Channel::new(&self.context, self.id, self.client(), parts, None, first);
        serve::run(Arc::new(channel), io).await
    }

    async fn connect(&mut self, mut io: ClientIo, target: Target, rest: Bytes) -> String {
        let decision = self.context.policy.decide(&target);
        if let Decision::Refuse(why) = decision {
            let named = (&target.to_string()[..], None);
            self.refuse(&mut io, "502", named, &why).await;
            return why;
        }
        let mut journey = Journey::default();
        let context = Arc::clone(&self.context);
        let upstream = match &context.responder {
            Responder::Replay(_) => None,
            Responder::Upstream(dialer) => match self.dial(dialer, &target, &mut journey).await {
                Ok(stream) => Some(stream),
                Err(error) => {
                    let why = error.diagnosis();
                    let named = (&target.to_string()[..], Some(&journey));
                    self.refuse(&mut io, "502", named, &why).await;
                    return why;
                }
            },
        };
        if let Err(error) = io
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await
        {
            return format!("the client broke off: {error}");
        }
        let dialled = Dialled {
            target,
            upstream,
            journey,
        };
        if decision == Decision::Tunnel {
            return self.tunnel(Prefixed::new(rest, io), dialled).await;
        }
        self.after_connect(io, rest, dialled).await
    }

    async fn dial(
        &self,
        dialer: &Dialer,
        target: &Target,
        journey: &mut Journey,
    ) -> Result<TcpStream, DialError> {
        let live = &self.context.live;
        let entry = live.begin(None, target.host(), String::new(), Phase::Dns);
        dialer
            .connect(target, true, journey, &|phase| entry.enter(phase))
            .await
    }

    /// The tunnel is open: see what the client says in it.
    async fn after_connect(&mut self, mut io: ClientIo, rest: Bytes, dialled: Dialled) -> String {
        let limit = self.context.deadlines.client_hello;
        let hello = opening::read_hello(&mut io, rest);
        let hello = match tokio::time::timeout(limit, hello).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) => return self.unused(&dialled, with_source(&error)),
            Err(_) => {
                let why = format!("the client sent no ClientHello within {limit:?}");
                return self.unused(&dialled, why);
            }
        };
        let Hello { read, tls } = hello;
        let io = Prefixed::new(read, io);
        let Some(asked) = tls else {
            return self.tunnel(io, dialled).await;
        };
        let named = asked
            .server_name
            .as_deref()
            .unwrap_or_else(|| dialled.target.host());
        if !self.context.policy.intercepts(named) {
            return self.tunnel(io, dialled).await;
        }
        self.intercept(io, asked, dialled).await
    }

    /// Shakes hands with the upstream, then with the client in the protocol that came of it.
    async fn intercept(
        &self,
        io: Prefixed<ClientIo>,
        asked: Asked,
        mut dialled: Dialled,
    ) -> String {
        let named = asked
            .server_name
            .as_deref()
            .unwrap_or_else(|| dialled.target.host());
        let host = named.to_owned();
        let (upstream, broken) = self.upstream_tls(&host, &asked, &mut dialled).await;
        let offered = self.client_protocols(&host, &asked, &dialled, broken.is_some());
        let mut client = self.client();
        client.sni = asked.server_name;
        let accepted = self.accept(io, &host, &offered).await;
        if let Ok(tls) = &accepted {
            let (_, session) = tls.get_ref();
            let alpn = session.alpn_protocol().and_then(Protocol::from_alpn);
            client.alpn = alpn.map(|protocol| protocol.name().to_owned());
            client.tls = session
                .protocol_version()
                .map(|v| tls::version_name(v).to_owned());
        }
        let refusal = accepted.as_ref().err().cloned();
        let what = (self.id, self.started, Mode::Intercept);
        let journey = self.context.is_live().then_some(&dialled.journey);
        let target = dialled.target.to_string();
        let error = broken.clone().or(refusal);
        note_opened(&self.context, what, &target, &client, (journey, error));
        let tls = match accepted {
            Ok(tls) => tls,
            Err(why) => return why,
        };
        let protocol = match client.alpn.as_deref() {
            Some("h2") => Protocol::H2,
            _ => Protocol::Http1,
        };
        let now = self.context.clock.now();
        let grace = u64::try_from(self.context.deadlines.first_request.as_micros());
        let first = First {
            started: self.started,
            until: Timestamp::from_micros(now.as_micros() + grace.unwrap_or(u64::MAX / 2)),
            journey: dialled.journey,
        };
        let target = match Target::new(&host, dialled.target.port()) {
            Ok(target) => target,
            Err(error) => return error.to_string(),
        };
        let destination = Destination::Tunnelled {
            target: dialled.target,
            host: target.host().to_owned(),
        };
        let parts = (destination, protocol);
        let first = self.context.is_live().then_some(first);
        let channel = Channel::new(&self.context, self.id, client, parts, broken, first);
        let channel = Arc::new(channel);
        if let Some(upstream) = upstream
            && let Err(error) = channel.pair_with(&target, upstream).await
        {
            return with_source(&error);
        }
        serve::run(channel, tls).await
    }

    /// The upstream handshake; a failure becomes the reason that every request is answered with.
    async fn upstream_tls(
        &self,
        host: &str,
        asked: &Asked,
        dialled: &mut Dialled,
    ) -> (Option<UpstreamIo>, Option<String>) {
        let (Responder::Upstream(dialer), Some(stream)) =
            (&self.context.responder, dialled.upstream.take())
        else {
            return (None, None);
        };
        let entry = self
            .context
            .live
            .begin(None, host, String::new(), Phase::Tls);
        entry.connected(dialled.journey.addr.map(|addr| addr.to_string()));
        let protocols = &asked.protocols;
        let journey = &mut dialled.journey;
        let enter = |phase| entry.enter(phase);
        match dialer
            .handshake(stream, host, protocols, journey, &enter)
            .await
        {
            Ok(tls) => (Some(UpstreamIo::Tls(Box::new(tls))), None),
            Err(error) => (None, Some(error.diagnosis())),
        }
    }

    /// What the client is offered: just what the upstream chose, so that both legs speak the same.
    fn client_protocols(
        &self,
        host: &str,
        asked: &Asked,
        dialled: &Dialled,
        broken: bool,
    ) -> Vec<Protocol> {
        let chosen = match &self.context.responder {
            Responder::Upstream(_) if broken => asked.protocols.first().copied(),
            Responder::Upstream(_) => dialled.journey.alpn,
            Responder::Replay(replay) => replay
                .protocol(host)
                .filter(|protocol| asked.protocols.contains(protocol))
                .or_else(|| asked.protocols.first().copied()),
        };
        chosen.into_iter().collect()
    }

    /// Our handshake with the client, with a leaf for `host`.
    async fn accept(
        &self,
        io: Prefixed<ClientIo>,
        host: &str,
        offered: &[Protocol],
    ) -> Result<tokio_rustls::server::TlsStream<Prefixed<ClientIo>>, String> {
        let settings = self.context.leafs.settings(host, offered);
        let settings = settings.map_err(|error| with_source(&error))?;
        let accepting = tokio_rustls::TlsAcceptor::from(settings).accept(io);
        let limit = self.context.deadlines.client_hello;
        match tokio::time::timeout(limit, accepting).await {
            Ok(Ok(tls)) => Ok(tls),
            Ok(Err(error)) => Err(refusal(&error)),
            Err(_) => Err(format!("the client did not complete TLS within {limit:?}")),
        }
    }

    async fn tunnel(&mut self, mut io: Prefixed<ClientIo>, dialled: Dialled) -> String {
        let Dialled {
            target,
            upstream,
            journey,
        } = dialled;
        let mode = if upstream.is_some() {
            Mode::Tunnel
        } else {
            Mode::Refuse
        };
        let error = upstream
            .is_none()
            .then(|| String::from("not on the recording"));
        let what = (self.id, self.started, mode);
        let journey = upstream.is_some().then_some(&journey);
        let client = self.client();
        note_opened(
            &self.context,
            what,
            &target.to_string(),
            &client,
            (journey, error),
        );
        let Some(mut upstream) = upstream else {
            return String::from("a replay has nobody to relay to");
        };
        self.is_tunnel = true;
        tunnel::relay(&self.context, &mut io, &mut upstream, &self.marks).await
    }

    /// Says no to a CONNECT; the reason phrase is all that the go command shows.
    async fn refuse(
        &self,
        io: &mut ClientIo,
        status: &str,
        (target, journey): (&str, Option<&Journey>),
        why: &str,
    ) {
        let what = (self.id, self.started, Mode::Refuse);
        let error = Some(why.to_owned());
        note_opened(
            &self.context,
            what,
            target,
            &self.client(),
            (journey, error),
        );
        let status = status.split(' ').next().unwrap_or("502");
        let phrase = reason_phrase(&self.context.redactor.text(why));
        let head =
            format!("HTTP/1.1 {status} {phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        // The client may be gone: then nobody reads why.
        let _ = io.write_all(head.as_bytes()).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), io.shutdown()).await;
    }

    /// A CONNECT that led nowhere: the go command races ten of them and uses one.
    fn unused(&self, dialled: &Dialled, why: String) -> String {
        let what = (self.id, self.started, Mode::Intercept);
        let journey = self.context.is_live().then_some(&dialled.journey);
        let target = dialled.target.to_string();
        note_opened(
            &self.context,
            what,
            &target,
            &self.client(),
            (journey, None),
        );
        why
    }

    fn client(&self) -> ClientSide {
        ClientSide {
            addr: self.peer.to_string(),
            ..ClientSide::default()
        }
    }
}

/// An error and what caused it, in one line.
fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A failed handshake in the user's words: nearly always the client does not know our root.
fn refusal(error: &std::io::Error) -> String {
    let text = error.to_string();
    let distrust = ["UnknownCA", "BadCertificate", "CertificateUnknown"];
    if distrust.iter().any(|alert| text.contains(alert)) {
        return format!("the client does not trust modtape's root ({text})");
    }
    format!("TLS with the client failed: {text}")
}
