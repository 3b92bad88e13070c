//! A recorder without a command, perhaps under strace: cheap to start, and nobody's parent.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::support::*;

/// A running recorder; dropped, it and its tracer are killed.
pub(super) struct Started {
    spawned: Spawned,
    announced: Announced,
    root_pem: PathBuf,
    /// The recording.
    pub(super) dir: PathBuf,
    sandbox: Sandbox,
}

/// What a recorder tells in the runtime folder.
#[derive(Deserialize)]
struct Announced {
    pid: i32,
    proxy: String,
    bundle: PathBuf,
}

/// How a recorder is to be started.
pub(super) struct Start<'a> {
    pub(super) origin: &'a Origin,
    pub(super) flags: &'a [&'a str],
    /// What strace is told, if it runs under it: `-e inject=…` and the like.
    pub(super) strace: &'a [String],
    /// Where the recording comes to lie, if not in the sandbox.
    pub(super) recordings: Option<&'a Path>,
}

impl Start<'_> {
    /// The command line, in `sandbox`.
    pub(super) fn command(&self, sandbox: &Sandbox, wrapped: &[&str]) -> Command {
        let everywhere = format!("--connect-to=::127.0.0.1:{}", self.origin.addr().port());
        let mut command = if self.strace.is_empty() {
            sandbox.modtape([])
        } else {
            let mut strace = sandbox.command("/usr/bin/strace");
            strace.args(["-f", "-qq"]).args(self.strace);
            strace.arg(tested());
            strace
        };
        command.args(["record", "-o", "one", &everywhere]);
        command
            .arg("--upstream-ca")
            .arg(self.origin.root_pem_path());
        command.args(self.flags);
        if !wrapped.is_empty() {
            command.arg("--").args(wrapped);
        }
        // No go command, or it would be asked for its settings.
        command.env("PATH", sandbox.join("home"));
        command.env("MODTAPE_RECORDINGS", self.recordings(sandbox));
        command
    }

    /// The folder of recordings.
    pub(super) fn recordings(&self, sandbox: &Sandbox) -> PathBuf {
        match self.recordings {
            Some(recordings) => recordings.to_owned(),
            None => sandbox.join("recordings"),
        }
    }

    /// Starts it; `None` if it ended before it served anybody.
    pub(super) fn start(&self) -> Option<Started> {
        self.start_in(Sandbox::new())
    }

    /// The same in a sandbox whose paths are known.
    pub(super) fn start_in(&self, sandbox: Sandbox) -> Option<Started> {
        let spawned = Spawned::start(self.command(&sandbox, &[]));
        let dir = self.recordings(&sandbox).join("one");
        spawned.stderr_until("end with Ctrl-C")?;
        let announced = announced(&sandbox.join("run/modtape"))?;
        let root_pem = sandbox.join("root.pem");
        fs::write(&root_pem, own_root(&announced.bundle)).expect("our own folder");
        Some(Started {
            spawned,
            announced,
            root_pem,
            dir,
            sandbox,
        })
    }
}

impl Started {
    fn proxy(&self) -> SocketAddr {
        let address = self.announced.proxy.strip_prefix("http://");
        let address = address.and_then(|address| address.parse().ok());
        address.expect("an address")
    }

    /// A ClientHello whose sender trusts this recorder's root and no other.
    pub(super) fn hello(&self, host: &str) -> Hello {
        Hello::new(host, &self.root_pem)
    }

    /// An intercepted connection; `None` if the recorder is gone.
    pub(super) async fn session(&self, hello: &Hello) -> Option<Session> {
        Client::try_session(self.proxy(), hello).await
    }

    /// Something that kills the recorder at once.
    pub(super) fn killer(&self) -> impl Fn() + Clone + Send + Sync + 'static {
        let pid = self.pid();
        // It may be dead already; it is not reaped before this value is gone.
        move || {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// The names of its threads beside the first one.
    pub(super) fn threads(&self) -> Vec<String> {
        let threads = self.tasks().into_iter();
        let others = threads.filter(|(number, _)| *number != self.announced.pid);
        others.map(|(_, name)| name).collect()
    }

    /// strace, which has begun to follow the thread of this name; `None` if it may not.
    pub(super) fn follow(&self, name: &str, strace: &[String]) -> Option<Spawned> {
        let (number, _) = self.tasks().into_iter().find(|(_, task)| task == name)?;
        let mut command = self.sandbox.command("/usr/bin/strace");
        command.args(["-p", &number.to_string()]).args(strace);
        let spawned = Spawned::start(command);
        spawned.stderr_until("attached").map(|()| spawned)
    }

    /// Numbers and names of its threads (proc(5)).
    fn tasks(&self) -> Vec<(i32, String)> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.announced.pid));
        let tasks = tasks.into_iter().flatten().flatten();
        let named = tasks.filter_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            let number = task.file_name().to_str()?.parse().ok()?;
            Some((number, name.trim_end().to_owned()))
        });
        named.collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.announced.pid).expect("a process number")
    }

    /// Ends it as Ctrl-C would, or waits for the end that it had.
    pub(super) fn end(self) -> Left {
        let _ = kill_process(self.pid(), Signal::INT);
        Left {
            output: self.spawned.end(),
            dir: self.dir,
            _sandbox: self.sandbox,
        }
    }
}

/// What a recorder left behind.
pub(super) struct Left {
    pub(super) output: Output,
    pub(super) dir: PathBuf,
    _sandbox: Sandbox,
}

fn announced(folder: &Path) -> Option<Announced> {
    let mut entries = fs::read_dir(folder).ok()?.flatten();
    let json = entries.find(|entry| entry.path().extension().is_some_and(|name| name == "json"))?;
    serde_json::from_slice(&fs::read(json.path()).ok()?).ok()
}
