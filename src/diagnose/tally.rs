//! What there was: requests, bytes, connections, tunnels.
//!
//! Counts only what the rows and connections say. Never adds up times: that is `split`'s.

use std::collections::{BTreeMap, BTreeSet};

use crate::exchange::{Closed, MadeBy, Mode, Opened, Phase, Target};
use crate::gomod::{Base, Kind, Location, Route};
use crate::recording::Row;
use crate::recording::format::DirectModule;
use crate::recording::reader::{ConnectionRow, RowState};

use super::timeline::Connections;

/// Smaller bodies arrive in one piece: how long that took says nothing of the way.
const PACED_BYTES: u64 = 256 * 1024;

/// What there was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Requests read.
    pub(crate) requests: u64,
    /// Bytes of response bodies.
    pub(crate) body_bytes: u64,
    /// Requests whose end is not recorded.
    pub(crate) in_flight: u64,
    /// Requests that stopped on the way.
    pub(crate) aborted: u64,
    /// Connections that were dialled for requests; of tunnels only those that failed, since nobody
    /// knows what they would have carried.
    pub(crate) dials: u64,
    /// How many of them failed.
    pub(crate) failed_dials: u64,
    /// Those by host (with `:port` where it is not 443), as `Split::by_host` has it.
    pub(crate) failed: BTreeMap<String, Failed>,
    /// The slowest body's pace, bytes a second; `None` without a body that is large enough.
    pub(crate) slowest_pace: Option<u64>,
    /// Bytes that went through tunnels both ways, by host.
    pub(crate) tunnels: BTreeMap<String, u64>,
    /// Connections whose client does not trust our root, by host.
    pub(crate) distrusted: BTreeMap<String, u64>,
}

/// Connections to a host that could not be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failed {
    /// How many.
    pub(crate) connections: u64,
    /// The addresses that were tried.
    pub(crate) addresses: BTreeSet<String>,
    /// Why the first of them failed.
    pub(crate) why: String,
}

impl Tally {
    /// Counts.
    pub(crate) fn of(rows: &[Row], connections: &Connections) -> Self {
        // A CONNECT that was refused is counted and explained as the dial that failed.
        let rows = || rows.iter().filter(|row| !row.is_connect());
        let states = |state| rows().filter(|row| row.state == state).count() as u64;
        let opened = || connections.values().flat_map(ConnectionRow::dials);
        // A CONNECT that led nowhere is refused: what was not even dialled has no phases.
        let is_dial = |mode| mode != Mode::Tunnel;
        let dials = opened().filter(|opened| {
            let phases = [opened.dns_us, opened.connect_us, opened.tls_us];
            is_dial(opened.mode) && phases.iter().any(Option::is_some)
        });
        let (failed, made): (Vec<_>, Vec<_>) = dials.partition(|opened| opened.has_failed());
        Self {
            requests: rows().count() as u64,
            body_bytes: rows().fold(0, |sum, row| sum.saturating_add(row.bytes)),
            in_flight: states(RowState::InFlight),
            aborted: states(RowState::Aborted),
            dials: (failed.len() + made.len()) as u64,
            failed_dials: failed.len() as u64,
            failed: by_host(&failed),
            slowest_pace: rows().filter_map(pace).min(),
            tunnels: tunnels(connections),
            distrusted: distrusted(connections),
        }
    }
}

fn by_host(failed: &[&Opened]) -> BTreeMap<String, Failed> {
    let mut hosts: BTreeMap<String, Failed> = BTreeMap::new();
    for opened in failed {
        let host = hosts.entry(Location::of(&opened.target).host).or_default();
        host.connections += 1;
        let tried = opened.tries.iter().map(|tried| tried.addr.clone());
        host.addresses.extend(tried);
        if let (true, Some(error)) = (host.why.is_empty(), &opened.error) {
            host.why.clone_from(error);
        }
    }
    hosts
}

fn distrusted(connections: &Connections) -> BTreeMap<String, u64> {
    let mut hosts = BTreeMap::new();
    let opened = connections.values().flat_map(ConnectionRow::dials);
    for opened in opened.filter(|opened| opened.is_distrust()) {
        *hosts.entry(host_of(&opened.target)).or_default() += 1;
    }
    hosts
}

