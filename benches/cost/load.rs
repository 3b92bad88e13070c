//! The loads, and one run of one of them.

use std::time::Duration;

use anyhow::Context as _;
use modtape::clock::Clock;
use modtape::tls::Protocol;
use tokio::task::JoinSet;

use crate::client::{Connection, Route};
use crate::origin::{BIG, SMALL_BYTES};
use crate::subject::Subject;

/// A path of the usual length, of a kind that is recorded like any other.
const SMALL: &str = "/golang.org/x/net/@v/v0.34.0.mod";

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// So many connections with so many requests at once on each.
    Throughput { tunnels: u32, streams: u32 },
    /// One request after the other.
    Sequential,
    /// So many requests a second, whatever became of those before, over 32 connections.
    OpenLoop { per_second: u32 },
    /// Connections one after the other: CONNECT, handshake, one request.
    Connect { clients: u32 },
    /// One large body.
    Big,
    /// Connections that have asked once and are kept.
    Idle,
}

/// How much of a load is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// How long, where time is the measure.
    pub(crate) window: Duration,
    /// Bytes of a large body.
    pub(crate) big_bytes: u64,
    /// Idle connections.
    pub(crate) idle: u32,
}

/// A load by its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) kind: Kind,
    /// CPU of a recorded request at most, microseconds.
    pub(crate) budget_us: f64,
}

/// All loads, in the order of the report.
pub(crate) const LOADS: [Load; 13] = [
    throughput("h1 32x1", Protocol::Http1, (32, 1), 40.0),
    throughput("h2 8x4", Protocol::H2, (8, 4), 40.0),
    throughput("h2 32x1", Protocol::H2, (32, 1), 55.0),
    alone("h1 sequential", Protocol::Http1, Kind::Sequential),
    alone("h2 sequential", Protocol::H2, Kind::Sequential),
    alone(
        "h1 500/s",
        Protocol::Http1,
        Kind::OpenLoop { per_second: 500 },
    ),
    alone("h2 500/s", Protocol::H2, Kind::OpenLoop { per_second: 500 }),
    connect("h1 connect", Protocol::Http1),
    connect("h2 connect", Protocol::H2),
    alone("h1 big body", Protocol::Http1, Kind::Big),
    alone("h2 big body", Protocol::H2, Kind::Big),
    alone("h1 idle", Protocol::Http1, Kind::Idle),
    alone("h2 idle", Protocol::H2, Kind::Idle),
];

const fn throughput(
    name: &'static str,
    protocol: Protocol,
    (tunnels, streams): (u32, u32),
    budget_us: f64,
) -> Load {
    let kind = Kind::Throughput { tunnels, streams };
    Load {
        name,
        protocol,
        kind,
        budget_us,
    }
}

const fn connect(name: &'static str, protocol: Protocol) -> Load {
    Load {
        budget_us: 550.0,
        ..alone(name, protocol, Kind::Connect { clients: 8 })
    }
}

const fn alone(name: &'static str, protocol: Protocol, kind: Kind) -> Load {
    Load {
        name,
        protocol,
        kind,
        budget_us: f64::INFINITY,
    }
}

/// What one run showed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// Of the proxy, if there was one; for each request.
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// To the first byte of a large body.
    pub(crate) first_us: f64,
    /// Of the proxy, if there was one.
    pub(crate) peak_rss_bytes: f64,
    /// What each idle connection added to it.
    pub(crate) idle_bytes: f64,
    /// Of the journal, for each request.
    pub(crate) journal_bytes: f64,
}

impl Load {
    /// Runs it for `window`, through a recorder or past it. Connections are made before the time
    /// counts, and each has answered a request.
    pub(crate) async fn run(
        &self,
        route: &Route,
        subject: Option<&Subject>,
        extent: Extent,
    ) -> anyhow::Result<Run> {
        let clock = Clock::start();
        let mut tasks = JoinSet::new();
        let (tunnels, streams) = match self.kind {
            Kind::Throughput { tunnels, streams } => (tunnels, streams),
            Kind::OpenLoop { .. } => (32, 1),
            Kind::Sequential | Kind::Big | Kind::Connect { .. } | Kind::Idle => (1, 1),
        };
        let mut connections = Vec::new();
        for _ in 0..tunnels {
            let connection = open(route, self.protocol, &mut tasks, clock).await?;
            connections.extend((0..streams).map(|_| connection.clone()));
        }
        let journal_before = subject.map_or(0, Subject::journal_bytes);
        let cpu_before = subject.map(Subject::cpu_us).transpose()?;
        let rss_before = subject.map(Subject::rss_bytes).transpose()?;
        let started = clock.now();
        let mut run = match self.kind {
            Kind::Big => big(&mut connections[0], extent.big_bytes, clock).await?,
            Kind::Throughput { .. } | Kind::Sequential => {
                small(connections, extent.window, clock).await?
            }
            Kind::OpenLoop { per_second } => {
                paced(connections, per_second, extent.window, clock).await?
            }
            Kind::Connect { clients } => {
                connecting(route, self.protocol, clients, extent.window).await?
            }
            Kind::Idle => {
                for _ in 0..extent.idle {
                    connections.push(open(route, self.protocol, &mut tasks, clock).await?);
                }
                Run {
                    requests: u64::from(extent.idle),
                    ..Run::default()
                }
            }
        };
        run.seconds = clock.now().since(started).as_secs_f64();
        if let (Some(subject), Some(cpu), Some(rss)) = (subject, cpu_before, rss_before) {
            let requests = run.requests as f64;
            run.cpu_us = (subject.cpu_us()? - cpu) / requests;
            run.peak_rss_bytes = subject.peak_rss_bytes()?;
            run.journal_bytes = (subject.journal_bytes() - journal_before) as f64 / requests;
            run.idle_bytes = (subject.rss_bytes()? - rss) / requests;
        }
        Ok(run)
    }
}

