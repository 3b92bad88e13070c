//! What is going on right now: every dial and exchange in flight, its phase and since when.
//!
//! Fed by the legs, read by the status line, the stall notices and the list at Ctrl-C.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::wanted::Wanted;
use crate::clock::{Clock, Timestamp};
use crate::exchange::{ExchangeId, Phase};

/// Something in flight.
#[derive(Debug, Clone)]
pub struct InFlight {
    /// The exchange; `None` while its connection is still being made.
    pub id: Option<ExchangeId>,
    /// Whom it waits for.
    pub host: String,
    /// The module request in words; empty for a dial.
    pub what: String,
    /// What it is doing.
    pub phase: Phase,
    /// When it began.
    pub started: Timestamp,
    /// When the upstream was last heard of, or the phase began.
    pub progress: Timestamp,
    /// Octets of the body so far.
    pub bytes: u64,
    /// The address it is connected to, once there is one.
    pub address: Option<String>,
    /// True while the client keeps us waiting, or our disk, and not the upstream.
    pub is_held: bool,
}

/// Everything in flight, and what has passed; cheap to clone.
#[derive(Debug, Clone)]
pub struct Live {
    clock: Clock,
    // A std Mutex: held for a map operation, never across an await.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    entries: BTreeMap<u64, Line>,
    done: u64,
    bytes: u64,
}

/// An entry whose words are made when somebody looks: most are over before that.
#[derive(Debug)]
struct Line {
    entry: InFlight,
    wanted: Option<Arc<Wanted>>,
}

/// How much has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Exchanges that are over.
    pub exchanges: u64,
    /// Octets of their bodies.
    pub bytes: u64,
}

impl Live {
    /// Nothing in flight.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Arc::default(),
        }
    }

    /// Everything in flight, oldest first.
    pub fn in_flight(&self) -> Vec<InFlight> {
        let state = self.lock();
        let lines = state.entries.values().map(|line| InFlight {
            what: line
                .wanted
                .as_ref()
                .map_or_else(String::new, |wanted| wanted.route().what()),
            ..line.entry.clone()
        });
        lines.collect()
    }

    /// What has passed so far.
    pub fn passed(&self) -> Passed {
        let state = self.lock();
        Passed {
            exchanges: state.done,
            bytes: state.bytes,
        }
    }

    /// The present instant of the clock that the entries are stamped with.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Something begins; it is over when the entry is dropped.
    pub(super) fn begin(
        &self,
        id: Option<ExchangeId>,
        host: &str,
        wanted: Option<Arc<Wanted>>,
        phase: Phase,
    ) -> Entry {
        let now = self.clock.now();
        let mut state = self.lock();
        state.next += 1;
        let key = state.next;
        let entry = InFlight {
            id,
            host: host.to_owned(),
            what: String::new(),
            phase,
            started: now,
            progress: now,
            bytes: 0,
            address: None,
            is_held: false,
        };
        state.entries.insert(key, Line { entry, wanted });
        Entry {
            live: self.clone(),
            key,
        }
    }

    fn update(&self, key: u64, change: impl FnOnce(&mut InFlight, Timestamp)) {
        let now = self.clock.now();
        if let Some(line) = self.lock().entries.get_mut(&key) {
            change(&mut line.entry, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line of [`Live`], taken out when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    live: Live,
    key: u64,
}

impl Entry {
    pub(super) fn enter(&self, phase: Phase) {
        self.update(|entry, now| {
            entry.phase = phase;
            entry.progress = now;
        });
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.update(|entry, now| {
            entry.bytes += bytes;
            entry.progress = now;
            entry.is_held = true;
        });
    }

    /// The disk takes no more for now: silence is not the upstream's.
    pub(super) fn waits_for_disk(&self) {
        self.update(|entry, _| entry.is_held = true);
    }

    /// What there was is taken: silence is the upstream's again.
    pub(super) fn wants_more(&self) {
        self.update(|entry, now| {
            if entry.is_held {
                entry.is_held = false;
                entry.progress = now;
            }
        });
    }

    pub(super) fn connected(&self, address: Option<String>) {
        self.update(|entry, _| entry.address = address);
    }

    /// For the request's body, if it has one.
    pub(super) fn upload(&self) -> Upload {
        Upload {
            live: self.live.clone(),
            key: self.key,
        }
    }

    fn update(&self, change: impl FnOnce(&mut InFlight, Timestamp)) {
        self.live.update(self.key, change);
    }
}

/// The request's body of one line of [`Live`], as long as there is no answer.
#[derive(Debug)]
pub(super) struct Upload {
    live: Live,
    key: u64,
}

impl Upload {
    /// The client sends no more for now, or our disk takes none: silence is not the upstream's.
    pub(super) fn is_held(&self) {
        self.update(|entry, _| entry.is_held = true);
    }

    /// A part of it goes on, or all of it has.
    pub(super) fn passes(&self) {
        self.update(|entry, now| {
            entry.is_held = false;
            entry.progress = now;
        });
    }

    fn update(&self, change: impl FnOnce(&mut InFlight, Timestamp)) {
        self.live.update(self.key, |entry, now| {
            if entry.phase == Phase::Wait {
                change(entry, now);
            }
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.live.lock();
        let Some(Line { entry, .. }) = state.entries.remove(&self.key) else {
            return;
        };
        if entry.id.is_some() {
            state.done += 1;
            state.bytes += entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_there_until_it_is_dropped() {
        let live = Live::new(Clock::start());
        let dial = live.begin(None, "a.example", None, Phase::Dns);
        let url = String::from("https://a.example/rsc.io/quote/@v/list");
        let wanted = Arc::new(Wanted::new(url, Arc::new([])));
        let entry = live.begin(Some(1), "a.example", Some(wanted), Phase::Wait);
        tokio::time::advance(std::time::Duration::from_secs(3)).await;
        entry.enter(Phase::Receive);
        entry.add_bytes(10);
        drop(dial);
        let [only] = &live.in_flight()[..] else {
            panic!()
        };
        assert_eq!(
            (only.phase, only.bytes, only.is_held),
            (Phase::Receive, 10, true)
        );
        assert_eq!(only.what, "list rsc.io/quote");
        assert_eq!(only.progress.micros_since(only.started), 3_000_000);
        drop(entry);
        assert_eq!(
            live.passed(),
            Passed {
                exchanges: 1,
                bytes: 10
            }
        );
    }
}
