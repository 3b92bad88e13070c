//! MT113: modules came from their repositories instead of a proxy.

use std::collections::{BTreeMap, BTreeSet};

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::gomod::Kind;
use crate::words::{count, duration, size};

/// A repository that was meant to be asked is worth telling from here on, bytes.
const LARGE: u64 = 1_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut hosts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        if matches!(asked.listed.route.kind, Kind::Vcs | Kind::Discovery) {
            let host = &*case.timeline.items[item].host;
            hosts.entry(host).or_default().push(item);
        }
    }
    hosts
        .iter()
        .filter_map(|(host, items)| of_host(case, host, items))
        .collect()
}

fn of_host(case: &Case<'_>, host: &str, items: &[usize]) -> Option<Found> {
    let asked = || items.iter().map(|item| &case.asked[*item]);
    let modules: BTreeSet<&str> = asked()
        .filter_map(|asked| asked.listed.route.module.as_deref())
        .collect();
    let bytes = asked().fold(0_u64, |sum, asked| sum.saturating_add(asked.row.bytes));
    let times = asked().map(|asked| asked.listed.total_us);
    let us = times.fold(0, u64::saturating_add);
    // The proxies that were asked for one of them, and had it not.
    let refused = case.asked.iter().filter(|asked| {
        let is_gone = asked.row.status.is_some_and(|status| status >= 400);
        let module = asked.listed.route.module.as_deref();
        let is_same = module.is_some_and(|module| is_of(&modules, module));
        is_gone && is_same && case.entry_of(&asked.listed.host).is_some()
    });
    let refused: BTreeSet<&str> = refused.map(|asked| &*asked.listed.host).collect();
    if refused.is_empty() && bytes < LARGE {
        return None;
    }
    let first = modules.first()?;
    let more = match modules.len() - 1 {
        0 => String::new(),
        more => format!(" and {}", count(more as u64, "more module")),
    };
    let requests = count(items.len() as u64, "request");
    let what = format!("{requests}, {}, {}", duration(us), size(bytes));
    let refused: Vec<&str> = refused.into_iter().collect();
    let (title, hint) = match refused.is_empty() {
        false => (
            format!(
                "{first}{more} fell through to its repository at {host}, since {} had it not: {what}",
                refused.join(" and ")
            ),
            format!(
                "if it is public, a proxy that has it spares the clone; if it is private, go env -w GOPRIVATE='{host}' skips the proxies that cannot have it; modtape replays it from a recording"
            ),
        ),
        true => (
            format!(
                "{first}{more} came from its repository at {host}, as the settings want it: {what}"
            ),
            String::from(
                "a private module proxy with a cache spares the clone; a version that is a tag takes less than a commit or a branch",
            ),
        ),
    };
    let evidence = items.iter().map(|item| {
        let asked = &case.asked[*item];
        let took = duration(asked.listed.total_us);
        case.exhibit(
            *item,
            format!("{}: {took}, {}", case.what(*item), size(asked.row.bytes)),
        )
    });
    Some(Found {
        severity: Severity::Slow,
        title,
        confidence: Confidence::Certain,
        evidence: evidence.collect(),
        hint: Some(hint),
        explains: Explained::pieces(case.pieces_of(items, None)),
    })
}

/// Whether a module may lie in one of the repositories.
fn is_of(repositories: &BTreeSet<&str>, module: &str) -> bool {
    repositories.iter().any(|repository| {
        let repository = repository.trim_end_matches(".git");
        module.starts_with(repository) || repository.starts_with(module)
    })
}
