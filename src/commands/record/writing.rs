//! A recording from its first line to its summary.
//!
//! At close the journal is read once, and the index is written from what was read. The HAR and the
//! capture are fed from one second pass.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use tokio::task::JoinSet;

use super::direct::keep_direct;
use super::setup;
use crate::capture::sink::Section;
use crate::capture::{self, Capture, Running};
use crate::child::{self, CachePlaces, Interruption, Served};
use crate::cli::{self, Global, RecordArgs};
use crate::clock::{Clock, Timestamp};
use crate::commands::answers;
use crate::commands::direct::check_direct;
use crate::commands::failure::Failure;
use crate::commands::naming::Naming;
use crate::commands::output_file::OutputFile;
use crate::commands::runtime::Stop;
use crate::commands::session::{Outcome, Session};
use crate::diagnose::content::Checked;
use crate::diagnose::replayable::{Recorded, replayable};
use crate::diagnose::rerun::{self, Rerun};
use crate::diagnose::routes::Routes;
use crate::exchange::MadeBy;
use crate::export::har::Har;
use crate::export::pcapng;
use crate::export::source::{Format, Source};
use crate::git;
use crate::gomod::{Kind, takes_forged_tiles};
use crate::recording::format::{
    CAPTURE, Close, Event, FAULTS, Fault, LIVE_CAPTURE, Manifest, State, Totals,
};
use crate::recording::reader::RowState;
use crate::recording::writer::folder::Replaced;
use crate::recording::{
    Durability, Journal, MainModule, Recorder, Recording, keep_main_module, manifest, writer,
};
use crate::terminal::words::count;
use crate::terminal::{Look, say, summary, warn};

/// EX_IOERR of sysexits(3): `--require-complete` was asked for, and something is missing.
pub(super) const INCOMPLETE: u8 = 74;

/// A recording that is being written.
pub(super) struct Writing {
    pub(super) recorder: Recorder,
    /// The task that owns the journal.
    owner: JoinSet<()>,
    clock: Clock,
    /// The live capture, if there is one.
    pub(super) capture: Option<Capture>,
    output: Output,
}

/// How a recording ended.
pub(in crate::commands) struct Closed {
    /// The exit code that is passed on; `None` without a command.
    pub(in crate::commands) exit_code: Option<i32>,
    /// The recording, if it can be read back.
    pub(in crate::commands) recording: Option<Recording>,
}

/// The recording's folder, and what is written at its end.
struct Output {
    naming: Naming,
    durability: Durability,
    manifest: Manifest,
    /// Where the HAR is written, if there is to be one.
    har: Option<PathBuf>,
    /// GOMODCACHE of the go command.
    cache: String,
    /// When the session began.
    began: SystemTime,
    /// What the command works on.
    main_module: Option<MainModule>,
    /// The recording that this one replaces: it is put back if nothing is recorded.
    replaced: Option<Replaced>,
    /// The thread that writes the live capture.
    live: Option<Running>,
}

impl Writing {
    /// The name of the recording.
    pub(super) fn name(&self) -> String {
        self.output.naming.name()
    }

    /// The folder of the recording.
    pub(super) fn folder(&self) -> &Path {
        &self.output.naming.dir
    }

    /// Makes the folder, the manifest and the journal's first line.
    pub(super) fn begin(
        args: &RecordArgs,
        session: &Session,
        mut naming: Naming,
        manifest: Manifest,
    ) -> anyhow::Result<Self> {
        // Before the folder is made: a HAR that cannot be written leaves no folder behind.
        setup::har_file(args, &naming.dir)?;
        let mut made = naming.make()?;
        let mut output = Output {
            replaced: made.replaced.take(),
            naming,
            durability: match args.durability {
                cli::Durability::Process => Durability::Process,
                cli::Durability::Group => Durability::Group,
                cli::Durability::Strict => Durability::Strict,
            },
            manifest,
            har: None,
            live: None,
            cache: session.go.get("GOMODCACHE").to_owned(),
            began: session.clock.wall_start(),
            main_module: session.main_module(),
        };
        match output.start(args, session.clock, made) {
            Ok(Started {
                recorder,
                journal,
                capture,
            }) => {
                let mut owner = JoinSet::new();
                owner.spawn(journal.run());
                Ok(Self {
                    recorder,
                    owner,
                    capture,
                    clock: session.clock,
                    output,
                })
            }
            Err(error) => {
                output.discard();
                Err(error)
            }
        }
    }

