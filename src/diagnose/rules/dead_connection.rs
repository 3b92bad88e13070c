//! MT108: an HTTP/2 connection died: all its streams stopped at once.

use std::collections::BTreeMap;

use super::silent::{self, Silent};
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Evidence, Exhibit};
use crate::recording::reader::RowState;
use crate::words::{count, duration};

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut connections: BTreeMap<(u32, u64), Vec<Silent>> = BTreeMap::new();
    for silent in silent::all(case).into_iter().filter(|one| !one.has_ended) {
        let asked = case.asked_by(&case.timeline.items[silent.item]);
        let Some(row) = asked.map(|asked| asked.row) else {
            continue;
        };
        let key = (row.run, row.connection);
        connections.entry(key).or_default().push(silent);
    }
    let dead = connections.iter();
    dead.filter_map(|(key, silent)| of_connection(case, *key, silent))
        .collect()
}

fn of_connection(case: &Case<'_>, (run, id): (u32, u64), silent: &[Silent]) -> Option<Found> {
    let items: Vec<usize> = silent.iter().map(|one| one.item).collect();
    let first = &case.timeline.items[*items.first()?];
    let upstream = case.dial_of(first)?.upstream.as_ref()?;
    if silent.len() < 2 || upstream.alpn.as_deref() != Some("h2") {
        return None;
    }
    // Each piece begins when its request was sent: from the first on nothing came.
    let begins = silent.iter().filter_map(|one| {
        let pieces = case.pieces_of(&[one.item], Some(one.phase));
        Some(case.timeline.pieces[*pieces.first()?].from)
    });
    let since = begins.min()?;
    let others = case.asked.iter().enumerate().filter(|(_, asked)| {
        (asked.row.run, asked.row.connection) == (run, id) && asked.row.state == RowState::Ended
    });
    let ends: Vec<u64> = others
        .map(|(item, _)| case.timeline.items[item].until)
        .collect();
    // A server that never answered is silent; one that answers others has stuck streams.
    let has_worked = ends.iter().any(|until| *until <= since);
    let still_works = ends.iter().any(|until| *until > since + 200_000);
    if !has_worked || still_works {
        return None;
    }
    let us = silent.iter().map(|one| one.us).max()?;
    let address = upstream.addr.clone().unwrap_or_default();
    let host = &first.host;
    let mut evidence = vec![Evidence {
        what: Exhibit::Connection { run, id },
        shows: format!(
            "to {address}: {}, then {} without a byte",
            count(ends.len() as u64, "answer"),
            duration(us)
        ),
    }];
    evidence.extend(silent.iter().map(|one| {
        let (what, us) = (case.what(one.item), duration(one.us));
        case.exhibit(one.item, format!("{what}: {us} without a byte"))
    }));
    let pieces = silent
        .iter()
        .flat_map(|one| case.pieces_of(&[one.item], Some(one.phase)));
    Some(Found {
        severity: case.severity(),
        title: format!(
            "the HTTP/2 connection to {host} ({address}) is dead: it worked, then all {} of it stopped at once, for {}",
            count(silent.len() as u64, "stream"),
            duration(us)
        ),
        confidence: Confidence::Likely,
        evidence,
        hint: Some(String::from(
            "run it again: a new connection helps where a VPN, a NAT or sleep lost the old one; if it comes back, GODEBUG=http2client=0 makes go use several connections of HTTP/1.1",
        )),
        explains: Explained::pieces(pieces.collect()),
    })
}
