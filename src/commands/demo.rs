//! `modtape demo`: the whole product on an embedded recording, with no network, in any folder.
//!
//! The sample is served by an origin on loopback; a run against the origin is recorded; the origin
//! is stopped; the run is replayed. The client is the real go command if there is one, else
//! `modtape fetch`.

use std::collections::BTreeSet;
use std::fs;
use std::hash::RandomState;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::failure::{Advise as _, FAILED, Failure, exit_code};
use super::naming::{Naming, free_name};
use super::record::{RunContext, TargetFlags, record};
use super::replay::replay;
use super::runtime::{block_on, runtime};
use super::session::Variables;
use crate::ca::{self, CertificateAuthority, Leafs, Scope};
use crate::child::Repositories;
use crate::child::{self, GoFacts};
use crate::cli::{Cli, Command, Global, RecordArgs, ReplayArgs};
use crate::clock::Clock;
use crate::exchange::{Hex, TraceFlags};
use crate::proxy::{
    Access, Context, Deadlines, Entrance, Live, Others, Policy, Propagation, Proxy, Responder,
    Windows,
};
use crate::recording::Recording;
use crate::redact::Redactor;
use crate::replay::Replay;
use crate::shell;
use crate::terminal::words::columns;
use crate::terminal::{plain, say};
use crate::tls;

/// Records and replays the embedded sample.
pub(super) fn run(global: &Global) -> Result<ExitCode, Failure> {
    let temporary = tempfile::Builder::new().prefix("modtape-demo-").tempdir();
    let temporary = temporary.context("cannot make a temporary folder")?;
    let sample = temporary.path().join("sample");
    write_sample(&sample).context("cannot unpack the sample")?;
    let sample = Recording::open(&sample).map_err(anyhow::Error::new)?;
    let client = block_on(Client::find(&sample))?;
    say(global, client.introduction());

    let project = temporary.path().join("project");
    write_project(&project).context("cannot unpack the project")?;
    let origin = Origin::start(sample, temporary.path())?;
    let recordings = Recordings::find(global)?;
    let args = record_args(&origin, &client)?;
    let naming = Naming {
        dir: free_name(recordings.path(), "demo"),
        verb: None,
        replace: false,
    };
    let flags = TargetFlags::parse(&args)?;
    let dir = naming.dir.clone();
    let context = || RunContext {
        folder: Some(project.clone()),
        settings: clean_go(),
        is_one_off: true,
        ..RunContext::default()
    };
    say(
        global,
        format!("\n$ modtape record --cold -- {}", client.shown),
    );
    let recording = record(&args, global, flags, naming, context());
    let closed = block_on(recording)??;
    origin.stop();
    recordings.keep();
    let (Some(0), Some(recorded)) = (closed.exit_code, closed.recording) else {
        return Ok(exit_code(
            closed
                .exit_code
                .filter(|code| *code != 0)
                .unwrap_or_else(|| FAILED.into()),
        ));
    };

    let again = replay_args(&dir, &client)?;
    say(
        global,
        format!(
            "\n$ modtape replay {} --strict -- {}",
            shell::word(&dir.to_string_lossy()),
            client.shown
        ),
    );
    let code = block_on(replay(&again, global, recorded, context()))??;
    if code == 0 {
        say(global, next(&dir));
    }
    Ok(exit_code(code))
}

/// The program that sends the requests.
struct Client {
    command: Vec<String>,
    shown: String,
    is_go: bool,
}

impl Client {
    async fn find(sample: &Recording) -> Self {
        let variables = Variables::read();
        let path = variables.path.as_ref();
        let go = child::go_for(None, path);
        let facts = match &go {
            Some(go) => Some(GoFacts::ask(go, None, variables.go("GOTOOLCHAIN")).await),
            None => None,
        };
        // `go env` has a version from 1.16 on, when module mode became the default.
        let is_usable = facts.is_some_and(|facts| !facts.get("GOVERSION").is_empty());
        if let Some(go) = go.filter(|_| is_usable) {
            let command = [&go.to_string_lossy(), "mod", "download"].map(str::to_owned);
            return Self {
                command: command.to_vec(),
                shown: String::from("go mod download"),
                is_go: true,
            };
        }
        let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("modtape"));
        let mut command = vec![own.to_string_lossy().into_owned(), String::from("fetch")];
        command.extend(sample.rows().iter().map(|row| row.url.clone()));
        Self {
            command,
            shown: String::from("(a small client that asks what go would ask)"),
            is_go: false,
        }
    }

    fn introduction(&self) -> &'static str {
        if self.is_go {
            "modtape demo: your go command downloads three small modules from an embedded sample:\n\
             a TLS origin on this machine stands in for proxy.golang.org and sum.golang.org."
        } else {
            "modtape demo: there is no usable go command here, so a small built-in client asks what\n\
             `go mod download` would ask of an embedded sample on this machine."
        }
    }
}

