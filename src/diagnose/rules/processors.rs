//! MT201: the go command has only as many requests in flight as it has processors.

use super::slow::median;
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::estimate::Change;
use crate::diagnose::finding::{Confidence, Evidence, Exhibit, Severity};
use crate::exchange::Phase;
use crate::words::{duration, percent};

/// With more the network is used well.
const MANY: u32 = 16;

/// It has to last so long, microseconds.
const LEAST_US: u64 = 3_000_000;

/// Faster answers than this are no reason to ask for more at once, microseconds.
const WAIT_US: u64 = 30_000;

/// How long at least `processors` requests were in flight, and how long any was, microseconds.
pub(super) fn saturated(case: &Case<'_>, processors: u32) -> (u64, u64) {
    let busy: u64 = case.timeline.in_flight_us.iter().skip(1).sum();
    let from = usize::try_from(processors).unwrap_or(usize::MAX);
    let full = case.timeline.in_flight_us.iter().skip(from).sum();
    (full, busy)
}

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let Some(processors) = case.manifest.processors.filter(|number| *number < MANY) else {
        return Vec::new();
    };
    let (full, busy) = saturated(case, processors);
    let waits = case
        .asked
        .iter()
        .filter_map(|asked| asked.row.phases[Phase::Wait]);
    let mut waits: Vec<u64> = waits.collect();
    let middle = median(&mut waits).unwrap_or(0);
    let is_enough = waits.len() >= 8 * usize::try_from(processors).unwrap_or(1);
    if full < LEAST_US
        || full.saturating_mul(10) < busy.saturating_mul(7)
        || middle < WAIT_US
        || !is_enough
    {
        return Vec::new();
    }
    // More at once helps against waiting, not against a full line.
    let pieces = case.pieces(|_, piece| piece.phase == Some(Phase::Wait));
    let setting = Evidence {
        what: Exhibit::Setting {
            name: String::from("GOMAXPROCS"),
        },
        shows: format!(
            "{processors}: at least so many requests were in flight for {} of {}",
            duration(full),
            duration(busy)
        ),
    };
    let mut items: Vec<usize> = (0..case.asked.len()).collect();
    items.retain(|item| case.asked[*item].row.phases[Phase::Wait].is_some());
    let mut evidence = vec![setting];
    evidence.extend(case.exhibits(&items, Phase::Wait, "until the first byte"));
    vec![Found {
        severity: Severity::Slow,
        title: format!(
            "GOMAXPROCS={processors} bounds the go command: {} % of the time all its {processors} workers were waiting for an answer, the median {}",
            percent(full, busy),
            duration(middle)
        ),
        confidence: Confidence::Certain,
        evidence,
        hint: Some(String::from(
            "GOMAXPROCS=16 go mod download, before the command, has 16 requests in flight; only that step, since a build would start 16 compilers too",
        )),
        explains: Explained::pieces(pieces).but_for(Change::Workers(MANY)),
    }]
}
