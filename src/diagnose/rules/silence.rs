//! MT101: a server takes a request and does not answer, or stops in the middle of a body.

use std::collections::BTreeMap;

use super::silent::{self, Silent, pieces_of};
use super::{Explained, Found, and_more};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::hosts::{Role, next_entry, separator_of};
use crate::diagnose::public_hosts::is_public;
use crate::diagnose::stuck::may_be_cold;
use crate::exchange::Phase;
use crate::gomod::Separator;
use crate::words::{duration, size};

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut by_host: BTreeMap<&str, Vec<Silent>> = BTreeMap::new();
    for silent in silent::all(case) {
        let host = &case.timeline.items[silent.item].host;
        by_host.entry(host).or_default().push(silent);
    }
    let found = by_host.iter();
    found
        .map(|(host, silent)| of_host(case, host, silent))
        .collect()
}

/// What there is to say of one host's silence.
pub(super) fn of_host(case: &Case<'_>, host: &str, silent: &[Silent]) -> Found {
    let longest = silent.iter().max_by_key(|one| (!one.has_ended, one.us));
    let items: Vec<usize> = silent.iter().map(|one| one.item).collect();
    let first = longest.map_or(0, |one| one.item);
    let (us, phase) = longest.map_or((0, Phase::Wait), |one| (one.us, one.phase));
    let has_ended = longest.is_some_and(|one| one.has_ended);
    let what = case.what(first);
    let asked = case.asked_by(&case.timeline.items[first]);
    let stall = asked.and_then(|asked| case.stall_of(asked.row));
    let bytes = asked.map_or(0, |asked| asked.row.bytes);
    let bytes = bytes.max(stall.map_or(0, |stall| stall.body_bytes));
    let address = case.dial_of(&case.timeline.items[first]);
    let address = address.and_then(|dial| dial.upstream.as_ref()?.addr.clone());
    let at = address.map_or_else(String::new, |address| {
        format!(" ({address}: TCP and TLS work)")
    });
    let more = and_more(items.len() - 1);
    let title = match phase {
        Phase::Receive if has_ended => format!(
            "{host} stopped in the middle of {what} for {}, and went on{more}",
            duration(us)
        ),
        Phase::Receive if longest.is_some_and(|one| one.trickles) => format!(
            "{host}{at} sends {what} in drops: {} in {}{more}",
            size(bytes),
            duration(us)
        ),
        Phase::Receive => format!(
            "{host}{at} stopped in the middle of {what}, after {}: {} without the rest{more}",
            size(bytes),
            duration(us)
        ),
        _ if has_ended => format!(
            "{host} took {} for its first byte of {what}{more}",
            duration(us)
        ),
        _ => format!(
            "{host}{at} takes requests and does not answer: {} for {what}{more}{}",
            duration(us),
            match is_cold(case, first, us) {
                true => "; it may have been fetching that from its repository",
                false => "",
            }
        ),
    };
    let evidence = silent.iter().map(|one| {
        let what = case.what(one.item);
        let without = match (one.phase, one.has_ended) {
            (Phase::Receive, true) => "of silence in the middle of the body",
            (Phase::Receive, false) if one.trickles => "for what came of the body",
            (Phase::Receive, false) => {
                "of silence in the middle of the body, until it was given up"
            }
            (_, true) => "until the first byte",
            (_, false) => "without a response header",
        };
        case.exhibit(one.item, format!("{what}: {} {without}", duration(one.us)))
    });
    let pieces = silent.iter().flat_map(|one| pieces_of(case, one));
    Found {
        severity: match has_ended {
            true => Severity::Slow,
            false => case.severity(),
        },
        title,
        confidence: Confidence::Certain,
        evidence: evidence.collect(),
        hint: Some(match has_ended {
            true => format!(
                "{host} answered in the end: try again, it may have had to fetch that first; if it stays slow, its operator, or another GOPROXY"
            ),
            false => hint(case, host),
        }),
        explains: Explained::pieces(pieces.collect()).hung(!has_ended),
    }
}

/// True if the host answers others, and may have to fetch what was asked for first.
fn is_cold(case: &Case<'_>, item: usize, us: u64) -> bool {
    let one = &case.timeline.items[item];
    let host = case.hosts.get(&one.host);
    let has_answered = host.is_some_and(|host| host.wait_p50_us.is_some());
    let is_sumdb = host.is_some_and(|host| host.role == Some(Role::ChecksumDatabase));
    let kind = case.asked_by(one).map(|asked| asked.listed.route.kind);
    has_answered && may_be_cold(kind, is_sumdb, us)
}

/// The go command has no timeout for this.
fn hint(case: &Case<'_>, host: &str) -> String {
    let role = case.hosts.get(host).and_then(|host| host.role);
    let bound = "modtape record --upstream-idle-timeout 20s turns the silence into an error (the go command itself waits for ever)";
    match role {
        Some(Role::Proxy { entry }) => match (next_entry(case, entry), separator_of(case, entry)) {
            (Some(next), Some(Separator::Pipe)) => {
                format!("{bound}, after which go asks {next}")
            }
            // A bar behind an entry of one's own would tell the paths of private modules to the next.
            (Some(_), _) if !is_public(host) => {
                format!("try again, or ask the operator of {host}; {bound}")
            }
            (Some(next), _) => format!(
                "try again; {bound}, and with a bar in place of the comma before {next} go then asks that"
            ),
            (None, _) => format!("try again, or another GOPROXY; {bound}"),
        },
        _ => format!("try again; {bound}"),
    }
}
