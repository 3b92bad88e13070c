//! `modtape seal`: asks for what a recording lacks, so that every command finds what it needs in it, and proves
//! all of it by the checksum database.
//!
//! What is asked goes through a proxy of our own and is appended to the journal as a run of its own. It
//! may stop at any point: the next time, only what is still missing is asked for.

mod asking;
mod holdings;
mod judgement;
mod sources;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;
use serde::Serialize;

use self::asking::{Asking, Work};
use self::judgement::Missing;
pub(super) use self::judgement::{Judgement, Terms};
use super::answers;
use super::appended_run::Locked;
use super::client::{Client, Credentials, IDLE, Outward};
use super::dialling;
use super::failure::{Advise as _, Failure, USAGE};
use super::runtime::{Stop, block_on};
use super::selection::resolve;
use super::session::Variables;
use crate::cli::{Global, SealArgs};
use crate::clock::Clock;
use crate::diagnose::content::Checked;
use crate::diagnose::routes::Routes;
use crate::exchange::{Hex, TraceFlags, TraceParent};
use crate::gomod::bases;
use crate::recording::Recording;
use crate::recording::format::{Manifest, State};
use crate::redact::Redactor;
use crate::sockets::OwnSockets;
use crate::terminal::words::{count, size};
use crate::terminal::{Progress, plain, say, say_always, to_stdout};
use crate::tls::{self, RootSources, Roots};

/// The verb, as it stands in the journal.
const VERB: &str = "seal";

/// The exit code of a recording that is not sealed after all.
const NOT_SEALED: u8 = 1;

/// How many answers that are missing are named.
const NAMED: usize = 10;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Sealed {
    /// The version of the keys.
    schema: u32,
    /// Whether the recording answers every command.
    sealed: bool,
    #[serde(flatten)]
    judged: Judgement,
    /// Requests that were sent.
    asked: u64,
    /// Bytes of their responses.
    bytes: u64,
    /// Files of which all who were asked say that there is no such thing.
    absent: u64,
}

/// Runs the verb.
pub(super) fn run(args: &SealArgs, global: &Global) -> Result<ExitCode, Failure> {
    let dir = resolve(&args.name, global)?;
    seal(&dir, args, global)
}

/// Seals the recording in `dir`, and says so.
pub(super) fn seal(dir: &Path, args: &SealArgs, global: &Global) -> Result<ExitCode, Failure> {
    let sealed = block_on(complete(dir, args, global))??;
    if args.json {
        let text = serde_json::to_string(&sealed).map_err(anyhow::Error::new)?;
        to_stdout(|out| Ok(writeln!(out, "{text}")?))?;
    }
    let name = name_of(dir);
    if sealed.sealed {
        say(global, told(&name, &sealed));
        return Ok(ExitCode::SUCCESS);
    }
    say_always(hindrances(&sealed.judged));
    Err(Failure::new(NOT_SEALED, not_sealed(&name, &sealed.judged)))
}

fn name_of(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or(dir.as_os_str());
    name.to_string_lossy().into_owned()
}

fn told(name: &str, sealed: &Sealed) -> String {
    let Sealed { asked, bytes, .. } = sealed;
    let Judgement {
        versions,
        modules,
        zips,
        absent_zips,
        lookups,
        tiles,
        ..
    } = &sealed.judged;
    let asked = match asked {
        0 => String::from("nothing had to be asked"),
        asked => format!(
            "{} sent, {} received",
            count(*asked, "request"),
            size(*bytes)
        ),
    };
    let versions = count(*versions as u64, "version");
    let modules = count(*modules as u64, "module");
    let database = match lookups {
        0 => String::from("no checksum database"),
        lookups => format!(
            "{} proved by {}",
            count(*lookups as u64, "record"),
            count(*tiles as u64, "tile")
        ),
    };
    let absent = match absent_zips {
        0 => String::new(),
        absent => format!(", {} that nobody has", count(*absent as u64, "zip")),
    };
    format!(
        "modtape: sealed {name}: {versions} of {modules}, {zips} with zips{absent}; {database}; {asked}"
    )
}

/// The lines that say what keeps a recording from being sealed.
fn hindrances(judged: &Judgement) -> String {
    let mut lines: Vec<String> = judged.wrong.iter().take(NAMED).cloned().collect();
    if judged.wrong.len() > NAMED {
        lines.push(format!("and {} more", judged.wrong.len() - NAMED));
    }
    let mut by_failure: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for Missing { host, why, what } in &judged.missing {
        by_failure.entry((host, why)).or_default().push(what);
    }
    let failures = by_failure.len();
    for ((host, why), whats) in by_failure.into_iter().take(NAMED) {
        let more = match whats.len() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        lines.push(format!("{}{more}: {host}: {why}", whats[0]));
    }
    if failures > NAMED {
        lines.push(format!("and {} more reasons", failures - NAMED));
    }
    let lines = lines.iter().map(|line| format!("  {}", plain(line)));
    lines.collect::<Vec<_>>().join("\n")
}

