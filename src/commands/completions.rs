//! `modtape completions`: what a shell needs to complete our command line.

use std::process::ExitCode;

use clap::CommandFactory as _;

use super::terminal::to_stdout;
use crate::cli::{Cli, CompletionsArgs};

/// Prints the script.
pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    // The generator panics if it cannot write, so it writes where that cannot be.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "modtape", &mut script);
    to_stdout(|out| Ok(out.write_all(&script)?))?;
    Ok(ExitCode::SUCCESS)
}
