//! What a server has done since its process began: for the summary at its end, and for metrics. A reload does not
//! change it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use super::ahead::Prefetched;
use super::server::Source;
use super::tiers::Tier;
use crate::telemetry::metrics::Metrics;

/// Upstream hosts that are counted apart. A reload may name others; those beyond are counted together.
const HOSTS: usize = 64;

/// The name under which what go fetches from repositories is counted: their hosts are those of modules.
pub(super) const REPOSITORIES: &str = "git";

/// The name under which the hosts beyond are counted.
const OTHERS: &str = "other";

/// Counters of clients' requests, of requests upstream, and of what was fetched ahead.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Where each request of a client is counted beside, with its kind and duration.
    metrics: Option<Metrics>,
    /// Requests of clients that are not over; without metrics nobody counts them.
    pub(super) in_flight: AtomicU64,
    /// Clients' requests that were answered from each of [`Hit::ALL`].
    hits: [AtomicU64; Hit::ALL.len()],
    joined: AtomicU64,
    misses: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    pub(super) ahead: Prefetched,
    /// By host, with its port where it is not the scheme's own.
    // A std Mutex: held for an operation on the map, never across an await.
    upstream: Mutex<BTreeMap<String, Arc<Attempts>>>,
}

/// The same, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Clients' requests that were answered from a tier.
    pub(crate) hits: u64,
    /// Clients' requests that waited for what was on its way.
    pub(crate) joined: u64,
    /// Clients' requests for which upstream was asked.
    pub(crate) misses: u64,
    /// Files that came from upstream.
    pub(crate) requests: u64,
    /// Bytes of these.
    pub(crate) bytes: u64,
    /// Those that were fetched before anybody asked for them.
    pub(crate) ahead: u64,
    /// Those of them that somebody asked for later.
    pub(crate) used: u64,
    /// Bytes of those that were fetched before anybody asked for them.
    pub(crate) ahead_bytes: u64,
    /// Bytes of those of them that somebody asked for later.
    pub(crate) used_bytes: u64,
}

/// Where an answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hit {
    Memory,
    Disk,
    Store,
    Redis,
    /// In one of them, older than it should be.
    Stale,
}

impl Hit {
    pub(super) const ALL: [Self; 5] = [
        Self::Memory,
        Self::Disk,
        Self::Store,
        Self::Redis,
        Self::Stale,
    ];

    /// As `X-Modtape-Cache` has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => Tier::Memory.name(),
            Self::Disk => Tier::Disk.name(),
            Self::Store => Tier::Store.name(),
            Self::Redis => Tier::Redis.name(),
            Self::Stale => Source::Stale.name(),
        }
    }
}

impl Counts {
    /// Counts from 0, and for `metrics` if there are some.
    pub(crate) fn new(metrics: Option<Metrics>) -> Self {
        Self {
            metrics,
            ..Self::default()
        }
    }

    pub(crate) const fn metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    pub(crate) fn now(&self) -> Done {
        let ahead = &self.ahead;
        Done {
            hits: self.hits.iter().map(read).sum(),
            joined: read(&self.joined),
            misses: read(&self.misses),
            requests: read(&self.files),
            bytes: read(&self.bytes),
            ahead: read(&ahead.made.files),
            used: read(&ahead.used.files),
            ahead_bytes: read(&ahead.made.bytes),
            used_bytes: read(&ahead.used.bytes),
        }
    }