/// Go settings in place of the user's, which could send the demo elsewhere.
fn clean_go() -> Vec<(String, String)> {
    let settings = [
        ("GOENV", "off"),
        ("GOFLAGS", ""),
        ("GOPROXY", "https://proxy.golang.org"),
        ("GOSUMDB", "sum.golang.org"),
        ("GONOSUMDB", ""),
        ("GONOPROXY", ""),
        ("GOPRIVATE", ""),
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "off"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    settings.into_iter().map(owned).collect()
}

/// Where the demo records to.
enum Recordings {
    /// The usual folder of recordings.
    Usual(PathBuf),
    /// A new folder with a random name, for its owner only.
    Elsewhere(tempfile::TempDir),
}

impl Recordings {
    /// The usual folder if it can be written, else a temporary one; a folder that the user named is
    /// not replaced.
    fn find(global: &Global) -> anyhow::Result<Self> {
        let here = &global.recordings;
        let probe = fs::create_dir_all(here)
            .and_then(|()| tempfile::Builder::new().tempdir_in(here).map(drop));
        let shown = here.display();
        let error = match probe {
            Ok(()) => return Ok(Self::Usual(here.clone())),
            Err(error) if global.has_default_recordings() => error,
            Err(error) => {
                let asked = Err(error).with_context(|| format!("cannot write {shown}"));
                return asked.help("name another folder with --recordings DIR");
            }
        };
        let owner_only = fs::Permissions::from_mode(0o700);
        let elsewhere = tempfile::Builder::new()
            .prefix("modtape-recordings-")
            .permissions(owner_only)
            .tempdir();
        let elsewhere = elsewhere.context("cannot make a folder for recordings")?;
        let path = elsewhere.path().display().to_string();
        say(
            global,
            plain(&format!(
                "modtape: cannot write {shown} ({error}): recording to {path}"
            )),
        );
        Ok(Self::Elsewhere(elsewhere))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Usual(path) => path,
            Self::Elsewhere(dir) => dir.path(),
        }
    }

    /// Keeps the temporary folder: it has a recording.
    fn keep(self) {
        if let Self::Elsewhere(dir) = self {
            let _path = dir.keep();
        }
    }
}

fn record_args(origin: &Origin, client: &Client) -> anyhow::Result<Box<RecordArgs>> {
    let everywhere = format!("::127.0.0.1:{}", origin.port());
    let root = origin.root().to_string_lossy().into_owned();
    let mut words: Vec<&str> = vec!["modtape", "record", "--cold", "--upstream-proxy", "none"];
    words.extend(["--connect-to", &everywhere, "--upstream-ca", &root, "--"]);
    words.extend(client.command.iter().map(String::as_str));
    match Cli::try_parse_from(words)?.command {
        Command::Record(args) => Ok(args),
        _ => bail!("the demo's own command line is wrong"),
    }
}

fn replay_args(dir: &Path, client: &Client) -> anyhow::Result<Box<ReplayArgs>> {
    let dir = dir.to_string_lossy();
    let mut words: Vec<&str> = vec!["modtape", "replay", &dir, "--strict", "--"];
    words.extend(client.command.iter().map(String::as_str));
    match Cli::try_parse_from(words)?.command {
        Command::Replay(args) => Ok(args),
        _ => bail!("the demo's own command line is wrong"),
    }
}

fn next(dir: &Path) -> String {
    let dir = dir.to_string_lossy();
    let dir = shell::word(&dir);
    let steps = [
        (
            format!("modtape report {dir}"),
            "where the time went, and why",
        ),
        (format!("modtape ls {dir}"), "each request, with its time"),
        (
            format!("modtape show 1 {dir}"),
            "one of them: headers, phases, body",
        ),
        (
            format!("{dir}/session.har"),
            "in a browser: developer tools, network, import",
        ),
        (format!("{dir}/capture.pcapng"), "in Wireshark"),
        (
            String::from("modtape record -- go mod tidy"),
            "in a project of yours",
        ),
    ];
    let widest = steps.iter().map(|(what, _)| columns(what)).max();
    let mut text = String::from(
        "\nThe replay used no network: every response came from the recording. What to look at next:",
    );
    for (what, why) in steps {
        let gap = widest.unwrap_or(0).saturating_sub(columns(&what)) + 2;
        text.push_str(&format!("\n  {what}{:gap$}{why}", ""));
    }
    text
}

