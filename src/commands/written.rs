//! What became of an export, and what every export needs of a recording.

use std::io;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::Global;
use crate::exchange::chain;
use crate::recording::Recording;
use crate::recording::format::Open;
use crate::terminal::words::count;
use crate::terminal::{plain, warn};

/// What became of an export.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Exchanges written.
    pub(super) entries: u64,
    /// What is not in there though it should be, in words; the first [`NAMED`] of them.
    pub(super) missing: Vec<String>,
    /// How many more there are.
    pub(super) unnamed: u64,
    /// Bodies that are not in there since they were never kept: no failure of this export.
    pub(super) not_kept: u64,
    /// Header fields that cannot stand in a command; the script names them.
    pub(super) unprintable: u64,
}

/// How much that is missing is named.
const NAMED: usize = 20;

impl Written {
    pub(super) fn lacks(&mut self, what: String) {
        if self.missing.len() < NAMED {
            self.missing.push(what);
        } else {
            self.unnamed += 1;
        }
    }
}

/// The runs; where a damaged one does not say when it began, the manifest's word stands in.
pub(super) fn opens(recording: &Recording, written: &mut Written) -> Vec<Open> {
    let is_time = |wall: &str| OffsetDateTime::parse(wall, &Rfc3339).is_ok();
    let mut opens = recording.runs().to_vec();
    for (number, open) in (1_u64..).zip(&mut opens) {
        if !is_time(&open.wall) {
            let started = Some(&recording.manifest().started).filter(|wall| is_time(wall));
            open.wall = started.cloned().unwrap_or_else(|| EPOCH.into());
            let wall = &open.wall;
            written.lacks(format!("when run {number} began (taken to be {wall})"));
        }
    }
    opens
}

const EPOCH: &str = "1970-01-01T00:00:00Z";

/// An error of reading, and what lies below it, as one text.
pub(super) fn error_text(error: &io::Error) -> String {
    match error.get_ref() {
        Some(inner) => chain(inner),
        None => error.to_string(),
    }
}

/// Says what of `recording` is not in the export.
pub(super) fn tell(written: &Written, recording: &Recording, global: &Global) {
    for missing in &written.missing {
        warn(global, format!("left out {}", plain(missing)));
    }
    if written.unnamed > 0 {
        warn(global, format!("left out {} more", written.unnamed));
    }
    if written.not_kept > 0 {
        let bodies = match written.not_kept {
            1 => String::from("1 body that was"),
            bodies => format!("{bodies} bodies that were"),
        };
        warn(global, format!("left out {bodies} not kept when recorded"));
    }
    if written.unprintable > 0 {
        let fields = count(written.unprintable, "header field");
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
