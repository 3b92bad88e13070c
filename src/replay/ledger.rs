//! The hits and misses of a replay.
//!
//! Bounded however long a replay serves: equal misses are one entry with a count, and of more than
//! [`DISTINCT`] different ones only the number is kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gomod::{Base, Route};
use crate::redact::url_without_secrets;

/// How many different misses are kept: many more than anybody is shown.
const DISTINCT: usize = 1_000;

/// How many characters are kept of a method, which is the client's to choose.
const METHOD: usize = 32;

/// Something that was asked for and is not on the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Miss {
    /// In words: `zip golang.org/x/net v0.34.0`.
    pub(crate) what: String,
    /// What the recording had instead the first time, if there was something near.
    pub(crate) instead: Option<String>,
    /// How often it was asked for.
    pub(crate) times: u64,
    /// Whether all that is known is where a tunnel, or a redirected connection, was to lead.
    pub(crate) is_tunnel: bool,
    /// The host that it was to lead to, if it has a name.
    host: Option<String>,
}

/// Where a tunnel, or a redirected connection, was to lead.
pub(super) struct Tunnel<'a> {
    /// `None` where nobody knows what has the address.
    pub(super) host: Option<&'a str>,
}

/// All misses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Misses {
    distinct: Vec<Miss>,
    places: HashMap<String, usize>,
    total: u64,
    unlisted: u64,
}

impl Misses {
    /// Adds a request.
    pub(crate) fn add(&mut self, what: String, instead: Option<String>) {
        self.insert(what, instead, None);
    }

    fn insert(&mut self, what: String, instead: Option<String>, tunnel: Option<Tunnel<'_>>) {
        self.total += 1;
        if let Some(place) = self.places.get(&what) {
            self.distinct[*place].times += 1;
        } else if self.distinct.len() < DISTINCT {
            self.places.insert(what.clone(), self.distinct.len());
            self.distinct.push(Miss {
                what,
                instead,
                times: 1,
                is_tunnel: tunnel.is_some(),
                host: tunnel.and_then(|Tunnel { host }| host.map(str::to_owned)),
            });
        } else {
            self.unlisted += 1;
        }
    }

    /// True if every request was answered.
    pub(crate) const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// How many requests found nothing.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// What they asked for, in the order of their first times: the first thousand.
    pub(crate) fn distinct(&self) -> &[Miss] {
        &self.distinct
    }

    /// Hosts to which a tunnel was refused: a recording of them has to intercept them.
    pub(crate) fn refused_hosts(&self) -> BTreeSet<String> {
        let tunnels = self.tunnels();
        tunnels.filter_map(|miss| miss.host.clone()).collect()
    }

    /// Tunnels that were refused.
    pub(crate) fn tunnels(&self) -> impl Iterator<Item = &Miss> {
        let misses = self.distinct.iter();
        misses.filter(|miss| miss.is_tunnel)
    }

    /// How many requests asked for something that is not among [`Self::distinct`].
    pub(crate) const fn unlisted(&self) -> u64 {
        self.unlisted
    }
}

/// Hits and misses so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    hits: AtomicU64,
    // A std Mutex: held for a map operation, never across an await.
    misses: Mutex<Misses>,
}

impl Ledger {
    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn misses(&self) -> MutexGuard<'_, Misses> {
        self.misses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `what` is the request's meaning; a method other than GET stands before it.
    pub(super) fn missed(&self, method: &str, what: String, instead: Option<String>) {
        let what = match method {
            "GET" => what,
            _ => {
                let method: String = method.chars().take(METHOD).collect();
                format!("{method} {what}")
            }
        };
        self.misses().add(what, instead);
    }

    /// A tunnel, or a connection that was redirected: `what` in words.
    pub(super) fn refused(&self, what: String, tunnel: Tunnel<'_>, why: &str) {
        let why = Some(why.to_owned());
        self.misses().insert(what, why, Some(tunnel));
    }
}

/// A hit whose bytes are still on their way: it becomes a miss if they turn out to be damaged.
#[derive(Debug)]
pub(crate) struct Account {
    pub(super) ledger: Arc<Ledger>,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) bases: Arc<[Base]>,
}

impl Account {
    /// The answer broke off, since what is recorded cannot be given whole.
    pub(super) fn broke_off(self, why: String) {
        self.ledger.hits.fetch_sub(1, Ordering::Relaxed);
        let what = what(&self.url, &self.bases);
        self.ledger.missed(&self.method, what, Some(why));
    }
}

/// What a URL asks for, in words and without secrets.
pub(super) fn what(url: &str, bases: &[Base]) -> String {
    Route::of(&url_without_secrets(url), bases).what()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_misses_are_one_entry_however_many_there_are() {
        let ledger = Ledger::default();
        for _ in 0..100_000 {
            ledger.missed("GET", "list a.b/c".into(), Some("then".into()));
        }
        ledger.missed("POST", "list a.b/c".into(), None);
        let misses = ledger.misses();
        assert_eq!(misses.total(), 100_001);
        let kept: Vec<_> = misses
            .distinct()
            .iter()
            .map(|m| (&*m.what, m.times))
            .collect();
        assert_eq!(kept, [("list a.b/c", 100_000), ("POST list a.b/c", 1)]);
        assert_eq!(misses.distinct()[0].instead.as_deref(), Some("then"));
    }

    #[test]
    fn different_misses_are_counted_and_a_thousand_of_them_kept() {
        let ledger = Ledger::default();
        let method = "M".repeat(60_000);
        for number in 0..5_000 {
            ledger.missed(&method, format!("/{number}"), None);
        }
        let misses = ledger.misses();
        assert_eq!((misses.total(), misses.unlisted()), (5_000, 4_000));
        assert_eq!(misses.distinct().len(), DISTINCT);
        assert!(misses.distinct().iter().all(|miss| miss.what.len() < 50));
    }
}
