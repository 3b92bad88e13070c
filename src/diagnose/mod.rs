//! What a recording says about the run that it was made of.
//!
//! `split` says where the time went, `tally` counts, `empty` says why nothing was recorded, `content`
//! which answers are not what they were asked for (`proofs` those of checksum databases), and `replayable` whether a
//! replay will find all it needs. Pure: rows in, plain data out. Never prints, never opens a file, never asks what time it is.

pub(crate) mod case;
pub(crate) mod chain;
pub(crate) mod closure;
pub(crate) mod content;
pub(crate) mod damage;
pub(crate) mod dials;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod empty;
pub(crate) mod estimate;
pub(crate) mod finding;
pub(crate) mod hosts;
pub(crate) mod ladder;
pub(crate) mod outcome;
pub(crate) mod processes;
pub(crate) mod proofs;
pub(crate) mod public_hosts;
pub(crate) mod replayable;
pub(crate) mod report;
pub(crate) mod requirements;
pub(crate) mod rerun;
pub(crate) mod rights;
pub(crate) mod routes;
pub(crate) mod rules;
#[cfg(test)]
mod sample;
pub(crate) mod setting;
pub(crate) mod split;
pub(crate) mod stuck;
pub(crate) mod tally;
pub(crate) mod timeline;
pub(crate) mod verify;
pub(crate) mod why;
