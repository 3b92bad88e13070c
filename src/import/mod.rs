//! Other tools' files turned into exchanges: bytes in, plain data out.
//!
//! Never writes, never asks what time it is. What a file does not say is `None`; deviations from the
//! format are reported to the caller, each kind as an [`Oddity`]. An export of ours comes back as it was, but for what HAR has
//! no place for: `docs/formats.md` lists it.

mod body;
#[cfg(any(test, fuzzing))]
pub mod check;
mod encoding;
mod entry;
pub(crate) mod file;
pub(crate) mod har;
mod json;
mod message;
mod numbering;
mod oddity;
#[cfg(test)]
mod tests;
mod time;

pub(crate) use entry::{Imported, LeftOut};
pub(crate) use oddity::{Oddities, Oddity};