    /// Closes the journal, writes what is made from it, and prints the summary.
    pub(super) async fn close(
        self,
        args: &RecordArgs,
        global: &Global,
        served: Result<Outcome, Failure>,
    ) -> Result<Closed, Failure> {
        let Self {
            recorder,
            owner,
            clock,
            capture,
            mut output,
        } = self;
        drop(capture);
        if let Some(running) = output.live.take() {
            finish_capture(running, global).await;
        }
        output.manifest.totals = recorder.totals();
        output.manifest.exit_code = served.as_ref().map_or(None, |outcome| outcome.code);
        let close = Event::Close(Close {
            totals: output.manifest.totals,
            exit_code: output.manifest.exit_code,
        });
        recorder.write(clock.now(), &close).await;
        let health = recorder.health();
        drop(recorder);
        owner.join_all().await;
        let mut failure = health.failure().map(str::to_owned);
        let outcome = match served {
            Ok(outcome) => outcome,
            Err(error) => {
                // Nothing ran, so an empty recording is not kept.
                if output.replaced.is_some() || output.manifest.totals == Totals::default() {
                    output.discard();
                }
                return Err(error);
            }
        };
        // Before anything else is written: the disk may be nearly full.
        output.remove_replaced(global);
        output.manifest.state = State::Closed;
        output.manifest.wall_us = outcome.wall_us;
        output.manifest.packets = outcome.packets;
        // Until the end: from now on nobody else hears signals.
        let stop = Stop::listen()?;
        let projected = output.project(args, global, &outcome, failure.as_deref(), &stop);
        let recording = match projected.await {
            Ok(recording) => {
                failure = failure.or_else(|| damage(&recording));
                Some(recording)
            }
            Err(error) => {
                failure.get_or_insert_with(|| format!("cannot close the recording: {error:#}"));
                // A command may remove the folder that it is recorded in: its exit code stays its
                // own.
                let opened = Recording::open(&output.naming.dir);
                let gone = |error| format!("the recording is no longer there: {error}");
                opened.map_err(|error| warn(global, gone(error))).ok()
            }
        };
        if let Some(recording) = &recording {
            output.export(args, global, recording);
            output.summarize(args, global, recording, &outcome, failure.as_deref());
        }
        match failure {
            Some(why) if args.require_complete => {
                let error = anyhow!("the recording is incomplete: {why}");
                Err(Failure::new(INCOMPLETE, error))
            }
            _ => Ok(Closed {
                exit_code: outcome.exit_code(),
                recording,
            }),
        }
    }
}

/// What writes a recording.
struct Started {
    recorder: Recorder,
    journal: Journal,
    capture: Option<Capture>,
}

impl Output {
    /// Starts the journal with its first line, and writes the first manifest.
    fn start(
        &mut self,
        args: &RecordArgs,
        clock: Clock,
        made: writer::Folder,
    ) -> anyhow::Result<Started> {
        let dir = &self.naming.dir;
        self.har = setup::har_file(args, dir)?;
        let keep = args.bodies == cli::KeepBodies::All;
        let (recorder, journal) = Journal::start(made, clock, self.durability, keep)?;
        let recorder = match args.require_complete {
            true => recorder.requiring_all(),
            false => recorder,
        };
        write_manifest(dir, &self.manifest, self.durability)
            .with_context(|| format!("cannot write {}", dir.display()))?;
        // Once more at the end, when what cannot be kept is told.
        let _ = self.keep_main_module();
        let open = setup::open(&self.manifest, clock);
        recorder.note(Timestamp::default(), &Event::Open(open));
        let started = start_capture(args, &self.naming.dir, &self.manifest, clock)?;
        let (capture, running) = started.unzip();
        self.live = running;
        Ok(Started {
            recorder,
            journal,
            capture,
        })
    }

    /// Keeps what says what the main module requires as it is now.
    fn keep_main_module(&self) -> io::Result<()> {
        match &self.main_module {
            Some(main) => keep_main_module(&self.naming.dir, main),
            None => Ok(()),
        }
    }

