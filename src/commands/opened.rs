//! The recording that a command was given: found, opened, and what is wrong with it said.

use super::summary;
use super::terminal::{plain, say, warn};
use super::words::count;
use crate::cli::Global;
use crate::recording::Recording;
use crate::recording::folder;
use crate::recording::reader::Status;

/// Opens the recording that `name` means; what is not in there though it might be expected is said
/// on stderr.
pub(super) fn open(name: &str, global: &Global) -> anyhow::Result<Recording> {
    let dir = folder::resolve(&global.recordings, name)?;
    let recording = Recording::open(&dir)?;
    tell(&recording, global);
    Ok(recording)
}

fn tell(recording: &Recording, global: &Global) {
    let name = recording.name();
    let name = plain(&name);
    match recording.status() {
        Status::Closed | Status::Sealed => {}
        Status::Recording => say(global, format!("{name} is still being recorded")),
        Status::Unfinished => say(
            global,
            format!("{name} is unfinished: its recorder was killed"),
        ),
    }
    if let Some(missing) = summary::missing(recording.gaps()) {
        let missing = plain(&missing);
        warn(global, format!("{name} is incomplete: {missing}"));
    }
    let damaged = recording.damage().len() as u64;
    if damaged > 0 {
        warn(
            global,
            format!(
                "{name} is damaged in {}; `modtape recordings info {name}` tells where",
                count(damaged, "place")
            ),
        );
    }
}