/// Bytes a second of a row's body, where it is large enough to have a pace.
fn pace(row: &Row) -> Option<u64> {
    let us = row.phases[Phase::Receive].filter(|us| *us > 0)?;
    let is_whole = row.state == RowState::Ended && row.bytes >= PACED_BYTES;
    let pace = u128::from(row.bytes) * 1_000_000 / u128::from(us);
    is_whole.then(|| u64::try_from(pace).unwrap_or(u64::MAX))
}

/// The tunnels that were open, by host, with the bytes that went through.
pub(crate) fn tunnels(connections: &Connections) -> BTreeMap<String, u64> {
    let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
    for row in connections.values() {
        let Some(opened) = &row.opened else { continue };
        if opened.mode != Mode::Tunnel || opened.error.is_some() {
            continue;
        }
        let bytes = row.closed.as_ref().map_or(0, Closed::bytes);
        let sum = hosts.entry(host_of(&opened.target)).or_default();
        *sum = sum.saturating_add(bytes);
    }
    hosts
}

/// How many modules, each version for itself, the rows ask for by `.info`, `.mod` or `.zip`, or came from
/// their repositories.
pub(crate) fn modules(rows: &[Row], bases: &[Base], direct: &[DirectModule]) -> u64 {
    let direct = direct
        .iter()
        .map(|of| (of.module.clone(), of.version.clone()));
    let modules: BTreeSet<(String, String)> = rows
        .iter()
        .map(|row| Route::of(&row.url, bases))
        .filter(|route| matches!(route.kind, Kind::Info | Kind::Mod | Kind::Zip))
        .filter_map(|route| Some((route.module?, route.version?)))
        .chain(direct)
        .collect();
    modules.len() as u64
}

/// Answers with status 429 of one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RateLimited {
    /// How many.
    pub(crate) requests: u64,
    /// The longest time that a `Retry-After` asked for, seconds.
    pub(crate) retry_after: Option<u64>,
}

/// Which hosts answered that there were too many requests (RFC 6585 section 4); `retry_after` reads that
/// field of an answer, of which only seconds are heeded.
pub(crate) fn rate_limited(
    rows: &[Row],
    mut retry_after: impl FnMut(&Row) -> Option<String>,
) -> BTreeMap<String, RateLimited> {
    let mut hosts = BTreeMap::<_, RateLimited>::new();
    let limited = |row: &&Row| row.status == Some(429) && row.made_by == Some(MadeBy::Origin);
    for row in rows.iter().filter(limited) {
        let host = hosts.entry(Location::of(&row.url).host).or_default();
        host.requests += 1;
        let seconds = retry_after(row).and_then(|value| value.trim().parse().ok());
        host.retry_after = host.retry_after.max(seconds);
    }
    hosts
}

/// The host of a CONNECT target, or all of it where it is none.
pub(super) fn host_of(target: &str) -> String {
    let parsed = target.parse::<Target>();
    parsed.map_or_else(|_| target.to_owned(), |target| target.host().to_owned())
}

