//! `modtape version`: which modtape this is, and which recordings it reads.

use std::process::ExitCode;

use serde::Serialize;

use super::json;
use super::terminal::to_stdout;
use crate::cli::VersionArgs;
use crate::recording::format::FORMAT_VERSION;

/// What `version --json` shows.
#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
    recording_format: u32,
    os: &'static str,
    arch: &'static str,
}

/// Prints the version.
pub(super) fn run(args: &VersionArgs) -> anyhow::Result<ExitCode> {
    let version = Version {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        recording_format: FORMAT_VERSION,
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
    };
    let text = match args.json {
        true => json::line(&version)?,
        false => format!("{} {}\n", version.name, version.version),
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(ExitCode::SUCCESS)
}
