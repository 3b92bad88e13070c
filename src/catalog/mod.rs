//! What a recording holds of a module proxy: which answer is which module file, which lists can be made,
//! and which versions lack something.
//!
//! Of several answers for one file the last sound 200 counts; a redirect is followed as far as the
//! recording goes. Nothing is guessed: `list` names the versions that are whole, and what has no answer
//! has no file. Lookups get one tree head where the tiles at hand prove all of them in it, so that they
//! verify in any order. It knows rows and routes; bodies are read by whom it asks.

mod as_of;
mod direct;
mod heads;
mod left_out;
mod path;
mod redirects;
#[cfg(test)]
mod tests;
mod versions;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

pub(crate) use as_of::AsOf;
pub(crate) use direct::DirectFile;
pub(crate) use heads::NotUnified;
pub(crate) use left_out::LeftOut;
pub(crate) use path::{file_path, module_path};
pub(crate) use versions::Lacking;

use crate::exchange::{ExchangeId, MadeBy};
use crate::gomod::{Base, Kind, Lookup, Route, TOOLCHAIN_MODULE, Tile};
use crate::recording::Row;
use crate::recording::reader::RowState;
use path::path;
use redirects::Answers;

/// The files that a recording has answers for.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    files: BTreeMap<String, File>,
    /// Files that no answer holds.
    direct: BTreeMap<String, DirectFile>,
    /// Modules whose list was asked for and answered, with the row of the last answer.
    listed: BTreeMap<String, usize>,
    /// Why a file's redirect leads to no answer; by path.
    astray: BTreeMap<String, String>,
    refused: Vec<String>,
    /// The checksum databases whose lookups have one head.
    unified: BTreeSet<String>,
    /// How many records the tree of the largest head has that its lookups carry, by database.
    largest: BTreeMap<String, u64>,
}

/// Bytes of a lookup's answer, and of a tile, at most: real ones have less than 9,000.
pub(crate) const SMALL_FILE: u64 = 1 << 16;

/// What a file has of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// All of it.
    Whole,
    /// The first so many bytes: a tile out of a wider one.
    Cut(usize),
    /// The record of a lookup, with this note behind it.
    Note(Arc<[u8]>),
}

impl Edit {
    /// The file, made of all of an answer; or why that is not what it should be.
    pub(crate) fn apply(&self, mut answer: Vec<u8>) -> Result<Vec<u8>, EditError> {
        match self {
            Self::Whole => {}
            Self::Cut(len) if answer.len() < *len => return Err(EditError::Short),
            Self::Cut(len) => answer.truncate(*len),
            Self::Note(note) => {
                let at = Lookup::note_at(&answer).ok_or(EditError::Lookup)?;
                answer.truncate(at);
                answer.extend_from_slice(note);
            }
        }
        Ok(answer)
    }
}

/// Why an answer does not give a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    /// A tile.
    #[error("it is shorter than its name says")]
    Short,
    /// A lookup.
    #[error("it is not a valid lookup")]
    Lookup,
}

/// A file, and what it is of.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// The number of the row whose answer it holds.
    pub(crate) row: usize,
    /// What it holds of that.
    pub(crate) edit: Edit,
    /// What it is.
    pub(crate) kind: Kind,
    module: Option<String>,
    version: Option<String>,
    sumdb: Option<String>,
    tile: Option<Tile>,
}

impl Catalog {
    /// Finds the answers among `rows` that are not `faulty`. `location` reads a redirect's `Location`.
    pub(crate) fn of(
        rows: &[Row],
        bases: &[Base],
        faulty: &Faulty,
        location: impl FnMut(&Row) -> Option<String>,
    ) -> Self {
        let mut catalog = Self::default();
        let mut answers = Answers::new(rows, faulty, location);
        for (row, asked) in rows.iter().enumerate() {
            if is_answer(asked, faulty) {
                let route = Route::of(&asked.url, bases);
                catalog.add(route, answers.follow(row));
            }
        }
        catalog
    }

