//! Where running recorders are found: `modtape/PID.json` in the user's runtime folder.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// What other terminals need to know of a running recorder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    /// Its process.
    pub(super) pid: u32,
    /// The recording's name.
    pub(super) name: String,
    /// The recording's folder, absolute.
    pub(super) recording: PathBuf,
    /// `http://127.0.0.1:PORT`.
    pub(super) proxy: String,
    /// The bundle of roots, ours last.
    pub(super) bundle: PathBuf,
    /// Whose TLS it answers; empty for every name.
    pub(super) intercepted: Vec<String>,
    /// W3C Trace Context: the recorder's.
    pub(super) traceparent: String,
    /// Microseconds since 1970; the newest recorder is the default.
    pub(super) started_unix_us: u64,
}

/// The user's runtime folder for modtape, made if need be; ours alone, or an error.
pub(super) fn folder() -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("modtape"),
        None => {
            let user = rustix::process::getuid().as_raw();
            std::env::temp_dir().join(format!("modtape-{user}"))
        }
    };
    let told = || format!("cannot use {}", folder.display());
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(told);
        }
        _ => {}
    }
    // Somebody else may have made a folder of that name in a shared one.
    let there = fs::symlink_metadata(&folder).with_context(told)?;
    let ours = there.uid() == rustix::process::getuid().as_raw();
    if !there.is_dir() || !ours || there.mode() & 0o077 != 0 {
        bail!("{} is not a private folder of yours", folder.display());
    }
    Ok(folder)
}

/// The announcement of a running recorder; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Announcement(PathBuf);

impl Announcement {
    pub(super) fn write(folder: &Path, running: &Running) -> io::Result<Self> {
        let path = folder.join(format!("{}.json", running.pid));
        // Left by a process of that number that was killed.
        let _ = fs::remove_file(&path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(&serde_json::to_vec_pretty(running)?)?;
        Ok(Self(path))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The running recorder that writes `recording`, or the newest.
pub(super) fn find(recording: Option<&str>) -> anyhow::Result<Running> {
    let mut running = all(&folder()?)?;
    running.sort_by_key(|recorder| recorder.started_unix_us);
    if let Some(wanted) = recording {
        let known: Vec<_> = running
            .iter()
            .map(|recorder| recorder.name.clone())
            .collect();
        let path = fs::canonicalize(wanted).ok();
        let found = running.into_iter().rfind(|recorder| {
            recorder.name == wanted || path.as_deref() == Some(&*recorder.recording)
        });
        return found.with_context(|| match &known[..] {
            [] => format!("no recorder is running, so none writes {wanted}"),
            known => format!("no recorder writes {wanted}; running: {}", known.join(", ")),
        });
    }
    running
        .pop()
        .context("no recorder is running\nhelp: start one in another terminal: modtape record")
}

/// Every recorder that is alive; what the dead left behind is removed.
fn all(folder: &Path) -> anyhow::Result<Vec<Running>> {
    let mut running = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let Ok(text) = fs::read(&path) else { continue };
        let Ok(recorder) = serde_json::from_slice::<Running>(&text) else {
            continue;
        };
        if is_alive(recorder.pid) {
            running.push(recorder);
        } else {
            let _ = fs::remove_file(&path);
            let _ = fs::remove_dir_all(folder.join(recorder.pid.to_string()));
        }
    }
    Ok(running)
}

/// True if there is a process of that number.
pub(super) fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| {
        // A process of another user is one too.
        !matches!(
            rustix::process::test_kill_process(pid),
            Err(rustix::io::Errno::SRCH)
        )
    })
}