    /// Removes a recording of nothing; the recording that it was to replace is put back.
    fn discard(self) {
        let _ = fs::remove_dir_all(&self.naming.dir);
        drop(self.replaced);
    }

    /// Removes the recording that this one replaces.
    fn remove_replaced(&mut self, global: &Global) {
        if let Some(replaced) = self.replaced.take()
            && let Err(error) = replaced.remove()
        {
            let error = anyhow::Error::new(error);
            warn(
                global,
                format!("cannot remove the recording that was replaced: {error:#}"),
            );
        }
    }

    /// Reads the closed journal, and writes what is made from it: what the manifest says of
    /// replays, and the index.
    async fn project(
        &mut self,
        args: &RecordArgs,
        global: &Global,
        outcome: &Outcome,
        failure: Option<&str>,
        stop: &Stop,
    ) -> anyhow::Result<Recording> {
        let dir = &self.naming.dir;
        // First without what is found by reading: then the recording is closed, even if reading
        // fails.
        self.manifest.replayable.unchecked = true;
        manifest::write_manifest(dir, &self.manifest)?;
        if let Err(error) = self.keep_main_module() {
            warn(
                global,
                format!("the main module's go.mod is not on the recording: {error}"),
            );
        }
        let mut recording = Recording::open_whole(dir)?;
        let damage = damage(&recording);
        let routes = Routes::of(&recording);
        let has_failed = has_failed(outcome);
        let checked = answers::check(&recording, &routes, has_failed, stop, global);
        let mut is_checked = checked.is_some();
        let Checked {
            mut faults,
            conflicts,
            ..
        } = checked.unwrap_or_default();
        let is_of_database = |fault: &Fault| matches!(fault.kind, Kind::Lookup | Kind::Tile);
        let go = self.manifest.go_version.as_deref();
        if let Some(go) = go.filter(|go| takes_forged_tiles(go))
            && faults.iter().any(is_of_database)
        {
            let message = format!(
                "the checksum database's answers are not all what they should be, and {go} may take them (CVE-2026-56864, \
                 CVE-2026-56865; mended in go1.25.13, go1.26.6 and go1.27)"
            );
            warn(global, message);
        }
        self.manifest.conflicts = conflicts.into_iter().take(FAULTS).collect();
        let cache = match &outcome.private {
            Some(private) => child::private_cache(private.path()),
            None => PathBuf::from(&self.cache),
        };
        if args.bodies == cli::KeepBodies::All && !cache.as_os_str().is_empty() {
            let (since, durability) = (self.began, self.durability);
            let kept = keep_direct(&recording, &routes, cache, since, durability, global);
            self.manifest.direct = kept.await;
            let (kept, mut found) = (&self.manifest.direct, Checked::default());
            is_checked &= check_direct(&recording, kept, has_failed, stop, &mut found).is_some();
            faults.append(&mut found.faults);
        }
        // A private module cache is gone with the run, whatever is wrong with it.
        if has_failed && !args.cold && !self.cache.is_empty() {
            let places = CachePlaces {
                modules: PathBuf::from(&self.cache),
                served: served(&recording, &routes),
                go_sum: recording.main_sum(),
            };
            self.manifest.caches = Some(child::look_at_caches(places).await);
        }
        self.manifest.replayable = replayable(&Recorded {
            rerun: &self.rerun(args, global, true),
            rows: recording.rows(),
            connections: &recording.table().connections,
            mode: self.manifest.mode,
            go_env: &self.manifest.go_env,
            was_cold: args.cold,
            gaps: recording.gaps(),
            bodies_kept: args.bodies == cli::KeepBodies::All,
            failure: failure.or(damage.as_deref()),
            cut_short: cut_short(outcome),
            dumb_repositories: &dumb_repositories(&recording, &routes),
            faults: &faults,
            routes: &routes,
        });
        if !is_checked {
            let what = "a signal stopped the check of the answers; `modtape verify` does it";
            self.manifest.replayable.complete = false;
            self.manifest.replayable.reasons.push(what.into());
            self.manifest.replayable.unchecked = true;
        }
        write_manifest(dir, &self.manifest, self.durability)?;
        if let Err(error) = recording.write_index() {
            // Without an index, opening the recording reads its journal.
            warn(global, format!("cannot write the index: {error}"));
        }
        recording.replace_manifest(self.manifest.clone());
        Ok(recording)
    }

