//! The files of modules that came from their repositories: no answer holds them, and the recording
//! keeps them by themselves.

use std::collections::{BTreeMap, HashSet};

use super::Catalog;
use super::path::module_path;
use crate::gomod::{Kind, check_path, is_canonical_version};
use crate::recording::format::{DirectModule, Fault, KeptFile};

/// A file that the recording keeps by itself, and what it is of.
#[derive(Debug, Clone)]
pub(crate) struct DirectFile {
    /// The file.
    pub(crate) kept: KeptFile,
    pub(super) kind: Kind,
    pub(super) module: String,
    pub(super) version: String,
}

impl Catalog {
    /// With the files of these modules, where no answer of a module proxy has them, and they are not among the
    /// faults.
    #[must_use]
    pub(crate) fn with_direct(mut self, modules: &[DirectModule], faults: &[Fault]) -> Self {
        // They came with no exchange.
        let faulty: HashSet<(u32, &str)> = faults
            .iter()
            .filter(|fault| fault.exchange == 0)
            .map(|fault| (fault.run, &*fault.what))
            .collect();
        for of in modules {
            // A manifest may say anything.
            if check_path(&of.module).is_err() || !is_canonical_version(&of.version) {
                continue;
            }
            for (kind, kept) in of.files() {
                let what = format!("{kind} {} {}", of.module, of.version);
                if faulty.contains(&(of.run, &*what)) {
                    continue;
                }
                let path = module_path(kind, &of.module, Some(&of.version));
                if let Some(path) = path.filter(|path| !self.files.contains_key(path)) {
                    let file = DirectFile {
                        kept,
                        kind,
                        module: of.module.clone(),
                        version: of.version.clone(),
                    };
                    self.direct.insert(path, file);
                }
            }
        }
        self
    }

    /// The files that the recording keeps by themselves, by path below the folder.
    pub(crate) const fn direct(&self) -> &BTreeMap<String, DirectFile> {
        &self.direct
    }
}
