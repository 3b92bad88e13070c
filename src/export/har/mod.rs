//! HAR 1.2: the recording for browsers' network panels and for everything else that reads HAR.
//!
//! Streams: one entry is in memory at a time. The rules beyond the specification (one page a run,
//! `_initiator` an object, a response even where there was none) are what the importers of Chrome,
//! Firefox, WebKit, mitmproxy and haralyzer insist on. This is the only place that turns
//! microseconds into milliseconds and adds `tls` to `connect`.

mod content;
mod entry;
#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use self::content::Contents;
use self::entry::Entry;
use super::source::{Bodies, Format, Item, Source, error_text};
use crate::clock::{Timestamp, wall_text};
use crate::exchange::TraceId;
use crate::recording::format::Open;

/// A HAR that is being written. One that ends with an error is not valid JSON.
pub(crate) struct Har<'a, W: Write> {
    out: BufWriter<W>,
    source: &'a Source<'a>,
    bodies: Bodies,
    /// By run.
    pages: Vec<Page<'a>>,
    entries: u64,
}

impl<'a, W: Write> Har<'a, W> {
    pub(crate) fn begin(out: W, source: &'a Source<'a>, bodies: Bodies) -> io::Result<Self> {
        #[derive(Serialize)]
        struct Creator {
            name: &'static str,
            version: &'static str,
        }
        let opens = source.runs().iter().zip(source.walls());
        let pages = opens.enumerate();
        let pages = pages.map(|(run, (open, wall))| Page::new(run, open, wall));
        let pages: Vec<_> = pages.collect();
        let mut out = BufWriter::with_capacity(1 << 16, out);
        out.write_all(b"{\"log\":{\"version\":\"1.2\",\"creator\":")?;
        let creator = Creator {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
        };
        serde_json::to_writer(&mut out, &creator)?;
        out.write_all(b",\"pages\":")?;
        let is_redacted = source.manifest().redacted;
        let shown = pages.iter().map(|page| page.shown(is_redacted));
        serde_json::to_writer(&mut out, &shown.collect::<Vec<_>>())?;
        out.write_all(b",\"entries\":[")?;
        Ok(Self {
            out,
            source,
            bodies,
            pages,
            entries: 0,
        })
    }
}

impl<W: Write> Format for Har<'_, W> {
    fn push(&mut self, item: &Item<'_>) -> io::Result<()> {
        let id = item.row.id;
        let page = usize::try_from(item.row.run).ok();
        let page = page.and_then(|run| self.pages.get(run));
        let started = page.and_then(|page| Some((page, page.time(item.row.started)?)));
        let Some((page, started)) = started else {
            self.source
                .note_missing(format!("exchange {id}: its start is not a time"));
            return Ok(());
        };
        let contents = Contents::read(self.source, &item.exchange, self.bodies);
        let separator: &[u8] = if self.entries == 0 { b"\n" } else { b",\n" };
        self.out.write_all(separator)?;
        let entry = Entry::new(item, &page.id, &started, &contents);
        serde_json::to_writer(&mut self.out, &entry)?;
        if let Some(error) = contents.take_failure() {
            let why = error_text(&error);
            let told = format!("a body of exchange {id} cannot be read again: {why}");
            return Err(io::Error::other(told));
        }
        self.entries += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<u64> {
        self.out.write_all(b"\n]}}\n")?;
        self.out.flush()?;
        Ok(self.entries)
    }
}

/// The latest stamp that an exchange of any real recording has: 285 years.
const LATEST_US: u64 = 1 << 53;

/// HAR's page: a run of the recorder, since every importer groups or filters by page.
struct Page<'a> {
    open: &'a Open,
    wall: OffsetDateTime,
    id: String,
}

impl<'a> Page<'a> {
    /// The page of run number `run`, which began at `wall`.
    fn new(run: usize, open: &'a Open, wall: OffsetDateTime) -> Self {
        let id = format!("run-{}", run + 1);
        Self { open, wall, id }
    }

    /// A stamp of the run by the wall clock; `None` if no calendar reaches there.
    fn time(&self, stamp: Timestamp) -> Option<String> {
        let stamp = Some(stamp.as_micros()).filter(|stamp| *stamp <= LATEST_US)?;
        let stamp = Duration::microseconds(i64::try_from(stamp).ok()?);
        wall_text(self.wall.checked_add(stamp)?)
    }

    /// HAR's `page`.
    fn shown(&self, redacted: bool) -> impl Serialize + '_ {
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
        let open = self.open;
        HarPage {
            started_date_time: self.time(Timestamp::default()).unwrap_or_default(),
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
                redacted,
            },
        }
    }
}
