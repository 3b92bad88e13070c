//! Kills, faults and power cuts: what a client had received whole is on the recording and verifies,
//! and what is missing is said.
//!
//! The clients keep their own list of what they received; it is the judge's only source. Counts are
//! for CI; with `MODTAPE_LONG` set they are whole.

mod audit;
mod bit_flips;
mod block_device;
mod disk_faults;
mod download;
mod kills;
mod power_cuts;
pub(crate) mod random;
mod recorder;
mod syscalls;
