//! A lab of causes: why the go command is slow or stuck, staged with the real go command on real
//! modules, in a network of the test's own.
//!
//! Each scenario runs go without modtape, which proves that the cause is what it says, and then the
//! same behind `modtape record`: exit code and output stay the same, and the recording tells why.

mod content;
mod distance;
mod estimates;
mod healthy;
mod module_cache;
mod modules;
mod processes;
mod proxies;
mod reaching;
mod requirements;
mod run;
mod settings;
mod shape;
mod silence;
mod toolchain;
mod vcs;
mod world;

use crate::support::resolver;
