//! The integration tests: modtape and its legs against scripted peers on loopback.
//!
//! One binary, so that the support library is compiled once. No test reaches a real network.

mod environment;
mod har;
mod limits;
mod misuse;
mod phases;
mod readme;
mod record;
mod rooms;
mod sample;
mod signals;
mod support;
mod support_works;
mod terminals;
mod upstreams;
mod views;
