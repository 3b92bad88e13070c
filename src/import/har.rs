//! HAR 1.2 (and what is called so) read twice: once for what is true of all of it, once by entries.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};

use time::OffsetDateTime;

use super::entry::{Entry, Glance, Page};
use super::exchange::{EntryError, Imported, WORDS_LIMIT, imported};
use super::stream::{self, ENTRY_LIMIT, PART_LIMIT, Parts};
use super::time::date_time;
use crate::clock::Timestamp;
use crate::exchange::{ConnectionId, ExchangeId, SpanId, Target, TraceId};

/// Why a file cannot be read as a HAR.
#[derive(Debug, thiserror::Error)]
pub enum HarError {
    /// The file gave no more.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It is not JSON, or not whole, or has something else where pages or entries should be.
    #[error("it is no HAR")]
    Json(#[source] serde_json::Error),
    /// There is no `log`.
    #[error("it is no HAR: it has no log")]
    NoLog,
    /// An entry, or what stands before it, has more text than is held in memory.
    #[error("entry {entry}, or what stands before it, is larger than {} MiB", PART_LIMIT >> 20)]
    TooLarge {
        /// Its number, from 1.
        entry: u64,
    },
    /// More entries than a recording can be opened with.
    #[error("it has more than {ENTRY_LIMIT} entries")]
    TooMany,
}

/// What is true of a HAR as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The earliest start of a page or an entry; `None` if none has one.
    pub wall: Option<OffsetDateTime>,
    /// The first trace that is told.
    pub trace: Option<TraceId>,
    /// The id of the recording that it was exported from.
    pub recording: Option<String>,
    /// The command that was recorded, if it was exported by modtape.
    pub command: Vec<String>,
    /// How many pages there are.
    pub pages: u64,
    /// How many entries there are.
    pub entries: u64,
    /// Whether each entry has an id of its own.
    has_ids: bool,
}

/// Reads all of it, so that what cannot be read to its end is known before anything is made of it.
pub fn survey(input: impl Read) -> Result<Survey, HarError> {
    let mut surveying = Surveying::default();
    stream::read(input, &mut surveying)?;
    let Surveying { mut survey, ids } = surveying;
    survey.has_ids = survey.entries == ids.len() as u64;
    Ok(survey)
}

#[derive(Default)]
struct Surveying {
    survey: Survey,
    ids: HashSet<ExchangeId>,
}

impl Surveying {
    fn saw(&mut self, started: Option<&str>) {
        let started = started.and_then(date_time).map(|(time, _)| time);
        // A recording's own times are microseconds.
        let started = started.map(|time| time.replace_nanosecond(time.microsecond() * 1000));
        let started = started.and_then(Result::ok);
        let earliest = self.survey.wall.into_iter().chain(started).min();
        self.survey.wall = earliest;
    }
}

impl Parts for Surveying {
    fn page(&mut self, json: &str) {
        self.survey.pages += 1;
        let Ok(page) = serde_json::from_str::<Page>(json) else {
            return;
        };
        self.saw(page.started_date_time.as_deref());
        if let Some(run) = page.modtape.filter(|_| self.survey.recording.is_none()) {
            let trace = run.trace.and_then(|trace| trace.parse().ok());
            self.survey.trace = self.survey.trace.or(trace);
            self.survey.recording = run.recording.filter(|id| is_id(id));
            let words = run.command.iter().map(String::len);
            if words.sum::<usize>() <= WORDS_LIMIT {
                self.survey.command = run.command;
            }
        }
    }

