//! The two legs and a journal in this process, with limits that no flag can set.

use std::hash::RandomState;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use modtape::ca::{CertificateAuthority, Leafs, Scope, to_pem};
use modtape::child::Repositories;
use modtape::clock::{Clock, Timestamp};
use modtape::exchange::{Hex, TraceFlags};
use modtape::proxy::{
    Access, Context, Deadlines, Entrance, Live, Others, Policy, Propagation, Proxy, Redirection,
    Responder, Windows,
};
use modtape::recording::format::{Event, FORMAT_VERSION, Open};
use modtape::recording::{Durability, Journal, Recording, writer};
use modtape::redact::Redactor;
use modtape::replay::Replay;
use modtape::sockets::OwnSockets;
use modtape::tls::{ClientConfigs, RootSources, Roots};
use modtape::upstream::{Dialer, Limits, Overrides, ParentProxies, Reach, Settings};
use tempfile::{NamedTempFile, TempDir};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::certs::TestRoot;
use super::client::{Hello, within};

/// How clients come, and who answers.
enum Way {
    Proxy,
    Redirected,
    Replay(Arc<Replay>),
}

/// Limits of dials that no test waits for.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(30),
    tls: Duration::from_secs(9),
};

/// A proxy and its journal as tasks of the test's runtime.
pub struct Inside {
    /// Where clients connect.
    pub proxy: SocketAddr,
    root_pem: NamedTempFile,
    context: Option<Arc<Context>>,
    tasks: JoinSet<()>,
    folder: TempDir,
}

impl Inside {
    /// Intercepts `host` and connects to `upstream` whatever is asked for.
    pub async fn start(
        host: &str,
        upstream: (SocketAddr, &TestRoot),
        deadlines: Deadlines,
        limits: Limits,
    ) -> Self {
        let all = (deadlines, limits, usize::MAX);
        Self::behind(host, upstream, ParentProxies::none(), all).await
    }

    /// The same through a parent proxy, and with so many places for clients.
    pub async fn behind(
        host: &str,
        upstream: (SocketAddr, &TestRoot),
        parents: ParentProxies,
        limits: (Deadlines, Limits, usize),
    ) -> Self {
        Self::run(host, upstream, parents, limits, Way::Proxy).await
    }

    /// Takes what the kernel redirects, where `host` leads to `upstream`.
    pub async fn redirected(
        host: &str,
        (upstream, root): (SocketAddr, &TestRoot),
        deadlines: Deadlines,
    ) -> Self {
        let limits = (deadlines, LIMITS, usize::MAX);
        let way = Way::Redirected;
        Self::run(host, (upstream, root), ParentProxies::none(), limits, way).await
    }

    /// Intercepts `host` and answers from a recording.
    pub async fn replaying(host: &str, recording: Recording, deadlines: Deadlines) -> Self {
        let nowhere = (SocketAddr::from(([127, 0, 0, 1], 9)), &TestRoot::new());
        let replay = Arc::new(Replay::new(recording, String::from("again")));
        // Nothing is dialled.
        let unused = Limits {
            connect: Duration::ZERO,
            tls: Duration::ZERO,
        };
        let limits = (deadlines, unused, usize::MAX);
        let way = Way::Replay(replay);
        Self::run(host, nowhere, ParentProxies::none(), limits, way).await
    }

