//! Kills, faults and power cuts: what a client had received whole is on the recording and verifies,
//! and what is missing is said.
//!
//! The clients keep their own list of what they received; it is the judge's only source. Counts are
//! for CI; with `MODTAPE_LONG` set they are whole.

mod blocks;
mod dice;
mod download;
mod faults;
mod flips;
mod judge;
mod kills;
mod power;
mod started;
mod syscalls;
