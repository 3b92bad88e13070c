//! The noun: one request and its response with timings (RFC 9113's word for what a stream carries).
//!
//! Plain data, shared by both legs, the recording and every projection of it. Field names are the
//! recording's own: durations end in `_us` (integer microseconds), sizes in `_bytes`.

mod bytes;
mod chain;
mod dial;
mod phase;
mod stall;
mod target;
mod trace;

use serde::{Deserialize, Serialize};

pub use bytes::ByteString;
pub use bytes::Digest;
pub use bytes::Fields;
pub use bytes::Hex;
pub use bytes::field;
pub(crate) use chain::chain;
pub use dial::DialFailure;
pub use phase::Phase;
pub use phase::Timings;
pub use stall::Stall;
pub(crate) use target::{Target, TargetError, bracketed};
pub use trace::TraceFlags;
pub(crate) use trace::{SpanId, TraceId, TraceParent};

use crate::clock::Timestamp;

/// Counts exchanges from 1, in the order in which their requests were read.
pub type ExchangeId = u64;

/// Counts client connections from 1, in the order in which they were accepted.
pub(crate) type ConnectionId = u64;

/// A message body: transfer-decoded, content-encoded bytes, as they were received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// SHA-256 of the bytes.
    pub sha256: Digest,
    /// How many bytes there are.
    pub bytes: u64,
    /// The bytes themselves, where they are at most 16 KiB; larger bodies lie in `bodies/`.
    #[serde(default)]
    pub inline: Option<ByteString>,
    /// False where only the digest was kept (`--bodies none`).
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub kept: bool,
}

const fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if gives a reference"
)]
const fn is_true(kept: &bool) -> bool {
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
    pub reason: Option<ByteString>,
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
    /// The longest silence of the upstream inside the body while we were ready for more; `None` below
    /// [`LONG_SILENCE_US`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_silence_us: Option<u64>,
    /// Who wrote the response.
    pub made_by: MadeBy,
    /// Tries that failed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// What was unusual about the response: how its body ended, what was not passed to the client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// An exchange that did not reach its end: never replayed as whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    /// The exchange.
    pub id: ExchangeId,
    /// The phase in which it stopped.
    #[serde(rename = "where")]
    pub phase: Phase,
    /// Why: which side closed the connection, or what was wrong.
    pub why: String,
    /// Status, if a head had come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Header fields, if a head had come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Fields,
    /// The request's body, where it is known though no response came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body: Option<Body>,
    /// Bytes of the response body that had come.
    #[serde(default)]
    pub body_bytes: u64,
    /// The longest silence of the upstream inside the body while we were ready for more, the last one
    /// included; `None` below [`LONG_SILENCE_US`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_silence_us: Option<u64>,
    /// The phases so far.
    pub phases_us: Timings,
}

/// A silence inside a body that is on record, microseconds.
pub(crate) const LONG_SILENCE_US: u64 = 1_000_000;

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
    /// A request to modtape as a module proxy, in clear text. One dial serves other connections too: a further
    /// line without phases tells which one the exchanges behind it went through.
    Gateway,
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
    pub(crate) alpn: Option<String>,
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
    /// Who issued its certificate, as people know it; `None` without TLS and in older recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The parent proxy, credentials redacted.
    #[serde(default)]
    pub via: Option<String>,
}

/// One address that the upstream leg tried (RFC 8305 races both families).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The address and port.
    pub addr: String,
    /// From the first SYN to the answer, or to the end of the race, microseconds.
    pub took_us: u64,
    /// What happened; `None` for the winner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same as one word; `None` for one that has no answer yet, and in older recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DialFailure>,
}

/// A client connection is set up, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The connection.
    pub id: ConnectionId,
    /// When its first byte was read; of a further dial, when that began.
    pub started_us: Timestamp,
    /// True for a further dial of a connection that has such a line already: its upstream was lost,
    /// a plain request went to another host, or a gateway's went through another connection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
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
    /// Each address that was tried, the winner included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Tried>,
    /// Why there is no upstream, or why we said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same as one word, if it is the dial's; `None` in older recordings too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DialFailure>,
}

impl Opened {
    /// Why it led nowhere, if it did not: as recorded, or by the sentence of an older recording.
    pub(crate) fn failure(&self) -> Option<DialFailure> {
        let error = self.error.as_deref()?;
        Some(
            self.reason
                .unwrap_or_else(|| in_one_word(error, &self.tries)),
        )
    }

    /// True if the client ended the handshake with us, whatever had become of the upstream.
    pub fn is_the_clients(&self) -> bool {
        self.failure().is_some_and(DialFailure::is_the_clients)
    }

    /// True if it could not be made though it was wanted to the end. A client that leaves, or a
    /// command that ends, while it is still being made has no use for it: go races connections.
    pub(crate) fn has_failed(&self) -> bool {
        let failure = self.failure();
        failure.is_some_and(|failure| !failure.is_the_clients() && failure != DialFailure::Stopped)
    }

    /// True if the client said that it does not trust our root.
    pub(crate) fn is_distrust(&self) -> bool {
        self.failure() == Some(DialFailure::ClientDistrust)
    }
}

