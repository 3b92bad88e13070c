//! The journal's records and the manifest: what stands on disk.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::exchange::{
    Abort, Begin, Body, Closed, Digest, End, ExchangeId, Opened, SpanId, Stall, TraceId,
};
use crate::gomod::Kind;

use super::caches::Caches;
use super::processes::Sample;

/// The version of the format that this program writes; it reads this one only.
pub const FORMAT_VERSION: u32 = 1;

/// Bodies up to this size (bytes) stand in the journal; larger ones are files in `bodies/`.
pub(crate) const INLINE_LIMIT: usize = 16 * 1024;

/// The manifest's file name.
pub(crate) const MANIFEST: &str = "recording.json";
/// The journal's file name.
pub const JOURNAL: &str = "journal.ndjson";
/// The bodies' folder name.
pub(crate) const BODIES: &str = "bodies";
/// The HAR's file name.
pub(crate) const HAR: &str = "session.har";
/// The packet capture's file name.
pub(crate) const CAPTURE: &str = "capture.pcapng";
/// The packets of both legs as they passed, with the secrets that open them.
pub(crate) const LIVE_CAPTURE: &str = "capture-tls.pcapng";
/// The file name of the main module's go.mod. Of a workspace there are several: `main.1.mod` is that of
/// the first folder that go.work names.
pub(crate) const MAIN_MOD: &str = "main.mod";
/// The file name of the main module's go.sum; in a workspace `main.1.sum` and so on.
pub(crate) const MAIN_SUM: &str = "main.sum";
/// The file name of the go.work of a workspace.
pub(crate) const MAIN_WORK: &str = "main.work";
/// The file name of its go.work.sum.
pub(crate) const MAIN_WORK_SUM: &str = "main.work.sum";
/// The index's file name.
pub const INDEX: &str = "index";
/// The name of the file that keeps space back while a recorder runs.
pub(crate) const RESERVE: &str = ".reserve";

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Counts lines from 1 without a gap.
    pub(crate) seq: u64,
    /// When it happened. For `begin` this is the start of the exchange, which lies before the
    /// line was written.
    pub t_us: Timestamp,
    /// What happened.
    pub event: Event,
}

/// What a line of the journal tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// A recorder began to write.
    Open(Open),
    /// A client connection was set up or ended.
    Connection(Connection),
    /// A request was read.
    Begin(Begin),
    /// A response was recorded whole.
    End(End),
    /// An exchange stopped on the way.
    Abort(Abort),
    /// Something was not recorded.
    Gap(Gap),
    /// An upstream was silent, or is no longer.
    Stall(Stall),
    /// What the command's processes did while no request told.
    Sample(Sample),
    /// The recorder ended in order.
    Close(Close),
}

/// A recorder began to write: the anchor of all stamps up to the next `open`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// [`FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// The recording's random id, as in the manifest.
    pub recording: String,
    /// Wall clock at stamp 0, RFC 3339 in UTC with microseconds.
    pub wall: String,
    /// The command's trace.
    pub trace: TraceId,
    /// `modtape` and its version.
    pub tool: String,
    /// The wrapped command, redacted; empty without one.
    #[serde(default)]
    pub command: Vec<String>,
    /// The verb that appended this run to a recording that was there: what it has is not what the recorded
    /// command asked for. `None` for the run that the recording began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_by: Option<String>,
}

/// A client connection's line: `"event":"opened"` or `"event":"closed"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived: built, written and dropped"
)]
pub enum Connection {
    /// It is set up, whatever became of it.
    Opened(Opened),
    /// It is over.
    Closed(Closed),
}

/// What was not recorded, and why. The recording is incomplete from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// What is missing: `body of exchange 7`, `2 journal lines since 12.345 s`.
    pub what: String,
    /// Why it is missing.
    pub why: String,
}

impl Gap {
    /// That `count` lines of the journal could not be written, the first of them at `since`.
    pub(crate) fn of_lines(count: u64, since: Timestamp, why: String) -> Self {
        let lines = if count == 1 { "line" } else { "lines" };
        let millis = since.as_micros() / 1000;
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let what = format!("{count} journal {lines} since {seconds}.{millis:03} s");
        Self { what, why }
    }

