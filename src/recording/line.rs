//! A record as a line of the journal, written and read back.
//!
//! A line of `journal.ndjson` is 8 lower-case hexadecimal digits of CRC-32C (RFC 3720 section 12.1)
//! over the JSON text, a space, the JSON text, a line feed. `cut -c10- journal.ndjson | jq` works.
//!
//! The two lines that every exchange costs are put together by hand: serde's tagged and flattened
//! enums, and its escaping byte by byte, were a sixth of what a recorded request costs
//! (`benches/README.md`). A test holds them to what serde would write.
//!
//! A line is read in one pass over its text: as a whole [`Record`], or as the [`Summary`] that a row
//! is made of. Opening a recording reads every line, and most of a line is header fields and an inline
//! body: a summary passes over these without copying them, which takes half the time. Both are read by
//! the same fields, so a row is always of a record that can be read again.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::format::{Close, Connection, Event, Gap, Open, Record};
use super::processes::Sample;
use crate::clock::Timestamp;
use crate::exchange::{
    Abort, Attempt, Begin, Body, ByteString, ConnectionId, Digest, End, ExchangeId, Fields, Hex,
    MadeBy, Phase, SpanId, Stall, Timings,
};

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

#[cfg(any(test, fuzzing))]
impl Record {
    /// The record's line, with checksum and line feed.
    pub(crate) fn to_line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(1024);
        write_line(&mut line, self.seq, &to_text(self.t_us, &self.event));
        line
    }
}

/// Appends the line of sequence number `seq` with the rest of its text as [`to_text`] made it.
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

/// A record's JSON text without its opening brace and sequence number, which only the journal's
/// owner knows.
pub(crate) fn to_text(t_us: Timestamp, event: &Event) -> Vec<u8> {
    match event {
        Event::Begin(begin) => BeginLine {
            id: begin.id,
            connection: begin.connection,
            span: begin.span,
            method: &begin.method,
            url: &begin.url,
            version: &begin.version,
            headers: &FieldsText::from(&begin.headers),
        }
        .to_text(t_us),
        Event::End(end) => EndLine {
            id: end.id,
            status: end.status,
            reason: end.reason.as_ref(),
            version: &end.version,
            headers: &FieldsText::from(&end.headers),
            trailers: Some(&FieldsText::from(&end.trailers)),
            request_body: end.request_body.as_ref(),
            body: end.body.as_ref(),
            phases_us: end.phases_us,
            own_us: end.own_us,
            client_wait_us: end.client_wait_us,
            longest_silence_us: end.longest_silence_us,
            made_by: end.made_by,
            attempts: &end.attempts,
            notes: &end.notes,
        }
        .to_text(t_us),
        _ => by_serde(t_us, event),
    }
}

/// Header or trailer fields as the journal holds them: `[["accept","*/*"]]`.
///
/// Made from the fields as they lie in a message: a copy of each name and value to keep them until
/// the line is written would be most of what a recorded request allocates.
#[derive(Debug, Clone)]
pub(crate) struct FieldsText(Text);

impl FieldsText {
    /// The text of `fields`, in their order.
    pub(crate) fn of<'a>(fields: impl Iterator<Item = (&'a str, Cow<'a, [u8]>)>) -> Self {
        let mut text = Text::with_capacity(512);
        let mut before = "[[";
        for (name, value) in fields {
            text.raw(before);
            text.string(name);
            text.raw(",");
            text.bytes(&value);
            before = "],[";
        }
        text.raw(if text.0.is_empty() { "[]" } else { "]]" });
        Self(text)
    }

    /// The fields that it was made of.
    pub(crate) fn to_fields(&self) -> Fields {
        serde_json::from_slice(&self.0.0).expect("what was written as fields reads as fields")
    }

    fn is_empty(&self) -> bool {
        self.0.0 == b"[]"
    }

    fn len(&self) -> usize {
        self.0.0.len()
    }
}

impl From<&Fields> for FieldsText {
    fn from(fields: &Fields) -> Self {
        let fields = fields.iter();
        Self::of(fields.map(|(name, value)| (name.as_str(), Cow::from(&value.0))))
    }
}

