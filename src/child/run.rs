//! Running the command until it ends, and passing signals on to it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::environment::Environment;
use super::processes;

/// A second Ctrl-C within this time ends the command by force.
const TWICE: Duration = Duration::from_secs(2);

/// How long the command may take to end after `--timeout` told it to.
const GRACE: Duration = Duration::from_secs(5);

/// A command to run.
#[derive(Debug, Clone)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Where it runs; `None` is where we run.
    pub folder: Option<PathBuf>,
    /// What is changed of our environment.
    pub environment: Environment,
    /// It ends after so long.
    pub timeout: Option<Duration>,
}

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such program: exit code 127.
    #[error("{program}: command not found")]
    NotFound {
        /// The program.
        program: String,
    },
    /// There is, but it cannot be run: exit code 126.
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

/// What makes a command's end come early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Ctrl-C, or SIGINT.
    Interrupt,
    /// SIGTERM or SIGHUP.
    Terminate,
    /// `--timeout`.
    Timeout,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The exit code that we pass on: its own, 128 + N for signal N, 124 for `--timeout`.
    pub code: i32,
    /// What made it end early, if anything did.
    pub interruption: Option<Interruption>,
}

/// Runs a command until it ends. `interrupted` hears of the first thing that ends it early, while
/// everything is still in flight.
pub async fn run(
    command: &Command,
    interrupted: &mut (dyn FnMut(Interruption) + Send),
) -> Result<End, SpawnError> {
    let listen = |kind| signal(kind).map_err(SpawnError::Signals);
    let mut interrupts = listen(SignalKind::interrupt())?;
    let mut terminates = listen(SignalKind::terminate())?;
    let mut hang_ups = listen(SignalKind::hangup())?;
    let mut child = spawn(command)?;
    let pid = child.id().unwrap_or_default();

    let mut interruption = None;
    let mut last_interrupt: Option<Instant> = None;
    let mut deadline = command.timeout.map(after);
    loop {
        let forced = deadline.unwrap_or_else(|| after(Duration::from_secs(86_400)));
        let what = tokio::select! {
            status = child.wait() => return Ok(ended(status, interruption)),
            Some(()) = interrupts.recv() => Interruption::Interrupt,
            Some(()) = terminates.recv() => Interruption::Terminate,
            Some(()) = hang_ups.recv() => Interruption::Terminate,
            () = tokio::time::sleep_until(forced), if deadline.is_some() => Interruption::Timeout,
        };
        if interruption.is_none() {
            interrupted(what);
        }
        match what {
            Interruption::Interrupt => {
                let now = after(Duration::ZERO);
                if last_interrupt.is_some_and(|last| now - last <= TWICE) {
                    kill(pid, Signal::KILL);
                } else if !terminal_told_it() {
                    processes::send(pid, Signal::INT);
                }
                last_interrupt = Some(now);
            }
            Interruption::Terminate => processes::send(pid, Signal::TERM),
            Interruption::Timeout if interruption == Some(Interruption::Timeout) => {
                kill(pid, Signal::KILL);
                deadline = None;
            }
            Interruption::Timeout => {
                kill(pid, Signal::TERM);
                deadline = Some(after(GRACE));
            }
        }
        // A timeout stays one whatever comes later: its exit code is promised.
        if interruption != Some(Interruption::Timeout) {
            interruption = Some(what);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a timer, not a measurement")]
fn after(time: Duration) -> Instant {
    Instant::now() + time
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
    builder.spawn().map_err(|source| {
        let program = program.to_string_lossy().into_owned();
        match source.kind() {
            io::ErrorKind::NotFound => SpawnError::NotFound { program },
            _ => SpawnError::NotExecutable { program, source },
        }
    })
}

fn kill(root: u32, signal: Signal) {
    for pid in processes::tree(root) {
        processes::send(pid, signal);
    }
}

/// True if the terminal sent its Ctrl-C to the command too: it stands in our foreground group.
fn terminal_told_it() -> bool {
    let foreground = rustix::termios::tcgetpgrp(io::stdin())
        .or_else(|_| rustix::termios::tcgetpgrp(io::stderr()));
    foreground.is_ok_and(|group| group == rustix::process::getpgrp())
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn end_of(script: &str, timeout: Option<Duration>) -> (End, Vec<Interruption>) {
        let command = Command {
            argv: ["sh", "-c", script].map(OsString::from).to_vec(),
            folder: None,
            environment: Environment::default(),
            timeout,
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

    #[tokio::test]
    async fn a_timeout_ends_the_whole_tree_and_exits_124() {
        let (end, heard) = end_of("sleep 60 & wait", Some(Duration::from_millis(50))).await;
        assert_eq!(end.code, 124);
        assert_eq!(heard, [Interruption::Timeout]);
    }

    #[tokio::test]
    async fn a_command_that_cannot_be_run_says_which_way() {
        let spawn = |program: &str| Command {
            argv: vec![program.into()],
            folder: None,
            environment: Environment::default(),
            timeout: None,
        };
        let missing = run(&spawn("/does/not/exist"), &mut |_| {}).await;
        assert!(matches!(missing, Err(SpawnError::NotFound { .. })));
        let file = tempfile::NamedTempFile::new().unwrap();
        let plain = run(&spawn(&file.path().to_string_lossy()), &mut |_| {}).await;
        assert!(matches!(plain, Err(SpawnError::NotExecutable { .. })));
    }
}
