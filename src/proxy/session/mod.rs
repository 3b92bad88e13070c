//! The life of one client connection: what it says first, what we make of it, how it ends.
//!
//! CONNECT: decide, dial, answer, see the ClientHello, shake hands upstream, then with the client
//! in the protocol that the upstream chose. One step, one function; one place records the end.

mod connect;
mod intercept;
pub(crate) mod opening;
mod refusal;
mod serve;
mod tunnel;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server;
use tokio_util::sync::CancellationToken;

use self::opening::{Hello, Opening};
use self::refusal::{Refusal, Refused};

use crate::capture::{Stream, Wire};
use crate::clock::Timestamp;
use crate::exchange::{ClientSide, Closed, ConnectionId, Mode, Target, chain};
use crate::proxy::access::Gate;
use crate::proxy::connection_log::{self, note_opened};
use crate::proxy::context::Context;
use crate::proxy::context::Responder;
use crate::proxy::io::Prefixed;
use crate::proxy::io::linger;
use crate::proxy::io::{Marks, Tap};
use crate::proxy::policy::Decision;
use crate::proxy::room::{Doing, Place};
use crate::proxy::upstreams::{Channel, Destination};
use crate::recording::format::{Connection as Line, Event};
use crate::tls::Protocol;
use crate::upstream::{Journey, keep_alive};

/// What a listener's clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// A proxy's clients: CONNECT, or absolute URLs.
    Proxy,
    /// Clients that believe they speak with the origin: TLS, and the server name says which.
    Origin,
}

/// The client's socket, counted.
pub(super) type ClientIo = Tap<Wire>;

/// One client connection.
pub(super) struct Connection {
    pub(super) context: Arc<Context>,
    pub(super) id: ConnectionId,
    peer: SocketAddr,
    pub(super) marks: Arc<Marks>,
    pub(super) started: Timestamp,
    /// True once requests may come.
    pub(super) serving: Arc<AtomicBool>,
    pub(super) is_tunnel: bool,
    /// The client's connection in the packet capture, if there is one.
    pub(super) stream: Option<Stream>,
    pub(super) place: Place,
    pub(super) gate: Gate,
    /// The target of the last CONNECT that came without the token.
    barred: String,
    /// The head of the CONNECT.
    head: Bytes,
}

/// What a CONNECT led to, before the client said more.
pub(super) struct Dialled {
    pub(super) target: Target,
    pub(super) upstream: Option<Wire>,
    pub(super) journey: Journey,
}

impl Connection {
    pub(super) fn new(
        context: &Arc<Context>,
        peer: SocketAddr,
        (id, place): (ConnectionId, Place),
    ) -> Self {
        Self {
            id,
            marks: Arc::clone(&place.seat.marks),
            place,
            started: context.clock.now(),
            context: Arc::clone(context),
            peer,
            serving: Arc::default(),
            is_tunnel: false,
            stream: None,
            gate: Gate::new(&context.access),
            barred: String::new(),
            head: Bytes::new(),
        }
    }

    /// Lives the connection's life and records its end.
    pub(super) async fn run(mut self, stream: TcpStream, entrance: Entrance) {
        // Head and body leave as separate writes: without this the second waits for an ACK.
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        let context = Arc::clone(&self.context);
        let wire = Wire::accepted(stream, self.peer, context.capture.as_ref());
        self.stream = wire.stream().cloned();
        if let Some(stream) = &self.stream {
            stream.has_read(format!("connection={}", self.id));
        }
        let io = Tap::new(wire, Arc::clone(&self.marks));
        let serving = Arc::clone(&self.serving);
        let leave = self.place.seat.leave.clone();
        let life = async {
            let next = match entrance {
                Entrance::Proxy => Box::pin(self.serve_proxy(io)).await,
                Entrance::Origin => Box::pin(self.serve_origin(io)).await,
            };
            self.follow(next).await
        };
        // What is served has its time to end; a dial or a handshake serves nobody any more.
        let stopped = async {
            context.stop.cancelled().await;
            if serving.load(Ordering::Relaxed) {
                context.drained().await;
            }
        };
        let why = tokio::select! {
            // First what is going on: it notes what it knows of a connection that is stopped.
            biased;
            why = life => why,
            () = stopped => context.stopped(),
            // What is served ends in order: see `follow`.
            () = left(&leave, &serving) => String::from(ROOM_WANTED),
        };
        if self.gate.is_strangers() {
            if !self.gate.is_named() {
                return;
            }
            let what = (self.id, self.started, Mode::Refuse);
            let error = match self.gate.has_refused() {
                true => String::from("407: the client did not show the token"),
                false => self.context.redactor.text(&why),
            };
            let error = Some(error);
            let client = self.client();
            note_opened(&context, what, &self.barred, &client, (None, error));
        }
        let (from_client_bytes, to_client_bytes) = self.marks.bytes();
        let closed = Closed {
            id: self.id,
            from_client_bytes,
            to_client_bytes,
            tunnel: self.is_tunnel,
            why: self.context.redactor.text(&why),
        };
        connection_log::closed(&closed);
        let event = Event::Connection(Line::Closed(closed));
        self.context.note(self.context.clock.now(), &event);
    }

