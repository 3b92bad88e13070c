//! The gateway in this process through which upstream is asked.

use std::hash::RandomState;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::recording::UpstreamRecording;
use crate::child::{GoAuth, GoFacts, Latest, Repositories};
use crate::clock::Clock;
use crate::commands::session::Variables;
use crate::diagnose::stuck::Limits as StuckLimits;
use crate::exchange::{Hex, TraceFlags};
use crate::gomod::{Front, bases};
use crate::proxy::{
    Access, Context, Deadlines, Entrance, Gateway, Live, Others, Policy, Propagation, Proxy,
    Responder, Token, Windows,
};
use crate::redact::Redactor;
use crate::replay::Replay;
use crate::sockets::OwnSockets;
use crate::telemetry::metrics::Metrics;
use crate::terminal::status::{SessionId, StatusSource};
use crate::tls;
use crate::upstream::{Dialer, Limits, Overrides, ParentProxies, Reach, Settings};

/// How long the steps of a dial may take. Go itself waits 30 and 10 s; but who is asked here has others to ask.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    tls: Duration::from_secs(5),
};

/// What goes out, and how.
pub(super) struct Outgoing<'a> {
    pub(super) clock: Clock,
    /// The upstream list.
    pub(super) goproxy: &'a str,
    /// The checksum database that is asked where no entry relays it.
    pub(super) gosumdb: &'a str,
    pub(super) go: &'a GoFacts,
    pub(super) variables: &'a Variables,
    pub(super) overrides: Overrides,
    pub(super) parents: ParentProxies,
    pub(super) roots: tls::Roots,
    /// How long an upstream may be silent.
    pub(super) idle: Duration,
    /// Answers instead of all who could be dialled, if there is one.
    pub(super) replay: Option<Arc<Replay>>,
    /// Where what is asked is recorded, if it is.
    pub(super) recording: Option<&'a UpstreamRecording>,
    /// What counts phases, connections and bodies, if something does.
    pub(super) metrics: Option<&'a Metrics>,
    /// Where clients are served: it is never dialled.
    pub(super) own: SocketAddr,
    /// Whether netrc's credentials are shown upstream.
    pub(super) shows_netrc: bool,
}

/// The gateways through which a server asks upstream, for those who look at it; a reload gives it others.
pub(super) type Asking = Vec<StatusSource>;

/// How upstream is dialled.
pub(super) struct Way<'a> {
    pub(super) clock: Clock,
    pub(super) roots: &'a tls::Roots,
    pub(super) parents: ParentProxies,
    pub(super) overrides: Overrides,
    /// Our own addresses.
    pub(super) barred: Vec<SocketAddr>,
}

pub(super) fn dialer(way: Way<'_>) -> Dialer {
    Dialer::new(Settings {
        clock: way.clock,
        limits: LIMITS,
        tls: tls::ClientConfigs::new(way.roots),
        parents: way.parents,
        overrides: way.overrides,
        reach: Reach::all_but(way.barred),
        sockets: OwnSockets::default(),
    })
}

/// A gateway on a port of loopback, behind a token that nobody else is told.
pub(super) struct InProcess {
    base: String,
    context: Arc<Context>,
    serving: JoinSet<()>,
}

impl InProcess {
    pub(super) async fn start(outgoing: Outgoing<'_>) -> anyhow::Result<Self> {
        let clock = outgoing.clock;
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let address = listener.local_addr()?;
        let token = Token::random();
        let base = format!("http://{address}/{}", token.secret());
        let is_replay = outgoing.replay.is_some();
        let responder = match outgoing.replay {
            Some(replay) => Responder::Replay(replay),
            None => Responder::Upstream(dialer(Way {
                clock,
                roots: &outgoing.roots,
                parents: outgoing.parents,
                overrides: outgoing.overrides,
                barred: vec![address, outgoing.own],
            })),
        };
        let mut settings = outgoing.go.settings.clone();
        settings.insert(String::from("GOPROXY"), outgoing.goproxy.to_owned());
        settings.insert(String::from("GOSUMDB"), outgoing.gosumdb.to_owned());
        let front = Front::new(outgoing.goproxy, outgoing.gosumdb);
        let recording = outgoing.recording;
        let redactor = match recording {
            Some(recording) => recording.redactor.clone(),
            None => Redactor::new(tls::random()),
        };
        let redactor = redactor.knowing(token.secret());
        let numbers = recording.map_or(0, UpstreamRecording::numbers);
        let context = Arc::new(Context {
            clock,
            deadlines: Deadlines {
                upstream_idle: Some(outgoing.idle),
                ..Deadlines::default()
            },
            access: Access::on_path(token),
            policy: Policy {
                intercept: Default::default(),
                intercept_all: false,
                tunnel: Default::default(),
                others: Others::Tunnel,
                propagation: Propagation::default(),
            },
            leafs: None,
            responder,
            repositories: Repositories::new(None, std::env::temp_dir()),
            recorder: recording.map(|recording| recording.recorder.clone()),
            capture: None,
            redactor: redactor.knowing_bases(outgoing.goproxy),
            live: Live::new(clock),
            metrics: outgoing.metrics.map(Metrics::of_upstream),
            bases: bases(&settings).into(),
            windows: Windows::default(),
            trace: recording.map_or_else(|| Hex(tls::random()), |recording| recording.trace),
            trace_flags: TraceFlags::SAMPLED,
            spans: RandomState::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            drained: CancellationToken::new(),
            next_exchange: AtomicU64::new(numbers),
            next_connection: AtomicU64::new(numbers),
        });
        let credentials = match outgoing.shows_netrc && !is_replay {
            true => GoAuth::of_netrc(outgoing.variables.read_netrc()),
            false => GoAuth::off(),
        };
        let gateway = Arc::new(Gateway::new(front, credentials, true));
        let proxy = Proxy::new(listener, Arc::clone(&context), Entrance::Gateway(gateway));
        let mut serving = JoinSet::new();
        serving.spawn(proxy.run());
        Ok(Self {
            base,
            context,
            serving,
        })
    }

    /// What is in flight through it, for those who look at the session `id` from outside.
    pub(super) fn status(&self, id: &SessionId) -> StatusSource {
        let idle = self.context.deadlines.upstream_idle;
        StatusSource {
            session: id.clone(),
            live: self.context.live.clone(),
            bases: Arc::clone(&self.context.bases),
            limits: StuckLimits {
                connect_us: micros(LIMITS.connect),
                tls_us: micros(LIMITS.tls),
                idle_us: idle.map(micros),
                ..StuckLimits::default()
            },
            processes: Latest::new(self.context.clock),
        }
    }

    /// What its paths lie below.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Ends what is on its way.
    pub(super) async fn close(self) {
        self.context.stop.cancel();
        drop(self.context);
        self.serving.join_all().await;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