    /// How many lines of the journal are lost, if that is what is missing; see
    /// [`of_lines`](Self::of_lines).
    pub fn lost_lines(&self) -> Option<u64> {
        let (count, rest) = self.what.split_once(" journal line")?;
        let is_ours = rest.starts_with(" since ") || rest.starts_with("s since ");
        count.parse().ok().filter(|_| is_ours)
    }
}

/// The recorder ended in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// What was counted.
    pub totals: Totals,
    /// The wrapped command's exit code as we passed it on; `None` without a command.
    #[serde(default)]
    pub exit_code: Option<i32>,
}

/// Counts over a whole recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Exchanges begun.
    pub exchanges: u64,
    /// Exchanges that stopped on the way or were still in flight.
    pub(crate) aborted: u64,
    /// Exchanges that we answered ourselves.
    pub(crate) made_by_modtape: u64,
    /// Client connections accepted.
    pub connections: u64,
    /// Client connections relayed blindly.
    pub(crate) tunnels: u64,
    /// Bytes of response bodies.
    pub(crate) body_bytes: u64,
    /// Bytes relayed in tunnels, both ways.
    pub(crate) tunnel_bytes: u64,
    /// `gap` lines.
    pub(crate) gaps: u64,
}

impl Totals {
    /// Those of two runs together.
    #[must_use]
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            exchanges: self.exchanges.saturating_add(other.exchanges),
            aborted: self.aborted.saturating_add(other.aborted),
            made_by_modtape: self.made_by_modtape.saturating_add(other.made_by_modtape),
            connections: self.connections.saturating_add(other.connections),
            tunnels: self.tunnels.saturating_add(other.tunnels),
            body_bytes: self.body_bytes.saturating_add(other.body_bytes),
            tunnel_bytes: self.tunnel_bytes.saturating_add(other.tunnel_bytes),
            gaps: self.gaps.saturating_add(other.gaps),
        }
    }
}

/// `recording.json`: what one wants to know without reading the journal. Replaced by rename.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `"modtape recording"`: tells this folder from any other.
    pub kind: String,
    /// [`FORMAT_VERSION`] of the writer.
    pub format: u32,
    /// The recording's random id.
    pub id: String,
    /// `modtape` and its version.
    pub tool: String,
    /// `open` while a recorder writes (or was killed), `closed` after.
    pub state: State,
    /// Wall clock at the start, RFC 3339 in UTC.
    pub started: String,
    /// The wrapped command, redacted; empty without one.
    pub command: Vec<String>,
    /// The flags of `record` that decide what is reached, redacted, each a word: `--cold`,
    /// `--intercept=HOST,HOST`. With them the same can be recorded again.
    #[serde(default)]
    pub options: Vec<String>,
    /// How the command's requests reached the recorder; `None` in imported and in older recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RunMode>,
    /// The command's trace.
    pub trace: TraceId,
    /// What the go command goes by (`go env`), userinfo redacted; the defaults without a go.
    pub go_env: BTreeMap<String, String>,
    /// Which of these the environment sets; `None` in imported recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported: Option<Vec<String>>,
    /// `go1.27.3`, if there was a go command.
    #[serde(default)]
    pub go_version: Option<String>,
    /// How many processors the go command takes to be there: GOMAXPROCS, or what the system gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors: Option<u32>,
    /// Hosts whose TLS we answered.
    pub intercepted: Vec<String>,
    /// True for `--intercept-all`: the root had no DNS constraint.
    #[serde(default)]
    pub intercept_all: bool,
    /// False for `--no-redact`: secrets may stand in clear text here.
    pub redacted: bool,
    /// Wall time from open to close, microseconds.
    #[serde(default)]
    pub wall_us: u64,
    /// Counts.
    #[serde(default)]
    pub totals: Totals,
    /// Whether a replay of the same command will find all it needs.
    #[serde(default)]
    pub replayable: Replayable,
    /// The wrapped command's exit code as we passed it on.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Module versions of which go.sum, the checksum database and those who served them do not say the
    /// same; the first [`FAULTS`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
    /// Module versions that came from their repositories, past every module proxy: the recorded exchanges
    /// are git's, and hold no file of a module.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub direct: Vec<DirectModule>,
    /// What became of the packets of a command that ran in a network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<Packets>,
    /// The go command's caches after a command that had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caches: Option<Caches>,
    /// The command's own span; `None` in imported and in older recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<CommandSpan>,
}