    async fn run(
        host: &str,
        (upstream, root): (SocketAddr, &TestRoot),
        parents: ParentProxies,
        (deadlines, limits, places): (Deadlines, Limits, usize),
        way: Way,
    ) -> Self {
        let (clock, folder) = (Clock::start(), TempDir::new().expect("a temporary folder"));
        let made = writer::create(&folder.path().join("one"), false).expect("a new folder");
        let started = Journal::start(made, clock, Durability::Process, true);
        let (recorder, journal) = started.expect("a new recording");
        recorder.note(Timestamp::default(), &open());
        let hosts: std::collections::BTreeSet<_> = [host.to_owned()].into();
        let day = Duration::from_secs(86_400);
        let authority =
            CertificateAuthority::new(&Scope::Hosts(hosts.clone()), clock.wall_start(), day)
                .expect("an authority");
        let root_pem = pem_file(&to_pem(authority.root()));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a port");
        let proxy = listener.local_addr().expect("it is bound");
        let overrides = match &way {
            Way::Redirected => Overrides {
                resolve: vec![
                    format!("{host}:{}:{}", upstream.port(), upstream.ip())
                        .parse()
                        .expect("an override"),
                ],
                ..Overrides::default()
            },
            Way::Proxy | Way::Replay(_) => Overrides {
                connect_to: vec![format!("::{upstream}").parse().expect("an override")],
                ..Overrides::default()
            },
        };
        let sockets = match &way {
            Way::Redirected => OwnSockets::followed(),
            Way::Proxy | Way::Replay(_) => OwnSockets::default(),
        };
        let entrance = match &way {
            Way::Redirected => {
                let redirection = Redirection::new(vec![proxy], sockets.clone());
                Entrance::Redirected(Arc::new(redirection))
            }
            Way::Proxy | Way::Replay(_) => Entrance::Proxy,
        };
        let roots = pem_file(root.pem());
        let roots = Roots::load(&RootSources {
            extra: vec![roots.path().to_owned()],
            ..RootSources::default()
        });
        let dialer = Dialer::new(Settings {
            clock,
            limits,
            tls: ClientConfigs::new(&roots.expect("a PEM file")),
            parents,
            overrides,
            reach: Reach::all_but(vec![proxy]),
            sockets,
        });
        let context = Arc::new(Context {
            clock,
            deadlines,
            access: Access::open(),
            policy: Policy {
                intercept: hosts,
                intercept_all: false,
                tunnel: Default::default(),
                others: Others::Tunnel,
                propagation: Propagation::default(),
            },
            leafs: Some(Leafs::new(authority).expect("a key can be made")),
            responder: match way {
                Way::Replay(replay) => Responder::Replay(replay),
                Way::Proxy | Way::Redirected => Responder::Upstream(dialer),
            },
            repositories: Repositories::new(None, std::env::temp_dir()),
            recorder: Some(recorder),
            capture: None,
            redactor: Redactor::new([7; 32]),
            live: Live::new(clock),
            metrics: None,
            bases: Vec::new().into(),
            windows: Windows::default(),
            trace: Hex([1; 16]),
            trace_flags: TraceFlags::SAMPLED,
            spans: RandomState::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            drained: CancellationToken::new(),
            next_exchange: AtomicU64::new(0),
            next_connection: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        let proxy_itself = Proxy::new(listener, Arc::clone(&context), entrance);
        tasks.spawn(proxy_itself.with_places(places).run());
        tasks.spawn(journal.run());
        Self {
            proxy,
            root_pem,
            context: Some(context),
            tasks,
            folder,
        }
    }

    /// A ClientHello for `host` whose sender trusts this authority and no other.
    pub fn hello(&self, host: &str) -> Hello {
        Hello::new(host, self.root_pem.path())
    }

    /// What is going on in it.
    pub fn live(&self) -> Live {
        let context = self.context.as_ref().expect("it is not finished");
        context.live.clone()
    }

    /// Has a task panic, as a fault in one connection would.
    pub fn panic_in_a_task(&self) {
        let context = self.context.as_ref().expect("it is not finished");
        context.tasks.spawn(async { panic!("a fault in one task") });
    }

    /// Stops, waits for every connection and line, and opens the recording.
    pub async fn finish(&mut self) -> Recording {
        // The journal ends with the last of its senders, which the context holds.
        self.context
            .take()
            .expect("it is finished once")
            .stop
            .cancel();
        within(std::mem::take(&mut self.tasks).join_all()).await;
        Recording::open_whole(&self.folder.path().join("one")).expect("a recording")
    }
}

fn pem_file(pem: &str) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".pem").expect("a temporary file");
    file.write_all(pem.as_bytes()).expect("the file takes it");
    file
}

fn open() -> Event {
    Event::Open(Open {
        added_by: None,
        format: FORMAT_VERSION,
        recording: String::from("inside"),
        wall: String::from("2025-01-01T00:00:00.000000Z"),
        trace: Hex([1; 16]),
        tool: String::from("modtape"),
        command: Vec::new(),
    })
}
