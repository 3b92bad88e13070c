//! The integration tests: modtape and its legs against scripted peers on loopback.
//!
//! One binary, so that the support library is compiled once. No test reaches a real network.

mod canary;
mod capture;
mod causes;
mod checking;
mod containers;
mod contents;
mod crash;
mod diff;
mod doctor;
mod environment;
mod explain;
mod fill;
mod formats;
mod framing;
mod gateway;
mod goproxy;
mod har;
mod hostile;
mod http2;
mod import;
mod limits;
mod misuse;
#[cfg(target_os = "linux")]
mod netns;
mod page;
mod pcapng;
mod phases;
mod processes;
mod reach;
mod readme;
mod record;
mod replays;
mod rooms;
mod sample;
mod seal;
mod serving;
mod sharing;
mod signals;
mod status;
mod sumdb;
mod support;
mod support_tests;
mod telemetry;
mod terminals;
mod trace;
mod transparent;
mod trust;
mod upstreams;
mod verify;
mod views;
mod ways;
mod why;
