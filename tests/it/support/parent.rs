//! A parent proxy that relays every name to one address, so that no test needs DNS.
//!
//! HTTP `CONNECT` (and absolute-form requests for clear text) or SOCKS5, with optional credentials,
//! delays and refusals; it keeps a list of what it was asked.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::LazyConfigAcceptor;

use super::background::Background;
use super::certs::{Leaf, Shape, TestRoot, leaf_name};
use super::client::Stream;
use super::origin::{Alpn, Tls};
use super::socks;

/// A running parent proxy; dropped, it and its relays have ended.
pub struct ParentProxy {
    shared: Arc<Shared>,
    server: Background,
}

/// A parent proxy that is being described.
pub struct ParentProxyBuilder {
    plan: Plan,
}

/// One request to a parent proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// `host:port` as the client wrote it; for an absolute-form request, its whole URI.
    pub target: String,
    /// `CONNECT`, another method, or `SOCKS5`.
    pub method: String,
    /// The raw request head; empty for SOCKS5.
    pub head: String,
    /// `user:password`, if credentials were given.
    pub credentials: Option<String>,
    /// Whether it was relayed.
    pub is_relayed: bool,
}

/// What a parent proxy does.
pub(super) struct Plan {
    pub tls: Option<TestRoot>,
    pub is_socks: bool,
    pub to: SocketAddr,
    pub routes: HashMap<String, SocketAddr>,
    pub credentials: Option<String>,
    pub delay: Duration,
    pub refusal: Option<(u16, String)>,
    pub refusals: HashMap<String, (u16, String)>,
}

/// What the connections of one parent proxy share.
pub(super) struct Shared {
    pub plan: Plan,
    relayed: Mutex<Vec<Relayed>>,
    changed: Condvar,
}

impl ParentProxy {
    /// An HTTP proxy that relays everything to `to`.
    pub fn http(to: SocketAddr) -> ParentProxyBuilder {
        ParentProxyBuilder::new(to, false)
    }

    /// A SOCKS5 proxy that relays everything to `to`.
    pub fn socks5(to: SocketAddr) -> ParentProxyBuilder {
        ParentProxyBuilder::new(to, true)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Its URL, without credentials, such as `http://127.0.0.1:PORT`; or `https:`, or `socks5:`.
    pub fn url(&self) -> String {
        let scheme = match &self.shared.plan {
            Plan { is_socks: true, .. } => "socks5",
            Plan { tls: Some(_), .. } => "https",
            Plan { .. } => "http",
        };
        format!("{scheme}://{}", self.addr())
    }

    /// What it was asked so far, in order; an entry appears when its answer is decided.
    pub fn requests(&self) -> Vec<Relayed> {
        self.shared
            .relayed
            .lock()
            .expect("no panic while locked")
            .clone()
    }

    /// The targets asked so far, in order.
    pub fn targets(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .map(|relayed| relayed.target)
            .collect()
    }

    /// Blocks until so many requests have come, and gives them; panics after `limit`.
    pub fn wait_for_requests(&self, count: usize, limit: Duration) -> Vec<Relayed> {
        let relayed = self.shared.relayed.lock().expect("no panic while locked");
        let (relayed, waited) = self
            .shared
            .changed
            .wait_timeout_while(relayed, limit, |relayed| relayed.len() < count)
            .expect("no panic while locked");
        assert!(
            !waited.timed_out(),
            "not {count} requests within {limit:?}: {relayed:#?}"
        );
        relayed.clone()
    }
}

impl ParentProxyBuilder {
    fn new(to: SocketAddr, is_socks: bool) -> Self {
        let (delay, routes) = (Duration::ZERO, HashMap::new());
        let plan = Plan {
            tls: None,
            is_socks,
            to,
            routes,
            credentials: None,
            delay,
            refusal: None,
            refusals: HashMap::new(),
        };
        Self { plan }
    }

    /// Relays this target (`host:port`) to another address.
    #[must_use]
    pub fn route(mut self, target: &str, to: SocketAddr) -> Self {
        self.plan.routes.insert(target.to_owned(), to);
        self
    }

    /// Wants these credentials: 407 with a `Proxy-Authenticate`, or a SOCKS5 failure, without them.
    #[must_use]
    pub fn credentials(mut self, user: &str, password: &str) -> Self {
        self.plan.credentials = Some(format!("{user}:{password}"));
        self
    }

    /// Speaks TLS to its clients (an `https://` proxy), with a leaf of this root.
    #[must_use]
    pub fn tls(mut self, root: &TestRoot) -> Self {
        self.plan.tls = Some(root.clone());
        self
    }

    /// Waits before it answers.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.plan.delay = delay;
        self
    }