/// The span of a recorded command, which the spans of its exchanges are children of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSpan {
    /// Its id: the command found it in TRACEPARENT.
    pub id: SpanId,
    /// The span that TRACEPARENT named when modtape was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SpanId>,
}

/// What [`Manifest::kind`] says.
pub const MANIFEST_KIND: &str = "modtape recording";

impl Manifest {
    /// That of a recording that begins now: nobody has asked for anything yet.
    pub(crate) fn begun(tool: &str, id: String, started: String, trace: TraceId) -> Self {
        Self {
            kind: MANIFEST_KIND.to_owned(),
            format: FORMAT_VERSION,
            id,
            tool: tool.to_owned(),
            state: State::Open,
            started,
            command: Vec::new(),
            options: Vec::new(),
            mode: None,
            trace,
            go_env: BTreeMap::new(),
            exported: None,
            go_version: None,
            processors: None,
            intercepted: Vec::new(),
            intercept_all: false,
            redacted: true,
            wall_us: 0,
            totals: Totals::default(),
            replayable: Replayable::default(),
            exit_code: None,
            conflicts: Vec::new(),
            direct: Vec::new(),
            packets: None,
            caches: None,
            span: None,
        }
    }
}

/// How the requests of a command reached its recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunMode {
    /// Through HTTPS_PROXY, with a root certificate of that run.
    Mitm,
    /// The recorder was the command's GOPROXY.
    Gateway,
    /// The kernel redirected connections to the recorder; with a root certificate of that run.
    Transparent,
    /// The command ran in a network namespace of its own, which led all its connections to the recorder.
    Netns,
}

/// What became of the packets of a command that ran in a network namespace: those that could not pass, and
/// those that left it in spite of all. TCP and DNS do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packets {
    /// Packets that any interface other than loopback sent.
    pub left: u64,
    /// Refused: UDP to port 443, which is HTTP/3.
    pub quic: u64,
    /// Refused: UDP to other ports.
    pub udp: u64,
    /// Dropped: ICMP and ICMPv6, such as ping.
    pub icmp: u64,
    /// Dropped: any other protocol.
    pub other: u64,
    /// Whether the command had the right to enter other network namespaces, whose packets do not count here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_leave: bool,
}

impl Packets {
    /// All that could not pass.
    pub(crate) const fn blocked(&self) -> u64 {
        let Self {
            quic,
            udp,
            icmp,
            other,
            ..
        } = *self;
        quic.saturating_add(udp)
            .saturating_add(icmp)
            .saturating_add(other)
    }
}

impl RunMode {
    /// As `--mode` and the manifest spell it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Mitm => "mitm",
            Self::Gateway => "gateway",
            Self::Transparent => "transparent",
            Self::Netns => "netns",
        }
    }
}

/// Whether a recorder has ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A recorder writes, or was killed: the journal's lock tells which.
    Open,
    /// Ended in order.
    Closed,
    /// Completed and checked against the checksum database.
    Sealed,
}

/// Whether a replay of the same command will find all it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayable {
    /// True if nothing speaks against it.
    pub complete: bool,
    /// What speaks against it, each with what to do.
    pub reasons: Vec<String>,
    /// Answers that are not what they were asked for; the first [`FAULTS`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// True if the answers were not all checked when the recording was closed: then `faults` need not name
    /// all of them, however few they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchecked: bool,
}

