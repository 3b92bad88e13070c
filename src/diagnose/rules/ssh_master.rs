//! MT209: a process that git left behind, an ssh master most often, keeps open the pipe whose end the
//! go command waits for.

use super::looks::Looks;
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;
use crate::diagnose::processes::Kind;

/// A wait is told from here on, microseconds.
const LEAST_US: u64 = 1_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let found = Looks::at(case, &[Kind::Pipe], LEAST_US).map(|looks| Found {
        severity: looks.severity(),
        title: looks.title(),
        confidence: Confidence::Certain,
        hint: looks.longest.choices().into_iter().next(),
        evidence: looks.evidence,
        explains: Explained::idle(looks.idle).hung(looks.to_the_end),
    });
    found.into_iter().collect()
}
