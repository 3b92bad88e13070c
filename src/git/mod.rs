//! git's smart protocol over HTTP: what a client asks of a repository, and what an answer holds.
//!
//! Versions 0 to 2 of the service `git-upload-pack`. Sources: git's own documentation,
//! `gitprotocol-common(5)`, `gitprotocol-pack(5)`, `gitprotocol-v2(5)` and `gitprotocol-http(5)`.
//! Everything comes from a client or a recording, which may say anything; nothing here runs git.

#[cfg(any(test, fuzzing))]
pub mod check;
mod pack;
mod pkt_line;
mod refs;
mod request;

pub(crate) use pack::{Packed, unpack};
pub(crate) use pkt_line::error_line;
pub(crate) use refs::{Advertisement, Refs};
pub(crate) use request::{Command, Depth, Fetch, Request};

/// The media type of the answer to `info/refs` in the smart protocol; with any other it is git's
/// dumb protocol, or no repository.
pub(crate) const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";

/// The media type of the answer to a command.
pub(crate) const RESULT: &str = "application/x-git-upload-pack-result";

/// The most bytes of packs that are taken of one repository.
pub(crate) const REPOSITORY_LIMIT: u64 = 2 << 30;

/// Whether the value of a `Git-Protocol` field asks for version 2.
pub(crate) fn asks_for_v2(field: &str) -> bool {
    field.split(':').any(|key| key == "version=2")
}

/// Whether this is the name of an object: 40 or 64 lower-case hexadecimal digits.
fn is_object_id(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    matches!(text.len(), 40 | 64) && text.bytes().all(is_digit)
}
