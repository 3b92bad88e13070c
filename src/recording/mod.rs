//! The recording: a folder on disk whose truth is an append-only journal.
//!
//! `format` says what stands there, `recorder` and `journal` append, `bodies` keeps what is large,
//! `reader` reads any byte string back into exchanges or a named error. Readers never write.

pub mod bodies;
#[cfg(any(test, fuzzing))]
pub mod check;
pub mod create;
pub mod folder;
pub mod format;
mod gap;
pub mod index;
pub mod journal;
pub mod manifest;
pub mod reader;
pub mod recorder;
pub mod redirects;
pub mod replaced;
pub mod rows;
#[cfg(any(test, fuzzing))]
mod sample;
pub mod scan;
pub mod summary;
mod sync;
pub mod text;
pub mod verified;
pub mod working;

pub use bodies::{BodySink, BodyStore};
pub use journal::Journal;
pub use reader::{Recording, Row};
pub use recorder::{Durability, Recorder};
pub use redirects::Redirects;
pub use rows::ConnectionRow;
