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
    /// One large body.
    Big,
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
pub(crate) const LOADS: [Load; 7] = [
    throughput("h1 32x1", Protocol::Http1, (32, 1), 40.0),
    throughput("h2 8x4", Protocol::H2, (8, 4), 40.0),
    throughput("h2 32x1", Protocol::H2, (32, 1), 55.0),
    alone("h1 sequential", Protocol::Http1, Kind::Sequential),
    alone("h2 sequential", Protocol::H2, Kind::Sequential),
    alone("h1 big body", Protocol::Http1, Kind::Big),
    alone("h2 big body", Protocol::H2, Kind::Big),
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
    pub(crate) octets: u64,
    pub(crate) seconds: f64,
    /// Of the recorder, if there was one; for each request.
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// To the first octet of a large body.
    pub(crate) first_us: f64,
    /// Of the recorder, if there was one.
    pub(crate) peak_rss_bytes: f64,
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
        (window, big_octets): (Duration, u64),
    ) -> anyhow::Result<Run> {
        let clock = Clock::start();
        let mut tasks = JoinSet::new();
        let (tunnels, streams) = match self.kind {
            Kind::Throughput { tunnels, streams } => (tunnels, streams),
            Kind::Sequential | Kind::Big => (1, 1),
        };
        let mut connections = Vec::new();
        for _ in 0..tunnels {
            let mut connection = route.connect(self.protocol, &mut tasks).await?;
            connection.get(SMALL, SMALL_BYTES as u64, clock).await?;
            connections.extend((0..streams).map(|_| connection.clone()));
        }
        let journal_before = subject.map_or(0, Subject::journal_bytes);
        let cpu_before = subject.map(Subject::cpu_us).transpose()?;
        let started = clock.now();
        let mut run = if self.kind == Kind::Big {
            big(&mut connections[0], big_octets, clock).await?
        } else {
            small(connections, window, clock).await?
        };
        run.seconds = clock.now().since(started).as_secs_f64();
        if let (Some(subject), Some(before)) = (subject, cpu_before) {
            let requests = run.requests as f64;
            run.cpu_us = (subject.cpu_us()? - before) / requests;
            run.peak_rss_bytes = subject.peak_rss_bytes()?;
            run.journal_bytes = (subject.journal_bytes() - journal_before) as f64 / requests;
        }
        Ok(run)
    }
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
        octets: (latencies.len() * SMALL_BYTES) as u64,
        p50_us: at(0.5)?,
        p99_us: at(0.99)?,
        ..Run::default()
    })
}

async fn big(connection: &mut Connection, octets: u64, clock: Clock) -> anyhow::Result<Run> {
    let answered = connection
        .get(&format!("{BIG}{octets}"), octets, clock)
        .await?;
    Ok(Run {
        requests: 1,
        octets,
        first_us: answered.first_us as f64,
        ..Run::default()
    })
}
