//! The recording: a folder on disk whose truth is an append-only journal.
//!
//! `format` says what stands there, `recorder` and `journal` append, `bodies` keeps what is large,
//! `reader` reads any byte string back into exchanges or a named error. Readers never write.

pub(crate) mod bodies;
#[cfg(any(test, fuzzing))]
pub mod check;
pub mod create;
pub(crate) mod folder;
pub mod format;
mod gap;
pub mod index;
pub(crate) mod journal;
pub(crate) mod manifest;
pub mod reader;
pub(crate) mod recorder;
pub(crate) mod redirects;
pub(crate) mod replaced;
pub(crate) mod rows;
#[cfg(any(test, fuzzing))]
mod sample;
pub mod scan;
pub(crate) mod summary;
mod sync;
pub(crate) mod text;
pub(crate) mod verified;
pub(crate) mod working;

pub(crate) use bodies::BodySink;
pub use journal::Journal;
pub use reader::Recording;
pub use reader::Row;
pub use recorder::Durability;
pub use recorder::Recorder;
pub(crate) use redirects::Redirects;
pub(crate) use rows::ConnectionRow;
