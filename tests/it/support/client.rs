//! A raw client: TCP, `CONNECT` through a proxy, TLS, then bytes or HTTP requests.
//!
//! One value is one connection, so that a test sees exactly what its connection lives through. Every
//! wait has the limit [`LIMIT`].

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::origin::{Alpn, Tls};
use super::session::Session;

/// One connection, at whatever layer it has reached.
pub struct Client {
    pub(super) stream: Box<dyn Stream>,
    /// What TLS brought; `None` before the handshake.
    pub tls: Option<Established>,
    /// The name for `Host` and `:authority`.
    pub(super) host: String,
    /// Read behind the last head.
    pub(super) buffer: Vec<u8>,
}

/// What a handshake brought.
#[derive(Clone, Debug)]
pub struct Established {
    /// The protocol that the server chose.
    pub alpn: Option<String>,
    /// As rustls names it: `TLSv1_3`.
    pub version: String,
    /// The server's certificates in DER, leaf first; empty if the session was resumed.
    pub chain: Vec<Vec<u8>>,
}

/// A proxy's answer to `CONNECT`.
pub struct Connected {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// The whole head, with its empty line.
    pub head: String,
    /// The body, as far as `content-length` says.
    pub body: String,
    /// The connection; a tunnel if the status is 200.
    pub client: Client,
}

/// What a ClientHello says and which root its sender trusts.
#[derive(Clone, Debug)]
pub struct Hello {
    name: String,
    has_sni: bool,
    root_pem: PathBuf,
    alpn: Alpn,
    tls: Tls,
}

/// Any byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How long a client waits for anything: long enough for a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(30);

impl Client {
    /// A TCP connection, to a proxy or an origin.
    pub async fn open(addr: SocketAddr) -> Self {
        let opened = Self::try_open(addr).await;
        opened.expect("something listens there")
    }

    async fn try_open(addr: SocketAddr) -> io::Result<Self> {
        Self::open_on(socket_for(addr), addr).await
    }

    /// The same with a kernel that takes little ahead: a client that stops reading is felt soon.
    pub async fn open_narrow(addr: SocketAddr) -> Self {
        let socket = socket_for(addr);
        socket
            .set_recv_buffer_size(16 << 10)
            .expect("a socket can be set");
        let opened = Self::open_on(socket, addr).await;
        opened.expect("something listens there")
    }

    async fn open_on(socket: TcpSocket, addr: SocketAddr) -> io::Result<Self> {
        let stream = within(socket.connect(addr)).await?;
        stream.set_nodelay(true)?;
        let (stream, host) = (Box::new(stream), addr.to_string());
        Ok(Self {
            stream,
            tls: None,
            host,
            buffer: Vec::new(),
        })
    }

    /// As [`session`](Self::session), where the proxy may be killed meanwhile.
    pub async fn try_session(proxy: SocketAddr, hello: &Hello) -> Option<Session> {
        let mut client = Self::try_open(proxy).await.ok()?;
        let target = format!("{}:443", hello.name);
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        client.send(head).await.ok()?;
        let head = client.read_head().await.ok()?;
        let client = match head.starts_with("HTTP/1.1 200 ") {
            true => client.handshake(hello).await.ok()?,
            false => return None,
        };
        client.into_session().await.ok()
    }

    /// Everything at once: through the proxy to the host's port 443, TLS, and HTTP as negotiated.
    ///
    /// Panics where any of it fails.
    pub async fn session(proxy: SocketAddr, hello: &Hello) -> Session {
        let connected = Self::open(proxy)
            .await
            .connect(&format!("{}:443", hello.name), &[])
            .await;
        assert_eq!(connected.status, 200, "{}", connected.head);
        let client = connected
            .client
            .handshake(hello)
            .await
            .expect("the handshake succeeds");
        client.into_session().await.expect("HTTP begins")
    }

    /// Asks for a tunnel to `target` (`host:port`), with further header lines.
    pub async fn connect(mut self, target: &str, headers: &[(&str, &str)]) -> Connected {
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{lines}\r\n");
        self.send(head).await.expect("the proxy takes a head");
        let head = self.read_head().await.expect("the proxy answers");
        let mut words = head
            .lines()
            .next()
            .unwrap_or_default()
            .splitn(3, ' ')
            .skip(1);
        let status = words
            .next()
            .and_then(|word| word.parse().ok())
            .expect("a status line");
        let reason = words.next().unwrap_or_default().to_owned();
        let len = if status == 200 {
            0
        } else {
            content_length(&head)
        };
        let body = self
            .read_exactly(len)
            .await
            .expect("the body is as long as declared");
        let body = String::from_utf8_lossy(&body).into_owned();
        self.host = target
            .rsplit_once(':')
            .map_or(target, |(host, _)| host)
            .to_owned();
        Connected {
            status,
            reason,
            head,
            body,
            client: self,
        }
    }

