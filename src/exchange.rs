//! The noun: one request and its response with timings (RFC 9113's word for what a stream carries).
//!
//! Plain data, shared by both legs, the recording and every projection of it. Field names are the
//! recording's own: durations end in `_us` (integer microseconds), sizes in `_bytes`.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Timestamp;

/// Counts exchanges from 1, in the order in which their requests were read.
pub type ExchangeId = u64;

/// Counts client connections from 1, in the order in which they were accepted.
pub type ConnectionId = u64;

/// A part of an exchange's time, in the order in which they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Waiting for us or for the client: whatever lies between the phases below.
    Blocked,
    /// Resolving the name of what is dialled.
    Dns,
    /// TCP, and the parent proxy's answer where there is one.
    Connect,
    /// The upstream TLS handshake.
    ///
    /// HAR calls it `ssl` and counts it inside `connect`; only `export::har` adds them.
    Tls,
    /// From the first request byte written to the last.
    Send,
    /// From the last request byte written to the first byte of the final (not 1xx) head.
    Wait,
    /// From the first byte of the final head to the last byte read from upstream.
    Receive,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 7] = [
        Self::Blocked,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Send,
        Self::Wait,
        Self::Receive,
    ];

    /// The phase's name in the recording and in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Wait => "wait",
            Self::Receive => "receive",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long each phase took, in microseconds; `None` where a phase did not happen.
///
/// `None` is not zero: a reused connection has no connect phase at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings([Option<u64>; 7]);

impl Timings {
    /// The sum of all phases: the exchange's whole time, microseconds.
    pub fn total_us(&self) -> u64 {
        self.0
            .iter()
            .flatten()
            .fold(0, |sum, us| sum.saturating_add(*us))
    }

    /// The phases that happened, in order, with their microseconds.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, u64)> + '_ {
        Phase::ALL
            .into_iter()
            .filter_map(|phase| Some((phase, self[phase]?)))
    }
}

impl Index<Phase> for Timings {
    type Output = Option<u64>;

    fn index(&self, phase: Phase) -> &Option<u64> {
        &self.0[phase as usize]
    }
}

impl IndexMut<Phase> for Timings {
    fn index_mut(&mut self, phase: Phase) -> &mut Option<u64> {
        &mut self.0[phase as usize]
    }
}

impl FromIterator<(Phase, u64)> for Timings {
    fn from_iter<I: IntoIterator<Item = (Phase, u64)>>(phases: I) -> Self {
        let mut timings = Self::default();
        for (phase, us) in phases {
            timings[phase] = Some(us);
        }
        timings
    }
}

impl Serialize for Timings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(phase, us)| (phase.name(), us)))
    }
}

impl<'de> Deserialize<'de> for Timings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Named {
            blocked: Option<u64>,
            dns: Option<u64>,
            connect: Option<u64>,
            tls: Option<u64>,
            send: Option<u64>,
            wait: Option<u64>,
            receive: Option<u64>,
        }
        let n = Named::deserialize(deserializer)?;
        Ok(Self([
            n.blocked, n.dns, n.connect, n.tls, n.send, n.wait, n.receive,
        ]))
    }
}

/// Octets that are usually text: JSON text when UTF-8, else `{"b64": "…"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Octets(pub Vec<u8>);

impl Octets {
    /// The octets as text for people, with `\u{fffd}` for what is not UTF-8.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&str> for Octets {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Octets {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&[u8]> for Octets {
    fn from(octets: &[u8]) -> Self {
        Self(octets.to_vec())
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_map([("b64", BASE64.encode(&self.0))]),
        }
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Binary { b64: String },
        }
        match Either::deserialize(deserializer)? {
            Either::Text(text) => Ok(Self(text.into_bytes())),
            Either::Binary { b64 } => BASE64.decode(b64).map(Self).map_err(D::Error::custom),
        }
    }
}

/// Header or trailer fields in the order in which hyper gave them: `[[name, value], …]`.
pub type Fields = Vec<(String, Octets)>;

/// The first value of the field `name` (lower case), as text.
pub fn field<'a>(fields: &'a Fields, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    fields
        .iter()
        .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_text())
}

/// A fixed number of octets written as lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

/// SHA-256 of a body (FIPS 180-4).
pub type Digest = Hex<32>;

/// W3C Trace Context `trace-id`: one for a recorded command.
pub type TraceId = Hex<16>;

