//! Answers that are made of recorded ones: lookups with one tree head, lists of what is whole, and what a
//! module proxy would have said at an instant.
//!
//! A recording answers as it was asked, and so for another order, subset or command only by luck: heads
//! hang on the order of the lookups, and a list names versions that nobody downloaded. What is made
//! here is made of recorded bodies: a record and a signed head, the names of versions, a recorded `.info`.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use super::AnswerError;
use crate::catalog::{AsOf, Catalog, Edit, Faulty, SMALL_FILE};
use crate::cli::{Answers, Instant};
use crate::clock::Timestamp;
use crate::exchange::{
    Begin, Body, ByteString, End, Ending, Exchange, Fields, Hex, MadeBy, Timings,
};
use crate::gomod::{Base, Kind, Route, TEXT_LIMIT, TOOLCHAIN_MODULE, is_canonical_version};
use crate::recording::reader::{RowState, Status};
use crate::recording::{Recording, Row};

/// How a recording answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// As recorded, or so that any order and subset passes; by default whichever the recording is fit for.
    pub(crate) answers: Option<Answers>,
    /// When it is for whoever asks which versions there are.
    pub(crate) as_of: Option<Instant>,
}

/// What is made, and of what.
#[derive(Debug)]
pub(super) struct Made {
    catalog: Catalog,
    /// Whether lists name what is whole, rather than what they named when they were recorded.
    is_whole: bool,
    /// Whether lookups have one head where they can.
    has_one_head: bool,
    as_of: Option<(Instant, AsOf)>,
    /// What stands in for recorded answers, by row.
    instead: HashMap<usize, Instead>,
    faulty: Faulty,
}

/// What stands in for a recorded answer.
#[derive(Debug, Clone)]
pub(super) enum Instead {
    /// A lookup with another head.
    Lookup { row: usize, edit: Edit },
    /// That a module proxy relays a checksum database.
    Supported,
    /// Which versions a module has.
    List(String),
    /// Its latest version.
    Latest(String),
    /// The commit of a branch.
    Commit { module: String, query: String },
    /// That there is no such module.
    Absent(String),
}

/// What comes of making an answer.
pub(super) enum Outcome {
    /// A recorded exchange as it is.
    Recorded(usize),
    /// A new one.
    New(Box<Exchange>),
    /// There is nothing to make it of, and why.
    Nothing(String),
}

impl Made {
    pub(super) fn new(recording: &Recording, bases: &[Base], options: Options) -> Self {
        let rows = recording.rows();
        let faults = recording.manifest().replayable.faults.iter();
        let faulty: Faulty = faults.map(|fault| (fault.run, fault.exchange)).collect();
        let location = |row: &Row| recording.answer_field(row, "location");
        let read = |row: usize| recording.content_within(rows.get(row)?, SMALL_FILE).ok();
        let mut catalog = Catalog::of(rows, bases, &faulty, location);
        catalog.unify(read);
        let as_of = options.as_of.map(|instant| {
            let known = AsOf::new(instant.at, rows, bases, &faulty, location, read);
            (instant, known)
        });
        let is_sealed = recording.status() == Status::Sealed;
        let mut made = Self {
            catalog,
            is_whole: match options.answers {
                Some(answers) => answers == Answers::Unified,
                None => is_sealed,
            },
            has_one_head: options.answers != Some(Answers::Faithful),
            as_of,
            instead: HashMap::new(),
            faulty,
        };
        for (number, row) in rows.iter().enumerate() {
            let route = (has_answer(row)).then(|| Route::of(&row.url, bases));
            if let Some(instead) = route.and_then(|route| made.of_recorded(&route)) {
                made.instead.insert(number, instead);
            }
        }
        made
    }

    /// Where any order is to pass, the rows of requests whose last answer is the one that counts, branches
    /// being none of them: whole answers first, then redirects.
    pub(super) fn settled(&self, rows: &[Row], bases: &[Base]) -> [HashSet<usize>; 2] {
        let mut settled = [HashSet::new(), HashSet::new()];
        for (number, row) in rows.iter().enumerate() {
            let is_sound = has_answer(row) && !self.faulty.contains(&(row.run, row.id));
            if self.is_whole && is_sound && is_settled(&Route::of(&row.url, bases)) {
                settled[usize::from(row.is_redirect())].insert(number);
            }
        }
        settled
    }

    /// How many records the largest tree has whose head the lookups of a database carry.
    pub(super) fn largest_head(&self, sumdb: &str) -> Option<u64> {
        self.catalog.largest_head(sumdb)
    }

