//! `modtape cache ls`, `stat`, `verify` and `gc`: what a store has, how it is, and what can go.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use serde::Serialize;

use super::{Shown, opened};
use crate::cli::{CacheGcArgs, CacheLsArgs, CacheStatArgs, CacheVerifyArgs, Global};
use crate::clock::{Clock, wall_text};
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::commands::runtime::{Stop, block_on};
use crate::commands::session::Variables;
use crate::gomod::Kind;
use crate::serve::{Audit, ByKind, Finding, Inventory, Kept, Lying, Sweep, Swept, Truth};
use crate::terminal::words::{count, size};
use crate::terminal::{Progress, say};

/// The exit code where something is damaged.
const DAMAGED: u8 = 1;

/// A module of a store.
#[derive(Debug, Default, Serialize)]
struct Module {
    module: String,
    versions: Vec<Version>,
    /// Of all bodies.
    bytes: u64,
}

/// A version of a module, or a branch.
#[derive(Debug, Default, Serialize)]
struct Version {
    version: String,
    /// `info`, `mod`, `zip`.
    files: BTreeSet<&'static str>,
    /// Whether a module proxy could serve it with no upstream.
    whole: bool,
    bytes: u64,
    /// When one of them was last used, to the hour, RFC 3339 in UTC.
    used: String,
}

pub(super) fn ls(args: &CacheLsArgs, global: &Global) -> Result<ExitCode, Failure> {
    let (_, disk) = opened(&args.store)?;
    let inventory = disk.inventory().context("cannot read the store")?;
    let mut modules = modules(&inventory.kept);
    if let Some(module) = &args.module {
        modules.retain(|it| it.module == *module);
        if modules.is_empty() {
            let error = Err::<(), _>(anyhow::anyhow!("the store has nothing of {module}"));
            let error = error.help("`modtape cache ls` lists what it has");
            return Err(error.expect_err("it is one").into());
        }
    }
    let lines = match &args.module {
        None => modules.iter().map(Module::line).collect(),
        Some(_) => modules.iter().flat_map(Module::version_lines).collect(),
    };
    Shown {
        lines,
        json: &modules,
    }
    .print(args.store.json)?;
    if args.module.is_none() {
        let all = modules.iter().map(|module| module.bytes).sum();
        let modules = count(modules.len() as u64, "module");
        say(global, format!("{modules}, {}", size(all)));
    }
    Ok(ExitCode::SUCCESS)
}

impl Module {
    fn line(&self) -> String {
        let whole = self.versions.iter().filter(|version| version.whole).count();
        let versions = count(self.versions.len() as u64, "version");
        format!(
            "{}  {versions}, {whole} whole  {}",
            self.module,
            size(self.bytes)
        )
    }

    fn version_lines(&self) -> Vec<String> {
        let line = |version: &Version| {
            let files: Vec<_> = version.files.iter().copied().collect();
            format!(
                "{}  {}  {}  used {}",
                version.version,
                files.join(","),
                size(version.bytes),
                version.used
            )
        };
        self.versions.iter().map(line).collect()
    }
}

fn modules(kept: &[Kept]) -> Vec<Module> {
    let mut modules: BTreeMap<&str, BTreeMap<&str, (Version, SystemTime)>> = BTreeMap::new();
    for kept in kept.iter().filter(|kept| kept.is_found()) {
        let item = &kept.item;
        let kind = match item.kind() {
            Kind::Info => "info",
            Kind::Mod => "mod",
            Kind::Zip | Kind::Toolchain => "zip",
            _ => continue,
        };
        let versions = modules.entry(item.module()).or_default();
        let entry = versions.entry(item.version());
        let (version, used) = entry.or_insert_with(|| (Version::default(), SystemTime::UNIX_EPOCH));
        version.files.insert(kind);
        version.bytes += kept.bytes;
        *used = kept.used.max(*used);
    }
    let module = |(module, versions): (&str, BTreeMap<&str, (Version, SystemTime)>)| {
        let version = |(version, (of, used)): (&str, (Version, SystemTime))| Version {
            version: version.to_owned(),
            whole: of.files.len() == 3,
            used: instant(used),
            ..of
        };
        let mut versions: Vec<_> = versions.into_iter().map(version).collect();
        versions.sort_by(|a, b| crate::gomod::compare_versions(&a.version, &b.version));
        Module {
            module: module.to_owned(),
            bytes: versions.iter().map(|version| version.bytes).sum(),
            versions,
        }
    };
    modules.into_iter().map(module).collect()
}

