//! modtape records, explains and replays what the go command fetches.
//!
//! The map, lowest room first; a room imports only from lines above its own, and a test checks it:
//!
//! 1. [`clock`] [`gomod`]
//! 2. [`exchange`] [`redact`]
//! 3. [`recording`]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod clock;
pub mod exchange;
pub mod gomod;
pub mod recording;
pub mod redact;
