//! Temporary folders and known environments for the go command and for modtape.
//!
//! Nothing is inherited: no proxy, no certificate variable and no Go setting of the machine reaches
//! a child. The folders vanish with the value, read-only module caches included.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::corpus::{corpus_folder, skipped};

/// A temporary home with Go's folders and, if asked for, a project.
pub struct Sandbox {
    folder: TempDir,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything on its stdout, as text.
    pub stdout: String,
    /// Everything on its stderr, as text.
    pub stderr: String,
}

impl Sandbox {
    /// Empty folders.
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("modtape-it-").expect("a temporary folder");
        for name in ["home", "gopath", "modcache", "gocache", "tmp", "run"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        // What stands in for XDG_RUNTIME_DIR is private, as the real one is.
        let private = Permissions::from_mode(0o700);
        fs::set_permissions(folder.path().join("run"), private).expect("our own folder");
        Self { folder }
    }

    /// The folder that holds all the others.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A folder or file below it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Copies a corpus project (`hello`, `web`) to `project/` and gives its path; `None`, with a
    /// line on stderr, when there is no corpus.
    pub fn project(&self, name: &str) -> Option<PathBuf> {
        let from = corpus_folder(name)?.join("project");
        let to = self.join("project");
        fs::create_dir_all(&to).expect("a folder");
        for entry in fs::read_dir(from).expect("the project is a folder") {
            let entry = entry.expect("the project can be listed");
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a file can be copied");
        }
        Some(to)
    }

    /// As [`Self::project`], with an empty `go.sum`, so that every checksum is looked up.
    pub fn project_without_sums(&self, name: &str) -> Option<PathBuf> {
        let project = self.project(name)?;
        fs::write(project.join("go.sum"), "").expect("go.sum can be emptied");
        Some(project)
    }

    /// Empties the module cache and the go command's memory of the checksum database.
    pub fn forget_modules(&self) {
        for name in ["modcache", "gopath"] {
            make_writable(&self.join(name));
            fs::remove_dir_all(self.join(name)).expect("a writable folder can be removed");
            fs::create_dir(self.join(name)).expect("a folder");
        }
    }

    /// The whole environment of a go run; `PATH` holds the system's tools only, see [`search_path`].
    pub fn env(&self) -> Vec<(&'static str, PathBuf)> {
        let mut env: Vec<_> = FIXED
            .iter()
            .map(|&(name, value)| (name, value.into()))
            .collect();
        env.push(("PATH", search_path(&[])));
        env.extend(
            FOLDERS
                .iter()
                .map(|&(name, folder)| (name, self.join(folder))),
        );
        env
    }

    /// A command with that environment only, in `project/` if there is one.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let project = self.join("project");
        let folder = if project.is_dir() {
            project
        } else {
            self.path().to_owned()
        };
        let mut command = self::program(program.as_ref());
        command.envs(self.env()).current_dir(folder);
        command
    }

    /// The modtape that is tested, with that environment only.
    pub fn modtape<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.command(tested());
        command.args(args);
        command
    }

    /// The go command of a release (`1.19`, `1.21`, `1.24`, `1.27`): from `MODTAPE_GO_1_27` and so
    /// on, else below `target/tools`, else (1.19) from the system.
    ///
    /// `None`, with a line on stderr, when it is absent; with `CI=true` that is a panic.
    pub fn go(&self, release: &str) -> Option<PathBuf> {
        let variable = format!("MODTAPE_GO_{}", release.replace('.', "_"));
        let usual = || usual_go(release);
        let path = env::var_os(&variable).map_or_else(usual, PathBuf::from);
        if path.is_file() {
            return Some(path);
        }
        let message = format!("no go {release} at {}; set {variable}", path.display());
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{message}");
        skipped(&message);
        None
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The go command writes its module cache read-only.
        make_writable(self.path());
    }
}

/// A command of the system, in an environment that holds nothing but a `PATH` and a locale.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", search_path(&[]));
    command.env("LANG", "C.UTF-8");
    command
}

/// Whether the system has a command of that name.
pub fn has_program(name: &str) -> bool {
    env::split_paths(&search_path(&[])).any(|folder| folder.join(name).exists())
}

/// A `PATH`: these folders, then the system's commands without any go, which the tests bring along.
///
/// `MODTAPE_FIRST_ON_PATH` stands before the system's: a user's go, of which no test may depend.
pub fn search_path(first: &[&Path]) -> PathBuf {
    static COMMANDS: OnceLock<PathBuf> = OnceLock::new();
    let foreign = env::var_os("MODTAPE_FIRST_ON_PATH").map(PathBuf::from);
    let first = first.iter().map(|folder| folder.to_path_buf());
    let last = COMMANDS.get_or_init(link_commands).clone();
    let joined = env::join_paths(first.chain(foreign).chain([last]));
    joined.expect("no colon in our folders").into()
}

