//! MT207: a go command waits for a file lock, that of the module cache most often.

use super::Found;
use super::looks::Looks;
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;
use crate::diagnose::processes::Kind;

/// A wait is told from here on, microseconds.
const LEAST_US: u64 = 1_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let looks = Looks::at(case, &[Kind::Lock], LEAST_US);
    let found = looks.map(|looks| looks.found(Confidence::Certain));
    found.into_iter().collect()
}
