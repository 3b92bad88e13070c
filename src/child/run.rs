//! Running the command until it ends, and passing signals on to it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};
use tokio::time::Instant;

use super::environment::Environment;
use super::limits::ProcessLimits;

/// A second Ctrl-C within this time ends the command by force.
const TWICE: Duration = Duration::from_secs(2);

/// How long the command may take to end after `--timeout` told it to.
const GRACE: Duration = Duration::from_secs(5);

/// A command to run.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// Program and arguments.
    pub(crate) argv: Vec<OsString>,
    /// The folder that it runs in; `None` is the current one.
    pub(crate) folder: Option<PathBuf>,
    /// The changes to the environment of modtape.
    pub(crate) environment: Environment,
    /// The time after which it is ended.
    pub(crate) timeout: Option<Duration>,
    /// The resource limits that it gets.
    pub(crate) limits: ProcessLimits,
}

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    /// There is no such program: exit code 127.
    #[error("{program}: command not found")]
    NotFound {
        /// The program.
        program: String,
    },
    /// There is one, but not the interpreter in its first line or ELF header: exit code 127.
    #[error("{program}: its interpreter was not found")]
    NoInterpreter {
        /// The program.
        program: String,
    },
    /// There is one, but it cannot be executed: exit code 126.
    #[error("{program}: cannot be run")]
    NotExecutable {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Signals cannot be listened to.
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
}

/// What ends a command early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// Ctrl-C, or SIGINT.
    Interrupt,
    /// SIGTERM or SIGHUP.
    Terminate,
    /// `--timeout`.
    Timeout,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// The exit code that is passed on: its own, 128 + N for signal N, 124 for `--timeout`.
    pub(crate) code: i32,
    /// What ended it early, if anything did.
    pub(crate) interruption: Option<Interruption>,
}

/// Runs a command until it ends. `interrupted` is called for the first thing that ends it early,
/// while all requests are still in flight.
pub(crate) async fn run(
    command: &Command,
    interrupted: &mut (dyn FnMut(Interruption) + Send),
) -> Result<End, SpawnError> {
    let mut signals = Signals::listen().map_err(SpawnError::Signals)?;
    let mut child = spawn(command)?;
    let pid = child.id().unwrap_or_default();

    let mut interruption = None;
    let mut last_interrupt: Option<Instant> = None;
    // A timeout beyond the range of the clock is no deadline.
    let mut deadline = command.timeout.and_then(|time| now().checked_add(time));
    loop {
        let Heard { what, signal } = tokio::select! {
            // A Ctrl-C reaches the command at the same time, and it may have ended by now.
            biased;
            heard = signals.next() => heard,
            status = child.wait() => return Ok(ended(status, interruption)),
            () = reached(deadline) => Heard {
                what: Interruption::Timeout,
                signal: Signal::TERM,
            },
        };
        if interruption.is_none() {
            interrupted(what);
        }
        match what {
            Interruption::Interrupt => {
                let now = now();
                if last_interrupt.is_some_and(|last| now - last <= TWICE) {
                    kill(pid, Signal::KILL);
                } else if !terminal_told_it() {
                    send(pid, signal);
                }
                last_interrupt = Some(now);
            }
            Interruption::Terminate => send(pid, signal),
            Interruption::Timeout if interruption == Some(Interruption::Timeout) => {
                kill(pid, Signal::KILL);
                deadline = None;
            }
            Interruption::Timeout => {
                kill(pid, signal);
                deadline = Some(now() + GRACE);
            }
        }
        // After a timeout the exit code is 124, whatever happens later.
        if interruption != Some(Interruption::Timeout) {
            interruption = Some(what);
        }
    }
}

/// What ends a command early, and the signal that the command gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) what: Interruption,
    pub(crate) signal: Signal,
}

/// The signals that end a command early.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Option<Listener>,
    terminate: Option<Listener>,
    hang_up: Option<Listener>,
    quit: Option<Listener>,
}

