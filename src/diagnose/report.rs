//! Everything that is said about a recording: one sentence, the split, the findings, the chain, hosts
//! and modules.
//!
//! The fields are those of `report --format json` (docs/formats.md): names and units stay.

use std::collections::BTreeMap;

use serde::Serialize;

use super::case::{self, Case};
use super::chain::{Link, chain};
use super::finding::{Finding, Severity};
use super::hosts::Host;
use super::ladder::{Rung, answered, ladder};
use super::outcome::Meaning;
use super::processes::{Activity, Kind};
use super::routes::Loop;
use super::rules::findings;
use super::split::Split;
use super::tally::Tally;
use crate::exchange::Phase;
use crate::recording::Recording;
use crate::recording::format::RunMode;
use crate::words::{count, duration, percent};

/// The version of the JSON's shape.
const SCHEMA: u32 = 1;

/// How many words of the command are kept: it comes from a file.
const WORDS: usize = 100;

/// A recording explained.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// The version of this shape.
    pub(crate) schema: u32,
    /// The recording's name.
    pub(crate) recording: String,
    /// The first words of the recorded command, redacted; empty without one.
    pub(crate) command: Vec<String>,
    /// Its exit code; `None` if it was not recorded.
    pub(crate) exit_code: Option<i32>,
    /// How its requests reached the recorder; `None` in imported and in older recordings.
    pub(crate) mode: Option<RunMode>,
    /// False if the recorder was killed, or still writes.
    pub(crate) closed: bool,
    /// In how many places it is damaged: what is read around them may be wrong.
    pub(crate) damaged_places: u64,
    /// From the start of the recording to its end, microseconds.
    pub(crate) wall_us: u64,
    /// Requests that were read.
    pub(crate) requests: u64,
    /// Of them, those whose end is not on record, since the disk took it no more: how long they took is not
    /// known, and counts nowhere.
    pub(crate) lost: u64,
    /// Bytes of response bodies.
    pub(crate) body_bytes: u64,
    /// The whole in one sentence.
    pub(crate) sentence: String,
    /// Where the wall time went, microseconds, by phase; with `idle` and modtape's `own`.
    pub(crate) split_us: BTreeMap<&'static str, u64>,
    /// What the command's processes did while no request was in flight, microseconds, as far as
    /// somebody looked at them.
    pub(crate) idle_us: BTreeMap<&'static str, u64>,
    /// What was found, the worst first.
    pub(crate) findings: Vec<Finding>,
    /// The exchanges that had to wait for one another.
    pub(crate) critical_chain: Vec<Link>,
    /// The hosts, by name.
    pub(crate) hosts: BTreeMap<String, Host>,
    /// How many modules each entry of GOPROXY, or repository, answered for.
    pub(crate) answered: BTreeMap<String, u64>,
    /// The modules for which more than one place was asked, or none answered.
    pub(crate) ladder: Vec<Rung>,
    /// For those who draw it.
    #[serde(skip)]
    pub(crate) split: Split,
    /// For those who draw it.
    #[serde(skip)]
    pub(crate) tally: Tally,
    /// The same as `idle_us`, the longest first.
    #[serde(skip)]
    pub(crate) idle: Vec<(Kind, u64)>,
    /// Redirects that lead nowhere, each with what was asked for, in words.
    #[serde(skip)]
    pub(crate) loops: Vec<(Loop, String)>,
}

