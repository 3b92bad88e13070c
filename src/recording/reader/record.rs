//! A line of the journal read back, in one pass over its text: as a whole [`Record`], or as the
//! [`Summary`] that a row is made of.
//!
//! Opening a recording reads every line, and most of a line is headers and an inline body. A summary
//! passes over these without copying them, which takes half the time. Both are read by the same
//! fields, so a row is always of a record that can be read again.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Timestamp;
use crate::exchange::{
    Abort, Attempt, Begin, Body, ByteString, ConnectionId, Digest, End, ExchangeId, MadeBy, Phase,
    SpanId, Timings,
};
use crate::recording::format::{Close, Connection, Event, Gap, Open, Record};
use crate::recording::line::{LineError, split_line};

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
    Begin(Beginning),
    /// A response was recorded whole, or an exchange stopped on the way.
    End(Ending),
    /// As in [`Event::Open`].
    Open(Open),
    /// As in [`Event::Connection`].
    Connection(Connection),
    /// As in [`Event::Gap`].
    Gap(Gap),
    /// As in [`Event::Close`].
    Close(Close),
}

/// What a row needs of a `begin`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
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
pub(crate) struct Ending {
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
/// `S` and `V` are what becomes of texts and of values that may not be text: they are kept
/// ([`String`], [`ByteString`]) or passed over ([`PassedText`], [`PassedBytes`]).
#[derive(Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de>, V: Deserialize<'de>"))]
struct Fields<'a, S, V> {
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

/// A value that may be lacking and may not be `null`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Fields<'_, String, ByteString> {
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

impl Fields<'_, PassedText, PassedBytes> {
    /// What a row needs; `None` exactly where [`event`](Fields::event) would be.
    fn summary(self) -> Option<Happened> {
        Some(match self.r#type {
            "begin" => {
                let _ = (self.span?, self.version?, self.headers?);
                Happened::Begin(Beginning {
                    id: self.id?,
                    connection: self.connection?,
                    method: self.method?,
                    url: self.url?,
                })
            }
            "end" => {
                let _ = (self.version?, self.headers?);
                Happened::End(Ending {
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
                Happened::End(Ending {
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

/// The records that come once or twice for a connection or a run: read by serde's own types.
fn rare(r#type: &str, text: &[u8]) -> Option<Event> {
    fn read<'a, T: Deserialize<'a>>(text: &'a [u8], wrap: fn(T) -> Event) -> Option<Event> {
        serde_json::from_slice(text).ok().map(wrap)
    }
    match r#type {
        "open" => read(text, Event::Open),
        "connection" => read(text, Event::Connection),
        "gap" => read(text, Event::Gap),
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
        let fields = serde_json::from_slice::<Fields<'_, String, ByteString>>(text);
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
        let fields = serde_json::from_slice::<Fields<'_, PassedText, PassedBytes>>(text);
        let fields = fields.map_err(|_| LineError::Unknown)?;
        let (seq, t_us) = (fields.seq, fields.t_us);
        let happened = match rare(fields.r#type, text) {
            Some(Event::Open(open)) => Some(Happened::Open(open)),
            Some(Event::Connection(connection)) => Some(Happened::Connection(connection)),
            Some(Event::Gap(gap)) => Some(Happened::Gap(gap)),
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

/// A text that is checked and not kept.
struct PassedText;

/// [`ByteString`] that are checked and not kept.
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
    use serde_json::{Map, Value as Json, json};

    use super::*;
    use crate::recording::sample;

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
                    Ok(event) => assert_eq!(Some(event), by_serde(&line[9..]), "{shown}"),
                    Err(_) if is_of_another_type(whole, &text) => {}
                    Err(_) => assert_eq!(by_serde(&line[9..]), None, "{shown}"),
                }
            }
        }
    }

    /// Whether the change is in a field that records of this type do not have.
    fn is_of_another_type(whole: &Map<String, Json>, changed: &Map<String, Json>) -> bool {
        changed.keys().any(|name| !whole.contains_key(name))
    }

    /// The event as serde's own types read it.
    fn by_serde(text: &[u8]) -> Option<Event> {
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
            Event::Begin(begin) => Happened::Begin(Beginning {
                id: begin.id,
                connection: begin.connection,
                method: begin.method,
                url: begin.url,
            }),
            Event::End(end) => Happened::End(Ending {
                id: end.id,
                state: RowState::Ended,
                status: Some(end.status),
                phases: end.phases_us,
                own_us: end.own_us,
                made_by: Some(end.made_by),
                bytes: end.body.as_ref().map_or(0, |body| body.bytes),
                body: end.body.map(|body| body.sha256),
            }),
            Event::Abort(abort) => Happened::End(Ending {
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
            Event::Close(close) => Happened::Close(close),
        }
    }
}
