//! modtape records, explains and replays what the go command fetches.
//!
//! The map, lowest room first; a room imports only from lines above its own, and a test checks it.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod ca;
pub mod child;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod diagnose;
pub mod exchange;
pub mod export;
pub mod gomod;
pub mod proxy;
pub mod recording;
pub mod redact;
pub mod replay;
pub mod telemetry;
pub mod tls;
pub mod upstream;
