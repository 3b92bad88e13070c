//! MT304: an answer is not what was asked for, whatever its status says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Explained, Found, and_more};
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;
use crate::recording::format::Fault;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let faults = &case.manifest.replayable.faults;
    let items = case.items_named(faults.iter().map(|fault| (fault.run, fault.exchange)));
    // Which of go.sum, the database and the server is the odd one is told elsewhere.
    let conflicts = case.manifest.conflicts.iter();
    let in_conflict: BTreeSet<_> = conflicts
        .flat_map(|conflict| &conflict.served)
        .map(|one| (one.run, one.exchange))
        .collect();
    let mut by_host: BTreeMap<&str, Vec<(usize, &Fault)>> = BTreeMap::new();
    for fault in faults {
        let key = (fault.run, fault.exchange);
        if let Some(item) = items.get(&key).filter(|_| !in_conflict.contains(&key)) {
            by_host.entry(&fault.host).or_default().push((*item, fault));
        }
    }
    let found = by_host.into_iter().map(|(host, mut faults)| {
        // The paths above a module's are only tried: the longest path is what was wanted.
        faults.sort_by_key(|(item, fault)| (Reverse(fault.what.matches('/').count()), *item));
        let Fault { what, why, exchange, .. } = faults[0].1;
        let more = and_more(faults.len() - 1);
        let of_all: Vec<usize> = faults.iter().map(|(item, _)| *item).collect();
        let evidence = faults.iter().map(|(item, fault)| {
            case.exhibit(*item, format!("{}: {}", fault.what, fault.why))
        });
        Found {
            severity: case.severity(),
            title: format!("{host} answered {what} with something else: {why}{more}"),
            confidence: Confidence::Certain,
            evidence: evidence.collect(),
            hint: Some(format!(
                "`modtape show {exchange}` shows what came; a login page or an error page with status 200 comes from a box on the way, anything else is for the operator of {host}"
            )),
            explains: Explained::pieces(case.pieces_of(&of_all, None)),
        }
    });
    found.collect()
}
