//! A second module proxy that is asked for the same files: what it serves is recorded beside, in a folder that
//! is gone at the end, and checked in the same way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use http::StatusCode;
use tokio::task::JoinSet;
use url::Url;

use crate::catalog::module_path;
use crate::cli::{DialArgs, Global};
use crate::clock::{Clock, Timestamp};
use crate::commands::answers;
use crate::commands::client::{Client, Credentials, IDLE, Outward, Wanted, some_at_once};
use crate::commands::dialling;
use crate::commands::failure::{Failure, USAGE};
use crate::commands::record::open;
use crate::commands::runtime::{Stop, block_on};
use crate::commands::session::Variables;
use crate::diagnose::content::File;
use crate::diagnose::routes::Routes;
use crate::diagnose::verify::SecondProxy;
use crate::exchange::{Hex, TraceFlags, TraceParent, chain};
use crate::gomod::{GoProxy, Kind, Location, ProxyTarget, bases, matches_patterns};
use crate::recording::format::{Event, Manifest, Replayable, State};
use crate::recording::manifest::write_manifest;
use crate::recording::{Durability, Journal, Recorder, Recording, writer};
use crate::redact::Redactor;
use crate::sockets::OwnSockets;
use crate::terminal::Progress;
use crate::tls::{self, RootSources, Roots};

use super::stopped;

/// Where the proxy is, and how it is reached.
pub(super) struct Place {
    /// Without a trailing slash and without credentials.
    base: String,
    /// Patterns of modules that are private by the user's own settings.
    private: String,
    outward: Outward,
}

/// What came of asking.
#[derive(Default)]
pub(super) struct Asked {
    /// What it serves.
    pub(super) proxy: SecondProxy,
    /// How many files it does not have.
    pub(super) absent: usize,
    /// How many are of private modules, which it was not asked for.
    pub(super) private: usize,
    /// How many it gave no usable answer for, and what came instead the first time.
    pub(super) failed: usize,
    pub(super) why: Option<String>,
}

impl Asked {
    fn fail(&mut self, why: String) {
        self.failed += 1;
        self.why.get_or_insert(why);
    }
}

impl Place {
    /// Reads a URL as an entry of GOPROXY; an error is one of usage.
    pub(super) fn of(url: &str, dial: &DialArgs) -> Result<Self, Failure> {
        Self::parse(url, dial).map_err(|error| Failure::new(USAGE, error))
    }

