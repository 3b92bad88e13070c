//! One request upstream for all who ask for the same thing at once.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::answer::Answer;
use super::failure::Failure;
use super::purge::Purge;

/// The requests that are on their way, by path.
#[derive(Debug, Default)]
pub(super) struct Flights {
    // A std Mutex: held for operations on the map, never across an await.
    by_path: Mutex<HashMap<String, Arc<Flight>>>,
}

/// A request that is on its way, and what has come of it.
#[derive(Debug)]
pub(super) struct Flight {
    state: watch::Sender<State>,
    /// What comes of it is sent to those who wait, and not kept.
    is_purged: AtomicBool,
}

/// What has come so far.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// The file that grows, for what is passed on as it comes.
    pub(super) growing: Option<Growing>,
    /// How much of it may be passed on: all, but for the end as long as that is not proved.
    pub(super) released: u64,
    /// Nobody upstream was asked: another machine had kept it.
    pub(super) is_of_store: bool,
    pub(super) end: Option<Result<Answer, Failure>>,
    /// It came from another replica.
    pub(super) is_of_replica: bool,
}

/// A body that is being written.
#[derive(Debug, Clone)]
pub(super) struct Growing {
    pub(super) file: Arc<File>,
    /// Its length, where upstream says it.
    pub(super) length: Option<u64>,
}

/// Ends a flight for all who wait, however its task ends.
pub(super) struct Pilot {
    flights: Arc<Flights>,
    path: String,
    flight: Arc<Flight>,
}

impl Flights {
    /// The flight to this path; if there is none a new one, which its pilot has to begin.
    pub(super) fn join(self: &Arc<Self>, path: &str) -> (Arc<Flight>, Option<Pilot>) {
        let mut by_path = self.by_path.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = by_path.get(path) {
            return (Arc::clone(flight), None);
        }
        let flight = Arc::new(Flight {
            state: watch::Sender::default(),
            is_purged: AtomicBool::new(false),
        });
        by_path.insert(path.to_owned(), Arc::clone(&flight));
        let pilot = Pilot {
            flights: Arc::clone(self),
            path: path.to_owned(),
            flight: Arc::clone(&flight),
        };
        (flight, Some(pilot))
    }

    /// Nobody joins what is on its way and covered by a purge, and what comes of it is not kept.
    pub(super) fn purge(&self, purge: &Purge) {
        let mut by_path = self.by_path.lock().unwrap_or_else(PoisonError::into_inner);
        by_path.retain(|path, flight| {
            let is_purged = purge.covers(path);
            if is_purged {
                flight.is_purged.store(true, Ordering::Relaxed);
            }
            !is_purged
        });
    }
}

impl Flight {
    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Waits until there is something to send, or nothing ever.
    pub(super) async fn begun(&self) -> State {
        let mut state = self.state();
        let begun = state.wait_for(|state| state.growing.is_some() || state.end.is_some());
        // The sender lives as long as this does.
        begun
            .await
            .map_or_else(|_| State::default(), |state| state.clone())
    }

    /// Waits until all has come, or nothing will.
    pub(super) async fn ended(&self) -> Result<Answer, Failure> {
        let mut state = self.state();
        let ended = state.wait_for(|state| state.end.is_some()).await;
        let end = ended.ok().and_then(|state| state.end.clone());
        end.unwrap_or_else(|| Err(Failure::bad_gateway("the request was given up")))
    }
}

impl Pilot {
    /// It was in the shared store.
    pub(super) fn is_of_store(&self) {
        self.flight
            .state
            .send_modify(|state| state.is_of_store = true);
    }

    /// So many bytes of the body can be passed on, and from which file.
    pub(super) fn grows(&self, growing: Growing, released: u64) {
        self.flight.state.send_modify(|state| {
            state.growing = Some(growing);
            state.released = state.released.max(released);
        });
    }

    /// Another replica has fetched it.
    pub(super) fn is_of_replica(&self) {
        self.flight.state.send_if_modified(|state| {
            state.is_of_replica = true;
            false
        });
    }

    /// Whether what comes may be kept.
    pub(super) fn may_keep(&self) -> bool {
        !self.flight.is_purged.load(Ordering::Relaxed)
    }

    pub(super) fn ends(self, end: Result<Answer, Failure>) {
        self.leave(end);
    }

    fn leave(&self, end: Result<Answer, Failure>) {
        let by_path = self.flights.by_path.lock();
        let mut by_path = by_path.unwrap_or_else(PoisonError::into_inner);
        // After a purge another one may be on its way.
        let is_own = |flight: &Arc<Flight>| Arc::ptr_eq(flight, &self.flight);
        if by_path.get(&self.path).is_some_and(is_own) {
            by_path.remove(&self.path);
        }
        drop(by_path);
        self.flight.state.send_if_modified(|state| {
            let is_news = state.end.is_none();
            if is_news {
                state.end = Some(end);
            }
            is_news
        });
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        let is_over = self.flight.state.borrow().end.is_some();
        if !is_over {
            self.leave(Err(Failure::bad_gateway("the request was given up")));
        }
    }
}
