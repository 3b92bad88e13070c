//! placeholder
use super::session::Outcome;
use super::terminal::Look;
use crate::proxy::{Live, Stall};
use crate::recording::Recording;
use crate::recording::format::Manifest;
use crate::replay::Miss;

pub(super) struct Recorded<'a> {
    pub(super) recording: &'a Recording,
    pub(super) manifest: &'a Manifest,
    pub(super) outcome: &'a Outcome,
    pub(super) failure: Option<&'a str>,
}

pub(super) struct Replayed<'a> {
    pub(super) hits: u64,
    pub(super) misses: &'a [Miss],
    pub(super) outcome: &'a Outcome,
}

pub(super) fn recorded(told: &Recorded<'_>, _: Look) -> String {
    format!(
        "modtape: {:?} {} {:?} {:?} {:?}",
        told.manifest.totals,
        told.recording.dir().display(),
        told.failure,
        told.outcome.in_flight,
        told.outcome.interruption
    )
}
pub(super) fn replayed(told: &Replayed<'_>, _: Look) -> String {
    format!(
        "modtape: {} answered, {} missing, 0 went to the network {:?} {:?}",
        told.hits,
        told.misses.len(),
        told.misses,
        told.outcome
    )
}
pub(super) fn replaying(r: &Recording) -> String {
    format!("modtape: replaying {}", r.name())
}
pub(super) fn stall(s: &Stall, _: Look) -> String {
    format!("modtape: still waiting {s:?}")
}
pub(super) fn status(_: &Live, _: Look) -> String {
    String::new()
}
