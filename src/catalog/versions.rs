//! Which versions of a module are whole, so that a list can name them, and what the others lack.

use std::collections::{BTreeMap, BTreeSet};

use super::path::{folder, module_path};
use super::{Catalog, File};
use crate::gomod::{
    Kind, RevInfo, escape_path, is_canonical_version, is_pseudo_version, latest_version,
};

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

impl Catalog {
    /// Versions of which there is something, but not all; by module and version.
    pub(crate) fn lacking(&self) -> Vec<Lacking> {
        let mut lacking = Vec::new();
        for module in self.modules() {
            let versions = self.versions_of(module).into_iter();
            let parted = versions.filter(|(_, there)| !is_whole(*there));
            lacking.extend(parted.map(|(version, there)| Lacking {
                module: module.into(),
                version: version.into(),
                files: self.missing(module, version, there),
            }));
        }
        lacking
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

    /// The list of each module, with its path.
    pub(super) fn lists(&self) -> Vec<(String, String)> {
        let modules = self.modules().into_iter();
        let lists = modules.filter_map(|module| {
            let path = module_path(Kind::List, module, None)?;
            (!self.files.contains_key(&path)).then(|| (path, self.list(module, |_| true)))
        });
        lists.collect()
    }

    /// The row whose answer is each module's `@latest`, with its path; see [`Self::latest`].
    pub(crate) fn latests(
        &self,
        mut read: impl FnMut(usize) -> Option<Vec<u8>>,
    ) -> Vec<(String, usize)> {
        let modules = self.modules().into_iter();
        let latests = modules.filter_map(|module| {
            let path = module_path(Kind::Latest, module, None)?;
            Some((path, self.latest(module, &mut read)?))
        });
        latests.collect()
    }

    /// The list of a module: the versions that are whole, tags only, and of them those that are `allowed`.
    pub(crate) fn list(&self, module: &str, allowed: impl Fn(&str) -> bool) -> String {
        let tags = self.whole(module).into_iter();
        let tags = tags.filter(|version| !is_pseudo_version(version) && allowed(version));
        tags.map(|version| format!("{version}\n")).collect()
    }

    /// The row whose answer is a module's `@latest`: the recorded one if its version is whole or none
    /// is, else the `.info` of the version that the go command would choose among those that are whole. `read`
    /// gives the content of a row's answer.
    pub(crate) fn latest(
        &self,
        module: &str,
        read: impl FnOnce(usize) -> Option<Vec<u8>>,
    ) -> Option<usize> {
        let path = module_path(Kind::Latest, module, None);
        let recorded = path
            .and_then(|path| self.files.get(&path))
            .map(|file| file.row);
        let whole = self.whole(module);
        let info = recorded.and_then(|row| RevInfo::parse(&read(row)?));
        match info.is_some_and(|info| whole.contains(info.version.as_str())) {
            true => recorded,
            false => match latest_version(whole) {
                Some(version) => self.info(module, version),
                None => recorded,
            },
        }
    }

    /// Whether all files of a version are there.
    pub(crate) fn is_whole(&self, module: &str, version: &str) -> bool {
        PARTS.iter().all(|kind| {
            let path = module_path(*kind, module, Some(version));
            path.is_some_and(|path| self.has(&path))
        })
    }

    /// Whether there is any file of a module, or an answer to what versions it has.
    pub(crate) fn knows(&self, module: &str) -> bool {
        self.listed.contains_key(module) || self.files_of(module).next().is_some()
    }

    /// Whether there is a file of a module whose path begins with this one, or is the beginning of it.
    pub(crate) fn knows_near(&self, module: &str) -> bool {
        let is_above = || {
            let below = escape_path(module).ok().map(|path| format!("{path}/"));
            below.is_some_and(|below| {
                let mut files = self.files.range(below.clone()..);
                files
                    .next()
                    .is_some_and(|(path, _)| path.starts_with(&below))
            })
        };
        let mut parents = module.match_indices('/').map(|(slash, _)| &module[..slash]);
        is_above() || parents.any(|parent| self.knows(parent))
    }

    /// The row of the last recorded list of a module.
    pub(crate) fn listed(&self, module: &str) -> Option<usize> {
        self.listed.get(module).copied()
    }

    /// The row that has the `.info` of a version.
    fn info(&self, module: &str, version: &str) -> Option<usize> {
        let path = module_path(Kind::Info, module, Some(version))?;
        Some(self.files.get(&path)?.row)
    }

    /// The canonical versions of a module that are whole.
    fn whole(&self, module: &str) -> BTreeSet<&str> {
        let versions = self.versions_of(module).into_iter();
        let whole = versions.filter(|(_, there)| is_whole(*there));
        whole.map(|(version, _)| version).collect()
    }

    /// The modules of which there is a file, or that have an answer to what versions they have.
    fn modules(&self) -> BTreeSet<&str> {
        let files = self.files.values().filter(|file| is_a_modules(file));
        let named = files.filter_map(|file| file.module.as_deref());
        named
            .chain(self.direct.values().map(|file| &*file.module))
            .chain(self.listed.keys().map(String::as_str))
            .collect()
    }

    /// What is there of each canonical version of a module.
    fn versions_of(&self, module: &str) -> BTreeMap<&str, Present> {
        let mut versions: BTreeMap<_, Present> = BTreeMap::new();
        let answered = self.files_of(module).filter_map(|file| {
            let version = file.version.as_deref();
            let version = version.filter(|version| is_canonical_version(version))?;
            Some((version, file.kind))
        });
        let direct = below(&self.direct, module).map(|file| (&*file.version, file.kind));
        for (version, of_kind) in answered.chain(direct) {
            let there = versions.entry(version).or_default();
            for (kind, there) in PARTS.iter().zip(there) {
                *there |= *kind == of_kind || (*kind == Kind::Zip && of_kind == Kind::Toolchain);
            }
        }
        versions
    }

    fn files_of(&self, module: &str) -> impl Iterator<Item = &File> {
        below(&self.files, module)
    }
}

/// Those of the files that lie in the folder of a module.
fn below<'a, T>(files: &'a BTreeMap<String, T>, module: &str) -> impl Iterator<Item = &'a T> {
    let below = folder(module).map(|folder| {
        let files = files.range(folder.clone()..);
        let files = files.take_while(move |(path, _)| path.starts_with(&folder));
        files.map(|(_, file)| file)
    });
    below.into_iter().flatten()
}

fn is_a_modules(file: &File) -> bool {
    file.kind != Kind::Lookup
}

fn is_whole(there: Present) -> bool {
    there == [true; 3]
}
