//! How things look: what people read on the terminal, and what programs read there.
//!
//! [`look`] says how a stream is written to, [`output`] writes to it: data to stdout, messages to
//! stderr. [`table`] has rows and columns, [`json`] the same for programs. [`live`] shows requests in flight while a command runs, [`status`] all that is known of them when asked, [`progress`] shows a long job, and
//! [`summary`] is what a recorder or a replay says at its end. Never decides what is true: `diagnose` did.

pub(crate) mod diff;
pub(crate) mod json;
mod live;
mod look;
mod output;
mod packets;
mod progress;
pub(crate) mod report;
mod split;
pub(crate) mod status;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod verify;
pub(crate) mod why;
pub(crate) use crate::words;

pub(crate) use crate::shell::plain;
pub(crate) use live::{Console, LeftOver};
pub(crate) use look::{Look, Paint};
pub(crate) use output::{say, say_always, to_open_stdout, to_stdout, warn};
pub(crate) use packets::packets_text;
pub(crate) use progress::Progress;
