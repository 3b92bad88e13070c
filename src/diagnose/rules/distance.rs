//! MT203: the host is far away: each answer takes about as long as a packet there and back.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::exchange::Phase;
use crate::words::{count, duration};

/// A host that is nearer is not far, microseconds there and back.
const FAR_US: u64 = 80_000;

/// One that is nearer than this is on another continent, which is no fault, microseconds.
const VERY_FAR_US: u64 = 180_000;

/// Together they cost this much at least, microseconds.
const LEAST_US: u64 = 3_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let hosts = case.hosts.iter().filter_map(|(name, host)| {
        let connects = host.items.iter().filter_map(|item| {
            let dial = case.dial_of(&case.timeline.items[*item])?;
            let is_direct = dial.upstream.as_ref()?.via.is_none();
            dial.connect_us.filter(|_| is_direct && dial.error.is_none())
        });
        let nearest = connects.min().filter(|us| *us >= FAR_US)?;
        let middle = host.wait_p50_us?;
        // A server that thinks for longer than the way takes is slow, not far.
        if middle > nearest.saturating_mul(2) {
            return None;
        }
        let pieces = case.pieces_of(&host.items, Some(Phase::Wait));
        let share: u128 = pieces.iter().map(|piece| case.timeline.pieces[*piece].share).sum();
        let us = u64::try_from(share / crate::diagnose::timeline::PARTS).unwrap_or(u64::MAX);
        if us < LEAST_US || us.saturating_mul(2) < case.timeline.wall_us {
            return None;
        }
        Some(Found {
            severity: match nearest >= VERY_FAR_US {
                true => Severity::Slow,
                false => Severity::Note,
            },
            title: format!(
                "{name} is far away: a packet takes {} there and back, and the median of {} waited {}",
                duration(nearest),
                count(host.requests, "request"),
                duration(middle)
            ),
            confidence: Confidence::Certain,
            evidence: case.exhibits(&host.items, Phase::Wait, "until the first byte"),
            hint: Some(String::from(
                "a module proxy that is nearer (GOPROXY) shortens each of them; GOMAXPROCS=16 lets more of them wait at once",
            )),
            explains: Explained::pieces(pieces),
        })
    });
    hosts.collect()
}