/// What a `begin` record says (see [`Begin`]), borrowed from the request.
#[derive(Debug)]
pub(crate) struct BeginLine<'a> {
    pub(crate) id: ExchangeId,
    pub(crate) connection: ConnectionId,
    pub(crate) span: SpanId,
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) version: &'a str,
    pub(crate) headers: &'a FieldsText,
}

/// What an `end` record says (see [`End`]), borrowed from the exchange.
#[derive(Debug)]
pub(crate) struct EndLine<'a> {
    pub(crate) id: ExchangeId,
    pub(crate) status: u16,
    pub(crate) reason: Option<&'a ByteString>,
    pub(crate) version: &'a str,
    pub(crate) headers: &'a FieldsText,
    pub(crate) trailers: Option<&'a FieldsText>,
    pub(crate) request_body: Option<&'a Body>,
    pub(crate) body: Option<&'a Body>,
    pub(crate) phases_us: Timings,
    pub(crate) own_us: u64,
    pub(crate) client_wait_us: u64,
    pub(crate) longest_silence_us: Option<u64>,
    pub(crate) made_by: MadeBy,
    pub(crate) attempts: &'a [Attempt],
    pub(crate) notes: &'a [String],
}

fn by_serde(t_us: Timestamp, event: &Event) -> Vec<u8> {
    #[derive(Serialize)]
    struct Whole<'a> {
        t_us: Timestamp,
        #[serde(flatten)]
        event: &'a Event,
    }
    let mut text = Text::with_capacity(512);
    text.value(&Whole { t_us, event });
    text.0.remove(0);
    text.0
}

impl BeginLine<'_> {
    /// As [`to_text`] makes it.
    pub(crate) fn to_text(&self, t_us: Timestamp) -> Vec<u8> {
        let mut text = Text::with_capacity(256 + self.url.len() + self.headers.len());
        text.name("\"t_us\"").value(&t_us);
        text.name(",\"type\":\"begin\",\"id\"").value(&self.id);
        text.name(",\"connection\"").value(&self.connection);
        text.name(",\"span\"").value(&self.span);
        text.name(",\"method\"").string(self.method);
        text.name(",\"url\"").string(self.url);
        text.name(",\"version\"").string(self.version);
        text.name(",\"headers\"").text(&self.headers.0);
        text.end()
    }
}

impl EndLine<'_> {
    /// As [`to_text`] makes it.
    pub(crate) fn to_text(&self, t_us: Timestamp) -> Vec<u8> {
        let inline = self.body.and_then(|body| body.inline.as_ref());
        let inline = inline.map_or(0, |bytes| bytes.0.len());
        let mut text = Text::with_capacity(512 + self.headers.len() + inline + inline / 8);
        text.name("\"t_us\"").value(&t_us);
        text.name(",\"type\":\"end\",\"id\"").value(&self.id);
        text.name(",\"status\"").value(&self.status);
        if let Some(reason) = self.reason {
            text.name(",\"reason\"").bytes(&reason.0);
        }
        text.name(",\"version\"").string(self.version);
        text.name(",\"headers\"").text(&self.headers.0);
        if let Some(trailers) = self.trailers.filter(|trailers| !trailers.is_empty()) {
            text.name(",\"trailers\"").text(&trailers.0);
        }
        if let Some(body) = self.request_body {
            text.name(",\"request_body\"").body(body);
        }
        text.name(",\"body\"");
        match self.body {
            Some(body) => text.body(body),
            None => text.raw("null"),
        }
        text.name(",\"phases_us\"").value(&self.phases_us);
        text.name(",\"own_us\"").value(&self.own_us);
        text.name(",\"client_wait_us\"").value(&self.client_wait_us);
        if let Some(silence_us) = self.longest_silence_us {
            text.name(",\"longest_silence_us\"").value(&silence_us);
        }
        text.name(",\"made_by\"").value(&self.made_by);
        if !self.attempts.is_empty() {
            text.name(",\"attempts\"").value(&self.attempts);
        }
        if !self.notes.is_empty() {
            text.name(",\"notes\"").value(&self.notes);
        }
        text.end()
    }
}

/// JSON text as it grows.
#[derive(Debug, Clone)]
struct Text(Vec<u8>);