/// A folder with a link to each of the system's commands but go.
fn link_commands() -> PathBuf {
    let commands = Path::new(env!("CARGO_TARGET_TMPDIR")).join("commands");
    fs::create_dir_all(&commands).expect("cargo's folder for tests");
    for folder in ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            if !["go", "gofmt"].contains(&&*text) && !text.starts_with("go1.") {
                // Mostly there since an earlier run.
                let _ = symlink(entry.path(), commands.join(&name));
            }
        }
    }
    commands
}

/// The modtape that is tested: of this build, or the one that `MODTAPE_BIN` names.
pub fn tested() -> PathBuf {
    let ours = || env!("CARGO_BIN_EXE_modtape").into();
    // Commands run in folders of their own.
    let named = |name| std::path::absolute(name).expect("there is a current folder");
    env::var_os("MODTAPE_BIN").map_or_else(ours, named)
}

/// Whether that is an optimised one, which is what figures are promised of.
pub fn is_release() -> bool {
    env::var_os("MODTAPE_BIN").is_some()
}

/// True in the long run (`tests/long`): every version, every protocol, every count.
pub fn is_long() -> bool {
    env::var_os("MODTAPE_LONG").is_some()
}

/// The full count in the long run, else what fits into every run.
pub fn count(usual: usize, full: usize) -> usize {
    if is_long() { full } else { usual }
}

/// Runs a command to its end and collects its output.
///
/// The command is a process group of its own. After `limit` the group is killed, and the panic
/// shows what it had said.
pub fn run(mut command: Command, limit: Duration) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let group = Pid::from_child(&child);
    let stdout = collect(child.stdout.take().expect("stdout is a pipe"));
    let stderr = collect(child.stderr.take().expect("stderr is a pipe"));
    let status = deliver(move || child.wait());
    let ended = status.recv_timeout(limit);
    if ended.is_err() {
        kill_process_group(group, Signal::KILL).expect("the group is not reaped yet");
    }
    // A grandchild that outlives the command keeps its pipes open: that is a failure too.
    let mut is_cut = false;
    let [stdout, stderr] = [stdout, stderr].map(|pipe| {
        let bytes = pipe.recv_timeout(limit).unwrap_or_default();
        is_cut |= bytes.is_none();
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    });
    match ended {
        Ok(status) if !is_cut => Output {
            status: status.expect("a child can be waited for"),
            stdout,
            stderr,
        },
        _ => panic!("{command:?} ran longer than {limit:?}\nstdout:\n{stdout}\nstderr:\n{stderr}"),
    }
}

impl Output {
    /// Panics with both streams unless the command succeeded.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(
            self.status.success(),
            "{}\n{}\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }
}

const FIXED: [(&str, &str); 7] = [
    ("LANG", "C.UTF-8"),
    ("GOTOOLCHAIN", "local"),
    ("GOENV", "off"),
    ("GOTELEMETRY", "off"),
    ("GOPROXY", "https://proxy.golang.org"),
    ("GOSUMDB", "sum.golang.org"),
    ("GOWORK", "off"),
];

const FOLDERS: [(&str, &str); 6] = [
    ("HOME", "home"),
    ("GOPATH", "gopath"),
    ("GOMODCACHE", "modcache"),
    ("GOCACHE", "gocache"),
    ("TMPDIR", "tmp"),
    ("XDG_RUNTIME_DIR", "run"),
];

fn usual_go(release: &str) -> PathBuf {
    let patch = match release {
        "1.19" => return PathBuf::from("/usr/lib/go-1.19/bin/go"),
        "1.21" => "1.21.13",
        "1.24" => "1.24.11",
        "1.27" => "1.27.3",
        other => other,
    };
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    tools.join(format!("go-{patch}/bin/go"))
}

/// Reads a pipe to its end, for one who waits with a limit.
pub(super) fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<Option<Vec<u8>>> {
    deliver(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        Some(bytes)
    })
}

/// Runs `work` on a thread of its own, for one who waits with a limit.
pub(super) fn deliver<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    // After a timeout nobody listens any more, which is no error.
    thread::spawn(move || drop(sender.send(work())));
    receiver
}

fn make_writable(folder: &Path) {
    let Ok(metadata) = fs::symlink_metadata(folder) else {
        return;
    };
    if !metadata.is_dir() {
        return;
    }
    let mode = metadata.permissions().mode() | 0o700;
    // What cannot be changed is left to the removal, which names it.
    let _ = fs::set_permissions(folder, Permissions::from_mode(mode));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        make_writable(&entry.path());
    }
}
