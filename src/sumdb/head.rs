//! Tree heads: how many records a tree has, and its root.

use std::fmt;
use std::str::FromStr;

use super::hash::Hash;

/// What the text of each head begins with (`tlog.ParseTree`).
const BEGINNING: &str = "go.sum database tree\n";

/// The longest text, bytes (`tlog.ParseTree`).
const LIMIT: usize = 1_000_000;

/// A tree of the log: its first `size` records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many records it has.
    pub size: u64,
    /// The hash of its root.
    pub root: Hash,
}

/// A text that is no tree head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a tree head of a checksum database")]
pub struct HeadError;

impl FromStr for Head {
    type Err = HeadError;

    /// Reads the text that a note signs, its last newline included; later lines may follow.
    fn from_str(text: &str) -> Result<Self, HeadError> {
        let rest = text.strip_prefix(BEGINNING).filter(|_| text.len() <= LIMIT);
        let (digits, rest) = rest
            .and_then(|rest| rest.split_once('\n'))
            .ok_or(HeadError)?;
        let (root, _) = rest.split_once('\n').ok_or(HeadError)?;
        // Canonical, and of Go's int64.
        let size = digits.parse::<i64>().map_err(|_| HeadError)?;
        let size = u64::try_from(size).map_err(|_| HeadError)?;
        if size.to_string() != digits {
            return Err(HeadError);
        }
        let root = root.parse().map_err(|_| HeadError)?;
        Ok(Self { size, root })
    }
}

impl fmt::Display for Head {
    /// Writes the text that a note signs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{BEGINNING}{}\n{}", self.size, self.root)
    }
}
