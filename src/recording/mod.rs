//! The recording: a folder on disk whose truth is an append-only journal.
//!
//! `format` says what stands there (`processes` for one record of it), `line` how a record becomes a line of the journal. `writer` makes
//! the folder and appends; `reader` reads any byte string back into exchanges or a named error, and
//! never writes anything but the index, which is a projection of the journal. `append` opens a recording for
//! a further run.

mod append;
pub mod caches;
#[cfg(any(test, fuzzing))]
pub mod check;
pub(crate) mod folder;
pub mod format;
pub(crate) mod line;
mod main_module;
pub mod manifest;
pub mod processes;
pub mod reader;
#[cfg(any(test, fuzzing))]
pub(crate) mod sample;
pub mod writer;

pub(crate) use append::announce;
pub use append::{AppendError, append};
pub(crate) use main_module::{MainModule, keep_main_module};
pub use reader::{ConnectionRow, Recording, Row};
pub(crate) use writer::{BodySink, Health};
pub use writer::{Durability, Journal, Recorder};
