//! MT126: the paths above a module are answered slowly.

use std::collections::BTreeMap;

use super::{Found, slow};
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;
use crate::filter::Outcome;
use crate::words::{count, duration};

/// A probe that takes longer is slow, microseconds: a proxy that knows its modules answers at once.
const SLOW_US: u64 = 400_000;

/// Probes are slow if they take so many times as long as other answers.
const TIMES: u64 = 3;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut hosts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        let is_slow = slow::wait_us(asked).is_some_and(|us| us >= SLOW_US);
        if asked.listed.outcome == Outcome::Probe && is_slow {
            let host = &*case.timeline.items[item].host;
            hosts.entry(host).or_default().push(item);
        }
    }
    let is_slow = |host: &str, items: &[usize]| {
        let waits = items
            .iter()
            .filter_map(|item| slow::wait_us(&case.asked[*item]));
        let longest = waits.max().unwrap_or(0);
        // A host that takes as long for everything is far away, not slow with probes.
        let usual = slow::usual_us(case, host, |asked| asked.listed.outcome != Outcome::Probe);
        let usual = usual.unwrap_or(0);
        longest >= usual.saturating_mul(TIMES)
    };
    hosts
        .iter()
        .filter(|(host, items)| is_slow(host, items))
        .map(|(host, items)| {
            let waits = items.iter().filter_map(|item| slow::wait_us(&case.asked[*item]));
            let longest = waits.max().unwrap_or(0);
            let paths = items.iter().filter_map(|item| {
                case.asked[*item].listed.route.module.as_deref()
            });
            let shortest = paths.min_by_key(|path| path.len()).unwrap_or_default();
            let title = format!(
                "{host} takes up to {} to say that {} such as {shortest} are no modules: go asks each path above a package",
                duration(longest),
                count(items.len() as u64, "path"),
            );
            let hint = format!(
                "name the module itself (go get MODULE@VERSION), then nothing is probed; {host} should answer 404 for such paths at once, from memory"
            );
            slow::found(case, items, title, Confidence::Certain, hint)
        })
        .collect()
}
