//! A record without what a row does not hold: headers and bodies are passed over, not copied.
//!
//! Opening a recording reads every line, and most of a line is headers and an inline body. Taking
//! only what a [`Row`](super::Row) needs, in one pass, takes half the time.

use std::borrow::Cow;

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Timestamp;
use crate::exchange::{
    Attempt, ConnectionId, Digest, ExchangeId, MadeBy, Octets, Phase, SpanId, Timings,
};

use super::format::{Close, Connection, Event, Gap, LineError, Open, Record, split_line};
use super::scan::Line;

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
    /// What we took afterwards, microseconds.
    pub(crate) own_us: u64,
    /// Who wrote the response, if it is whole.
    pub(crate) made_by: Option<MadeBy>,
    /// Octets of the response body that came.
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

/// The fields of all kinds that are summarized; a name means the same in each.
///
/// At least as strict as [`Record`], which judges whatever is refused here: a row is of a record that
/// can be read again.
#[derive(Deserialize)]
struct Fields<'a> {
    seq: u64,
    t_us: Timestamp,
    r#type: &'a str,
    id: Option<u64>,
    connection: Option<u64>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    url: Option<Cow<'a, str>>,
    span: Option<SpanId>,
    version: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    headers: Option<Vec<(Text, Value)>>,
    status: Option<u16>,
    #[serde(rename = "reason")]
    _reason: Option<Value>,
    #[serde(default, rename = "trailers")]
    _trailers: Vec<(Text, Value)>,
    #[serde(rename = "request_body")]
    _request_body: Option<BodyFields>,
    body: Option<BodyFields>,
    phases_us: Option<Timings>,
    own_us: Option<u64>,
    #[serde(default, rename = "client_wait_us")]
    _client_wait_us: u64,
    made_by: Option<MadeBy>,
    #[serde(default, rename = "attempts")]
    _attempts: Vec<Attempt>,
    r#where: Option<Phase>,
    why: Option<Text>,
    #[serde(default)]
    body_bytes: u64,
}

#[derive(Deserialize)]
struct BodyFields {
    sha256: Digest,
    bytes: u64,
    #[serde(rename = "inline")]
    _inline: Option<Value>,
    #[serde(default, rename = "kept")]
    _kept: bool,
}

/// A value that may be lacking and may not be `null`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A string, passed over.
struct Text;

/// [`Octets`], passed over.
struct Value;

impl Fields<'_> {
    /// What a row needs; `None` for other kinds, and where a field is lacking.
    fn summarize(self) -> Option<Summary> {
        let happened = match self.r#type {
            "begin" => {
                let _ = (self.span?, self.version?, self.headers?);
                Happened::Begin(Beginning {
                    id: self.id?,
                    connection: self.connection?,
                    method: self.method?.into_owned(),
                    url: self.url?.into_owned(),
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
        };
        Some(Summary {
            seq: self.seq,
            t_us: self.t_us,
            happened,
        })
    }
}

impl From<Event> for Happened {
    fn from(event: Event) -> Self {
        match event {
            Event::Begin(begin) => Self::Begin(Beginning {
                id: begin.id,
                connection: begin.connection,
                method: begin.method,
                url: begin.url,
            }),
            Event::End(end) => Self::End(Ending {
                id: end.id,
                state: RowState::Ended,
                status: Some(end.status),
                phases: end.phases_us,
                own_us: end.own_us,
                made_by: Some(end.made_by),
                bytes: end.body.as_ref().map_or(0, |body| body.bytes),
                body: end.body.map(|body| body.sha256),
            }),
            Event::Abort(abort) => Self::End(Ending {
                id: abort.id,
                state: RowState::Aborted,
                status: abort.status,
                phases: abort.phases_us,
                own_us: 0,
                made_by: None,
                bytes: abort.body_bytes,
                body: None,
            }),
            Event::Open(open) => Self::Open(open),
            Event::Connection(connection) => Self::Connection(connection),
            Event::Gap(gap) => Self::Gap(gap),
            Event::Close(close) => Self::Close(close),
        }
    }
}

impl Line for Summary {
    fn parse_line(line: &[u8]) -> Result<Self, LineError> {
        let (crc, text) = split_line(line).ok_or(LineError::Shape)?;
        if crc32c::crc32c(text) != crc {
            return Err(LineError::Checksum);
        }
        let fields = serde_json::from_slice::<Fields<'_>>(text).ok();
        if let Some(summary) = fields.and_then(Fields::summarize) {
            return Ok(summary);
        }
        Record::parse_line(line).map(|record| Self {
            seq: record.seq,
            t_us: record.t_us,
            happened: record.event.into(),
        })
    }

    fn seq(&self) -> u64 {
        self.seq
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Passed;
        impl Visitor<'_> for Passed {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, _: &str) -> Result<Text, E> {
                Ok(Text)
            }
        }
        deserializer.deserialize_str(Passed)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Passed;
        impl<'de> Visitor<'de> for Passed {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("octets")
            }

            fn visit_str<E>(self, _: &str) -> Result<Value, E> {
                Ok(Value)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
                Octets::deserialize(MapAccessDeserializer::new(map)).map(|_| Value)
            }
        }
        deserializer.deserialize_any(Passed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value as Json, json};

    use super::super::sample;
    use super::*;
    use crate::exchange::End;

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
        for text in &lines {
            let mut changed = vec![text.clone()];
            for name in &names {
                let mut without = text.clone();
                without.remove(*name);
                changed.push(without);
                for value in values() {
                    let mut with = text.clone();
                    with.insert((*name).clone(), value);
                    changed.push(with);
                }
            }
            for text in changed {
                let line = line(&Json::Object(text));
                let record = Record::parse_line(&line).map(|record| Happened::from(record.event));
                let summary = Summary::parse_line(&line).map(|summary| summary.happened);
                let text = String::from_utf8_lossy(&line);
                assert_eq!(summary, record, "{text}");
            }
        }
    }
}
