//! `modtape recordings`: which there are, all about one, where they lie.

mod info;
mod list;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use super::terminal::{Look, to_stdout};
use crate::cli::{Global, RecordingsArgs, RecordingsCommand};
use crate::exchange::{MadeBy, Mode};
use crate::recording::Recording;
use crate::recording::folder;
use crate::recording::format::Totals;
use crate::recording::reader::{ConnectionRow, RowState, Status};

/// Prints what was asked for.
pub(super) fn run(args: &RecordingsArgs, global: &Global) -> anyhow::Result<ExitCode> {
    match &args.command {
        RecordingsCommand::List { json } => list::run(*json, global)?,
        RecordingsCommand::Info { name, json } => info::run(name, *json, global)?,
        RecordingsCommand::Path { name } => match name {
            Some(name) => print_path(&folder::resolve(&global.recordings, name)?, global)?,
            None => print_path(&global.recordings, global)?,
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// To a program the path's own octets, to a terminal visible characters.
fn print_path(path: &Path, global: &Global) -> anyhow::Result<()> {
    let look = Look::of_stdout(global);
    to_stdout(|out| {
        if look.is_terminal {
            writeln!(out, "{}", look.plain(&path.to_string_lossy()))?;
        } else {
            out.write_all(path.as_os_str().as_bytes())?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
}

const fn status_word(status: Status) -> &'static str {
    match status {
        Status::Closed => "closed",
        Status::Sealed => "sealed",
        Status::Recording => "recording",
        Status::Unfinished => "unfinished",
    }
}

/// What the manifest counts at close; counted here while there is no close.
fn totals(recording: &Recording) -> (Totals, u64) {
    let manifest = recording.manifest();
    if matches!(recording.status(), Status::Closed | Status::Sealed) {
        return (manifest.totals, manifest.wall_us);
    }
    let rows = recording.rows();
    let count = |counted: usize| counted as u64;
    let opened = recording.connections().flat_map(ConnectionRow::dials);
    let tunnels = opened.filter(|opened| opened.mode == Mode::Tunnel).count();
    let tunnel_bytes = recording
        .connections()
        .filter_map(|row| row.closed.as_ref())
        .filter(|closed| closed.tunnel)
        .map(|closed| {
            closed
                .from_client_bytes
                .saturating_add(closed.to_client_bytes)
        })
        .fold(0, u64::saturating_add);
    let ended = rows.iter().filter(|row| row.state == RowState::Ended);
    let ours = rows
        .iter()
        .filter(|row| row.made_by == Some(MadeBy::Modtape));
    let totals = Totals {
        exchanges: count(rows.len()),
        aborted: count(rows.len() - ended.count()),
        made_by_modtape: count(ours.count()),
        connections: count(recording.connections().count()),
        tunnels: count(tunnels),
        body_bytes: rows
            .iter()
            .fold(0, |sum, row| row.bytes.saturating_add(sum)),
        tunnel_bytes,
        gaps: count(recording.gaps().len()),
    };
    (totals, recording.table().last.as_micros())
}
