//! A run that is appended to a recording, by a verb that adds what the recorded command did not ask for.
#![expect(dead_code, reason = "the verbs that use it come next")]

use std::path::Path;

use anyhow::Context as _;
use time::OffsetDateTime;
use tokio::task::JoinSet;

use super::answers;
use super::record::TOOL;
use crate::cli::Global;
use crate::clock::{Clock, Timestamp, wall_text};
use crate::diagnose::content::Checked;
use crate::diagnose::routes::Routes;
use crate::exchange::TraceId;
use crate::recording::format::{Close, Event, FAULTS, FORMAT_VERSION, Manifest, Open, State};
use crate::recording::manifest::write_manifest;
use crate::recording::{Durability, Journal, Recorder, Recording, append};
use crate::terminal::warn;

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

impl AppendedRun {
    /// Locks the recording in `dir` and writes the run's first line. Needs a runtime.
    pub(super) fn begin(dir: &Path, clock: Clock, of: Addition) -> anyhow::Result<Self> {
        let (folder, before) = append(dir)?;
        let started = Journal::start(folder, clock, Durability::Process, true);
        let (recorder, journal) =
            started.with_context(|| format!("cannot write {}", dir.display()))?;
        let mut owner = JoinSet::new();
        owner.spawn(journal.run());
        let open = Open {
            format: FORMAT_VERSION,
            recording: before.manifest().id.clone(),
            wall: wall_text(OffsetDateTime::from(clock.wall_start())).unwrap_or_default(),
            trace: of.trace,
            tool: TOOL.to_owned(),
            command: of.command,
            added_by: Some(of.verb.to_owned()),
        };
        recorder.note(Timestamp::default(), &Event::Open(open));
        Ok(Self {
            before,
            recorder,
            owner,
            clock,
        })
    }

    /// Closes the journal, checks the answers, and writes the manifest, of which `judge` has the last word, and
    /// the index. All other clones of the recorder must be gone.
    ///
    /// What the recorded command fetched and how long that took stays as it was: the HAR and the capture
    /// tell of the command alone.
    pub(super) async fn close(
        self,
        global: &Global,
        judge: impl FnOnce(&Recording, &Routes, &Checked, &mut Manifest),
    ) -> anyhow::Result<Recording> {
        let Self {
            before,
            recorder,
            owner,
            clock,
        } = self;
        let mut manifest = before.manifest().clone();
        manifest.state = State::Closed;
        manifest.totals = manifest.totals.plus(recorder.totals());
        let close = Event::Close(Close {
            totals: manifest.totals,
            exit_code: manifest.exit_code,
        });
        recorder.write(clock.now(), &close).await;
        let health = recorder.health();
        drop(recorder);
        owner.join_all().await;
        let dir = before.dir();
        let mut recording = Recording::open_whole(dir)?;
        let routes = Routes::of(&recording);
        let hashes_all = !answers::were_compared(&recording);
        let checked = answers::check(&recording, &routes, hashes_all, global);
        manifest.conflicts = checked.conflicts.iter().take(FAULTS).cloned().collect();
        manifest.replayable.faults = checked.faults.iter().take(FAULTS).cloned().collect();
        judge(&recording, &routes, &checked, &mut manifest);
        let written = write_manifest(dir, &manifest);
        written.with_context(|| format!("cannot write {}", dir.display()))?;
        if let Err(error) = recording.write_index() {
            // Without an index, opening the recording reads its journal.
            warn(global, format!("cannot write the index: {error}"));
        }
        recording.replace_manifest(manifest);
        match health.failure() {
            Some(why) => Err(anyhow::anyhow!("not all could be written: {why}")),
            None => Ok(recording),
        }
    }
}
