//! What a recording answers, by what is asked.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read as _;

use crate::catalog::{Catalog, Faulty, file_path};
use crate::commands::answers;
use crate::diagnose::closure::{Ask, Known};
use crate::diagnose::requirements::Requirements;
use crate::diagnose::routes::Routes;
use crate::diagnose::rules::tells_of_failure;
use crate::exchange::MadeBy;
use crate::gomod::{
    Kind, ModuleVersion, Route, TEXT_LIMIT, Tile, canonical, is_canonical_version,
    is_pseudo_version,
};
use crate::recording::format::Fault;
use crate::recording::reader::RowState;
use crate::recording::{Recording, Row};
use crate::sumdb::{Answer, Seen, Verifier, tiles_sealed};

/// The statuses that are an answer: there is no such thing.
const ABSENT: [Option<u16>; 2] = [Some(404), Some(410)];

/// What a recording answers.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Paths below a module proxy for which there is an answer, and those of lookups that have none.
    pub(super) answered: HashSet<String>,
    /// URLs, in one spelling, that were answered with "not here".
    absent: HashSet<String>,
    /// The modules whose recorded list names a version.
    pub(super) listed: HashSet<String>,
    /// Modules and repositories that a command went to past every module proxy.
    repositories: BTreeSet<String>,
    /// Those whose page it read, to find their repositories.
    discovered: BTreeSet<String>,
    /// What the closure depends on.
    pub(super) known: Known,
    /// The answers to lookups, all of each: they may have different heads.
    pub(super) lookups: BTreeMap<ModuleVersion, Vec<Vec<u8>>>,
    /// The widest tiles, each with its content.
    pub(super) tiles: BTreeMap<Tile, Vec<u8>>,
    /// Where lookups were asked, without a trailing slash.
    pub(super) database: Option<String>,
}

/// The request for something; `name` is the checksum database's.
pub(super) fn route(ask: &Ask, name: &str) -> Route {
    Route {
        kind: ask.kind,
        module: Some(ask.module.clone()),
        version: ask.version.clone(),
        tile: None,
        sumdb: (ask.kind == Kind::Lookup).then(|| name.to_owned()),
        path: String::new(),
    }
}

/// The path of what is asked for; `None` if no proxy could be asked so.
pub(super) fn path(ask: &Ask, name: &str) -> Option<String> {
    file_path(&route(ask, name))
}

impl Holdings {
    /// Reads a recording. Answers with one of these faults do not count; `name` is the checksum database's.
    pub(super) fn of(recording: &Recording, routes: &Routes, faults: &[Fault], name: &str) -> Self {
        let faulty = faults.iter().map(|fault| (fault.run, fault.exchange));
        let faulty: &Faulty = &faulty.collect();
        let location = |row: &Row| recording.answer_field(row, "location");
        let rows = recording.rows();
        // What was not kept is no answer either.
        let lost = rows
            .iter()
            .filter(|row| is_answer(row, faulty) && !is_kept(recording, row));
        let lost = lost.map(|row| (row.run, row.id));
        let faulty = &lost.chain(faulty.iter().copied()).collect();
        let catalog = Catalog::of(rows, routes.bases(), faulty, location);
        let catalog = catalog.with_direct(&recording.manifest().direct, faults);
        let mut held = Self::default();
        held.answered.extend(catalog.files().keys().cloned());
        held.answered.extend(catalog.direct().keys().cloned());
        let routed: Vec<(&Row, Route)> = rows
            .iter()
            .filter(|row| is_answer(row, faulty))
            .map(|row| (row, routes.route(row)))
            .collect();
        for row in rows {
            let route = routes.route(row);
            let of_kind = match route.kind {
                Kind::Vcs => &mut held.repositories,
                Kind::Discovery => &mut held.discovered,
                _ => continue,
            };
            of_kind.extend(route.module);
        }
        for (row, route) in &routed {
            let is_absent = ABSENT.contains(&row.status)
                && !answers::text(recording, row)
                    .is_some_and(|text| tells_of_failure(&String::from_utf8_lossy(&text)));
            if is_absent {
                held.absent.insert(canonical(&row.url));
            }
            let is_there = catalog.holds(route) || is_absent && route.kind == Kind::Lookup;
            held.answered.extend(file_path(route).filter(|_| is_there));
            held.take(recording, row, route, name);
        }
        let mods = routed.iter().map(|(row, route)| (*row, route));
        held.known.requirements = Requirements::of_rows(recording, mods);
        held.take_direct(recording);
        let sums = recording.main_sum();
        let sums = sums.iter().flat_map(|sums| sums.versions());
        held.known.summed = sums
            .filter(|(_, version)| is_canonical_version(version))
            .map(|(module, version)| ModuleVersion::of(module, version))
            .collect();
        held
    }

    /// Takes what the modules that came from their repositories require.
    fn take_direct(&mut self, recording: &Recording) {
        for direct in &recording.manifest().direct {
            let of = ModuleVersion::of(&direct.module, &direct.version);
            let reader = direct.go_mod.map(|kept| recording.body(&kept.body()));
            if let Some(Ok(reader)) = reader {
                let mut content = Vec::new();
                let read = reader.take(TEXT_LIMIT).read_to_end(&mut content);
                if read.is_ok() {
                    self.known.requirements.add(of.clone(), &content);
                }
            }
            if direct.zip.is_some() {
                self.known.zips.insert(of.clone());
            }
            self.repositories.insert(of.path.clone());
            self.known.asked.insert(of);
        }
    }

