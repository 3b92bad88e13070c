//! Bare repositories, put together from recorded packs, and git, which answers from them.
//!
//! git gets an environment of its own: no settings of the user or the system, no hooks, no network.
//! What it is given comes from a recording, which may hold anything; git checks it as what any server
//! sends. Putting a repository together has a limit of time, and so has each answer.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::PrivateDir;
use super::go::find;
use crate::git::{Depth, Fetch, Refs, unpack};

/// How long it may take to put a repository together, and git to answer from it: it reads and writes files only.
const LIMIT: Duration = Duration::from_secs(180);

/// What a repository is set to besides git's defaults.
const SETTINGS: &str = "[uploadpack]\n\tallowAnySHA1InWant = true\n\tallowFilter = true\n\t\
    allowRefInWant = true\n[gc]\n\tauto = 0\n[core]\n\thooksPath = /dev/null\n";

/// Bytes of a pack before its objects: `PACK`, the version, and how many objects there are
/// (`gitformat-pack(5)`).
const PACK_HEAD: u64 = 12;

/// The first git that speaks version 2 of the protocol.
const OLDEST: (u32, u32) = (2, 18);

/// The repositories of a session, each made when it is first asked for.
#[derive(Debug)]
pub struct Repositories {
    /// Where programs are searched for.
    path: Option<OsString>,
    /// Where the folder for all of them is made.
    parent: PathBuf,
    folder: OnceCell<PrivateDir>,
    /// How long one may take to be put together.
    limit: Duration,
    // A std Mutex: held for a map operation, never across an await.
    made: Mutex<HashMap<String, Arc<Made>>>,
}

/// A repository that is made once, or why it cannot be made.
type Made = OnceCell<Result<Repository, String>>;

impl Repositories {
    /// None yet. Git is searched for on `path`; the folder is made below `parent`, and removed on drop.
    pub fn new(path: Option<OsString>, parent: PathBuf) -> Self {
        Self {
            path,
            parent,
            folder: OnceCell::const_new(),
            limit: LIMIT,
            made: Mutex::new(HashMap::new()),
        }
    }

    /// Has git answer a request in the repository of this name, which `fill` fills when it is new.
    /// `protocol` is the value of `Git-Protocol`. The answer is a file; or why there is none, in words.
    pub(crate) async fn fetch(
        &self,
        name: &str,
        request: &GitAsked<'_>,
        fill: impl AsyncFnOnce(Repository) -> Result<Repository, String>,
    ) -> Result<(File, u64), String> {
        let made = {
            let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(name.to_owned()).or_default())
        };
        let make = async || {
            let making = async { fill(self.make(request.is_sha256).await?).await };
            let made = tokio::time::timeout(self.limit, making).await;
            made.unwrap_or_else(|_| {
                let limit = self.limit;
                Err(format!("what was recorded of the repository took longer than {limit:?} to be put together"))
            })
        };
        let repository = made.get_or_init(make).await;
        let repository = repository.as_ref().map_err(String::clone)?;
        repository.answer(request).await
    }

    async fn make(&self, is_sha256: bool) -> Result<Repository, String> {
        let Some(program) = find("git".as_ref(), self.path.as_ref()) else {
            return Err(String::from(
                "answering it takes git, which is not on the PATH",
            ));
        };
        let private = async || PrivateDir::new(&self.parent);
        let folder = self.folder.get_or_try_init(private).await;
        let cannot = |error: io::Error| format!("cannot make a repository: {error}");
        let folder = tempfile::Builder::new()
            .prefix("r")
            .tempdir_in(folder.map_err(cannot)?.path())
            .map_err(cannot)?;
        let repository = Repository {
            // It goes with the folder that it is in.
            folder: folder.keep(),
            program,
            path: self.path.clone(),
            shallow: BTreeSet::new(),
        };
        repository.begin(is_sha256).await?;
        Ok(repository)
    }
}

/// A request that git is to answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GitAsked<'a> {
    /// Its body, without its coding.
    pub(crate) body: &'a [u8],
    /// What of it decides whether an answer is right.
    pub(crate) fetch: &'a Fetch,
    /// Whether objects are named by SHA-256.
    pub(crate) is_sha256: bool,
}

