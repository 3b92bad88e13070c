//! A record without what a row does not hold: headers and bodies are passed over, not copied.
//!
//! Opening a recording reads every line, and most of a line is headers and an inline body. Taking
//! only what a [`Row`](super::Row) needs, in one pass, takes half the time.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::exchange::{ConnectionId, Digest, ExchangeId, MadeBy, Timings};

use super::format::{Event, LineError, Record, split_line};
use super::scan::Line;

/// What a row needs of a record.
#[derive(Debug)]
pub struct Summary {
    /// As in [`Record::seq`].
    pub seq: u64,
    /// As in [`Record::t_us`].
    pub t_us: Timestamp,
    /// What happened.
    pub happened: Happened,
}

/// What a row needs of an event.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived: read, put into the table and dropped"
)]
pub enum Happened {
    /// A request was read.
    Begin(Beginning),
    /// A response was recorded whole, or an exchange stopped on the way.
    End(Ending),
    /// Anything else, whole.
    Other(Event),
}

/// What a row needs of a `begin`.
#[derive(Debug)]
pub struct Beginning {
    /// The exchange.
    pub id: ExchangeId,
    /// The client connection that it came on.
    pub connection: ConnectionId,
    /// Method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
}

/// What a row needs of an `end` or `abort`.
#[derive(Debug)]
pub struct Ending {
    /// The exchange.
    pub id: ExchangeId,
    /// Which of the two.
    pub state: RowState,
    /// Status, if a head came.
    pub status: Option<u16>,
    /// The phases that are known.
    pub phases: Timings,
    /// What we took afterwards, microseconds.
    pub own_us: u64,
    /// Who wrote the response, if it is whole.
    pub made_by: Option<MadeBy>,
    /// Octets of the response body that came.
    pub bytes: u64,
    /// Digest of the response body.
    pub body: Option<Digest>,
}

/// What became of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowState {
    /// No end is recorded.
    InFlight,
    /// A whole response.
    Ended,
    /// It stopped on the way.
    Aborted,
}

/// The fields of all kinds that are summarized; a name means the same in each.
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
    status: Option<u16>,
    phases_us: Option<Timings>,
    own_us: Option<u64>,
    made_by: Option<MadeBy>,
    body: Option<BodyFields>,
    body_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct BodyFields {
    sha256: Digest,
    bytes: u64,
}

impl Fields<'_> {
    /// What a row needs; `None` for other kinds, and where a field is lacking.
    fn summarize(self) -> Option<Summary> {
        let happened = match self.r#type {
            "begin" => Happened::Begin(Beginning {
                id: self.id?,
                connection: self.connection?,
                method: self.method?.into_owned(),
                url: self.url?.into_owned(),
            }),
            "end" => Happened::End(Ending {
                id: self.id?,
                state: RowState::Ended,
                status: Some(self.status?),
                phases: self.phases_us?,
                own_us: self.own_us?,
                made_by: Some(self.made_by?),
                bytes: self.body.as_ref().map_or(0, |body| body.bytes),
                body: self.body.map(|body| body.sha256),
            }),
            "abort" => Happened::End(Ending {
                id: self.id?,
                state: RowState::Aborted,
                status: self.status,
                phases: self.phases_us?,
                own_us: 0,
                made_by: None,
                bytes: self.body_bytes.unwrap_or(0),
                body: None,
            }),
            _ => return None,
        };
        Some(Summary {
            seq: self.seq,
            t_us: self.t_us,
            happened,
        })
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
            happened: Happened::Other(record.event),
        })
    }

    fn seq(&self) -> u64 {
        self.seq
    }
}
