//! What an export does not have, as it is said.

use crate::cli::Global;
use crate::export::source::Losses;
use crate::recording::Recording;
use crate::terminal::words::count;
use crate::terminal::{plain, warn};

/// How many gaps of a recording are named.
const NAMED: usize = 20;

/// Says what of `recording` is not in the export.
pub(super) fn tell(losses: &Losses, recording: &Recording, global: &Global) {
    for missing in &losses.missing {
        warn(global, format!("left out {}", plain(missing)));
    }
    if losses.unnamed > 0 {
        warn(global, format!("left out {} more", losses.unnamed));
    }
    if losses.not_kept > 0 {
        let bodies = match losses.not_kept {
            1 => String::from("1 body that was"),
            bodies => format!("{bodies} bodies that were"),
        };
        warn(global, format!("left out {bodies} not kept when recorded"));
    }
    if losses.unprintable > 0 {
        let fields = count(losses.unprintable, "header field");
        let told = "which cannot stand in a command: comments name them";
        warn(
            global,
            format!("left out {fields} with control characters, {told}"),
        );
    }
    for gap in recording.gaps().iter().take(NAMED) {
        let text = format!("not recorded: {}: {}", gap.what, gap.why);
        warn(global, plain(&text));
    }
}
