//! One run of a recorder as a page of a HAR, and its wall clock.

use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

use super::super::source::Page;
use crate::clock::{Timestamp, wall_text};
use crate::exchange::{Exchange, TraceId};

/// A page together with what its entries need of it.
pub(super) struct Run<'a> {
    page: &'a Page<'a>,
    wall: OffsetDateTime,
    pub(super) id: String,
}

impl<'a> Run<'a> {
    /// The page of the run with that index; `None` if its wall clock is not a time.
    pub(super) fn new(index: usize, page: &'a Page<'a>) -> Option<Self> {
        let wall = OffsetDateTime::parse(&page.open.wall, &Rfc3339).ok()?;
        Some(Self {
            page,
            wall: wall.checked_to_offset(UtcOffset::UTC)?,
            id: format!("run-{}", index + 1),
        })
    }

    /// The run's trace.
    pub(super) fn trace(&self) -> TraceId {
        self.page.open.trace
    }

    /// When an exchange started, by the wall clock; `None` if no calendar reaches there.
    pub(super) fn started(&self, exchange: &Exchange) -> Option<String> {
        self.format(exchange.started)
    }

    fn format(&self, stamp: Timestamp) -> Option<String> {
        let stamp = Duration::microseconds(i64::try_from(stamp.as_micros()).ok()?);
        wall_text(self.wall.checked_add(stamp)?)
    }

    /// HAR's `page`.
    pub(super) fn page(&self) -> impl Serialize + '_ {
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

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::super::super::source::Bodies;
    use super::*;

    #[test]
    fn times_are_utc_with_microseconds_and_carry_over_midnight() {
        let item = sample::in_flight(1, sample::PROXY);
        let entry = sample::entry(item.clone(), Bodies::All);
        assert_eq!(entry["startedDateTime"], "2026-11-23T00:00:00.000001Z");
        let mut open = sample::open(&[]);
        open.wall = "2026-11-22T12:00:00+08:00".into();
        let page = Page {
            manifest: &sample::manifest(),
            open: &open,
        };
        let run = Run::new(0, &page).unwrap();
        let started = run.started(&item.exchange).unwrap();
        assert_eq!(started, "2026-11-22T04:00:00.001001Z");
    }
}
