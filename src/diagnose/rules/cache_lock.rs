//! MT207: a go command waits for a file lock, that of the module cache most often.

use super::looks::Looks;
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;
use crate::diagnose::processes::Kind;

/// A wait is told from here on, microseconds.
const LEAST_US: u64 = 1_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let found = Looks::at(case, &[Kind::Lock], LEAST_US).map(|looks| Found {
        severity: looks.severity(),
        title: looks.title(),
        confidence: Confidence::Certain,
        hint: looks.longest.choices().into_iter().next(),
        evidence: looks.evidence,
        explains: Explained::idle(looks.idle).hung(looks.to_the_end),
    });
    found.into_iter().collect()
}
