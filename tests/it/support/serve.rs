//! One connection of an origin, from its first byte to its end.
//!
//! Decides between TLS and clear text, runs the scripted handshake, and hands the stream to the
//! HTTP library; what a request is answered stands in `answer`.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::HandshakeKind;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_rustls::server::{StartHandshake, TlsStream};
use tokio_rustls::{LazyConfigAcceptor, server};

use super::answer::answer;
use super::certs::{Shape, leaf_name};
use super::handshake::Handshake;
use super::log::{ConnectionSeen, TlsFailure};
use super::origin::Site;
use super::rules::Instead;

/// Serves one connection to its end.
pub async fn serve(site: Arc<Site>, stream: TcpStream) {
    let link = Link::open(site);
    sleep(link.site.accept_delay).await;
    let mut first = [0];
    let is_tls = match stream.peek(&mut first).await {
        Ok(1) => first[0] == TLS_HANDSHAKE,
        _ => return,
    };
    let wire = Wire {
        stream,
        is_reset: link.is_reset.clone(),
        flushed: link.flushed.clone(),
    };
    if is_tls {
        serve_tls(link, wire).await;
    } else {
        serve_http1(link, wire).await;
    }
}

/// What the log, the rules and the requests of one connection share; dropped, it is closed.
pub struct Link {
    pub site: Arc<Site>,
    pub id: u64,
    /// Rung to end the connection once the answers under way are out.
    pub finish: Arc<Notify>,
    /// Rung when all that was written has reached the kernel.
    pub flushed: Arc<Notify>,
    kill: Notify,
    is_reset: Arc<AtomicBool>,
    requests: AtomicUsize,
    max_requests: AtomicUsize,
}

impl Link {
    fn open(site: Arc<Site>) -> Arc<Self> {
        let id = site.ledger.update(|log| {
            let id = log.connections.len() as u64;
            log.connections.push(ConnectionSeen {
                id,
                ..ConnectionSeen::default()
            });
            id
        });
        Arc::new(Self {
            site,
            id,
            finish: Arc::default(),
            flushed: Arc::default(),
            kill: Notify::new(),
            is_reset: Arc::default(),
            requests: AtomicUsize::new(0),
            max_requests: AtomicUsize::new(usize::MAX),
        })
    }

    /// Counts a request; whether it is the last one allowed on this connection.
    pub fn is_last_request(&self) -> bool {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        count >= self.max_requests.load(Ordering::Relaxed)
    }

    /// Does what stands in place of an answer; never comes back.
    pub async fn act<T>(&self, instead: Instead) -> T {
        if instead != Instead::Silence {
            self.is_reset
                .store(instead == Instead::Reset, Ordering::Relaxed);
            self.kill.notify_one();
        }
        pending().await
    }

    fn note(&self, change: impl FnOnce(&mut ConnectionSeen)) {
        self.site
            .ledger
            .update(|log| change(&mut log.connections[self.id as usize]));
    }

