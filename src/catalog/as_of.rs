//! What a module proxy would have said at an instant, by the times that recorded `.info` answers have.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::path::module_path;
use super::redirects::Answers;
use super::{Faulty, is_answer};
use crate::gomod::{Base, Kind, RevInfo, Route, is_canonical_version, latest_version};
use crate::recording::Row;

/// The versions and commits of an instant.
#[derive(Debug)]
pub(crate) struct AsOf {
    instant: OffsetDateTime,
    /// All answers to each `.info` and `@latest` that have a time, by path and in order.
    infos: BTreeMap<String, Vec<Info>>,
    /// The answers to canonical versions and to `@latest` that are not younger, by module and version.
    versions: BTreeMap<String, BTreeMap<String, usize>>,
}

/// An answer to a `.info` or an `@latest`.
#[derive(Debug)]
struct Info {
    row: usize,
    time: OffsetDateTime,
}

impl AsOf {
    /// Reads the times in the sound answers among `rows`. `location` reads a redirect's `Location`, `read`
    /// the content of a row's answer.
    pub(crate) fn new(
        instant: OffsetDateTime,
        rows: &[Row],
        bases: &[Base],
        faulty: &Faulty,
        location: impl FnMut(&Row) -> Option<String>,
        mut read: impl FnMut(usize) -> Option<Vec<u8>>,
    ) -> Self {
        let mut known = Self {
            instant,
            infos: BTreeMap::new(),
            versions: BTreeMap::new(),
        };
        let mut answers = Answers::new(rows, faulty, location);
        for (number, row) in rows.iter().enumerate() {
            let route = Route::of(&row.url, bases);
            if !matches!(route.kind, Kind::Info | Kind::Latest) || !is_answer(row, faulty) {
                continue;
            }
            let answer = answers.follow(number).ok();
            let info = answer.and_then(|row| Some((row, RevInfo::parse(&read(row)?)?)));
            if let Some((row, info)) = info {
                known.add(&route, row, info);
            }
        }
        known
    }

    fn add(&mut self, route: &Route, row: usize, info: RevInfo) {
        let (Some(module), Some(time)) = (&route.module, info.time) else {
            return;
        };
        let version = route.version.as_deref();
        let is_a_versions = version.is_none_or(is_canonical_version);
        if is_a_versions && time <= self.instant {
            let versions = self.versions.entry(module.clone()).or_default();
            versions.insert(info.version, row);
        }
        if let Some(path) = module_path(route.kind, module, version) {
            self.infos.entry(path).or_default().push(Info { row, time });
        }
    }

    /// Was there this version then, as far as its `.info` tells?
    pub(crate) fn has(&self, module: &str, version: &str) -> bool {
        let path = module_path(Kind::Info, module, Some(version));
        let infos = path.and_then(|path| self.infos.get(&path));
        infos.is_some_and(|infos| infos.iter().any(|info| info.time <= self.instant))
    }

    /// The row with the `.info` of the version that `@latest` was then, among those that are `allowed`.
    pub(crate) fn latest(&self, module: &str, allowed: impl Fn(&str) -> bool) -> Option<usize> {
        let versions = self.versions.get(module)?;
        let allowed = versions.keys().filter(|version| allowed(version));
        let latest = latest_version(allowed.map(String::as_str))?;
        versions.get(latest).copied()
    }

    /// The row with the newest recorded answer to a query that was not younger.
    pub(crate) fn commit(&self, module: &str, query: &str) -> Option<usize> {
        let path = module_path(Kind::Info, module, Some(query))?;
        let then = self.infos.get(&path)?.iter();
        let then = then.filter(|info| info.time <= self.instant);
        Some(then.max_by_key(|info| info.time)?.row)
    }
}
