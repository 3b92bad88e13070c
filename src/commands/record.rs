//! `modtape record`: run a command, keep what it fetches, say where the time went.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, anyhow};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::advice::Advise as _;
use super::console::Console;
use super::session::{Outcome, Parts, Session};
use super::terminal::{Look, say, warn};
use super::{Failure, har, summary};
use crate::cli::{self, Global, RecordArgs};
use crate::clock::{Clock, Timestamp};
use crate::diagnose::replayable::{Recorded, replayable};
use crate::exchange::Target;
use crate::gomod::{DEFAULT_HOSTS, GoProxy, GoSumDb};
use crate::proxy::{Deadlines, Others, Policy, Responder};
use crate::recording::format::{
    Close, Event, FORMAT_VERSION, HAR, JOURNAL, MANIFEST_KIND, Manifest, Open, Replayable, State,
    Totals,
};
use crate::recording::{Durability, Journal, Recorder, Recording, create, folder, index};
use crate::redact::{self, Redactor};
use crate::tls::{self, ClientConfigs};
use crate::upstream::{Dialer, Limits, ParentProxies};
use crate::{child, export, replay};

/// What the manifest and the journal call us.
const TOOL: &str = concat!("modtape ", env!("CARGO_PKG_VERSION"));

/// What the manifest tells of `go env` besides the settings that a replay needs.
const TOLD: [&str; 4] = ["GOVERSION", "GOOS", "GOARCH", "GOFLAGS"];

/// EX_IOERR of sysexits(3): `--require-complete` was asked for, and something is missing.
const INCOMPLETE: i32 = 74;

/// The upstream leg's limits.
const LIMITS: Limits = Limits {
    connect: std::time::Duration::from_secs(30),
    tls: std::time::Duration::from_secs(9),
};

/// Records.
pub(super) fn run(args: &RecordArgs, global: &Global) -> Result<ExitCode, Failure> {
    let overrides = Overrides::parse(args)?;
    let name = Naming::of(args, global)?;
    let runtime = super::runtime()?;
    let place = Place::default();
    let (code, _) = runtime.block_on(record(args, global, (overrides, name), place))?;
    Ok(super::exit_code(code.unwrap_or(0)))
}

/// What the flags say of dialling.
pub(super) struct Overrides {
    resolve: Vec<crate::upstream::Resolve>,
    connect_to: Vec<crate::upstream::ConnectTo>,
    intercept: BTreeSet<String>,
    tunnel: BTreeSet<String>,
}

impl Overrides {
    pub(super) fn parse(args: &RecordArgs) -> anyhow::Result<Self> {
        Ok(Self {
            resolve: parse_all("--resolve", &args.upstream.resolve)?,
            connect_to: parse_all("--connect-to", &args.upstream.connect_to)?,
            intercept: hosts("--intercept", &args.intercept)?,
            tunnel: hosts("--tunnel", &args.tunnel)?,
        })
    }
}

fn parse_all<T>(flag: &str, values: &[String]) -> anyhow::Result<Vec<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let parse = |value: &String| value.parse().with_context(|| format!("{flag} {value}"));
    values.iter().map(parse).collect()
}

fn hosts(flag: &str, values: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let parse = |value: &String| {
        let target = Target::new(value.trim(), 443);
        let target = target.with_context(|| format!("{flag} {value}"))?;
        Ok(target.host().to_owned())
    };
    values.iter().map(parse).collect()
}

/// Where the recording goes, and what it is called.
pub(super) struct Naming {
    pub(super) dir: PathBuf,
    pub(super) replace: bool,
}

impl Naming {
    pub(super) fn of(args: &RecordArgs, global: &Global) -> anyhow::Result<Self> {
        let dir = match &args.output {
            Some(output) => {
                let text = output.to_string_lossy();
                if folder::is_path(&text) {
                    output.clone()
                } else {
                    folder::check_name(&text).with_context(|| format!("-o {text}"))?;
                    global.recordings.join(output)
                }
            }
            None => free_name(&global.recordings, &verb(&args.command)),
        };
        Ok(Self {
            dir,
            replace: args.force,
        })
    }

