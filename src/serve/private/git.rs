//! Modules that come from their repositories: the real go command fetches them, in folders of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::child::PrivateDir;
use crate::diagnose::rules::tells_of_failure;
use crate::files::read_small;
use crate::gomod::{Kind, TEXT_LIMIT, ZIP_LIMIT, is_canonical_version};
use crate::redact::Redactor;
use crate::serve::failure::Failure;
use crate::serve::item::Item;
use crate::serve::private::gate::Gate;

/// How long one go command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Commands at once; others wait.
const AT_ONCE: usize = 4;

/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most that is read of what a command says, bytes.
const SAID: u64 = 4 << 20;

/// Disk that one command may use, bytes: a zip of 500 MiB, as files too, and the repository.
const DISK: u64 = 4 * ZIP_LIMIT;

/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What go and git say of what is not there.
const ABSENT: [&str; 6] = [
    "unknown revision",
    "no matching versions for query",
    "repository not found",
    "?go-get=1: 404 not found",
    "no go-import meta tags",
    "go.mod at revision",
];

/// The go command, and what it may do.
#[derive(Debug)]
pub(crate) struct Git {
    /// The go command.
    go: PathBuf,
    /// Where folders for its commands are made.
    folder: PathBuf,
    /// Changes to the environment of modtape.
    variables: Vec<(&'static str, OsString)>,
    places: Semaphore,
    /// The way out of go and git.
    _gate: Gate,
}

/// What came of asking.
#[derive(Debug)]
pub(in crate::serve) enum Found {
    /// What was asked for, and what came with it.
    Files(Vec<(Item, Body)>),
    /// There is no such thing, in go's words.
    Absent(StatusCode, String),
    Failed(Failure),
}

/// A file that go wrote.
#[derive(Debug)]
pub(in crate::serve) enum Body {
    Text(Bytes),
    /// It has no name any more.
    Zip(File, u64),
}

/// What go prints of a module.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Told {
    version: String,
    versions: Vec<String>,
    time: Option<String>,
    info: PathBuf,
    go_mod: PathBuf,
    zip: PathBuf,
    error: Option<Reason>,
}

/// What clients get as `.info`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

/// `go mod download` prints a text, `go list` a struct.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Reason {
    Text(String),
    Struct {
        #[serde(rename = "Err")]
        err: String,
    },
}