    /// A client's request was answered, or failed after upstream was asked.
    pub(super) fn answered(&self, source: Source) {
        let hit = |hit: Hit| &self.hits[hit as usize];
        let count = match source {
            Source::Tier(Tier::Memory) => hit(Hit::Memory),
            Source::Tier(Tier::Disk) => hit(Hit::Disk),
            Source::Tier(Tier::Store) => hit(Hit::Store),
            Source::Tier(Tier::Redis) => hit(Hit::Redis),
            Source::Stale => hit(Hit::Stale),
            Source::Joined => &self.joined,
            Source::Miss => &self.misses,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// A file of so many bytes came from upstream.
    pub(super) fn fetched(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Clients' requests that were answered from a tier.
    pub(super) fn hits(&self, hit: Hit) -> u64 {
        read(&self.hits[hit as usize])
    }

    /// The counters of an upstream host, as a URL of it has it.
    pub(super) fn attempts(&self, host: &str) -> Arc<Attempts> {
        let mut upstream = self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
        let name = match upstream.len() < HOSTS || upstream.contains_key(host) {
            true => host,
            false => OTHERS,
        };
        Arc::clone(upstream.entry(name.to_owned()).or_default())
    }

    /// All upstream hosts so far, and their counters.
    pub(super) fn upstream(&self) -> Vec<(String, Arc<Attempts>)> {
        let upstream = self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
        let hosts = upstream.iter();
        hosts
            .map(|(host, attempts)| (host.clone(), Arc::clone(attempts)))
            .collect()
    }
}

/// What came of a request upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 200, and what came was whole and right.
    Ok,
    /// 404 or 410.
    Absent,
    /// Any other answer that is none, such as 403 or 500.
    Error,
    /// No answer within the time for it.
    Timeout,
    /// No connection, or one that was lost before the answer began.
    Failed,
    /// 200, and the body broke off.
    Aborted,
    /// 200, and what came is not what was asked for.
    Wrong,
}

impl Outcome {
    pub(super) const ALL: [Self; 7] = [
        Self::Ok,
        Self::Absent,
        Self::Error,
        Self::Timeout,
        Self::Failed,
        Self::Aborted,
        Self::Wrong,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "absent",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Wrong => "wrong",
        }
    }

    /// Of an answer other than 200.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::OK => Self::Ok,
            StatusCode::NOT_FOUND | StatusCode::GONE => Self::Absent,
            _ => Self::Error,
        }
    }
}

/// Requests to one upstream host, by their outcome.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    outcomes: [AtomicU64; Outcome::ALL.len()],
}

impl Attempts {
    pub(super) fn of(&self, outcome: Outcome) -> u64 {
        read(&self.outcomes[outcome as usize])
    }

    fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A request upstream that is on its way. It is counted once; whoever drops it has waited for too long.
#[derive(Debug)]
#[must_use]
pub(super) struct Attempt {
    attempts: Option<Arc<Attempts>>,
}

impl Attempt {
    pub(super) fn begin(attempts: &Arc<Attempts>) -> Self {
        let attempts = Some(Arc::clone(attempts));
        Self { attempts }
    }

    pub(super) fn ended(mut self, outcome: Outcome) {
        if let Some(attempts) = self.attempts.take() {
            attempts.count(outcome);
        }
    }

    /// Nothing was sent.
    pub(super) fn was_none(mut self) {
        self.attempts = None;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(attempts) = self.attempts.take() {
            attempts.count(Outcome::Timeout);
        }
    }
}

pub(super) fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_are_bounded() {
        let counts = Counts::default();
        for number in 0..HOSTS + 10 {
            let attempts = counts.attempts(&format!("{number}.example"));
            Attempt::begin(&attempts).ended(Outcome::Ok);
        }
        let upstream = counts.upstream();
        assert_eq!(upstream.len(), HOSTS + 1);
        let of = |name: &str| {
            let found = upstream.iter().find(|(host, _)| host == name);
            found.map(|(_, attempts)| attempts.of(Outcome::Ok))
        };
        assert_eq!((of("other"), of("3.example")), (Some(10), Some(1)));
        // One that was known before goes on.
        drop(Attempt::begin(&counts.attempts("3.example")));
        assert_eq!(counts.attempts("3.example").of(Outcome::Timeout), 1);
    }

    #[test]
    fn a_request_is_counted_once_or_not_at_all() {
        let attempts = Arc::<Attempts>::default();
        Attempt::begin(&attempts).ended(Outcome::of_status(StatusCode::GONE));
        Attempt::begin(&attempts).was_none();
        let all = Outcome::ALL.map(|outcome| attempts.of(outcome));
        assert_eq!(all, [0, 1, 0, 0, 0, 0, 0]);
    }
}
