//! A `modtape record` at work: clients go through it while a test drives them.
//!
//! It wraps a shell that tells its environment and waits for the end of its input, so that a test
//! ends a recording by closing a pipe and no one has to guess when the recorder is ready.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use modtape::clock::Timestamp;
use modtape::exchange::{Exchange, Opened};
use modtape::recording::format::{Event, JOURNAL, Record};
use modtape::recording::reader::ConnectionRow;
use modtape::recording::{Recording, Row};
use rustix::process::{Pid, Signal, kill_process_group};

use super::client::{Client, Hello, LIMIT};
use super::origin::Origin;
use super::process::Process;
use super::sandbox::{Output, Sandbox, collect, deliver, tested};
use super::session::Session;

/// A running recorder; dropped, it and its command are killed.
pub struct Recorder {
    child: Option<Child>,
    input: Option<ChildStdin>,
    proxy: SocketAddr,
    root_pem: PathBuf,
    dir: PathBuf,
    stderr: Option<Receiver<Option<Vec<u8>>>>,
    sandbox: Option<Sandbox>,
}

/// Under which circumstances a recorder runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wrapping {
    /// Writes a HAR when it closes, as it does for users.
    pub har: bool,
    /// Both limits of its descriptors.
    pub descriptors: Option<u32>,
    /// What it wraps, in place of a shell that tells its proxy, as a URL, and its bundle, and ends with its input.
    pub script: Option<&'static str>,
}

impl Wrapping {
    fn modtape(&self, sandbox: &Sandbox) -> Command {
        let mut args = vec!["record", "-o", "one"];
        if !self.har {
            args.push("--no-har");
        }
        let Some(limit) = self.descriptors else {
            return sandbox.modtape(args);
        };
        let mut command = sandbox.command("/bin/sh");
        command.args(["-c", "ulimit -n $0 && exec \"$@\""]);
        command.arg(limit.to_string()).arg(tested()).args(args);
        command
    }
}

/// What a recorder left behind.
pub struct Recorded {
    /// The recording, opened.
    pub recording: Recording,
    /// What the recorder said.
    pub output: Output,
    /// Where it was recorded, for what reads the recording `one` afterwards.
    pub sandbox: Option<Sandbox>,
}

impl Recorder {
    /// Records whatever leads to `origin`, under any name.
    pub fn to(origin: &Origin, flags: &[&str]) -> Self {
        let everywhere = format!("--connect-to=::127.0.0.1:{}", origin.addr().port());
        Self::trusting(
            origin.root_pem_path(),
            &[&[&everywhere[..]], flags].concat(),
        )
    }

    /// Trusts the roots in `root_pem` upstream; where it connects to is said by `flags`.
    pub fn trusting(root_pem: &Path, flags: &[&str]) -> Self {
        Self::wrapped(root_pem, flags, &Wrapping::default())
    }

    /// As [`Self::to`], under other circumstances.
    pub fn to_wrapped(origin: &Origin, wrapping: &Wrapping) -> Self {
        let everywhere = format!("--connect-to=::127.0.0.1:{}", origin.addr().port());
        Self::wrapped(origin.root_pem_path(), &[&everywhere], wrapping)
    }

