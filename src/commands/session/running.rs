//! Running recorders, and how other commands find them: `modtape/PID.json` in the user's runtime
//! folder.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use ipnet::IpNet;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::child::open_dir;
use crate::commands::failure::Advise as _;
use crate::files::replace_file;

/// What other terminals need to know of a running recorder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Its process.
    pub(crate) pid: u32,
    /// The recording's name.
    pub(crate) name: String,
    /// The recording's folder, absolute.
    pub(crate) recording: PathBuf,
    /// `http://127.0.0.1:PORT`, without the token; empty if it serves nobody but its command, which is in a
    /// network namespace.
    pub(crate) proxy: String,
    /// The socket that sends the token, if clients need one.
    #[serde(default)]
    pub(crate) token: Option<PathBuf>,
    /// The socket that sends what it waits for.
    #[serde(default)]
    pub(crate) status: Option<PathBuf>,
    /// The bundle of roots, of which the root of the run is the last; a gateway has none.
    #[serde(default)]
    pub(crate) bundle: Option<PathBuf>,
    /// GOPROXY for the clients of a gateway, without the token.
    #[serde(default)]
    pub(crate) goproxy: Option<String>,
    /// GOSUMDB likewise, where the user's own names a URL.
    #[serde(default)]
    pub(crate) gosumdb: Option<String>,
    /// The hosts that it intercepts; empty for every host.
    pub(crate) intercepted: Vec<String>,
    /// W3C Trace Context: the recorder's.
    pub(crate) traceparent: String,
    /// True if it wraps a command: other terminals prefer a recorder without one.
    #[serde(default)]
    pub(crate) wraps: bool,
    /// True if it is a module proxy, which records nothing: only `modtape status` asks it.
    #[serde(default)]
    pub(crate) serves: bool,
    /// What the kernel redirects clients to, with `--mode transparent`.
    #[serde(default)]
    pub(crate) redirected: Option<Redirected>,
    /// Microseconds since 1970; the newest recorder without a command is the default.
    pub(crate) started_unix_us: u64,
}

impl Running {
    /// Whether it serves others than its own command.
    pub(crate) fn has_clients(&self) -> bool {
        !self.proxy.is_empty()
    }

    /// Whether its clients trust a root that was made for the run.
    pub(crate) const fn has_root(&self) -> bool {
        self.bundle.is_some()
    }
}

/// What rules of the firewall need to know of a recorder to which they redirect connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Redirected {
    /// Its listeners.
    pub(crate) listeners: Vec<SocketAddr>,
    /// The networks of its clients on other machines.
    pub(crate) from: Vec<IpNet>,
    /// Its user.
    pub(crate) uid: u32,
    /// Whether its own connections carry a mark.
    pub(crate) marks: bool,
}

/// The user's runtime folder for modtape, which is created if it is missing. A folder that others
/// can enter is an error.
///
/// An `XDG_RUNTIME_DIR` that is relative, missing or another user's (`su`, `sudo -E`, containers)
/// is ignored: then the folder is among the temporary files.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let owned = |dir: &PathBuf| fs::metadata(dir).is_ok_and(|dir| dir.uid() == user);
    if let Some(dir) = given.filter(|dir| dir.is_absolute()).filter(owned)
        && let Ok(folder) = private(dir.join("modtape"), user)
    {
        return Ok(folder);
    }
    let temporary = std::path::absolute(std::env::temp_dir())?;
    private(temporary.join(format!("modtape-{user}")), user)
}

fn private(folder: PathBuf, user: u32) -> anyhow::Result<PathBuf> {
    let message = || format!("cannot use {}", folder.display());
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(message);
        }
        _ => {}
    }
    // In a shared folder, another user may have made a folder of that name.
    let there = fs::symlink_metadata(&folder).with_context(message)?;
    if !there.is_dir() || there.uid() != user || there.mode() & 0o077 != 0 {
        let message = anyhow!("{} is not private to you", folder.display());
        return Err(message).help("set XDG_RUNTIME_DIR to a folder that only you can enter");
    }
    Ok(folder)
}

/// The folder of one recorder, `PID`, which is locked as long as the recorder lives.
///
/// The PID alone is not unique: in two PID namespaces (containers that share a `/tmp`) two
/// processes may have the same, and neither sees the other. A recorder that finds the folder locked
/// takes another name.
#[derive(Debug)]
pub(crate) struct Own {
    path: PathBuf,
    _lock: File,
}

