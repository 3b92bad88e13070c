//! `modtape import`: another tool's file becomes a recording, whole or not at all.
//!
//! Problems of a file are reported in one line per kind. Never holds more than a few entries in
//! memory.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::answers;
use super::failure::{FAILED, Failure};
use super::naming::Naming;
use super::record::TOOL;
use super::runtime::{Stop, block_on};
use crate::cli::{Global, ImportArgs};
use crate::clock::{Clock, Timestamp, wall_text};
use crate::diagnose::content::Checked;
use crate::diagnose::routes::Routes;
use crate::exchange::{Body, Ending, Exchange, Hex};
use crate::files::Working;
use crate::import::file::HarFile;
use crate::import::har::{HarError, Survey, entries, survey};
use crate::import::{Imported, LeftOut, Oddities, Oddity};
use crate::recording::format::{
    Close, Connection, Event, FAULTS, FORMAT_VERSION, Fault, Manifest, Open, Replayable, State,
};
use crate::recording::manifest::write_manifest;
use crate::recording::{Durability, Journal, Recorder, Recording, writer};
use crate::redact::Redactor;
use crate::shell;
use crate::terminal::words::count;
use crate::terminal::{plain, say, warn};
use crate::tls;

/// Makes a recording of the file. Leaving out some of it is a failure.
pub(super) fn run(args: &ImportArgs, global: &Global) -> Result<ExitCode, Failure> {
    let message = || format!("cannot import {}", args.file.display());
    let file = HarFile::open(&args.file).with_context(message)?;
    let survey = survey(file.bytes().with_context(message)?).with_context(message)?;
    let verb = String::from("har");
    let mut naming = Naming::named(args.output.as_deref(), args.force, verb, global)?;
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
    let (pages, cut, oddities) = (
        survey.pages,
        survey.is_cut.then_some(survey.entries),
        survey.oddities.clone(),
    );
    let source = Source { file, survey };
    let stop = Stop::listen()?;
    let written = block_on(write(source, &mut naming, redactor, &stop, global))?;
    let tally = stop.explain(written)?;
    if pages > 1 {
        say(global, format!("{pages} pages were merged into one run"));
    }
    print_problems(&tally, &oddities, cut, global);
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
        false => ExitCode::from(FAILED),
    })
}

/// What was done with the entries of a file.
#[derive(Debug, Default)]
struct Tally {
    exchanges: u64,
    left_out: BTreeMap<LeftOut, Entries>,
    oddities: BTreeMap<Oddity, Entries>,
    /// Responses with the wrong content.
    faults: Vec<Fault>,
}

/// How many responses with the wrong content are named.
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
    fn imported(&mut self, number: u64, oddities: &Oddities) {
        self.exchanges += 1;
        for oddity in oddities.iter() {
            Entries::add(&mut self.oddities, oddity, number);
        }
    }

    fn left_out(&mut self, number: u64, why: LeftOut) {
        Entries::add(&mut self.left_out, why, number);
    }
}

/// Reports each kind once, in the terms of HAR; `cut` is the number of entries in a truncated file.
fn print_problems(tally: &Tally, oddities: &Oddities, cut: Option<u64>, global: &Global) {
    if let Some(entries) = cut {
        let noun = if entries == 1 { "entry" } else { "entries" };
        let whole = format!("it has {entries} complete {noun}");
        warn(global, format!("the file is truncated or damaged: {whole}"));
    }
    for (why, entries) in &tally.left_out {
        match why.is_loss() {
            true => warn(global, format!("left out {entries}: {why}")),
            false => say(global, format!("left out {entries}: {why}")),
        }
    }
    for (oddity, entries) in &tally.oddities {
        say(global, format!("{entries}: {}", oddity.words()));
    }
    for fault in tally.faults.iter().take(NAMED) {
        warn(global, plain(&fault.to_string()));
    }
    if let Some(more @ 1..) = tally.faults.len().checked_sub(NAMED) {
        let responses = count(more as u64, "more response");
        warn(global, format!("and {responses} with the wrong content"));
    }
    for oddity in oddities.iter() {
        say(
            global,
            format!("outside of the entries: {}", oddity.words()),
        );
    }
}

/// How much of a body is sent to the recorder at once, bytes.
const CHUNK: usize = 64 << 10;

/// Bytes of bodies, and entries, in one batch from the reading thread: a switch of threads costs
/// more than a small entry.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_ENTRIES: usize = 256;

/// A file, and what a first pass over it found.
struct Source {
    file: HarFile,
    survey: Survey,
}

