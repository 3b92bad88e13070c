//! All recordings, newest first. Opens only those that no recorder closed.

use std::process::ExitCode;

use serde::Serialize;

use super::super::failure::FAILED;
use crate::cli::Global;
use crate::clock::{Timestamp, wall_text_at};
use crate::exchange::chain;
use crate::recording::Recording;
use crate::recording::folder::{self, Entry};
use crate::recording::format::{Manifest, State, Totals};
use crate::recording::reader::Status;
use crate::terminal::json;
use crate::terminal::table::{Align, Table};
use crate::terminal::words::{count, duration, size};
use crate::terminal::{Look, say, to_stdout, warn};
use anyhow::Context as _;

/// One recording; the fields of `recordings list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    /// Its folder's name.
    name: String,
    /// Its folder.
    path: String,
    /// `closed`, `sealed`, `recording`, `unfinished`, or `unreadable`.
    status: &'static str,
    /// When it was started, RFC 3339 in UTC.
    started: Option<String>,
    /// The wrapped command; empty without one.
    command: Vec<String>,
    /// Wall time, microseconds.
    wall_us: u64,
    /// Exchanges begun.
    exchanges: u64,
    /// Bytes of response bodies.
    body_bytes: u64,
    /// The wrapped command's exit code.
    exit_code: Option<i32>,
    /// Whether a replay will find all it needs, as far as that is known without reading a closed
    /// recording's journal.
    replayable: bool,
    /// Why it cannot be read, where it is `unreadable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Lists them; the exit code says whether all could be looked at.
pub(super) fn run(as_json: bool, global: &Global) -> anyhow::Result<ExitCode> {
    let dir = &global.recordings;
    let listing = folder::list(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let entries = listing.entries;
    if entries.is_empty() && listing.unreadable.is_empty() {
        let look = Look::of_stderr(global);
        let shown = dir.display().to_string();
        say(
            global,
            format!(
                "no recordings in {}; try `modtape demo`",
                look.plain(&shown)
            ),
        );
    }
    let lines: Vec<_> = entries.iter().map(Line::of).collect();
    let look = Look::of_stdout(global);
    to_stdout(|out| {
        if as_json {
            for line in &lines {
                out.write_all(json::line(line)?.as_bytes())?;
            }
        } else if !lines.is_empty() {
            for line in table(&lines, look).lines(look) {
                out.write_all(line.as_bytes())?;
            }
        }
        Ok(())
    })?;
    for (path, error) in &listing.unreadable {
        warn(global, format!("cannot read {}: {error}", path.display()));
    }
    let unread = lines.iter().filter_map(|line| line.error.as_deref());
    for error in unread.clone() {
        warn(global, error);
    }
    Ok(match listing.unreadable.is_empty() && unread.count() == 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILED),
    })
}

impl Line {
    fn of(entry: &Entry) -> Self {
        let mut line = Self {
            name: entry.name.clone(),
            path: entry.path.to_string_lossy().into_owned(),
            status: "unreadable",
            started: None,
            command: Vec::new(),
            wall_us: 0,
            exchanges: 0,
            body_bytes: 0,
            exit_code: None,
            replayable: false,
            error: None,
        };
        let closed = entry
            .manifest
            .as_ref()
            .filter(|manifest| manifest.state != State::Open);
        let mut is_whole = true;
        let (manifest, (totals, wall_us)) = if let Some(manifest) = closed {
            line.status = match manifest.state {
                State::Sealed => "sealed",
                State::Open | State::Closed => "closed",
            };
            (manifest.clone(), (manifest.totals, manifest.wall_us))
        } else {
            let recording = match Recording::open(&entry.path) {
                Ok(recording) => recording,
                Err(error) => {
                    line.error = Some(chain(&error));
                    return line;
                }
            };
            line.status = status_word(recording.status());
            is_whole = recording.damage().is_empty() && recording.torn_tail().is_none();
            (recording.manifest().clone(), totals(&recording))
        };
        line.started = Some(started(&manifest));
        line.command = manifest.command;
        line.wall_us = wall_us;
        line.exchanges = totals.exchanges;
        line.body_bytes = totals.body_bytes;
        line.exit_code = manifest.exit_code;
        line.replayable = manifest.replayable.complete && is_whole;
        line
    }
}

fn table(lines: &[Line], look: Look) -> Table<6> {
    let mut table = Table::new([
        ("NAME", Align::Left),
        ("STARTED", Align::Left),
        ("STATUS", Align::Left),
        ("TOOK", Align::Right),
        ("RECORDED", Align::Left),
        ("COMMAND", Align::Left),
    ]);
    for line in lines {
        let started = line
            .started
            .as_deref()
            .map_or("-", |started| to_seconds(started));
        let recorded = format!(
            "{}, {}",
            count(line.exchanges, "exchange"),
            size(line.body_bytes)
        );
        table.row([
            look.plain(&line.name).into_owned().into(),
            look.plain(started).into_owned().into(),
            line.status.into(),
            duration(line.wall_us).into(),
            recorded.into(),
            look.plain(&line.command.join(" ")).into_owned().into(),
        ]);
    }
    table
}

/// RFC 3339 up to its seconds.
fn to_seconds(started: &str) -> &str {
    started.get(..19).unwrap_or(started)
}

pub(super) const fn status_word(status: Status) -> &'static str {
    match status {
        Status::Closed => "closed",
        Status::Sealed => "sealed",
        Status::Recording => "recording",
        Status::Unfinished => "unfinished",
    }
}

/// When a recording was started, as every output has it; as it stands there where it is no time.
pub(super) fn started(manifest: &Manifest) -> String {
    let started = wall_text_at(&manifest.started, Timestamp::default());
    started.unwrap_or_else(|| manifest.started.clone())
}

/// What the manifest counts at close; counted here while there is no close.
pub(super) fn totals(recording: &Recording) -> (Totals, u64) {
    if matches!(recording.status(), Status::Closed | Status::Sealed) {
        let manifest = recording.manifest();
        return (manifest.totals, manifest.wall_us);
    }
    let totals = recording.table().totals();
    (totals, recording.table().last.as_micros())
}
