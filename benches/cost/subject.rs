//! The program that is measured: one fresh `modtape record` for each run, and what the kernel says
//! of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tempfile::TempDir;

/// How long a recorder may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The kernel counts CPU in these, whatever its own tick is (proc(5): `sysconf(_SC_CLK_TCK)`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A recorder with an environment of its own; dropped, it is killed and its recording removed.
pub(crate) struct Subject {
    child: Child,
    folder: TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Roots and the recorder's own.
    pub(crate) bundle: PathBuf,
}

/// The part of its announcement that is needed here.
#[derive(Deserialize)]
struct Announced {
    proxy: String,
    bundle: PathBuf,
}

impl Subject {
    /// Starts `program` in front of `origin`, and returns once it can be used.
    pub(crate) async fn start(
        program: &Path,
        origin: SocketAddr,
        root: &Path,
    ) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix_in("cost-", env!("CARGO_TARGET_TMPDIR"))?;
        let run = folder.path().join("run");
        fs::create_dir(&run)?;
        let connect_to = format!("::127.0.0.1:{}", origin.port());
        let child = Command::new(program)
            .args(["record", "--quiet", "--listen", "127.0.0.1:0", "-o", "run"])
            .args([
                "--no-har",
                "--upstream-proxy",
                "none",
                "--connect-to",
                &connect_to,
            ])
            .arg("--upstream-ca")
            .arg(root)
            .current_dir(folder.path())
            .env_clear()
            // No go command there: the public defaults hold.
            .env("PATH", &run)
            .env("HOME", folder.path())
            .env("TMPDIR", &run)
            .env("XDG_RUNTIME_DIR", &run)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let announcement = run.join(format!("modtape/{}.json", child.id()));
        let mut subject = Self {
            child,
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            bundle: PathBuf::new(),
        };
        let announced = subject.announced(&announcement).await?;
        let address = announced
            .proxy
            .strip_prefix("http://")
            .context("a URL of another kind")?;
        subject.address = address.parse()?;
        subject.bundle = announced.bundle;
        Ok(subject)
    }

    async fn announced(&mut self, announcement: &Path) -> anyhow::Result<Announced> {
        let pause = Duration::from_millis(5);
        let mut waited = Duration::ZERO;
        loop {
            let text = fs::read(announcement).unwrap_or_default();
            if let Ok(announced) = serde_json::from_slice(&text) {
                return Ok(announced);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the recorder ended early: {status}");
            }
            if waited > START_LIMIT {
                bail!("the recorder is not there after {START_LIMIT:?}");
            }
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }

    /// CPU of all its threads so far, user and system, microseconds.
    pub(crate) fn cpu_us(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // proc_pid_stat(5): fields 14 and 15; the name before them may hold spaces and brackets.
        let (_, fields) = stat.rsplit_once(')').context("no process name")?;
        let fields: Vec<_> = fields.split_ascii_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let (user, system) = ticks(11).zip(ticks(12)).context("no CPU times")?;
        Ok((user + system) * 1e6 / TICKS_PER_SECOND)
    }

    /// The most memory it ever held, octets.
    pub(crate) fn peak_rss_bytes(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .context("no VmHWM")?;
        Ok(kib.trim().parse::<f64>()? * 1024.0)
    }

    /// Octets of its journal so far.
    pub(crate) fn journal_bytes(&self) -> u64 {
        let journal = self.folder.path().join("recordings/run/journal.ndjson");
        fs::metadata(journal).map_or(0, |journal| journal.len())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // What it would do at its end is measured by `benches/tidy`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