fn instant(at: SystemTime) -> String {
    wall_text(at.into()).unwrap_or_default()
}

/// What a store has, in figures.
#[derive(Debug, Serialize)]
struct Stat {
    store: String,
    /// Files of answers and bodies.
    files: u64,
    /// Their bytes.
    bytes: u64,
    by_kind: ByKind,
    /// RFC 3339 in UTC; `null` in an empty store.
    oldest_use: Option<String>,
    newest_use: Option<String>,
    /// Bodies that no answer names: `modtape cache gc` removes them after an hour.
    unnamed: u64,
    /// Files that are being written, or were when a process was killed.
    unfinished: u64,
    damaged: u64,
}

pub(super) fn stat(args: &CacheStatArgs) -> Result<ExitCode, Failure> {
    let (folder, disk) = opened(&args.store)?;
    let Inventory {
        kept,
        damaged,
        files,
        unnamed,
        unfinished,
    } = disk.inventory().context("cannot read the store")?;
    let used = |file: &Lying| file.used;
    let stat = Stat {
        store: folder.display().to_string(),
        files: files.len() as u64,
        bytes: files.iter().map(|file| file.bytes).sum(),
        by_kind: ByKind::of(&kept),
        oldest_use: files.iter().map(used).min().map(instant),
        newest_use: files.iter().map(used).max().map(instant),
        unnamed: unnamed.len() as u64,
        unfinished: unfinished.len() as u64,
        damaged: damaged.len() as u64,
    };
    let mut lines = vec![format!(
        "{}: {}, {}",
        stat.store,
        count(stat.files, "file"),
        size(stat.bytes)
    )];
    let kinds = stat.by_kind.0.iter();
    lines.extend(kinds.map(|(kind, amount)| {
        format!(
            "  {kind}: {}, {}",
            count(amount.answers, "answer"),
            size(amount.bytes)
        )
    }));
    if let (Some(oldest), Some(newest)) = (&stat.oldest_use, &stat.newest_use) {
        lines.push(format!("  used between {oldest} and {newest}"));
    }
    for (number, what) in [
        (stat.unnamed, "that no answer names (`modtape cache gc`)"),
        (
            stat.unfinished,
            "being written, or left by a process that was killed",
        ),
        (stat.damaged, "damaged (`modtape cache verify`)"),
    ] {
        if number > 0 {
            lines.push(format!("  {} {what}", count(number, "file")));
        }
    }
    Shown { lines, json: &stat }.print(args.store.json)?;
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with an answer.
#[derive(Debug, Serialize)]
struct Fault {
    /// Its path below a module proxy, or below the folder of answers.
    path: String,
    why: String,
}

/// What came of looking through a store.
#[derive(Debug, Default, Serialize)]
struct Verified {
    /// Answers that are as they should be.
    right: u64,
    /// Answers of which what would prove them is not in the store.
    unproved: Vec<Fault>,
    damaged: Vec<Fault>,
    /// Whether those were removed.
    removed: bool,
    /// Whether a signal came before the end.
    stopped: bool,
}

pub(super) fn verify(args: &CacheVerifyArgs, global: &Global) -> Result<ExitCode, Failure> {
    let stop = Stop::listen()?;
    let verified = block_on(verified(args, &stop, global))??;
    let mut lines: Vec<_> = verified.damaged.iter().map(Fault::line).collect();
    lines.extend(verified.unproved.iter().map(Fault::unproved_line));
    Shown {
        lines,
        json: &verified,
    }
    .print(args.store.json)?;
    let damaged = count(verified.damaged.len() as u64, "answer");
    let removed = match (verified.damaged.is_empty(), verified.removed) {
        (true, _) => "",
        (false, true) => " and removed",
        (false, false) => ": --fix removes what is damaged",
    };
    say(
        global,
        format!(
            "{} right, {} without what would prove it here, {damaged} damaged{removed}",
            count(verified.right, "answer"),
            verified.unproved.len()
        ),
    );
    if let Some(code) = stop.code().filter(|_| verified.stopped) {
        let error = anyhow::anyhow!("stopped by a signal: not all was looked at");
        return Err(Failure::new(code, error));
    }
    Ok(match verified.damaged.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(DAMAGED),
    })
}

