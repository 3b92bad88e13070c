//! `recording.json` read back, or made up from the journal where it is lost.
//!
//! Never writes: whoever replaces the manifest is the writer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode as FileMode, OFlags};
use serde::Deserialize;

use crate::exchange::{MadeBy, Mode};

use super::format::{
    FORMAT_VERSION, MANIFEST, MANIFEST_KIND, Manifest, Open, Replayable, State, Totals,
};
use super::rows::{ConnectionRow, Row, Table};
use super::summary::RowState;

/// The longest manifest that is read, octets: a command line of 2 MiB, Linux's usual limit, and as
/// much again. Whoever lists recordings reads all their manifests, so it is a bound on memory too.
const MANIFEST_LIMIT: u64 = 4 << 20;

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is no such file.
    #[error("there is no {MANIFEST}")]
    NotFound,
    /// A file of that name that somebody else's program wrote.
    #[error("{MANIFEST} is not a modtape recording's")]
    Foreign,
    /// It is of a format version that this program does not read.
    #[error("{MANIFEST} is of format version {0}")]
    Version(u32),
    /// It is longer than any that a recorder writes.
    #[error("{MANIFEST} is longer than {MANIFEST_LIMIT} bytes")]
    TooLong,
    /// It is not the JSON that it should be.
    #[error("{MANIFEST} is damaged")]
    Damaged(#[source] serde_json::Error),
    /// It cannot be read.
    #[error("cannot read {MANIFEST}")]
    Unreadable(#[source] io::Error),
}

/// Reads the manifest of the recording in `dir`.
pub(crate) fn read_manifest(dir: &Path) -> Result<Manifest, ManifestError> {
    #[derive(Deserialize)]
    struct Head {
        kind: String,
        format: u32,
    }
    let file = open_regular(&dir.join(MANIFEST)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ManifestError::NotFound,
        _ => ManifestError::Unreadable(error),
    })?;
    let mut text = Vec::new();
    file.take(MANIFEST_LIMIT + 1)
        .read_to_end(&mut text)
        .map_err(ManifestError::Unreadable)?;
    if text.len() as u64 > MANIFEST_LIMIT {
        return Err(ManifestError::TooLong);
    }
    match serde_json::from_slice::<Head>(&text) {
        Ok(head) if head.kind != MANIFEST_KIND => Err(ManifestError::Foreign),
        Ok(head) if head.format != FORMAT_VERSION => Err(ManifestError::Version(head.format)),
        Ok(_) | Err(_) => serde_json::from_slice(&text).map_err(ManifestError::Damaged),
    }
}

/// What the journal tells of what the manifest would say; `None` without a run.
///
/// What it does not tell errs on the side of caution: not redacted, not replayable.
pub(super) fn manifest_from(table: &Table) -> Option<Manifest> {
    let open = table.runs.first()?;
    let opened = table.connections.values().flat_map(ConnectionRow::dials);
    let intercepted: BTreeSet<String> = opened
        .filter(|opened| opened.mode == Mode::Intercept)
        .filter_map(|opened| Some(opened.target.rsplit_once(':')?.0.to_owned()))
        .collect();
    Some(Manifest {
        kind: MANIFEST_KIND.into(),
        format: open.format,
        id: open.recording.clone(),
        tool: open.tool.clone(),
        state: if table.close.is_some() {
            State::Closed
        } else {
            State::Open
        },
        started: open.wall.clone(),
        command: open.command.clone(),
        options: Vec::new(),
        trace: open.trace,
        go_env: BTreeMap::new(),
        go_version: None,
        intercepted: intercepted.into_iter().collect(),
        intercept_all: false,
        redacted: false,
        wall_us: table.last.as_micros(),
        totals: table
            .close
            .as_ref()
            .map_or_else(|| totals(table), |close| close.totals),
        replayable: Replayable {
            complete: false,
            reasons: vec!["the manifest is missing or damaged".into()],
            faults: Vec::new(),
        },
        exit_code: table.close.as_ref().and_then(|close| close.exit_code),
    })
}

