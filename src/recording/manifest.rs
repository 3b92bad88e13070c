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
    #[error("{MANIFEST} is longer than {MANIFEST_LIMIT} octets")]
    TooLong,
    /// It is not the JSON that it should be.
    #[error("{MANIFEST} is damaged")]
    Damaged(#[source] serde_json::Error),
    /// It cannot be read.
    #[error("cannot read {MANIFEST}")]
    Unreadable(#[source] io::Error),
}

/// Reads the manifest of the recording in `dir`.
pub fn read_manifest(dir: &Path) -> Result<Manifest, ManifestError> {
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
        },
        exit_code: table.close.as_ref().and_then(|close| close.exit_code),
    })
}

fn totals(table: &Table) -> Totals {
    let rows = || table.rows.iter();
    let opened = || table.connections.values().flat_map(ConnectionRow::dials);
    let tunnels = table.connections.values().filter(|row| {
        let opened = row.opened.as_ref();
        opened.is_some_and(|opened| opened.mode == Mode::Tunnel)
    });
    let made_by_us = |row: &&Row| row.made_by == Some(MadeBy::Modtape);
    Totals {
        exchanges: rows().count() as u64,
        aborted: rows().filter(|row| row.state != RowState::Ended).count() as u64,
        made_by_modtape: rows().filter(made_by_us).count() as u64,
        connections: table.connections.len() as u64,
        tunnels: opened()
            .filter(|opened| opened.mode == Mode::Tunnel)
            .count() as u64,
        body_bytes: rows().fold(0, |sum, row| sum.saturating_add(row.bytes)),
        tunnel_bytes: tunnels
            .filter_map(|row| row.closed.as_ref())
            .flat_map(|closed| [closed.from_client_bytes, closed.to_client_bytes])
            .fold(0, u64::saturating_add),
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