impl Text {
    fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A name as it stands in the text, quotes and the comma before it included.
    fn name(&mut self, name: &'static str) -> &mut Self {
        self.raw(name);
        self.raw(":");
        self
    }

    fn value(&mut self, value: &impl Serialize) {
        serde_json::to_writer(&mut self.0, value).expect("records hold only strings and integers");
    }

    fn text(&mut self, text: &Self) {
        self.0.extend_from_slice(&text.0);
    }

    fn body(&mut self, body: &Body) {
        self.name("{\"sha256\"").value(&body.sha256);
        self.name(",\"bytes\"").value(&body.bytes);
        self.name(",\"inline\"");
        match &body.inline {
            Some(bytes) => self.bytes(&bytes.0),
            None => self.raw("null"),
        }
        self.raw(if body.kept { "}" } else { ",\"kept\":false}" });
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.string(text),
            Err(_) => self.value(&ByteString(bytes.to_vec())),
        }
    }

    /// A string, escaped as serde_json does it (RFC 8259 section 7: no more than must be).
    fn string(&mut self, text: &str) {
        self.raw("\"");
        let mut rest = text.as_bytes();
        loop {
            let (plain, others) = rest.split_at(plain_bytes(rest));
            self.0.extend_from_slice(plain);
            let Some((&byte, others)) = others.split_first() else {
                break;
            };
            self.escaped(byte);
            rest = others;
        }
        self.raw("\"");
    }

    fn escaped(&mut self, byte: u8) {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            _ => return self.raw(&format!("\\u{byte:04x}")),
        };
        self.raw(short);
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

/// How many bytes at the start need no escape.
fn plain_bytes(bytes: &[u8]) -> usize {
    let long = plain_chunks::<32>(bytes);
    let short = long + plain_chunks::<8>(&bytes[long..]);
    let rest = &bytes[short..];
    short + rest.iter().position(needs_escape).unwrap_or(rest.len())
}

/// How many bytes at the start are chunks that need no escape: a chunk without leaving early is a
/// few vector instructions.
fn plain_chunks<const LANES: usize>(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks::<LANES>();
    let is_plain = |chunk: &&[u8; LANES]| !chunk.iter().fold(false, |any, o| any | needs_escape(o));
    LANES * chunks.iter().take_while(is_plain).count()
}

const fn needs_escape(byte: &u8) -> bool {
    *byte < b' ' || *byte == b'"' || *byte == b'\\'
}

/// What a line can be read as: a [`Record`] or a [`Summary`].
pub trait Line: Sized {
    /// Reads one line, without its line feed, if it verifies.
    fn parse_line(line: &[u8]) -> Result<Self, LineError>;

    /// The record's sequence number.
    fn seq(&self) -> u64;
}

/// What a row needs of a record.
#[derive(Debug)]
pub(crate) struct Summary {
    /// As in [`Record::seq`].
    pub(crate) seq: u64,
    /// As in [`Record::t_us`].
    pub(crate) t_us: Timestamp,
    /// What happened.
    pub(crate) happened: Happened,
}

/// What a row needs of an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// A request was read.
    Begin(BeginSummary),
    /// A response was recorded whole, or an exchange stopped on the way.
    End(EndSummary),
    /// As in [`Event::Open`].
    Open(Open),
    /// As in [`Event::Connection`].
    Connection(Connection),
    /// As in [`Event::Gap`].
    Gap(Gap),
    /// As in [`Event::Stall`].
    Stall(Stall),
    /// As in [`Event::Sample`].
    Sample(Sample),
    /// As in [`Event::Close`].
    Close(Close),
}

/// What a row needs of a `begin`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BeginSummary {
    /// The exchange.
    pub(crate) id: ExchangeId,
    /// The client connection that it came on.
    pub(crate) connection: ConnectionId,
    /// Method.
    pub(crate) method: String,
    /// Absolute URL.
    pub(crate) url: String,
}