    /// As [`Self::trusting`], under other circumstances.
    pub fn wrapped(root_pem: &Path, flags: &[&str], wrapping: &Wrapping) -> Self {
        let sandbox = Sandbox::new();
        let mut command = wrapping.modtape(&sandbox);
        command.arg("--upstream-ca").arg(root_pem).args(flags);
        command.args(["--", "/bin/sh", "-c", wrapping.script.unwrap_or(SCRIPT)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("modtape can be run");
        let stderr = collect(child.stderr.take().expect("stderr is a pipe"));
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let told = deliver(move || stdout.lines().map_while(Result::ok).take(2).collect());
        let mut recorder = Self {
            input: child.stdin.take(),
            child: Some(child),
            proxy: SocketAddr::from(([127, 0, 0, 1], 0)),
            root_pem: sandbox.join("root.pem"),
            dir: sandbox.join("recordings/one"),
            stderr: Some(stderr),
            sandbox: Some(sandbox),
        };
        let told: Vec<String> = told.recv_timeout(LIMIT).unwrap_or_default();
        let [proxy, bundle] = &told[..] else {
            panic!("modtape did not start its command: {}", recorder.give_up());
        };
        let proxy = proxy.strip_prefix("http://").expect("an http:// proxy");
        let proxy = proxy.rsplit('@').next().unwrap_or_default();
        recorder.proxy = proxy.parse().expect("an address");
        let root = own_root(Path::new(bundle));
        fs::write(&recorder.root_pem, root).expect("our own folder");
        recorder
    }

    /// Where clients connect.
    pub fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child
            .as_ref()
            .expect("it runs until it is finished")
            .id()
    }

    /// The folder below which it writes everything.
    pub fn folder(&self) -> &Path {
        self.root_pem.parent().expect("a file stands in a folder")
    }

    /// A ClientHello for `host` whose sender trusts the recorder's root and no other.
    pub fn hello(&self, host: &str) -> Hello {
        Hello::new(host, &self.root_pem)
    }

    /// An intercepted connection to port 443 of `host`; panics where any of it fails.
    pub async fn session(&self, host: &str) -> Session {
        Client::session(self.proxy, &self.hello(host)).await
    }

    /// The recorder's process.
    pub fn process(&self) -> Process {
        let child = self.child.as_ref().expect("it runs until it is finished");
        Process(child.id())
    }

    /// The most memory that the recorder's process has ever had, in KiB ([`Process::peak_rss_kib`]).
    pub fn peak_rss_kib(&self) -> u64 {
        self.process().peak_rss_kib()
    }

    /// Ends the command, waits for the recorder, and opens what it recorded.
    ///
    /// Clients should be gone by then: the recorder gives what is in flight two seconds.
    pub async fn finish(self) -> Recorded {
        let ended = tokio::task::spawn_blocking(move || self.wait());
        ended.await.expect("waiting does not panic")
    }

    fn wait(mut self) -> Recorded {
        self.input = None;
        let mut child = self.child.take().expect("it is finished once");
        let group = Pid::from_child(&child);
        let status = deliver(move || child.wait());
        let Ok(status) = status.recv_timeout(END_LIMIT) else {
            kill_process_group(group, Signal::KILL).expect("the group is not reaped yet");
            panic!("modtape did not end: {}", self.said());
        };
        let output = Output {
            status: status.expect("a child can be waited for"),
            stdout: String::new(),
            stderr: self.said(),
        };
        let recording = Recording::open_whole(&self.dir);
        let recording = recording.unwrap_or_else(|error| panic!("{error}: {}", output.stderr));
        // Whatever was recorded, what ended in order reads back without a complaint.
        assert_eq!(recording.damage(), []);
        Recorded {
            recording,
            output: output.expect_success(),
            sandbox: self.sandbox.take(),
        }
    }

    fn said(&mut self) -> String {
        let pipe = self.stderr.take().expect("it is asked once");
        let bytes = pipe.recv_timeout(LIMIT).ok().flatten();
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    }

    fn give_up(&mut self) -> String {
        self.kill();
        self.said()
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Recorded {
    /// All exchanges, by start.
    pub fn exchanges(&self) -> Vec<Exchange> {
        exchanges(&self.recording)
    }

    /// The one exchange; panics if there is another number of them.
    #[track_caller]
    pub fn only(&self) -> Exchange {
        let mut exchanges = self.exchanges();
        assert_eq!(exchanges.len(), 1, "{exchanges:#?}");
        exchanges.remove(0)
    }

    /// How each client connection was set up, by id, each with its further dials behind it.
    pub fn opened(&self) -> Vec<Opened> {
        let connections = self.recording.connections();
        connections
            .flat_map(ConnectionRow::dials)
            .cloned()
            .collect()
    }
}

/// The recorder's own root out of its bundle, where it stands last (PEM).
///
/// A client that trusted the whole bundle would take the origin's own leafs too.
pub fn own_root(bundle: &Path) -> String {
    let bundle = fs::read_to_string(bundle).expect("the bundle can be read");
    let last = bundle.rfind("-----BEGIN").expect("a PEM file");
    bundle[last..].to_owned()
}

/// All exchanges of a recording, by start.
pub fn exchanges(recording: &Recording) -> Vec<Exchange> {
    let read = |row: &Row| recording.exchange(row).expect("the journal is whole");
    recording.rows().iter().map(read).collect()
}

/// The journal's records with their stamps, in order.
pub fn records(recording: &Recording) -> Vec<(Timestamp, Event)> {
    let journal = fs::read(recording.dir().join(JOURNAL)).expect("a recording has a journal");
    let lines = journal
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let records = lines.map(|line| Record::parse_line(line).expect("the journal is whole"));
    records.map(|record| (record.t_us, record.event)).collect()
}

/// How long a recorder may take to close what thousands of exchanges left.
const END_LIMIT: Duration = Duration::from_secs(180);

/// Tells what it was given and ends with its input.
const SCRIPT: &str = r#"echo "$HTTPS_PROXY"; echo "$SSL_CERT_FILE"; exec cat >/dev/null"#;
