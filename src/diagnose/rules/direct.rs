//! MT113: modules came from their repositories instead of a proxy.

use std::collections::{BTreeMap, BTreeSet};

use super::private_module::{pattern, with};
use super::{Explained, Found, union};
use crate::clock::Timestamp;
use crate::diagnose::case::{Asked, Case};
use crate::diagnose::finding::{Confidence, Evidence, Exhibit, Severity};
use crate::diagnose::timeline::sum;
use crate::exchange::{Closed, ConnectionId, Mode, Opened};
use crate::gomod::{Kind, Location};
use crate::words::{count, duration, size};

/// A repository that was meant to be asked is worth telling from here on, bytes.
const LARGE: u64 = 1_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut hosts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        if matches!(asked.listed.route.kind, Kind::Vcs | Kind::Discovery) {
            let host = &*case.timeline.items[item].host;
            hosts.entry(host).or_default().push(item);
        }
    }
    let mut refusing = refusing(case, &hosts);
    let intercepted = hosts.iter();
    intercepted
        .filter_map(|(host, items)| {
            let refused = refusing.remove(host).unwrap_or_default();
            of_host(case, host, items, &refused)
        })
        .chain(tunnelled(case))
        .collect()
}

/// The proxies that had not a module that came from a repository, by the host of that repository.
fn refusing<'a>(
    case: &'a Case<'_>,
    hosts: &BTreeMap<&'a str, Vec<usize>>,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut repositories: BTreeMap<&str, &str> = BTreeMap::new();
    for (host, items) in hosts {
        let modules = items.iter().filter_map(|item| {
            let route = &case.asked[*item].listed.route;
            route.module.as_deref()
        });
        let modules = modules.map(|module| module.strip_suffix(".git").unwrap_or(module));
        repositories.extend(modules.map(|module| (module, *host)));
    }
    let mut refusing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for asked in &case.asked {
        let is_gone = asked.row.status.is_some_and(|status| status >= 400);
        let Some(module) = asked.listed.route.module.as_deref().filter(|_| is_gone) else {
            continue;
        };
        if case.entry_of(&asked.listed.host).is_none() {
            continue;
        }
        // A module lies in a repository of its own path or of one above, or it is a path above one.
        let above = paths(module).filter_map(|path| repositories.get(path));
        let below = repositories.range(module..).take(BELOW);
        let below = below.take_while(|(repository, _)| repository.starts_with(module));
        let below = below.filter(|(repository, _)| is_below(repository, module));
        for host in above.chain(below.map(|(_, host)| host)) {
            let proxies = refusing.entry(host).or_default();
            proxies.insert(&asked.listed.host);
        }
    }
    refusing
}

/// How many repositories below a path are looked at.
const BELOW: usize = 64;

/// A path, and those above it.
fn paths(module: &str) -> impl Iterator<Item = &str> {
    let above = module.match_indices('/').map(|(at, _)| &module[..at]);
    above.chain([module])
}

