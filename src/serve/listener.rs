//! The clients' connections: HTTP/1.1, and HTTP/2 by ALPN, or in clear text to those who begin with it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::certificate::Certificate;
use super::clients::Clients;
use super::front::{HEAD_BYTES, respond};
use super::pace::{LOOK, Outlet, Pace, Paced};
use super::server::Server;
use crate::tls::{self, Protocol};

/// How long a request head may take, and the first one of a connection.
const HEAD: Duration = Duration::from_secs(15);

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The most header fields of a request.
const FIELDS: usize = 100;

/// Bytes that wait for a client on one stream.
const SEND: usize = 64 << 10;

/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 100;

/// What a client may send of request bodies before they are read, which they never are, bytes: the least that
/// HTTP/2 has (RFC 9113 section 6.9.2).
const WINDOW: u32 = 65_535;

/// The first byte of an HTTP/2 connection, and of no request that is answered here.
const PREFACE: u8 = b'P';

/// How long to wait after an accept that failed, for want of descriptors as a rule.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How long a client that is refused may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// What is sent to a client in clear text that has too many connections.
const TOO_MANY: &str = "429 Too Many Requests";

/// What is sent to a client in clear text where TLS is spoken.
const NOT_TLS: &str = "400 Bad Request";

/// Where clients come from, and what they get.
pub(crate) struct Listening {
    pub(crate) listener: TcpListener,
    /// Each request is answered by the server that is there when it comes.
    pub(crate) servers: watch::Receiver<Arc<Server>>,
    /// What is shown to clients, which then speak TLS.
    pub(crate) certificates: Option<watch::Receiver<Arc<Certificate>>>,
    /// How many clients are served at once; others wait in the kernel's queue.
    pub(crate) places: usize,
    /// How many connections each address may have: see [`Clients::new`].
    pub(crate) of_each: Option<u32>,
}