/// What is counted at close ([`Recorder::totals`]), by the same rules, of what can be read.
///
/// A connection counts once, however often it was dialled. What went through tunnels is known only
/// of those that are closed.
///
/// [`Recorder::totals`]: super::Recorder::totals
pub(crate) fn totals(table: &Table) -> Totals {
    let rows = || table.rows.iter();
    let connections = || table.connections.values();
    let opened = || connections().filter_map(|row| row.opened.as_ref());
    let tunnelled = connections()
        .filter_map(|row| row.closed.as_ref())
        .filter(|closed| closed.tunnel);
    let made_by_us = |row: &&Row| row.made_by == Some(MadeBy::Modtape);
    Totals {
        exchanges: rows().count() as u64,
        aborted: rows().filter(|row| row.state != RowState::Ended).count() as u64,
        made_by_modtape: rows().filter(made_by_us).count() as u64,
        connections: opened().count() as u64,
        tunnels: opened()
            .filter(|opened| opened.mode == Mode::Tunnel)
            .count() as u64,
        body_bytes: rows().fold(0, |sum, row| sum.saturating_add(row.bytes)),
        tunnel_bytes: tunnelled.fold(0, |sum, closed| sum.saturating_add(closed.bytes())),
        gaps: table.gaps.len() as u64,
    }
}

/// The `open` that stands in for one that the journal lost.
pub(super) fn open_from(manifest: &Manifest) -> Open {
    Open {
        format: manifest.format,
        recording: manifest.id.clone(),
        wall: manifest.started.clone(),
        trace: manifest.trace,
        tool: manifest.tool.clone(),
        command: manifest.command.clone(),
    }
}

/// Opens a regular file for reading: follows no link at its end and waits for no pipe.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, FileMode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        let message = "it is not a regular file";
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::{Connection, Event};
    use super::super::{Durability, Journal, Recording, create, sample};
    use super::*;
    use crate::clock::{Clock, Timestamp};

    /// Every kind of record, and what the sample has not: tunnels, one dialled again, one never
    /// closed, and an answer of our own.
    fn events() -> Vec<Event> {
        let mut events = sample::events();
        let close = events.pop();
        let mut again = sample::opened(2, Mode::Tunnel);
        if let Event::Connection(Connection::Opened(opened)) = &mut again {
            opened.again = true;
        }
        let mut closed = sample::closed(2);
        if let Event::Connection(Connection::Closed(closed)) = &mut closed {
            closed.tunnel = true;
        }
        let mut ours = sample::end(5, b"cannot resolve");
        if let Event::End(end) = &mut ours {
            end.made_by = MadeBy::Modtape;
        }
        events.extend([
            sample::opened(2, Mode::Tunnel),
            again,
            closed,
            sample::opened(3, Mode::Tunnel),
            sample::begin(5),
            ours,
            // A client that came and went without a word.
            sample::closed(4),
        ]);
        events.extend(close);
        events
    }

    #[tokio::test]
    async fn what_is_counted_while_recording_is_what_the_journal_tells() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("one");
        let folder = create::create(&dir, false).unwrap();
        let (recorder, journal) =
            Journal::start(folder, Clock::start(), Durability::Process, true).unwrap();
        for event in events() {
            recorder.note(Timestamp::default(), &event);
        }
        let counted = recorder.totals();
        drop(recorder);
        journal.run().await;
        let recording = Recording::open(&dir).unwrap();
        assert_eq!(totals(recording.table()), counted);
        let expected = Totals {
            exchanges: 5,
            aborted: 2,
            made_by_modtape: 1,
            connections: 3,
            tunnels: 2,
            body_bytes: 80_062,
            tunnel_bytes: 300,
            gaps: 1,
        };
        assert_eq!(counted, expected);
    }
}
