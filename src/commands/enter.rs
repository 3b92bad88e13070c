//! `modtape enter`: the process of a wrapped command before it is the command. Nothing has started a
//! thread here yet.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use super::failure::{Failure, WRAPPER_FAILED};
use crate::cli::EnterArgs;
use crate::netns::{self, EntryError};

/// Becomes the command; what comes back is why not. The recorder says what it was told.
pub(super) fn run(args: &EnterArgs) -> Result<ExitCode, Failure> {
    let inside = serde_json::from_str(&args.inside);
    let inside = inside
        .context("invalid JSON")
        .map_err(|error| Failure::new(WRAPPER_FAILED, error))?;
    match netns::enter(&args.recorder, &inside, &args.command) {
        Ok(never) => match never {},
        Err(EntryError::Told) => Ok(ExitCode::from(WRAPPER_FAILED)),
        Err(error) => Err(Failure::new(WRAPPER_FAILED, anyhow!(error))),
    }
}
