//! The checksum database's log: whether a signed tree head, a tile and a record are what they claim
//! to be, and which tiles a client can ask for.
//!
//! A database is a log of records, `MODULE VERSION h1:…` lines; its tree of hashes is served in tiles of
//! 256, and each lookup carries the signed root of some tree. A client holds every head that it sees
//! against the others, and every record against a head. This room does the same, with the rules
//! that golang.org/x/mod has since version 0.40: each tile is authenticated, not only those that a root
//! is recomputed from (CVE-2026-56865). It knows no socket, file or clock. Sources:
//! `golang.org/x/mod/sumdb/note`, `…/sumdb/tlog`, `…/sumdb`, RFC 6962 section 2.1.

mod hash;
mod head;
mod log;
mod note;
mod plan;
mod record;

pub use hash::Hash;
pub use head::Head;
pub use log::{Log, LogError};
pub use note::{NoteError, Verifier};
pub use plan::{Seen, tiles_exact, tiles_sealed, tiles_unified};
pub use record::{Answer, AnswerError};

/// The height of the database's tiles: cmd/go asks for no other.
const TILE_HEIGHT: u8 = 8;

/// Hashes of a full tile.
const TILE_WIDTH: u16 = 1 << TILE_HEIGHT;

#[cfg(test)]
pub(crate) mod tests;