/// An origin that runs on a thread of its own until it is stopped.
struct Origin {
    port: u16,
    root: PathBuf,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Origin {
    /// Starts an origin that serves `sample`; its root certificate is written to `folder`.
    fn start(sample: Recording, folder: &Path) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let hour = Duration::from_secs(3600);
        let scope = Scope::AllNames(BTreeSet::new());
        let authority = CertificateAuthority::new(&scope, clock.wall_start(), hour)?;
        let root = folder.join("origin.pem");
        fs::write(&root, ca::to_pem(authority.root())).context("cannot write the root")?;
        let stop = CancellationToken::new();
        let context = context(clock, Replay::new(sample, String::new()), authority, &stop)?;

        let runtime = runtime()?;
        let bound = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = bound.context("cannot listen on 127.0.0.1")?;
        let port = listener.local_addr()?.port();
        let proxy = Proxy::new(listener, Arc::new(context), Entrance::Origin);
        let thread = std::thread::Builder::new()
            .name(String::from("origin"))
            .spawn(move || runtime.block_on(proxy.run()))?;
        Ok(Self {
            port,
            root,
            stop,
            thread,
        })
    }

    const fn port(&self) -> u16 {
        self.port
    }

    fn root(&self) -> &Path {
        &self.root
    }

    /// Returns once the listener is closed.
    fn stop(self) {
        self.stop.cancel();
        // The message of a panic is on stderr already.
        let _ = self.thread.join();
    }
}

fn context(
    clock: Clock,
    sample: Replay,
    authority: CertificateAuthority,
    stop: &CancellationToken,
) -> anyhow::Result<Context> {
    Ok(Context {
        access: Access::open(),
        clock,
        deadlines: Deadlines::default(),
        policy: Policy {
            intercept: BTreeSet::new(),
            intercept_all: true,
            tunnel: BTreeSet::new(),
            others: Others::Tunnel,
            propagation: Propagation::default(),
        },
        leafs: Some(Leafs::new(authority)?),
        bases: sample.bases().into(),
        responder: Responder::Replay(Arc::new(sample)),
        repositories: Repositories::new(None, std::env::temp_dir()),
        recorder: None,
        capture: None,
        redactor: Redactor::off(),
        live: Live::new(clock),
        metrics: None,
        windows: Windows::default(),
        trace: Hex(tls::random()),
        trace_flags: TraceFlags::SAMPLED,
        spans: RandomState::new(),
        tasks: TaskTracker::new(),
        stop: stop.clone(),
        drained: CancellationToken::new(),
        next_exchange: AtomicU64::new(0),
        next_connection: AtomicU64::new(0),
    })
}

/// A file that is embedded in the program.
struct File {
    /// Its path below `recordings/hello`.
    path: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(File {
            path: $path,
            bytes: include_bytes!(concat!("../../recordings/hello/", $path)),
        }),*]
    };
}

/// The recording.
const RECORDING: [File; 5] = files![
    "bodies/18/1870e7a196f7119d4c6edba7de9cdfc49ee13c8cb7921f3a947568171c6152e0",
    "bodies/5d/5de246a0cb4c256f3fd5d0db8a08a114f58af0c2e193bbf0ad9012104adbb6b2",
    "bodies/9d/9d9d6cfb28ce6dbe4b518c42c6bccd67bb531a106859808f36e82a5c3fb8c64d",
    "journal.ndjson",
    "recording.json",
];

/// The project that it was recorded in.
const PROJECT: [File; 2] = files!["project/go.mod", "project/main.go"];

/// Writes the recording to `folder`.
fn write_sample(folder: &Path) -> io::Result<()> {
    for File { path, bytes } in RECORDING {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// Writes the project to `folder`; without a go.sum, so that every checksum is looked up.
fn write_project(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for File { path, bytes } in PROJECT {
        let name = Path::new(path).file_name().unwrap_or_default();
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(folder: &Path, found: &mut Vec<String>, root: &Path) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                below(&entry.path(), found, root);
            } else {
                let path = entry.path().strip_prefix(root).unwrap().to_owned();
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }

    #[test]
    fn every_file_of_the_sample_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/hello");
        let mut found = Vec::new();
        below(&folder, &mut found, &folder);
        found.retain(|path| path != "README.md");
        found.sort();
        let mut embedded: Vec<_> = RECORDING
            .iter()
            .chain(&PROJECT)
            .map(|file| file.path)
            .collect();
        embedded.sort_unstable();
        assert_eq!(found, embedded);
    }

    #[test]
    fn the_sample_opens_undamaged() {
        let temp = tempfile::tempdir().unwrap();
        write_sample(temp.path()).unwrap();
        let recording = Recording::open(temp.path()).unwrap();
        assert!(recording.damage().is_empty(), "{:?}", recording.damage());
        assert!(recording.rows().len() >= 20);
    }
}
