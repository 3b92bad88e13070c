//! `modtape serve --record`: what is asked upstream, as an ordinary recording.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::child::{self, GoFacts};
use crate::cli::{Global, ServeArgs};
use crate::clock::{Clock, Timestamp, wall_text};
use crate::commands::appended_run::judged;
use crate::commands::failure::Advise as _;
use crate::commands::record::{FACTS, TOOL, open};
use crate::commands::runtime::Stop;
use crate::commands::session::Variables;
use crate::diagnose::content::Checked;
use crate::diagnose::replayable::{Recorded, replayable};
use crate::diagnose::rerun::{self, Rerun};
use crate::diagnose::routes::Routes;
use crate::exchange::{Hex, TraceId};
use crate::recording::format::{Close, Event, Manifest, RunMode, State};
use crate::recording::manifest::write_manifest;
use crate::recording::{
    Durability, Health, Journal, MainModule, Recorder, Recording, folder, keep_main_module, writer,
};
use crate::redact::Redactor;
use crate::shell;
use crate::terminal::words::count;
use crate::terminal::{plain, say, warn};
use crate::tls;

/// How often it is looked at whether all could be written.
const LOOK: Duration = Duration::from_millis(500);

/// How long what is written last may take.
const LAST: Duration = Duration::from_secs(10);

/// A recording of what goes upstream.
pub(super) struct UpstreamRecording {
    /// Takes what is to be recorded.
    pub(super) recorder: Recorder,
    /// The trace that it is.
    pub(super) trace: TraceId,
    /// Takes secrets out of it.
    pub(super) redactor: Redactor,
    /// Gateways that were started so far: each numbers its exchanges in a range of its own.
    gateways: AtomicU64,
    /// The task that owns the journal.
    owner: JoinSet<()>,
    /// The task that tells when something cannot be written.
    watch: JoinSet<()>,
    dir: PathBuf,
    manifest: Manifest,
    main_module: Option<MainModule>,
    clock: Clock,
}

impl UpstreamRecording {
    /// Makes the recording that `--record` names, for the upstream list `goproxy`.
    pub(super) fn begin(
        name: &Path,
        args: &ServeArgs,
        goproxy: &str,
        clock: Clock,
        go: &GoFacts,
        variables: &Variables,
        global: &Global,
    ) -> anyhow::Result<Self> {
        let dir = place(name, global)?;
        let shown = name.display().to_string();
        let made = writer::create(&dir, false);
        let made = made.help("choose another name with --record NAME")?;
        let redactor = Redactor::new(tls::random()).knowing_bases(goproxy);
        let manifest = manifest(args, goproxy, clock, go, variables, &redactor);
        let message = || format!("cannot write the recording {}", plain(&shown));
        write_manifest(&dir, &manifest).with_context(message)?;
        let started = Journal::start(made, clock, Durability::Process, true);
        let (recorder, journal) = started.with_context(message)?;
        recorder.note(Timestamp::default(), &Event::Open(open(&manifest, clock)));
        let mut owner = JoinSet::new();
        owner.spawn(journal.run());
        let mut watch = JoinSet::new();
        watch.spawn(tell_of_failure(recorder.health(), global.clone()));
        Ok(Self {
            recorder,
            trace: manifest.trace,
            redactor,
            gateways: AtomicU64::new(0),
            owner,
            watch,
            dir,
            manifest,
            main_module: child::main_module(&args.command, go, None),
            clock,
        })
    }

    /// The number before that of a new gateway's first exchange and connection.
    pub(super) fn numbers(&self) -> u64 {
        self.gateways.fetch_add(1, Ordering::Relaxed) << 32
    }

