//! What a recording says about the run that it was made of.
//!
//! `split` says where the time went, `tally` counts, `empty` says why nothing was recorded, `content`
//! which answers are not what they were asked for, and `replayable` whether a replay will find all it
//! needs. Pure: rows in, plain data out. Never prints, never opens a file, never asks what time it is.

pub mod again;
pub mod content;
pub mod empty;
pub mod replayable;
#[cfg(test)]
mod sample;
pub mod split;
pub mod tally;
mod unseen;
