//! `modtape cache`: what `modtape serve` keeps.

mod purge;

use std::process::ExitCode;

use super::failure::Failure;
use crate::cli::{CacheArgs, CacheCommand, Global};

pub(super) fn run(args: &CacheArgs, global: &Global) -> Result<ExitCode, Failure> {
    match &args.command {
        CacheCommand::Purge(args) => purge::run(args, global),
    }
}
