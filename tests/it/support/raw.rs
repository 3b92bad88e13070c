//! An origin whose answers a test writes byte by byte, over TLS or clear text.
//!
//! For what no HTTP library sends: informational heads, broken framing, torn heads, HTTP/2 frames
//! out of place.

use std::io;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rustls::server::Acceptor;
use socket2::SockRef;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::LazyConfigAcceptor;

use super::background::Background;
use super::certs::{Leaf, Shape, TestRoot, leaf_name};
use super::client::Stream;
use super::origin::{Alpn, Tls};
use super::serve::TLS_HANDSHAKE;

/// One thing that a raw origin does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes these bytes and flushes.
    Send(Bytes),
    /// Waits.
    Pause(Duration),
    /// Reads so many bytes more, which show in the log.
    Read(usize),
    /// Ends the connection properly (TLS: `close_notify`).
    Close,
    /// Drops the connection (TLS: without `close_notify`).
    HangUp,
    /// Resets the connection (RST).
    Reset,
}

/// A running raw origin; dropped, it and its connections have ended.
pub struct RawOrigin {
    received: Arc<Received>,
    root: TestRoot,
    root_pem: NamedTempFile,
    server: Background,
}

/// What one connection says to what it reads.
type Part = Box<dyn FnMut(&[u8]) -> Vec<Step> + Send>;

/// A part for each connection.
type Script = Arc<dyn Fn() -> Part + Send + Sync>;

#[derive(Default)]
struct Received {
    connections: Mutex<Vec<Vec<u8>>>,
    changed: Condvar,
}

struct Plan {
    alpn: Alpn,
    wants_certificate: bool,
    script: Script,
    root: TestRoot,
    received: Arc<Received>,
}

impl Step {
    /// Bytes to write.
    pub fn send(bytes: impl AsRef<[u8]>) -> Self {
        Self::Send(Bytes::copy_from_slice(bytes.as_ref()))
    }
}

impl RawOrigin {
    /// Speaks HTTP/1.1: for each request head, `script` gets what has come since the last one (the
    /// head, and any body bytes that came with it) and says what to do.
    pub fn start(script: impl Fn(&[u8]) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::listen(Alpn::Http1, for_all(script))
    }

    /// Speaks what ALPN calls `h2`: `script` gets the bytes of each read, frames cut anywhere.
    pub fn start_h2(script: impl Fn(&[u8]) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::listen(Alpn::Http2, for_all(script))
    }

    /// Speaks HTTP/1.1 or HTTP/2 with clients that have a certificate: nobody has one, and over
    /// TLS 1.3 clients learn that when the handshake is over for them.
    pub fn start_wanting_certificate(alpn: Alpn) -> Self {
        Self::listen_to(alpn, true, for_all(|_| Vec::new()))
    }

