//! What a server shows Prometheus, read from its counters whenever it is asked for. `docs/telemetry.md` lists it.
//!
//! No label names a module or a user: tiers and outcomes are few, and entries are hosts that the settings name.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::counts::{Attempts, Counts, Hit, Outcome, read};
use super::redis::Redis;
use super::server::Server;
use super::tiers::{Faults, Stock, Tier, Tiers};
use crate::telemetry::metrics::{Family, FamilyKind, Metrics, Sample};

/// What the metrics are read from, whatever a reload changes.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) counts: Arc<Counts>,
    pub(crate) tiers: Arc<Tiers>,
    /// Those of private modules, once there are some.
    pub(crate) private: Arc<OnceLock<Arc<Tiers>>>,
    pub(crate) redis: Option<Arc<Redis>>,
    /// The server that answers at the moment.
    pub(crate) servers: watch::Receiver<Arc<Server>>,
}

/// A metric: its name, what it is, whether it only grows, and how it is read.
type Row = (
    &'static str,
    &'static str,
    FamilyKind,
    fn(&Sources) -> Vec<Sample>,
);

/// All of them.
const FAMILIES: [Row; 17] = [
    (
        "modtape_in_flight_requests",
        "Requests of clients that are not answered to the last byte yet.",
        FamilyKind::Gauge,
        |it| alone(it.counts.in_flight.load(Ordering::Relaxed)),
    ),
    (
        "modtape_upstream_connections",
        "Connections to upstreams that are there for HTTP.",
        FamilyKind::Gauge,
        |it| {
            let open = it.counts.metrics().map(Metrics::open_upstreams);
            vec![Sample::labelled("state", "open", open.unwrap_or(0))]
        },
    ),
    (
        "modtape_serve_hits_total",
        "Requests of clients that were answered from a tier; stale: older than it should be, from any.",
        FamilyKind::Counter,
        |it| {
            let hit = |hit: Hit| Sample::labelled("tier", hit.name(), it.counts.hits(hit));
            Hit::ALL.map(hit).into()
        },
    ),
    (
        "modtape_serve_misses_total",
        "Requests of clients for which upstream was asked, with an answer or without.",
        FamilyKind::Counter,
        |it| alone(it.counts.now().misses),
    ),
    (
        "modtape_serve_joined_total",
        "Requests of clients that waited for what another had asked upstream for.",
        FamilyKind::Counter,
        |it| alone(it.counts.now().joined),
    ),
    (
        "modtape_serve_upstream_requests_total",
        "Requests to the entries of the upstream list, each attempt, by the entry's host and what came of it.",
        FamilyKind::Counter,
        upstream_requests,
    ),
    (
        "modtape_serve_upstream_bytes_total",
        "Bytes of the files that came whole from upstream.",
        FamilyKind::Counter,
        |it| alone(it.counts.now().bytes),
    ),
    (
        "modtape_serve_breaker_open",
        "1 while an entry of the upstream list is left alone, since it gave no answer; else 0.",
        FamilyKind::Gauge,
        breakers,
    ),
    (
        "modtape_serve_ahead_total",
        "Files fetched before they were asked for: made all, used those asked for later, wasted those not within an hour.",
        FamilyKind::Counter,
        |it| {
            ahead(it)
                .map(|(state, files, _)| Sample::labelled("state", state, files))
                .into()
        },
    ),
    (
        "modtape_serve_ahead_bytes_total",
        "Bytes of the files fetched before they were asked for.",
        FamilyKind::Counter,
        |it| {
            ahead(it)
                .map(|(state, _, bytes)| Sample::labelled("state", state, bytes))
                .into()
        },
    ),
    (
        "modtape_serve_stored_bytes",
        "Bytes that memory and the local disk hold.",
        FamilyKind::Gauge,
        |it| stocks(it, |stock| stock.bytes),
    ),
    (
        "modtape_serve_stored_entries",
        "Answers that memory and the local disk hold.",
        FamilyKind::Gauge,
        |it| stocks(it, |stock| stock.entries),
    ),
    (
        "modtape_serve_stored_limit_bytes",
        "Bytes that memory and the local disk may hold.",
        FamilyKind::Gauge,
        |it| stocks(it, |stock| stock.most),
    ),
    (
        "modtape_serve_evictions_total",
        "Answers of memory, and files of the local disk, that made room for others.",
        FamilyKind::Counter,
        |it| stocks(it, |stock| stock.evictions),
    ),
    (
        "modtape_serve_tier_errors_total",
        "What failed in a tier, took too long, or was damaged.",
        FamilyKind::Counter,
        |it| faults(it, |fault| fault.failures),
    ),
    (
        "modtape_serve_tier_up",
        "0 while a tier is left out, since it failed or took too long; else 1.",
        FamilyKind::Gauge,
        |it| faults(it, |fault| u64::from(fault.is_used)),
    ),
    (
        "modtape_serve_lock_waits_total",
        "Requests that waited for what another replica had begun to fetch.",
        FamilyKind::Counter,
        |it| {
            it.redis
                .iter()
                .map(|redis| Sample::alone(redis.lock_waits()))
                .collect()
        },
    ),
];