/// Serves clients until `stop` is cancelled; then requests in flight may take as long as `grace` to end.
pub(crate) async fn serve(listening: Listening, stop: CancellationToken, grace: Duration) {
    let Listening {
        listener, servers, ..
    } = listening;
    let places = listening.places.min(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(places));
    let by_address = Clients::new(listening.of_each);
    let builder = builder();
    let connections = GracefulShutdown::new();
    let (clients, ended) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (stream, address, place) = tokio::select! {
            (accepted, place) = accepted => match accepted {
                Ok((stream, address)) => (stream, address, place),
                Err(error) => {
                    tracing::warn!(target: "modtape::serve", %error, "cannot accept");
                    tokio::time::sleep(BACK_OFF).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let _ = stream.set_nodelay(true);
        let Some(admitted) = by_address.admit(address.ip()) else {
            if listening.certificates.is_none() {
                let _ = stream.try_write(
                    in_words(TOO_MANY, "this address has too many connections").as_bytes(),
                );
            }
            continue;
        };
        let connection = Connection {
            address,
            servers: servers.clone(),
            certificates: listening.certificates.clone(),
            builder: builder.clone(),
            watcher: connections.watcher(),
            stop: stop.clone(),
        };
        let stopped = ended.clone();
        let running = Box::pin(async move {
            let _held = (place, admitted);
            // How a connection ends is its client's matter.
            let _ = connection.run(stream).await;
        });
        clients.spawn(stopped.run_until_cancelled_owned(running));
    }
    drop(listener);
    let _ = tokio::time::timeout(grace, connections.shutdown()).await;
    ended.cancel();
    clients.close();
    clients.wait().await;
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(FIELDS)
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .keep_alive_interval(Duration::from_secs(60));
    builder
}

/// A client's connection, and what it needs.
struct Connection {
    address: SocketAddr,
    servers: watch::Receiver<Arc<Server>>,
    certificates: Option<watch::Receiver<Arc<Certificate>>>,
    builder: Builder<TokioExecutor>,
    watcher: Watcher,
    /// Ends it if it has no request yet.
    stop: CancellationToken,
}

impl Connection {
    /// Serves it to its end; `None` if it never began.
    async fn run(mut self, stream: TcpStream) -> Option<()> {
        // hyper waits for the first byte for ever.
        let mut first = [0];
        let read = tokio::time::timeout(HEAD, stream.peek(&mut first));
        let read = self.stop.run_until_cancelled(read).await?.ok()?.ok()?;
        let Some(certificates) = self.certificates.take() else {
            // Whoever does not begin as HTTP/2 does (RFC 9113 section 3.4): one buffer is enough for it.
            if first[0] != PREFACE {
                self.builder = self.builder.http1_only();
            }
            self.http(stream).await;
            return Some(());
        };
        if read == 1 && first[0] != tls::HANDSHAKE {
            // Boxed, for its buffer.
            Box::pin(refuse_clear(stream)).await;
            return None;
        }
        let stream = self.handshake(&certificates, stream).await?;
        let chosen = stream.get_ref().1.alpn_protocol();
        if chosen == Some(Protocol::Http1.alpn()) {
            self.builder = self.builder.http1_only();
        }
        self.http(stream).await;
        Some(())
    }

    /// Boxed, since what it takes is given back once it is over.
    fn handshake<'a>(
        &'a self,
        certificates: &'a watch::Receiver<Arc<Certificate>>,
        stream: TcpStream,
    ) -> Pin<Box<dyn Future<Output = Option<TlsStream<TcpStream>>> + Send + 'a>> {
        Box::pin(async move {
            let certificate = Arc::clone(&certificates.borrow());
            let handshake = async {
                let acceptor = TlsAcceptor::from(certificate.config().await);
                acceptor.accept(stream).await
            };
            let handshake = tokio::time::timeout(HANDSHAKE, handshake);
            match self.stop.run_until_cancelled(handshake).await? {
                Ok(Ok(stream)) => Some(stream),
                failed => {
                    let why = match failed {
                        Ok(Err(error)) => tls::readable(error).to_string(),
                        _ => format!("it takes longer than {} s", HANDSHAKE.as_secs()),
                    };
                    let client = self.address;
                    tracing::debug!(target: "modtape::serve", %client, "no TLS handshake: {why}");
                    None
                }
            }
        })
    }

    /// Boxed, so that each connection takes what its own way takes: a future in a task has room for all ways, and once
    /// more for each time that it is moved.
    fn http(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let has_asked = Arc::new(AtomicBool::new(false));
        let (asks, servers, address) = (Arc::clone(&has_asked), self.servers, self.address);
        let pace = Pace::new(servers.borrow().clock);
        let of_bodies = Arc::clone(&pace);
        let service = service_fn(move |request: Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            let (now, pace) = (Arc::clone(&servers.borrow()), Arc::clone(&of_bodies));
            async move {
                let response = respond(now, address, request).await?;
                Ok::<_, Infallible>(response.map(|body| Paced::new(body, pace)))
            }
        });
        let stream = Outlet::new(stream, Arc::clone(&pace));
        let (builder, watcher) = (self.builder, self.watcher);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = Box::pin(watcher.watch(connection.into_owned()));
        // hyper waits for the rest of a preface, and for the first stream, for ever.
        let late = async move {
            tokio::time::sleep(HEAD).await;
            while has_asked.load(Ordering::Relaxed) {
                if pace.is_still() {
                    tracing::info!(target: "modtape::serve", client = %address, "took nothing for minutes, and is let go");
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        Box::pin(async move {
            tokio::select! {
                _ = connection => {}
                () = late => {}
            }
        })
    }
}

/// Tells a client that speaks HTTP in clear text what is spoken here, as far as it listens.
async fn refuse_clear(mut stream: TcpStream) {
    let text = in_words(NOT_TLS, "TLS is spoken here: ask with https://");
    let told = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        // Bytes that nobody has read would break the connection off before the answer is read.
        let mut rest = stream.take(HEAD_BYTES as u64);
        let mut bytes = [0; 4096];
        while rest.read(&mut bytes).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(LINGER, told).await;
}

/// A whole response, for those whom hyper does not serve.
fn in_words(status: &str, why: &str) -> String {
    let body = format!("{}{why}\n", crate::proxy::NAME);
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}