/// A bare repository.
#[derive(Debug)]
pub(crate) struct Repository {
    folder: PathBuf,
    program: PathBuf,
    path: Option<OsString>,
    /// Commits whose parents are not here.
    shallow: BTreeSet<String>,
}

impl Repository {
    async fn begin(&self, is_sha256: bool) -> Result<(), String> {
        let version = self.run(&["version"], None).await?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        if !is_new_enough(&version) {
            let (major, minor) = OLDEST;
            return Err(format!(
                "answering it takes git {major}.{minor}, and this is {version}"
            ));
        }
        let mut arguments = vec!["init", "-q", "--bare", "--template="];
        if is_sha256 {
            arguments.push("--object-format=sha256");
        }
        arguments.push(".");
        self.run(&arguments, None).await?;
        let settings = fs::OpenOptions::new()
            .append(true)
            .open(self.folder.join("config"));
        let written = settings.and_then(|mut file| file.write_all(SETTINGS.as_bytes()));
        written.map_err(|error| format!("cannot write a repository: {error}"))
    }

    /// A new file in its folder, which has no name any more.
    pub(crate) fn file(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.folder)
    }

    /// Adds the objects of a pack, which may build on objects that are here. False if they cannot be
    /// added, since what they build on is not here, or they are no pack.
    pub(crate) async fn add(&self, mut pack: File) -> Result<bool, String> {
        let mut head = Vec::new();
        let read = pack.rewind().and_then(|()| {
            (&pack).take(PACK_HEAD).read_to_end(&mut head)?;
            pack.rewind()
        });
        read.map_err(|error| format!("cannot read a pack: {error}"))?;
        if head.get(8..).is_none_or(|objects| objects == [0; 4]) {
            return Ok(true);
        }
        let arguments = ["index-pack", "--stdin", "--fix-thin"];
        let output = self.output(&arguments, Some(pack)).await?;
        Ok(output.status.success())
    }

    /// Says where the history ends, of commits that some answer cut it at, and which refs there are: of
    /// both, what is here.
    pub(crate) async fn end(&mut self, cut: &BTreeSet<String>, refs: &Refs) -> Result<(), String> {
        let commits = self.types(cut.iter()).await?;
        let commits: Vec<&String> = cut
            .iter()
            .filter(|id| commits.get(*id).is_some_and(|kind| kind == "commit"))
            .collect();
        let parents = self.parents(&commits).await?;
        let known = self.types(parents.values().flatten()).await?;
        let is_here = |parent: &String| known.contains_key(parent);
        self.shallow = parents
            .into_iter()
            .filter(|(_, parents)| !parents.iter().all(is_here))
            .map(|(commit, _)| commit)
            .collect();
        let of_refs = refs.iter().filter_map(|(_, it)| it.object.as_ref());
        let known = self.types(of_refs).await?;
        let written = self.write(refs, |id| known.contains_key(id));
        written.map_err(|error| format!("cannot write a repository: {error}"))
    }

    fn write(&self, refs: &Refs, is_here: impl Fn(&str) -> bool) -> io::Result<()> {
        if !self.shallow.is_empty() {
            let lines: String = self.shallow.iter().map(|id| format!("{id}\n")).collect();
            fs::write(self.folder.join("shallow"), lines)?;
        }
        let mut packed = String::from("# pack-refs with: sorted \n");
        for (name, of) in refs.iter() {
            let Some(id) = of.object.as_ref().filter(|id| is_here(id)) else {
                continue;
            };
            if name == "HEAD" {
                let head = match of.target.as_ref().filter(|target| is_ref(target)) {
                    Some(target) => format!("ref: {target}\n"),
                    None => format!("{id}\n"),
                };
                fs::write(self.folder.join("HEAD"), head)?;
            } else if is_ref(name) {
                packed += &format!("{id} {name}\n");
            }
        }
        fs::write(self.folder.join("packed-refs"), packed)
    }

    /// The types of those objects that are here.
    async fn types(
        &self,
        ids: impl Iterator<Item = &String>,
    ) -> Result<HashMap<String, String>, String> {
        let arguments = ["cat-file", "--batch-check=%(objectname) %(objecttype)"];
        let told = self.run(&arguments, Some(self.lines(ids)?)).await?;
        let told = String::from_utf8_lossy(&told.stdout);
        let lines = told.lines().filter_map(|line| line.split_once(' '));
        let here = lines.filter(|(_, kind)| *kind != "missing");
        Ok(here
            .map(|(id, kind)| (id.to_owned(), kind.to_owned()))
            .collect())
    }

    /// The parents of these commits, which are here.
    async fn parents(&self, commits: &[&String]) -> Result<HashMap<String, Vec<String>>, String> {
        if commits.is_empty() {
            return Ok(HashMap::new());
        }
        let arguments = ["rev-list", "--no-walk=unsorted", "--parents", "--stdin"];
        let lines = self.lines(commits.iter().copied())?;
        let told = self.run(&arguments, Some(lines)).await?;
        let told = String::from_utf8_lossy(&told.stdout);
        let words = told.lines().map(|line| line.split(' ').map(str::to_owned));
        Ok(words
            .filter_map(|mut words| Some((words.next()?, words.collect())))
            .collect())
    }

    /// A file with a line for each.
    fn lines<'a>(&self, ids: impl Iterator<Item = &'a String>) -> Result<File, String> {
        let text: String = ids.map(|id| format!("{id}\n")).collect();
        let file = self.file().and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.rewind()?;
            Ok(file)
        });
        file.map_err(|error| format!("cannot write a repository: {error}"))
    }

    /// Answers a request.
    async fn answer(&self, asked: &GitAsked<'_>) -> Result<(File, u64), String> {
        let files = self.file().and_then(|mut request| {
            request.write_all(asked.body)?;
            request.rewind()?;
            Ok((request, self.file()?))
        });
        let cannot = |error: io::Error| format!("git's answer cannot be kept: {error}");
        let (request, mut answer) = files.map_err(cannot)?;
        let mut command = self.command(&["upload-pack", "--stateless-rpc", "."]);
        command
            .env("GIT_PROTOCOL", "version=2")
            .stdin(request)
            .stdout(answer.try_clone().map_err(cannot)?);
        let output = limited(command).await?;
        answer.rewind().map_err(cannot)?;
        let told_in = answer.try_clone().map_err(cannot)?;
        // It may be large, and other tasks run on this thread.
        let reading = move || unpack(io::BufReader::new(told_in), &mut io::sink());
        let packed = tokio::task::spawn_blocking(reading).await;
        let packed = packed.map_err(|error| cannot(io::Error::other(error)))?;
        if let Some(why) = packed.as_ref().ok().and_then(|it| it.error.as_ref()) {
            return Err(format!(
                "what was recorded of the repository lacks it: {why}"
            ));
        }
        if !output.status.success() {
            return Err(told(&output));
        }
        let packed = packed.map_err(cannot)?;
        if let Some(commit) = self.lacks(asked.fetch, &packed.shallow) {
            return Err(format!(
                "the history before commit {commit} was not recorded"
            ));
        }
        answer.rewind().map_err(cannot)?;
        let bytes = answer.metadata().map_err(cannot)?.len();
        Ok((answer, bytes))
    }

    /// A commit at which the answer ends since its parents are not here, where the server of whom it
    /// was recorded would have gone on.
    fn lacks<'a>(&self, fetch: &'a Fetch, shallow: &'a [String]) -> Option<&'a String> {
        let own = match fetch.depth {
            Depth::Commits(1) => return None,
            // What the client cut off by itself stays so.
            Depth::Missing => &[][..],
            Depth::All | Depth::Commits(_) | Depth::Other => &fetch.shallow,
        };
        let mut ends = shallow.iter().chain(own);
        ends.find(|commit| self.shallow.contains(*commit))
    }

    /// Runs git, which must succeed.
    async fn run(&self, arguments: &[&str], stdin: Option<File>) -> Result<Output, String> {
        let output = self.output(arguments, stdin).await?;
        match output.status.success() {
            true => Ok(output),
            false => Err(told(&output)),
        }
    }

    async fn output(&self, arguments: &[&str], stdin: Option<File>) -> Result<Output, String> {
        let mut command = self.command(arguments);
        command.stdin(stdin.map_or_else(Stdio::null, Stdio::from));
        command.stdout(Stdio::piped());
        limited(command).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear();
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        for (name, value) in [
            ("LC_ALL", "C"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_NO_LAZY_FETCH", "1"),
            // No protocol is allowed.
            ("GIT_ALLOW_PROTOCOL", ""),
        ] {
            command.env(name, value);
        }
        command
            .env("HOME", &self.folder)
            .env("GIT_DIR", &self.folder);
        command
    }
}