    fn name(&self) -> String {
        let name = self.dir.file_name().unwrap_or(self.dir.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

/// `tidy` for `go mod tidy`, `build` for `go build ./...`, else the program's name.
fn verb(command: &[OsString]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    let Some(program) = words.first() else {
        return String::from("session");
    };
    let program = Path::new(&**program)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let mut verbs = words.iter().skip(1).filter(|word| !word.starts_with('-'));
    let verb = match (&*program, verbs.next()) {
        ("go", Some(group)) if matches!(&**group, "mod" | "work" | "tool") => {
            verbs.next().unwrap_or(group)
        }
        ("go", Some(verb)) => verb,
        _ => &program,
    };
    let plain: String = verb
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let plain = plain.trim_start_matches('-');
    if plain.is_empty() {
        String::from("session")
    } else {
        plain.to_owned()
    }
}

/// `VERB-MMDD-HHMM` in local time, with `-2` and so on if it is taken.
pub(super) fn free_name(recordings: &Path, verb: &str) -> PathBuf {
    let wall = OffsetDateTime::from(Clock::start().wall_start());
    let offset = time::UtcOffset::current_local_offset().unwrap_or(time::UtcOffset::UTC);
    let form = format_description!("[month][day]-[hour][minute]");
    let stamp = wall.to_offset(offset).format(&form).unwrap_or_default();
    let first = recordings.join(format!("{verb}-{stamp}"));
    let others = (2..).map(|n| recordings.join(format!("{verb}-{stamp}-{n}")));
    let mut names = std::iter::once(first.clone()).chain(others);
    names.find(|path| !path.exists()).unwrap_or(first)
}

/// Where a command runs, where that is not simply here.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Its folder.
    pub(super) folder: Option<PathBuf>,
    /// Variables that it gets on top of ours.
    pub(super) settings: Vec<(String, String)>,
}

/// Records; the exit code that is passed on, and the recording.
pub(super) async fn record(
    args: &RecordArgs,
    global: &Global,
    (overrides, naming): (Overrides, Naming),
    place: Place,
) -> Result<(Option<i32>, Recording), Failure> {
    let extra_roots = args.upstream.upstream_ca.clone();
    let mut session = Session::open(&args.run, &args.command, extra_roots).await?;
    if let Some(folder) = place.folder {
        session.run_in(folder);
    }
    if args.cold {
        session.isolate()?;
    }
    let parents = parents(args, &session)?;
    let har = har_file(args, &naming.dir)?;
    let policy = policy(args, &session, overrides.intercept, overrides.tunnel);
    say_beforehand(args, global, &session);

    let made = create::create(&naming.dir, naming.replace);
    let made = explain(made, &naming)?;
    let durability = match args.durability {
        cli::Durability::Process => Durability::Process,
        cli::Durability::Group => Durability::Group,
        cli::Durability::Strict => Durability::Strict,
    };
    let keep = args.bodies == cli::KeepBodies::All;
    let (recorder, journal) = Journal::start(made, session.clock, durability, keep)?;
    let mut owner = tokio::task::JoinSet::new();
    owner.spawn(journal.run());
    let redactor = if args.no_redact {
        Redactor::off()
    } else {
        Redactor::new(tls::random())
    };
    let manifest = manifest(args, &session, &redactor, &policy);
    create::write_manifest(&naming.dir, &manifest)
        .with_context(|| format!("cannot write {}", naming.dir.display()))?;
    recorder.note(Timestamp::default(), &open_event(&manifest, session.clock));
    if args.command.is_empty() {
        session.greeting = Some(listening(&session, &naming));
    }

    let dialer = Dialer::new(
        session.clock,
        LIMITS,
        ClientConfigs::new(&session.roots),
        parents,
        (overrides.resolve, overrides.connect_to),
        vec![session.address],
    );
    let parts = Parts {
        policy,
        responder: Responder::Upstream(dialer),
        recorder: Some(recorder.clone()),
        redactor,
        bases: replay::bases(&session.go.settings),
        deadlines: Deadlines {
            upstream_idle: args.upstream.upstream_idle_timeout,
            ..Deadlines::default()
        },
    };
    let console = Console::new(global, args.upstream.stall_after);
    let clock = session.clock;
    let place = (&naming.name()[..], naming.dir.clone());
    let served = session
        .serve(parts, place, Vec::new(), (global, console))
        .await;
    let code = served.as_ref().map_or(None, |outcome| outcome.code);
    let close = Event::Close(Close {
        totals: recorder.totals(),
        exit_code: code,
    });
    recorder.write(clock.now(), &close).await;
    let ended = Ended {
        totals: recorder.totals(),
        failure: recorder.failure().map(str::to_owned),
        recorder,
    };
    finish(
        args,
        global,
        (naming, manifest, har),
        owner,
        (served, ended),
    )
    .await
}

/// What the recorder knew at the end.
struct Ended {
    recorder: Recorder,
    totals: Totals,
    failure: Option<String>,
}

/// Closes the recording, makes its projections, and tells.
async fn finish(
    args: &RecordArgs,
    global: &Global,
    (naming, mut manifest, har): (Naming, Manifest, Option<PathBuf>),
    owner: tokio::task::JoinSet<()>,
    (served, ended): (Result<Outcome, Failure>, Ended),
) -> Result<(Option<i32>, Recording), Failure> {
    drop(ended.recorder);
    owner.join_all().await;
    let outcome = match served {
        Ok(outcome) => outcome,
        Err(failure) => {
            // Nothing ran, so there is nothing to keep.
            if ended.totals == Totals::default() {
                let _ = fs::remove_dir_all(&naming.dir);
            }
            return Err(failure);
        }
    };
    manifest.state = State::Closed;
    manifest.totals = ended.totals;
    manifest.exit_code = outcome.code;
    manifest.wall_us = outcome.wall_us;
    let mut failure = ended.failure.clone();
    let mut failed = |what: &str, error: &dyn std::fmt::Display| {
        failure.get_or_insert_with(|| format!("cannot write {what}: {error}"));
    };
    if let Err(error) = create::write_manifest(&naming.dir, &manifest) {
        failed("recording.json", &error);
    }
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
        failure: ended.failure.as_deref(),
    });
    if let Err(error) = create::write_manifest(&naming.dir, &manifest) {
        failed("recording.json", &error);
    }
    if let Err(error) = index::rebuild(&naming.dir) {
        failed("the index", &error);
    }
    if let Some(path) = &har
        && let Err(error) = write_har(&recording, path, args.har_bodies)
    {
        warn(
            global,
            format!("cannot write {}: {error:#}", path.display()),
        );
    }
    let told = summary::Recorded {
        recording: &recording,
        manifest: &manifest,
        outcome: &outcome,
        failure: failure.as_deref(),
        was_cold: args.cold,
        has_vendor: has_vendor(),
    };
    say(global, summary::recorded(&told, Look::of_stderr(global)));
    let code = match (&failure, args.require_complete) {
        (Some(_), true) => Some(INCOMPLETE),
        _ => outcome.code,
    };
    if let (Some(why), true) = (&failure, args.require_complete) {
        return Err(Failure::new(
            u8::try_from(INCOMPLETE).unwrap_or(1),
            anyhow!("the recording is incomplete: {why}"),
        ));
    }
    Ok((code, recording))
}

