//! `modtape recordings`: which there are, all about one, where they lie.

mod info;
mod list;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use super::selection::resolve;
use crate::cli::{Global, RecordingsArgs, RecordingsCommand};
use crate::terminal::{Look, to_stdout};

/// Prints what was asked for.
pub(super) fn run(args: &RecordingsArgs, global: &Global) -> anyhow::Result<ExitCode> {
    match &args.command {
        RecordingsCommand::List { json } => return list::run(*json, global),
        RecordingsCommand::Info { name, json } => info::run(name, *json, global)?,
        RecordingsCommand::Path { name } => match name {
            Some(name) => print_path(&resolve(name, global)?, global)?,
            None => print_path(&global.recordings, global)?,
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the path's own bytes for a program, visible characters on a terminal.
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