/// A process group that ends with this.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Git {
    /// Modules that the command `go` fetches by the version control systems `vcs`, such as `git|hg`. Its folders are made
    /// in `folder`, and it leaves by `gate` alone. `has_ssh` says that the user has said how ssh is run.
    pub(crate) fn new(go: PathBuf, folder: PathBuf, vcs: &str, has_ssh: bool, gate: Gate) -> Self {
        let mut variables: Vec<(&'static str, OsString)> = [
            ("GO111MODULE", "on"),
            ("GOFLAGS", "-modcacherw"),
            ("GONOSUMDB", "*"),
            ("GOPRIVATE", "*"),
            ("GOPROXY", "direct"),
            ("GONOPROXY", "none"),
            ("GOSUMDB", "off"),
            ("GOTOOLCHAIN", "local"),
            ("GOWORK", "off"),
            // Nobody is there to be asked.
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "true"),
            ("SSH_ASKPASS", "true"),
            ("GCM_INTERACTIVE", "never"),
            // A repository's host sends nobody elsewhere.
            ("GIT_ALLOW_PROTOCOL", "https:ssh"),
            // Each in both spellings: what the user has set leads past the gate.
            ("NO_PROXY", ""),
            ("no_proxy", ""),
        ]
        .map(|(name, value)| (name, value.into()))
        .to_vec();
        variables.push(("GOVCS", format!("*:{vcs}").into()));
        let url = gate.url();
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
            variables.push((name, url.clone().into()));
        }
        // The user's git may have a proxy of its own.
        let config = format!("'http.followRedirects=false' 'http.proxy={url}'");
        variables.push(("GIT_CONFIG_PARAMETERS", config.into()));
        if !has_ssh {
            // A master that stays would hold the pipes of a command that has ended.
            let ssh =
                "ssh -o ControlMaster=no -o ControlPath=none -o BatchMode=yes -o ConnectTimeout=10";
            variables.push(("GIT_SSH_COMMAND", gate.hosts.ssh(ssh).into()));
            variables.push(("GIT_SSH_VARIANT", "ssh".into()));
        }
        Self {
            go,
            folder,
            variables,
            places: Semaphore::new(AT_ONCE),
            _gate: gate,
        }
    }

    /// Has go fetch an item, and what comes with it.
    pub(in crate::serve) async fn ask(&self, item: &Item) -> Found {
        let (module, version) = (item.module(), item.version());
        let of = |version: &str| format!("{module}@{version}");
        let is_version = is_canonical_version(version);
        let words: Vec<String> = match item.kind() {
            Kind::List => words(["list", "-m", "-versions", "-json", module]),
            Kind::Latest => words(["list", "-m", "-json", &of("latest")]),
            Kind::Info if !is_version => words(["list", "-m", "-json", &of(version)]),
            // One fetch for the three files of a version.
            Kind::Info | Kind::Mod | Kind::Zip => words(["mod", "download", "-json", &of(version)]),
            _ => {
                let why = format!("no repository has {}", item.path());
                return Found::Failed(Failure::bad_gateway(why));
            }
        };
        match self.found(item, &words).await {
            Ok(found) => found,
            Err(failure) => Found::Failed(failure),
        }
    }

    async fn found(&self, item: &Item, words: &[String]) -> Result<Found, Failure> {
        let failed = |why: String| Failure::bad_gateway(format!("{}: {why}", item.path()));
        let slow = |why: &str| Failure::timeout(format!("{}: {why}", item.path()));
        let place = tokio::time::timeout(PATIENCE, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(slow(
                "too many modules are fetched from repositories at once",
            ));
        };
        let parent = self.folder.clone();
        let made = tokio::task::spawn_blocking(move || PrivateDir::new(&parent)).await;
        let made = made.map_err(|it| failed(it.to_string()))?;
        let folder = made.map_err(|it| failed(format!("go has no folder: {it}")))?;
        let ran = tokio::time::timeout(LIMIT, self.run(folder.path(), words)).await;
        let Ok(ran) = ran else {
            let why = format!("go took longer than {} s, and was ended", LIMIT.as_secs());
            return Err(slow(&why));
        };
        let (status, stdout, stderr) = ran.map_err(failed)?;
        let asked = item.clone();
        let read = tokio::task::spawn_blocking(move || {
            let told = serde_json::from_slice::<Told>(&stdout).unwrap_or_default();
            let read = match status.success() && told.error.is_none() {
                true => files(&asked, &told),
                false => {
                    let stderr = String::from_utf8_lossy(&stderr);
                    Ok(refused(&asked, &told, &stderr, folder.path()))
                }
            };
            // It has to be removed on a thread, too.
            drop(folder);
            read
        });
        let read = read.await.map_err(|it| failed(it.to_string()))?;
        read.map_err(|it| failed(format!("what go wrote cannot be read: {it}")))
    }

    /// Runs go until it ends, or has used too much disk. Its whole process group ends with it.
    async fn run(
        &self,
        folder: &Path,
        words: &[String],
    ) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), String> {
        let gopath = folder.join("gopath");
        let work = folder.join("work");
        // With a go.mod of its own, so that none above it counts.
        let made = std::fs::create_dir_all(&work)
            .and_then(|()| std::fs::write(work.join("go.mod"), "module modtape.invalid/work\n"));
        made.map_err(|it| format!("go has no folder: {it}"))?;
        let mut command = Command::new(&self.go);
        command
            .args(words)
            .current_dir(&work)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("GOMODCACHE", gopath.join("pkg").join("mod"))
            .env("GOCACHE", folder.join("cache"))
            .env("GOTMPDIR", &work)
            .env("GOPATH", gopath)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let started = command.spawn();
        let go = self.go.display();
        let mut child = started.map_err(|error| format!("{go} cannot be run: {error}"))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let mut group = Group(pid.and_then(Pid::from_raw));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let run = async {
            let (stdout, stderr) = tokio::join!(said(stdout), said(stderr));
            (child.wait().await, stdout, stderr)
        };
        let (status, stdout, stderr) = tokio::select! {
            ran = run => ran,
            () = uses_too_much(folder) => {
                return Err(format!("go used more than {} MiB of disk, and was ended", DISK >> 20));
            }
        };
        group.0 = None;
        let status = status.map_err(|error| format!("{go}: {error}"))?;
        if stdout.len() as u64 > SAID {
            return Err(format!("go printed more than {} MiB", SAID >> 20));
        }
        Ok((status, stdout, stderr))
    }
}

/// Why repositories of this pattern's modules are not fetched; completes "the pattern …". Clients choose the module, and
/// with it the host: those have to be of a domain that the pattern names.
pub(crate) fn mistake_in_git_pattern(pattern: &str) -> Option<&'static str> {
    let host = pattern.split('/').next().unwrap_or_default();
    let domain = host.strip_prefix("*.").unwrap_or(host);
    match domain.contains(['*', '?', '[', '\\']) || !domain.contains('.') {
        true => Some("has to name the host of its repositories, or `*.` and their domain"),
        false => None,
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// What a command says, to a byte more than may be said; the rest is not waited for.
async fn said(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(SAID + 1).read_to_end(&mut said).await;
    }
    said
}

