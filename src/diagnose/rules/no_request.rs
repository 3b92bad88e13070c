//! MT206: the command took its time without a request, and what it did.

use super::looks::Looks;
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::processes::Kind;

/// A wait is told from here on, microseconds.
const WAIT_US: u64 = 2_000_000;

/// A go command that waits for nobody knows what is told from here on, microseconds.
const IDLE_US: u64 = 5_000_000;

/// Work is told from here on, microseconds, if it takes so many percent of the time.
const WORK_US: u64 = 2_000_000;
const WORK_PERCENT: u64 = 30;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let found = |looks: Looks<'_>, severity: Severity, title: String| Found {
        severity,
        title,
        confidence: match looks.longest.doing.kind() {
            Kind::Disk | Kind::Works => Confidence::Certain,
            _ => Confidence::Likely,
        },
        hint: looks.hint(),
        evidence: looks.evidence,
        explains: Explained::idle(looks.idle)
            .hung(looks.to_the_end && severity == Severity::Problem),
    };
    let waits = [Kind::Peer, Kind::Disk].into_iter().filter_map(|kind| {
        let looks = Looks::at(case, &[kind], WAIT_US)?;
        let (severity, title) = (looks.severity(), looks.title());
        Some(found(looks, severity, title))
    });
    let idle = Looks::at(case, &[Kind::Idle], IDLE_US).map(|looks| {
        let severity = match looks.to_the_end {
            true => Severity::Problem,
            false => Severity::Note,
        };
        let title = looks.title();
        found(looks, severity, title)
    });
    let works = Looks::at(case, &[Kind::Works], WORK_US);
    let works = works.filter(|looks| looks.percent(case) >= WORK_PERCENT);
    let works = works.map(|looks| {
        let title = format!("{} without a request ({})", looks.title(), looks.cpu());
        found(looks, Severity::Note, title)
    });
    waits.chain(idle).chain(works).collect()
}
