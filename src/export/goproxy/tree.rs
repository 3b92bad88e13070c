//! The tree of files: which answers make it up, what stands beside them, and what has no file.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use crate::diagnose::routes::{STEPS, is_redirect, key};
use crate::exchange::{ExchangeId, MadeBy};
use crate::gomod::{
    Base, Kind, Location, Route, Tile, check_path, escape_path, escape_version,
    is_canonical_version, is_pseudo_version, redirect_target,
};
use crate::recording::Row;
use crate::recording::reader::RowState;

/// Bytes of a file's name: what file systems take.
const NAME_LIMIT: usize = 255;

/// Bytes of a path below the folder: with the folder's own it stays below Linux's `PATH_MAX`.
const PATH_LIMIT: usize = 2_000;

/// The files that a recording has answers for.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(super) files: BTreeMap<String, File>,
    /// Modules whose list was asked for and answered.
    listed: BTreeSet<String>,
    /// Why a file's redirect leads to no answer; by path.
    astray: BTreeMap<String, String>,
    refused: Vec<String>,
    /// Checksum databases whose lookups have one head.
    pub(super) unified: BTreeSet<String>,
}

/// What a file has of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// All of it.
    Whole,
    /// The first so many bytes: a tile out of a wider one.
    Cut(usize),
    /// The record of a lookup, with this note behind it.
    Note(Rc<[u8]>),
}

/// A file, and what it is of.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// The number of the row whose answer it holds.
    pub(crate) row: usize,
    /// What it holds of that.
    pub(crate) edit: Edit,
    pub(super) kind: Kind,
    pub(super) module: Option<String>,
    pub(super) version: Option<String>,
    pub(super) sumdb: Option<String>,
    pub(super) tile: Option<Tile>,
}

/// Why a request has no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum PathError {
    #[error("the name of its checksum database is not a valid path")]
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
            if is_answer(asked, faulty) {
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

/// The part of a path behind the module or the database.
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

/// The answers of a recording by what was asked.
struct Answers<'a, L> {
    rows: &'a [Row],
    location: L,
    /// The last sound answer to each URL, else the last redirect; empty if none is redirected.
    by_url: HashMap<String, usize>,
}

/// Exchanges whose answers are not what they were asked for, by run and exchange.
pub(crate) type Faulty = HashSet<(u32, ExchangeId)>;

/// Is it a response of the origin that can become a file, or a redirect to one?
fn is_answer(row: &Row, faulty: &Faulty) -> bool {
    row.method == "GET"
        && row.state == RowState::Ended
        && row.made_by == Some(MadeBy::Origin)
        && (row.status == Some(200) || is_redirect(row))
        && !faulty.contains(&(row.run, row.id))
}

impl<'a, L: FnMut(&Row) -> Option<String>> Answers<'a, L> {
    /// `location` reads a redirect's `Location`.
    fn new(rows: &'a [Row], faulty: &Faulty, location: L) -> Self {
        let is_sound = |(_, row): &(usize, &Row)| is_answer(row, faulty);
        let answers = || rows.iter().enumerate().filter(is_sound);
        let mut by_url = HashMap::new();
        if answers().any(|(_, row)| is_redirect(row)) {
            let (whole, redirects): (Vec<_>, Vec<_>) =
                answers().partition(|(_, row)| !is_redirect(row));
            let ordered = redirects.into_iter().chain(whole);
            by_url.extend(ordered.map(|(number, row)| (key(&row.url), number)));
        }
        Self {
            rows,
            location,
            by_url,
        }
    }

    /// The number of the row with the whole answer that row `number` leads to, or how it leads nowhere.
    fn follow(&mut self, number: usize) -> Result<usize, String> {
        let mut at = number;
        for _ in 0..STEPS {
            let Some(row) = self.rows.get(at).filter(|row| is_redirect(row)) else {
                return Ok(at);
            };
            let to = (self.location)(row).and_then(|location| redirect_target(&row.url, &location));
            let to = to.ok_or_else(|| String::from("redirected to an invalid URL"))?;
            let found = self.by_url.get(&key(&to));
            at = *found.ok_or_else(|| {
                let host = Location::of(&to).host;
                format!("redirected to {host}, which was not recorded")
            })?;
        }
        Err("redirected in a circle".into())
    }
}

/// A zip that was asked for and has no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// What was asked for: `zip golang.org/x/net v0.34.0`, or the path of an unknown URL.
    pub(crate) what: String,
    /// Who was asked last.
    pub(crate) host: String,
    /// The exchange.
    pub(crate) id: ExchangeId,
    /// Why there is no file.
    pub(crate) why: String,
}

