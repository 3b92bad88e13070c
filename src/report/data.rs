//! A recording as the page takes it (`web/src/data.ts`).

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::diagnose::finding::Exhibit;
use crate::diagnose::report::Report;
use crate::exchange::{Ending, Exchange, ExchangeId, Fields, Phase};
use crate::export::source::{Item, Source};
use crate::filter::Outcome;
use crate::gomod::{escape_path, escape_version};
use crate::recording::Recording;

/// The version of the data's shape.
const SCHEMA: u32 = 1;

/// Up to so many exchanges, each has its header fields and its span. Of more, only those that somebody will
/// look at have them: unlike the rest, they hardly shrink.
const WITH_HEADS: usize = 2_000;

/// How many of the slowest exchanges have their header fields in any case.
const SLOWEST: usize = 200;

/// How much of an error's body is shown, bytes.
const TEXT: u64 = 4 << 10;

/// What a page shows.
#[derive(Serialize)]
pub(crate) struct Data<'a> {
    schema: u32,
    /// What wrote it: `modtape 0.1.0`.
    tool: String,
    /// RFC 3339, UTC.
    started: Option<String>,
    /// How many processors the go command took to be there.
    processors: Option<u64>,
    /// The traces of the runs, by number.
    traces: Vec<String>,
    /// What `report --format json` prints.
    pub(super) report: &'a Report,
    /// Header fields; exchanges name them by their place.
    fields: Vec<(String, String)>,
    exchanges: Columns,
}

/// Exchanges, by columns: each is an array with an entry for each exchange, which shrinks to less than half of
/// what objects would.
#[derive(Default, Serialize)]
struct Columns {
    /// What is added to that before.
    id: Vec<i64>,
    run: Vec<u32>,
    /// What is added to that before.
    connection: Vec<i64>,
    method: Vec<String>,
    /// Null for what a module proxy has at its root: `https://HOST/MODULE/@v/VERSION.KIND`.
    url: Vec<Option<String>>,
    host: Vec<String>,
    kind: Vec<&'static str>,
    module: Vec<Option<String>>,
    version: Vec<Option<String>>,
    /// Null for `KIND MODULE VERSION`.
    what: Vec<Option<String>>,
    status: Vec<Option<u16>>,
    outcome: Vec<&'static str>,
    /// What is added to that before, microseconds.
    start_us: Vec<i64>,
    /// A column for each phase.
    phases_us: [Vec<Option<u64>>; Phase::ALL.len()],
    own_us: Vec<u64>,
    bytes: Vec<u64>,
    /// With `heads`.
    span: Vec<Option<String>>,
    /// How it stopped, or what is wrong with its answer.
    why: Vec<Option<String>>,
    /// Places in the page's `fields`: the request's, the response's.
    heads: Vec<Option<[Vec<usize>; 2]>>,
    /// What the body of an error says.
    text: Vec<Option<String>>,
}

/// Header fields, each once.
#[derive(Default)]
struct Interned {
    places: HashMap<(String, String), usize>,
    fields: Vec<(String, String)>,
}

impl Interned {
    /// The places of an exchange's fields: the request's, the response's.
    fn of(&mut self, exchange: &Exchange) -> [Vec<usize>; 2] {
        let response = match &exchange.ending {
            Ending::Ended(end) => self.places(&end.headers),
            Ending::Aborted(abort) => self.places(&abort.headers),
            Ending::InFlight => Vec::new(),
        };
        [self.places(&exchange.begin.headers), response]
    }

    fn places(&mut self, fields: &Fields) -> Vec<usize> {
        let places = fields.iter().map(|(name, value)| {
            let field = (name.clone(), value.to_text().into_owned());
            let next = self.fields.len();
            *self.places.entry(field).or_insert_with_key(|field| {
                self.fields.push(field.clone());
                next
            })
        });
        places.collect()
    }
}

impl<'a> Data<'a> {
    /// Reads what the page shows of a recording; `report` is its own. Calls `progress` with the number of
    /// exchanges before each one. Says how many could not be read.
    pub(crate) fn of(
        recording: &Recording,
        report: &'a Report,
        progress: impl FnMut(usize),
    ) -> (Self, usize) {
        Self::since(recording, report, 0, progress)
    }

