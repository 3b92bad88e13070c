//! An upstream that gave no answer is left alone for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// How long an upstream is left alone after its first failure.
const FIRST: Duration = Duration::from_secs(5);

/// And at most, so that one that is well again is used within that time.
const LONGEST: Duration = Duration::from_secs(20);

/// Open while its upstream is left alone. Then one request is let through: what comes of it decides.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    // A std Mutex: held for a few assignments, never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How long it is open for; zero if it is closed.
    open_for: Duration,
    /// When the next request may try.
    next_probe: Timestamp,
    /// A request tries it; others that were sent before say nothing new.
    is_probed: bool,
}

impl Breaker {
    /// Whether a request may be sent at `now`. While it is open, one may each time that its time is over.
    pub(super) fn admits(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        if state.open_for.is_zero() {
            return true;
        }
        let is_due = now >= state.next_probe;
        if is_due {
            // The next one, should this one never end.
            state.next_probe = now + state.open_for;
            state.is_probed = true;
        }
        is_due
    }

    /// The upstream answered, whatever it was. Says whether that is news.
    pub(super) fn answered(&self) -> bool {
        let was = std::mem::take(&mut *self.state());
        !was.open_for.is_zero()
    }

    /// Whether its upstream is left alone.
    pub(super) fn is_open(&self) -> bool {
        !self.state().open_for.is_zero()
    }

    /// The upstream gave no answer. Says whether that is news.
    pub(super) fn failed(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        let is_news = state.open_for.is_zero();
        if !is_news && !std::mem::take(&mut state.is_probed) {
            return false;
        }
        state.open_for = match is_news {
            true => FIRST,
            false => (state.open_for * 2).min(LONGEST),
        };
        state.next_probe = now + state.open_for;
        is_news
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_upstream_is_tried_after_five_ten_and_twenty_seconds() {
        let breaker = Breaker::default();
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        assert!(breaker.admits(at(100)));
        assert!(breaker.failed(at(100)));
        // Those who had asked before say nothing new.
        assert!(!breaker.failed(at(101)) && !breaker.failed(at(101)));
        assert!(!breaker.admits(at(104)));
        // One probe, and nobody else.
        assert!(breaker.admits(at(105)) && !breaker.admits(at(105)));
        assert!(!breaker.failed(at(106)));
        assert!(!breaker.admits(at(115)) && breaker.admits(at(116)));
        breaker.failed(at(116));
        assert!(!breaker.admits(at(135)) && breaker.admits(at(136)));
        breaker.failed(at(136));
        assert!(!breaker.admits(at(155)) && breaker.admits(at(156)));
        assert!(breaker.is_open() && breaker.answered() && !breaker.answered());
        assert!(breaker.admits(at(156)));
    }
}
