//! What a recording must hold so that every command finds what it asks for, in any order and from any subset of
//! its modules.
//!
//! A go command asks for `.info` and `.mod` of every version that it reads of, for the zips of the versions that it
//! takes, for `list` and `@latest` of modules that it has no version of, and for a lookup of whatever no
//! go.sum vouches for. Sources: the Go modules reference ("GOPROXY protocol", "Module graph
//! pruning") and `cmd/go/internal/modload`.

use std::collections::{BTreeMap, BTreeSet};

use super::requirements::Requirements;
use crate::gomod::{Kind, ModuleVersion, TOOLCHAIN_MODULE, is_canonical_version};

/// Something that a module proxy or a checksum database is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ask {
    /// The module's path.
    pub(crate) module: String,
    /// Its version; `None` for [`Kind::List`] and [`Kind::Latest`].
    pub(crate) version: Option<String>,
    /// One of its files, or a lookup.
    pub(crate) kind: Kind,
}

/// What is known of a recording when its closure is asked for.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The go.mod files: those of the main modules, and those that were served.
    pub(crate) requirements: Requirements,
    /// The versions of which the recorded commands were given something.
    pub(crate) asked: BTreeSet<ModuleVersion>,
    /// Those of which they were given the zip.
    pub(crate) zips: BTreeSet<ModuleVersion>,
    /// The versions that the go.sum files of the main modules name.
    pub(crate) summed: BTreeSet<ModuleVersion>,
}

/// All that commands can ask for that work with these modules. With `all_zips` any version may be taken; else those
/// that the main modules select, and those that were taken.
pub(crate) fn closure(known: &Known, all_zips: bool) -> BTreeSet<Ask> {
    let graph = known.requirements.graph();
    let chosen = graph.select().chosen;
    let mut taken: BTreeSet<ModuleVersion> = known.zips.clone();
    if !known.requirements.mains.is_empty() {
        let chosen = chosen.iter();
        let chosen = chosen.map(|(path, version)| ModuleVersion::of(path, version));
        taken.extend(chosen.filter(is_version));
    }
    let roots = known.asked.iter().chain(&taken);
    let roots: BTreeSet<&ModuleVersion> = roots.filter(|of| is_version(of)).collect();
    let reach = graph.within_reach(roots.iter().copied());
    // What is replaced is in the graph under its own name too, and never asked for.
    let replaced: BTreeSet<&ModuleVersion> = graph.replaced().collect();
    let mut versions: BTreeMap<&ModuleVersion, bool> = BTreeMap::new();
    for of in reach.into_iter().chain(roots).chain(&known.summed) {
        if is_version(of) && !replaced.contains(of) {
            let is_taken = all_zips || taken.contains(of);
            *versions.entry(of).or_default() |= is_taken;
        }
    }
    let mut asks = BTreeSet::new();
    // Which versions there are of what is replaced is asked all the same (`list -m -u`).
    for of in &replaced {
        for kind in [Kind::List, Kind::Latest] {
            asks.insert(Ask {
                module: of.path.clone(),
                version: None,
                kind,
            });
        }
    }
    for (of, is_taken) in versions {
        add(&mut asks, of, is_taken);
    }
    asks
}

fn add(asks: &mut BTreeSet<Ask>, of: &ModuleVersion, is_taken: bool) {
    let mut ask = |kind, version: Option<&String>| {
        asks.insert(Ask {
            module: of.path.clone(),
            version: version.cloned(),
            kind,
        });
    };
    let version = Some(&of.version);
    ask(Kind::Lookup, version);
    if of.path == TOOLCHAIN_MODULE {
        // A toolchain is a zip and nothing else, and the go command knows which it wants.
        ask(Kind::Toolchain, version);
        return;
    }
    ask(Kind::List, None);
    ask(Kind::Latest, None);
    ask(Kind::Info, version);
    ask(Kind::Mod, version);
    if is_taken {
        ask(Kind::Zip, version);
    }
}

/// The main modules have none, nor have folders.
fn is_version(of: &ModuleVersion) -> bool {
    is_canonical_version(&of.version)
}
