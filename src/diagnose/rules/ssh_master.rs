//! MT209: a process that git left behind, an ssh master most often, keeps open the pipe whose end the
//! go command waits for.

use super::Found;
use super::looks::Looks;
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;
use crate::diagnose::processes::Kind;

/// A wait is told from here on, microseconds.
const LEAST_US: u64 = 1_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let looks = Looks::at(case, &[Kind::Pipe], LEAST_US);
    let found = looks.map(|looks| looks.found(Confidence::Certain));
    found.into_iter().collect()
}
