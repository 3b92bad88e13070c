//! What the rules on refused requests have in common.

use std::collections::BTreeMap;

use super::{Explained, Found};
use crate::diagnose::case::{Asked, Case};
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::outcome::is_refusal;
use crate::filter::Outcome;
use crate::words::duration;

/// Refused requests, by host and what they were refused for.
pub(super) struct Refused<'a> {
    pub(super) host: &'a str,
    /// The items, in order.
    pub(super) items: Vec<usize>,
}

/// The requests whose refusal by an origin `is_meant`, by host and by `key`.
pub(super) fn all<'a, K: Ord>(
    case: &'a Case<'_>,
    key: impl Fn(&Asked<'_>) -> K,
    is_meant: impl Fn(&Asked<'_>) -> bool,
) -> Vec<Refused<'a>> {
    let mut groups: BTreeMap<(&str, K), Vec<usize>> = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        let is_refused = is_refusal(asked.row, &asked.listed.route) && !asked.is_ours();
        if is_refused && is_meant(asked) {
            let host = &*case.timeline.items[item].host;
            groups.entry((host, key(asked))).or_default().push(item);
        }
    }
    let groups = groups.into_iter();
    groups
        .map(|((host, _), items)| Refused { host, items })
        .collect()
}

/// The refusals that are no probes.
pub(super) fn is_no_probe(asked: &Asked<'_>) -> bool {
    asked.listed.outcome != Outcome::Probe
}

impl Refused<'_> {
    /// The first request.
    pub(super) fn first<'c, 'r>(&self, case: &'c Case<'r>) -> &'c Asked<'r> {
        &case.asked[self.items[0]]
    }

    /// The longest that it took to refuse, microseconds.
    pub(super) fn longest_us(&self, case: &Case<'_>) -> u64 {
        let times = self
            .items
            .iter()
            .map(|item| case.asked[*item].listed.total_us);
        times.max().unwrap_or(0)
    }

    /// A finding about them, that explains all of their time.
    pub(super) fn found(
        &self,
        case: &Case<'_>,
        severity: Severity,
        title: String,
        hint: Option<String>,
    ) -> Found {
        let evidence = self.items.iter().map(|item| {
            let asked = &case.asked[*item];
            let status = asked.row.status.unwrap_or_default();
            let took = duration(asked.listed.total_us);
            let said = asked.refusal.as_ref().map_or("", |refusal| &*refusal.text);
            let said = said.lines().find(|line| !line.trim().is_empty());
            let said = said.map_or_else(String::new, |line| format!(": {}", shortened(line)));
            let what = asked.listed.what();
            case.exhibit(*item, format!("{what}: {status} after {took}{said}"))
        });
        Found {
            severity,
            title,
            confidence: Confidence::Certain,
            evidence: evidence.collect(),
            hint,
            explains: Explained::pieces(case.pieces_of(&self.items, None)),
        }
    }
}

/// The beginning of a line that a server wrote.
pub(super) fn shortened(line: &str) -> String {
    let line = line.trim();
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// The module that is asked for, with its version if there is one: `rsc.io/quote@v1.5.2`.
pub(super) fn module(asked: &Asked<'_>) -> String {
    let route = &asked.listed.route;
    let module = route.module.as_deref().unwrap_or_default();
    match &route.version {
        Some(version) => format!("{module}@{version}"),
        None => module.to_owned(),
    }
}