/// What a row needs of an `end` or `abort`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EndSummary {
    /// The exchange.
    pub(crate) id: ExchangeId,
    /// Which of the two.
    pub(crate) state: RowState,
    /// Status, if a head came.
    pub(crate) status: Option<u16>,
    /// The phases that are known.
    pub(crate) phases: Timings,
    /// What modtape took afterwards, microseconds.
    pub(crate) own_us: u64,
    /// Who wrote the response, if it is whole.
    pub(crate) made_by: Option<MadeBy>,
    /// Bytes of the response body that came.
    pub(crate) bytes: u64,
    /// Digest of the response body.
    pub(crate) body: Option<Digest>,
}

/// What became of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RowState {
    /// No end is recorded.
    InFlight,
    /// A whole response.
    Ended,
    /// It stopped on the way.
    Aborted,
}

/// The fields of a `begin`, an `end` and an `abort`; a name means the same in each.
///
/// `S` is the type of texts and `V` that of values which may not be text: both keep their bytes
/// ([`String`], [`ByteString`]) or check and drop them ([`PassedText`], [`PassedBytes`]).
#[derive(Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de>, V: Deserialize<'de>"))]
struct LineFields<'a, S, V> {
    seq: u64,
    t_us: Timestamp,
    r#type: &'a str,
    id: Option<u64>,
    connection: Option<u64>,
    span: Option<SpanId>,
    method: Option<String>,
    url: Option<String>,
    version: Option<S>,
    #[serde(default, deserialize_with = "present")]
    headers: Option<Vec<(S, V)>>,
    status: Option<u16>,
    reason: Option<V>,
    #[serde(default)]
    trailers: Vec<(S, V)>,
    request_body: Option<BodyFields<V>>,
    body: Option<BodyFields<V>>,
    phases_us: Option<Timings>,
    own_us: Option<u64>,
    #[serde(default)]
    client_wait_us: u64,
    longest_silence_us: Option<u64>,
    made_by: Option<MadeBy>,
    #[serde(default)]
    attempts: Vec<Attempt>,
    #[serde(default)]
    notes: Vec<S>,
    r#where: Option<Phase>,
    why: Option<S>,
    #[serde(default)]
    body_bytes: u64,
}

/// [`Body`], its bytes kept or passed over.
#[derive(Deserialize)]
struct BodyFields<V> {
    sha256: Digest,
    bytes: u64,
    inline: Option<V>,
    #[serde(default = "yes")]
    kept: bool,
}

const fn yes() -> bool {
    true
}

/// A value that may be absent but not `null`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl LineFields<'_, String, ByteString> {
    /// The event; `None` where a field is missing, and for all other types.
    fn event(self) -> Option<Event> {
        Some(match self.r#type {
            "begin" => Event::Begin(Begin {
                id: self.id?,
                connection: self.connection?,
                span: self.span?,
                method: self.method?,
                url: self.url?,
                version: self.version?,
                headers: self.headers?,
            }),
            "end" => Event::End(End {
                id: self.id?,
                status: self.status?,
                reason: self.reason,
                version: self.version?,
                headers: self.headers?,
                trailers: self.trailers,
                request_body: self.request_body.map(Body::from),
                body: self.body.map(Body::from),
                phases_us: self.phases_us?,
                own_us: self.own_us?,
                client_wait_us: self.client_wait_us,
                longest_silence_us: self.longest_silence_us,
                made_by: self.made_by?,
                attempts: self.attempts,
                notes: self.notes,
            }),
            "abort" => Event::Abort(Abort {
                id: self.id?,
                phase: self.r#where?,
                why: self.why?,
                status: self.status,
                headers: self.headers.unwrap_or_default(),
                request_body: self.request_body.map(Body::from),
                body_bytes: self.body_bytes,
                longest_silence_us: self.longest_silence_us,
                phases_us: self.phases_us?,
            }),
            _ => return None,
        })
    }
}

impl From<BodyFields<ByteString>> for Body {
    fn from(body: BodyFields<ByteString>) -> Self {
        Self {
            sha256: body.sha256,
            bytes: body.bytes,
            inline: body.inline,
            kept: body.kept,
        }
    }
}