    async fn serve_proxy(&mut self, mut io: ClientIo) -> Next {
        loop {
            let opening = match self.opening(&mut io).await {
                Ok(opening) => opening,
                Err(why) => return Next::Over(why),
            };
            let (target, head, shown, rest) = match opening {
                Opening::Connect {
                    target,
                    head,
                    shown,
                    rest,
                } => (target, head, shown, rest),
                Opening::Request { read } => {
                    return self.plain(Prefixed::new(read, io));
                }
                Opening::Tls => {
                    let why = "the client spoke TLS to the proxy port: use http://";
                    return Next::Over(why.to_owned());
                }
            };
            if self.gate.admits(shown.iter().map(Vec::as_slice)) {
                self.head = head;
                return self.connect(io, target, rest).await;
            }
            self.barred = target.to_string();
            // Whoever did not wait for the answer has sent what is no request.
            let closes = self.gate.is_shut() || !rest.is_empty();
            let answer = self.gate.challenge_head(closes);
            if let Err(error) = io.write_all(answer.as_bytes()).await {
                return Next::Over(format!("the client broke off: {error}"));
            }
            if closes {
                self.hang_up(&mut io).await;
                return Next::Over(String::from("the client did not show the token"));
            }
            self.marks.expect_read();
        }
    }

    async fn opening(&mut self, io: &mut ClientIo) -> Result<Opening, String> {
        let limit = self.context.deadlines.connect_head;
        match tokio::time::timeout(limit, opening::read(io)).await {
            Ok(Ok(opening)) => {
                self.started = self.marks.first_read().unwrap_or(self.started);
                Ok(opening)
            }
            Ok(Err(error)) => {
                let why = chain(&error);
                self.refuse(io, StatusCode::BAD_REQUEST, None, &why).await;
                Err(why)
            }
            Err(_) => Err(format!("the client sent no whole head within {limit:?}")),
        }
    }

    async fn serve_origin(&self, io: ClientIo) -> Next {
        // There is no CONNECT: the name that TLS asks for is the target.
        let target = match Target::new("origin.invalid", 443) {
            Ok(target) => target,
            Err(error) => return Next::Over(error.to_string()),
        };
        let dialled = Dialled {
            target,
            upstream: None,
            journey: Journey::default(),
        };
        self.after_connect(io, Bytes::new(), dialled).await
    }

    fn plain(&self, io: Prefixed<ClientIo>) -> Next {
        self.stream.iter().for_each(Stream::is_plain);
        let parts = (Destination::Plain, Protocol::Http1);
        let first = None;
        let channel = Channel::new(&self.context, self.id, self.client(), parts, None, first);
        let channel = channel.captured_as(self.stream.clone());
        Next::Plain(Arc::new(channel), io)
    }

