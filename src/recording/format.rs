//! The journal's lines and the manifest: what stands on disk, and how it is read back.
//!
//! A line of `journal.ndjson` is 8 lower-case hexadecimal digits of CRC-32C (RFC 3720 section 12.1)
//! over the JSON text, a space, the JSON text, a line feed. `cut -c10- journal.ndjson | jq` works.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::exchange::{Abort, Begin, Closed, End, ExchangeId, Hex, Opened, TraceId};
use crate::gomod::Kind;

/// The version of the format that this program writes; it reads this one only.
pub const FORMAT_VERSION: u32 = 1;

/// Bodies up to this size (octets) stand in the journal; larger ones are files in `bodies/`.
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
    /// Octets of response bodies.
    pub(crate) body_bytes: u64,
    /// Octets relayed in tunnels, both ways.
    pub(crate) tunnel_bytes: u64,
    /// `gap` lines.
    pub(crate) gaps: u64,
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
    /// The command's trace.
    pub trace: TraceId,
    /// What the go command goes by (`go env`), userinfo redacted; the defaults without a go.
    pub go_env: BTreeMap<String, String>,
    /// `go1.27.3`, if there was a go command.
    #[serde(default)]
    pub go_version: Option<String>,
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
}

/// What [`Manifest::kind`] says.
pub const MANIFEST_KIND: &str = "modtape recording";

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

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            exchange,
            what,
            host,
            why,
            ..
        } = self;
        write!(f, "{what} from {host} (#{exchange}): {why}")
    }
}

/// Why a line is not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not `8 digits, space, {`.
    #[error("not a journal line")]
    Shape,
    /// The digits do not match the text.
    #[error("wrong checksum")]
    Checksum,
    /// The text verifies but is not a record of this format: another version wrote it, or no recorder.
    #[error("unknown or incomplete record; written by a newer modtape?")]
    Unknown,
}

impl Record {
    /// The record's line, with checksum and line feed.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn to_line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(1024);
        write_line(
            &mut line,
            self.seq,
            &super::text::to_text(self.t_us, &self.event),
        );
        line
    }

    /// Reads one line, without its line feed.
    pub fn parse_line(line: &[u8]) -> Result<Self, LineError> {
        let (crc, text) = split_line(line).ok_or(LineError::Shape)?;
        if crc32c::crc32c(text) != crc {
            return Err(LineError::Checksum);
        }
        Self::parse_text(text).ok_or(LineError::Unknown)
    }

    fn parse_text(text: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Head<'a> {
            seq: u64,
            t_us: Timestamp,
            r#type: &'a str,
        }
        fn event<'a, T: Deserialize<'a>>(text: &'a [u8], wrap: fn(T) -> Event) -> Option<Event> {
            serde_json::from_slice(text).ok().map(wrap)
        }
        // Twice over the text: serde's own tagged enums would copy every value into a tree first.
        let head: Head<'_> = serde_json::from_slice(text).ok()?;
        let event = match head.r#type {
            "open" => event(text, Event::Open),
            "connection" => event(text, Event::Connection),
            "begin" => event(text, Event::Begin),
            "end" => event(text, Event::End),
            "abort" => event(text, Event::Abort),
            "gap" => event(text, Event::Gap),
            "close" => event(text, Event::Close),
            _ => None,
        }?;
        Some(Self {
            seq: head.seq,
            t_us: head.t_us,
            event,
        })
    }
}

/// Appends the line of sequence number `seq` with the rest of its text as [`super::text::to_text`] made it.
pub(crate) fn write_line(out: &mut Vec<u8>, seq: u64, text: &[u8]) {
    let start = out.len();
    // The digits come last: they are of what follows them.
    out.extend_from_slice(b"00000000 ");
    let counted = out.len();
    let _ = write!(out, "{{\"seq\":{seq},");
    out.extend_from_slice(text);
    let crc = Hex(crc32c::crc32c(&out[counted..]).to_be_bytes());
    out[start..start + 8].copy_from_slice(crc.digits(&mut [0; 64]).as_bytes());
    out.push(b'\n');
}

/// Splits a line into its checksum and its JSON text, if it has the shape of one.
pub(crate) fn split_line(line: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = line.split_at_checked(8)?;
    if !rest.starts_with(b" {")
        || !digits
            .iter()
            .all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f'))
    {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u32::from_str_radix(digits, 16).ok()?, &rest[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap() -> Record {
        Record {
            seq: 7,
            t_us: Timestamp::from_micros(812),
            event: Event::Gap(Gap {
                what: "body of exchange 3".into(),
                why: "no space left on device".into(),
            }),
        }
    }

    #[test]
    fn a_line_reads_back_as_the_record_it_was() {
        let line = gap().to_line();
        assert_eq!(line.last(), Some(&b'\n'));
        assert_eq!(Record::parse_line(&line[..line.len() - 1]), Ok(gap()));
        let text = std::str::from_utf8(&line[9..]).unwrap();
        assert!(
            text.starts_with(r#"{"seq":7,"t_us":812,"type":"gap","what":"#),
            "{text}"
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let line = gap().to_line();
        let line = &line[..line.len() - 1];
        for bit in 0..line.len() * 8 {
            let mut flipped = line.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::parse_line(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn connection_lines_carry_their_event() {
        let record = Record {
            seq: 1,
            t_us: Timestamp::default(),
            event: Event::Connection(Connection::Closed(Closed {
                id: 4,
                from_client_bytes: 1,
                to_client_bytes: 2,
                tunnel: false,
                why: "client closed".into(),
            })),
        };
        let line = record.to_line();
        let text = std::str::from_utf8(&line).unwrap();
        assert!(
            text.contains(r#""type":"connection","event":"closed","id":4"#),
            "{text}"
        );
        assert_eq!(Record::parse_line(&line[..line.len() - 1]), Ok(record));
    }
}
