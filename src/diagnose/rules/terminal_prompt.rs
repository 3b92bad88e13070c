//! MT208: ssh, git or a helper of theirs waits for an answer of its user.

use super::Found;
use super::looks::Looks;
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;
use crate::diagnose::processes::Kind;

/// A wait is told from here on, microseconds: a prompt that is answered at once is none.
const LEAST_US: u64 = 2_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let kinds = [
        (Kind::Asks, Confidence::Certain),
        (Kind::Stopped, Confidence::Likely),
        (Kind::Helper, Confidence::Likely),
    ];
    let found = kinds.into_iter().filter_map(|(kind, confidence)| {
        let looks = Looks::at(case, &[kind], LEAST_US)?;
        Some(looks.found(confidence))
    });
    found.collect()
}