    /// Closes it, and says what it is. Nobody else may have its recorder any more.
    pub(super) async fn close(self, exit_code: Option<i32>, global: &Global) -> anyhow::Result<()> {
        let Self {
            recorder,
            owner,
            watch,
            dir,
            mut manifest,
            main_module,
            clock,
            ..
        } = self;
        drop(watch);
        manifest.totals = recorder.totals();
        manifest.exit_code = exit_code;
        manifest.wall_us = clock.now().as_micros();
        manifest.state = State::Closed;
        let close = Event::Close(Close {
            totals: manifest.totals,
            exit_code,
        });
        // A disk that hangs keeps nobody from the end.
        let _ = tokio::time::timeout(LAST, recorder.write(clock.now(), &close)).await;
        let health = recorder.health();
        drop(recorder);
        let _ = tokio::time::timeout(LAST, owner.join_all()).await;
        if let Some(main) = main_module {
            // It is told of by those who would read it.
            let _ = keep_main_module(&dir, &main);
        }
        let name = dir.file_name().unwrap_or(dir.as_os_str());
        let name = name.to_string_lossy().into_owned();
        let failure = health.failure();
        let stop = Stop::listen()?;
        let rerun = Rerun {
            options: Vec::new(),
            place: rerun::place(Path::new(&format!("{name}-more")), global),
            command: manifest.command.clone(),
        };
        let judge =
            |recording: &Recording, routes: &Routes, checked: &Checked, manifest: &mut Manifest| {
                manifest.replayable = replayable(&Recorded {
                    rerun: &rerun,
                    rows: recording.rows(),
                    connections: &recording.table().connections,
                    mode: manifest.mode,
                    go_env: &manifest.go_env,
                    // What was kept was not asked for.
                    was_cold: false,
                    gaps: recording.gaps(),
                    bodies_kept: true,
                    failure,
                    cut_short: None,
                    dumb_repositories: &BTreeSet::new(),
                    faults: &checked.faults,
                    routes,
                });
            };
        let totals = manifest.totals;
        let mut unchecked = manifest.clone();
        if !judged(&dir, manifest, &stop, global, judge)? {
            unchecked.replayable.unchecked = true;
            write_manifest(&dir, &unchecked)?;
        }
        if let Some(why) = failure {
            warn(global, format!("the recording is incomplete: {why}"));
        }
        let requests = count(totals.exchanges, "request");
        let word = shell::word(&name).into_owned();
        let told = format!("modtape: {requests} upstream on record: `modtape report {word}`");
        say(global, plain(&told));
        Ok(())
    }
}

/// Says once that something could not be written: who is served notices nothing of it.
async fn tell_of_failure(health: Health, global: Global) {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(why) = health.failure() {
            let what = "what goes upstream is no longer all on record, and clients are served on";
            warn(&global, format!("{what}: {why}"));
            return;
        }
    }
}

/// The folder that a name stands for.
fn place(name: &Path, global: &Global) -> anyhow::Result<PathBuf> {
    let text = name.to_string_lossy();
    if !folder::is_path(&text) {
        folder::check_name(&text).with_context(|| format!("--record {}", plain(&text)))?;
        return Ok(global.recordings.join(name));
    }
    let named = name.file_name();
    let named = named.with_context(|| format!("--record {} does not name a folder", plain(&text)));
    named.help("name a new folder, such as ./recording")?;
    Ok(name.to_owned())
}

fn manifest(
    args: &ServeArgs,
    goproxy: &str,
    clock: Clock,
    go: &GoFacts,
    variables: &Variables,
    redactor: &Redactor,
) -> Manifest {
    let is_kept = |name: &str| child::SETTINGS.contains(&name) || FACTS.contains(&name);
    let settings = go.settings.iter().filter(|(name, _)| is_kept(name));
    let mut go_env: std::collections::BTreeMap<_, _> = settings
        .map(|(name, value)| (name.clone(), redactor.go_setting(name, value)))
        .collect();
    let goproxy = redactor.go_setting("GOPROXY", goproxy);
    go_env.insert(String::from("GOPROXY"), goproxy);
    let id = Hex(tls::random::<8>()).to_string();
    let started = wall_text(clock.wall_start().into()).unwrap_or_default();
    Manifest {
        command: redactor.argv(&args.command),
        mode: Some(RunMode::Gateway),
        go_env,
        exported: Some(variables.go.keys().cloned().collect()),
        go_version: go.settings.get("GOVERSION").cloned(),
        ..Manifest::begun(TOOL, id, started, Hex(tls::random()))
    }
}
