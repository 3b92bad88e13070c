//! A run that is appended to a recording, by a verb that adds what the recorded command did not ask for.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use tokio::task::JoinSet;

use super::answers;
use super::record::open;
use super::runtime::Stop;
use crate::cli::Global;
use crate::clock::{Clock, Timestamp};
use crate::diagnose::content::Checked;
use crate::diagnose::routes::Routes;
use crate::exchange::TraceId;
use crate::recording::format::{Close, Event, FAULTS, Manifest, Open, State};
use crate::recording::manifest::write_manifest;
use crate::recording::writer::Folder;
use crate::recording::{Durability, Journal, Recorder, Recording, announce, append};
use crate::terminal::warn;

/// A recording that nobody else writes, and that keeps its runs as they are.
pub(super) struct Locked {
    /// The recording as it is.
    pub(super) before: Recording,
    folder: Folder,
}

/// A run that is being appended.
pub(super) struct AppendedRun {
    /// The recording as it was before.
    pub(super) before: Recording,
    /// Takes what is to be recorded.
    pub(super) recorder: Recorder,
    /// The task that owns the journal.
    owner: JoinSet<()>,
    clock: Clock,
}

/// Who appends a run.
pub(super) struct Addition {
    /// The verb.
    pub(super) verb: &'static str,
    /// The trace that the run is part of.
    pub(super) trace: TraceId,
    /// The command that it wraps, redacted; empty without one.
    pub(super) command: Vec<String>,
}

impl Locked {
    /// Locks and reads the recording in `dir`.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let (folder, before) = append(dir)?;
        Ok(Self { before, folder })
    }

    /// Begins a run: writes its first line. Needs a runtime.
    pub(super) fn begin(self, clock: Clock, of: Addition) -> anyhow::Result<AppendedRun> {
        let Self { before, folder } = self;
        announce(&before)?;
        let dir = before.dir().display().to_string();
        let started = Journal::start(folder, clock, Durability::Process, true);
        let (recorder, journal) = started.with_context(|| format!("cannot write {dir}"))?;
        let mut owner = JoinSet::new();
        owner.spawn(journal.run());
        let open = Open {
            added_by: Some(of.verb.to_owned()),
            trace: of.trace,
            command: of.command,
            ..open(before.manifest(), clock)
        };
        recorder.note(Timestamp::default(), &Event::Open(open));
        Ok(AppendedRun {
            before,
            recorder,
            owner,
            clock,
        })
    }

    /// Checks the answers, and writes the manifest, of which `judge` has the last word; no run is appended.
    /// If a signal stops the check, the recording is what it was.
    pub(super) fn close(
        self,
        stop: &Stop,
        global: &Global,
        judge: impl Judge,
    ) -> anyhow::Result<()> {
        let manifest = closed(self.before.manifest());
        // The folder's lock is held until the manifest is written.
        let judged = judged(self.before.dir(), manifest, stop, global, judge);
        drop(self.folder);
        judged.map(drop)
    }
}

/// Who has the last word on a manifest, when the answers have been checked.
pub(super) trait Judge: FnOnce(&Recording, &Routes, &Checked, &mut Manifest) {}

impl<F: FnOnce(&Recording, &Routes, &Checked, &mut Manifest)> Judge for F {}

impl AppendedRun {
    /// Closes the journal, checks the answers, and writes the manifest, of which `judge` has the last word, and
    /// the index. All other clones of the recorder must be gone.
    ///
    /// What the recorded command fetched and how long that took stays as it was: the HAR and the capture
    /// tell of the command alone. If a signal stops the check, the manifest says that it is still to be
    /// done, and nobody judges.
    pub(super) async fn close(
        self,
        stop: &Stop,
        global: &Global,
        judge: impl Judge,
    ) -> anyhow::Result<()> {
        let Self {
            before,
            recorder,
            owner,
            clock,
        } = self;
        let mut manifest = closed(before.manifest());
        manifest.totals = manifest.totals.plus(recorder.totals());
        let close = Event::Close(Close {
            totals: manifest.totals,
            exit_code: manifest.exit_code,
        });
        recorder.write(clock.now(), &close).await;
        let health = recorder.health();
        drop(recorder);
        owner.join_all().await;
        // What is not on the disk is not there, however well it was answered.
        let is_whole = health.failure().is_none();
        let judge =
            |recording: &Recording, routes: &Routes, checked: &Checked, manifest: &mut Manifest| {
                judge(recording, routes, checked, manifest);
                if !is_whole {
                    manifest.state = State::Closed;
                    manifest.replayable.complete = false;
                }
            };
        let dir = before.dir();
        if !judged(dir, manifest, stop, global, judge)? {
            let mut manifest = closed(before.manifest());
            manifest.replayable.unchecked = true;
            write(dir, &manifest)?;
        }
        match health.failure() {
            Some(why) => Err(anyhow!("not all could be written: {why}")),
            None => Ok(()),
        }
    }
}

/// The manifest of a recording that is closed again.
fn closed(before: &Manifest) -> Manifest {
    Manifest {
        state: State::Closed,
        ..before.clone()
    }
}

fn write(dir: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let written = write_manifest(dir, manifest);
    written.with_context(|| format!("cannot write {}", dir.display()))
}

/// Reads the closed journal, checks the answers, and writes manifest and index. False if a signal stopped the
/// check: then nothing is written.
pub(super) fn judged(
    dir: &Path,
    mut manifest: Manifest,
    stop: &Stop,
    global: &Global,
    judge: impl Judge,
) -> anyhow::Result<bool> {
    let recording = Recording::open_whole(dir)?;
    let routes = Routes::of(&recording);
    // A recording that is to last is not to hang on what a go command may have compared then.
    let Some(checked) = answers::check(&recording, &routes, true, stop, global) else {
        return Ok(false);
    };
    manifest.replayable.unchecked = false;
    manifest.conflicts = checked.conflicts.iter().take(FAULTS).cloned().collect();
    manifest.replayable.faults = checked.faults.iter().take(FAULTS).cloned().collect();
    judge(&recording, &routes, &checked, &mut manifest);
    write(dir, &manifest)?;
    if let Err(error) = recording.write_index() {
        // Without an index, opening the recording reads its journal.
        warn(global, format!("cannot write the index: {error}"));
    }
    Ok(true)
}
