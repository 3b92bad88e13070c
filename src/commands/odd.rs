//! What is wrong with a recording as a whole: one rule and one wording for all who open one.
//!
//! Pure. Whoever opens a recording says it once, before anything else.

use super::summary::missing;
use super::words::{count, size};
use crate::recording::Recording;
use crate::recording::reader::Status;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Odd {
    /// What follows the recording's name: `is damaged in 2 places`.
    pub(super) what: String,
    /// Whether something is lost, rather than not there yet.
    pub(super) is_loss: bool,
    /// Whether `recordings info` tells more of it.
    pub(super) has_places: bool,
}

/// All that is wrong, in the order in which it came about.
pub(super) fn odd(recording: &Recording) -> Vec<Odd> {
    let state = match recording.status() {
        Status::Closed | Status::Sealed => None,
        Status::Recording => Some("is still being recorded"),
        Status::Unfinished => Some("is unfinished: its recorder was killed"),
    };
    let is_closed = state.is_none();
    let state = state.map(|what| Odd {
        what: what.into(),
        is_loss: false,
        has_places: false,
    });
    let missing = missing(recording.gaps()).map(|missing| Odd {
        what: format!("is incomplete: {missing}"),
        is_loss: true,
        has_places: false,
    });
    let places = recording.damage().len() as u64;
    // Whoever was killed in the middle of a line left half of it: that is no damage.
    let tail = recording.torn_tail().filter(|_| is_closed);
    let damage = match (places, tail) {
        (0, None) => None,
        (0, Some(tail)) => Some(format!("is damaged: {} at its end", size(tail.len))),
        (places, _) => Some(format!("is damaged in {}", count(places, "place"))),
    };
    let damage = damage.map(|what| Odd {
        what,
        is_loss: true,
        has_places: true,
    });
    [state, missing, damage].into_iter().flatten().collect()
}