impl Tree {
    /// Zips that were asked for and have no file, each once, by path; without those whose answer was
    /// whole, but faulty or unreadable. `route` says what a row asked for, `broke_off` why an answer did.
    pub(crate) fn zips_left_out(
        &self,
        rows: &[Row],
        route: impl Fn(&Row) -> Route,
        mut broke_off: impl FnMut(&Row) -> Option<String>,
    ) -> Vec<LeftOut> {
        let mut found = BTreeMap::new();
        for row in rows.iter().filter(|row| row.method == "GET") {
            let route = route(row);
            let path = match (route.kind, path(&route)) {
                (Kind::Zip | Kind::Toolchain, Some(Ok(path))) => path,
                (Kind::Other, _) if route.path.ends_with(".zip") => row.url.clone(),
                _ => continue,
            };
            if self.files.contains_key(&path) {
                continue;
            }
            let Some(why) = self.why_not(row, &path, route.kind, &mut broke_off) else {
                // It was asked again, and there is more to say of that.
                found.remove(&path);
                continue;
            };
            let left_out = LeftOut {
                what: route.what(),
                host: Location::of(&row.url).host,
                id: row.id,
                why,
            };
            found.insert(path, left_out);
        }
        found.into_values().collect()
    }

    fn why_not(
        &self,
        row: &Row,
        path: &str,
        kind: Kind,
        broke_off: &mut impl FnMut(&Row) -> Option<String>,
    ) -> Option<String> {
        let status = row.status.unwrap_or_default();
        Some(match (row.state, row.made_by) {
            (RowState::InFlight, _) => "it was in flight when the recorder ended".into(),
            (RowState::Aborted, _) => match broke_off(row) {
                Some(why) => format!("it broke off: {why}"),
                None => "it broke off".into(),
            },
            (RowState::Ended, Some(MadeBy::Modtape)) => {
                format!("modtape itself answered, with status {status}")
            }
            _ if is_redirect(row) => match self.astray.get(path) {
                Some(how) => format!("it was {how}"),
                None => "it was redirected, and what came of that is not here".into(),
            },
            _ if status != 200 => format!("status {status}"),
            _ if kind == Kind::Other => "no module has a zip at such a URL".into(),
            _ => return None,
        })
    }
}

/// Which files of a version are present, in the order of [`PARTS`].
type Present = [bool; 3];

/// The files of a version that can be had, and their kinds.
const PARTS: [Kind; 3] = [Kind::Info, Kind::Mod, Kind::Zip];

/// A version of which there is something, but not all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lacking {
    /// The module path.
    pub(crate) module: String,
    /// The version.
    pub(crate) version: String,
    /// What is not there, in words: `info`, `zip (redirected to HOST, which was not recorded)`.
    pub(crate) files: Vec<String>,
}

impl Tree {
    /// Versions of which there is something, but not all; by module and version.
    pub(crate) fn lacking(&self) -> Vec<Lacking> {
        let versions = self.versions().into_iter().flat_map(|(module, versions)| {
            let versions = versions.into_iter();
            versions.map(move |(version, there)| (module, version, there))
        });
        let parted = versions.filter(|(.., there)| !is_whole(*there));
        let lacking = parted.map(|(module, version, there)| Lacking {
            module: module.into(),
            version: version.into(),
            files: self.missing(module, version, there),
        });
        lacking.collect()
    }

    fn missing(&self, module: &str, version: &str, there: Present) -> Vec<String> {
        let parts = PARTS.iter().zip(there).filter(|(_, there)| !there);
        let missing = parts.map(|(kind, _)| {
            let path = module_path(*kind, module, Some(version));
            let astray = path.and_then(|path| self.astray.get(&path));
            match astray {
                Some(how) => format!("{kind} ({how})"),
                None => kind.to_string(),
            }
        });
        missing.collect()
    }

    /// The list of each module, with its path: the versions that are whole, tags only.
    pub(super) fn lists(&self) -> Vec<(String, String)> {
        let lists = self
            .versions()
            .into_iter()
            .filter_map(|(module, versions)| {
                let whole = versions.into_iter().filter(|(_, there)| is_whole(*there));
                let tags = whole.filter(|(version, _)| !is_pseudo_version(version));
                let list: String = tags.map(|(version, _)| format!("{version}\n")).collect();
                Some((module_path(Kind::List, module, None)?, list))
            });
        lists.collect()
    }

    /// What is there of each version of each module; modules may have none.
    fn versions(&self) -> BTreeMap<&str, BTreeMap<&str, Present>> {
        let listed = self.listed.iter().map(String::as_str);
        let mut modules: BTreeMap<_, BTreeMap<_, Present>> =
            listed.map(|module| (module, BTreeMap::new())).collect();
        for file in self.files.values() {
            let Some(module) = file.module.as_deref().filter(|_| is_a_modules(file)) else {
                continue;
            };
            let versions = modules.entry(module).or_default();
            let version = file.version.as_deref();
            if let Some(version) = version.filter(|version| is_canonical_version(version)) {
                let there = versions.entry(version).or_default();
                for (kind, there) in PARTS.iter().zip(there) {
                    *there |=
                        *kind == file.kind || (*kind == Kind::Zip && file.kind == Kind::Toolchain);
                }
            }
        }
        modules
    }
}

/// Where a file of a module lies.
fn module_path(kind: Kind, module: &str, version: Option<&str>) -> Option<String> {
    let route = Route {
        kind,
        module: Some(module.into()),
        version: version.map(str::to_owned),
        tile: None,
        sumdb: None,
        path: String::new(),
    };
    path(&route)?.ok()
}

fn is_a_modules(file: &File) -> bool {
    file.kind != Kind::Lookup
}

fn is_whole(there: Present) -> bool {
    there == [true; 3]
}

#[cfg(test)]
mod tests;