    async fn connect(&self, mut io: ClientIo, target: Target, rest: Bytes) -> Next {
        let decision = self.context.policy.decide(&target);
        if let Some(stream) = &self.stream {
            stream.has_read_connect(&rest, decision == Decision::Tunnel);
        }
        let mut rest = BytesMut::from(rest);
        if let Decision::Refuse(why) = decision {
            if let Responder::Replay(replay) = &self.context.responder {
                replay.refused(&target, &why);
            }
            let named = Some((&target, None));
            self.refuse(&mut io, StatusCode::BAD_GATEWAY, named, &why)
                .await;
            return Next::Over(why);
        }
        let mut journey = Journey::default();
        let leg = (&mut io, &mut rest);
        let upstream = match self.upstream_for(leg, &target, &mut journey).await {
            Ok(upstream) => upstream,
            Err(why) => return Next::Over(why),
        };
        if let Err(error) = io
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await
        {
            return Next::Over(format!("the client broke off: {error}"));
        }
        let dialled = Dialled {
            target,
            upstream,
            journey,
        };
        if decision == Decision::Tunnel {
            return self.tunnel(Prefixed::new(rest.freeze(), io), None, dialled);
        }
        self.place
            .seat
            .does(Doing::Opening(self.context.clock.now()));
        self.after_connect(io, rest.freeze(), dialled).await
    }

    /// The tunnel is open: see what the client says in it.
    async fn after_connect(&self, mut io: ClientIo, rest: Bytes, dialled: Dialled) -> Next {
        let limit = self.context.deadlines.client_hello;
        let hello = tokio::time::timeout(limit, opening::read_hello(&mut io, rest));
        let hello = tokio::select! {
            hello = hello => hello,
            () = self.context.stop.cancelled() => {
                return Next::Over(self.unused(&dialled, None, self.context.stopped()));
            }
        };
        let hello = match hello {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) => {
                if let Some(alert) = error.alert() {
                    // The client may be gone: then nobody reads why.
                    let _ = io.write_all(alert).await;
                    self.hang_up(&mut io).await;
                }
                let told = error.is_worth_telling().then(|| chain(&error));
                return Next::Over(self.unused(&dialled, told, chain(&error)));
            }
            Err(_) => {
                let why = format!("the client sent no ClientHello within {limit:?}");
                return Next::Over(self.unused(&dialled, Some(why.clone()), why));
            }
        };
        let Hello { read, tls } = hello;
        let io = Prefixed::new(read, io);
        let Some(asked) = tls else {
            return self.tunnel(io, None, dialled);
        };
        let named = asked.server_name.clone();
        let host = named.unwrap_or_else(|| dialled.target.host().to_owned());
        if !self.context.policy.intercepts(&host) {
            return self.tunnel(io, asked.server_name, dialled);
        }
        self.intercept(io, (host, asked), dialled).await
    }

    /// Relays blindly; `sni` is the server name, if one was read.
    fn tunnel(&self, io: Prefixed<ClientIo>, sni: Option<String>, dialled: Dialled) -> Next {
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
        let mut client = self.client();
        client.sni = sni;
        note_opened(
            &self.context,
            what,
            &target.to_string(),
            &client,
            (journey, error),
        );
        match upstream {
            Some(upstream) => Next::Tunnel(io, upstream),
            None => Next::Over(String::from("a replay has nobody to relay to")),
        }
    }

    /// Says no to a CONNECT, of this target if it could be read, and records that.
    pub(super) async fn refuse(
        &self,
        io: &mut ClientIo,
        status: StatusCode,
        named: Option<(&Target, Option<&Journey>)>,
        why: &str,
    ) {
        let refusal = Refusal::new(status, &self.context.redactor.text(why));
        // A stranger gets one line at the end, if any: see `run`.
        if !self.gate.is_strangers() {
            let what = (self.id, self.started, Mode::Refuse);
            let target = named.map_or_else(String::new, |(target, _)| target.to_string());
            let journey = named.and_then(|(_, journey)| journey);
            let outcome = (journey, Some(why.to_owned()));
            note_opened(&self.context, what, &target, &self.client(), outcome);
            if let Some((target, journey)) = named {
                let refused = Refused {
                    connection: self.id,
                    started: self.started,
                    target,
                    head: &self.head,
                    journey,
                };
                refusal.note(&self.context, refused).await;
            }
        }
        // The client may be gone: then nobody reads why.
        let _ = io.write_all(&refusal.to_octets()).await;
        self.hang_up(io).await;
    }

    /// Ends the connection behind our last words, at once where we are told to stop.
    async fn hang_up(&self, io: &mut ClientIo) {
        tokio::select! {
            () = linger::hang_up(io) => {}
            () = self.context.stop.cancelled() => {}
        }
    }

    /// A CONNECT that led nowhere: the go command races ten of them and uses one, which is no
    /// error.
    pub(super) fn unused(&self, dialled: &Dialled, error: Option<String>, why: String) -> String {
        let what = (self.id, self.started, Mode::Intercept);
        let journey = self.context.is_live().then_some(&dialled.journey);
        let target = dialled.target.to_string();
        note_opened(
            &self.context,
            what,
            &target,
            &self.client(),
            (journey, error),
        );
        why
    }

    pub(super) fn client(&self) -> ClientSide {
        ClientSide {
            addr: self.peer.to_string(),
            ..ClientSide::default()
        }
    }
}