    /// Runs a TLS handshake on the connection as it stands.
    pub async fn handshake(self, hello: &Hello) -> io::Result<Self> {
        let connector = TlsConnector::from(Arc::new(hello.config()));
        let name = ServerName::try_from(hello.name.clone()).map_err(io::Error::other)?;
        let stream = within(connector.connect(name, self.stream)).await?;
        let session = stream.get_ref().1;
        let version = session
            .protocol_version()
            .map(|version| format!("{version:?}"));
        let chain = session.peer_certificates().unwrap_or_default();
        let tls = Some(Established {
            alpn: session
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            version: version.unwrap_or_default(),
            chain: chain
                .iter()
                .map(|certificate| certificate.to_vec())
                .collect(),
        });
        let (host, buffer) = (hello.name.clone(), Vec::new());
        Ok(Self {
            stream: Box::new(stream),
            tls,
            host,
            buffer,
        })
    }

    /// The same connection, whose client reads nothing until `until` is over.
    pub fn reads_after(self, until: impl Future<Output = ()> + Send + 'static) -> Self {
        let held = Held {
            stream: self.stream,
            until: Some(Box::pin(until)),
        };
        Self {
            stream: Box::new(held),
            ..self
        }
    }

    /// Speaks HTTP from here on: HTTP/2 if ALPN chose it, else HTTP/1.1.
    pub async fn into_session(self) -> hyper::Result<Session> {
        let is_h2 = self
            .tls
            .as_ref()
            .is_some_and(|tls| tls.alpn.as_deref() == Some("h2"));
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        within(Session::begin(self.stream, is_h2, scheme, &self.host)).await
    }

    /// Drops what was read ahead, which nobody asks for.
    pub fn forget_read(&mut self) {
        self.buffer.clear();
    }

    /// The stream itself; what was read ahead of a head must be none.
    pub fn into_stream(self) -> Box<dyn Stream> {
        assert!(self.buffer.is_empty(), "{:?}", self.buffer);
        self.stream
    }

    /// Writes raw bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within(async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        })
        .await
    }

    /// Reads to the next empty line, which is included; what is no UTF-8 shows as `\u{fffd}`.
    pub async fn read_head(&mut self) -> io::Result<String> {
        let head = self.read_raw_head().await?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// The same as bytes.
    pub async fn read_raw_head(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.buffer.split_off(at + 4);
                return Ok(std::mem::replace(&mut self.buffer, rest));
            }
            self.fill().await?;
        }
    }

    /// Reads so many bytes.
    pub async fn read_exactly(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < len {
            self.fill().await?;
        }
        let rest = self.buffer.split_off(len);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Reads until the peer ends the connection: what came, and the error if it did not end cleanly
    /// (a reset; in TLS also an end without `close_notify`).
    pub async fn read_to_end(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = std::mem::take(&mut self.buffer);
        let ended = within(self.stream.read_to_end(&mut bytes)).await.map(drop);
        (bytes, ended)
    }

    /// Ends the sending side (TLS: `close_notify`, then FIN).
    pub async fn shutdown(&mut self) -> io::Result<()> {
        within(self.stream.shutdown()).await
    }

    async fn fill(&mut self) -> io::Result<()> {
        match within(self.stream.read_buf(&mut self.buffer)).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

impl Hello {
    /// For that host, trusting the root in that PEM file only; both protocols, both TLS versions.
    pub fn new(name: &str, root_pem: &Path) -> Self {
        let (alpn, tls) = (Alpn::Both, Tls::Both);
        Self {
            name: name.to_owned(),
            has_sni: true,
            root_pem: root_pem.to_owned(),
            alpn,
            tls,
        }
    }

    /// Offers these protocols.
    #[must_use]
    pub fn alpn(self, alpn: Alpn) -> Self {
        Self { alpn, ..self }
    }

    /// Offers these TLS versions.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    /// Does not say which host is meant; the leaf is still checked against its name.
    #[must_use]
    pub fn without_sni(self) -> Self {
        Self {
            has_sni: false,
            ..self
        }
    }

    /// The bytes of such a ClientHello.
    pub fn bytes(&self) -> Vec<u8> {
        let name = ServerName::try_from(self.name.clone()).expect("a host's name");
        let session = rustls::ClientConnection::new(Arc::new(self.config()), name);
        let mut bytes = Vec::new();
        session
            .expect("a usable configuration")
            .write_tls(&mut bytes)
            .expect("a vector takes all");
        bytes
    }

    /// The same, for a handshake that a test drives itself.
    pub fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(&self.root_pem).expect("a PEM file") {
            roots
                .add(root.expect("a certificate"))
                .expect("a usable root");
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.tls.supported())
            .expect("the provider speaks both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.enable_sni = self.has_sni;
        config.alpn_protocols = self
            .alpn
            .protocols()
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        config
    }
}

/// A stream from which nothing is read for a while.
struct Held {
    stream: Box<dyn Stream>,
    until: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(until) = &mut self.until {
            ready!(until.as_mut().poll(context));
            self.until = None;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The future's output; panics after [`LIMIT`].
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    match timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("nothing happened for {LIMIT:?}"),
    }
}

fn socket_for(addr: SocketAddr) -> TcpSocket {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    socket.expect("a socket")
}

fn content_length(head: &str) -> usize {
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    value.unwrap_or(0)
}
