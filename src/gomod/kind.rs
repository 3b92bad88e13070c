//! The kinds of request that the go command makes.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a request asks for, in the words of the Go modules reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `$module/@v/list`: the known versions.
    List,
    /// `$module/@latest`: the newest version, asked when the list names none.
    Latest,
    /// `$module/@v/$version.info`: time and canonical form of a version, branch, tag or commit.
    Info,
    /// `$module/@v/$version.mod`: its go.mod.
    Mod,
    /// `$module/@v/$version.zip`: its files.
    Zip,
    /// The zip of a Go toolchain (`golang.org/toolchain`).
    Toolchain,
    /// `sumdb/$name/supported`: does this module proxy relay the checksum database?
    SumdbSupported,
    /// `lookup/$module@$version`: go.sum lines, log record and signed tree head.
    Lookup,
    /// `tile/$height/$level/$index[.p/$width]`: hashes of the checksum database's log.
    Tile,
    /// `?go-get=1`: where does the repository of this import path lie?
    Discovery,
    /// git over HTTP.
    Vcs,
    /// Anything else.
    Other,
}

impl Kind {
    /// All kinds, in the order in which they are shown.
    pub(crate) const ALL: [Self; 12] = [
        Self::List,
        Self::Latest,
        Self::Info,
        Self::Mod,
        Self::Zip,
        Self::Toolchain,
        Self::SumdbSupported,
        Self::Lookup,
        Self::Tile,
        Self::Discovery,
        Self::Vcs,
        Self::Other,
    ];

    /// The kind's name in filters, in the recording and in every output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Latest => "latest",
            Self::Info => "info",
            Self::Mod => "mod",
            Self::Zip => "zip",
            Self::Toolchain => "toolchain",
            Self::SumdbSupported => "sumdb-supported",
            Self::Lookup => "lookup",
            Self::Tile => "tile",
            Self::Discovery => "discovery",
            Self::Vcs => "vcs",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no kind of request is called {0:?}")]
pub struct KindError(pub String);

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(name: &str) -> Result<Self, KindError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| KindError(name.to_owned()))
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_interface_and_read_back() {
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.to_string()).collect();
        assert_eq!(
            names.join(" "),
            "list latest info mod zip toolchain sumdb-supported lookup tile discovery vcs other"
        );
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("{:?}", kind.name()));
            assert_eq!(serde_json::from_str::<Kind>(&json).unwrap(), kind);
        }
        assert!("List".parse::<Kind>().is_err());
        assert!(serde_json::from_str::<Kind>("\"\"").is_err());
    }
}
