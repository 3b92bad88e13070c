//! What a recording says about the run that it was made of.
//!
//! `split` says where the time went, `tally` counts, `empty` says why nothing was recorded, `content`
//! which answers are not what they were asked for, and `replayable` whether a replay will find all it
//! needs. Pure: rows in, plain data out. Never prints, never opens a file, never asks what time it is.

pub(crate) mod content;
pub(crate) mod empty;
pub(crate) mod outcome;
pub(crate) mod replayable;
pub(crate) mod rerun;
pub(crate) mod routes;
#[cfg(test)]
mod sample;
pub(crate) mod split;
pub(crate) mod tally;
pub(crate) mod timeline;