fn not_sealed(name: &str, judged: &Judgement) -> anyhow::Error {
    let (missing, wrong) = (judged.missing(), judged.wrong.len());
    let (what, help) = match (missing, wrong) {
        (1.., _) => (
            format!("{} missing", count(missing, "answer")),
            String::from(
                "what was answered is kept: `modtape seal` asks for the rest the next time",
            ),
        ),
        _ => (
            String::from("not all of it is as it should be"),
            String::from(
                "record it again, from a proxy that is sound; `modtape verify` says more of module files",
            ),
        ),
    };
    let error = Err::<(), _>(anyhow!("{name} is not sealed: {what}"));
    error.help(help).expect_err("it is one")
}

/// Asks for what the recording in `dir` lacks, and closes it.
async fn complete(dir: &Path, args: &SealArgs, global: &Global) -> Result<Sealed, Failure> {
    let overrides = dialling::overrides(&args.dial).map_err(|error| Failure::new(USAGE, error))?;
    let variables = Variables::read();
    let parents = dialling::parents(&args.dial, &variables);
    let parents = parents.map_err(|error| Failure::new(USAGE, error))?;
    let roots = Roots::load(&RootSources {
        file: variables.ssl_cert_file.clone(),
        dirs: variables.ssl_cert_dir.clone(),
        extra: args.dial.upstream_ca.clone(),
    })
    .map_err(anyhow::Error::new)?;
    let own = variables.go_settings().await;
    let stop = Stop::listen()?;
    let clock = Clock::start();
    let mut locked = Locked::open(dir)?;
    let stopped = || {
        let name = name_of(dir);
        let error = Err::<(), _>(anyhow!("stopped by a signal: {name} is not sealed yet"));
        let error =
            error.help("what was answered is kept: `modtape seal` asks for the rest the next time");
        let code = stop.code().unwrap_or(NOT_SEALED);
        Failure::new(code, error.expect_err("it is one"))
    };
    answers::complete_faults(&mut locked.before, &stop, global).ok_or_else(stopped)?;
    let manifest = locked.before.manifest();
    let was_sealed = manifest.state == State::Sealed;
    let terms = Terms::of(manifest, &own, args.all)?;
    let mut asking = Asking::of(&locked.before, &own, terms);
    let outward = Outward {
        sockets: OwnSockets::default(),
        exposed: None,
        overrides,
        parents,
        roots,
        idle: args.upstream_idle_timeout.unwrap_or(IDLE),
        redactor: Redactor::new(tls::random()),
        bases: bases(&manifest.go_env),
        credentials: Credentials::of_user(&variables, &own),
        parent: TraceParent {
            trace: Hex(tls::random()),
            span: Hex(tls::random()),
            flags: TraceFlags::SAMPLED,
        },
        last_ids: locked.before.last_ids(),
    };
    let mut work = Work {
        clock,
        outward: Some(outward),
        locked: Some(locked),
        running: None,
        progress: Progress::new("request", 0, global),
        sent: 0,
    };
    let asked = tokio::select! {
        asked = asking.ask_all(&mut work) => asked,
        () = stop.heard() => Ok(()),
    };
    let sealed = close(asking, work, (was_sealed, args.all), &stop, global).await;
    asked?;
    sealed?.ok_or_else(stopped)
}

/// Closes the run, if there is one, judges what is on the recording then, and says what came of it; `None` if a
/// signal stopped it.
async fn close(
    asking: Asking,
    work: Work,
    (was_sealed, all_zips): (bool, bool),
    stop: &Stop,
    global: &Global,
) -> anyhow::Result<Option<Sealed>> {
    let mut sealed = None;
    let mut judge =
        |recording: &Recording, routes: &Routes, checked: &Checked, manifest: &mut Manifest| {
            let judged = asking
                .terms
                .judge_asked(recording, routes, checked, &asking.failed);
            let is_whole = judged.is_whole();
            if is_whole {
                manifest.state = State::Sealed;
                manifest.replayable.complete = true;
                manifest.replayable.reasons.clear();
            } else if was_sealed && all_zips && judged.wrong.is_empty() {
                // Without the further zips it is what it was.
                manifest.state = State::Sealed;
            }
            sealed = Some(Sealed {
                schema: 1,
                sealed: is_whole,
                judged,
                absent: asking.absent,
                ..Sealed::default()
            });
        };
    let Work {
        running, locked, ..
    } = work;
    let (mut asked, mut bytes) = (0, 0);
    match (running, locked) {
        (Some((run, client)), _) => {
            Client::close(client).await;
            let totals = run.recorder.totals();
            (asked, bytes) = (totals.exchanges, totals.body_bytes);
            run.close(stop, global, &mut judge).await?;
        }
        (None, Some(locked)) => locked.close(stop, global, &mut judge)?,
        (None, None) => {}
    }
    Ok(sealed.map(|sealed| Sealed {
        asked,
        bytes,
        ..sealed
    }))
}
