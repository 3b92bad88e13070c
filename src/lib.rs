//! modtape records, explains and replays what the go command fetches.
//!
//! The map, lowest room first; a room imports only from lines above its own, and a test checks it:
//!
//! 1. [`clock`]
//! 2. [`exchange`]
//! 3. [`recording`]
//! 4. [`export`]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod clock;
pub mod exchange;
pub mod export;
pub mod recording;