impl Report {
    /// Explains a recording.
    pub(crate) fn of(recording: &Recording) -> Self {
        let connections = case::connections(recording);
        let meaning = Meaning::of(recording);
        let case = Case::by(recording, &connections, &meaning);
        let split = Split::of(&case.timeline);
        let rows = recording.rows();
        let tally = Tally::of(rows, case.connections);
        let findings = findings(&case);
        let idle = idle(&case);
        let phases = Phase::ALL.map(|phase| (phase.name(), split.phases[phase]));
        let others = [("idle", split.idle_us), ("own", split.own_us)];
        Self {
            schema: SCHEMA,
            recording: recording.name(),
            command: case.manifest.command.iter().take(WORDS).cloned().collect(),
            exit_code: case.manifest.exit_code,
            mode: case.manifest.mode,
            closed: case.is_closed,
            damaged_places: recording.damage().len() as u64,
            wall_us: split.wall_us,
            requests: tally.requests,
            lost: case.lost,
            body_bytes: tally.body_bytes,
            sentence: sentence(&findings, &split, &tally, &idle, &case),
            split_us: phases.into_iter().chain(others).collect(),
            idle_us: idle.iter().map(|(kind, us)| (kind.name(), *us)).collect(),
            findings,
            critical_chain: chain(&case),
            answered: answered(&case),
            ladder: ladder(&case),
            hosts: case.hosts,
            split,
            tally,
            idle,
            loops: meaning
                .loops()
                .iter()
                .map(|found| (found.clone(), meaning.what_looped(found)))
                .collect(),
        }
    }

    /// The findings that say that something is wrong.
    pub(crate) fn causes(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.severity != Severity::Note)
    }
}

/// What was done while no request was in flight, the longest first.
fn idle(case: &Case<'_>) -> Vec<(Kind, u64)> {
    let mut kinds: BTreeMap<Kind, u64> = BTreeMap::new();
    for gap in &case.gaps {
        let activity = Activity::of(&case.samples[gap.sample].sample);
        if let Some(activity) = activity {
            *kinds.entry(activity.doing.kind()).or_default() += gap.to - gap.from;
        }
    }
    let mut kinds: Vec<(Kind, u64)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, us)| std::cmp::Reverse(*us));
    kinds
}

/// The first finding, or what took most of the time where nothing is wrong.
fn sentence(
    findings: &[Finding],
    split: &Split,
    tally: &Tally,
    idle: &[(Kind, u64)],
    case: &Case<'_>,
) -> String {
    if let Some(first) = findings.first()
        && first.severity != Severity::Note
    {
        let cost = match first.cost_us {
            0 => String::new(),
            us => format!(" ({} of {})", duration(us), duration(split.wall_us)),
        };
        return format!("{}{cost}", first.title);
    }
    let phases = Phase::ALL.map(|phase| (doing(phase), split.phases[phase]));
    // What was done without a request has a name, if most of that time was looked at.
    let known = idle
        .first()
        .filter(|(_, us)| us.saturating_mul(2) >= split.idle_us);
    let known = known.map_or_else(String::new, |(kind, _)| format!(" ({})", kind.in_words()));
    let without = format!("it made no request{known}");
    let phases = phases.map(|(doing, us)| (format!("it was {doing}"), us));
    let parts = phases.into_iter().chain([(without, split.idle_us)]);
    let most = parts.max_by_key(|(_, us)| *us).filter(|(_, us)| *us > 0);
    let most = most.map_or_else(String::new, |(doing, us)| {
        format!(", and for {} % of that {doing}", percent(us, split.wall_us))
    });
    let verdict = match case.manifest.exit_code {
        Some(0) => "nothing is wrong".into(),
        Some(code) => format!("no request explains exit code {code}"),
        None if case.is_closed => "nothing is wrong".into(),
        None => "the recording is unfinished, and no request explains why".into(),
    };
    // What no request shows, a look at this machine may.
    let others = match case.manifest.exit_code {
        Some(1..128) => "; `modtape doctor` checks settings, networks and the module cache",
        _ => "",
    };
    let took = duration(split.wall_us);
    match tally.requests {
        0 if split.idle_us.saturating_mul(2) > split.wall_us => {
            format!("{verdict}: it made no request in {took}{known}{others}")
        }
        0 => format!("{verdict}: it made no request in {took}{most}{others}"),
        requests => format!(
            "{verdict}: {} in {took}{most}{others}",
            count(requests, "request")
        ),
    }
}

const fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Blocked => "kept waiting by its client or by modtape",
        Phase::Dns => "looking up names",
        Phase::Connect => "connecting",
        Phase::Tls => "shaking hands (TLS)",
        Phase::Send => "sending",
        Phase::Wait => "waiting for first bytes",
        Phase::Receive => "receiving",
    }
}