/// How many answers a manifest names that are not what they were asked for.
pub(crate) const FAULTS: usize = 100;

/// An answer that is not what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The run of the exchange, from 0.
    #[serde(default)]
    pub(crate) run: u32,
    /// The exchange.
    pub(crate) exchange: ExchangeId,
    /// What was asked for.
    pub(crate) kind: Kind,
    /// The same for people: `zip golang.org/x/net v0.34.0`.
    pub(crate) what: String,
    /// Who answered.
    pub(crate) host: String,
    /// What is wrong with it, in words.
    pub(crate) why: String,
}

/// A zip or a go.mod of which not all have the same hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Which of both.
    pub(crate) kind: Kind,
    /// `golang.org/x/net`
    pub(crate) module: String,
    /// `v0.34.0`
    pub(crate) version: String,
    /// The hashes that go.sum has, in its order; the go command goes by the first.
    #[serde(default)]
    pub(crate) go_sum: Vec<String>,
    /// Those of recorded lookups, each once.
    #[serde(default)]
    pub(crate) database: Vec<Hashed>,
    /// Those of what was served, each once for a host.
    #[serde(default)]
    pub(crate) served: Vec<Hashed>,
}

/// A module version that came from its repository, with its files as the go command made them: taken
/// from its module cache when it had ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectModule {
    /// The run, from 0.
    #[serde(default)]
    pub(crate) run: u32,
    /// `corp.example/lib`
    pub(crate) module: String,
    /// `v0.34.0`
    pub(crate) version: String,
    /// The repository's URL, as the go command says since Go 1.19.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    /// `.info`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) info: Option<KeptFile>,
    /// `.mod`
    #[serde(default, rename = "mod", skip_serializing_if = "Option::is_none")]
    pub(crate) go_mod: Option<KeptFile>,
    /// `.zip`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zip: Option<KeptFile>,
}

impl DirectModule {
    /// Its files, by kind.
    pub(crate) fn files(&self) -> impl Iterator<Item = (Kind, KeptFile)> {
        let files = [
            (Kind::Info, self.info),
            (Kind::Mod, self.go_mod),
            (Kind::Zip, self.zip),
        ];
        files
            .into_iter()
            .filter_map(|(kind, file)| Some((kind, file?)))
    }
}

/// A file in `bodies/`, named by its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    pub(crate) sha256: Digest,
    pub(crate) bytes: u64,
}

impl KeptFile {
    /// The same as a body, which is how it is read.
    pub(crate) const fn body(self) -> Body {
        Body {
            sha256: self.sha256,
            bytes: self.bytes,
            inline: None,
            kept: true,
        }
    }
}

/// An answer, and the hash of a module's file that it is or that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashed {
    /// The run of the exchange, from 0.
    #[serde(default)]
    pub(crate) run: u32,
    /// The exchange; 0 of a file that the recording keeps by itself.
    pub(crate) exchange: ExchangeId,
    /// Who answered.
    pub(crate) host: String,
    /// `h1:…`
    pub(crate) sum: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            exchange,
            what,
            host,
            why,
            ..
        } = self;
        match exchange {
            0 => write!(f, "{what} from {host}: {why}"),
            exchange => write!(f, "{what} from {host} (#{exchange}): {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_lines_tells_how_many_and_since_when() {
        let at = Timestamp::from_micros(12_345_678);
        for (count, what) in [
            (1, "1 journal line since 12.345 s"),
            (3, "3 journal lines since 12.345 s"),
        ] {
            let gap = Gap::of_lines(count, at, String::from("the disk is full"));
            assert_eq!(
                (gap.what.as_str(), gap.lost_lines()),
                (what, Some(count)),
                "{gap:?}"
            );
        }
        assert_eq!(gap_of("body of exchange 3").lost_lines(), None);
        assert_eq!(gap_of("2 journal liners since 3").lost_lines(), None);
    }

    fn gap_of(what: &str) -> Gap {
        let (what, why) = (what.into(), String::new());
        Gap { what, why }
    }
}
