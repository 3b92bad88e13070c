//! MT121: a proxy had to fetch a version first.

use std::collections::BTreeMap;

use super::{Found, slow};
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;
use crate::gomod::Kind;
use crate::words::{count, duration};

const SLOW_US: u64 = 1_500_000;

/// A cold answer takes so many times as long as the usual one.
const TIMES: u64 = 8;

const FETCHED: [Kind; 5] = [
    Kind::Info,
    Kind::Mod,
    Kind::Zip,
    Kind::Toolchain,
    Kind::Lookup,
];

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut hosts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        let host = &*case.timeline.items[item].host;
        let is_fetched = FETCHED.contains(&asked.listed.route.kind);
        let is_found = asked.row.status == Some(200);
        let us = slow::wait_us(asked).unwrap_or(0);
        if is_fetched && is_found && us >= SLOW_US {
            hosts.entry(host).or_default().push(item);
        }
    }
    let found = hosts.iter().filter_map(|(host, items)| {
        let usual = slow::usual_us(case, host, |_| true)?;
        let items: Vec<usize> = items
            .iter()
            .copied()
            .filter(|item| {
                let us = slow::wait_us(&case.asked[*item]).unwrap_or(0);
                us >= usual.saturating_mul(TIMES)
            })
            .collect();
        let slowest = items
            .iter()
            .max_by_key(|item| slow::wait_us(&case.asked[**item]))?;
        let longest = slow::wait_us(&case.asked[*slowest])?;
        let more = match items.len() - 1 {
            0 => String::new(),
            more => format!(" and {}", count(more as u64, "more answer")),
        };
        let title = format!(
            "{host} took {} for the first byte of {}{more} (its median is {}): it had to fetch that first",
            duration(longest),
            case.what(*slowest),
            duration(usual)
        );
        let hint = String::from(
            "nothing to mend here: the next one who asks gets it at once; a caching proxy of your own, asked ahead of time, takes the wait",
        );
        Some(slow::found(case, &items, title, Confidence::Likely, hint))
    });
    found.collect()
}
