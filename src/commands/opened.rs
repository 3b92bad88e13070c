//! The recording that a command was given: found, opened, and what is wrong with it said.

use super::odd::odd;
use super::terminal::{plain, say, warn};
use crate::cli::Global;
use crate::recording::Recording;
use crate::recording::folder;
use crate::shell;

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
    for odd in odd(recording) {
        let mut told = format!("{name} {}", odd.what);
        if odd.has_places {
            told.push_str(&format!("; `{}` tells where", info_line(recording)));
        }
        if odd.is_loss {
            warn(global, told);
        } else {
            say(global, plain(&told));
        }
    }
}

/// The path rather than the word that was given: it means the same recording tomorrow, and with
/// other folders of recordings.
fn info_line(recording: &Recording) -> String {
    let path = recording.dir().to_string_lossy();
    format!("modtape recordings info {}", shell::word(&path))
}
