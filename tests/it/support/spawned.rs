//! A command that runs while a test looks on: its output as it comes, signals, its end.

use std::fs;
use std::io::{Read, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::corpus::skipped;
use super::recorder::own_root;
use super::sandbox::{Output, Sandbox, tested};

/// A script for `/bin/sh` that tells what it was given and ends with its input.
pub const TELLS: &str =
    r##"echo "#proxy=$HTTPS_PROXY#bundle=$SSL_CERT_FILE#ready"; exec cat >/dev/null"##;

/// How long a command may take to say or do what a test waits for.
const LIMIT: Duration = Duration::from_secs(60);

/// A running command, a process group of its own; dropped, the group is killed.
pub struct Spawned {
    child: Child,
    stdout: Heard,
    stderr: Heard,
}

impl Spawned {
    /// Starts it; its stdin is a pipe, see [`Self::type_keys`].
    pub fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Heard::listen(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Heard::listen(child.stderr.take().expect("stderr is a pipe"));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Has `script(1)` of util-linux run a command line on a terminal of its own, in which `$MODTAPE` is the
    /// one that is tested; what is typed goes to it. `None`, with a line on stderr, where there is none.
    pub fn on_a_terminal(sandbox: &Sandbox, command: &str) -> Option<Self> {
        let mut script = sandbox.command("script");
        script.args(["-qec", command, "/dev/null"]);
        script.env("MODTAPE", tested()).env("SHELL", "/bin/sh");
        if cfg!(target_os = "linux") && Path::new("/usr/bin/script").exists() {
            return Some(Self::start(script));
        }
        skipped("terminals: there is no script(1) of util-linux");
        None
    }

    /// Starts a recorder or a replay that wraps [`TELLS`]: where it listens, and a file with its
    /// root, for a client to trust.
    pub fn proxy(command: Command, sandbox: &Sandbox) -> (Self, SocketAddr, PathBuf) {
        let running = Self::start(command);
        let told = running.wait_for_stdout("#ready");
        let said = |name: &str| {
            let (_, value) = told.split_once(name).expect("it is told");
            value.split('#').next().unwrap_or_default().to_owned()
        };
        let proxy = said("#proxy=http://").parse().expect("an address");
        let root = sandbox.join("root.pem");
        fs::write(&root, own_root(said("#bundle=").as_ref())).expect("our own folder");
        (running, proxy, root)
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Blocks until stdout holds `text`, and gives all that it holds.
    #[track_caller]
    pub fn wait_for_stdout(&self, text: &str) -> String {
        let is_met = |heard: &State| heard.text().contains(text);
        self.stdout.wait_for(is_met, text)
    }

    /// Blocks until stdout is as `is_met` wants it, which `what` describes, and gives all that it holds.
    #[track_caller]
    pub fn stdout_when(&self, what: &str, is_met: impl Fn(&str) -> bool) -> String {
        self.stdout.wait_for(|heard| is_met(&heard.text()), what)
    }

    /// Blocks until stderr holds `text`, and gives all that it holds.
    #[track_caller]
    pub fn wait_for_stderr(&self, text: &str) -> String {
        let is_met = |heard: &State| heard.text().contains(text);
        self.stderr.wait_for(is_met, text)
    }

    /// Blocks until stderr holds `text`; `None` if it ended without.
    pub fn stderr_until(&self, text: &str) -> Option<()> {
        let is_met = |heard: &State| heard.is_over || heard.text().contains(text);
        let heard = self.stderr.wait_for(is_met, text);
        heard.contains(text).then_some(())
    }

    /// Sends a signal to it, not to its group.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is not reaped yet");
    }

    /// Ctrl-C: a terminal sends the signal to the whole group.
    pub fn interrupt(&self) {
        let group = Pid::from_child(&self.child);
        kill_process_group(group, Signal::INT).expect("it is not reaped yet");
    }

    /// Whether somebody still holds its stdout after so long.
    pub fn runs_for(&self, time: Duration) -> bool {
        let (state, bell) = &*self.stdout.0;
        let state = state.lock().expect("no panic while locked");
        let waited = bell.wait_timeout_while(state, time, |state| !state.is_over);
        let (state, _) = waited.expect("no panic while locked");
        !state.is_over
    }

    /// Writes to its stdin.
    pub fn type_keys(&mut self, keys: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(keys).expect("it reads");
        stdin.flush().expect("it reads");
    }

    /// Blocks until it has ended and nobody holds its streams.
    #[track_caller]
    pub fn end(mut self) -> Output {
        // Whoever reads stdin to its end may end too.
        drop(self.child.stdin.take());
        let stdout = self.stdout.wait_for(|heard| heard.is_over, "the end");
        let stderr = self.stderr.wait_for(|heard| heard.is_over, "the end");
        let status = self.child.wait().expect("a child can be waited for");
        Output {
            status,
            stdout,
            stderr,
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // Gone already is fine; so is a group whose first process was reaped.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// What a stream has carried so far.
#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    is_over: bool,
}

impl State {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

struct Heard(Arc<(Mutex<State>, Condvar)>);

impl Heard {
    fn listen(mut stream: impl Read + Send + 'static) -> Self {
        let shared = Arc::<(Mutex<State>, Condvar)>::default();
        let heard = Self(Arc::clone(&shared));
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                let read = stream.read(&mut chunk).unwrap_or(0);
                let mut state = shared.0.lock().expect("no panic while locked");
                state.bytes.extend_from_slice(&chunk[..read]);
                state.is_over = read == 0;
                shared.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        heard
    }

    #[track_caller]
    fn wait_for(&self, is_met: impl Fn(&State) -> bool, what: &str) -> String {
        let (state, bell) = &*self.0;
        let locked: MutexGuard<'_, State> = state.lock().expect("no panic while locked");
        let waits = |state: &mut State| !is_met(state) && !state.is_over;
        let waited = bell.wait_timeout_while(locked, LIMIT, waits);
        let (state, _) = waited.expect("no panic while locked");
        let text = state.text();
        assert!(is_met(&state), "no {what} within {LIMIT:?}, but:\n{text}");
        text
    }
}
