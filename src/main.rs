//! Parse, run, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use modtape::cli::Cli;
use modtape::commands;

/// The exit code of a command that could not do what it was asked for.
const COULD_NOT: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    commands::run(&cli).unwrap_or_else(|error| {
        commands::complain(&error, &cli.global);
        ExitCode::from(COULD_NOT)
    })
}
