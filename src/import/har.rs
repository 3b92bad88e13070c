//! HAR 1.2 (and what is called so) read twice: once for what is true of all of it, once by entries.

use std::collections::HashSet;
use std::io::{self, Read};

use time::OffsetDateTime;

use super::encoding::utf8;
use super::entry::{Imported, LeftOut, WORDS_LIMIT, imported};
use super::file::BodyFiles;
use super::json::{Json, Part, Reader, Stop};
use super::numbering::{NAME_LIMIT, Numbering};
use super::oddity::{Oddities, Oddity};
use super::time::start;
use crate::exchange::{ExchangeId, TraceId, TraceParent};

/// Entries that a HAR may have: each is a row in memory when the recording is opened.
const ENTRY_LIMIT: u64 = 1 << 20;

/// Why a file cannot be read as a HAR.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HarError {
    /// The file gave no more.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// It does not begin as JSON does.
    #[error("not a HAR file: it does not begin with a JSON object")]
    NotJson,
    /// There is no `log`, and there are no `entries`.
    #[error("not a HAR file: it has no log")]
    NoLog,
    /// It ends before the first entry has ended.
    #[error("not a whole HAR file: it ends before the end of its first entry")]
    NoEntry,
    /// More entries than a recording can be opened with.
    #[error("it has more than {ENTRY_LIMIT} entries")]
    TooMany,
}

/// What is true of a HAR as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// The earliest start of a page or an entry; `None` if none has one.
    pub(crate) wall: Option<OffsetDateTime>,
    /// The first trace that an entry or a page names.
    pub(crate) trace: Option<TraceId>,
    /// The id of the recording that it was exported from.
    pub(crate) recording: Option<String>,
    /// The command that was recorded, if it was exported by modtape.
    pub(crate) command: Vec<String>,
    /// How many pages there are.
    pub(crate) pages: u64,
    /// How many entries there are.
    pub(crate) entries: u64,
    /// Whether the file ends before the HAR does: there may have been more entries.
    pub(crate) is_cut: bool,
    /// What is odd outside of its entries.
    pub(crate) oddities: Oddities,
    /// Whether each entry has an id of its own.
    has_ids: bool,
}

/// Reads all of a file, so that one that is not a HAR is known before a recording is begun.
pub(crate) fn survey(input: impl Read) -> Result<Survey, HarError> {
    let mut surveying = Surveying::default();
    let whole = read(input, &mut surveying)?;
    let Surveying { mut survey, ids } = surveying;
    survey.is_cut = whole.is_cut;
    survey.oddities = whole.oddities;
    survey.has_ids = survey.entries == ids.len() as u64;
    Ok(survey)
}

/// Who takes pages and entries.
trait Parts {
    /// What is wanted of an entry, by the depth of the object and the member's name.
    const KEYS: fn(usize, &str) -> bool;
    fn page(&mut self, page: Part);
    /// An entry, counted from 1; false ends the reading.
    fn entry(&mut self, number: u64, entry: Part) -> bool;
}

/// What is known once all is read.
#[derive(Default)]
struct Whole {
    oddities: Oddities,
    entries: u64,
    has_log: bool,
    is_cut: bool,
}

/// Reads each HAR of a file; usually there is one.
fn read(input: impl Read, parts: &mut impl Parts) -> Result<Whole, HarError> {
    let mut reader = Reader::new(utf8(input).map_err(HarError::Read)?);
    let mut whole = Whole::default();
    let mut is_first = true;
    let stop = loop {
        let walked = match reader.peek() {
            Ok(b'{') => root(&mut reader, parts, &mut whole, Depth::Root),
            Ok(b'[') => reader.elements(|reader| match reader.peek()? {
                b'{' => root(reader, parts, &mut whole, Depth::Root),
                _ => reader.skip(),
            }),
            Err(Stop::Cut) if !is_first => break None,
            Ok(_) | Err(Stop::Cut) if is_first => return Err(HarError::NotJson),
            Ok(_) => {
                // What follows a HAR is none of it.
                whole.oddities.add(Oddity::NotJson);
                break None;
            }
            Err(stop) => Err(stop),
        };
        is_first = false;
        if let Err(stop) = walked {
            break Some(stop);
        }
    };
    for oddity in reader.oddities.iter() {
        whole.oddities.add(oddity);
    }
    match stop {
        Some(Stop::Read(error)) => Err(HarError::Read(error)),
        _ if whole.entries > ENTRY_LIMIT => Err(HarError::TooMany),
        _ if !whole.has_log => Err(HarError::NoLog),
        Some(Stop::Cut) if whole.entries == 0 => Err(HarError::NoEntry),
        stop => {
            whole.is_cut = matches!(stop, Some(Stop::Cut));
            Ok(whole)
        }
    }
}

/// Some write what belongs into the log without one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Root,
    Log,
}

