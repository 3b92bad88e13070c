//! The hashes of the log (RFC 6962, section 2.1).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

/// A SHA-256 of a record or of a subtree; shown as base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; Self::BYTES]);

impl Hash {
    /// Bytes of a hash, in a tile too.
    pub(super) const BYTES: usize = 32;

    /// That of a record's text.
    pub fn of_record(text: &str) -> Self {
        Self(
            Sha256::new()
                .chain_update([0])
                .chain_update(text)
                .finalize()
                .into(),
        )
    }

    /// That of the subtree whose halves have these hashes.
    pub fn of_pair(left: Self, right: Self) -> Self {
        let pair = Sha256::new().chain_update([1]).chain_update(left.0);
        Self(pair.chain_update(right.0).finalize().into())
    }

    /// That of the tree without records: the SHA-256 of nothing.
    pub fn of_nothing() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// That of the complete subtree above these hashes; their number is a power of two.
    pub(super) fn of_row(row: &[Self]) -> Self {
        match row {
            [one] => *one,
            _ => {
                let (left, right) = row.split_at(row.len() / 2);
                Self::of_pair(Self::of_row(left), Self::of_row(right))
            }
        }
    }

    /// The hashes that a tile's body consists of.
    pub(super) fn row(body: &[u8]) -> Vec<Self> {
        let (hashes, _) = body.as_chunks::<{ Self::BYTES }>();
        hashes.iter().map(|hash| Self(*hash)).collect()
    }

    /// Its bytes, as a tile has them.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// A text that is not the base64 of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is the base64 of 32 bytes")]
pub struct HashError;

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let bytes = BASE64.decode(text).map_err(|_| HashError)?;
        bytes.try_into().map(Self).map_err(|_| HashError)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