/// An entry of the file.
struct Entry {
    number: u64,
    /// Its exchange, or why it is left out.
    imported: Result<Box<Imported>, LeftOut>,
}

/// Writes a recording whole, or not at all.
async fn write(
    source: Source,
    naming: &mut Naming,
    redactor: Redactor,
    stop: &Stop,
    global: &Global,
) -> anyhow::Result<Tally> {
    let message = &format!("cannot write {}", naming.dir.display());
    let parent = naming.dir.parent();
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let working = writer::make_parent(parent).and_then(|()| Working::create(&naming.dir));
    let working = working.context(message.clone())?;
    let folder = writer::create(&working.path().join(MADE), false)?;
    let dir = folder.dir.clone();
    let tally = fill(source, folder, redactor, stop, message, global).await?;
    stop.check()?;
    naming.place(&dir)?;
    Ok(tally)
}

/// The name of the recording until it is complete.
const MADE: &str = "recording";

async fn fill(
    source: Source,
    folder: writer::Folder,
    redactor: Redactor,
    stop: &Stop,
    message: &str,
    global: &Global,
) -> anyhow::Result<Tally> {
    let dir = folder.dir.clone();
    let message = || message.to_owned();
    let mut manifest = manifest(&source.survey, &redactor);
    write_manifest(&dir, &manifest).with_context(message)?;
    let (recorder, journal) =
        Journal::start(folder, Clock::start(), Durability::Process, true).with_context(message)?;
    let mut owner = JoinSet::new();
    owner.spawn(journal.run());
    recorder.note(Timestamp::default(), &open(&manifest));
    let mut writing = Writing {
        recorder,
        redactor,
        tally: Tally::default(),
        last: Timestamp::default(),
    };
    let taken = writing.take_all(source, stop).await;
    let Writing {
        recorder,
        mut tally,
        last,
        ..
    } = writing;
    manifest.totals = recorder.totals();
    let close = Event::Close(Close {
        totals: manifest.totals,
        exit_code: None,
    });
    recorder.write(last, &close).await;
    let health = recorder.health();
    drop(recorder);
    owner.join_all().await;
    taken?;
    if let Some(why) = health.failure() {
        return Err(anyhow!("{why}")).with_context(message);
    }
    manifest.state = State::Closed;
    manifest.wall_us = last.as_micros();
    write_manifest(&dir, &manifest).with_context(message)?;
    let recording = Recording::open_whole(&dir).with_context(message)?;
    recording.write_index().with_context(message)?;
    let routes = Routes::of(&recording);
    let Checked {
        faults, conflicts, ..
    } = answers::check(&recording, &routes, false, stop, global).with_context(message)?;
    tally.faults = faults;
    if !tally.faults.is_empty() || !conflicts.is_empty() {
        let named = tally.faults.iter().take(FAULTS);
        manifest.replayable.faults = named.cloned().collect();
        manifest.conflicts = conflicts.into_iter().take(FAULTS).collect();
        write_manifest(&dir, &manifest).with_context(message)?;
    }
    Ok(tally)
}

/// The manifest of an imported recording.
fn manifest(survey: &Survey, redactor: &Redactor) -> Manifest {
    let id = Hex(tls::random::<8>()).to_string();
    let wall = survey.wall.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let started = wall_text(wall).unwrap_or_default();
    let trace = survey.trace.unwrap_or_else(|| Hex(tls::random()));
    Manifest {
        command: redactor.argv(&survey.command),
        redacted: redactor.is_on(),
        replayable: Replayable {
            complete: false,
            reasons: vec![String::from(
                "it was imported, and a HAR file does not say whether it is complete",
            )],
            faults: Vec::new(),
            unchecked: false,
        },
        ..Manifest::begun(TOOL, survey.recording.clone().unwrap_or(id), started, trace)
    }
}

fn open(manifest: &Manifest) -> Event {
    Event::Open(Open {
        added_by: None,
        format: FORMAT_VERSION,
        recording: manifest.id.clone(),
        wall: manifest.started.clone(),
        trace: manifest.trace,
        tool: TOOL.to_owned(),
        command: manifest.command.clone(),
    })
}

struct Writing {
    recorder: Recorder,
    redactor: Redactor,
    tally: Tally,
    /// When the last exchange ended.
    last: Timestamp,
}

