//! HAR 1.2: the recording for browsers' network panels and for everything else that reads HAR.
//!
//! Streams: one entry is in memory at a time. The rules beyond the specification (one page a run,
//! `_initiator` an object, a response even where there was none) are what the importers of Chrome,
//! Firefox, WebKit, mitmproxy and haralyzer insist on. This is the only place that turns
//! microseconds into milliseconds and adds `tls` to `connect`.

use std::io::{self, Write};

use serde::Serialize;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, UtcOffset};

use super::har_entry::Entry;
use crate::clock::Timestamp;
use crate::exchange::{Body, Exchange, ExchangeId, Opened, TraceId};
use crate::recording::format::{Manifest, Open};

/// Which bodies stand in the file.
///
/// What is left out keeps its length and, in `_modtape`, its digest and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// All that the recording has.
    All,
    /// Those of at most 64 KiB, counted as recorded (content-encoded).
    Small,
    /// None.
    None,
}

impl Bodies {
    /// Whether a body of `bytes` octets belongs into the file: if not, it need not be read.
    pub const fn takes(self, bytes: u64) -> bool {
        match self {
            Self::All => true,
            Self::Small => bytes <= SMALL,
            Self::None => false,
        }
    }
}

/// One run of a recorder: HAR's page, because every importer groups or filters by page.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The recording's manifest.
    pub manifest: &'a Manifest,
    /// The run's own `open` line: wall clock, trace and command.
    pub open: &'a Open,
}

/// What a request asked for, in the go command's terms; `None` where it was none of its kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct What {
    /// `list`, `info`, `mod`, `zip`, `lookup`, `tile` and so on.
    pub kind: Option<String>,
    /// Module path, unescaped.
    pub module: Option<String>,
    /// Version or query.
    pub version: Option<String>,
}

/// A body's octets as recorded (content-encoded), or why they are not here.
///
/// Meaningless, and ignored, where the exchange has no such body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The octets, all of them.
    Octets(Vec<u8>),
    /// Not read, since [`Bodies::takes`] said no.
    LeftOut,
    /// The recording never had more than the digest.
    NotKept,
    /// The recording should have it, but could not be read: why.
    Missing(String),
}

impl Content {
    /// What can be said of a body without opening a file; `None` if it lies in one and is wanted.
    pub fn without_file(body: &Body, bodies: Bodies) -> Option<Self> {
        match &body.inline {
            _ if !bodies.takes(body.bytes) => Some(Self::LeftOut),
            Some(octets) => Some(Self::Octets(octets.0.clone())),
            None if body.bytes == 0 => Some(Self::Octets(Vec::new())),
            None if !body.kept => Some(Self::NotKept),
            None => None,
        }
    }
}

/// One exchange with all that its entry shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The exchange.
    pub exchange: Exchange,
    /// Index of the page of the run that it belongs to.
    pub run: usize,
    /// The client connection that it came on, if its line is known.
    pub connection: Option<Opened>,
    /// What it asked for.
    pub what: What,
    /// The request's body.
    pub request_body: Content,
    /// The response's body.
    pub body: Content,
}

