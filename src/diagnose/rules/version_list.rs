//! MT127: the list of a module's versions is slow.

use std::collections::BTreeMap;

use super::{Found, slow};
use crate::diagnose::case::{Asked, Case};
use crate::diagnose::finding::Confidence;
use crate::filter::Outcome;
use crate::gomod::Kind;
use crate::words::{count, duration};

const SLOW_US: u64 = 1_000_000;

/// Lists are slow if they take so many times as long as other answers.
const TIMES: u64 = 4;

const LISTS: [Kind; 2] = [Kind::List, Kind::Latest];

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut hosts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        let host = &*case.timeline.items[item].host;
        let is_list = LISTS.contains(&asked.listed.route.kind);
        let us = slow::wait_us(asked).unwrap_or(0);
        if is_list && asked.listed.outcome != Outcome::Probe && us >= SLOW_US {
            hosts.entry(host).or_default().push(item);
        }
    }
    let found = hosts.iter().filter_map(|(host, items)| {
        let waits = items.iter().filter_map(|item| slow::wait_us(&case.asked[*item]));
        let longest = waits.max()?;
        let is_other = |asked: &Asked<'_>| !LISTS.contains(&asked.listed.route.kind);
        let usual = slow::usual_us(case, host, is_other);
        if usual.is_some_and(|usual| longest < usual.saturating_mul(TIMES)) {
            return None;
        }
        let others = usual.map_or_else(String::new, |us| {
            format!("; its other answers take {}", duration(us))
        });
        let slowest = items
            .iter()
            .max_by_key(|item| slow::wait_us(&case.asked[**item]))?;
        let more = match items.len() - 1 {
            0 => String::new(),
            more => format!(" and {}", count(more as u64, "more list")),
        };
        let title = format!(
            "{host} takes {} for {}{more}{others}: a list cannot be cached for long, so the proxy asks the repository",
            duration(longest),
            case.what(*slowest),
        );
        let hint = format!(
            "ask for exact versions (M@v1.2.3 instead of M@latest): then no list is needed; the operator of {host} can let it serve lists from its cache"
        );
        Some(slow::found(case, items, title, Confidence::Certain, hint))
    });
    found.collect()
}
