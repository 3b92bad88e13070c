//! MT205: the line is full: most of the time went into receiving.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::exchange::Phase;
use crate::words::{duration, percent, size};

/// Receiving takes at least this much, microseconds.
const LEAST_US: u64 = 3_000_000;

/// A line that carries more is no fault, and that it is full only worth a note, bytes a second
/// (16 Mbit/s).
const FAST: u64 = 2_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let pieces = case.pieces(|_, piece| piece.phase == Some(Phase::Receive));
    let mut spans: Vec<(u64, u64)> = pieces
        .iter()
        .map(|piece| {
            let piece = &case.timeline.pieces[*piece];
            (piece.from, piece.to)
        })
        .collect();
    spans.sort_unstable();
    let (mut us, mut end) = (0, 0);
    for (from, to) in spans {
        us += to.saturating_sub(from.max(end));
        end = end.max(to);
    }
    let bytes = case.asked.iter();
    let bytes = bytes.fold(0_u64, |sum, asked| sum.saturating_add(asked.row.bytes));
    let pace = u128::from(bytes) * 1_000_000 / u128::from(us.max(1));
    let pace = u64::try_from(pace).unwrap_or(u64::MAX);
    if us < LEAST_US || us.saturating_mul(2) < case.timeline.wall_us {
        return Vec::new();
    }
    let mut items: Vec<usize> = (0..case.asked.len())
        .filter(|item| case.asked[*item].row.phases[Phase::Receive].is_some())
        .collect();
    items.sort_by_key(|item| std::cmp::Reverse(case.asked[*item].row.bytes));
    let evidence = items.iter().map(|item| {
        let row = case.asked[*item].row;
        let us = row.phases[Phase::Receive].unwrap_or(0);
        let what = case.what(*item);
        case.exhibit(
            *item,
            format!("{what}: {} in {}", size(row.bytes), duration(us)),
        )
    });
    vec![Found {
        severity: match pace >= FAST {
            true => Severity::Note,
            false => Severity::Slow,
        },
        title: format!(
            "the network line is the limit: bytes came for {} of {} ({} %), {} at {}/s together",
            duration(us),
            duration(case.timeline.wall_us),
            percent(us, case.timeline.wall_us),
            size(bytes),
            size(pace)
        ),
        confidence: Confidence::Likely,
        evidence: evidence.collect(),
        hint: Some(String::from(
            "keep the module cache between runs; a module proxy in this network, or one that is nearer (GOPROXY), has a faster line",
        )),
        explains: Explained::pieces(pieces),
    }]
}