    /// The command line that records the same again; `is_named` names this recording, where the
    /// user did not.
    fn rerun(&self, args: &RecordArgs, global: &Global, is_named: bool) -> Rerun {
        let name = PathBuf::from(self.naming.name());
        let mut place = match args.output.as_ref().or_else(|| is_named.then_some(&name)) {
            Some(output) => rerun::place(output, global),
            None => rerun::recordings(global),
        };
        if place.first().is_some_and(|word| word == "-o") {
            place.insert(2, "--force".into());
        }
        Rerun {
            options: self.manifest.options.clone(),
            place,
            command: self.manifest.command.clone(),
        }
    }

    /// Writes the HAR and the capture, in one pass over the recording; where one cannot be written,
    /// the other still is.
    fn export(&self, args: &RecordArgs, global: &Global, recording: &Recording) {
        let source = Source::of(recording);
        let rows: Vec<_> = recording.rows().iter().collect();
        let capture = recording.dir().join(CAPTURE);
        let capture = args.pcap.has_clear().then_some(&*capture);
        let har = self.har.as_deref();
        let mut files = Vec::new();
        for (projection, path) in [(Projection::Har, har), (Projection::Capture, capture)] {
            match path.map(OutputFile::create_at_once).transpose() {
                Ok(file) => files.extend(file.map(|file| (projection, file))),
                Err(error) => warn(global, format!("{error:#}")),
            }
        }
        let formats = files.iter_mut().map(|(projection, file)| {
            let file = file.file();
            let format: Box<dyn Format> = match projection {
                Projection::Har => Box::new(Har::begin(file, &source, args.har_bodies.into())?),
                Projection::Capture => {
                    let bodies = args.pcap_bodies.into();
                    Box::new(pcapng::Capture::begin(file, &source, &rows, bodies)?)
                }
            };
            Ok(format)
        });
        let written = source.feed(&rows, formats, |_| ());
        for ((_, file), written) in files.into_iter().zip(written) {
            if let Err(error) = file.finish(written) {
                warn(global, format!("{error:#}"));
            }
        }
    }

    /// Says where the time went.
    fn summarize(
        &self,
        args: &RecordArgs,
        global: &Global,
        recording: &Recording,
        outcome: &Outcome,
        failure: Option<&str>,
    ) {
        let recorded = summary::Recorded {
            recording,
            manifest: &self.manifest,
            rerun: &self.rerun(args, global, false),
            left_over: &outcome.left_over,
            durability: self.durability,
            failure,
            cache: &self.cache,
            was_cold: args.cold,
            has_vendor: has_vendor(),
        };
        if global.quiet {
            for loss in summary::losses(&recorded) {
                warn(global, loss);
            }
        } else {
            say(
                global,
                summary::recorded(&recorded, Look::of_stderr(global)),
            );
        }
        if args.pcap.has_tls() {
            warn_of_secrets(global);
        }
    }
}

/// What is made of a recording beside its index.
enum Projection {
    Har,
    Capture,
}

/// The first defect of a journal that cannot be read back as it was written.
fn damage(recording: &Recording) -> Option<String> {
    let damage = recording.damage().first()?;
    Some(format!("the journal is damaged: {damage}"))
}

/// What ended the command early. A command that was killed by a signal counts too: a terminal sends
/// the signal to both, and the command may end before modtape receives it; or the signal was for
/// the command alone.
fn cut_short(outcome: &Outcome) -> Option<&'static str> {
    let was_killed = outcome.code.is_some_and(|code| (129..=192).contains(&code));
    match outcome.left_over.interruption {
        Some(Interruption::Interrupt) => Some("Ctrl-C"),
        Some(Interruption::Terminate) => Some("a signal"),
        Some(Interruption::Timeout) => Some("--timeout"),
        None => was_killed.then_some("a signal"),
    }
}