    /// Refuses everything with that status and reason phrase. SOCKS5 answers the status as its
    /// reply code (5 is "connection refused") and has no reason.
    #[must_use]
    pub fn refuse(mut self, status: u16, reason: &str) -> Self {
        self.plan.refusal = Some((status, reason.to_owned()));
        self
    }

    /// Refuses this target (`host:port`) with that status and reason phrase.
    #[must_use]
    pub fn refuse_target(mut self, target: &str, status: u16, reason: &str) -> Self {
        let refusal = (status, reason.to_owned());
        self.plan.refusals.insert(target.to_owned(), refusal);
        self
    }

    /// Starts to listen.
    pub fn start(self) -> ParentProxy {
        let (relayed, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared {
            plan: self.plan,
            relayed,
            changed,
        });
        let for_server = shared.clone();
        let server = Background::listen("parent proxy", move |stream| {
            let shared = for_server.clone();
            // A peer that leaves is no matter of the test's.
            async move { drop(serve(&shared, stream).await) }
        });
        ParentProxy { shared, server }
    }
}

impl Shared {
    pub(super) fn note(&self, relayed: Relayed) {
        self.relayed
            .lock()
            .expect("no panic while locked")
            .push(relayed);
        self.changed.notify_all();
    }

    /// Copies both ways until both are at their end.
    pub(super) async fn relay(
        &self,
        target: &str,
        mut client: impl Stream,
        first: &[u8],
    ) -> io::Result<()> {
        let to = self
            .plan
            .routes
            .get(target)
            .copied()
            .unwrap_or(self.plan.to);
        let mut upstream = TcpStream::connect(to).await?;
        upstream.set_nodelay(true)?;
        upstream.write_all(first).await?;
        copy_bidirectional(&mut client, &mut upstream).await?;
        Ok(())
    }
}

async fn serve(shared: &Shared, client: TcpStream) -> io::Result<()> {
    let Some(root) = &shared.plan.tls else {
        return speak(shared, client).await;
    };
    let name = client.local_addr()?.ip();
    let start = LazyConfigAcceptor::new(Acceptor::default(), client).await?;
    let config = root.config(&Shape {
        name: leaf_name(start.client_hello().server_name(), name),
        leaf: Leaf::Good,
        alpn: Alpn::Http1.protocols(),
        versions: Tls::Both,
        wants_certificate: false,
    });
    speak(shared, start.into_stream(config).await?).await
}

async fn speak(shared: &Shared, client: impl Stream) -> io::Result<()> {
    match shared.plan.is_socks {
        true => socks::serve(shared, client).await,
        false => serve_http(shared, client).await,
    }
}

async fn serve_http(shared: &Shared, mut client: impl Stream) -> io::Result<()> {
    // Some clients answer a 407 on the same connection.
    loop {
        let (head, rest) = read_head(&mut client).await?;
        let mut relayed = parse_head(&head);
        sleep(shared.plan.delay).await;
        let refusal = refusal(&shared.plan, &relayed);
        relayed.is_relayed = refusal.is_none();
        shared.note(relayed.clone());
        if let Some((refusal, is_final)) = refusal {
            client.write_all(refusal.as_bytes()).await?;
            if is_final {
                return client.shutdown().await;
            }
            continue;
        }
        if relayed.method == "CONNECT" {
            client
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await?;
            return shared.relay(&relayed.target, client, &rest).await;
        }
        // Absolute form: origins understand it (RFC 9112, 3.2.2), so it passes as it is.
        let first = [head.as_bytes(), &rest].concat();
        return shared.relay(&relayed.target, client, &first).await;
    }
}

/// The answer of one that does not relay, and whether the connection ends with it.
fn refusal(plan: &Plan, relayed: &Relayed) -> Option<(String, bool)> {
    if plan.credentials.is_some() && plan.credentials != relayed.credentials {
        let head = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                    Proxy-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\n\r\n";
        return Some((head.to_owned(), false));
    }
    let of_target = plan.refusals.get(&relayed.target);
    let (status, reason) = of_target.or(plan.refusal.as_ref())?;
    let head = format!("HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\n\r\n");
    Some((head, true))
}

/// Reads to the empty line; gives the head with it, and what came behind.
async fn read_head(stream: &mut impl Stream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn parse_head(head: &str) -> Relayed {
    let mut words = head.split(' ').map(str::to_owned);
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let credentials = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let encoded = value.strip_prefix("Basic ")?;
        let is_ours = name.eq_ignore_ascii_case("proxy-authorization");
        let decoded = is_ours.then(|| BASE64_STANDARD.decode(encoded).ok())??;
        String::from_utf8(decoded).ok()
    });
    Relayed {
        target,
        method,
        head: head.to_owned(),
        credentials,
        is_relayed: false,
    }
}
