//! Why one run took longer than another: where the wall time of each went, side by side.
//!
//! Each instant is shared equally among the requests in flight, so that the parts of a run add up to
//! its wall time and the changes of all parts to the change of it. Sums and medians stand beside
//! them: they tell more requests from slower ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Pair;
use crate::diagnose::finding::Severity;
use crate::diagnose::report::Report;
use crate::diagnose::timeline::sum;
use crate::exchange::{Phase, Timings};
use crate::gomod::Location;
use crate::recording::Recording;

/// Where the time of both runs went.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Timing {
    /// From the start of each recording to its end, microseconds.
    pub(crate) wall_us: Pair<u64>,
    /// While no request was in flight.
    pub(crate) idle_us: Pair<u64>,
    /// While modtape itself held back the end of an answer.
    pub(crate) own_us: Pair<u64>,
    /// The hosts, those whose share changed most first.
    pub(crate) hosts: Vec<HostTimes>,
    /// What `report` finds in one of them only.
    pub(crate) findings: Pair<Vec<Cause>>,
}

/// A host's part of the time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HostTimes {
    /// The host, with the port where it is not the scheme's own.
    pub(crate) host: String,
    /// Requests that were read.
    pub(crate) requests: Pair<u64>,
    /// Connections that were dialled.
    pub(crate) dials: Pair<u64>,
    /// Bytes of response bodies.
    pub(crate) body_bytes: Pair<u64>,
    /// The phases that took time.
    pub(crate) phases: Vec<PhaseTimes>,
}

/// A phase of a host's exchanges.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PhaseTimes {
    /// Which.
    pub(crate) phase: Phase,
    /// Its share of the wall time, microseconds.
    pub(crate) share_us: Pair<u64>,
    /// How many exchanges had it.
    pub(crate) exchanges: Pair<u64>,
    /// The sum over all exchanges.
    pub(crate) total_us: Pair<u64>,
    /// Half of the exchanges took no longer.
    pub(crate) median_us: Pair<Option<u64>>,
}

/// What `report` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    /// The code that `modtape help` explains.
    pub(crate) code: &'static str,
    /// One sentence.
    pub(crate) title: String,
    /// How much time it explains, microseconds.
    pub(crate) cost_us: u64,
}

impl Timing {
    pub(super) fn of(recordings: &Pair<&Recording>, reports: &Pair<Report>) -> Self {
        let split = reports.map(|report| report.split.clone());
        let spent = recordings.map(|recording| spent(recording));
        let names = split.a.by_host.keys().chain(split.b.by_host.keys());
        let names: BTreeSet<&String> = names.collect();
        let host = |name: &String| {
            let host = reports.map(|report| report.hosts.get(name).cloned().unwrap_or_default());
            let phases = Phase::ALL.into_iter().map(|phase| {
                let spent = spent.map(|spent| spent.get(&(name.clone(), phase)));
                PhaseTimes {
                    phase,
                    share_us: split
                        .map(|split| split.by_host.get(name).map_or(0, |shares| shares[phase])),
                    exchanges: spent.map(|all| all.map_or(0, |all| all.len() as u64)),
                    total_us: spent.map(|all| all.map_or(0, |all| sum(all.iter().copied()))),
                    median_us: spent.map(|all| all.and_then(|all| median(all))),
                }
            });
            HostTimes {
                host: name.clone(),
                requests: host.map(|host| host.requests),
                dials: host.map(|host| host.dials),
                body_bytes: host.map(|host| host.body_bytes),
                phases: phases
                    .filter(|times| {
                        times.exchanges != Pair::default() || times.share_us != Pair::default()
                    })
                    .collect(),
            }
        };
        let mut hosts: Vec<HostTimes> = names.into_iter().map(host).collect();
        hosts.sort_by_key(|host| std::cmp::Reverse(host.changed_us()));
        Self {
            wall_us: split.map(|split| split.wall_us),
            idle_us: split.map(|split| split.idle_us),
            own_us: split.map(|split| split.own_us),
            hosts,
            findings: causes(reports),
        }
    }
}

impl HostTimes {
    /// By how much its share changed, in whichever direction.
    fn changed_us(&self) -> u64 {
        let share = |of: fn(&PhaseTimes) -> u64| sum(self.phases.iter().map(of));
        share(|times| times.share_us.a).abs_diff(share(|times| times.share_us.b))
    }
}

/// How long each exchange spent in each phase, by host; sorted.
fn spent(recording: &Recording) -> BTreeMap<(String, Phase), Vec<u64>> {
    let mut spent: BTreeMap<(String, Phase), Vec<u64>> = BTreeMap::new();
    for row in recording.rows() {
        if recording.is_added(row.run) {
            continue;
        }
        let host = Location::of(&row.url).host;
        let phases: &Timings = &row.phases;
        for (phase, us) in phases.iter() {
            spent.entry((host.clone(), phase)).or_default().push(us);
        }
    }
    spent.values_mut().for_each(|all| all.sort_unstable());
    spent
}

/// The value that half of the sorted values do not exceed.
fn median(sorted: &[u64]) -> Option<u64> {
    sorted
        .get(sorted.len().div_ceil(2).checked_sub(1)?)
        .copied()
}

/// What only one report says.
fn causes(reports: &Pair<Report>) -> Pair<Vec<Cause>> {
    let of = |report: &Report, other: &Report| {
        let findings = report.findings.iter();
        let told = findings.filter(|finding| finding.severity != Severity::Note);
        let is_new = |code: &str| other.findings.iter().all(|known| known.code != code);
        let told = told.filter(|finding| is_new(finding.code));
        told.map(|finding| Cause {
            code: finding.code,
            title: finding.title.clone(),
            cost_us: finding.cost_us,
        })
        .collect()
    };
    Pair {
        a: of(&reports.a, &reports.b),
        b: of(&reports.b, &reports.a),
    }
}