    /// What stands in for the answer of a row.
    pub(super) fn instead(&self, row: usize) -> Option<&Instead> {
        self.instead.get(&row)
    }

    /// What stands in for an answer to such a request.
    fn of_recorded(&self, route: &Route) -> Option<Instead> {
        match route.kind {
            Kind::Lookup if self.has_one_head => {
                let file = self.catalog.file(route)?;
                let edit = matches!(file.edit, Edit::Note(_)).then(|| file.edit.clone())?;
                Some(Instead::Lookup {
                    row: file.row,
                    edit,
                })
            }
            Kind::List if self.has_lists() => module(route).map(Instead::List),
            Kind::Latest if self.has_lists() => module(route).map(Instead::Latest),
            Kind::Info if self.as_of.is_some() => {
                let (module, query) = (route.module.clone()?, route.version.clone()?);
                (!is_canonical_version(&query)).then_some(Instead::Commit { module, query })
            }
            _ => None,
        }
    }

    /// What can be made for a request that was not recorded.
    pub(super) fn of_unrecorded(&self, method: &str, route: &Route) -> Option<Instead> {
        if !matches!(method, "GET" | "HEAD") {
            return None;
        }
        match route.kind {
            Kind::SumdbSupported if self.has_one_head => {
                let name = route.sumdb.as_deref()?;
                let has_lookups = self.catalog.has_one_head(name);
                has_lookups.then_some(Instead::Supported)
            }
            Kind::List if self.is_whole => {
                let module = module(route).filter(|module| self.catalog.knows(module));
                module.map(Instead::List)
            }
            Kind::Latest if self.has_lists() => {
                let module = module(route).filter(|module| self.catalog.knows(module));
                module.map(Instead::Latest)
            }
            _ => None,
        }
    }

    /// What can be said of a module of which nothing was recorded, not even that it is absent: the go command
    /// asks all paths above and below the module that it will find, and takes only a 404 for an answer.
    pub(super) fn of_unknown(&self, method: &str, route: &Route) -> Option<Instead> {
        let module = route.module.as_deref()?;
        match route.kind {
            Kind::List | Kind::Latest | Kind::Info
                if self.is_whole
                    && matches!(method, "GET" | "HEAD")
                    && !self.catalog.knows(module)
                    && self.catalog.knows_near(module) =>
            {
                Some(Instead::Absent(module.to_owned()))
            }
            _ => None,
        }
    }

    /// Makes the answer to a request of this method and URL.
    pub(super) fn make(
        &self,
        recording: &Recording,
        method: &str,
        url: &str,
        instead: &Instead,
    ) -> Result<Outcome, AnswerError> {
        let content = |number: usize, limit| {
            let row = recording.rows().get(number);
            row.map(|row| recording.content_within(row, limit))
        };
        let plain = |status, text: Vec<u8>| {
            let kind = (String::from("content-type"), ByteString::from(TEXT));
            let mut exchange = exchange(method, url, vec![kind], text);
            if let Ending::Ended(end) = &mut exchange.ending {
                end.status = status;
            }
            Outcome::New(Box::new(exchange))
        };
        let text = |bytes: Vec<u8>| plain(200, bytes);
        let absent = |module: &str| {
            let name = recording.name();
            let text = format!("not found: recording {name} has no whole version of {module}\n");
            plain(404, text.into_bytes())
        };
        Ok(match instead {
            Instead::Supported => text(Vec::new()),
            Instead::Lookup { row, edit } => {
                let Some(row) = recording.rows().get(*row) else {
                    return Ok(Outcome::Nothing(String::from("it has no row")));
                };
                let recorded = recording.exchange(row)?;
                let headers = recorded.end().map(|end| lasting(&end.headers));
                let bytes = edit.apply(recording.content_within(row, SMALL_FILE)?)?;
                let made = exchange(method, url, headers.unwrap_or_default(), bytes);
                Outcome::New(Box::new(made))
            }
            Instead::List(module) => {
                let was_there = |version: &str| match &self.as_of {
                    Some((_, as_of)) => as_of.has(module, version),
                    None => true,
                };
                match (self.is_whole, self.catalog.listed(module)) {
                    (false, Some(row)) => {
                        let recorded = content(row, TEXT_LIMIT).transpose()?;
                        let recorded = recorded.unwrap_or_default();
                        let recorded = String::from_utf8_lossy(&recorded);
                        let lines = recorded.lines().filter(|line| {
                            let version = line.split_whitespace().next();
                            version.is_some_and(was_there)
                        });
                        text(
                            lines
                                .map(|line| format!("{line}\n"))
                                .collect::<String>()
                                .into(),
                        )
                    }
                    _ => text(self.catalog.list(module, was_there).into()),
                }
            }
            Instead::Latest(module) => {
                let small = |row| content(row, SMALL_FILE)?.ok();
                match self.latest_row(module, small) {
                    Some(row) => Outcome::Recorded(row),
                    None if self.as_of.is_none() => absent(module),
                    None => self.nothing("version of it that was recorded is so old"),
                }
            }
            Instead::Commit { module, query } => {
                let as_of = self.as_of.as_ref();
                match as_of.and_then(|(_, as_of)| as_of.commit(module, query)) {
                    Some(row) => Outcome::Recorded(row),
                    None => self.nothing("recorded commit of it is so old"),
                }
            }
            Instead::Absent(module) => absent(module),
        })
    }

