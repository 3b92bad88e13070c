//! Live capture: the bytes of both legs as they pass, with the secrets that open them.
//!
//! A [`Wire`] is a socket that tells what passes through it; all of it runs on the one thread that
//! carries traffic, so the queue is in order without being sorted. A thread of its own makes TCP of
//! it and writes the file, which is whole after every write. Secrets come before the packets that
//! need them: what is read during a handshake is held until rustls has had the time to log its keys.
//! The queue is bounded: where the disk is too slow, the traffic waits.

pub(crate) mod frame;
mod live;
mod queue;
mod secrets;
pub(crate) mod sink;
mod strip;
pub(crate) mod tcp;
mod wire;

pub use live::Capture;
pub(crate) use live::Running;
pub(crate) use secrets::{KeyLogs, open_key_log};
pub(crate) use sink::LIVE;
#[cfg(any(test, fuzzing))]
pub use strip::check;
pub(crate) use strip::{StripError, Stripped, strip};
pub(crate) use wire::{Stream, Wire};
