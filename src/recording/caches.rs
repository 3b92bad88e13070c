//! The go command's module cache as it was after a command that had failed: what go says of it it says
//! on stderr, which is the command's own.

use serde::{Deserialize, Serialize};

use crate::exchange::ExchangeId;

/// What there is to know of the module cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caches {
    /// The module cache (GOMODCACHE).
    pub(crate) modules: CacheFolder,
    /// The modules of go.sum in the module cache.
    pub(crate) checked: CheckedModules,
    /// Files that were served and that are not in the module cache; the first [`UNKEPT`] of them.
    pub(crate) unkept: Vec<Unkept>,
    /// How many bytes all of those take.
    pub(crate) unkept_bytes: u64,
}

/// How many files a list of those that were not kept has.
pub(crate) const UNKEPT: usize = 20;

/// The folder of the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheFolder {
    /// Its path.
    pub(crate) path: String,
    /// Whether it exists.
    pub(crate) exists: bool,
    /// Why no file can be made in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) write_error: Option<String>,
    /// Free bytes for this user, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) free_bytes: Option<u64>,
    /// Itself, a part of it or the folder above it that this user cannot write, though the go command has
    /// to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forbidden: Option<Forbidden>,
}

/// A file or folder whose rights keep this user from what the go command has to do with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forbidden {
    /// Its path.
    pub(crate) path: String,
    /// The user that owns it, by its number.
    pub(crate) owner: u32,
    /// Whether that is the one who runs the go command.
    pub(crate) is_own: bool,
}

/// What came of looking at the modules of a go.sum in the module cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckedModules {
    /// The modules whose zip go.sum has a hash of.
    pub(crate) named: u64,
    /// How many of them were looked at before the time was up.
    pub(crate) looked_at: u64,
    /// How many of those are not in the cache.
    pub(crate) missing: u64,
    /// Those that are damaged; the first [`DAMAGED`] of them.
    pub(crate) damaged: Vec<Damaged>,
}

/// How many damaged modules are named.
pub(crate) const DAMAGED: usize = 20;

/// A module in the cache that the go command cannot use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// `golang.org/x/net`
    pub(crate) module: String,
    /// `v0.34.0`
    pub(crate) version: String,
    /// The file or folder, below the cache.
    pub(crate) path: String,
    /// What is wrong with it.
    pub(crate) damage: Damage,
}

/// What is wrong with a module in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Damage {
    /// The zip cannot be unpacked.
    Zip {
        /// Why.
        why: String,
    },
    /// The zip is the one that go.sum names, and the file with its hash says otherwise.
    Ziphash {
        /// The hash in the file.
        says: String,
        /// That of the zip.
        sum: String,
    },
    /// The zip is another than the one that go.sum names.
    Content {
        /// Its hash, or what the file with its hash says where the zip is not there.
        sum: String,
        /// The hash in go.sum.
        go_sum: String,
    },
    /// A file or folder of it cannot be read.
    Unreadable {
        /// Why.
        why: String,
        /// Its rights, if they are why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forbidden: Option<Forbidden>,
    },
    /// The unpacked files are not those of the zip.
    Tree {
        /// Why.
        why: String,
    },
}

/// A file that was served and that is not in the module cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unkept {
    /// The run of the exchange, from 0.
    #[serde(default)]
    pub(crate) run: u32,
    /// The exchange.
    pub(crate) exchange: ExchangeId,
    /// `zip golang.org/x/net v0.34.0`
    pub(crate) what: String,
    /// How many bytes it takes in the cache.
    pub(crate) bytes: u64,
}