/// Whether the main module has a vendor folder that the go command would heed.
fn has_vendor() -> bool {
    let here = std::env::current_dir().unwrap_or_default();
    let module = here.ancestors().find(|dir| dir.join("go.mod").is_file());
    module.is_some_and(|dir| dir.join("vendor/modules.txt").is_file())
}

fn write_har(recording: &Recording, path: &Path, bodies: cli::Bodies) -> anyhow::Result<()> {
    let bodies = match bodies {
        cli::Bodies::All => export::har::Bodies::All,
        cli::Bodies::Small => export::har::Bodies::Small,
        cli::Bodies::None => export::har::Bodies::None,
    };
    let mut outcome = Ok(0);
    create::replace_file(path, |file| {
        outcome = har::write_har(recording, BufWriter::with_capacity(64 * 1024, file), bodies);
        Ok(())
    })?;
    outcome.map(|_| ())
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

fn parents(args: &RecordArgs, session: &Session) -> anyhow::Result<ParentProxies> {
    let variables = &session.variables;
    Ok(match args.upstream.upstream_proxy.as_str() {
        "none" => ParentProxies::none(),
        "env" => ParentProxies::from_variables(
            &variables.https_proxy,
            &variables.http_proxy,
            &variables.no_proxy,
        ),
        url => ParentProxies::checked(url, &variables.no_proxy)
            .with_context(|| format!("--upstream-proxy {}", redact::url_without_secrets(url)))?,
    })
}

fn policy(
    args: &RecordArgs,
    session: &Session,
    asked: BTreeSet<String>,
    tunnel: BTreeSet<String>,
) -> Policy {
    let mut intercept: BTreeSet<String> = DEFAULT_HOSTS.map(str::to_owned).into();
    intercept.extend(GoProxy::parse(session.go.get("GOPROXY")).hosts());
    let sumdb = session.go.get("GOSUMDB").parse::<GoSumDb>().ok();
    intercept.extend(sumdb.and_then(|sumdb| sumdb.host()));
    intercept.extend(asked);
    let normal = |host: String| {
        Target::new(&host, 443)
            .ok()
            .map(|target| target.host().to_owned())
    };
    Policy {
        intercept: intercept.into_iter().filter_map(normal).collect(),
        intercept_all: args.intercept_all,
        tunnel,
        others: Others::Tunnel,
    }
}

/// Where the HAR goes; the file is made now, so that a bad path fails before a long run.
fn har_file(args: &RecordArgs, dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    if args.no_har {
        return Ok(None);
    }
    let Some(Some(path)) = &args.har else {
        return Ok(Some(dir.join(HAR)));
    };
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(path.clone()))
}

