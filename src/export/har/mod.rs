//! HAR 1.2: the recording for browsers' network panels and for everything else that reads HAR.
//!
//! Streams: one entry is in memory at a time. The rules beyond the specification (one page a run,
//! `_initiator` an object, a response even where there was none) are what the importers of Chrome,
//! Firefox, WebKit, mitmproxy and haralyzer insist on. This is the only place that turns
//! microseconds into milliseconds and adds `tls` to `connect`.

mod content;
mod entry;
mod page;

use std::io::{self, Write};

use serde::Serialize;

use self::entry::Entry;
use self::page::Run;
use super::source::{Bodies, Item, Page};
use crate::exchange::ExchangeId;

/// Why there is no whole HAR.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HarError<E> {
    /// The output took no more.
    #[error("cannot write the HAR")]
    Write(#[source] io::Error),
    /// The next exchange could not be had.
    #[error("cannot read the next exchange")]
    Read(#[source] E),
    /// A body was read once, and could not be read again; a part of it is written.
    #[error("cannot read a body of exchange {exchange}")]
    Body {
        /// The exchange.
        exchange: ExchangeId,
        /// Why not.
        source: io::Error,
    },
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
pub(crate) fn write<W: Write, E>(
    mut out: W,
    pages: &[Page<'_>],
    items: impl Iterator<Item = Result<Item, E>>,
    bodies: Bodies,
) -> Result<u64, HarError<E>> {
    let runs = pages.iter().enumerate().map(|(index, page)| {
        Run::new(index, page).ok_or_else(|| HarError::Wall {
            wall: page.open.wall.clone(),
        })
    });
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    write_head(&mut out, &runs).map_err(HarError::Write)?;
    let mut count = 0;
    for item in items {
        let item = item.map_err(HarError::Read)?;
        let run = runs.get(item.run).ok_or(HarError::NoPage {
            exchange: item.exchange.begin.id,
            run: item.run,
        })?;
        let started = run.started(&item.exchange).ok_or_else(|| HarError::Stamp {
            exchange: item.exchange.begin.id,
            stamp_us: item.exchange.started.as_micros(),
        })?;
        let separator: &[u8] = if count == 0 { b"\n" } else { b",\n" };
        out.write_all(separator)
            .and_then(|()| write_json(&mut out, &Entry::new(&item, run, &started, bodies)))
            .map_err(HarError::Write)?;
        if let Some(source) = item.take_failure() {
            let exchange = item.exchange.begin.id;
            return Err(HarError::Body { exchange, source });
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value;

    use super::super::sample;
    use super::super::source::Content;
    use super::*;
    use crate::clock::Timestamp;
    use crate::exchange::Body;
    use crate::recording::format::Open;

    fn write_one(item: Item, open: &Open) -> Result<u64, HarError<&'static str>> {
        let manifest = sample::manifest();
        let page = Page {
            manifest: &manifest,
            open,
        };
        write(io::sink(), &[page], std::iter::once(Ok(item)), Bodies::All)
    }

    #[test]
    fn every_entry_is_on_the_page_of_its_run() {
        let items = sample::items();
        let log: Value =
            serde_json::from_slice(&sample::har(items.clone(), Bodies::Small)).unwrap();
        let log = &log["log"];
        let pages = log["pages"].as_array().unwrap();
        let entries = log["entries"].as_array().unwrap();
        assert_eq!(pages.len(), 2);
        assert_eq!(entries.len(), items.len());
        for (entry, item) in entries.iter().zip(&items) {
            assert_eq!(entry["pageref"], pages[item.run]["id"]);
        }
        let used: BTreeSet<_> = entries
            .iter()
            .map(|entry| entry["pageref"].as_str())
            .collect();
        assert_eq!(used.len(), 2);
        assert_eq!(pages[0]["title"], "go mod tidy");
        assert_eq!(pages[1]["title"], "recording r-1");
    }

    #[test]
    fn a_recording_of_no_exchanges_is_still_a_har() {
        let log: Value = serde_json::from_slice(&sample::har(vec![], Bodies::All)).unwrap();
        assert_eq!(log["log"]["version"], "1.2");
        assert_eq!(log["log"]["entries"], serde_json::json!([]));
        assert_eq!(log["log"]["creator"]["name"], "modtape");
    }

    #[test]
    fn what_no_calendar_holds_is_a_named_error() {
        let mut open = sample::open(&[]);
        for stamp in [u64::MAX, i64::MAX as u64, 1 << 60] {
            let mut item = sample::in_flight(7, sample::PROXY);
            item.exchange.started = Timestamp::from_micros(stamp);
            let error = write_one(item, &open).unwrap_err();
            assert!(
                matches!(error, HarError::Stamp { exchange: 7, .. }),
                "{error}"
            );
        }
        open.wall = "yesterday".into();
        let error = write_one(sample::in_flight(7, sample::PROXY), &open).unwrap_err();
        assert!(matches!(error, HarError::Wall { .. }), "{error}");
    }

    #[test]
    fn an_exchange_of_an_unknown_run_is_a_named_error() {
        let mut item = sample::in_flight(7, sample::PROXY);
        item.run = 1;
        let error = write_one(item, &sample::open(&[])).unwrap_err();
        let HarError::NoPage {
            exchange: 7,
            run: 1,
        } = error
        else {
            panic!("{error}");
        };
    }

    #[test]
    fn errors_of_either_side_end_the_writing() {
        let items = [Err("damaged")].into_iter();
        let error = write(io::sink(), &[], items, Bodies::All).unwrap_err();
        assert!(matches!(error, HarError::Read("damaged")), "{error}");
        let mut full = [0; 40];
        let none = std::iter::empty::<Result<Item, &str>>();
        let error = write(full.as_mut_slice(), &[], none, Bodies::All).unwrap_err();
        assert!(matches!(error, HarError::Write(_)), "{error}");
    }

    #[test]
    fn a_body_that_lies_in_no_file_needs_none_to_be_read() {
        let mut body = sample::body(b"v1.0.0\n");
        let without_file = |body: &Body, bodies| Content::without_file(body, bodies);
        assert_eq!(
            without_file(&body, Bodies::All),
            Some(Content::Octets(b"v1.0.0\n".to_vec()))
        );
        assert_eq!(without_file(&body, Bodies::None), Some(Content::LeftOut));
        body.inline = None;
        assert_eq!(without_file(&body, Bodies::All), None);
        body.kept = false;
        assert_eq!(without_file(&body, Bodies::All), Some(Content::NotKept));
    }

    #[test]
    #[ignore = "writes target/har-sample.har for the consumers in tests/har"]
    fn the_sample_is_written_for_other_readers() {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let har = sample::har(sample::items(), Bodies::Small);
        std::fs::create_dir_all(&target).unwrap();
        std::fs::write(target.join("har-sample.har"), har).unwrap();
    }
}