impl Signals {
    /// Listens to those that are not ignored.
    ///
    /// nohup(1) makes its command ignore SIGHUP, a shell's `&` SIGINT, and child processes inherit
    /// that. A handler would undo it for the wrapped command: exec(2) keeps ignored signals, but
    /// resets handled ones.
    pub(crate) fn listen() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self::listen_to_all_but(ignored(&status))
    }

    /// Listens to all of them, also to those that are ignored: where no command is wrapped, a script ends
    /// the recorder that it started with `&` by `kill -INT`.
    pub(crate) fn listen_to_all() -> io::Result<Self> {
        Self::listen_to_all_but(0)
    }

    fn listen_to_all_but(ignored: u64) -> io::Result<Self> {
        let listen = |kind: SignalKind| unless_ignored(kind, ignored);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> Heard {
        let (what, signal) = tokio::select! {
            () = heard(&mut self.interrupt) => (Interruption::Interrupt, Signal::INT),
            () = heard(&mut self.terminate) => (Interruption::Terminate, Signal::TERM),
            () = heard(&mut self.hang_up) => (Interruption::Terminate, Signal::HUP),
            // Ctrl-\ has go print its goroutines.
            () = heard(&mut self.quit) => (Interruption::Interrupt, Signal::QUIT),
        };
        Heard { what, signal }
    }
}

/// Signals that ask what the session waits for: SIGUSR1, and SIGINFO where the terminal sends it at
/// Ctrl-T.
#[derive(Debug)]
pub(crate) struct StatusSignals {
    user: Option<Listener>,
    info: Option<Listener>,
}

impl StatusSignals {
    /// Listens to those that are not ignored; see [`Signals::listen`].
    pub(crate) fn listen() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored(&status);
        #[cfg(any(
            target_os = "macos",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly"
        ))]
        let info = Some(signal(SignalKind::info())?);
        #[cfg(not(any(
            target_os = "macos",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly"
        )))]
        let info = None;
        Ok(Self {
            user: unless_ignored(SignalKind::user_defined1(), ignored)?,
            info,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            () = heard(&mut self.user) => {}
            () = heard(&mut self.info) => {}
        }
    }
}

/// `ignored` is a mask, in which bit 0 is signal 1.
fn unless_ignored(kind: SignalKind, ignored: u64) -> io::Result<Option<Listener>> {
    let bit = 1_u64 << (kind.as_raw_value() - 1);
    (ignored & bit == 0).then(|| signal(kind)).transpose()
}

