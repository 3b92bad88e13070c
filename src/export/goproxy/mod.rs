//! A recording as the files of a module proxy, for `GOPROXY=file://…` (Go modules reference,
//! "GOPROXY protocol").
//!
//! Of several answers for one file the last sound 200 is taken; a redirect is followed as far as the
//! recording goes. Nothing is guessed: `list` names the versions that are whole, and what has no
//! answer has no file. Each path is put together anew from what a request means, in the alphabet of
//! module paths: none is taken from the recording.

mod answers;
mod content;
mod tree;
mod unified;

pub(crate) use answers::Faulty;
pub(crate) use content::{content, lookup};
pub(crate) use tree::{Edit, LeftOut, Tree};
pub(crate) use unified::Loose;
