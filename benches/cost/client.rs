//! The client: connections through the recorder or past it, one request after the other on each
//! stream.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use modtape::clock::{Clock, Timestamp};
use modtape::tls::{ClientConfigs, Protocol, RootSources, Roots};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Whom the requests name.
pub(crate) const HOST: &str = "proxy.golang.org";

/// What the go command has for a window on each stream, bytes (net/http/h2_bundle.go,
/// `transportDefaultStreamFlow`).
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;

/// The same for a connection: go has 1 GiB, of which nothing comes near.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// Where to connect, and whom to trust there.
#[derive(Clone)]
pub(crate) struct Route {
    /// The origin, or the recorder in front of it.
    address: SocketAddr,
    is_proxy: bool,
    configs: Arc<ClientConfigs>,
}

/// One connection with its handshakes done.
#[derive(Clone)]
pub(crate) enum Connection {
    /// Shared by nobody: HTTP/1.1 has one request at a time.
    Http1(Arc<tokio::sync::Mutex<http1::SendRequest<Empty<Bytes>>>>),
    /// Each clone is a stream of it.
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// When a response came, counted from its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    /// To the first byte of the body, microseconds.
    pub(crate) first_us: u64,
    /// To the end, microseconds.
    pub(crate) whole_us: u64,
}

impl Route {
    /// Trusts the roots in `pem` and no others; a proxy is asked with CONNECT first.
    pub(crate) fn new(address: SocketAddr, is_proxy: bool, pem: PathBuf) -> anyhow::Result<Self> {
        let roots = Roots::load(&RootSources {
            file: Some(PathBuf::from("/dev/null")),
            dirs: Some("/dev/null".into()),
            extra: vec![pem],
        })?;
        Ok(Self {
            address,
            is_proxy,
            configs: Arc::new(ClientConfigs::new(&roots)),
        })
    }

    /// A connection that has answered one request.
    pub(crate) async fn connect(
        &self,
        protocol: Protocol,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Connection> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        if self.is_proxy {
            establish(&mut stream).await?;
        }
        let mut config = Arc::unwrap_or_clone(self.configs.offering(&[protocol]));
        // As the go command's, which has no ClientSessionCache (crypto/tls): a proxy that hands out
        // tickets would else save a signature a connection that it makes for go.
        config.resumption = Resumption::disabled();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector
            .connect(ServerName::try_from(HOST)?, stream)
            .await?;
        ensure!(
            stream.get_ref().1.alpn_protocol() == Some(protocol.alpn()),
            "another protocol"
        );
        let io = TokioIo::new(stream);
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tasks.spawn(async move { drop(connection.await) });
                Connection::Http1(Arc::new(sender.into()))
            }
            Protocol::H2 => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(STREAM_WINDOW)
                    .initial_connection_window_size(CONNECTION_WINDOW)
                    .handshake(io)
                    .await?;
                tasks.spawn(async move { drop(connection.await) });
                Connection::Http2(sender)
            }
        })
    }
}

async fn establish(stream: &mut TcpStream) -> anyhow::Result<()> {
    let head = format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut answer).await? > 0, "the proxy closed");
    }
    ensure!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

impl Connection {
    /// Asks for `path` and takes the whole body, which must have that many bytes.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        bytes: u64,
        clock: Clock,
    ) -> anyhow::Result<Answered> {
        let started = clock.now();
        let response = self.send(path).await?;
        ensure!(response.status() == 200, "{path}: {}", response.status());
        let mut body = response.into_body();
        let mut first: Option<Timestamp> = None;
        let mut seen = 0;
        while let Some(frame) = body.frame().await {
            let data = frame?.into_data().unwrap_or_default();
            first.get_or_insert_with(|| clock.now());
            seen += data.len() as u64;
        }
        ensure!(seen == bytes, "{path}: {seen} bytes");
        let whole = clock.now();
        Ok(Answered {
            first_us: first.unwrap_or(whole).micros_since(started),
            whole_us: whole.micros_since(started),
        })
    }

    async fn send(&mut self, path: &str) -> anyhow::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await?;
                Ok(sender
                    .send_request(request(Version::HTTP_11, path)?)
                    .await?)
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                Ok(sender.send_request(request(Version::HTTP_2, path)?).await?)
            }
        }
    }
}

/// With the fields that the go command sends.
fn request(version: Version, path: &str) -> anyhow::Result<Request<Empty<Bytes>>> {
    let (uri, agent) = match version {
        Version::HTTP_2 => (format!("https://{HOST}{path}"), "Go-http-client/2.0"),
        _ => (path.to_owned(), "Go-http-client/1.1"),
    };
    let mut request = Request::get(uri).version(version);
    if version != Version::HTTP_2 {
        request = request.header("host", HOST);
    }
    let request = request
        .header("user-agent", agent)
        .header("accept-encoding", "gzip");
    request
        .body(Empty::new())
        .context("a request from constants")
}