async fn heard(listener: &mut Option<Listener>) {
    match listener {
        Some(listener) => {
            listener.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// `SigIgn` of `/proc/PID/status` (proc(5)): bit 0 is signal 1.
fn ignored(status: &str) -> u64 {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).unwrap_or(0)
}

#[expect(clippy::disallowed_methods, reason = "a timer, not a measurement")]
fn now() -> Instant {
    Instant::now()
}

/// Waits for the deadline; without one, for ever.
async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn spawn(command: &Command) -> Result<Child, SpawnError> {
    let program = command.argv.first().cloned().unwrap_or_default();
    let mut builder = tokio::process::Command::new(&program);
    builder
        .args(command.argv.iter().skip(1))
        .envs(&command.environment.set);
    if let Some(folder) = &command.folder {
        builder.current_dir(folder);
    }
    for name in &command.environment.unset {
        builder.env_remove(name);
    }
    let started = command.limits.inherited(|| builder.spawn());
    started.map_err(|source| SpawnError::of(&program, source))
}

impl SpawnError {
    /// Why execve(2) did not execute `program`.
    pub(crate) fn of(program: &OsStr, source: io::Error) -> Self {
        let program = program.to_string_lossy().into_owned();
        match source.kind() {
            // The error is the same if the interpreter of an existing script is missing.
            io::ErrorKind::NotFound if program.contains('/') && Path::new(&program).exists() => {
                Self::NoInterpreter { program }
            }
            io::ErrorKind::NotFound => Self::NotFound { program },
            _ => Self::NotExecutable { program, source },
        }
    }
}

fn kill(root: u32, signal: Signal) {
    for pid in tree(root) {
        send(pid, signal);
    }
}

/// True if the terminal sent its Ctrl-C to the command too, which is in the same foreground process
/// group.
///
/// Asks /dev/tty, since all standard streams may be redirected.
fn terminal_told_it() -> bool {
    let foreground = File::open("/dev/tty").map(rustix::termios::tcgetpgrp);
    foreground.is_ok_and(|group| group == Ok(rustix::process::getpgrp()))
}

fn ended(status: io::Result<ExitStatus>, interruption: Option<Interruption>) -> End {
    let own = status.ok().and_then(|status| {
        let killed = status.signal().map(|signal| 128 + signal);
        status.code().or(killed)
    });
    let code = match interruption {
        Some(Interruption::Timeout) => 124,
        _ => own.unwrap_or(125),
    };
    End { code, interruption }
}

/// The process `root` and all its descendants, parents first.
///
/// Read from `/proc`; where there is none, `root` alone.
fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(pid) = tree.get(next) {
        tree.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    tree
}

/// The parent: the fourth field of `/proc/PID/stat` (proc(5)). The second is a name with any
/// characters.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Sends a signal; a process that has ended already is not an error.
fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    async fn end_of(script: &str, timeout: Option<Duration>) -> (End, Vec<Interruption>) {
        let command = Command {
            argv: ["sh", "-c", script].map(OsString::from).to_vec(),
            folder: None,
            environment: Environment::default(),
            timeout,
            limits: ProcessLimits::now(),
        };
        let mut heard = Vec::new();
        let end = run(&command, &mut |what| heard.push(what)).await.unwrap();
        (end, heard)
    }

    #[tokio::test]
    async fn the_exit_code_is_the_commands_own() {
        for code in [0, 1, 2, 42, 255] {
            let (end, heard) = end_of(&format!("exit {code}"), None).await;
            assert_eq!((end.code, heard.len()), (code, 0));
        }
        let (end, _) = end_of("kill -KILL $$", None).await;
        assert_eq!(end.code, 128 + 9);
    }

    #[test]
    fn what_is_ignored_is_read_from_the_mask() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001003\n";
        assert_eq!(ignored(status), 0x1003);
        assert_eq!(ignored(""), 0);
    }

    #[tokio::test]
    async fn a_timeout_ends_the_whole_tree_and_exits_124() {
        let (end, heard) = end_of("sleep 60 & wait", Some(Duration::from_millis(50))).await;
        assert_eq!(end.code, 124);
        assert_eq!(heard, [Interruption::Timeout]);
    }

    #[tokio::test]
    async fn a_timeout_that_no_clock_reaches_is_none() {
        for timeout in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
            let (end, heard) = end_of("exit 3", Some(timeout)).await;
            assert_eq!((end.code, heard.len()), (3, 0));
        }
    }

    #[tokio::test]
    async fn a_command_that_cannot_be_run_says_which_way() {
        let spawn = |program: &str| Command {
            argv: vec![program.into()],
            folder: None,
            environment: Environment::default(),
            timeout: None,
            limits: ProcessLimits::now(),
        };
        let missing = run(&spawn("/does/not/exist"), &mut |_| {}).await;
        assert!(matches!(missing, Err(SpawnError::NotFound { .. })));
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#!/does/not/exist\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
        let orphan = run(&spawn(&script.to_string_lossy()), &mut |_| {}).await;
        assert!(matches!(orphan, Err(SpawnError::NoInterpreter { .. })));
        let file = tempfile::NamedTempFile::new().unwrap();
        let plain = run(&spawn(&file.path().to_string_lossy()), &mut |_| {}).await;
        assert!(matches!(plain, Err(SpawnError::NotExecutable { .. })));
    }

    #[test]
    fn a_name_with_parentheses_does_not_hide_the_parent() {
        assert_eq!(parent("12 (a) R 9 (b)) S 34 12 12 0"), Some(34));
        assert_eq!(parent(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_tree_holds_grandchildren() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(shell.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let sleeper: u32 = line.trim().parse().unwrap();
        let tree = tree(shell.id());
        assert_eq!(tree[0], shell.id());
        assert!(tree.contains(&sleeper), "{tree:?}");
        tree.iter().for_each(|&pid| send(pid, Signal::KILL));
        shell.wait().unwrap();
    }
}
