//! What the command's processes do while no request tells: which one works, and what the others
//! wait for.
//!
//! `watch` says when to look and what is recorded of it (`changes`), `look` makes a [`Sample`] of one
//! look at `/proc`, `members` says which processes are the command's. `proc` reads; `stat`, `locks`
//! and `sockets` parse. `holders` names who holds locks in a folder. Where there is no `/proc`, nothing is seen. Never judges: what a sample means is
//! for `diagnose` to say.
//!
//! [`Sample`]: crate::recording::processes::Sample

mod budget;
mod changes;
mod holders;
mod locks;
mod look;
mod members;
mod proc;
mod sockets;
mod stat;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use holders::locks_below;
pub(crate) use sockets::{Ends, unacknowledged};
pub(crate) use watch::{Latest, Watch};
