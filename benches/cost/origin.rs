//! The origin: small bodies, one large one, or a corpus, over TLS with HTTP/1.1 and HTTP/2.
//!
//! Does as little as it can for an answer, for it shares the machine with what is measured.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use modtape::tls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::OriginArgs;
use crate::corpus::{Content, Sumdb};

/// The hosts that the origin speaks for.
const HOSTS: [&str; 2] = ["proxy.golang.org", "sum.golang.org"];

/// Bytes of the usual body.
pub(crate) const SMALL_BYTES: usize = 1024;

/// `/big/N` answers N bytes.
pub(crate) const BIG: &str = "/big/";

/// Bytes written at once of a large body.
const CHUNK: usize = 64 * 1024;

/// The origin's process; its stdin ends with this value, and so does it.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) root: PathBuf,
    _folder: TempDir,
    _child: Child,
}

impl Origin {
    /// Starts this executable once more, as the origin.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix_in("cost-", Path::new(env!("CARGO_TARGET_TMPDIR")))?;
        let root = folder.path().join("root.pem");
        let mut child = Command::new(std::env::current_exe()?)
            .args(["origin", "--root"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        Ok(Self {
            address: line.trim().parse().context("the origin did not start")?,
            root,
            _folder: folder,
            _child: child,
        })
    }
}

/// Serves until stdin ends, so that a driver that was killed leaves nobody behind.
pub(crate) async fn run(args: &OriginArgs) -> anyhow::Result<()> {
    let acceptor = TlsAcceptor::from(config(args)?);
    let corpus = match &args.corpus {
        // An absolute path stands for itself wherever it is joined to.
        Some(dir) => {
            let dir = std::path::absolute(dir)?;
            let name = dir
                .to_str()
                .context("the corpus has a name that is no text")?;
            Some(Content::corpus(name, Sumdb::Heads).context("there is no such corpus")?)
        }
        None => None,
    };
    let site = Arc::new(Site {
        corpus,
        small: Bytes::from(vec![b'm'; SMALL_BYTES]),
        chunk: Bytes::from((0..CHUNK).map(|n| (n % 251) as u8).collect::<Vec<_>>()),
    });
    accept_until_stdin_ends(|stream| serve(acceptor.clone(), Arc::clone(&site), stream)).await
}

/// Accepts on a free port, says where on stdout, and gives each connection to `serve`.
pub(crate) async fn accept_until_stdin_ends<F>(serve: impl Fn(TcpStream) -> F) -> anyhow::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("{}", listener.local_addr()?);
    let (ends, mut ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let end = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        ends.send(end)
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                connections.spawn(serve(stream));
            }
            Some(_) = connections.join_next() => {}
            _ = &mut ended => return Ok(()),
        }
    }
}

/// What is served.
struct Site {
    corpus: Option<Content>,
    small: Bytes,
    chunk: Bytes,
}

/// One leaf for all hosts under a root of its own, whose certificate goes where `--root` says.
fn config(args: &OriginArgs) -> anyhow::Result<Arc<ServerConfig>> {
    let root_key = KeyPair::generate()?;
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a leaf for self-signed whose issuer has its own name.
    root.distinguished_name
        .push(DnType::CommonName, "root of a bench");
    std::fs::write(&args.root, root.self_signed(&root_key)?.pem())?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(HOSTS.map(str::to_owned))?;
    let leaf = leaf.signed_by(&key, &Issuer::new(root, root_key))?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// How a connection ends is the client's matter, so the outcome is of no interest.
async fn serve(acceptor: TlsAcceptor, site: Arc<Site>, stream: TcpStream) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let response = answer(&site, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let io = TokioIo::new(stream);
    let _ = if is_h2 {
        http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await
    } else {
        http1::Builder::new().serve_connection(io, service).await
    };
}

fn answer(site: &Site, request: &Request<Incoming>) -> Response<Repeated> {
    let path = request.uri().path();
    if let Some(content) = &site.corpus {
        return from_corpus(content, request);
    }
    if let Some(bytes) = path.strip_prefix(BIG).and_then(|bytes| bytes.parse().ok()) {
        return usual(
            StatusCode::OK,
            "application/zip",
            Repeated::new(&site.chunk, bytes),
        );
    }
    let body = Repeated::new(&site.small, site.small.len() as u64);
    usual(StatusCode::OK, "text/plain; charset=UTF-8", body)
}

fn from_corpus(content: &Content, request: &Request<Incoming>) -> Response<Repeated> {
    if request.method() != Method::GET {
        let empty = Repeated::new(&Bytes::new(), 0);
        return usual(StatusCode::METHOD_NOT_ALLOWED, "text/plain", empty);
    }
    let uri = request.uri();
    let host = uri
        .host()
        .or_else(|| request.headers().get(header::HOST)?.to_str().ok());
    let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8_lossy();
    let file = content.find(host.unwrap_or_default(), &path);
    let status = StatusCode::from_u16(file.status).unwrap_or_default();
    usual(
        status,
        &file.content_type,
        Repeated::new(&file.body, file.body.len() as u64),
    )
}

/// With the fields that a module proxy sends.
fn usual(status: StatusCode, kind: &str, body: Repeated) -> Response<Repeated> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let fields = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=10800"),
        (header::ETAG, "\"5f3cde1a2b7d4c09a1e2\""),
        (header::LAST_MODIFIED, "Tue, 07 Jan 2025 16:20:41 GMT"),
        (header::SERVER, "scripted"),
    ];
    for (name, value) in fields {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A block over and over, up to a length.
struct Repeated {
    block: Bytes,
    left: u64,
}

impl Repeated {
    fn new(block: &Bytes, bytes: u64) -> Self {
        Self {
            block: block.clone(),
            left: bytes,
        }
    }
}

impl Body for Repeated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let bytes = self.left.min(self.block.len() as u64);
        self.left -= bytes;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Poll::Ready(Some(Ok(Frame::data(self.block.slice(..bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
