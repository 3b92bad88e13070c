//! A recording as the files of a module proxy, for `GOPROXY=file://…` (Go modules reference,
//! "GOPROXY protocol").
//!
//! Of several answers for one file the last sound 200 is taken; a redirect is followed as far as the
//! recording goes. Nothing is guessed: `list` names the versions that are whole, and what has no
//! answer has no file. Each path is put together anew from what a request means, in the alphabet of
//! module paths: none is taken from the recording.

mod answers;
mod left_out;
mod unified;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use super::body_text::{Coding, decoded_limit};
use crate::exchange::Fields;
use crate::gomod::{Base, Kind, Route, Tile, check_path, escape_path, escape_version};
use crate::recording::Row;
use answers::Answers;
pub(crate) use answers::Faulty;
pub(crate) use left_out::LeftOut;
pub(crate) use unified::{LOOKUP_LIMIT, Loose};

/// So many times its length may a compressed answer always become: zips hardly shrink.
const FREE_RATIO: u64 = 4;

/// Octets of a file's name: what file systems take.
const NAME_LIMIT: usize = 255;

/// Octets of a path below the folder: with the folder's own it stays below Linux's `PATH_MAX`.
const PATH_LIMIT: usize = 2_000;

/// The files that a recording has answers for.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, File>,
    /// Modules whose list was asked for and answered.
    listed: BTreeSet<String>,
    /// How the redirects of a file lead nowhere; by path.
    astray: BTreeMap<String, String>,
    refused: Vec<String>,
    /// Checksum databases whose lookups have one head.
    unified: BTreeSet<String>,
}

/// What a file has of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// All of it.
    Whole,
    /// The first so many octets: a tile out of a wider one.
    Cut(usize),
    /// The record of a lookup, with this note behind it.
    Note(Rc<[u8]>),
}

/// A file, and what it is of.
#[derive(Debug, Clone)]
struct File {
    row: usize,
    kind: Kind,
    module: Option<String>,
    version: Option<String>,
    sumdb: Option<String>,
    tile: Option<Tile>,
    edit: Edit,
}

/// Why a request has no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum PathError {
    #[error("the name of its checksum database is no path")]
    Database,
    #[error("its path is too long for a file")]
    Length,
    #[error("its path cannot be that of a file")]
    Escape,
}

impl Tree {
    /// Finds the answers among `rows` that are not `faulty`. `location` reads a redirect's `Location`.
    pub(crate) fn plan(
        rows: &[Row],
        bases: &[Base],
        faulty: &Faulty,
        location: impl FnMut(&Row) -> Option<String>,
    ) -> Self {
        let mut tree = Self::default();
        let mut answers = Answers::new(rows, faulty, location);
        for (row, asked) in rows.iter().enumerate() {
            if answers::is_answer(asked, faulty) {
                let route = Route::of(&asked.url, bases);
                tree.add(route, answers.follow(row));
            }
        }
        tree
    }

