//! A record as a line of the journal, written and read back.
//!
//! A line of `journal.ndjson` is 8 lower-case hexadecimal digits of CRC-32C (RFC 3720 section 12.1)
//! over the JSON text, a space, the JSON text, a line feed. `cut -c10- journal.ndjson | jq` works.
//!
//! The two lines that every exchange costs are put together by hand: serde's tagged and flattened
//! enums, and its escaping byte by byte, were a sixth of what a recorded request costs
//! (`benches/README.md`). A test holds them to what serde would write; serde reads them back.

use std::borrow::Cow;
use std::io::Write as _;

use serde::Serialize;

use super::format::Event;
use crate::clock::Timestamp;
use crate::exchange::{
    Attempt, Body, ByteString, ConnectionId, ExchangeId, Fields, Hex, MadeBy, SpanId, Timings,
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
impl super::format::Record {
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
///
/// [`Begin`]: crate::exchange::Begin
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
///
/// [`End`]: crate::exchange::End
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exchange::{Attempt, Begin, Closed, End, MadeBy, Phase};
    use crate::recording::format::{Connection, Gap, Record};

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