/// Why there is no whole HAR.
#[derive(Debug, thiserror::Error)]
pub enum HarError<E> {
    /// The output took no more.
    #[error("cannot write the HAR")]
    Write(#[source] io::Error),
    /// The next exchange could not be had.
    #[error("cannot read the next exchange")]
    Read(#[source] E),
    /// The wall clock of an `open` line is no RFC 3339 time.
    #[error("the recording says that it started at {wall:?}, which is not a time")]
    Wall {
        /// What stands there.
        wall: String,
    },
    /// An exchange started further from the wall clock's anchor than any calendar reaches.
    #[error("exchange {exchange} started {stamp_us} µs after the start, which is not a time")]
    Stamp {
        /// The exchange.
        exchange: ExchangeId,
        /// Its start, microseconds.
        stamp_us: u64,
    },
    /// An exchange belongs to a run that has no page.
    #[error("exchange {exchange} belongs to run {run}, which has no `open` line")]
    NoPage {
        /// The exchange.
        exchange: ExchangeId,
        /// The index that it named.
        run: usize,
    },
}

/// Writes a whole HAR and returns how many entries it has.
///
/// `items` come sorted by start; they are written in the order in which they come. Writes many small
/// pieces, so `out` should be buffered; it is flushed at the end. Ends at the first error, leaving a
/// file that is not valid JSON.
pub fn write<W: Write, E>(
    mut out: W,
    pages: &[Page<'_>],
    items: impl Iterator<Item = Result<Item, E>>,
    bodies: Bodies,
) -> Result<u64, HarError<E>> {
    let runs = pages
        .iter()
        .enumerate()
        .map(|(index, page)| Run::new(index, page));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    write_head(&mut out, &runs).map_err(HarError::Write)?;
    let mut count = 0;
    for item in items {
        let item = item.map_err(HarError::Read)?;
        let run = runs.get(item.run).ok_or(HarError::NoPage {
            exchange: item.exchange.begin.id,
            run: item.run,
        })?;
        let started = run.started(&item.exchange)?;
        let separator: &[u8] = if count == 0 { b"\n" } else { b",\n" };
        out.write_all(separator)
            .and_then(|()| write_json(&mut out, &Entry::new(&item, run, &started, bodies)))
            .map_err(HarError::Write)?;
        count += 1;
    }
    out.write_all(b"\n]}}\n")
        .and_then(|()| out.flush())
        .map_err(HarError::Write)?;
    Ok(count)
}

fn write_head(out: &mut impl Write, runs: &[Run<'_>]) -> io::Result<()> {
    #[derive(Serialize)]
    struct Creator {
        name: &'static str,
        version: &'static str,
    }
    out.write_all(b"{\"log\":{\"version\":\"1.2\",\"creator\":")?;
    let creator = Creator {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
    };
    write_json(out, &creator)?;
    out.write_all(b",\"pages\":")?;
    write_json(out, &runs.iter().map(Run::page).collect::<Vec<_>>())?;
    out.write_all(b",\"entries\":[")
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(out, value).map_err(io::Error::from)
}

/// A page together with what its entries need of it.
pub(super) struct Run<'a> {
    page: &'a Page<'a>,
    wall: OffsetDateTime,
    pub(super) id: String,
}

impl<'a> Run<'a> {
    fn new<E>(index: usize, page: &'a Page<'a>) -> Result<Self, HarError<E>> {
        let wall = OffsetDateTime::parse(&page.open.wall, &Rfc3339)
            .ok()
            .and_then(|wall| wall.checked_to_offset(UtcOffset::UTC))
            .ok_or_else(|| HarError::Wall {
                wall: page.open.wall.clone(),
            })?;
        Ok(Self {
            page,
            wall,
            id: format!("run-{}", index + 1),
        })
    }

    pub(super) fn trace(&self) -> TraceId {
        self.page.open.trace
    }

    fn started<E>(&self, exchange: &Exchange) -> Result<String, HarError<E>> {
        self.format(exchange.started).ok_or(HarError::Stamp {
            exchange: exchange.begin.id,
            stamp_us: exchange.started.as_micros(),
        })
    }

    fn format(&self, stamp: Timestamp) -> Option<String> {
        let stamp = Duration::microseconds(i64::try_from(stamp.as_micros()).ok()?);
        self.wall.checked_add(stamp)?.format(&DATE_TIME).ok()
    }

    fn page(&self) -> impl Serialize + '_ {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct HarPage<'a> {
            started_date_time: String,
            id: &'a str,
            title: String,
            page_timings: PageTimings,
            #[serde(rename = "_modtape")]
            modtape: OfRun<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct PageTimings {
            on_content_load: i8,
            on_load: i8,
        }
        #[derive(Serialize)]
        struct OfRun<'a> {
            recording: &'a str,
            trace: TraceId,
            command: &'a [String],
            redacted: bool,
        }
        let Page { manifest, open } = self.page;
        HarPage {
            started_date_time: self.format(Timestamp::default()).unwrap_or_default(),
            id: &self.id,
            title: match open.command.as_slice() {
                [] => format!("recording {}", open.recording),
                words => words.join(" "),
            },
            page_timings: PageTimings {
                on_content_load: -1,
                on_load: -1,
            },
            modtape: OfRun {
                recording: &open.recording,
                trace: open.trace,
                command: &open.command,
                redacted: manifest.redacted,
            },
        }
    }
}

/// Above this many octets a body is not small: it would make the file hard to open, not more useful.
const SMALL: u64 = 64 * 1024;

/// Six digits, because ours are microseconds and entries of one millisecond keep their order.
const DATE_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