impl LineFields<'_, PassedText, PassedBytes> {
    /// What a row needs; `None` exactly where [`event`](LineFields::event) would be.
    fn summary(self) -> Option<Happened> {
        Some(match self.r#type {
            "begin" => {
                let _ = (self.span?, self.version?, self.headers?);
                Happened::Begin(BeginSummary {
                    id: self.id?,
                    connection: self.connection?,
                    method: self.method?,
                    url: self.url?,
                })
            }
            "end" => {
                let _ = (self.version?, self.headers?);
                Happened::End(EndSummary {
                    id: self.id?,
                    state: RowState::Ended,
                    status: Some(self.status?),
                    phases: self.phases_us?,
                    own_us: self.own_us?,
                    made_by: Some(self.made_by?),
                    bytes: self.body.as_ref().map_or(0, |body| body.bytes),
                    body: self.body.map(|body| body.sha256),
                })
            }
            "abort" => {
                let _ = (self.r#where?, self.why?);
                Happened::End(EndSummary {
                    id: self.id?,
                    state: RowState::Aborted,
                    status: self.status,
                    phases: self.phases_us?,
                    own_us: 0,
                    made_by: None,
                    bytes: self.body_bytes,
                    body: None,
                })
            }
            _ => return None,
        })
    }
}

/// The records that come once or twice for a connection or a run, or while nothing else does: read by serde's own types.
fn rare(r#type: &str, text: &[u8]) -> Option<Event> {
    fn read<'a, T: Deserialize<'a>>(text: &'a [u8], wrap: fn(T) -> Event) -> Option<Event> {
        serde_json::from_slice(text).ok().map(wrap)
    }
    match r#type {
        "open" => read(text, Event::Open),
        "connection" => read(text, Event::Connection),
        "gap" => read(text, Event::Gap),
        "stall" => read(text, Event::Stall),
        "sample" => read(text, Event::Sample),
        "close" => read(text, Event::Close),
        _ => None,
    }
}

/// The JSON text of a line whose checksum is right.
fn verified(line: &[u8]) -> Result<&[u8], LineError> {
    let (crc, text) = split_line(line).ok_or(LineError::Shape)?;
    if crc32c::crc32c(text) == crc {
        Ok(text)
    } else {
        Err(LineError::Checksum)
    }
}

impl Record {
    /// Reads one line, without its line feed.
    pub fn parse_line(line: &[u8]) -> Result<Self, LineError> {
        let text = verified(line)?;
        let fields = serde_json::from_slice::<LineFields<'_, String, ByteString>>(text);
        let fields = fields.map_err(|_| LineError::Unknown)?;
        let (seq, t_us) = (fields.seq, fields.t_us);
        let event = rare(fields.r#type, text).or_else(|| fields.event());
        let event = event.ok_or(LineError::Unknown)?;
        Ok(Self { seq, t_us, event })
    }
}

impl Line for Record {
    fn parse_line(line: &[u8]) -> Result<Self, LineError> {
        Self::parse_line(line)
    }

    fn seq(&self) -> u64 {
        self.seq
    }
}

impl Line for Summary {
    fn parse_line(line: &[u8]) -> Result<Self, LineError> {
        let text = verified(line)?;
        let fields = serde_json::from_slice::<LineFields<'_, PassedText, PassedBytes>>(text);
        let fields = fields.map_err(|_| LineError::Unknown)?;
        let (seq, t_us) = (fields.seq, fields.t_us);
        let happened = match rare(fields.r#type, text) {
            Some(Event::Open(open)) => Some(Happened::Open(open)),
            Some(Event::Connection(connection)) => Some(Happened::Connection(connection)),
            Some(Event::Gap(gap)) => Some(Happened::Gap(gap)),
            Some(Event::Stall(stall)) => Some(Happened::Stall(stall)),
            Some(Event::Sample(sample)) => Some(Happened::Sample(sample)),
            Some(Event::Close(close)) => Some(Happened::Close(close)),
            Some(Event::Begin(_) | Event::End(_) | Event::Abort(_)) | None => fields.summary(),
        };
        let happened = happened.ok_or(LineError::Unknown)?;
        Ok(Self {
            seq,
            t_us,
            happened,
        })
    }

    fn seq(&self) -> u64 {
        self.seq
    }
}

/// A text that is checked and dropped.
struct PassedText;

/// A [`ByteString`] that is checked and dropped.
struct PassedBytes;

impl<'de> Deserialize<'de> for PassedText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Passing;
        impl Visitor<'_> for Passing {
            type Value = PassedText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, _: &str) -> Result<PassedText, E> {
                Ok(PassedText)
            }
        }
        deserializer.deserialize_str(Passing)
    }
}

