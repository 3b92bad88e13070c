//! What tells of modtape itself: `completions`, `man`, `help`, `version`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// `modtape completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// `modtape man`
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command to this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// `modtape version`
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `modtape help`
#[derive(Debug, Args)]
pub(crate) struct HelpArgs {
    /// A command, or a topic: filter, exit-codes, environment
    #[arg(value_name = "COMMAND|TOPIC")]
    pub(crate) about: Vec<String>,
}