    fn parse(url: &str, dial: &DialArgs) -> anyhow::Result<Self> {
        let entries = GoProxy::parse(url).entries;
        let [entry] = &entries[..] else {
            return Err(anyhow!("--against takes the URL of one module proxy"));
        };
        let ProxyTarget::Url(url) = &entry.target else {
            return Err(anyhow!("--against takes a URL, not {}", entry.target));
        };
        let mut url: Url = url.parse().context("--against")?;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err(anyhow!("--against takes an https or http URL"));
        }
        let variables = Variables::read();
        let go = block_on(variables.go_settings())?;
        let mut credentials = Credentials::of_user(&variables, &go);
        if !url.username().is_empty() || url.password().is_some() {
            // The go command refuses that too.
            if url.scheme() == "http" {
                return Err(anyhow!("--against: credentials are not sent without TLS"));
            }
            credentials.add(url.clone());
            let _ = (url.set_username(""), url.set_password(None));
        }
        let base = url.as_str().trim_end_matches('/').to_owned();
        let private = go.get("GONOPROXY").to_owned();
        let outward = Outward {
            sockets: OwnSockets::default(),
            exposed: None,
            overrides: dialling::overrides(dial)?,
            parents: dialling::parents(dial, &variables)?,
            roots: Roots::load(&RootSources {
                file: variables.ssl_cert_file,
                dirs: variables.ssl_cert_dir,
                extra: dial.upstream_ca.clone(),
            })?,
            idle: IDLE,
            redactor: Redactor::new(tls::random()),
            bases: bases(&go_env(&base)),
            credentials,
            parent: TraceParent {
                trace: Hex(tls::random()),
                span: Hex(tls::random()),
                flags: TraceFlags::SAMPLED,
            },
            last_ids: (0, 0),
        };
        Ok(Self {
            base,
            private,
            outward,
        })
    }

    /// Asks for the files of a recording with this manifest.
    pub(super) async fn ask(
        self,
        files: impl Iterator<Item = File>,
        like: &Manifest,
        stop: &Stop,
        global: &Global,
    ) -> Result<Asked, Failure> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let asked = tokio::select! {
            asked = self.ask_in(folder.path(), files, like, stop, global) => asked?,
            () = stop.heard() => None,
        };
        asked.ok_or_else(|| stopped(stop))
    }

    async fn ask_in(
        self,
        folder: &Path,
        files: impl Iterator<Item = File>,
        like: &Manifest,
        stop: &Stop,
        global: &Global,
    ) -> anyhow::Result<Option<Asked>> {
        let value = |name: &str| like.go_env.get(name).filter(|value| !value.is_empty());
        let private = value("GONOPROXY").or_else(|| value("GOPRIVATE"));
        let private = private.map_or("", String::as_str);
        let mut asked = Asked::default();
        asked.proxy.name = Location::of(&self.base).host;
        let (hidden, files): (Vec<File>, Vec<File>) = files.partition(|file| {
            [private, &self.private]
                .iter()
                .any(|patterns| matches_patterns(patterns, &file.module))
        });
        asked.private = hidden.len();
        let clock = Clock::start();
        let manifest = Manifest {
            go_env: go_env(&self.base),
            state: State::Open,
            replayable: Replayable::default(),
            conflicts: Vec::new(),
            packets: None,
            caches: None,
            span: None,
            ..like.clone()
        };
        let made = writer::create(&folder.join("answers"), false)?;
        let dir = made.dir.clone();
        write_manifest(&dir, &manifest).context("cannot write a temporary recording")?;
        let (recorder, journal) = Journal::start(made, clock, Durability::Process, true)?;
        let mut owner = JoinSet::new();
        owner.spawn(journal.run());
        recorder.note(Timestamp::default(), &Event::Open(open(&manifest, clock)));
        let health = recorder.health();
        self.fetch(clock, recorder, files, &mut asked, global)
            .await?;
        owner.join_all().await;
        if let Some(why) = health.failure() {
            return Err(anyhow!("cannot keep what a second proxy serves: {why}"));
        }
        let recording = Recording::open_whole(&dir)?;
        let routes = Routes::of(&recording);
        let Some(checked) = answers::check(&recording, &routes, true, stop, global) else {
            return Ok(None);
        };
        for (file, found) in checked.files {
            match (found.served.into_iter().next(), found.invalid.first()) {
                (Some(served), _) => drop(asked.proxy.sums.insert(file, served.sum)),
                (None, Some(fault)) => asked.fail(fault.to_string()),
                (None, None) => asked.fail(format!(
                    "an answer for {} {} whose hash cannot be computed",
                    file.module, file.version
                )),
            }
        }
        Ok(Some(asked))
    }

    /// Asks for the files; their bodies go to the recorder.
    async fn fetch(
        self,
        clock: Clock,
        recorder: Recorder,
        files: Vec<File>,
        asked: &mut Asked,
        global: &Global,
    ) -> anyhow::Result<()> {
        let client = Client::start(clock, self.outward, Some(recorder)).await?;
        let client = Arc::new(client);
        let mut progress = Progress::new("request", files.len(), global);
        let mut urls = Vec::new();
        for file in &files {
            match module_path(file.kind, &file.module, Some(&file.version)) {
                Some(path) => urls.push((format!("{}/{path}", self.base), wanted(file))),
                None => asked.fail(format!("{} {}: an invalid name", file.module, file.version)),
            }
        }
        let requests = urls.into_iter().map(|(url, wanted)| {
            let client = Arc::clone(&client);
            async move { client.get(&url, wanted).await }
        });
        let mut done = 0;
        some_at_once(requests, |answered| {
            done += 1;
            progress.step(done);
            match answered {
                Ok(answer) if answer.status == StatusCode::OK => {}
                Ok(answer) if is_absent(answer.status) => asked.absent += 1,
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.text);
                    let line = text.lines().next().unwrap_or_default();
                    let line: String = line.chars().take(200).collect();
                    asked.fail(format!("{}: {line}", answer.status));
                }
                Err(error) => asked.fail(chain(error.as_ref())),
            }
        })
        .await?;
        Client::close(client).await;
        Ok(())
    }
}

/// What the go command takes for "not here" (`cmd/go/internal/modfetch`, `fs.ErrNotExist`).
fn is_absent(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

/// Go's settings where this is the only module proxy.
fn go_env(base: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("GOPROXY".to_owned(), base.to_owned())])
}

/// What is to be done with a file; a text is read, since there is a limit to it.
fn wanted(file: &File) -> Wanted {
    match file.kind {
        Kind::Mod => Wanted::Text,
        _ => Wanted::Pass,
    }
}
