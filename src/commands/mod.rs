//! The verbs: one file each, and the only code that prints, reads the environment or chooses paths.

mod advice;
mod completions;
mod export;
mod files;
mod har;
mod json;
mod listed;
mod ls;
mod man;
mod opened;
mod progress;
mod recordings;
mod show;
mod table;
mod terminal;
mod version;
mod words;

use std::process::ExitCode;

pub use advice::complain;

use crate::cli::{Cli, Command};

/// Does what the command line asks for.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let global = &cli.global;
    match &cli.command {
        Command::Ls(args) => ls::run(args, global),
        Command::Show(args) => show::run(args, global),
        Command::Export(args) => export::run(args, global),
        Command::Recordings(args) => recordings::run(args, global),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args, global),
        Command::Version(args) => version::run(args),
        _ => anyhow::bail!("this command is not there yet"),
    }
}