    fn entry(&mut self, number: u64, json: &str) -> bool {
        self.survey.entries = number;
        if let Ok(glance) = serde_json::from_str::<Glance>(json) {
            self.saw(glance.started_date_time.as_deref());
            let trace = glance.traceparent.as_deref().and_then(trace_parent);
            let trace = trace.map(|(trace, _)| trace);
            self.survey.trace = self.survey.trace.or(trace);
            let id = glance.modtape.and_then(|modtape| modtape.id);
            self.ids.extend(id.filter(|id| (1..=ID_LIMIT).contains(id)));
        }
        true
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_LIMIT
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// What every reader of JSON takes for itself (RFC 8259 section 6).
const ID_LIMIT: u64 = 1 << 53;

/// `00-TRACE-SPAN-01` (W3C Trace Context, `traceparent`).
pub(super) fn trace_parent(text: &str) -> Option<(TraceId, SpanId)> {
    let mut parts = text.strip_prefix("00-")?.split('-');
    let (trace, span) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((trace, span))
}

/// Reads it again: each entry with its number, from 1, or why it is none. `each` says whether to go
/// on.
pub fn entries(
    input: impl Read,
    survey: &Survey,
    each: impl FnMut(u64, Result<Box<Imported>, EntryError>) -> bool,
) -> Result<(), HarError> {
    let mut numbering = Entries {
        numbering: Numbering {
            wall: survey.wall.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            has_ids: survey.has_ids,
            is_ours: survey.has_ids && survey.recording.is_some(),
            last: Timestamp::default(),
            connections: HashMap::new(),
            dialled: HashSet::new(),
        },
        each,
    };
    stream::read(input, &mut numbering)
}

struct Entries<F> {
    numbering: Numbering,
    each: F,
}

impl<F: FnMut(u64, Result<Box<Imported>, EntryError>) -> bool> Parts for Entries<F> {
    fn page(&mut self, _: &str) {}

    fn entry(&mut self, number: u64, json: &str) -> bool {
        let entry = serde_json::from_str::<Entry>(json).map_err(EntryError::Json);
        let imported = entry.and_then(|entry| imported(entry, number, &mut self.numbering));
        (self.each)(number, imported.map(Box::new))
    }
}

/// Times and numbers that entries have in common.
pub(super) struct Numbering {
    wall: OffsetDateTime,
    has_ids: bool,
    pub(super) is_ours: bool,
    last: Timestamp,
    connections: HashMap<(String, String), ConnectionId>,
    dialled: HashSet<(ConnectionId, String)>,
}

impl Numbering {
    /// The id of an exchange: the one that it had, where all have one.
    pub(super) fn id(&self, number: u64, own: Option<ExchangeId>) -> ExchangeId {
        own.filter(|_| self.has_ids).unwrap_or(number)
    }

    /// The stamp of a time; of none, that of the exchange before.
    pub(super) fn stamp(&mut self, time: Option<OffsetDateTime>) -> Timestamp {
        let since = time.map(|time| (time - self.wall).whole_microseconds());
        let stamp = since.and_then(|since| u64::try_from(since).ok());
        self.last = stamp.map_or(self.last, Timestamp::from_micros);
        self.last
    }

    /// The connection of that name to that target.
    pub(super) fn connection(&mut self, name: Option<String>, target: &Target) -> Link {
        let Some(name) = name.filter(|name| !name.is_empty() && name.len() <= NAME_LIMIT) else {
            return Link::default();
        };
        let own = name.parse().ok();
        let own = own.filter(|id| self.is_ours && (1..=ID_LIMIT).contains(id));
        let target = target.to_string();
        let next = self.connections.len() as u64 + 1;
        let id = own.unwrap_or_else(|| {
            let key = (name, target.clone());
            *self.connections.entry(key).or_insert(next)
        });
        let again = !self.dialled.insert((id, String::new()));
        let is_new = self.dialled.insert((id, target));
        Link { id, is_new, again }
    }
}

/// A connection as an entry names it.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// 0 where no connection is named.
    pub(super) id: ConnectionId,
    /// Is this the first that is heard of it, or of this target of it?
    pub(super) is_new: bool,
    /// Was it met before, with another target?
    pub(super) again: bool,
}

/// Octets of a connection's or a recording's name.
const NAME_LIMIT: usize = 100;
