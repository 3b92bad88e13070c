//! MT103: IPv6 leads nowhere, and IPv4 works.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::exchange::{Opened, Phase, Tried};
use crate::recording::reader::ConnectionRow;
use crate::words::duration;

/// An attempt that was given so long without an answer cost time, microseconds (RFC 8305 starts the
/// other family after 250 ms).
const LOST_US: u64 = 200_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let dials = case.connections.values().flat_map(ConnectionRow::dials);
    let connects = |dial: &Opened| {
        dial.tries
            .iter()
            .any(|tried| is_v6(tried) && tried.error.is_none())
    };
    // Where IPv6 works at all, a lost race is no more than that.
    if dials.into_iter().any(connects) {
        return Vec::new();
    }
    let items = case.items(|item| case.dial_of(item).is_some_and(is_lost_on_v6));
    let Some(first) = items.first() else {
        return Vec::new();
    };
    let dial = case.dial_of(&case.timeline.items[*first]);
    let address = dial.and_then(dead_v6).unwrap_or_default();
    let host = &case.timeline.items[*first].host;
    let failed = items.iter().filter(|item| {
        let dial = case.dial_of(&case.timeline.items[**item]);
        dial.is_some_and(|dial| dial.error.is_some())
    });
    let severity = match failed.count() {
        0 => Severity::Slow,
        _ => case.severity(),
    };
    let evidence = items.iter().map(|item| {
        let dial = case.dial_of(&case.timeline.items[*item]);
        let tries = dial.map_or(&[][..], |dial| &dial.tries);
        let tries = tries.iter().map(|tried| {
            let answer = tried.error.as_deref().unwrap_or("connected");
            format!("{} {answer} after {}", tried.addr, duration(tried.took_us))
        });
        case.exhibit(*item, tries.collect::<Vec<_>>().join(", "))
    });
    vec![Found {
        severity,
        title: format!("IPv6 is broken: {address} of {host} does not answer, IPv4 does"),
        // A far address of IPv6 may lose one race too.
        confidence: match items.len() {
            1 => Confidence::Likely,
            _ => Confidence::Certain,
        },
        evidence: evidence.collect(),
        hint: Some(String::from(
            "mend IPv6 on this network (`ip -6 route get ADDRESS` shows where packets go), or switch it off: `sysctl -w net.ipv6.conf.all.disable_ipv6=1` on Linux; /etc/gai.conf does not help, since go does not read it",
        )),
        explains: Explained::pieces(case.pieces_of(&items, Some(Phase::Connect))),
    }]
}

fn is_v6(tried: &Tried) -> bool {
    tried.addr.starts_with('[')
}

/// Whether an address of IPv6 cost time: it was first, and lost the race without an answer.
fn is_lost_on_v6(dial: &Opened) -> bool {
    let dead = dial.tries.iter().filter(|tried| is_v6(tried));
    let mut dead = dead.filter(|tried| tried.error.is_some() && tried.took_us >= LOST_US);
    let v4_answers = dial
        .tries
        .iter()
        .any(|tried| !is_v6(tried) && tried.error.is_none());
    v4_answers && dead.next().is_some()
}

fn dead_v6(dial: &Opened) -> Option<String> {
    let mut tries = dial.tries.iter().filter(|tried| is_v6(tried));
    tries.next().map(|tried| tried.addr.clone())
}
