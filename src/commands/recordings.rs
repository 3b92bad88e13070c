//! `modtape recordings`: which there are, all about one, where they lie.

mod info;
mod list;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use super::terminal::{Look, to_stdout};
use crate::cli::{Global, RecordingsArgs, RecordingsCommand};
use crate::clock::{Timestamp, wall_text_at};
use crate::recording::format::{Manifest, Totals};
use crate::recording::reader::Status;
use crate::recording::{Recording, folder};

/// Prints what was asked for.
pub(super) fn run(args: &RecordingsArgs, global: &Global) -> anyhow::Result<ExitCode> {
    match &args.command {
        RecordingsCommand::List { json } => return list::run(*json, global),
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

/// When a recording was started, as every output has it; as it stands there where it is no time.
fn started(manifest: &Manifest) -> String {
    let started = wall_text_at(&manifest.started, Timestamp::default());
    started.unwrap_or_else(|| manifest.started.clone())
}

/// What the manifest counts at close; counted here while there is no close.
fn totals(recording: &Recording) -> (Totals, u64) {
    if matches!(recording.status(), Status::Closed | Status::Sealed) {
        let manifest = recording.manifest();
        return (manifest.totals, manifest.wall_us);
    }
    let totals = recording.table().totals();
    (totals, recording.table().last.as_micros())
}
