//! A scripted HTTPS origin on a free loopback port, under any host's name.
//!
//! It speaks TLS (leaf minted from the SNI) and clear-text HTTP on the same port, told apart by the
//! first byte.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tempfile::NamedTempFile;

use super::background::Background;
use super::certs::TestRoot;
use super::corpus::Content;
use super::handshake::Handshake;
use super::log::{Ledger, Log, Served, TlsFailure};
use super::rules::Rule;
use super::serve::serve;

/// The protocols that a server chooses from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpn {
    /// `h2`, else `http/1.1`.
    #[default]
    Both,
    /// `http/1.1` only.
    Http1,
    /// `h2` only: others get the alert `no_application_protocol`.
    Http2,
    /// No ALPN at all, and HTTP/1.1.
    Silent,
}

/// The TLS versions that a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tls {
    /// 1.3 and 1.2.
    #[default]
    Both,
    /// 1.2 only.
    V12,
    /// 1.3 only.
    V13,
}

/// A running origin; dropped, it and its connections have ended.
pub struct Origin {
    site: Arc<Site>,
    server: Background,
    root_pem: NamedTempFile,
}

/// An origin that is being described.
#[derive(Default)]
pub struct OriginBuilder {
    content: Content,
    root: Option<TestRoot>,
    alpn: Alpn,
    tls: Tls,
    accept_delay: Duration,
    stream_limit: Option<u32>,
    rules: Vec<Rule>,
    handshakes: Vec<Handshake>,
    listens: Option<SocketAddr>,
}

/// What the connections of one origin share.
pub struct Site {
    pub content: Content,
    pub root: TestRoot,
    pub alpn: Alpn,
    pub tls: Tls,
    pub accept_delay: Duration,
    pub stream_limit: Option<u32>,
    pub rules: Mutex<Vec<Rule>>,
    pub handshakes: Mutex<Vec<Handshake>>,
    pub ledger: Ledger,
}

impl Origin {
    /// An origin without rules.
    pub fn start(content: Content) -> Self {
        Self::builder(content).start()
    }

    /// An origin to be described further.
    pub fn builder(content: Content) -> OriginBuilder {
        OriginBuilder {
            content,
            ..OriginBuilder::default()
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
        &self.site.root
    }

    /// Everything seen so far.
    pub fn log(&self) -> Log {
        self.site.ledger.snapshot()
    }

    /// The requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<Served> {
        self.log().requests
    }

    /// The decoded paths asked so far, in order of arrival.
    pub fn paths(&self) -> Vec<String> {
        self.log()
            .requests
            .into_iter()
            .map(|served| served.path)
            .collect()
    }

    /// The number of TCP connections accepted so far.
    pub fn connections(&self) -> usize {
        self.log().connections.len()
    }

    /// The handshakes that failed so far.
    pub fn tls_failures(&self) -> Vec<TlsFailure> {
        self.log().tls_failures
    }

    /// Blocks until the log satisfies the predicate, and gives it; panics after `limit`.
    ///
    /// It blocks the thread: a test with a client of its own wants a multi-thread runtime.
    pub fn wait_for(&self, is_met: impl Fn(&Log) -> bool, limit: Duration) -> Log {
        self.site.ledger.wait_for(is_met, limit)
    }

    /// Adds a rule; earlier ones go first.
    pub fn add_rule(&self, rule: Rule) {
        self.site
            .rules
            .lock()
            .expect("no panic while locked")
            .push(rule);
    }

    /// Adds a handshake rule; earlier ones go first.
    pub fn add_handshake(&self, handshake: Handshake) {
        self.site
            .handshakes
            .lock()
            .expect("no panic while locked")
            .push(handshake);
    }

    /// Forgets all rules and handshake rules; answers under way keep theirs.
    pub fn clear_rules(&self) {
        self.site
            .rules
            .lock()
            .expect("no panic while locked")
            .clear();
        self.site
            .handshakes
            .lock()
            .expect("no panic while locked")
            .clear();
    }
}

impl OriginBuilder {
    /// Uses a root that exists, so that one PEM file serves several origins.
    #[must_use]
    pub fn root(self, root: &TestRoot) -> Self {
        Self {
            root: Some(root.clone()),
            ..self
        }
    }

    /// Chooses from these protocols.
    #[must_use]
    pub fn alpn(self, alpn: Alpn) -> Self {
        Self { alpn, ..self }
    }

    /// Speaks these TLS versions.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    /// Listens on `[::1]`.
    #[must_use]
    pub fn v6(self) -> Self {
        self.at((Ipv6Addr::LOCALHOST, 0).into())
    }

    /// Listens at another of this machine's addresses.
    #[must_use]
    pub fn at(self, addr: SocketAddr) -> Self {
        Self {
            listens: Some(addr),
            ..self
        }
    }

    /// Lets each new connection wait before its first byte is read. The client's connect succeeds
    /// at once all the same, because the kernel answers it; see `Blackhole` for one that does not.
    #[must_use]
    pub fn accept_delay(self, accept_delay: Duration) -> Self {
        Self {
            accept_delay,
            ..self
        }
    }

    /// Allows so many streams at once on an HTTP/2 connection.
    #[must_use]
    pub fn stream_limit(self, streams: u32) -> Self {
        Self {
            stream_limit: Some(streams),
            ..self
        }
    }

    /// Adds a rule; the first that matches decides.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds a handshake rule; the first that matches decides.
    #[must_use]
    pub fn handshake(mut self, handshake: Handshake) -> Self {
        self.handshakes.push(handshake);
        self
    }

    /// Starts to listen.
    pub fn start(self) -> Origin {
        let root = self.root.unwrap_or_else(TestRoot::new);
        let mut root_pem = NamedTempFile::with_suffix(".pem").expect("a temporary file");
        root_pem
            .write_all(root.pem().as_bytes())
            .expect("the file takes the certificate");
        let site = Arc::new(Site {
            content: self.content,
            root,
            alpn: self.alpn,
            tls: self.tls,
            accept_delay: self.accept_delay,
            stream_limit: self.stream_limit,
            rules: Mutex::new(self.rules),
            handshakes: Mutex::new(self.handshakes),
            ledger: Ledger::default(),
        });
        let shared = site.clone();
        let addr = self.listens.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let serve = move |stream| serve(shared.clone(), stream);
        let server = Background::listen_at(addr, "origin", serve);
        Origin {
            site,
            server,
            root_pem,
        }
    }
}

impl Alpn {
    /// The protocols, best first.
    pub fn protocols(self) -> Vec<&'static str> {
        match self {
            Self::Both => vec!["h2", "http/1.1"],
            Self::Http1 => vec!["http/1.1"],
            Self::Http2 => vec!["h2"],
            Self::Silent => Vec::new(),
        }
    }
}

impl Tls {
    /// The versions, for rustls.
    pub fn supported(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Both => vec![&TLS13, &TLS12],
            Self::V12 => vec![&TLS12],
            Self::V13 => vec![&TLS13],
        }
    }
}