impl Own {
    /// Makes it in `folder` (mode 0700), and replaces the folder of a dead process with the same
    /// PID.
    pub(crate) fn make(folder: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        let names = (2..).map(|n| format!("{pid}-{n}"));
        for name in std::iter::once(pid.to_string()).chain(names) {
            let path = folder.join(name);
            remove_dead(&path);
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            // Another recorder may have removed it: it was not locked yet.
            let lock = match open_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
            let is_ours = |there: fs::Metadata| Ok(there.ino() == lock.metadata()?.ino());
            if fs::symlink_metadata(&path)
                .and_then(is_ours)
                .unwrap_or(false)
            {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(io::Error::other("no number is free"))
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that announces the recorder, beside its folder.
    fn announcement(&self) -> PathBuf {
        self.path.with_extension("json")
    }
}

/// True if the recorder of this folder lives. The lock is shared, so that two commands can check at
/// once.
fn is_locked(dir: &Path) -> bool {
    let lock = |dir| rustix::fs::flock(&dir, FlockOperation::NonBlockingLockShared);
    open_dir(dir).is_ok_and(|dir: File| lock(dir).is_err())
}

/// Removes the folder and the announcement of a recorder that is dead.
fn remove_dead(own: &Path) {
    let lock = |dir: &File| rustix::fs::flock(dir, FlockOperation::NonBlockingLockExclusive);
    // Locked until both are removed, so that no recorder with the same PID begins in between.
    let _held = match open_dir(own) {
        Ok(dir) if lock(&dir).is_ok() => Some(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        _ => return,
    };
    let _ = fs::remove_file(own.with_extension("json"));
    let _ = fs::remove_dir_all(own);
}

/// The announcement of a running recorder, removed on drop.
#[derive(Debug)]
pub(crate) struct Announcement(PathBuf);

impl Announcement {
    pub(crate) fn write(own: &Own, running: &Running) -> io::Result<Self> {
        // Written whole and renamed, so that no command reads half of it.
        let path = own.announcement();
        let text = serde_json::to_vec_pretty(running)?;
        replace_file(&path, |file| file.write_all(&text))?;
        Ok(Self(path))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The running recorder that writes `recording`, else the newest that `suits`, else the newest. `start` is
/// what starts one.
pub(crate) fn find(
    recording: Option<&str>,
    start: &str,
    suits: impl Fn(&Running) -> bool,
) -> anyhow::Result<Running> {
    let mut running = all(&folder()?)?;
    running.retain(|it| !it.serves);
    running.sort_by_key(|it| (suits(it), !it.wraps, it.started_unix_us));
    if let Some(wanted) = recording {
        let known: Vec<_> = running
            .iter()
            .map(|recorder| recorder.name.clone())
            .collect();
        let path = fs::canonicalize(wanted).ok();
        let found = running
            .into_iter()
            .rfind(|recorder| is_of(recorder, wanted, path.as_deref()));
        return found.with_context(|| match &known[..] {
            [] => format!("no recorder is running for {wanted}"),
            known => format!("no recorder writes {wanted}; running: {}", known.join(", ")),
        });
    }
    running
        .pop()
        .context("no recorder is running")
        .help(format!("start one in another terminal: `{start}`"))
}

/// The sessions of this recording, by name or path, or all; the newest first.
pub(crate) fn matching(recording: Option<&str>) -> anyhow::Result<Vec<Running>> {
    let mut running = all(&folder()?)?;
    running.sort_by_key(|session| std::cmp::Reverse(session.started_unix_us));
    if let Some(wanted) = recording {
        let path = fs::canonicalize(wanted).ok();
        running.retain(|session| is_of(session, wanted, path.as_deref()));
    }
    Ok(running)
}

/// Whether a session is that of a recording with this name, or path.
fn is_of(session: &Running, wanted: &str, path: Option<&Path>) -> bool {
    session.name == wanted || path == Some(&*session.recording)
}

/// The process that writes the recording in `dir`, if it can be found.
pub(crate) fn recorder_of(dir: &Path) -> Option<u32> {
    let dir = fs::canonicalize(dir).ok()?;
    let running = all(&folder().ok()?).ok()?;
    let is_there =
        |running: &&Running| fs::canonicalize(&running.recording).is_ok_and(|path| path == dir);
    // A replay of a recording that is still written has started later.
    let first = running.iter().filter(is_there);
    Some(first.min_by_key(|running| running.started_unix_us)?.pid)
}

/// The recorder with that PID, if it can be found.
pub(crate) fn with_pid(pid: u32) -> Option<Running> {
    let running = all(&folder().ok()?).ok()?;
    running.into_iter().find(|recorder| recorder.pid == pid)
}

/// All recorders that are alive, by the locks of their folders: a PID may be that of another
/// process by now.
fn all(folder: &Path) -> anyhow::Result<Vec<Running>> {
    sweep(folder);
    let mut running = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        let Ok(text) = fs::read(&path) else {
            continue;
        };
        if is_locked(&path.with_extension("")) {
            running.extend(serde_json::from_slice::<Running>(&text));
        }
    }
    // Recorders in another PID namespace cannot be reached.
    running.retain(|recorder| exists(recorder.pid));
    Ok(running)
}

/// Removes `PID.json` and the folder `PID` of each recorder that was killed.
pub(crate) fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let pid = stem.and_then(|stem| stem.split('-').next()?.parse::<u32>().ok());
        if pid.is_some() {
            remove_dead(&path.with_extension(""));
        }
    }
}

/// True if there is a process with that PID, of any user.
fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| {
        // Not permitted means that it is a process of another user.
        !matches!(
            rustix::process::test_kill_process(pid),
            Err(rustix::io::Errno::SRCH)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_is_left_alone_and_what_was_killed_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let pid = std::process::id();
        fs::create_dir(temp.path().join(pid.to_string())).unwrap();
        fs::write(temp.path().join(format!("{pid}/bundle.pem")), "left").unwrap();
        let first = Own::make(temp.path()).unwrap();
        assert_eq!(first.path(), temp.path().join(pid.to_string()));
        assert!(!first.path().join("bundle.pem").exists());
        // As a process of that number in another namespace would.
        let second = Own::make(temp.path()).unwrap();
        assert_eq!(second.path(), temp.path().join(format!("{pid}-2")));
        assert_ne!(first.announcement(), second.announcement());
        // Nobody has this number here, but somebody holds the lock.
        let elsewhere = temp.path().join("4194305");
        fs::rename(first.path(), &elsewhere).unwrap();
        fs::write(elsewhere.with_extension("json"), "{}").unwrap();
        sweep(temp.path());
        assert!(elsewhere.exists() && elsewhere.with_extension("json").exists());
        drop(first);
        sweep(temp.path());
        assert!(!elsewhere.exists() && second.path().exists());
        assert!(!elsewhere.with_extension("json").exists());
    }
}
