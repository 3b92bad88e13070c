//! What the rules on slow answers have in common.

use std::collections::BTreeSet;

use super::{Explained, Found};
use crate::diagnose::case::{Asked, Case};
use crate::diagnose::finding::{Confidence, Severity};
use crate::exchange::Phase;
use crate::recording::reader::RowState;

/// How long an answer's first byte took, microseconds; `None` if there was no whole answer.
pub(super) fn wait_us(asked: &Asked<'_>) -> Option<u64> {
    let is_whole = asked.row.state == RowState::Ended && !asked.is_ours();
    asked.row.phases[Phase::Wait].filter(|_| is_whole)
}

/// The dials of a host that succeeded, and of which a step took long.
pub(super) struct SlowStep<'a> {
    pub(super) host: &'a str,
    pub(super) items: Vec<usize>,
    /// The longest, microseconds.
    pub(super) longest_us: u64,
}

/// Whether a step of a dial takes so many round trips more than another that the way is not to blame.
pub(super) const fn is_far_above(us: u64, other_us: u64) -> bool {
    us >= other_us.saturating_mul(4)
}

/// The hosts whose dials succeeded with a `phase` for which `is_slow` says so: item, and microseconds.
pub(super) fn steps<'a>(
    case: &'a Case<'_>,
    phase: Phase,
    is_slow: impl Fn(usize, u64) -> bool,
) -> impl Iterator<Item = SlowStep<'a>> {
    case.hosts.iter().filter_map(move |(name, host)| {
        let us = |item: usize| case.phase_us(&case.timeline.items[item], phase);
        let failed: BTreeSet<usize> = host.failed.iter().map(|failed| failed.item).collect();
        let items = host.items.iter().copied();
        let items: Vec<usize> = items
            .filter(|item| is_slow(*item, us(*item)) && !failed.contains(item))
            .collect();
        let longest_us = items.iter().map(|item| us(*item)).max()?;
        Some(SlowStep {
            host: name,
            items,
            longest_us,
        })
    })
}

impl SlowStep<'_> {
    /// A finding that explains the time of this step.
    pub(super) fn found(
        &self,
        case: &Case<'_>,
        phase: Phase,
        title: String,
        doing: &str,
        hint: String,
    ) -> Found {
        Found {
            severity: Severity::Slow,
            title,
            confidence: Confidence::Certain,
            evidence: case.exhibits(&self.items, phase, doing),
            hint: Some(hint),
            explains: Explained::pieces(case.pieces_of(&self.items, Some(phase))),
        }
    }
}

/// The middle of the waits of a host for those answers that are `usual`, microseconds.
pub(super) fn usual_us(
    case: &Case<'_>,
    host: &str,
    usual: impl Fn(&Asked<'_>) -> bool,
) -> Option<u64> {
    let of_host = case.hosts.get(host)?.items.iter();
    let asked = of_host.filter_map(|item| case.asked_by(&case.timeline.items[*item]));
    let asked = asked.filter(|asked| usual(asked));
    let mut waits: Vec<u64> = asked.filter_map(wait_us).collect();
    median(&mut waits)
}

/// The median, the upper one of two, of values that are sorted for it; `None` of nothing.
pub(super) fn median(values: &mut [u64]) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// A finding that explains the waits of these exchanges.
pub(super) fn found(
    case: &Case<'_>,
    items: &[usize],
    title: String,
    confidence: Confidence,
    hint: String,
) -> Found {
    Found {
        severity: Severity::Slow,
        title,
        confidence,
        evidence: case.exhibits(items, Phase::Wait, "until the first byte"),
        hint: Some(hint),
        explains: Explained::pieces(case.pieces_of(items, Some(Phase::Wait))),
    }
}
