//! MT211: the same requests again and again, although each was answered.

use std::collections::BTreeMap;

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::filter::Outcome;
use crate::gomod::Kind;
use crate::words::count;

/// So often a request must have been answered.
const TIMES: usize = 5;

/// So many requests must have been needless.
const NEEDLESS: usize = 20;

/// How many of them are shown.
const EVIDENCE: usize = 10;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    // A recorder without a command serves many.
    if case.manifest.command.is_empty() {
        return Vec::new();
    }
    let mut same: BTreeMap<(u32, &str), Vec<usize>> = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        // What the go command keeps in the module cache once it has it.
        let is_kept = matches!(
            asked.listed.route.kind,
            Kind::Info | Kind::Mod | Kind::Zip | Kind::Lookup | Kind::Tile | Kind::Toolchain
        );
        let is_answered = asked.listed.outcome == Outcome::Ok && asked.row.status == Some(200);
        if is_kept && is_answered {
            let key = (asked.row.run, &*asked.row.url);
            same.entry(key).or_default().push(item);
        }
    }
    same.retain(|_, items| items.len() >= TIMES);
    let needless: Vec<usize> = same
        .values()
        .flat_map(|items| &items[1..])
        .copied()
        .collect();
    if needless.len() < NEEDLESS {
        return Vec::new();
    }
    let most = same.values().map(Vec::len).max().unwrap_or(0);
    let mut often: Vec<&Vec<usize>> = same.values().collect();
    often.sort_by_key(|items| std::cmp::Reverse(items.len()));
    let evidence = often.iter().take(EVIDENCE).map(|items| {
        let last = items[items.len() - 1];
        let what = case.what(last);
        case.exhibit(last, format!("{what}: answered {} times", items.len()))
    });
    vec![Found {
        severity: Severity::Slow,
        title: format!(
            "the same {} again and again, up to {most} times, although each was answered",
            match same.len() {
                1 => String::from("request was sent"),
                urls => format!("{} were sent", count(urls as u64, "request")),
            }
        ),
        confidence: Confidence::Likely,
        evidence: evidence.collect(),
        hint: Some(String::from(
            "a script that starts go with a new module cache each time downloads all anew: set one GOMODCACHE for all of it; if it was one go command, try another version of Go, and report the loop to its authors",
        )),
        explains: Explained::pieces(case.pieces_of(&needless, None)),
    }]
}
