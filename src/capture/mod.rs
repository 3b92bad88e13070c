//! Live capture: the bytes of both legs as they pass, with the secrets that decrypt them.
//!
//! A [`Wire`] is a socket that reports what passes through it. All sockets are on the one thread
//! that carries traffic, so the queue is in order without being sorted. Another thread makes TCP
//! packets of it and writes the file, which is complete after every write. Secrets come before the
//! packets that need them: what is read during a handshake is held back until rustls has logged its
//! keys. The queue is bounded: if the disk is too slow, the traffic waits.

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