/// A connection that has answered one request.
async fn open(
    route: &Route,
    protocol: Protocol,
    tasks: &mut JoinSet<()>,
    clock: Clock,
) -> anyhow::Result<Connection> {
    let mut connection = route.connect(protocol, tasks).await?;
    connection.get(SMALL, SMALL_BYTES as u64, clock).await?;
    Ok(connection)
}

/// Each stream asks again and again until the time is over.
async fn small(
    connections: Vec<Connection>,
    window: Duration,
    clock: Clock,
) -> anyhow::Result<Run> {
    let started = clock.now();
    let mut streams = JoinSet::new();
    for mut connection in connections {
        streams.spawn(async move {
            let mut latencies = Vec::new();
            while clock.now().since(started) < window {
                let answered = connection.get(SMALL, SMALL_BYTES as u64, clock).await?;
                latencies.push(answered.whole_us);
            }
            anyhow::Ok(latencies)
        });
    }
    told(streams).await
}

/// Each connection asks at its own share of the instants, from `started` on; what is late counts
/// from when it was due.
async fn paced(
    connections: Vec<Connection>,
    per_second: u32,
    window: Duration,
    clock: Clock,
) -> anyhow::Result<Run> {
    let started = clock.now();
    let interval = Duration::from_secs(1) / per_second;
    let count = u32::try_from(connections.len())?;
    let mut streams = JoinSet::new();
    for (first, mut connection) in (0..count).zip(connections) {
        streams.spawn(async move {
            let mut latencies = Vec::new();
            for turn in (first..).step_by(count as usize) {
                let due = interval * turn;
                if due >= window {
                    break;
                }
                let due = started + due;
                tokio::time::sleep(due.since(clock.now())).await;
                connection.get(SMALL, SMALL_BYTES as u64, clock).await?;
                latencies.push(clock.now().micros_since(due));
            }
            anyhow::Ok(latencies)
        });
    }
    told(streams).await
}

/// Each client connects, asks once, and connects again.
async fn connecting(
    route: &Route,
    protocol: Protocol,
    clients: u32,
    window: Duration,
) -> anyhow::Result<Run> {
    let clock = Clock::start();
    let began = clock.now();
    let mut streams = JoinSet::new();
    for _ in 0..clients {
        let route = route.clone();
        streams.spawn(async move {
            let mut latencies = Vec::new();
            while clock.now().since(began) < window {
                let started = clock.now();
                // Its tasks end with it.
                let mut tasks = JoinSet::new();
                drop(open(&route, protocol, &mut tasks, clock).await?);
                latencies.push(clock.now().micros_since(started));
            }
            anyhow::Ok(latencies)
        });
    }
    told(streams).await
}

/// The latencies of all streams, microseconds, as one run.
async fn told(mut streams: JoinSet<anyhow::Result<Vec<u64>>>) -> anyhow::Result<Run> {
    let mut latencies = Vec::new();
    while let Some(stream) = streams.join_next().await {
        latencies.extend(stream??);
    }
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        latencies
            .get(index)
            .map(|us| *us as f64)
            .context("nothing was answered")
    };
    Ok(Run {
        requests: latencies.len() as u64,
        bytes: (latencies.len() * SMALL_BYTES) as u64,
        p50_us: at(0.5)?,
        p99_us: at(0.99)?,
        ..Run::default()
    })
}

async fn big(connection: &mut Connection, bytes: u64, clock: Clock) -> anyhow::Result<Run> {
    let answered = connection
        .get(&format!("{BIG}{bytes}"), bytes, clock)
        .await?;
    Ok(Run {
        requests: 1,
        bytes,
        first_us: answered.first_us as f64,
        ..Run::default()
    })
}