/// Runs git to its end, within the limit of time.
async fn limited(mut command: Command) -> Result<Output, String> {
    command.stderr(Stdio::piped()).kill_on_drop(true);
    let output = async { command.spawn()?.wait_with_output().await };
    match tokio::time::timeout(LIMIT, output).await {
        Ok(output) => output.map_err(|error| format!("git cannot be run: {error}")),
        Err(_) => Err(format!("git took longer than {LIMIT:?}")),
    }
}

/// The last thing that git said.
fn told(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    match last {
        Some(last) => format!("git says of what was recorded: {last}"),
        None => format!("git failed: {}", output.status),
    }
}

/// `git version 2.47.3`, and what vendors add.
fn is_new_enough(version: &str) -> bool {
    let numbers = version.strip_prefix("git version ").unwrap_or_default();
    let mut numbers = numbers.split('.').map_while(|number| number.parse().ok());
    numbers.next().zip(numbers.next()) >= Some(OLDEST)
}

/// Whether a name may be that of a ref, as `git check-ref-format` has it.
fn is_ref(name: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let is_bad = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    name.strip_prefix("refs/")
        .is_some_and(|rest| rest.split('/').all(is_part))
        && !name.contains(is_bad)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_repository_that_is_never_ready_is_given_up_once() {
        let parent = tempfile::tempdir().unwrap();
        let repositories = Repositories {
            limit: Duration::from_millis(500),
            ..Repositories::new(std::env::var_os("PATH"), parent.path().to_owned())
        };
        let body = b"0011command=fetch00010009done\n0000";
        let Some(crate::git::Command::Fetch(fetch)) =
            crate::git::Request::parse(body).map(|request| request.command)
        else {
            panic!("it is one");
        };
        let asked = GitAsked {
            body,
            fetch: &fetch,
            is_sha256: false,
        };
        let never = async |_| std::future::pending().await;
        let error = repositories
            .fetch("a.b/c", &asked, never)
            .await
            .unwrap_err();
        let told = "took longer than 500ms to be put together";
        assert!(error.ends_with(told), "{error}");
        let at_once = async |_| panic!("it is not made again");
        let again = repositories.fetch("a.b/c", &asked, at_once).await;
        assert_eq!(again.unwrap_err(), error);
    }

    #[test]
    fn only_names_of_refs_are_written() {
        for name in [
            "refs/heads/main",
            "refs/tags/sub/v2.0.0",
            "refs/pull/1/head",
        ] {
            assert!(is_ref(name), "{name}");
        }
        for name in [
            "HEAD",
            "refs/",
            "refs//x",
            "refs/a..b",
            "refs/a\nb",
            "refs/.x",
            "refs/x.lock",
            "refs/x.",
            "refs/a b",
            "refs/@{",
            "../refs/x",
        ] {
            assert!(!is_ref(name), "{name}");
        }
    }

    #[test]
    fn an_old_git_is_known_as_such() {
        for version in [
            "git version 2.18.0",
            "git version 2.47.3 (Apple Git-1)",
            "git version 3.0",
        ] {
            assert!(is_new_enough(version), "{version}");
        }
        for version in ["git version 2.17.9", "git version 1.8.3.1", "git", ""] {
            assert!(!is_new_enough(version), "{version}");
        }
    }
}
