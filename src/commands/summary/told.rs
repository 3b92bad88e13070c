//! From the end of a session to what is said of it.

use super::super::session::Outcome;
use super::super::terminal::Look;
use super::super::words::count;
use super::{Summary, render};
use crate::diagnose::again::Again;
use crate::diagnose::empty::{Facts, why_empty};
use crate::diagnose::split::Split;
use crate::diagnose::tally::{Tally, modules, rate_limited};
use crate::gomod::{Base, Route};
use crate::proxy::Live;
use crate::recording::format::Manifest;
use crate::recording::reader::redirects::Loop;
use crate::recording::{Durability, Recording};

/// A recording that was just closed.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct Recorded<'a> {
    /// As it was read back.
    pub(in crate::commands) recording: &'a Recording,
    /// Its last manifest.
    pub(in crate::commands) manifest: &'a Manifest,
    /// How it is recorded once more.
    pub(in crate::commands) again: &'a Again,
    /// How the session ended.
    pub(in crate::commands) outcome: &'a Outcome,
    /// What the end of each answer waited for.
    pub(in crate::commands) durability: Durability,
    /// What could not be written, if anything.
    pub(in crate::commands) failure: Option<&'a str>,
    /// The user's module cache, as far as it is known; else empty.
    pub(in crate::commands) cache: &'a str,
    /// Whether the command was given an empty module cache.
    pub(in crate::commands) was_cold: bool,
    /// Whether the main module has `vendor/modules.txt`.
    pub(in crate::commands) has_vendor: bool,
}

/// A recorder's last words, without the last line feed.
pub(in crate::commands) fn recorded(told: &Recorded<'_>, look: Look) -> String {
    let Recorded {
        recording,
        manifest,
        outcome,
        ..
    } = *told;
    let (rows, connections) = (recording.rows(), &recording.table().connections);
    let facts = Facts {
        again: told.again,
        cache: told.cache,
        was_cold: told.was_cold,
        has_vendor: told.has_vendor,
        connections,
    };
    let tally = Tally::of(rows, connections);
    let why_empty = match tally.requests {
        0 => why_empty(&manifest.go_env, &facts),
        _ => Vec::new(),
    };
    let bases = crate::gomod::bases(&manifest.go_env);
    let redirects = recording.redirects();
    let loops = redirects.loops().iter().cloned();
    let what = |found: Loop| (found.clone(), Route::of(&found.url, &bases).what());
    let loops: Vec<_> = loops.map(what).collect();
    let summary = Summary {
        recording: &recording.dir().to_string_lossy(),
        split: &Split::of(rows, connections, manifest.wall_us),
        tally: &tally,
        in_flight: &outcome.in_flight,
        interruption: outcome.interruption,
        now: outcome.in_flight_at,
        gaps: recording.gaps(),
        failure: told.failure,
        rate_limited: &rate_limited(rows, |row| recording.answer_field(row, "retry-after")),
        loops: &loops,
        replayable: &manifest.replayable,
        why_empty: &why_empty,
        durability: told.durability,
        redacted: manifest.redacted,
        intercept_all: manifest.intercept_all,
    };
    render(&summary, look)
}

/// What of a recorder's last words is said to who wants to hear of nothing but errors.
pub(in crate::commands) fn losses(told: &Recorded<'_>) -> Vec<String> {
    let recording = told.recording;
    let tally = Tally::of(recording.rows(), &recording.table().connections);
    let incomplete = super::incomplete(told.failure, recording.gaps());
    let incomplete = incomplete.map(|what| format!("the recording is incomplete: {what}"));
    incomplete.chain(super::distrusted(&tally)).collect()
}

/// What is said before a replay, without the last line feed: what it is made of.
pub(in crate::commands) fn replaying(recording: &Recording, bases: &[Base], look: Look) -> String {
    let manifest = recording.manifest();
    let name = recording.name();
    let modules = count(modules(recording.rows(), bases), "module");
    let date = manifest.started.get(..10).unwrap_or(&manifest.started);
    let env = |name: &str| manifest.go_env.get(name).map(String::as_str);
    let by = match (&manifest.go_version, env("GOOS"), env("GOARCH")) {
        (None, ..) => String::new(),
        (Some(version), Some(os), Some(arch)) => format!(" by {version} {os}/{arch}"),
        (Some(version), ..) => format!(" by {version}"),
    };
    let facts = format!("({modules}, recorded {date}{by})");
    let line = format!("modtape: replaying {name} {facts}; nothing is forwarded");
    look.plain(&line).into_owned()
}

/// The status line, or nothing while nothing is in flight: the terminal is the command's then.
pub(in crate::commands) fn status(live: &Live, look: Look) -> String {
    let in_flight = live.in_flight();
    if in_flight.is_empty() {
        return String::new();
    }
    // The last column stays free: some terminals take what is erased behind it for what is in it.
    let width = look.width.map(|width| width.saturating_sub(1));
    let look = Look { width, ..look };
    super::live::status(&in_flight, live.passed(), live.now(), look)
}