fn root<R: Read>(
    reader: &mut Reader<R>,
    parts: &mut impl Parts,
    whole: &mut Whole,
    depth: Depth,
) -> Result<(), Stop> {
    reader.members(|reader, name| match (name.as_str(), reader.peek()?) {
        ("log", b'{') if depth == Depth::Root => {
            whole.has_log = true;
            root(reader, parts, whole, Depth::Log)
        }
        ("entries", b'[') => {
            whole.has_log = true;
            reader.elements(|reader| entry(reader, parts, whole))
        }
        ("entries", b'{') => {
            whole.has_log = true;
            reader.oddities.add(Oddity::Converted);
            reader.members(|reader, _| entry(reader, parts, whole))
        }
        ("pages", b'[') => reader.elements(|reader| {
            parts.page(reader.part(|_, _| true)?);
            Ok(())
        }),
        _ => reader.skip(),
    })
}

fn entry<R: Read, P: Parts>(
    reader: &mut Reader<R>,
    parts: &mut P,
    whole: &mut Whole,
) -> Result<(), Stop> {
    let part = reader.part(P::KEYS)?;
    whole.entries += 1;
    let goes_on = whole.entries <= ENTRY_LIMIT && parts.entry(whole.entries, part);
    if goes_on { Ok(()) } else { Err(Stop::Enough) }
}

#[derive(Default)]
struct Surveying {
    survey: Survey,
    ids: HashSet<ExchangeId>,
}

impl Surveying {
    fn saw(&mut self, started: Json) {
        let started = start(started, &mut Oddities::default());
        // A recording's own times are microseconds.
        let started = started.map(|start| {
            start
                .time
                .replace_nanosecond(start.time.microsecond() * 1000)
        });
        let started = started.and_then(Result::ok);
        self.survey.wall = self.survey.wall.into_iter().chain(started).min();
    }
}

impl Parts for Surveying {
    const KEYS: fn(usize, &str) -> bool = |depth, name| match depth {
        1 => matches!(name, "startedDateTime" | "_traceparent" | "_modtape"),
        _ => name == "id",
    };

    fn page(&mut self, page: Part) {
        self.survey.pages += 1;
        let (mut page, oddities) = (page.json, &mut Oddities::default());
        self.saw(page.take("startedDateTime", oddities));
        let mut run = page.take("_modtape", oddities);
        if run == Json::Null || self.survey.recording.is_some() {
            return;
        }
        let trace = run.take("trace", oddities).text(oddities);
        let trace = trace.and_then(|trace| trace.parse().ok());
        self.survey.trace = self.survey.trace.or(trace);
        let recording = run.take("recording", oddities).text(oddities);
        self.survey.recording = recording.filter(|id| is_id(id));
        if let Json::List(words) = run.take("command", oddities) {
            let words = words.into_iter().filter_map(|word| word.text(oddities));
            let words: Vec<_> = words.collect();
            if words.iter().map(String::len).sum::<usize>() <= WORDS_LIMIT {
                self.survey.command = words;
            }
        }
    }

    fn entry(&mut self, number: u64, entry: Part) -> bool {
        self.survey.entries = number;
        let (mut entry, oddities) = (entry.json, &mut Oddities::default());
        self.saw(entry.take("startedDateTime", oddities));
        let given = entry.take("_traceparent", oddities).text(oddities);
        let given = given.as_deref().and_then(TraceParent::parse);
        let trace = given.map(|given| given.trace);
        self.survey.trace = self.survey.trace.or(trace);
        let id = entry
            .take("_modtape", oddities)
            .take("id", oddities)
            .whole(oddities);
        self.ids.extend(id.filter(|id| *id > 0));
        true
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_LIMIT
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Reads it again: each entry with its number, from 1, or why it is left out. `each` says whether to
/// go on.
pub(crate) fn entries(
    input: impl Read,
    survey: &Survey,
    files: &BodyFiles<'_>,
    each: impl FnMut(u64, Result<Box<Imported>, LeftOut>) -> bool,
) -> Result<(), HarError> {
    let mut entries = Entries {
        numbering: Numbering::new(
            survey.wall.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            survey.has_ids,
            survey.has_ids && survey.recording.is_some(),
        ),
        files,
        each,
    };
    read(input, &mut entries).map(drop)
}

struct Entries<'a, F> {
    numbering: Numbering,
    files: &'a BodyFiles<'a>,
    each: F,
}

impl<F: FnMut(u64, Result<Box<Imported>, LeftOut>) -> bool> Parts for Entries<'_, F> {
    /// Not what others added to HAR (section 5: it begins with `_`), which can be long, nor what
    /// says again what URL and header fields say.
    const KEYS: fn(usize, &str) -> bool = |depth, name| match name {
        "cache" | "cookies" | "queryString" => depth > 2,
        "_connectionId" | "_traceparent" | "_modtape" | "_resourceType" => true,
        "_error" | "_file" | "_base64" => true,
        _ => depth > 3 || !name.starts_with('_'),
    };

    fn page(&mut self, _: Part) {}

    fn entry(&mut self, number: u64, entry: Part) -> bool {
        let imported = imported(entry, number, &mut self.numbering, self.files);
        (self.each)(number, imported.map(Box::new))
    }
}
