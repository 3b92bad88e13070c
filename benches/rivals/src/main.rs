//! hudsucker 0.25 as a rival of `benches/cost`: intercepts, forwards, records nothing.
//!
//! Speaks the protocol of `cost --rival`: told where the origin is and whom to trust, it prints one
//! line of JSON with its address and its root's file, and serves until it is killed.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use http::Uri;
use hudsucker::certificate_authority::RcgenAuthority;
use hudsucker::rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower_service::Service;

/// hudsucker, with the settings in which it is compared
#[derive(Debug, Parser)]
struct Cli {
    /// Where every connection leads
    #[arg(long)]
    origin: SocketAddr,
    /// The root of the origin's certificate, PEM
    #[arg(long)]
    trust: PathBuf,
    /// Where the own root's certificate is written
    #[arg(long)]
    folder: PathBuf,
    /// What the upstream leg speaks
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// Threads of the runtime; 0: one, the calling one
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// TCP_NODELAY on both legs
    #[arg(long)]
    nodelay: bool,
    /// No upstream connection is used twice
    #[arg(long)]
    no_pool: bool,
}

/// The protocols of the loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    H1,
    H2,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let mut runtime = match cli.workers {
        0 => tokio::runtime::Builder::new_current_thread(),
        workers => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(workers);
            runtime
        }
    };
    runtime.enable_all().build()?.block_on(serve(cli))
}

async fn serve(cli: Cli) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let bundle = cli.folder.join("rival-root.pem");
    std::fs::write(&bundle, root.self_signed(&key)?.pem())?;
    let authority = RcgenAuthority::new(Issuer::new(root, key), 1_000, aws_lc_rs::default_provider());
    // Sockets that it accepts take the option over from the one that listens.
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(cli.nodelay)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener: TcpListener = socket.listen(1024)?;
    let said = serde_json::json!({"proxy": listener.local_addr()?.to_string(), "bundle": bundle});
    println!("{said}");
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(trusting(&cli.trust)?)
        .https_only();
    let origin = Origin {
        address: cli.origin,
        nodelay: cli.nodelay,
    };
    let https = match cli.protocol {
        Protocol::H1 => https.enable_http1().wrap_connector(origin),
        Protocol::H2 => https.enable_http2().wrap_connector(origin),
    };
    let mut client = Client::builder(TokioExecutor::new());
    // What hudsucker sets in its own client.
    client.http1_title_case_headers(true);
    client.http1_preserve_header_case(true);
    if cli.no_pool {
        client.pool_max_idle_per_host(0);
    }
    hudsucker::Proxy::builder()
        .with_listener(listener)
        .with_ca(authority)
        .with_http_connector(https)
        .with_client(client)
        .build()
        .context("cannot build the proxy")?
        .start()
        .await
        .context("the proxy ended")
}

fn trusting(pem: &std::path::Path) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(pem)? {
        roots.add(root?)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Connects to one address, whatever the URI says.
#[derive(Clone)]
struct Origin {
    address: SocketAddr,
    nodelay: bool,
}

impl Service<Uri> for Origin {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { address, nodelay } = *self;
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(nodelay)?;
            Ok(TokioIo::new(stream))
        })
    }
}
