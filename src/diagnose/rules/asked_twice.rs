//! MT128: each refusal is asked for twice, as Go 1.24 and later do.

use std::collections::BTreeMap;

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::timeline::sum;
use crate::words::{count, duration};

/// It is worth a note from here on, microseconds.
const LEAST_US: u64 = 500_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut first: BTreeMap<(u32, &str, Option<u16>), usize> = BTreeMap::new();
    let mut second = Vec::new();
    for (item, asked) in case.asked.iter().enumerate() {
        let is_refused = asked
            .row
            .status
            .is_some_and(|status| (400..500).contains(&status));
        if !is_refused || asked.is_ours() {
            continue;
        }
        let key = (asked.row.run, &*asked.row.url, asked.row.status);
        match first.remove(&key) {
            Some(before) if case.timeline.items[before].until <= case.timeline.items[item].from => {
                second.push(item);
            }
            _ => {
                first.insert(key, item);
            }
        }
    }
    let us = sum(second.iter().map(|item| case.asked[*item].listed.total_us));
    if us < LEAST_US {
        return Vec::new();
    }
    let evidence = second.iter().map(|item| {
        let took = duration(case.asked[*item].listed.total_us);
        case.exhibit(*item, format!("{}: asked again, {took}", case.what(*item)))
    });
    vec![Found {
        severity: Severity::Note,
        title: format!(
            "the go command sent {} again, for {}: Go 1.24 and later repeat each that is answered with 4xx, as GOAUTH may have credentials by then",
            count(second.len() as u64, "refused request"),
            duration(us)
        ),
        confidence: Confidence::Certain,
        evidence: evidence.collect(),
        hint: Some(String::from(
            "GOAUTH does not switch it off; a proxy that remembers its 404s for some seconds makes the second one free",
        )),
        explains: Explained::pieces(case.pieces_of(&second, None)),
    }]
}