    fn note_failure(&self, sni: Option<String>, error: &io::Error) {
        let (connection, error) = (self.id, error.to_string());
        self.site.ledger.update(|log| {
            log.tls_failures.push(TlsFailure {
                connection,
                sni,
                error,
            })
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.note(|seen| seen.is_closed = true);
    }
}

/// The first byte of a TLS record that carries a handshake (RFC 8446, 5.1).
pub const TLS_HANDSHAKE: u8 = 0x16;

async fn serve_tls(link: Arc<Link>, wire: Wire) {
    let start = match LazyConfigAcceptor::new(Acceptor::default(), wire).await {
        Ok(start) => start,
        Err(error) => return link.note_failure(None, &error),
    };
    let hello = start.client_hello();
    let sni = hello.server_name().map(str::to_owned);
    let offered = hello.alpn().into_iter().flatten();
    let offered = offered
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    link.note(|seen| (seen.sni, seen.offered_alpn) = (sni.clone(), offered));
    let rule = pick(&link.site, sni.as_deref());
    sleep(rule.delay).await;
    if let Some(instead) = rule.instead {
        return refuse(&link, start, instead).await;
    }
    let Some(config) = config(&link, &start, &rule, sni.as_deref()) else {
        return;
    };
    match start.into_stream(config).await {
        Ok(stream) => serve_established(link, stream, &rule).await,
        Err(error) => link.note_failure(sni, &error),
    }
}

fn pick(site: &Site, sni: Option<&str>) -> Handshake {
    let handshakes = site.handshakes.lock().expect("no panic while locked");
    let found = handshakes.iter().find(|handshake| handshake.takes(sni));
    found.cloned().unwrap_or_else(Handshake::any)
}

fn config(
    link: &Link,
    start: &StartHandshake<Wire>,
    rule: &Handshake,
    sni: Option<&str>,
) -> Option<Arc<rustls::ServerConfig>> {
    let dialled = start.io.stream.local_addr().ok()?.ip();
    Some(link.site.root.config(&Shape {
        name: leaf_name(sni, dialled),
        leaf: rule.leaf,
        alpn: rule.alpn.unwrap_or(link.site.alpn).protocols(),
        versions: link.site.tls,
        wants_certificate: false,
    }))
}

/// Ends a connection after its ClientHello, or keeps it silent until the client leaves.
async fn refuse(link: &Link, mut start: StartHandshake<Wire>, instead: Instead) {
    link.is_reset
        .store(instead == Instead::Reset, Ordering::Relaxed);
    let mut ignored = [0; 1024];
    while instead == Instead::Silence && matches!(start.io.read(&mut ignored).await, Ok(1..)) {}
}

async fn serve_established(link: Arc<Link>, stream: TlsStream<Wire>, rule: &Handshake) {
    let session = stream.get_ref().1;
    let alpn = session
        .alpn_protocol()
        .map(|name| String::from_utf8_lossy(name).into_owned());
    link.note(|seen| {
        seen.alpn = alpn.clone();
        seen.tls = session
            .protocol_version()
            .map(|version| format!("{version:?}"));
        seen.is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    });
    if rule.resets_after {
        return link.is_reset.store(true, Ordering::Relaxed);
    }
    link.max_requests
        .store(rule.max_requests.unwrap_or(usize::MAX), Ordering::Relaxed);
    if alpn.as_deref() == Some("h2") {
        serve_http2(link, stream).await;
    } else {
        serve_http1(link, stream).await;
    }
}

async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin>(link: Arc<Link>, stream: S) {
    let service = service_fn(|request| answer(link.clone(), request));
    let connection = http1::Builder::new()
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(stream), service);
    drive(&link, connection, http1::Connection::graceful_shutdown).await;
}

async fn serve_http2(link: Arc<Link>, stream: server::TlsStream<Wire>) {
    let shared = link.clone();
    let service = service_fn(move |request| answer(shared.clone(), request));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    if let Some(streams) = link.site.stream_limit {
        builder.max_concurrent_streams(streams);
    }
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    drive(&link, connection, http2::Connection::graceful_shutdown).await;
}

/// Runs a connection until it ends, is asked to finish, or is killed.
///
/// What ends it is the client's matter or a rule's, so the error is of no interest.
async fn drive<C: Future>(link: &Link, connection: C, finish: fn(Pin<&mut C>)) {
    let mut connection = std::pin::pin!(connection);
    loop {
        tokio::select! {
            biased;
            () = link.kill.notified() => return,
            () = link.finish.notified() => finish(connection.as_mut()),
            _ = poll_fn(|context| connection.as_mut().poll(context)) => return,
        }
    }
}

/// The TCP stream below TLS, which can be dropped with a reset.
pub struct Wire {
    stream: TcpStream,
    is_reset: Arc<AtomicBool>,
    flushed: Arc<Notify>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.is_reset.load(Ordering::Relaxed) {
            self.stream.set_zero_linger().expect("a socket can be set");
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.flushed.notify_waiters();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