    /// With a script for each connection, which may keep what it has seen.
    pub fn start_each<F>(alpn: Alpn, script: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: FnMut(&[u8]) -> Vec<Step> + Send + 'static,
    {
        Self::listen(alpn, Arc::new(move || Box::new(script())))
    }

    fn listen(alpn: Alpn, script: Script) -> Self {
        Self::listen_to(alpn, false, script)
    }

    fn listen_to(alpn: Alpn, wants_certificate: bool, script: Script) -> Self {
        let (root, received) = (TestRoot::new(), Arc::<Received>::default());
        let mut root_pem = NamedTempFile::with_suffix(".pem").expect("a temporary file");
        root_pem
            .write_all(root.pem().as_bytes())
            .expect("the file takes the certificate");
        let (for_root, for_received) = (root.clone(), received.clone());
        let plan = Arc::new(Plan {
            alpn,
            wants_certificate,
            script,
            root: for_root,
            received: for_received,
        });
        let server = Background::listen("raw origin", move |stream| {
            let plan = plan.clone();
            // A peer that leaves is no matter of the test's.
            async move { drop(serve(&plan, stream).await) }
        });
        Self {
            received,
            root,
            root_pem,
            server,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// A PEM file with its root certificate.
    pub fn root_pem_path(&self) -> &Path {
        self.root_pem.path()
    }

    /// Its root, for other servers of the same test.
    pub fn root(&self) -> &TestRoot {
        &self.root
    }

    /// All bytes received (inside TLS), one entry per connection that spoke.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.received
            .connections
            .lock()
            .expect("no panic while locked")
            .clone()
    }

    /// Blocks until the received bytes satisfy the predicate, and gives them; panics after `limit`.
    pub fn wait_for(&self, is_met: impl Fn(&[Vec<u8>]) -> bool, limit: Duration) -> Vec<Vec<u8>> {
        let connections = self
            .received
            .connections
            .lock()
            .expect("no panic while locked");
        let (connections, waited) = self
            .received
            .changed
            .wait_timeout_while(connections, limit, |connections| !is_met(connections))
            .expect("no panic while locked");
        assert!(
            !waited.timed_out(),
            "not received within {limit:?}: {connections:?}"
        );
        connections.clone()
    }
}

fn for_all(script: impl Fn(&[u8]) -> Vec<Step> + Send + Sync + 'static) -> Script {
    let script = Arc::new(script);
    Arc::new(move || {
        let script = Arc::clone(&script);
        Box::new(move |bytes| script(bytes))
    })
}

async fn serve(plan: &Plan, stream: TcpStream) -> io::Result<()> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(());
    }
    let socket = stream.as_fd().try_clone_to_owned()?;
    if first[0] != TLS_HANDSHAKE {
        return converse(plan, stream, socket).await;
    }
    let dialled = stream.local_addr()?.ip();
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let config = plan.root.config(&Shape {
        name: leaf_name(start.client_hello().server_name(), dialled),
        leaf: Leaf::Good,
        alpn: plan.alpn.protocols(),
        versions: Tls::Both,
        wants_certificate: plan.wants_certificate,
    });
    converse(plan, start.into_stream(config).await?, socket).await
}

/// `socket` is that of `stream`: a reset passes by what lies between.
async fn converse(plan: &Plan, mut stream: impl Stream, socket: OwnedFd) -> io::Result<()> {
    let index = plan.received.open();
    let mut pending = Vec::new();
    let mut part = (plan.script)();
    loop {
        if read_some(plan, index, &mut stream, &mut pending).await? == 0 {
            return stream.shutdown().await;
        }
        let is_due = plan.alpn == Alpn::Http2 || pending.windows(4).any(|four| four == b"\r\n\r\n");
        if !is_due {
            continue;
        }
        let steps = part(&std::mem::take(&mut pending));
        for step in steps {
            match step {
                Step::Send(bytes) => {
                    stream.write_all(&bytes).await?;
                    stream.flush().await?;
                }
                Step::Pause(duration) => sleep(duration).await,
                Step::Read(count) => {
                    let mut body = Vec::new();
                    while body.len() < count
                        && read_some(plan, index, &mut stream, &mut body).await? > 0
                    {
                    }
                }
                Step::Close => return stream.shutdown().await,
                Step::HangUp => return Ok(()),
                Step::Reset => return SockRef::from(&socket).set_linger(Some(Duration::ZERO)),
            }
        }
    }
}

/// Reads what there is, for `into` and for the log; 0 at the end.
async fn read_some(
    plan: &Plan,
    index: usize,
    stream: &mut impl Stream,
    into: &mut Vec<u8>,
) -> io::Result<usize> {
    let before = into.len();
    let count = stream.read_buf(into).await?;
    plan.received.push(index, &into[before..]);
    Ok(count)
}

impl Received {
    fn open(&self) -> usize {
        let mut connections = self.connections.lock().expect("no panic while locked");
        connections.push(Vec::new());
        connections.len() - 1
    }

    fn push(&self, index: usize, bytes: &[u8]) {
        let mut connections = self.connections.lock().expect("no panic while locked");
        connections[index].extend_from_slice(bytes);
        self.changed.notify_all();
    }
}