    /// The same, but of the exchanges only those of which something stands at this place of the journal (an
    /// offset in bytes) or behind it, and those that go on.
    pub(super) fn since(
        recording: &Recording,
        report: &'a Report,
        offset: u64,
        mut progress: impl FnMut(usize),
    ) -> (Self, usize) {
        let source = Source::of(recording);
        let rows = recording.rows();
        let notable = notable(recording, report);
        let mut fields = Interned::default();
        let mut exchanges = Columns::default();
        let mut last = Last::default();
        let mut unread = 0;
        for (number, row) in rows.iter().enumerate() {
            progress(number);
            let is_new = row.end.is_none_or(|end| end.offset >= offset);
            if !is_new && row.begin.offset < offset {
                continue;
            }
            let Ok(item) = source.item(row) else {
                unread += 1;
                continue;
            };
            let has_heads = rows.len() <= WITH_HEADS
                || notable.contains(&(row.run, row.id))
                || item.listed.outcome != Outcome::Ok;
            exchanges.push(&item, &mut last);
            let (span, heads) = match has_heads {
                true => (
                    Some(item.exchange.begin.span.to_string()),
                    Some(fields.of(&item.exchange)),
                ),
                false => (None, None),
            };
            exchanges.span.push(span);
            exchanges.heads.push(heads);
            let is_error = row.status.is_some_and(|status| status >= 400) && row.bytes <= TEXT;
            let content = is_error.then(|| recording.content_within(row, TEXT).ok());
            let text = content
                .flatten()
                .and_then(|content| String::from_utf8(content).ok());
            exchanges.text.push(text);
        }
        let runs = recording.runs();
        let data = Self {
            schema: SCHEMA,
            tool: format!("modtape {}", env!("CARGO_PKG_VERSION")),
            started: runs.first().map(|run| run.wall.clone()),
            processors: recording.manifest().processors.map(Into::into),
            traces: runs.iter().map(|run| run.trace.to_string()).collect(),
            report,
            fields: fields.fields,
            exchanges,
        };
        (data, unread)
    }
}

/// The exchange before, as far as columns count from it.
#[derive(Default)]
struct Last {
    id: i64,
    connection: i64,
    start_us: i64,
}

impl Columns {
    /// Adds an exchange, but for its span, head and text.
    fn push(&mut self, item: &Item<'_>, last: &mut Last) {
        let listed = &item.listed;
        let step = |last: &mut i64, now: u64| {
            let now = i64::try_from(now).unwrap_or(i64::MAX);
            now - std::mem::replace(last, now)
        };
        let route = &listed.route;
        let kind = route.kind.name();
        let abort = item.abort().map(|abort| abort.why.clone());
        let what = listed.what();
        let module = route.module.as_deref().unwrap_or_default();
        let version = route.version.as_deref().unwrap_or_default();
        let usual_what = format!("{kind} {module} {version}");
        let usual_url = match (escape_path(module), escape_version(version)) {
            (Ok(module), Ok(version)) => Some(format!(
                "https://{}/{module}/@v/{version}.{kind}",
                listed.host
            )),
            _ => None,
        };
        let url = (Some(listed.url) != usual_url.as_deref()).then(|| listed.url.to_owned());
        self.id.push(step(&mut last.id, listed.id));
        self.run.push(listed.run);
        self.connection
            .push(step(&mut last.connection, listed.connection));
        self.method.push(listed.method.to_owned());
        self.url.push(url);
        self.host.push(listed.host.clone());
        self.kind.push(kind);
        self.module.push(route.module.clone());
        self.version.push(route.version.clone());
        self.what.push((what != usual_what).then_some(what));
        self.status.push(listed.status);
        self.outcome.push(listed.outcome.name());
        self.start_us
            .push(step(&mut last.start_us, listed.started_us.as_micros()));
        for phase in Phase::ALL {
            self.phases_us[phase as usize].push(listed.phases_us[phase]);
        }
        self.own_us.push(listed.own_us);
        self.bytes.push(listed.body_bytes);
        self.why.push(abort.or_else(|| listed.fault.clone()));
    }
}

/// The exchanges that somebody will look at: those that show a finding, and the slowest.
fn notable(recording: &Recording, report: &Report) -> HashSet<(u32, ExchangeId)> {
    let shown = report.findings.iter().flat_map(|finding| &finding.evidence);
    let shown = shown.filter_map(|evidence| match evidence.what {
        Exhibit::Exchange { run, id } => Some((run, id)),
        _ => None,
    });
    let mut slowest: Vec<_> = recording.rows().iter().collect();
    slowest.sort_by_key(|row| std::cmp::Reverse(row.phases.total_us()));
    let slowest = slowest.iter().take(SLOWEST).map(|row| (row.run, row.id));
    shown.chain(slowest).collect()
}
