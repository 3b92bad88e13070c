//! `modtape cache`: what `modtape serve` keeps.

mod archive;
mod look;
mod pull;
mod purge;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::failure::{Advise as _, Failure, USAGE};
use super::serve::default_store;
use super::session::Variables;
use crate::cli::{CacheArgs, CacheCommand, Global, StoreArgs};
use crate::redact::url_without_secrets;
use crate::serve::Disk;
use crate::terminal::{json, plain, to_stdout};

pub(super) fn run(args: &CacheArgs, global: &Global) -> Result<ExitCode, Failure> {
    match &args.command {
        CacheCommand::Purge(args) => purge::run(args, global),
        CacheCommand::Pull(args) => pull::run(args, global),
        CacheCommand::Ls(args) => look::ls(args, global),
        CacheCommand::Stat(args) => look::stat(args),
        CacheCommand::Verify(args) => look::verify(args, global),
        CacheCommand::Gc(args) => look::gc(args),
        CacheCommand::Export(args) => archive::export(args, global),
        CacheCommand::Import(args) => archive::import(args, global),
    }
}

/// What a verb tells on stdout.
struct Shown<'a, T> {
    /// For people.
    lines: Vec<String>,
    /// For programs.
    json: &'a T,
}

impl<T: Serialize> Shown<'_, T> {
    fn print(self, is_json: bool) -> anyhow::Result<()> {
        let text = match is_json {
            true => json::pretty(self.json)?,
            false => {
                let lines = self.lines.iter().map(|line| format!("{}\n", plain(line)));
                lines.collect()
            }
        };
        to_stdout(|out| Ok(out.write_all(text.as_bytes())?))
    }
}

fn folder(args: &StoreArgs) -> Result<PathBuf, Failure> {
    match &args.store {
        Some(folder) => {
            let text = folder.to_string_lossy();
            if text.contains("://") {
                let url = url_without_secrets(&text);
                let error = anyhow!("--store {url}: these verbs look after folders");
                let error = Err::<(), _>(error).help("`modtape serve` fills a shared store");
                return Err(Failure::new(USAGE, error.expect_err("it is one")));
            }
            Ok(folder.clone())
        }
        None => Ok(default_store(&Variables::read())?),
    }
}

/// The store that is named, or the default one; an error if it has never been one.
fn opened(args: &StoreArgs) -> Result<(PathBuf, Disk), Failure> {
    let folder = folder(args)?;
    let shown = folder.display().to_string();
    let disk = Disk::existing(&folder).with_context(|| format!("cannot open {shown}"))?;
    let disk = disk.with_context(|| format!("{shown} holds no answers"));
    let disk = disk.help("--store DIR names the folder of `modtape serve`")?;
    Ok((folder, disk))
}

/// The same; made, if there is none.
fn made(args: &StoreArgs) -> Result<(PathBuf, Disk), Failure> {
    let folder = folder(args)?;
    let disk = Disk::open(&folder);
    let disk = disk.with_context(|| format!("cannot keep anything in {}", folder.display()));
    Ok((folder, disk.help("--store DIR names another folder")?))
}
