//! What differs between two recordings: content first, then who served it and how, then the time.
//!
//! Requests are compared by what they ask for, not by URL: another GOPROXY entry, another port of the
//! same mirror or another signature in a query asks for the same. Of several answers to one question
//! the last one that the go command could use counts, as in a replay. The fields are those of
//! `diff --json` (docs/formats.md): names and units stay.

mod answers;
mod changes;
mod circumstances;
mod lines;
mod timing;

use serde::Serialize;

use super::content::Source;
use super::report::Report;
use crate::recording::Recording;
use crate::recording::reader::Status;

pub(crate) use changes::{Change, Content, File};
pub(crate) use circumstances::{Heads, Named, Setting};
pub(crate) use timing::{HostTimes, PhaseTimes, Timing};

/// The version of the JSON's shape.
const SCHEMA: u32 = 1;

/// How many words of a command are kept: it comes from a file.
const WORDS: usize = 100;

/// The same of both recordings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Pair<T> {
    /// Of the first.
    pub(crate) a: T,
    /// Of the second.
    pub(crate) b: T,
}

impl<T> Pair<T> {
    /// What `of` makes of each.
    pub(crate) fn map<'s, U>(&'s self, of: impl Fn(&'s T) -> U) -> Pair<U> {
        Pair {
            a: of(&self.a),
            b: of(&self.b),
        }
    }
}

/// A recording, and the contents of its answers.
pub(crate) struct Compared<'a, S> {
    /// The recording.
    pub(crate) recording: &'a Recording,
    /// Reads the answers.
    pub(crate) source: S,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Content, and who served it and how.
    pub(crate) content: bool,
    /// Where the time went.
    pub(crate) timing: bool,
}

/// What differs between two recordings.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Diff {
    /// The version of this shape.
    pub(crate) schema: u32,
    /// The recordings.
    #[serde(flatten)]
    pub(crate) sides: Pair<Side>,
    /// What the go command goes by, where it differs.
    pub(crate) settings: Vec<Setting>,
    /// What was served, and by whom; `None` if that was not asked for.
    pub(crate) content: Option<Content>,
    /// Where the time went; `None` if that was not asked for.
    pub(crate) timing: Option<Timing>,
}

/// A recording, in short.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Side {
    /// Its name.
    pub(crate) recording: String,
    /// When it began, RFC 3339 in UTC.
    pub(crate) started: String,
    /// The first words of the recorded command, redacted; empty without one.
    pub(crate) command: Vec<String>,
    /// Its exit code; `None` if it was not recorded.
    pub(crate) exit_code: Option<i32>,
    /// False if the recorder was killed, or still writes.
    pub(crate) closed: bool,
    /// In how many places it is damaged: what stood there is not compared.
    pub(crate) damaged_places: u64,
    /// Requests that were read.
    pub(crate) requests: u64,
    /// Bytes of response bodies.
    pub(crate) body_bytes: u64,
    /// From its start to its end, microseconds.
    pub(crate) wall_us: u64,
}

impl Diff {
    /// Compares `both`. Calls `progress` with the number of answers that are compared and of all.
    pub(crate) fn of<S: Source>(
        both: &Pair<Compared<'_, S>>,
        scope: Scope,
        progress: impl FnMut(usize, usize),
    ) -> Self {
        let reports = both.map(|one| Report::of(one.recording));
        let content = scope.content.then(|| Content::of(both, &reports, progress));
        Self {
            schema: SCHEMA,
            sides: Pair {
                a: Side::of(both.a.recording, &reports.a),
                b: Side::of(both.b.recording, &reports.b),
            },
            settings: circumstances::settings(&both.map(|one| one.recording.manifest())),
            content,
            timing: scope
                .timing
                .then(|| Timing::of(&both.map(|one| one.recording), &reports)),
        }
    }

    /// Whether the go command got something else from one than from the other.
    pub(crate) fn differs(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.differs)
    }
}

impl Side {
    fn of(recording: &Recording, report: &Report) -> Self {
        let manifest = recording.manifest();
        Self {
            recording: report.recording.clone(),
            started: manifest.started.clone(),
            command: manifest.command.iter().take(WORDS).cloned().collect(),
            exit_code: manifest.exit_code,
            closed: matches!(recording.status(), Status::Closed | Status::Sealed),
            damaged_places: report.damaged_places,
            requests: report.requests,
            body_bytes: report.body_bytes,
            wall_us: report.wall_us,
        }
    }
}
