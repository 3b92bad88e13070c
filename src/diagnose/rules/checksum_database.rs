//! MT112: the checksum database cannot be reached, or is slow, while module proxies answer.

use std::collections::BTreeMap;

use super::dead::Dead;
use super::silence::of_host;
use super::silent::{self, Silent};
use super::slow;
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::estimate::Change;
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::hosts::Role;
use crate::exchange::Phase;
use crate::gomod::Kind;
use crate::words::{count, duration};

/// Half of its answers take longer, microseconds.
const SLOW_US: u64 = 1_000_000;

/// So many requests tell of the database rather than of one module.
const SEVERAL: usize = 3;

/// And this many times as long as those of the module proxies.
const TIMES: u64 = 4;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let dead = Dead::unreachable(case).filter(|dead| is_database(dead.host.role));
    let mut found: Vec<_> = dead
        .map(|dead| {
            let title = format!(
                "the checksum database {} {}: {}",
                dead.name,
                dead.is_not_reached(),
                dead.how(case)
            );
            dead.found(case, title, Some(hint(case)))
        })
        .collect();
    let mut silent: BTreeMap<&str, Vec<Silent>> = BTreeMap::new();
    for one in silent::all(case).into_iter().filter(|one| !one.has_ended) {
        let host = &*case.timeline.items[one.item].host;
        let role = case.hosts.get(host).and_then(|host| host.role);
        if is_database(role) {
            silent.entry(host).or_default().push(one);
        }
    }
    found.extend(silent.iter().map(|(host, silent)| Found {
        hint: Some(hint(case)),
        ..of_host(case, host, silent)
    }));
    let databases = case.hosts.iter().filter(|(_, host)| is_database(host.role));
    let proxies = case.hosts.values();
    let proxies = proxies.filter(|host| matches!(host.role, Some(Role::Proxy { .. })));
    let usual = proxies.filter_map(|host| host.wait_p50_us).min();
    for (name, host) in databases {
        // Tiles come from a cache: its lookups are what a database takes its time for.
        let items = host.items.iter().copied();
        let lookups = items.filter(|item| {
            let asked = case.asked_by(&case.timeline.items[*item]);
            asked.is_some_and(|asked| asked.listed.route.kind == Kind::Lookup)
        });
        let lookups: Vec<usize> = lookups.collect();
        let asked = lookups
            .iter()
            .filter_map(|item| case.asked_by(&case.timeline.items[*item]));
        let mut waits: Vec<u64> = asked.filter_map(slow::wait_us).collect();
        let median = slow::median(&mut waits);
        let (Some(median), Some(usual)) = (median, usual) else {
            continue;
        };
        // One that has to be fetched first is slow; a database is if most of its answers are.
        if waits.len() < SEVERAL || median < SLOW_US || median < usual.saturating_mul(TIMES) {
            continue;
        }
        let answers = count(waits.len() as u64, "lookup");
        let relayed = Change::Elsewhere {
            items: host.items.clone(),
            wait_us: usual,
            without: refusals(case),
        };
        found.push(Found {
            severity: Severity::Slow,
            title: format!(
                "the checksum database {name} is slow: the median of {answers} waited {}, that of the module proxy {}",
                duration(median),
                duration(usual)
            ),
            confidence: Confidence::Certain,
            evidence: case.exhibits(&lookups, Phase::Wait, "without an answer"),
            hint: Some(hint(case)),
            explains: Explained::pieces(case.pieces_of(&host.items, None)).but_for(relayed),
        });
    }
    found
}

/// The questions whether a proxy relays the database, but for the first: that one would have been answered
/// with yes.
fn refusals(case: &Case<'_>) -> Vec<usize> {
    let items = case.items(|item| {
        let asked = case.asked_by(item);
        asked.is_some_and(|asked| asked.listed.route.kind == Kind::SumdbSupported)
    });
    items.into_iter().skip(1).collect()
}

const fn is_database(role: Option<Role>) -> bool {
    matches!(role, Some(Role::ChecksumDatabase))
}

/// What keeps verification on.
fn hint(case: &Case<'_>) -> String {
    let is_default = case.sumdb_host().as_deref() == Some("sum.golang.org");
    let mirror = match is_default {
        true => "GOSUMDB=sum.golang.google.cn asks the same database under another name; or use ",
        false => "use ",
    };
    format!(
        "{mirror}a GOPROXY that relays the checksum database (goproxy.cn and goproxy.io do): go then asks it there, and still verifies"
    )
}
