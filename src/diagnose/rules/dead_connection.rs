//! MT108: a connection died: what is sent on it is not acknowledged, or all streams of HTTP/2 stopped at
//! once.

use std::collections::BTreeMap;

use super::silent::{self, Silent, pieces_of};
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Evidence, Exhibit};
use crate::diagnose::stuck::LIVED_US;
use crate::exchange::{Phase, Stall};
use crate::recording::reader::RowState;
use crate::words::{count, duration, size};

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
    // When the answers of these connections ended.
    let mut ends: BTreeMap<(u32, u64), Vec<u64>> = BTreeMap::new();
    for (asked, item) in case.asked.iter().zip(&case.timeline.items) {
        let key = (asked.row.run, asked.row.connection);
        if asked.row.state == RowState::Ended && connections.contains_key(&key) {
            ends.entry(key).or_default().push(item.until);
        }
    }
    let dead = connections.iter();
    dead.filter_map(|(key, silent)| {
        let ends = ends.get(key).map_or(&[][..], Vec::as_slice);
        of_connection(case, *key, silent, ends)
    })
    .collect()
}

/// How long an answer may take that left before the connection died, microseconds.
const UNDER_WAY_US: u64 = 500_000;

fn of_connection(
    case: &Case<'_>,
    (run, id): (u32, u64),
    silent: &[Silent],
    ends: &[u64],
) -> Option<Found> {
    let items: Vec<usize> = silent.iter().map(|one| one.item).collect();
    let first = &case.timeline.items[*items.first()?];
    let upstream = case.dial_of(first)?.upstream.as_ref()?;
    let is_h2 = upstream.alpn.as_deref() == Some("h2");
    let lost_bytes = unacknowledged(case, silent);
    let is_lost = lost_bytes > Some(0);
    // The TCP of a parent proxy says nothing about the server.
    let has_lived = upstream.via.is_none() && has_lived(case, silent);
    if !is_lost && (has_lived || silent.len() < 2 || !is_h2) {
        return None;
    }
    // Each piece begins when its request was sent: from the first on nothing came.
    let begins = silent.iter().filter_map(|one| {
        let asked = case.asked_by(&case.timeline.items[one.item])?;
        if let Some(stall) = case.stall_of(asked.row) {
            return Some(case.timeline.at(run, stall.since_us));
        }
        let pieces = pieces_of(case, one);
        Some(case.timeline.pieces[*pieces.first()?].from)
    });
    let begins: Vec<u64> = begins.collect();
    let (since, latest) = (*begins.iter().min()?, *begins.iter().max()?);
    // A server that never answered is silent; one that answers others has stuck streams.
    let has_worked = ends.iter().any(|until| *until <= since);
    // What was under way at that moment may still have come.
    let still_works = ends
        .iter()
        .any(|until| *until > latest.saturating_add(UNDER_WAY_US));
    if still_works || !(has_worked || is_lost) {
        return None;
    }
    let us = silent.iter().map(|one| one.us).max()?;
    let address = upstream.addr.clone().unwrap_or_default();
    let host = &first.host;
    let lost = match lost_bytes {
        Some(bytes @ 1..) => format!(", and {} that were sent are not acknowledged", size(bytes)),
        _ => String::new(),
    };
    let mut evidence = vec![Evidence {
        what: Exhibit::Connection { run, id },
        shows: format!(
            "to {address}: {}, then {} without a byte{lost}",
            count(ends.len() as u64, "answer"),
            duration(us)
        ),
    }];
    evidence.extend(silent.iter().map(|one| {
        let (what, us) = (case.what(one.item), duration(one.us));
        case.exhibit(one.item, format!("{what}: {us} without a byte"))
    }));
    let pieces = silent.iter().flat_map(|one| pieces_of(case, one));
    Some(Found {
        severity: case.severity(),
        title: match is_lost {
            true => format!(
                "the connection to {host} ({address}) is dead: {} waited {}{lost}",
                count(silent.len() as u64, "request"),
                duration(us)
            ),
            false => format!(
                "the HTTP/2 connection to {host} ({address}) is dead: it worked, then all {} of it stopped at once, for {}",
                count(silent.len() as u64, "stream"),
                duration(us)
            ),
        },
        confidence: match is_lost {
            true => Confidence::Certain,
            false => Confidence::Likely,
        },
        evidence,
        hint: Some(String::from(
            "run it again: a new connection helps where a VPN, a NAT or sleep lost the old one; if it comes back, GODEBUG=http2client=0 makes go use several connections of HTTP/1.1",
        )),
        explains: Explained::pieces(pieces.collect()).hung(true),
    })
}

/// What was seen of these requests while they were silent.
fn stalls<'a>(case: &Case<'a>, silent: &[Silent]) -> impl Iterator<Item = &'a Stall> {
    silent.iter().filter_map(|one| {
        let asked = case.asked_by(&case.timeline.items[one.item])?;
        case.stall_of(asked.row)
    })
}

/// How many bytes that were sent TCP did not acknowledge; `None` if that is not known.
fn unacknowledged(case: &Case<'_>, silent: &[Silent]) -> Option<u64> {
    let told = stalls(case, silent).filter_map(|stall| stall.unacknowledged_bytes);
    told.max()
}

/// True if a request was acknowledged that was sent while another was silent already: the connection was
/// not lost when the silence began.
fn has_lived(case: &Case<'_>, silent: &[Silent]) -> bool {
    let begins = stalls(case, silent).map(|stall| stall.since_us).min();
    begins.is_some_and(|begins| {
        stalls(case, silent).any(|stall| {
            let is_acknowledged = stall.unacknowledged_bytes == Some(0);
            let is_asked = stall.phase != Phase::Receive;
            is_acknowledged && is_asked && stall.since_us.micros_since(begins) >= LIVED_US
        })
    })
}