    fn add(&mut self, route: Route, answer: Result<usize, String>) {
        let path = match path(&route) {
            None => return,
            Some(Ok(path)) => path,
            Some(Err(why)) => return self.refused.push(format!("{}: {why}", route.what())),
        };
        match (answer, route.module) {
            (Err(how), _) => drop(self.astray.insert(path, how)),
            // It is made of what turns out to be whole.
            (Ok(_), Some(module)) if route.kind == Kind::List => drop(self.listed.insert(module)),
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

    /// The files: a path below the folder, the number of the row whose answer it holds, and what of
    /// it.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, usize, &Edit)> {
        let files = self.files.iter();
        files.map(|(path, file)| (path.as_str(), file.row, &file.edit))
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
        for name in broken {
            self.unified.remove(&name);
        }
        self
    }

    /// Whether there is a file for what a request asks for, or will be.
    pub(crate) fn holds(&self, route: &Route) -> bool {
        if let (Kind::List, Some(module)) = (route.kind, &route.module) {
            return self.listed.contains(module);
        }
        let path = path(route).and_then(Result::ok);
        path.is_some_and(|path| self.files.contains_key(&path))
    }

    /// Requests that no file can stand for, and why, in words.
    pub(crate) fn refused(&self) -> &[String] {
        &self.refused
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

/// Where the answer to a request lies below the folder; `None` for what no module proxy serves.
fn path(route: &Route) -> Option<Result<String, PathError>> {
    let module = route.module.as_deref().map(escape_path);
    let version = route.version.as_deref().map(escape_version);
    let (module, version) = match (module.transpose(), version.transpose()) {
        (Ok(module), Ok(version)) => (module.unwrap_or_default(), version.unwrap_or_default()),
        // Discovery and git ask for whatever they like.
        _ if tail(route, "", "").is_none() => return None,
        _ => return Some(Err(PathError::Escape)),
    };
    let tail = tail(route, &module, &version)?;
    let path = match (&route.sumdb, route.kind) {
        (Some(name), Kind::SumdbSupported | Kind::Lookup | Kind::Tile) if is_database(name) => {
            format!("sumdb/{name}/{tail}")
        }
        (_, Kind::SumdbSupported | Kind::Lookup | Kind::Tile) => {
            return Some(Err(PathError::Database));
        }
        _ => format!("{module}/{tail}"),
    };
    let fits = path.len() <= PATH_LIMIT && path.split('/').all(|name| name.len() <= NAME_LIMIT);
    Some(fits.then_some(path).ok_or(PathError::Length))
}

/// What stands behind the module or the database.
fn tail(route: &Route, module: &str, version: &str) -> Option<String> {
    match route.kind {
        Kind::List => Some("@v/list".into()),
        Kind::Latest => Some("@latest".into()),
        Kind::Info => Some(format!("@v/{version}.info")),
        Kind::Mod => Some(format!("@v/{version}.mod")),
        Kind::Zip | Kind::Toolchain => Some(format!("@v/{version}.zip")),
        Kind::SumdbSupported => Some("supported".into()),
        Kind::Lookup => Some(format!("lookup/{module}@{version}")),
        Kind::Tile => route.tile.map(|tile| tile.to_string()),
        Kind::Discovery | Kind::Vcs | Kind::Other => None,
    }
}

/// Can a checksum database of that name have a folder? Not if that were another's file.
fn is_database(name: &str) -> bool {
    let is_ours = |element| matches!(element, "supported" | "lookup" | "tile");
    check_path(name).is_ok() && !name.split('/').any(is_ours)
}

/// The content of an answer of so many `bytes`: `octets` with the coding undone that its header
/// fields name, within bounds; or the name of a coding that is not known here.
pub(crate) fn content(
    headers: &Fields,
    octets: impl Read + 'static,
    bytes: u64,
) -> Result<Box<dyn Read>, String> {
    match Coding::of(headers) {
        Coding::Gzip if bytes > 0 => Ok(Box::new(Bounded {
            source: MultiGzDecoder::new(octets),
            left: limit(bytes),
        })),
        Coding::Other(name) if bytes > 0 => Err(name),
        // An empty body names a coding that it did not use.
        Coding::Identity | Coding::Gzip | Coding::Other(_) => Ok(Box::new(octets)),
    }
}

/// How many octets so many of gzip may become: what a HAR may hold of it, and what a zip needs.
fn limit(bytes: u64) -> u64 {
    let limit = decoded_limit(usize::try_from(bytes).unwrap_or(usize::MAX));
    bytes.saturating_mul(FREE_RATIO).max(limit as u64)
}

/// Octets of which there may be no more than so many.
struct Bounded<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(buffer)?;
        let left = self.left.checked_sub(len as u64);
        self.left =
            left.ok_or_else(|| io::Error::other("it decodes to far more than its length"))?;
        Ok(len)
    }
}

#[cfg(test)]
mod tests;
