//! Writes a recording: its folder, the journal and the bodies.
//!
//! `folder` makes the folder and what `--force` replaces, `recorder` is what the rest of the program
//! holds, `journal` owns the file, `bodies` keeps large bodies, `durability` says when what was
//! written is safe, `kept` takes files of the command in.

pub(crate) mod bodies;
mod durability;
pub(crate) mod folder;
mod journal;
mod kept;
mod recorder;

pub use bodies::BodySink;
pub(crate) use bodies::most_open;
pub use durability::Durability;
pub(crate) use durability::Health;
pub(crate) use folder::{CreateError, SHARED, check, make_parent, place};
pub use folder::{Folder, create};
pub use journal::Journal;
pub(crate) use kept::keep_file;
pub use recorder::Recorder;
