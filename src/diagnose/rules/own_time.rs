//! MT902: modtape itself kept answers back.

use super::{Explained, Found, LEAST_PART};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::words::duration;

/// Our own time of one exchange is worth telling from here on, microseconds.
const SLOW_US: u64 = 5_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut items: Vec<usize> = (0..case.asked.len()).collect();
    items.retain(|item| case.asked[*item].row.own_us >= SLOW_US);
    // As many small ones as there are: in sum they are worth a line from a twentieth of the time on.
    let rows = case.asked.iter();
    let us = rows.fold(0_u64, |sum, asked| sum.saturating_add(asked.row.own_us));
    if items.is_empty() || us.saturating_mul(LEAST_PART) < case.timeline.wall_us {
        return Vec::new();
    }
    items.sort_by_key(|item| std::cmp::Reverse(case.asked[*item].row.own_us));
    let evidence = items.iter().map(|item| {
        let own = duration(case.asked[*item].row.own_us);
        case.exhibit(
            *item,
            format!("{}: {own} behind the last byte", case.what(*item)),
        )
    });
    vec![Found {
        severity: Severity::Slow,
        title: format!(
            "modtape itself kept answers back for {} in sum, until they were written: the disk of the recording is slow",
            duration(us)
        ),
        confidence: Confidence::Certain,
        evidence: evidence.collect(),
        hint: Some(String::from(
            "record to another disk (--recordings DIR), and without --durability strict",
        )),
        explains: Explained::pieces(case.pieces(|_, piece| piece.phase.is_none())),
    }]
}