    fn add(&mut self, route: Route, answer: Result<usize, String>) {
        let path = match path(&route) {
            None => return,
            Some(Ok(path)) => path,
            Some(Err(why)) => return self.refused.push(format!("{}: {why}", route.what())),
        };
        match (answer, route.module) {
            (Err(how), _) => drop(self.astray.insert(path, how)),
            // It is made of what turns out to be whole; of toolchains there are zips alone.
            (Ok(row), Some(module)) if route.kind == Kind::List && module != TOOLCHAIN_MODULE => {
                self.listed.insert(module, row);
            }
            (Ok(row), module) => {
                let file = File {
                    row,
                    kind: route.kind,
                    module,
                    version: route.version,
                    sumdb: route.sumdb,
                    tile: route.tile,
                    edit: Edit::Whole,
                };
                self.files.insert(path, file);
            }
        }
    }

    /// The files that hold answers, by path below the folder.
    pub(crate) const fn files(&self) -> &BTreeMap<String, File> {
        &self.files
    }

    /// The same without those of `paths`, which turned out not to be readable.
    #[must_use]
    pub(crate) fn without(mut self, paths: &BTreeSet<String>) -> Self {
        let mut broken = Vec::new();
        self.files.retain(|path, file| {
            let is_lost = paths.contains(path);
            broken.extend(file.sumdb.take_if(|_| is_lost));
            !is_lost
        });
        self.direct.retain(|path, _| !paths.contains(path));
        for name in broken {
            self.unified.remove(&name);
        }
        self
    }

    /// The file for what a request asks for.
    pub(crate) fn file(&self, route: &Route) -> Option<&File> {
        self.files.get(&path(route)?.ok()?)
    }

    /// Whether there is a file for what a request asks for, or will be.
    pub(crate) fn holds(&self, route: &Route) -> bool {
        if let (Kind::List, Some(module)) = (route.kind, &route.module) {
            return self.listed.contains_key(module) || module == TOOLCHAIN_MODULE;
        }
        let path = path(route).and_then(Result::ok);
        path.is_some_and(|path| self.has(&path))
    }

    fn has(&self, path: &str) -> bool {
        self.files.contains_key(path) || self.direct.contains_key(path)
    }

    /// Requests that no file can stand for, and why, in words.
    pub(crate) fn refused(&self) -> &[String] {
        &self.refused
    }

    /// How many records the tree of the largest head has that the lookups of a database carry: the one head,
    /// or the largest of those that were recorded.
    pub(crate) fn largest_head(&self, sumdb: &str) -> Option<u64> {
        self.largest.get(sumdb).copied()
    }

    /// Whether the lookups of a database have one head.
    pub(crate) fn has_one_head(&self, sumdb: &str) -> bool {
        self.unified.contains(sumdb)
    }

    /// What stands beside the answers: each module's `list`, and `supported` of each checksum
    /// database all of whose lookups verify here, which says that they do (its body means nothing).
    pub(crate) fn made(&self) -> Vec<(String, String)> {
        let databases = self.unified.iter();
        let supported = databases.map(|name| format!("sumdb/{name}/supported"));
        let supported = supported.filter(|path| !self.files.contains_key(path));
        let mut made = self.lists();
        made.extend(supported.map(|path| (path, String::new())));
        made
    }
}

/// Exchanges whose answers are not what they were asked for, by run and exchange.
pub(crate) type Faulty = HashSet<(u32, ExchangeId)>;

/// Is it a response of the origin that can become a file, or a redirect to one?
fn is_answer(row: &Row, faulty: &Faulty) -> bool {
    row.method == "GET"
        && row.state == RowState::Ended
        && row.made_by == Some(MadeBy::Origin)
        && (row.status == Some(200) || row.is_redirect())
        && !faulty.contains(&(row.run, row.id))
}