    /// Whether which versions there are is told otherwise than it was recorded.
    const fn has_lists(&self) -> bool {
        self.is_whole || self.as_of.is_some()
    }

    fn latest_row(
        &self,
        module: &str,
        read: impl FnOnce(usize) -> Option<Vec<u8>>,
    ) -> Option<usize> {
        match &self.as_of {
            Some((_, as_of)) => as_of.latest(module, |version| {
                !self.is_whole || self.catalog.is_whole(module, version)
            }),
            None => self.catalog.latest(module, read),
        }
    }

    fn nothing(&self, what: &str) -> Outcome {
        let instant = self.as_of.as_ref().map(|(instant, _)| &*instant.text);
        Outcome::Nothing(format!("as of {}: no {what}", instant.unwrap_or_default()))
    }
}

/// The type of a `list`.
const TEXT: &str = "text/plain; charset=UTF-8";

/// Could another answer stand in for that of this row?
fn has_answer(row: &Row) -> bool {
    let is_good = row.status == Some(200) || row.is_redirect();
    matches!(&*row.method, "GET" | "HEAD")
        && row.state == RowState::Ended
        && row.made_by == Some(MadeBy::Origin)
        && is_good
}

fn is_settled(route: &Route) -> bool {
    match route.kind {
        Kind::Info => route.version.as_deref().is_some_and(is_canonical_version),
        Kind::Discovery | Kind::Vcs | Kind::Other => false,
        _ => true,
    }
}

/// The module whose versions are asked for, but for toolchains, which are zips alone and listed as they were.
fn module(route: &Route) -> Option<String> {
    route
        .module
        .clone()
        .filter(|module| module != TOOLCHAIN_MODULE)
}

/// The fields that hold whatever the body is: none that tells of its bytes.
fn lasting(fields: &Fields) -> Fields {
    const OF_BYTES: [&str; 9] = [
        "accept-ranges",
        "content-digest",
        "content-encoding",
        "content-md5",
        "digest",
        "etag",
        "last-modified",
        "repr-digest",
        "x-goog-hash",
    ];
    let lasting = fields.iter().filter(|(name, _)| {
        let mut of_bytes = OF_BYTES.iter();
        !of_bytes.any(|known| name.eq_ignore_ascii_case(known))
    });
    lasting.cloned().collect()
}

/// An exchange with status 200 that nobody recorded.
fn exchange(method: &str, url: &str, headers: Fields, bytes: Vec<u8>) -> Exchange {
    let body = Body {
        sha256: Hex(Sha256::digest(&bytes).into()),
        bytes: bytes.len() as u64,
        inline: Some(ByteString(bytes)),
        kept: true,
    };
    Exchange {
        started: Timestamp::default(),
        begin: Begin {
            id: 0,
            connection: 0,
            span: Hex([0; 8]),
            method: method.to_owned(),
            url: url.to_owned(),
            version: String::from("HTTP/1.1"),
            headers: Fields::new(),
        },
        ending: Ending::Ended(End {
            id: 0,
            status: 200,
            reason: None,
            version: String::from("HTTP/1.1"),
            headers,
            trailers: Fields::new(),
            request_body: None,
            body: Some(body),
            phases_us: Timings::default(),
            own_us: 0,
            client_wait_us: 0,
            longest_silence_us: None,
            made_by: MadeBy::Origin,
            attempts: Vec::new(),
            notes: Vec::new(),
        }),
    }
}