/// The zips and go.mod files that the go command should have kept, each once: those that came whole, or
/// whose client went away in the middle.
fn served(recording: &Recording, routes: &Routes) -> Vec<Served> {
    let mut known = BTreeSet::new();
    let answers = recording.rows().iter().filter(|row| {
        let is_origin = row.made_by != Some(MadeBy::Modtape);
        row.status == Some(200) && row.method == "GET" && is_origin
    });
    let served = answers.filter_map(|row| {
        let route = routes.route(row);
        let (module, version) = (route.module.clone()?, route.version.clone()?);
        let is_new = matches!(route.kind, Kind::Zip | Kind::Mod)
            && known.insert((route.kind, module.clone(), version.clone()));
        let length = || {
            let length = recording.answer_field(row, "content-length");
            length.and_then(|length| length.parse().ok()).unwrap_or(0)
        };
        is_new.then(|| Served {
            run: row.run,
            exchange: row.id,
            kind: route.kind,
            what: route.what(),
            bytes: match row.state {
                RowState::Ended => row.bytes,
                _ => row.bytes.max(length()),
            },
            module,
            version,
        })
    });
    served.collect()
}

/// Repositories whose refs were answered in git's dumb protocol, and never in the smart one.
pub(in crate::commands) fn dumb_repositories(
    recording: &Recording,
    routes: &Routes,
) -> BTreeSet<String> {
    let rows = recording.rows().iter();
    let asked = rows.filter(|row| row.method == "GET" && row.status == Some(200));
    let asked = asked.filter_map(|row| {
        let route = routes.route(row);
        let repository = route.module.filter(|_| route.kind == Kind::Vcs)?;
        let media_type = recording.answer_field(row, "content-type");
        let is_smart = media_type.is_some_and(|it| it.starts_with(git::ADVERTISEMENT));
        Some((repository, is_smart))
    });
    let (smart, dumb): (Vec<_>, Vec<_>) = asked.partition(|(_, is_smart)| *is_smart);
    let smart: BTreeSet<String> = smart
        .into_iter()
        .map(|(repository, _)| repository)
        .collect();
    let dumb = dumb.into_iter().map(|(repository, _)| repository);
    dumb.filter(|repository| !smart.contains(repository))
        .collect()
}

/// Whether the command failed by itself.
fn has_failed(outcome: &Outcome) -> bool {
    outcome.code.is_some_and(|code| code != 0) && cut_short(outcome).is_none()
}

/// Replaces the manifest, durably if the recording is.
fn write_manifest(dir: &Path, manifest: &Manifest, durability: Durability) -> io::Result<()> {
    match durability {
        Durability::Process => manifest::write_manifest(dir, manifest),
        Durability::Group | Durability::Strict => manifest::write_manifest_durably(dir, manifest),
    }
}

/// Whether the main module has a vendor folder, which the go command would use.
fn has_vendor() -> bool {
    let here = std::env::current_dir().unwrap_or_default();
    let module = here.ancestors().find(|dir| dir.join("go.mod").is_file());
    module.is_some_and(|dir| dir.join("vendor/modules.txt").is_file())
}

/// Starts the live capture, if there is to be one.
fn start_capture(
    args: &RecordArgs,
    dir: &Path,
    manifest: &Manifest,
    clock: Clock,
) -> anyhow::Result<Option<(Capture, Running)>> {
    if !args.pcap.has_tls() {
        return Ok(None);
    }
    let path = dir.join(LIVE_CAPTURE);
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    let comment = format!(
        "recording={} trace={}\nThe TLS records of both connections, captured by {}. CONTAINS THEIR \
         DECRYPTION SECRETS: to share it, use `modtape export pcapng --no-secrets`.",
        manifest.id, manifest.trace, manifest.tool
    );
    let section = Section {
        tool: &manifest.tool,
        comment: &comment,
        origin: capture::LIVE,
    };
    let started = file.and_then(|file| Capture::start(file, clock, &section));
    let started = started.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(started))
}

/// Waits until the live capture is written.
async fn finish_capture(running: Running, global: &Global) {
    // The disk may be slow, and other tasks run on this thread.
    let outcome = tokio::task::spawn_blocking(|| running.finish()).await;
    let outcome = outcome.unwrap_or_default();
    if let Some(error) = &outcome.error {
        let packets = count(outcome.packets, "packet");
        let message = format!("{LIVE_CAPTURE} ends after {packets}: {error}");
        warn(global, message);
    }
}

/// Says that the live capture contains secrets.
fn warn_of_secrets(global: &Global) {
    let message =
        "contains TLS secrets; `modtape export pcapng --no-secrets` writes a copy to share";
    say(global, format!("  {LIVE_CAPTURE} {message}"));
}