/// Why a dial failed, by the sentence that recordings had before they had the word.
fn in_one_word(error: &str, tries: &[Tried]) -> DialFailure {
    let is_unanswered = |tried: &Tried| {
        let why = tried.error.as_deref().unwrap_or_default();
        why == "no answer" || why.contains("timed out")
    };
    // What stands first is told first: a sentence may have others inside.
    let words: [(&str, DialFailure); 25] = [
        (" is modtape itself", DialFailure::Forbidden),
        (
            "modtape accepts clients from other machines",
            DialFailure::Forbidden,
        ),
        ("unknown issuer", DialFailure::TlsUnknownAuthority),
        ("self-signed", DialFailure::TlsUnknownAuthority),
        ("its certificate expired", DialFailure::TlsExpired),
        ("its certificate has expired", DialFailure::TlsExpired),
        ("is not valid before", DialFailure::TlsNotYetValid),
        ("is not valid yet", DialFailure::TlsNotYetValid),
        ("is not for the name", DialFailure::TlsWrongName),
        ("its certificate", DialFailure::TlsCertificate),
        ("an issuer of its certificate", DialFailure::TlsCertificate),
        ("an issuer's key usage", DialFailure::TlsCertificate),
        (
            "it does not send its intermediate",
            DialFailure::TlsCertificate,
        ),
        ("it sent the alert", DialFailure::TlsAlert),
        ("no answer within", DialFailure::TlsTimeout),
        ("TLS with ", DialFailure::TlsFailed),
        ("answered 407", DialFailure::Proxy407),
        (
            "took the connection and did not answer",
            DialFailure::ProxyTimeout,
        ),
        ("(resolving ", DialFailure::DnsTimeout),
        ("no connection to ", DialFailure::Timeout),
        ("cannot resolve ", DialFailure::DnsFailed),
        (": answered ", DialFailure::ProxyRefused),
        ("Connection refused", DialFailure::Refused),
        ("No route to host", DialFailure::NoRoute),
        ("Network is unreachable", DialFailure::NoRoute),
    ];
    let found = words.iter().find(|(words, _)| error.contains(words));
    match found {
        _ if error.starts_with(DISTRUST) => DialFailure::ClientDistrust,
        _ if error.starts_with("the client gave up") => DialFailure::ClientLeft,
        _ if error.starts_with(CLIENT) => DialFailure::ClientTls,
        _ if error.starts_with(STOPPED) => DialFailure::Stopped,
        _ if error.starts_with(CUT_OFF) => DialFailure::CutOff,
        Some((_, failure)) => *failure,
        None if !tries.is_empty() && tries.iter().all(is_unanswered) => DialFailure::Timeout,
        None => DialFailure::Unknown,
    }
}

/// How each error begins that is the client's doing.
const CLIENT: &str = "the client ";

/// How the error of what was in flight begins when the user, or `--timeout`, ended the command.
pub(crate) const CUT_OFF: &str = "cut off by ";

/// How each error begins that the end of the recorded command brought about.
pub(crate) const STOPPED: &str = "modtape stopped";

/// How the error of a client begins that does not trust our root.
pub(crate) const DISTRUST: &str = "the client does not trust modtape's root";

/// A client connection is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The connection.
    pub(crate) id: ConnectionId,
    /// Bytes from the client, below its TLS.
    pub from_client_bytes: u64,
    /// Bytes to the client, below its TLS.
    pub(crate) to_client_bytes: u64,
    /// True for a blind tunnel, whose bytes are all that is known of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tunnel: bool,
    /// Who ended it, and how.
    pub why: String,
    /// Of a redirected connection, in words: the name that the client sent does not lead to the address
    /// that it connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Closed {
    /// Bytes both ways.
    pub(crate) const fn bytes(&self) -> u64 {
        self.from_client_bytes.saturating_add(self.to_client_bytes)
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// No end is recorded: the recorder was killed, or it is still going on.
    InFlight,
    /// A whole response.
    Ended(End),
    /// It stopped on the way.
    Aborted(Abort),
}

/// One request and how it ended, as read back from a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// When it started; see [`Begin`] for what starts an exchange.
    pub started: Timestamp,
    /// The request.
    pub begin: Begin,
    /// How it ended.
    pub ending: Ending,
}

impl Exchange {
    /// The response, if it is whole.
    pub const fn end(&self) -> Option<&End> {
        match &self.ending {
            Ending::Ended(end) => Some(end),
            Ending::InFlight | Ending::Aborted(_) => None,
        }
    }

    /// The phases that are known.
    pub fn timings(&self) -> Timings {
        match &self.ending {
            Ending::InFlight => Timings::default(),
            Ending::Ended(end) => end.phases_us,
            Ending::Aborted(abort) => abort.phases_us,
        }
    }

    /// The status, if a head came.
    pub const fn status(&self) -> Option<u16> {
        match &self.ending {
            Ending::InFlight => None,
            Ending::Ended(end) => Some(end.status),
            Ending::Aborted(abort) => abort.status,
        }
    }

    /// The request's body, as far as it is known.
    pub(crate) const fn request_body(&self) -> Option<&Body> {
        match &self.ending {
            Ending::InFlight => None,
            Ending::Ended(end) => end.request_body.as_ref(),
            Ending::Aborted(abort) => abort.request_body.as_ref(),
        }
    }

    /// The longest silence inside the response's body, if it was a long one.
    pub(crate) const fn longest_silence_us(&self) -> Option<u64> {
        match &self.ending {
            Ending::InFlight => None,
            Ending::Ended(end) => end.longest_silence_us,
            Ending::Aborted(abort) => abort.longest_silence_us,
        }
    }

    /// Bytes of the response body.
    pub fn body_bytes(&self) -> u64 {
        match &self.ending {
            Ending::InFlight => 0,
            Ending::Ended(end) => end.body.as_ref().map_or(0, |body| body.bytes),
            Ending::Aborted(abort) => abort.body_bytes,
        }
    }
}
