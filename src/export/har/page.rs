//! HAR's page: a run of the recorder, since every importer groups or filters by page.

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::clock::{Timestamp, wall_text};
use crate::exchange::TraceId;
use crate::recording::format::Open;

/// The latest stamp that an exchange of any real recording has: 285 years.
const LATEST_US: u64 = 1 << 53;

/// A page, with what its entries need of it.
pub(super) struct Page<'a> {
    open: &'a Open,
    wall: OffsetDateTime,
    pub(super) id: String,
}

impl<'a> Page<'a> {
    /// The page of run number `run`, which began at `wall`.
    pub(super) fn new(run: usize, open: &'a Open, wall: OffsetDateTime) -> Self {
        let id = format!("run-{}", run + 1);
        Self { open, wall, id }
    }

    /// A stamp of the run by the wall clock; `None` if no calendar reaches there.
    pub(super) fn time(&self, stamp: Timestamp) -> Option<String> {
        let stamp = Some(stamp.as_micros()).filter(|stamp| *stamp <= LATEST_US)?;
        let stamp = Duration::microseconds(i64::try_from(stamp).ok()?);
        wall_text(self.wall.checked_add(stamp)?)
    }

    /// HAR's `page`.
    pub(super) fn shown(&self, redacted: bool) -> impl Serialize + '_ {
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
