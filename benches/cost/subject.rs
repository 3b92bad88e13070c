//! The programs that are measured: a fresh proxy for each run, and what the kernel says of it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use modtape::tls::Protocol;
use serde::Deserialize;
use tempfile::TempDir;

use crate::origin::Origin;

/// How long a recorder may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The kernel counts CPU in these, whatever its own tick is (proc(5): `sysconf(_SC_CLK_TCK)`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A proxy to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// `modtape record`, with further options.
    Modtape { path: PathBuf, options: Vec<String> },
    /// Another program and its arguments. It is told `--origin ADDRESS --trust PEM --folder DIR
    /// --protocol h1|h2`, prints one line of JSON (`proxy`: its address, `bundle`:
    /// its root's file), and serves in that same process until it is killed.
    Rival(Vec<String>),
}

/// A running proxy with an environment of its own; dropped, it is killed and what it wrote removed.
pub(crate) struct Subject {
    child: Child,
    folder: TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its own root, and perhaps others.
    pub(crate) bundle: PathBuf,
}

/// The part of its announcement that is needed here.
#[derive(Deserialize)]
struct Announced {
    proxy: String,
    bundle: PathBuf,
}

impl Program {
    /// Starts it in front of `origin`, and returns once it can be used.
    pub(crate) async fn start(
        &self,
        origin: &Origin,
        protocol: Protocol,
    ) -> anyhow::Result<Subject> {
        let folder = TempDir::with_prefix_in("cost-", env!("CARGO_TARGET_TMPDIR"))?;
        match self {
            Self::Modtape { path, options } => {
                Subject::modtape(path, options, origin, folder).await
            }
            Self::Rival(command) => Subject::rival(command, origin, protocol, folder).await,
        }
    }
}

impl Subject {
    async fn modtape(
        program: &Path,
        options: &[String],
        origin: &Origin,
        folder: TempDir,
    ) -> anyhow::Result<Self> {
        let run = folder.path().join("run");
        fs::create_dir(&run)?;
        let connect_to = format!("::127.0.0.1:{}", origin.address.port());
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
            .arg(&origin.root)
            .args(options)
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

    async fn rival(
        command: &[String],
        origin: &Origin,
        protocol: Protocol,
        folder: TempDir,
    ) -> anyhow::Result<Self> {
        let (program, args) = command.split_first().context("a rival without a program")?;
        let mut child = Command::new(program)
            .args(args)
            .args(["--origin", &origin.address.to_string(), "--trust"])
            .arg(&origin.root)
            .arg("--folder")
            .arg(folder.path())
            .args([
                "--protocol",
                if protocol == Protocol::H2 { "h2" } else { "h1" },
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {program}"))?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let mut subject = Self {
            child,
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            bundle: PathBuf::new(),
        };
        // On a thread, so that a limit holds for one that says nothing: dropped, it is killed.
        let first_line = move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        };
        let line = tokio::task::spawn_blocking(first_line).await??;
        let announced: Announced = serde_json::from_str(&line)
            .with_context(|| format!("{program} did not say where it is: {line:?}"))?;
        subject.address = announced.proxy.parse()?;
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

    /// The most memory it ever held, bytes.
    pub(crate) fn peak_rss_bytes(&self) -> anyhow::Result<f64> {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, name: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .with_context(|| format!("no {name}"))?;
        Ok(kib.trim().parse::<f64>()? * 1024.0)
    }

    /// The memory that it holds, bytes.
    pub(crate) fn rss_bytes(&self) -> anyhow::Result<f64> {
        self.status_kib("VmRSS:")
    }

    /// Bytes of its journal so far; 0 for a rival.
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
