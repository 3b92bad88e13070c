//! Which versions of a module are whole, so that a list can name them, and what the others lack.

use std::collections::BTreeMap;

use super::path::module_path;
use super::{Catalog, File};
use crate::gomod::{Kind, is_canonical_version, is_pseudo_version};

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

fn is_a_modules(file: &File) -> bool {
    file.kind != Kind::Lookup
}

fn is_whole(there: Present) -> bool {
    there == [true; 3]
}