    /// Whether the recorded commands looked for a module where its repository is.
    pub(super) fn came_from_repository(&self, module: &str) -> bool {
        let mut places = module.match_indices('/').map(|(slash, _)| &module[..slash]);
        self.discovered.contains(module)
            || self.repositories.contains(module)
            || places.any(|place| self.repositories.contains(place))
    }

    fn take(&mut self, recording: &Recording, row: &Row, route: &Route, name: &str) {
        if row.status != Some(200) {
            return;
        }
        if let (Some(tile), true) = (route.tile, route.sumdb.as_deref() == Some(name)) {
            if let Some(content) = answers::text(recording, row) {
                self.add_tile(tile, content);
            }
            return;
        }
        if let (Kind::List, Some(module)) = (route.kind, &route.module) {
            let content = answers::text(recording, row);
            self.add_list(module, &content.unwrap_or_default());
        }
        let (Some(module), Some(version)) = (&route.module, &route.version) else {
            return;
        };
        let of = ModuleVersion::of(module, version);
        // What was fetched to complete the recording must not make it grow once more.
        let run = usize::try_from(row.run)
            .ok()
            .and_then(|run| recording.runs().get(run));
        let is_commands = run.is_none_or(|run| run.added_by.as_deref() != Some(super::VERB));
        match route.kind {
            Kind::Lookup if route.sumdb.as_deref() == Some(name) => {
                let place = row.url.rfind("/lookup/").map(|at| row.url[..at].to_owned());
                self.database = place.or_else(|| self.database.take());
                if let Some(content) = answers::text(recording, row) {
                    self.add_lookup(of, content);
                }
            }
            Kind::Zip | Kind::Toolchain if is_commands => {
                self.known.zips.insert(of.clone());
                self.known.asked.insert(of);
            }
            Kind::Mod | Kind::Info if is_commands => drop(self.known.asked.insert(of)),
            _ => {}
        }
    }

    /// Whether all of these URLs were answered with "not here".
    pub(super) fn are_absent(&self, urls: impl Iterator<Item = String>) -> bool {
        let mut urls = urls.peekable();
        urls.peek().is_some() && urls.all(|url| self.absent.contains(&canonical(&url)))
    }

    /// Notes that these URLs were answered with "not here".
    pub(super) fn add_absent(&mut self, urls: impl Iterator<Item = String>) {
        self.absent.extend(urls.map(|url| canonical(&url)));
    }

    /// Takes the list of a module's versions.
    pub(super) fn add_list(&mut self, module: &str, content: &[u8]) {
        let content = String::from_utf8_lossy(content);
        let mut versions = content
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        if versions.any(|version| is_canonical_version(version) && !is_pseudo_version(version)) {
            self.listed.insert(module.to_owned());
        }
    }

    /// The tiles by which every client can prove every lookup in any order, and that are not there. An error
    /// names the first lookup that is not what it should be.
    pub(super) fn missing_tiles(&self, verifier: &Verifier) -> Result<Vec<Tile>, String> {
        let mut seen = Seen::default();
        let lookups = self.lookups.iter();
        for (of, content) in lookups.flat_map(|(of, all)| all.iter().map(move |one| (of, one))) {
            let answer = Answer::open(content, verifier);
            let answer = answer.map_err(|why| format!("lookup {of}: {why}"))?;
            seen.lookups.push((answer.id, answer.head.size));
        }
        let tiles = tiles_sealed(&seen).into_iter();
        Ok(tiles.filter(|tile| self.tile(tile).is_none()).collect())
    }

    /// Takes the answer to a lookup.
    pub(super) fn add_lookup(&mut self, of: ModuleVersion, content: Vec<u8>) {
        let known = self.lookups.entry(of).or_default();
        if !known.contains(&content) {
            known.push(content);
        }
    }

    /// Takes a tile; of several versions the widest stays.
    pub(super) fn add_tile(&mut self, tile: Tile, content: Vec<u8>) {
        if content.len() != tile.len_bytes() || self.tile(&tile).is_some() {
            return;
        }
        self.tiles
            .retain(|known, _| known.coordinate() != tile.coordinate());
        self.tiles.insert(tile, content);
    }

    /// The bytes of a tile, cut from a wider one where need be.
    pub(super) fn tile(&self, tile: &Tile) -> Option<&[u8]> {
        let least = *tile;
        let most = Tile {
            width: u16::MAX,
            ..*tile
        };
        let (_, content) = self.tiles.range(least..=most).next()?;
        content.get(..tile.len_bytes())
    }

    /// The versions of modules that are asked for, and the modules.
    pub(super) fn counts(asks: &BTreeSet<Ask>) -> [usize; 2] {
        let modules: BTreeSet<&str> = asks.iter().map(|ask| &*ask.module).collect();
        let is_version = |ask: &&Ask| matches!(ask.kind, Kind::Mod | Kind::Toolchain);
        [asks.iter().filter(is_version).count(), modules.len()]
    }
}

/// Whether the body of an answer can be given again.
fn is_kept(recording: &Recording, row: &Row) -> bool {
    let exchange = recording.exchange(row);
    let body = exchange
        .as_ref()
        .ok()
        .and_then(|exchange| exchange.end()?.body.as_ref());
    exchange.is_ok() && body.is_none_or(|body| body.kept)
}

/// Whether a go command would go by this response.
fn is_answer(row: &Row, faulty: &Faulty) -> bool {
    row.method == "GET"
        && row.state == RowState::Ended
        && row.made_by == Some(MadeBy::Origin)
        && !faulty.contains(&(row.run, row.id))
}