/// What the opening of a connection led to. Its future is dropped before what follows begins: it is
/// larger, and would else be kept for as long as the connection lasts.
pub(super) enum Next {
    /// Nothing more; why.
    Over(String),
    /// Requests come in clear text.
    Plain(Arc<Channel>, Prefixed<ClientIo>),
    /// Requests come inside TLS.
    Intercepted(Arc<Channel>, Box<server::TlsStream<Prefixed<ClientIo>>>),
    /// Octets pass both ways.
    Tunnel(Prefixed<ClientIo>, Wire),
}

impl Connection {
    /// What comes after the opening, for the rest of the connection's life.
    pub(super) async fn follow(&mut self, next: Next) -> String {
        let seat = Arc::clone(&self.place.seat);
        match next {
            Next::Over(why) => why,
            Next::Tunnel(mut io, mut upstream) => {
                self.is_tunnel = true;
                let legs = self.stream.iter().chain(upstream.stream());
                legs.for_each(Stream::blinds);
                seat.does(Doing::Tunnel(self.context.clock.now()));
                tunnel::relay(&self.context, &mut io, &mut upstream, &self.marks).await
            }
            Next::Plain(channel, io) => {
                let gate = Some(self.gate.clone());
                self.serve(channel, io, gate).await
            }
            // Boxed: a future holds a value once for every step that passes it on.
            Next::Intercepted(channel, io) => self.serve(channel, io, None).await,
        }
    }

    async fn serve<IO>(&self, channel: Arc<Channel>, io: IO, gate: Option<Gate>) -> String
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let seat = &self.place.seat;
        seat.does(Doing::Serving(Arc::clone(channel.watch())));
        self.serving.store(true, Ordering::Relaxed);
        // Boxed with its exact type, so that the other ways do not take its room.
        let mut serving = Box::pin(serve::run(Arc::clone(&channel), io, gate));
        tokio::select! {
            why = &mut serving => why,
            () = seat.leave.cancelled() => {
                channel.ended.cancel();
                tokio::select! {
                    _ = &mut serving => {}
                    () = overstays(&channel) => {}
                }
                String::from(ROOM_WANTED)
            }
        }
    }
}

/// How long who was told to go may take to leave once all is answered.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// Returns once a client that was told to go has had its time. Over HTTP/2 it has to say that it
/// heard us, and may never do so.
async fn overstays(channel: &Channel) {
    let clock = channel.context().clock;
    let told = clock.now();
    loop {
        let now = clock.now();
        let done = channel.watch().done_since();
        let until = done.map_or(now, |done| done.max(told)) + LEAVE_WITHIN;
        if now >= until {
            return;
        }
        tokio::time::sleep_until(clock.instant(until)).await;
    }
}

/// Returns when a connection that serves nobody has to go.
pub(super) async fn left(leave: &CancellationToken, serving: &AtomicBool) {
    leave.cancelled().await;
    if serving.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

/// Why an idle connection ended: all descriptors that are for clients are taken.
pub(super) const ROOM_WANTED: &str = "idle, and its place was wanted by another client";
