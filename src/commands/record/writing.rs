//! A recording from its first line to its last word: begun, closed, projected, told.

use std::fs;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use tokio::task::JoinSet;

use super::super::advice::Advise as _;
use super::super::session::{Outcome, Session};
use super::super::terminal::{Look, say, warn};
use super::super::{Failure, har, summary};
use super::{Naming, setup};
use crate::cli::{self, Global, RecordArgs};
use crate::clock::{Clock, Timestamp};
use crate::diagnose::replayable::{Recorded, replayable};
use crate::recording::format::{Close, Event, JOURNAL, Manifest, State, Totals};
use crate::recording::{Durability, Journal, Recorder, Recording, create, index};
use crate::replay;

/// EX_IOERR of sysexits(3): `--require-complete` was asked for, and something is missing.
const INCOMPLETE: u8 = 74;

/// A recording that is being written.
pub(super) struct Writing {
    pub(super) recorder: Recorder,
    /// The journal's owner.
    owner: JoinSet<()>,
    clock: Clock,
    naming: Naming,
    manifest: Manifest,
    har: Option<PathBuf>,
}

impl Writing {
    /// Makes the folder, the manifest and the journal's first line.
    pub(super) fn begin(
        args: &RecordArgs,
        session: &Session,
        naming: Naming,
        manifest: Manifest,
    ) -> anyhow::Result<Self> {
        let har = setup::har_file(args, &naming.dir)?;
        let made = create::create(&naming.dir, naming.replace);
        let made = explain(made, &naming)?;
        let durability = match args.durability {
            cli::Durability::Process => Durability::Process,
            cli::Durability::Group => Durability::Group,
            cli::Durability::Strict => Durability::Strict,
        };
        let keep = args.bodies == cli::KeepBodies::All;
        let (recorder, journal) = Journal::start(made, session.clock, durability, keep)?;
        let mut owner = JoinSet::new();
        owner.spawn(journal.run());
        create::write_manifest(&naming.dir, &manifest)
            .with_context(|| format!("cannot write {}", naming.dir.display()))?;
        let open = setup::open_event(&manifest, session.clock);
        recorder.note(Timestamp::default(), &open);
        Ok(Self {
            recorder,
            owner,
            clock: session.clock,
            naming,
            manifest,
            har,
        })
    }

    /// Closes the journal, makes the projections, and tells; the exit code that is passed on.
    pub(super) async fn close(
        mut self,
        args: &RecordArgs,
        global: &Global,
        served: Result<Outcome, Failure>,
    ) -> Result<(Option<i32>, Recording), Failure> {
        self.manifest.totals = self.recorder.totals();
        self.manifest.exit_code = served.as_ref().map_or(None, |outcome| outcome.code);
        let close = Event::Close(Close {
            totals: self.manifest.totals,
            exit_code: self.manifest.exit_code,
        });
        self.recorder.write(self.clock.now(), &close).await;
        let health = self.recorder.health();
        drop(self.recorder);
        self.owner.join_all().await;
        let mut failure = health.failure().map(str::to_owned);
        let outcome = match served {
            Ok(outcome) => outcome,
            Err(error) => {
                // Nothing ran, so there is nothing to keep.
                if self.manifest.totals == Totals::default() {
                    let _ = fs::remove_dir_all(&self.naming.dir);
                }
                return Err(error);
            }
        };
        self.manifest.state = State::Closed;
        self.manifest.wall_us = outcome.wall_us;
        let projected = project(args, &self.naming, &mut self.manifest, failure.as_deref());
        let recording = match projected {
            Ok(()) => Recording::open(&self.naming.dir)?,
            Err(error) => {
                failure.get_or_insert_with(|| format!("cannot close the recording: {error}"));
                Recording::open(&self.naming.dir)?
            }
        };
        if let Some(path) = &self.har
            && let Err(error) = write_har(&recording, path, args.har_bodies)
        {
            warn(
                global,
                format!("cannot write {}: {error:#}", path.display()),
            );
        }
        let told = summary::Recorded {
            recording: &recording,
            manifest: &self.manifest,
            outcome: &outcome,
            failure: failure.as_deref(),
            was_cold: args.cold,
            has_vendor: has_vendor(),
        };
        say(global, summary::recorded(&told, Look::of_stderr(global)));
        match failure {
            Some(why) if args.require_complete => {
                let told = anyhow!("the recording is incomplete: {why}");
                Err(Failure::new(INCOMPLETE, told))
            }
            _ => Ok((outcome.code, recording)),
        }
    }
}

/// Makes what is made from the closed journal: the index, and what the manifest says of replays.
fn project(
    args: &RecordArgs,
    naming: &Naming,
    manifest: &mut Manifest,
    failure: Option<&str>,
) -> anyhow::Result<()> {
    // First with what is known without reading: then the recording is closed, whatever follows.
    create::write_manifest(&naming.dir, manifest)?;
    let recording = Recording::open(&naming.dir)?;
    let output = args.output.as_ref();
    let output = output.map_or_else(|| naming.name(), |path| path.to_string_lossy().into_owned());
    manifest.replayable = replayable(&Recorded {
        name: &output,
        command: &manifest.command,
        rows: recording.rows(),
        connections: &recording.table().connections,
        go_env: &manifest.go_env,
        bases: &replay::bases(&manifest.go_env),
        was_cold: args.cold,
        gaps: recording.gaps(),
        bodies_kept: args.bodies == cli::KeepBodies::All,
        failure,
    });
    create::write_manifest(&naming.dir, manifest)?;
    index::rebuild(&naming.dir)?;
    Ok(())
}

/// Whether the main module has a vendor folder that the go command would heed.
fn has_vendor() -> bool {
    let here = std::env::current_dir().unwrap_or_default();
    let module = here.ancestors().find(|dir| dir.join("go.mod").is_file());
    module.is_some_and(|dir| dir.join("vendor/modules.txt").is_file())
}

fn write_har(recording: &Recording, path: &Path, bodies: cli::Bodies) -> anyhow::Result<()> {
    create::replace_file(path, |file| {
        let out = BufWriter::with_capacity(64 * 1024, file);
        let written = har::write_har(recording, out, bodies.into());
        written.map_err(io::Error::other)?;
        Ok(())
    })?;
    Ok(())
}

fn explain(
    made: Result<create::Folder, create::CreateError>,
    naming: &Naming,
) -> anyhow::Result<create::Folder> {
    use create::CreateError::{Exists, Foreign};
    let dir = naming.dir.display();
    let replaceable = naming.dir.join(JOURNAL).is_file();
    let help = match &made {
        Err(Exists(_)) if replaceable => {
            format!("--force replaces it, -o NAME takes another; see it with `modtape ls {dir}`")
        }
        Err(Exists(_) | Foreign(_)) => String::from("take another name with -o NAME"),
        _ => return Ok(made?),
    };
    made.help(help)
}