impl Fault {
    fn line(&self) -> String {
        format!("{}: {}", self.path, self.why)
    }

    fn unproved_line(&self) -> String {
        format!("{}: not proved: {}", self.path, self.why)
    }
}

async fn verified(
    args: &CacheVerifyArgs,
    stop: &Stop,
    global: &Global,
) -> Result<Verified, Failure> {
    let (_, disk) = opened(&args.store)?;
    let go = Variables::read().go_settings_of(&[]).await;
    let truth = Truth::new(go.get("GOSUMDB"), go.get("GONOSUMDB"));
    let truth = truth.map_err(|why| Failure::new(USAGE, anyhow::anyhow!(why)))?;
    let inventory = disk.inventory().context("cannot read the store")?;
    let mut verified = Verified {
        removed: args.fix,
        ..Verified::default()
    };
    for (path, why) in inventory.damaged {
        if args.fix {
            let removed = std::fs::remove_file(&path);
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let path = path.display().to_string();
        verified.damaged.push(Fault { path, why });
    }
    let audit = Audit::new(Clock::start(), &disk, truth);
    let mut progress = Progress::new("answer", inventory.kept.len(), global);
    for (number, kept) in inventory.kept.iter().enumerate() {
        progress.step(number);
        let finding = tokio::select! {
            finding = audit.judge(kept) => finding,
            () = stop.heard() => {
                verified.stopped = true;
                break;
            }
        };
        let path = kept.item.path().to_owned();
        match finding {
            Finding::Right => verified.right += 1,
            Finding::Unproved(why) => verified.unproved.push(Fault { path, why }),
            // Listed, and never removed: it may be right.
            Finding::Unread(why) => verified.damaged.push(Fault {
                path,
                why: format!("cannot be read, and stays: {why}"),
            }),
            Finding::Damaged(why) => {
                if args.fix {
                    let removed = disk.discard(kept);
                    removed.with_context(|| format!("cannot remove {path}"))?;
                }
                verified.damaged.push(Fault { path, why });
            }
        }
    }
    drop(progress);
    audit.close().await;
    Ok(verified)
}

/// What went.
#[derive(Debug, Serialize)]
struct Collected {
    #[serde(flatten)]
    swept: Swept,
    /// Whether it only would have.
    dry_run: bool,
}

pub(super) fn gc(args: &CacheGcArgs) -> Result<ExitCode, Failure> {
    let (_, disk) = opened(&args.store)?;
    let sweep = Sweep {
        most: args.disk_max,
        older: args.older,
        is_dry: args.dry_run,
    };
    let swept = disk
        .sweep_by(&sweep)
        .context("cannot make room in the store")?;
    let removed = match args.dry_run {
        true => "would be removed",
        false => "removed",
    };
    let line = format!(
        "{}, {} {removed}, {} of them bodies that no answer names; {} {removed} that was being written; {} left",
        count(swept.files, "file"),
        size(swept.bytes),
        swept.unnamed,
        count(swept.leftovers, "file"),
        size(swept.left)
    );
    let collected = Collected {
        swept,
        dry_run: args.dry_run,
    };
    Shown {
        lines: vec![line],
        json: &collected,
    }
    .print(args.store.json)?;
    Ok(ExitCode::SUCCESS)
}