/// Hosts as a sentence has them: `a`, `a and b`, `a, b and 3 more`.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, shown: usize) -> String {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let mut first: Vec<&str> = names.iter().copied().take(shown).collect();
    let more = names.len() - first.len();
    if more > 0 {
        return format!("{} and {more} more", first.join(", "));
    }
    let Some(last) = first.pop() else {
        return String::new();
    };
    if first.is_empty() {
        return last.to_owned();
    }
    format!("{} and {last}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{connection, connections, in_flight, row};
    use super::*;

    use crate::exchange::Tried;

    const URL: &str = "https://proxy.golang.org/m/@v/list";

    fn tried(addr: &str) -> Tried {
        Tried {
            addr: addr.into(),
            took_us: 1,
            error: Some("no answer".into()),
            reason: None,
        }
    }

    #[test]
    fn everything_is_counted_once() {
        let mut large = row(1, URL, 0, &[(Phase::Receive, 500_000)]);
        large.bytes = 1_000_000;
        let mut small = row(2, URL, 0, &[(Phase::Receive, 500_000)]);
        small.bytes = 10;
        small.made_by = Some(MadeBy::Modtape);
        let mut dialled = connection(1, Mode::Intercept, "proxy.golang.org:443");
        dialled.dns_us = Some(0);
        let mut failed = connection(2, Mode::Intercept, "proxy.golang.org:443");
        (failed.connect_us, failed.error) = (Some(9), Some("refused".into()));
        let mut tunnel = connection(3, Mode::Tunnel, "GitHub.com:443");
        tunnel.connect_us = Some(4);
        let mut refused = connection(4, Mode::Refuse, "proxy.golang.org:443");
        (refused.dns_us, refused.error) = (Some(1), Some("no answer".into()));
        refused.tries = vec![tried("192.0.2.1:443"), tried("[2001:db8::1]:443")];
        let not_ours = connection(5, Mode::Refuse, "not.ours:443");
        let mut unneeded = connection(6, Mode::Intercept, "sum.golang.org:443");
        unneeded.tls_us = Some(8);
        unneeded.error = Some("modtape stopped while sum.golang.org was shaking hands".into());
        let mut connect = row(4, "https://proxy.golang.org/", 0, &[(Phase::Dns, 1)]);
        (connect.method, connect.made_by) = ("CONNECT".into(), Some(MadeBy::Modtape));
        let rows = [large, small, in_flight(3, URL, 5), connect];
        let all = vec![dialled, failed, tunnel, refused, not_ours, unneeded];
        let tally = Tally::of(&rows, &connections(all));
        let two = Failed {
            connections: 2,
            addresses: ["192.0.2.1:443", "[2001:db8::1]:443"]
                .map(str::to_owned)
                .into(),
            why: "refused".into(),
        };
        let expected = Tally {
            requests: 3,
            body_bytes: 1_000_010,
            in_flight: 1,
            dials: 4,
            failed_dials: 2,
            failed: [("proxy.golang.org".to_owned(), two)].into(),
            slowest_pace: Some(2_000_000),
            tunnels: [("github.com".to_owned(), 0)].into(),
            ..Tally::default()
        };
        assert_eq!(tally, expected);
    }

    #[test]
    fn a_module_counts_once_a_version() {
        let urls = [
            "a.b/c/@v/v1.0.0.mod",
            "a.b/c/@v/v1.0.0.zip",
            "a.b/c/@v/v1.1.0.mod",
            "a.b/c/@v/list",
        ];
        let row_of = |path| row(1, &format!("https://proxy.golang.org/{path}"), 0, &[]);
        assert_eq!(modules(&urls.map(row_of), &[], &[]), 2);
    }

    #[test]
    fn a_host_that_limits_requests_is_named_with_the_longest_wait() {
        let limited = |id, url| Row {
            status: Some(429),
            ..row(id, url, 0, &[])
        };
        let other = "https://goproxy.cn/m/@v/list";
        let rows = [
            row(1, URL, 0, &[]),
            limited(2, URL),
            limited(3, URL),
            limited(4, other),
        ];
        let found = rate_limited(&rows, |row| match row.id {
            2 => Some(" 30".into()),
            3 => Some("7".into()),
            _ => Some("Fri, 31 Dec 1999 23:59:59 GMT".into()),
        });
        let of = |requests, retry_after| RateLimited {
            requests,
            retry_after,
        };
        let expected = [
            ("goproxy.cn".to_owned(), of(1, None)),
            ("proxy.golang.org".to_owned(), of(2, Some(30))),
        ];
        assert_eq!(found, expected.into());
    }

    #[test]
    fn a_list_of_names_is_a_phrase() {
        for (names, expected) in [
            (&[][..], ""),
            (&["a"], "a"),
            (&["b", "a", "a"], "a and b"),
            (&["c", "b", "a"], "a, b and c"),
            (&["d", "c", "b", "a"], "a, b, c and 1 more"),
        ] {
            assert_eq!(listed(names.iter().copied(), 3), expected);
        }
    }
}