fn is_below(repository: &str, module: &str) -> bool {
    let rest = repository.strip_prefix(module);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn of_host(
    case: &Case<'_>,
    host: &str,
    items: &[usize],
    refused: &BTreeSet<&str>,
) -> Option<Found> {
    let asked = || items.iter().map(|item| &case.asked[*item]);
    let modules: BTreeSet<&str> = asked()
        .filter_map(|asked| asked.listed.route.module.as_deref())
        .collect();
    let bytes = asked().fold(0_u64, |sum, asked| sum.saturating_add(asked.row.bytes));
    let times = asked().map(|asked| asked.listed.total_us);
    let us = times.fold(0, u64::saturating_add);
    if refused.is_empty() && bytes < LARGE {
        return None;
    }
    let first = modules.first()?;
    let more = match modules.len() - 1 {
        0 => String::new(),
        more => format!(" and {}", count(more as u64, "more module")),
    };
    let requests = count(items.len() as u64, "request");
    let what = format!("{requests}, {}, {}", duration(us), size(bytes));
    let refused: Vec<&str> = refused.iter().copied().collect();
    let private = with(case.setting("GOPRIVATE"), &pattern(Some(first)));
    let private = case.assignment("GOPRIVATE", &private);
    let (title, hint) = match refused.is_empty() {
        false => (
            format!(
                "{first}{more} fell through to its repository at {host}: {} did not have it ({what})",
                refused.join(" and ")
            ),
            format!(
                "if it is public, a proxy that has it spares the clone; if it is private, {private} skips the proxies that cannot have it; modtape replays it from a recording"
            ),
        ),
        true => (
            format!(
                "{first}{more} came from its repository at {host}, as the settings want it: {what}"
            ),
            String::from(
                "a private module proxy with a cache spares the clone; a version that is a tag takes less than a commit or a branch",
            ),
        ),
    };
    let evidence = items.iter().map(|item| {
        let asked = &case.asked[*item];
        let took = duration(asked.listed.total_us);
        case.exhibit(
            *item,
            format!("{}: {took}, {}", case.what(*item), size(asked.row.bytes)),
        )
    });
    Some(Found {
        // What the settings ask for is no fault.
        severity: match refused.is_empty() {
            true => Severity::Note,
            false => Severity::Slow,
        },
        title,
        confidence: Confidence::Certain,
        evidence: evidence.collect(),
        hint: Some(hint),
        explains: Explained::pieces(case.pieces_of(items, None)),
    })
}

/// The repositories that were reached through blind tunnels: git's own requests are not intercepted
/// unless a flag says so.
fn tunnelled(case: &Case<'_>) -> Vec<Found> {
    let mut hosts: BTreeMap<String, Vec<Tunnel>> = BTreeMap::new();
    for (key, row) in case.connections {
        let is_tunnel = |dial: &&Opened| dial.mode == Mode::Tunnel && dial.error.is_none();
        let Some(opened) = row.opened.as_ref().filter(is_tunnel) else {
            continue;
        };
        let until = row.closed_at.unwrap_or(Timestamp::from_micros(u64::MAX));
        let tunnel = Tunnel {
            key: *key,
            from: case.timeline.at(key.0, opened.started_us),
            until: case.timeline.at(key.0, until),
            bytes: row.closed.as_ref().map_or(0, Closed::bytes),
        };
        let host = Location::of(&opened.target).host;
        hosts.entry(host).or_default().push(tunnel);
    }
    // What a proxy had not, after which the go command asks the repository itself, by the host that its
    // path begins with.
    let mut refused: BTreeMap<&str, Vec<&Asked<'_>>> = BTreeMap::new();
    for asked in &case.asked {
        let module = asked.listed.route.module.as_deref();
        let host = module.and_then(|module| Some(module.split_once('/')?.0));
        if let Some(host) = host.filter(|_| asked.listed.next.as_deref() == Some("direct")) {
            refused.entry(host).or_default().push(asked);
        }
    }
    let found = hosts.iter();
    found
        .filter_map(|(host, tunnels)| of_tunnels(case, host, tunnels, refused.get(&**host)?))
        .collect()
}

/// A connection whose bytes are all that is known of it.
struct Tunnel {
    key: (u32, ConnectionId),
    from: u64,
    until: u64,
    bytes: u64,
}

fn of_tunnels(
    case: &Case<'_>,
    host: &str,
    tunnels: &[Tunnel],
    refused: &[&Asked<'_>],
) -> Option<Found> {
    let longest = |module: &&str| module.len();
    let modules = refused
        .iter()
        .filter_map(|asked| asked.listed.route.module.as_deref());
    let module = modules.max_by_key(longest)?;
    let proxies: BTreeSet<&str> = refused.iter().map(|asked| &*asked.listed.host).collect();
    let proxies: Vec<&str> = proxies.into_iter().collect();
    let bytes = tunnels
        .iter()
        .fold(0_u64, |sum, one| sum.saturating_add(one.bytes));
    let idle = covered(&case.timeline.idle, tunnels);
    let us = sum(idle.iter().map(|(from, to)| to - from));
    let connections = count(tunnels.len() as u64, "connection");
    let evidence = tunnels.iter().map(|tunnel| {
        let (run, id) = tunnel.key;
        let took = duration(tunnel.until.saturating_sub(tunnel.from));
        Evidence {
            what: Exhibit::Connection { run, id },
            shows: format!("a tunnel to {host}: {took}, {}", size(tunnel.bytes)),
        }
    });
    Some(Found {
        severity: Severity::Slow,
        title: format!(
            "{module} fell through to its repository at {host}: {} did not have it ({connections}, {}, {})",
            proxies.join(" and "),
            duration(us),
            size(bytes)
        ),
        confidence: Confidence::Likely,
        evidence: evidence.collect(),
        hint: Some(fell_through(case, host, module)),
        explains: Explained::idle(idle),
    })
}

/// The times without a request in which one of the tunnels was open, in order.
fn covered(idle: &[(u64, u64)], tunnels: &[Tunnel]) -> Vec<(u64, u64)> {
    let open = union(tunnels.iter().map(|one| (one.from, one.until)).collect());
    let both = |(from, to): &(u64, u64)| {
        let (from, to) = (*from, *to);
        let first = open.partition_point(|open| open.1 <= from);
        let within = open[first..].iter().take_while(move |open| open.0 < to);
        within.map(move |open| (open.0.max(from), open.1.min(to)))
    };
    idle.iter().flat_map(both).collect()
}

fn fell_through(case: &Case<'_>, host: &str, module: &str) -> String {
    let private = with(case.setting("GOPRIVATE"), &pattern(Some(module)));
    let private = case.assignment("GOPRIVATE", &private);
    format!(
        "if it is public, a proxy that has it spares the clone; if it is private, {private} skips the proxies that cannot have it; --intercept {host} shows its requests, and lets modtape replay them"
    )
}