/// W3C Trace Context `parent-id`: one for an exchange.
pub type SpanId = Hex<8>;

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not the expected number of lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("expected {expected} lower-case hexadecimal digits")]
pub struct HexError {
    expected: usize,
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        let error = || HexError { expected: 2 * N };
        if text.len() != 2 * N {
            return Err(error());
        }
        let mut octets = [0; N];
        for (octet, pair) in octets.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |c: u8| match c {
                b'0'..=b'9' => Ok(c - b'0'),
                b'a'..=b'f' => Ok(c - b'a' + 10),
                _ => Err(error()),
            };
            *octet = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(octets))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A message body: transfer-decoded, content-encoded octets, as they were received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// SHA-256 of the octets.
    pub sha256: Digest,
    /// How many octets there are.
    pub bytes: u64,
    /// The octets themselves, where they are at most 16 KiB; larger bodies lie in `bodies/`.
    #[serde(default)]
    pub inline: Option<Octets>,
    /// False where only the digest was kept (`--bodies none`).
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub kept: bool,
}

fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if gives a reference"
)]
fn is_true(kept: &bool) -> bool {
    *kept
}

/// Who wrote a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MadeBy {
    /// The origin (or a proxy on the way to it): passed on unchanged.
    Origin,
    /// modtape itself: a 502, 504 or 421 with its reason. Never replayed.
    Modtape,
}

/// A try that failed before the one whose result is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The client connection whose upstream connection was lost.
    pub connection: ConnectionId,
    /// Why it was lost.
    pub error: String,
}

/// A request was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The exchange.
    pub id: ExchangeId,
    /// The client connection that it came on.
    pub connection: ConnectionId,
    /// The exchange's own span of the recording's trace.
    pub span: SpanId,
    /// Method (RFC 9110 section 9).
    pub method: String,
    /// Absolute URL, redacted.
    pub url: String,
    /// `HTTP/1.1` or `HTTP/2`, on the client leg.
    pub version: String,
    /// Header fields as read, redacted.
    pub headers: Fields,
}

/// A response was recorded whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The exchange.
    pub id: ExchangeId,
    /// Status code.
    pub status: u16,
    /// Reason phrase, where HTTP/1.1 had one that is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Octets>,
    /// `HTTP/1.1` or `HTTP/2`, on the upstream leg.
    pub version: String,
    /// Header fields as received, redacted.
    pub headers: Fields,
    /// Trailer fields as received, redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trailers: Fields,
    /// The request's body, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body: Option<Body>,
    /// The response's body; `None` where the status or method allows none.
    #[serde(default)]
    pub body: Option<Body>,
    /// The phases.
    pub phases_us: Timings,
    /// What we took after the last byte was read: hashing, writing, waiting for the journal.
    pub own_us: u64,
    /// How much of `receive` the client held back by not reading.
    #[serde(default)]
    pub client_wait_us: u64,
    /// Who wrote the response.
    pub made_by: MadeBy,
    /// Tries that failed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
}

/// An exchange that did not reach its end: never replayed as whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    /// The exchange.
    pub id: ExchangeId,
    /// The phase in which it stopped.
    #[serde(rename = "where")]
    pub phase: Phase,
    /// Why: who went away, or what was wrong.
    pub why: String,
    /// Status, if a head had come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Header fields, if a head had come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Fields,
    /// Octets of the response body that had come.
    #[serde(default)]
    pub body_bytes: u64,
    /// The phases so far.
    pub phases_us: Timings,
}

/// What became of a client connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// We answer TLS ourselves and record what is inside.
    Intercept,
    /// Relayed blindly; bytes and times only.
    Tunnel,
    /// An absolute-form `http://` request: no CONNECT, no TLS.
    Plain,
    /// We said no.
    Refuse,
}

/// The client's side of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSide {
    /// The client's address and port.
    pub addr: String,
    /// The server name of its ClientHello (RFC 6066).
    #[serde(default)]
    pub sni: Option<String>,
    /// The protocol that we agreed on with it (RFC 7301).
    #[serde(default)]
    pub alpn: Option<String>,
    /// The TLS version that we agreed on with it.
    #[serde(default)]
    pub tls: Option<String>,
}

