//! Others' files turned into exchanges: octets in, plain data out.
//!
//! Never writes, never asks what time it is. What a file cannot tell is `None`, or is told to the
//! caller as one of [`Changes`]. An export of ours comes back as it was, but for what HAR has no
//! place for: trailers; attempts on and ends of connections, the client's side of them, their SNI and
//! TLS; the settings of the go command and its exit code; gaps; a phase of send, wait or receive that
//! did not happen, which comes back as 0; a content coding, which a HAR undoes; request bodies that
//! were left out; and which of several runs an exchange belonged to.

mod answer;
#[cfg(any(test, fuzzing))]
pub mod check;
mod entry;
mod exchange;
mod few;
pub mod har;
mod messages;
mod stream;
#[cfg(test)]
mod tests;
mod time;

pub use exchange::{Changes, EntryError, Imported};
