//! MT132: one large zip took much of the time.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::exchange::Phase;
use crate::gomod::Kind;
use crate::words::{duration, size};

/// From here on a zip is large, bytes.
const LARGE: u64 = 8_000_000;

/// A pace at which size is no fault, bytes a second.
const FAST: u64 = 2_000_000;

/// And slow, microseconds.
const SLOW_US: u64 = 3_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let is_large = |item: &usize| {
        let asked = &case.asked[*item];
        let us = asked.row.phases[Phase::Receive].unwrap_or(0);
        let route = &case.asked[*item].listed.route;
        route.kind == Kind::Zip && asked.row.bytes >= LARGE && us >= SLOW_US
    };
    let items = (0..case.asked.len()).filter(is_large);
    items
        .map(|item| {
            let asked = &case.asked[item];
            let us = asked.row.phases[Phase::Receive].unwrap_or(0);
            let pace = u128::from(asked.row.bytes) * 1_000_000 / u128::from(us.max(1));
            let pace = u64::try_from(pace).unwrap_or(u64::MAX);
            let (what, host) = (case.what(item), &case.timeline.items[item].host);
            Found {
                // Of a fast line nobody waits for what is merely large.
                severity: match pace >= FAST {
                    true => Severity::Note,
                    false => Severity::Slow,
                },
                title: format!(
                    "{what} is large: {} from {host} at {}/s took {}",
                    size(asked.row.bytes),
                    size(pace),
                    duration(us)
                ),
                confidence: Confidence::Certain,
                evidence: vec![case.exhibit(item, format!("{}: {}", what, duration(us)))],
                hint: Some(String::from(
                    "keep the module cache between runs (GOMODCACHE), so that it comes once; `modtape why` tells which requirement wants it",
                )),
                explains: Explained::pieces(case.pieces_of(&[item], Some(Phase::Receive))),
            }
        })
        .collect()
}