impl<'de> Deserialize<'de> for PassedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Passing;
        impl<'de> Visitor<'de> for Passing {
            type Value = PassedBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object with b64")
            }

            fn visit_str<E>(self, _: &str) -> Result<PassedBytes, E> {
                Ok(PassedBytes)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PassedBytes, A::Error> {
                ByteString::deserialize(MapAccessDeserializer::new(map)).map(|_| PassedBytes)
            }
        }
        deserializer.deserialize_any(Passing)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value as Json, json};

    use super::*;
    use crate::exchange::Closed;
    use crate::recording::sample;

    fn bytes() -> impl Strategy<Value = ByteString> {
        let text = proptest::collection::vec(any::<char>(), 0..80);
        let text = text.prop_map(|text| text.into_iter().collect::<String>().into_bytes());
        let ascii = proptest::collection::vec(0_u8..128, 0..200);
        let any = proptest::collection::vec(any::<u8>(), 0..80);
        prop_oneof![text, ascii, any].prop_map(ByteString)
    }

    fn fields() -> impl Strategy<Value = Fields> {
        proptest::collection::vec((".{0,12}", bytes()), 0..4)
    }

    fn body() -> impl Strategy<Value = Option<Body>> {
        let body = (
            any::<[u8; 32]>(),
            proptest::option::of(bytes()),
            any::<bool>(),
        );
        proptest::option::of(body.prop_map(|(sha256, inline, kept)| {
            Body {
                sha256: Hex(sha256),
                bytes: inline
                    .as_ref()
                    .map_or(u64::MAX, |bytes| bytes.0.len() as u64),
                inline,
                kept,
            }
        }))
    }

    fn end() -> impl Strategy<Value = End> {
        let heads = (
            any::<u16>(),
            proptest::option::of(bytes()),
            fields(),
            fields(),
        );
        let rest = (proptest::collection::vec(".{0,9}", 0..3), any::<u64>());
        (heads, body(), body(), rest).prop_map(|(head, body, request_body, (errors, own_us))| End {
            id: own_us,
            status: head.0,
            reason: head.1,
            version: "HTTP/1.1".into(),
            headers: head.2,
            trailers: head.3,
            request_body,
            body,
            phases_us: [(Phase::Send, 3), (Phase::Wait, own_us)]
                .into_iter()
                .collect(),
            own_us,
            client_wait_us: 7,
            longest_silence_us: (own_us % 2 == 0).then_some(own_us),
            made_by: MadeBy::Origin,
            notes: errors.clone(),
            attempts: errors
                .into_iter()
                .map(|error| Attempt {
                    connection: 1,
                    error,
                })
                .collect(),
        })
    }

    fn begin() -> impl Strategy<Value = Begin> {
        (".{0,9}", ".{0,40}", fields(), any::<[u8; 8]>()).prop_map(
            |(method, url, headers, span)| {
                let version = String::from("HTTP/2");
                Begin {
                    id: 1,
                    connection: u64::MAX,
                    span: Hex(span),
                    method,
                    url,
                    version,
                    headers,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_by_hand_is_what_serde_would_write(
            event in prop_oneof![end().prop_map(Event::End), begin().prop_map(Event::Begin)],
        ) {
            let at = Timestamp::from_micros(812);
            let by_hand = String::from_utf8(to_text(at, &event)).unwrap();
            prop_assert_eq!(by_hand, String::from_utf8(by_serde(at, &event)).unwrap());
        }
    }

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
                note: None,
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

    /// A line of this text, without its line feed.
    fn line(text: &Json) -> Vec<u8> {
        let text = text.to_string();
        format!("{:08x} {text}", crc32c::crc32c(text.as_bytes())).into_bytes()
    }

    fn end_with_all() -> Event {
        let Event::End(end) = sample::end(9, b"x") else {
            panic!("it is an end");
        };
        Event::End(End {
            reason: Some("fine".into()),
            trailers: vec![("a".into(), "b".into())],
            request_body: Some(sample::body(&[0xff])),
            attempts: vec![Attempt {
                connection: 1,
                error: "GOAWAY".into(),
            }],
            longest_silence_us: Some(2_000_000),
            notes: vec!["it ended early".into()],
            ..end
        })
    }

    /// What a field is changed to, and what other kinds call their fields.
    fn values() -> Vec<Json> {
        vec![
            Json::Null,
            json!(7),
            json!("x"),
            json!([]),
            json!([["a", "b"]]),
            json!([["a", 1]]),
            json!({}),
            json!({"b64": "AA=="}),
            json!({"b64": "!"}),
            json!("receive"),
            json!(true),
        ]
    }

    #[test]
    fn what_makes_a_row_is_what_can_be_read_again() {
        let mut events = sample::events();
        events.push(end_with_all());
        events.push(sample::stall(4, 7, 10_000_000));
        let lines = sample::lines(1, events);
        let lines: Vec<Map<String, Json>> = lines
            .iter()
            .map(|line| serde_json::from_slice(&line[9..]).unwrap())
            .collect();
        let names: std::collections::BTreeSet<&String> = lines.iter().flat_map(Map::keys).collect();
        for whole in &lines {
            let mut changed = vec![whole.clone()];
            for name in &names {
                let mut without = whole.clone();
                without.remove(*name);
                changed.push(without);
                for value in values() {
                    let mut with = whole.clone();
                    with.insert((*name).clone(), value);
                    changed.push(with);
                }
            }
            for text in changed {
                let line = line(&Json::Object(text.clone()));
                let record = Record::parse_line(&line).map(|record| record.event);
                let summary = Summary::parse_line(&line).map(|summary| summary.happened);
                let shown = String::from_utf8_lossy(&line);
                assert_eq!(summary, record.clone().map(happened), "{shown}");
                match record {
                    Ok(event) => assert_eq!(Some(event), read_by_serde(&line[9..]), "{shown}"),
                    Err(_) if is_of_another_type(whole, &text) => {}
                    Err(_) => assert_eq!(read_by_serde(&line[9..]), None, "{shown}"),
                }
            }
        }
    }

    /// Whether the change is in a field that records of this type do not have.
    fn is_of_another_type(whole: &Map<String, Json>, changed: &Map<String, Json>) -> bool {
        changed.keys().any(|name| !whole.contains_key(name))
    }

    /// The event as serde's own types read it.
    fn read_by_serde(text: &[u8]) -> Option<Event> {
        let json: Json = serde_json::from_slice(text).ok()?;
        (json["seq"].is_u64() && json["t_us"].is_u64()).then_some(())?;
        match json["type"].as_str()? {
            "begin" => serde_json::from_slice(text).ok().map(Event::Begin),
            "end" => serde_json::from_slice(text).ok().map(Event::End),
            "abort" => serde_json::from_slice(text).ok().map(Event::Abort),
            other => rare(other, text),
        }
    }

    fn happened(event: Event) -> Happened {
        match event {
            Event::Begin(begin) => Happened::Begin(BeginSummary {
                id: begin.id,
                connection: begin.connection,
                method: begin.method,
                url: begin.url,
            }),
            Event::End(end) => Happened::End(EndSummary {
                id: end.id,
                state: RowState::Ended,
                status: Some(end.status),
                phases: end.phases_us,
                own_us: end.own_us,
                made_by: Some(end.made_by),
                bytes: end.body.as_ref().map_or(0, |body| body.bytes),
                body: end.body.map(|body| body.sha256),
            }),
            Event::Abort(abort) => Happened::End(EndSummary {
                id: abort.id,
                state: RowState::Aborted,
                status: abort.status,
                phases: abort.phases_us,
                own_us: 0,
                made_by: None,
                bytes: abort.body_bytes,
                body: None,
            }),
            Event::Open(open) => Happened::Open(open),
            Event::Connection(connection) => Happened::Connection(connection),
            Event::Gap(gap) => Happened::Gap(gap),
            Event::Stall(stall) => Happened::Stall(stall),
            Event::Sample(sample) => Happened::Sample(sample),
            Event::Close(close) => Happened::Close(close),
        }
    }
}
