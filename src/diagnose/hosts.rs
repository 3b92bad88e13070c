//! What each host is to the go command, and how it did.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::case::Case;
use super::dials::Failure;
use crate::exchange::{Mode, Phase};
use crate::gomod::{Base, Kind, Location, ProxyTarget, Separator};
use crate::recording::reader::RowState;

/// What a host is to the go command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub(crate) enum Role {
    /// An entry of GOPROXY.
    Proxy {
        /// Which, from 0.
        entry: usize,
    },
    /// The checksum database itself.
    ChecksumDatabase,
    /// Where a module proxy redirects to.
    Redirected,
    /// A repository, or where one is looked for: asked in `direct` mode.
    Direct,
    /// None of these.
    Other,
}

/// How a host did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Host {
    /// What it is to the go command.
    #[serde(flatten)]
    pub(crate) role: Option<Role>,
    /// Requests that were read.
    pub(crate) requests: u64,
    /// Of them, those that were answered with 400 or more (but for probes), or not at all.
    pub(crate) errors: u64,
    /// Bytes of response bodies.
    pub(crate) body_bytes: u64,
    /// Half of the answers took no longer for their first byte, microseconds.
    pub(crate) wait_p50_us: Option<u64>,
    /// 95 of 100 took no longer.
    pub(crate) wait_p95_us: Option<u64>,
    /// Connections that were dialled for requests.
    pub(crate) dials: u64,
    /// Of them, those that failed.
    pub(crate) failed_dials: u64,
    /// Addresses that were connected to.
    pub(crate) addresses: Vec<String>,
    /// The protocols that it chose: `h2`, `http/1.1`.
    pub(crate) protocols: Vec<String>,
    /// The items of the timeline that belong to it.
    #[serde(skip)]
    pub(crate) items: Vec<usize>,
    /// Of them, those whose dial failed.
    #[serde(skip)]
    pub(crate) failed: Vec<FailedDial>,
}

/// An item whose dial failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FailedDial {
    /// The item.
    pub(crate) item: usize,
    /// How.
    pub(crate) failure: Failure,
}

/// The hosts of a recording, by name (with `:port` where it is not the scheme's own).
pub(crate) fn hosts(case: &Case<'_>) -> BTreeMap<String, Host> {
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    let mut waits: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (index, item) in case.timeline.items.iter().enumerate() {
        let host = hosts.entry(item.host.clone()).or_default();
        host.items.push(index);
        let asked = case.asked_by(item).filter(|asked| !asked.row.is_connect());
        if let Some(asked) = asked {
            host.requests += 1;
            host.errors += u64::from(asked.is_failure());
            host.body_bytes = host.body_bytes.saturating_add(asked.row.bytes);
            // Of what was cut short nobody knows how long it would have waited.
            let is_answered = asked.row.state == RowState::Ended && !asked.is_ours();
            if let Some(us) = asked.row.phases[Phase::Wait].filter(|_| is_answered) {
                waits.entry(&item.host).or_default().push(us);
            }
        }
        // A request that modtape answers because of a dial, or that ended, or did not end, with it; a CONNECT
        // that modtape refuses, or a dial alone.
        let is_of_dial =
            asked.is_none_or(|asked| asked.is_ours() || asked.row.state != RowState::Ended);
        let failure = case.failure_of(item).filter(|_| is_of_dial);
        if let Some(failure) = failure {
            host.failed.push(FailedDial {
                item: index,
                failure,
            });
        }
    }
    for (host, mut waits) in waits {
        waits.sort_unstable();
        if let Some(host) = hosts.get_mut(host) {
            host.wait_p50_us = percentile(&waits, 50);
            host.wait_p95_us = percentile(&waits, 95);
        }
    }
    let mut known: HashSet<(String, &str)> = HashSet::new();
    for (key, connection) in case.connections {
        for dial in connection.dials() {
            let phases = [dial.dns_us, dial.connect_us, dial.tls_us];
            let is_dial = dial.mode != Mode::Tunnel || dial.error.is_some();
            if phases.iter().all(Option::is_none) || !is_dial {
                continue;
            }
            let name = Location::of(&dial.target).host;
            let host = hosts.entry(name.clone()).or_default();
            host.dials += 1;
            host.failed_dials +=
                u64::from(Failure::of(dial, case.told_dials.contains(key)).is_some());
            let upstream = dial.upstream.as_ref();
            let address = upstream.and_then(|up| up.addr.as_deref());
            if let Some(address) = address.filter(|it| known.insert((name.clone(), it))) {
                host.addresses.push(address.to_owned());
            }
            let protocol = upstream.and_then(|up| up.alpn.as_deref());
            if let Some(protocol) = protocol.filter(|it| known.insert((name.clone(), it))) {
                host.protocols.push(protocol.to_owned());
            }
        }
    }
    for (name, host) in &mut hosts {
        host.role = Some(role(case, name, &host.items));
    }
    hosts
}

/// The value that `percent` of the sorted values do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied()
}

fn role(case: &Case<'_>, host: &str, items: &[usize]) -> Role {
    if let Some(entry) = case.entry_of(host) {
        return Role::Proxy { entry };
    }
    if case.sumdb_host().as_deref() == Some(host) {
        return Role::ChecksumDatabase;
    }
    if case.redirects.contains_key(host) {
        return Role::Redirected;
    }
    let kinds = items.iter().filter_map(|item| {
        let asked = case.asked_by(&case.timeline.items[*item])?;
        Some(asked.listed.route.kind)
    });
    for kind in kinds {
        match kind {
            Kind::Vcs | Kind::Discovery => return Role::Direct,
            Kind::Lookup | Kind::Tile => return Role::ChecksumDatabase,
            _ => {}
        }
    }
    Role::Other
}

/// What go does after a failure of this entry that is no 404: the next entry is asked, or not.
pub(crate) fn separator_of(case: &Case<'_>, entry: usize) -> Option<Separator> {
    case.goproxy.entries.get(entry)?.separator
}

/// The entry after this one, in words.
pub(crate) fn next_entry(case: &Case<'_>, entry: usize) -> Option<String> {
    Some(match &case.goproxy.entries.get(entry + 1)?.target {
        ProxyTarget::Url(url) => Base::of(url).map_or_else(|| url.clone(), |base| base.host),
        target => target.to_string(),
    })
}