impl Writing {
    /// Records all entries, which another thread reads.
    async fn take_all(&mut self, source: Source, stop: &Stop) -> anyhow::Result<()> {
        let (sender, mut batches) = mpsc::channel::<Vec<Entry>>(1);
        let mut reader = JoinSet::new();
        reader.spawn_blocking(move || read(&source, &sender));
        while let Some(batch) = batches.recv().await {
            let mut left = batch.len();
            for Entry { number, imported } in batch {
                stop.check()?;
                left -= 1;
                let line = match imported {
                    Ok(imported) => self.take(number, *imported).await,
                    Err(why) => {
                        self.tally.left_out(number, why);
                        None
                    }
                };
                match line {
                    // Waits once per batch, so that no more than a batch is in memory.
                    Some((at, event)) if left == 0 => self.recorder.write(at, &event).await,
                    Some((at, event)) => self.recorder.note(at, &event),
                    None => {}
                }
            }
        }
        for read in reader.join_all().await {
            read.context("the file has changed since it was opened")?;
        }
        Ok(())
    }

    /// Writes the beginning of an exchange; the record of its end is returned.
    async fn take(&mut self, number: u64, imported: Imported) -> Option<(Timestamp, Event)> {
        let Imported {
            mut exchange,
            has_span,
            opened,
            request_body,
            body,
            oddities,
        } = imported;
        self.tally.imported(number, &oddities);
        if !has_span {
            exchange.begin.span = Hex(tls::random());
        }
        self.redact(&mut exchange);
        let at = exchange.started;
        if let Some(opened) = opened {
            let opened = Event::Connection(Connection::Opened(opened));
            self.recorder.note(at, &opened);
        }
        let over =
            Timestamp::from_micros(at.as_micros().saturating_add(exchange.timings().total_us()));
        self.last = self.last.max(over);
        self.recorder.note(at, &Event::Begin(exchange.begin));
        let request_body = self.keep(request_body, at).await;
        let event = match exchange.ending {
            Ending::InFlight => return None,
            Ending::Aborted(mut abort) => {
                abort.request_body = request_body;
                Event::Abort(abort)
            }
            Ending::Ended(mut end) => {
                end.request_body = request_body;
                end.body = self.keep(body, at).await.or(end.body);
                Event::End(end)
            }
        };
        Some((over, event))
    }

    fn redact(&self, exchange: &mut Exchange) {
        let redactor = &self.redactor;
        let begin = &mut exchange.begin;
        begin.url = redactor.url(&begin.url);
        redactor.redact_fields(&mut begin.headers);
        match &mut exchange.ending {
            Ending::InFlight => {}
            Ending::Aborted(abort) => {
                redactor.redact_fields(&mut abort.headers);
                abort.why = redactor.text(&abort.why);
            }
            Ending::Ended(end) => {
                redactor.redact_fields(&mut end.headers);
                end.reason = end.reason.take().map(|reason| redactor.bytes(reason));
                for attempt in &mut end.attempts {
                    attempt.error = redactor.text(&attempt.error);
                }
                for note in &mut end.notes {
                    *note = redactor.text(note);
                }
            }
        }
    }

    async fn keep(&self, bytes: Option<Vec<u8>>, at: Timestamp) -> Option<Body> {
        let bytes = bytes?;
        let mut sink = self.recorder.bodies().sink();
        for chunk in bytes.chunks(CHUNK) {
            poll_fn(|cx| sink.poll_ready(cx)).await;
            sink.push(chunk);
        }
        match sink.finish().await {
            Ok(body) => Some(body),
            Err(lost) => {
                let why = lost.why.to_string();
                self.recorder.gap(at, String::from("a body"), why);
                Some(lost.body)
            }
        }
    }
}

/// Reads all entries, and sends them in batches.
fn read(source: &Source, sender: &mpsc::Sender<Vec<Entry>>) -> Result<(), HarError> {
    let Source { file, survey } = source;
    let text = file.bytes().map_err(HarError::Read)?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    entries(text, survey, &|name| file.body(name), |number, imported| {
        if let Ok(imported) = &imported {
            let bodies = [&imported.request_body, &imported.body]
                .into_iter()
                .flatten();
            bytes += bodies.map(Vec::len).sum::<usize>();
        }
        batch.push(Entry { number, imported });
        if bytes < BATCH_BYTES && batch.len() < BATCH_ENTRIES {
            return true;
        }
        bytes = 0;
        sender.blocking_send(std::mem::take(&mut batch)).is_ok()
    })?;
    // The receiver is gone if the writing has failed.
    let _ = sender.blocking_send(batch);
    Ok(())
}
