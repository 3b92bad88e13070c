//! `modtape demo`: the whole product on an embedded recording, with no network, in any folder.
//!
//! The sample answers as an origin on loopback; a run against it is recorded; the origin goes; the
//! run is replayed. With a Go it is the real go command that runs, else a small client of ours.

mod origin;
mod sample;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use super::failure::Advise as _;
use super::failure::Failure;
use super::record::{self, Naming, Overrides, Place};
use super::replay;
use super::session::Variables;
use crate::child::{self, GoFacts};
use crate::cli::{Cli, Command, Global, RecordArgs, ReplayArgs};
use crate::recording::Recording;
use crate::shell;
use crate::terminal::{plain, say};
use origin::Origin;

/// Records and replays the embedded sample.
pub(super) fn run(global: &Global) -> Result<ExitCode, Failure> {
    let temporary = tempfile::Builder::new().prefix("modtape-demo-").tempdir();
    let temporary = temporary.context("cannot make a temporary folder")?;
    let sample = temporary.path().join("sample");
    sample::write(&sample).context("cannot unpack the sample")?;
    let sample = Recording::open(&sample).map_err(anyhow::Error::new)?;
    let client = super::runtime::block_on(Client::find(&sample))?;
    say(global, client.introduction());

    let project = temporary.path().join("project");
    sample::write_project(&project).context("cannot unpack the project")?;
    let origin = Origin::start(sample, temporary.path())?;
    let recordings = Recordings::find(global)?;
    let (args, naming) = record_args(&origin, recordings.path(), &client)?;
    let overrides = Overrides::parse(&args)?;
    let dir = naming.dir.clone();
    let place = || Place {
        folder: Some(project.clone()),
        settings: clean_go(),
        passes: true,
    };
    say(
        global,
        format!("\n$ modtape record --cold -- {}", client.shown),
    );
    let recording = record::record(&args, global, overrides, naming, place());
    let (code, recorded) = super::runtime::block_on(recording)??;
    origin.stop();
    recordings.keep();
    let (Some(0), Some(recorded)) = (code, recorded) else {
        return Ok(super::failure::exit_code(
            code.filter(|code| *code != 0).unwrap_or(3),
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
    let code = super::runtime::block_on(replay::replay(&again, global, recorded, place()))??;
    if code == 0 {
        say(global, next(&dir));
    }
    Ok(super::failure::exit_code(code))
}

/// Who asks.
struct Client {
    command: Vec<String>,
    shown: String,
    is_go: bool,
}

impl Client {
    async fn find(sample: &Recording) -> Self {
        let path = Variables::read().path;
        let go = child::go_for(None, path.as_ref());
        let facts = match &go {
            Some(go) => Some(GoFacts::ask(go).await),
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

/// Settings of the user that would send the demo elsewhere do not count in it.
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
    /// Where recordings are.
    Usual(PathBuf),
    /// A new folder that nobody else can read or could have made beforehand.
    Elsewhere(tempfile::TempDir),
}

impl Recordings {
    /// Here if one can write here, else elsewhere; where a folder was asked for, no other will do.
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

    /// Something was recorded there: it stays.
    fn keep(self) {
        if let Self::Elsewhere(dir) = self {
            let _path = dir.keep();
        }
    }
}

fn record_args(
    origin: &Origin,
    recordings: &Path,
    client: &Client,
) -> anyhow::Result<(Box<RecordArgs>, Naming)> {
    let everywhere = format!("::127.0.0.1:{}", origin.port());
    let root = origin.root().to_string_lossy().into_owned();
    let mut words: Vec<&str> = vec!["modtape", "record", "--cold", "--upstream-proxy", "none"];
    words.extend(["--connect-to", &everywhere, "--upstream-ca", &root, "--"]);
    words.extend(client.command.iter().map(String::as_str));
    let Command::Record(args) = Cli::try_parse_from(words)?.command else {
        anyhow::bail!("the demo's own command line is wrong");
    };
    let naming = Naming {
        dir: record::free_name(recordings, "demo"),
        verb: None,
        replace: false,
    };
    Ok((args, naming))
}

fn replay_args(dir: &Path, client: &Client) -> anyhow::Result<Box<ReplayArgs>> {
    let dir = dir.to_string_lossy();
    let mut words: Vec<&str> = vec!["modtape", "replay", &dir, "--strict", "--"];
    words.extend(client.command.iter().map(String::as_str));
    match Cli::try_parse_from(words)?.command {
        Command::Replay(args) => Ok(args),
        _ => anyhow::bail!("the demo's own command line is wrong"),
    }
}

fn next(dir: &Path) -> String {
    let dir = dir.to_string_lossy();
    let dir = shell::word(&dir);
    format!(
        "\nThe origin was gone, and every byte and checksum was there. What to open next:\n  \
         modtape ls {dir}                 each request, with its time\n  \
         modtape show 1 {dir}             one of them: headers, phases, body\n  \
         {dir}/session.har        in a browser: developer tools, network, import\n  \
         {dir}/capture.pcapng     in Wireshark\n  \
         modtape record -- go mod tidy    in a project of yours"
    )
}