/// The upstream side of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamSide {
    /// The address and port that TCP connected to: the parent proxy's, if there is one.
    #[serde(default)]
    pub addr: Option<String>,
    /// The port that it left from on our side.
    #[serde(default)]
    pub local_addr: Option<String>,
    /// The protocol that the upstream chose (RFC 7301).
    #[serde(default)]
    pub alpn: Option<String>,
    /// The TLS version that the upstream chose.
    #[serde(default)]
    pub tls: Option<String>,
    /// The parent proxy, credentials redacted.
    #[serde(default)]
    pub via: Option<String>,
}

/// A client connection is set up, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The connection.
    pub id: ConnectionId,
    /// When its first byte was read.
    pub started_us: Timestamp,
    /// What became of it.
    pub mode: Mode,
    /// `host:port` of CONNECT as the client wrote it, redacted; of the URL for plain requests.
    pub target: String,
    /// The client's side.
    pub client: ClientSide,
    /// The upstream side; `None` where nothing was dialled.
    #[serde(default)]
    pub upstream: Option<UpstreamSide>,
    /// Resolving, microseconds.
    #[serde(default)]
    pub dns_us: Option<u64>,
    /// TCP and parent proxy, microseconds.
    #[serde(default)]
    pub connect_us: Option<u64>,
    /// Upstream TLS handshake, microseconds.
    #[serde(default)]
    pub tls_us: Option<u64>,
    /// Why there is no upstream, or why we said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A client connection is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The connection.
    pub id: ConnectionId,
    /// Octets from the client, below its TLS.
    pub from_client_bytes: u64,
    /// Octets to the client, below its TLS.
    pub to_client_bytes: u64,
    /// Who ended it, and how.
    pub why: String,
}

/// What became of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every exchange has ended; boxing would cost each of them"
)]
pub enum Outcome {
    /// No end is recorded: the recorder was killed, or it is still going on.
    InFlight,
    /// A whole response.
    Ended(End),
    /// It stopped on the way.
    Aborted(Abort),
}

/// One request and what became of it, as read back from a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// When it started; see [`Begin`] for what starts an exchange.
    pub started: Timestamp,
    /// The request.
    pub begin: Begin,
    /// What became of it.
    pub outcome: Outcome,
}

impl Exchange {
    /// The response, if it is whole.
    pub const fn end(&self) -> Option<&End> {
        match &self.outcome {
            Outcome::Ended(end) => Some(end),
            Outcome::InFlight | Outcome::Aborted(_) => None,
        }
    }

    /// The phases that are known.
    pub fn timings(&self) -> Timings {
        match &self.outcome {
            Outcome::InFlight => Timings::default(),
            Outcome::Ended(end) => end.phases_us,
            Outcome::Aborted(abort) => abort.phases_us,
        }
    }

    /// The status, if a head came.
    pub const fn status(&self) -> Option<u16> {
        match &self.outcome {
            Outcome::InFlight => None,
            Outcome::Ended(end) => Some(end.status),
            Outcome::Aborted(abort) => abort.status,
        }
    }

    /// Octets of the response body.
    pub fn body_bytes(&self) -> u64 {
        match &self.outcome {
            Outcome::InFlight => 0,
            Outcome::Ended(end) => end.body.as_ref().map_or(0, |body| body.bytes),
            Outcome::Aborted(abort) => abort.body_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_that_did_not_happen_is_absent_not_zero() {
        let timings = Timings::from_iter([(Phase::Send, 2), (Phase::Wait, 80)]);
        let json = serde_json::to_string(&timings).unwrap();
        assert_eq!(json, r#"{"send":2,"wait":80}"#);
        assert_eq!(serde_json::from_str::<Timings>(&json).unwrap(), timings);
        assert_eq!(timings[Phase::Connect], None);
        assert_eq!(timings.total_us(), 82);
    }

    #[test]
    fn octets_that_are_not_text_survive() {
        for octets in [b"plain".to_vec(), vec![0xff, 0, b'a']] {
            let octets = Octets(octets);
            let json = serde_json::to_string(&octets).unwrap();
            assert_eq!(serde_json::from_str::<Octets>(&json).unwrap(), octets);
        }
    }

    #[test]
    fn a_digest_takes_64_lower_case_digits_and_nothing_else() {
        let text = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(text.parse::<TraceId>().unwrap().to_string(), text);
        assert!(text.to_uppercase().parse::<TraceId>().is_err());
        assert!(text.parse::<SpanId>().is_err());
        assert!("0af7651916cd43éé8448eb211c8031".parse::<TraceId>().is_err());
    }
}
