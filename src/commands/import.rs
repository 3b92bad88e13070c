//! `modtape import`: another tool's file becomes a recording, whole or not at all.
//!
//! What is odd about a file is said in one line a kind. Never holds more than a few entries in memory.

mod writing;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;

use super::failure::Failure;
use super::record::Naming;
use super::stop::Stop;
use crate::cli::{Global, ImportArgs};
use crate::import::file::HarFile;
use crate::import::har::survey;
use crate::import::{LeftOut, Oddities, Oddity};
use crate::recording::format::Fault;
use crate::redact::Redactor;
use crate::shell;
use crate::terminal::words::count;
use crate::terminal::{plain, say, warn};
use crate::tls;
use writing::Source;

/// Makes a recording of the file: a failure if some of it had to be left out.
pub(super) fn run(args: &ImportArgs, global: &Global) -> Result<ExitCode, Failure> {
    let told = || format!("cannot import {}", args.file.display());
    let file = HarFile::open(&args.file).with_context(told)?;
    let survey = survey(file.bytes().with_context(told)?).with_context(told)?;
    let verb = String::from("har");
    let naming = Naming::named(args.output.as_deref(), args.force, verb, global)?;
    naming.check()?;
    let redactor = match args.no_redact {
        true => Redactor::off(),
        false => Redactor::new(tls::random()),
    };
    if args.no_redact {
        say(
            global,
            "modtape: --no-redact: the recording will hold secrets in clear text",
        );
    }
    let (pages, cut, odd) = (
        survey.pages,
        survey.is_cut.then_some(survey.entries),
        survey.odd.clone(),
    );
    let source = Source { file, survey };
    let stop = Stop::listen()?;
    let written =
        super::runtime::block_on(writing::write(source, naming, redactor, (&stop, global)))?;
    let (naming, tally) = stop.explain(written)?;
    if pages > 1 {
        say(global, format!("{pages} pages became one run"));
    }
    tell(&tally, &odd, cut, global);
    let (name, dir) = (naming.name(), naming.dir.to_string_lossy());
    let exchanges = count(tally.exchanges, "exchange");
    let see = format!("see it with `modtape ls {}`", shell::word(&dir));
    say(
        global,
        plain(&format!("{exchanges} imported as {name}; {see}")),
    );
    let is_whole = cut.is_none() && !tally.left_out.keys().any(|why| why.is_loss());
    Ok(match is_whole {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(super::failure::FAILED),
    })
}

/// What became of a file's entries.
#[derive(Debug, Default)]
struct Tally {
    exchanges: u64,
    left_out: BTreeMap<LeftOut, Entries>,
    odd: BTreeMap<Oddity, Entries>,
    /// Answers that are not what they were asked for.
    faults: Vec<Fault>,
}

/// How many of them are named.
const NAMED: usize = 20;

/// How many entries, and the number of the first of them.
#[derive(Debug, Clone, Copy)]
struct Entries {
    count: u64,
    first: u64,
}

impl Entries {
    fn add<K: Ord>(kinds: &mut BTreeMap<K, Self>, kind: K, number: u64) {
        let none = Self {
            count: 0,
            first: number,
        };
        kinds.entry(kind).or_insert(none).count += 1;
    }
}

impl std::fmt::Display for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.count {
            1 => write!(f, "entry {}", self.first),
            count => write!(f, "{count} entries from entry {} on", self.first),
        }
    }
}

impl Tally {
    fn took(&mut self, number: u64, odd: &Oddities) {
        self.exchanges += 1;
        for oddity in odd.iter() {
            Entries::add(&mut self.odd, oddity, number);
        }
    }

    fn left_out(&mut self, number: u64, why: LeftOut) {
        Entries::add(&mut self.left_out, why, number);
    }
}

/// Says each kind once, in words of HAR; `cut` is the number of entries before the file's end.
fn tell(tally: &Tally, odd: &Oddities, cut: Option<u64>, global: &Global) {
    if let Some(entries) = cut {
        let noun = if entries == 1 { "entry" } else { "entries" };
        let whole = format!("{entries} whole {noun}");
        warn(
            global,
            format!("the file is cut off or damaged: it has {whole}"),
        );
    }
    for (why, entries) in &tally.left_out {
        match why.is_loss() {
            true => warn(global, format!("left out {entries}: {why}")),
            false => say(global, format!("left out {entries}: {why}")),
        }
    }
    for (oddity, entries) in &tally.odd {
        say(global, format!("{entries}: {}", oddity.words()));
    }
    for fault in tally.faults.iter().take(NAMED) {
        warn(global, plain(&fault.to_string()));
    }
    if let Some(more @ 1..) = tally.faults.len().checked_sub(NAMED) {
        let answers = count(more as u64, "more answer");
        warn(global, format!("{answers} not what was asked for"));
    }
    for oddity in odd.iter() {
        say(
            global,
            format!("outside of the entries: {}", oddity.words()),
        );
    }
}
