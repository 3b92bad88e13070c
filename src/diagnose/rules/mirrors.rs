//! MT302: the same module version was served with different contents.

use std::collections::BTreeSet;

use super::go_sum::{Items, file, item, items};
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;
use crate::gomod::escape_path;
use crate::recording::format::Conflict;

/// How many hosts are named.
const NAMED: usize = 3;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let items = items(case);
    let conflicts = case.manifest.conflicts.iter();
    conflicts
        .filter_map(|conflict| found(case, &items, conflict))
        .collect()
}

fn found(case: &Case<'_>, all: &Items, conflict: &Conflict) -> Option<Found> {
    let sums: BTreeSet<&str> = conflict.served.iter().map(|one| &*one.sum).collect();
    // Where go.sum or the checksum database says which of them is right, that is what to know.
    let is_decided = !conflict.go_sum.is_empty() || !conflict.database.is_empty();
    if sums.len() < 2 || is_decided {
        return None;
    }
    let answers = conflict.served.iter();
    let answers = answers.filter_map(|one| Some((item(all, one)?, one)));
    let answers: Vec<_> = answers.collect();
    let items: Vec<usize> = answers.iter().map(|(item, _)| *item).collect();
    let evidence = answers
        .iter()
        .map(|(item, one)| case.exhibit(*item, format!("{} from {}", one.sum, one.host)));
    let hosts: BTreeSet<&str> = answers.iter().map(|(_, one)| &*one.host).collect();
    let hosts: Vec<&str> = hosts.into_iter().take(NAMED).collect();
    let file = file(conflict);
    let title = match &hosts[..] {
        [] => return None,
        [host] => format!("{host} served different contents as {file}"),
        hosts => format!(
            "{} served different contents as {file}",
            hosts.join(" and ")
        ),
    };
    let (module, version) = (&conflict.module, &conflict.version);
    let module = escape_path(module).unwrap_or_else(|_| module.clone());
    Some(Found {
        severity: case.severity(),
        title,
        confidence: Confidence::Certain,
        evidence: evidence.collect(),
        hint: Some(format!(
            "use one of them until it is known which is right: neither go.sum nor the checksum database has a say here; of a public module https://sum.golang.org/lookup/{module}@{version} has the hash that everybody gets, of a private one its authors know where the tag {version} points"
        )),
        explains: Explained::pieces(case.pieces_of(&items, None)),
    })
}