fn say_beforehand(args: &RecordArgs, global: &Global, session: &Session) {
    if let Some(why) = &session.go.defaults_because {
        say(
            global,
            format!("modtape: {why}; taking Go's default GOPROXY and GOSUMDB"),
        );
    }
    if args.intercept_all {
        say(
            global,
            "modtape: --intercept-all: this run's root can vouch for any name",
        );
    }
    if args.no_redact {
        say(
            global,
            "modtape: --no-redact: the recording will hold secrets in clear text",
        );
    }
    if let Some(pid) = session
        .variables
        .outer_pid
        .filter(|pid| super::runtime::is_alive(*pid))
    {
        say(
            global,
            format!("modtape: runs below the recorder of process {pid}, and goes through it"),
        );
    }
}

fn listening(session: &Session, naming: &Naming) -> String {
    format!(
        "modtape: recording to {} on http://{}\n\
         modtape: in another terminal: eval \"$(modtape env)\"     end with Ctrl-C",
        naming.dir.display(),
        session.address
    )
}

fn manifest(
    args: &RecordArgs,
    session: &Session,
    redactor: &Redactor,
    policy: &Policy,
) -> Manifest {
    // Not GOPATH and the like: they name folders of this machine.
    let told = |name: &str| child::SETTINGS.contains(&name) || TOLD.contains(&name);
    let settings = session.go.settings.iter().filter(|(name, _)| told(name));
    let id: String = tls::random::<8>()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    Manifest {
        kind: MANIFEST_KIND.to_owned(),
        format: FORMAT_VERSION,
        id,
        tool: TOOL.to_owned(),
        state: State::Open,
        started: wall(session.clock),
        command: redactor.argv(&args.command),
        trace: session.trace,
        go_env: settings
            .map(|(name, value)| (name.clone(), redactor.goproxy(value)))
            .collect(),
        go_version: session.go.settings.get("GOVERSION").cloned(),
        intercepted: policy
            .intercept
            .difference(&policy.tunnel)
            .cloned()
            .collect(),
        intercept_all: args.intercept_all,
        redacted: !args.no_redact,
        wall_us: 0,
        totals: Totals::default(),
        replayable: Replayable::default(),
        exit_code: None,
    }
}

fn open_event(manifest: &Manifest, clock: Clock) -> Event {
    Event::Open(Open {
        format: FORMAT_VERSION,
        recording: manifest.id.clone(),
        wall: wall(clock),
        trace: manifest.trace,
        tool: TOOL.to_owned(),
        command: manifest.command.clone(),
    })
}

/// The wall clock at stamp 0, RFC 3339 in UTC, cut to microseconds.
fn wall(clock: Clock) -> String {
    let wall = OffsetDateTime::from(clock.wall_start());
    let wall = wall
        .replace_nanosecond(wall.microsecond() * 1000)
        .unwrap_or(wall);
    wall.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb_of(command: &str) -> String {
        let words: Vec<_> = command.split_whitespace().map(OsString::from).collect();
        verb(&words)
    }

    #[test]
    fn a_recording_is_named_after_what_was_done() {
        for (command, name) in [
            ("go mod tidy", "tidy"),
            ("/opt/go/bin/go build -x ./...", "build"),
            ("go -C dir mod -json download", "dir"),
            ("make all", "make"),
            ("", "session"),
            ("./../..", "session"),
        ] {
            assert_eq!(verb_of(command), name, "{command}");
        }
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let temp = tempfile::tempdir().unwrap();
        let first = free_name(temp.path(), "tidy");
        fs::create_dir(&first).unwrap();
        let second = free_name(temp.path(), "tidy");
        assert_ne!(first, second);
        assert!(second.to_string_lossy().ends_with("-2") || !second.exists());
    }
}