impl Sources {
    /// Has `metrics` expose all of it.
    pub(crate) fn show(&self, metrics: &Metrics) {
        for (name, help, kind, read) in FAMILIES {
            let own = self.clone();
            metrics.add(Family {
                name,
                help,
                kind,
                read: Box::new(move || read(&own)),
            });
        }
    }

    /// The tiers of this process, those of private modules too.
    fn all_tiers(&self) -> impl Iterator<Item = &Tiers> {
        let all = [Some(&self.tiers), self.private.get()];
        all.into_iter().flatten().map(|tiers| &**tiers)
    }
}

fn alone(value: u64) -> Vec<Sample> {
    vec![Sample::alone(value)]
}

fn upstream_requests(sources: &Sources) -> Vec<Sample> {
    let hosts = sources.counts.upstream();
    let of_host = |(host, attempts): &(String, Arc<Attempts>)| {
        let sample = |outcome: Outcome| Sample {
            labels: vec![
                ("entry", host.clone()),
                ("outcome", outcome.name().to_owned()),
            ],
            value: attempts.of(outcome),
        };
        Outcome::ALL.map(sample)
    };
    hosts.iter().flat_map(of_host).collect()
}

/// An entry is a host: of several with the same one, one that is open counts.
fn breakers(sources: &Sources) -> Vec<Sample> {
    let server = Arc::clone(&sources.servers.borrow());
    let mut open = BTreeMap::new();
    server.each_breaker(&mut |host, is_open| {
        *open.entry(host.to_owned()).or_insert(false) |= is_open;
    });
    let sample = |(host, is_open)| Sample::labelled("entry", host, u64::from(is_open));
    open.into_iter().map(sample).collect()
}

/// Files and bytes by state.
fn ahead(sources: &Sources) -> [(&'static str, u64, u64); 3] {
    let ahead = &sources.counts.ahead;
    let states = [
        ("made", &ahead.made),
        ("used", &ahead.used),
        ("wasted", ahead.wasted()),
    ];
    states.map(|(state, it)| (state, read(&it.files), read(&it.bytes)))
}

/// A value of memory, and of the disk as soon as that was looked through.
fn stocks(sources: &Sources, of: fn(&Stock) -> u64) -> Vec<Sample> {
    let memory = sources.all_tiers().map(|tiers| of(&tiers.memory_stock()));
    let memory = memory.fold(0, u64::saturating_add);
    let mut samples = vec![Sample::labelled("tier", Tier::Memory.name(), memory)];
    let disk = sources.all_tiers().filter_map(Tiers::disk_stock);
    if let Some(disk) = disk.map(|stock| of(&stock)).reduce(u64::saturating_add) {
        samples.push(Sample::labelled("tier", Tier::Disk.name(), disk));
    }
    samples
}

/// A value of each tier that can fail.
fn faults(sources: &Sources, of: fn(&Faults) -> u64) -> Vec<Sample> {
    let mut all: BTreeMap<&str, Faults> = BTreeMap::new();
    let redis = sources.redis.iter().map(|redis| {
        let fault = Faults {
            is_used: !redis.is_left_out(),
            failures: redis.failures(),
        };
        (Tier::Redis, fault)
    });
    let own = sources.all_tiers().flat_map(Tiers::faults);
    for (tier, fault) in own.chain(redis) {
        let sum = all.entry(tier.name()).or_insert(Faults {
            is_used: true,
            failures: 0,
        });
        sum.is_used &= fault.is_used;
        sum.failures += fault.failures;
    }
    let sample = |(tier, fault)| Sample::labelled("tier", tier, of(&fault));
    all.into_iter().map(sample).collect()
}