/// Returns once a folder has more in it than one command may use.
async fn uses_too_much(folder: &Path) {
    loop {
        tokio::time::sleep(LOOK).await;
        let folder = folder.to_owned();
        let used = tokio::task::spawn_blocking(move || bytes_in(&folder)).await;
        if used.is_ok_and(|used| used > DISK) {
            return;
        }
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let (mut folders, mut bytes) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => bytes += found.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// What go wrote, the item that was asked for first.
fn files(item: &Item, told: &Told) -> io::Result<Found> {
    if item.kind() == Kind::List {
        let lines = told.versions.iter().map(|version| format!("{version}\n"));
        let text: String = lines.collect();
        return Ok(Found::Files(vec![(item.clone(), Body::Text(text.into()))]));
    }
    let mut found = vec![(item.clone(), Body::Text(info(told)?))];
    if !told.go_mod.as_os_str().is_empty()
        && let Some(of) = Item::of_version(Kind::Mod, item.module(), &told.version)
    {
        let text = read_small(&told.go_mod, TEXT_LIMIT)?;
        found.push((of, Body::Text(text.into())));
    }
    if let Some(of) = Item::of_version(Kind::Info, item.module(), &told.version) {
        found[0].0 = of;
    }
    if !told.zip.as_os_str().is_empty()
        && let Some(of) = Item::of_version(Kind::Zip, item.module(), &told.version)
    {
        let zip = File::open(&told.zip)?;
        let bytes = zip.metadata()?.len();
        found.push((of, Body::Zip(zip, bytes)));
    }
    // A branch, and what is latest, are the `.info` of their version.
    let is_asked = |of: &Item| of.path() == item.path();
    match found.iter().position(|(of, _)| is_asked(of)) {
        Some(place) => found.swap(0, place),
        None => found.insert(0, (item.clone(), Body::Text(info(told)?))),
    }
    Ok(Found::Files(found))
}

/// `.info` without `Origin`, which may tell more of the repository than its users know.
fn info(told: &Told) -> io::Result<Bytes> {
    // `go list` says itself what is in the file.
    let info = match told.info.as_os_str().is_empty() {
        true => Info {
            version: told.version.clone(),
            time: told.time.clone(),
        },
        false => serde_json::from_slice(&read_small(&told.info, TEXT_LIMIT)?)?,
    };
    Ok(serde_json::to_vec(&info)?.into())
}

/// What go says instead of an answer, without the folder that it worked in.
fn refused(item: &Item, told: &Told, stderr: &str, folder: &Path) -> Found {
    let text = match &told.error {
        Some(Reason::Text(text) | Reason::Struct { err: text }) => text,
        None => stderr,
    };
    let text = text.replace(&*folder.to_string_lossy(), "");
    let text = Redactor::new(crate::tls::random()).text(&text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let text = lines.take(8).collect::<Vec<_>>().join("; ");
    let text = match text.is_empty() {
        true => "go failed without a word".to_owned(),
        false => text,
    };
    let said = text.to_lowercase();
    let is_absent = ABSENT.iter().any(|words| said.contains(words));
    // "reading X/go.mod at revision R: …" tells of a failure, "missing X/go.mod at revision R" of none.
    let is_absent =
        is_absent && !(said.contains("reading ") && said.contains("go.mod at revision"));
    if is_absent && !tells_of_failure(&text) {
        return Found::Absent(StatusCode::NOT_FOUND, format!("{text}\n"));
    }
    Found::Failed(Failure::bad_gateway(format!("{}: {text}", item.path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_404_is_only_what_go_says_is_not_there() {
        let item = Item::of_path("/git.corp.example/x/@v/v1.0.0.info").expect("an item");
        let found = |stderr: &str| refused(&item, &Told::default(), stderr, Path::new("/work/one"));
        for absent in [
            "go: git.corp.example/x@v1.0.0: invalid version: unknown revision v1.0.0",
            "go: module git.corp.example/x: no matching versions for query \"latest\"",
            "reading https://git.corp.example/x?go-get=1: 404 Not Found",
        ] {
            assert!(matches!(found(absent), Found::Absent(..)), "{absent}");
        }
        for failed in [
            "",
            "fatal: could not read Username for 'https://git.corp.example': terminal prompts disabled",
            "ssh: connect to host git.corp.example port 22: Connection timed out",
            "unknown revision v1.0.0: fetch timed out",
        ] {
            assert!(matches!(found(failed), Found::Failed(_)), "{failed}");
        }
        let Found::Failed(told) =
            found("git in /work/one/gopath: https://u:secret@git.corp.example")
        else {
            panic!("it failed");
        };
        let text = told.text();
        assert!(
            !text.contains("/work/one") && !text.contains("secret"),
            "{text}"
        );
    }

    #[test]
    fn a_pattern_names_its_hosts() {
        for pattern in [
            "git.corp.example/*",
            "*.corp.example",
            "*.corp.example/team/*",
        ] {
            assert_eq!(mistake_in_git_pattern(pattern), None, "{pattern}");
        }
        for pattern in [
            "*",
            "*/x",
            "*.*/x",
            "git*.example",
            "10.0.0.[0-9]",
            "*.example/x",
            "corp/*",
        ] {
            assert!(mistake_in_git_pattern(pattern).is_some(), "{pattern}");
        }
    }
}
