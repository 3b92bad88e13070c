//! What a command line selects: a recording, and the exchanges of it that a filter takes.
//!
//! Whatever is wrong with a recording as a whole is said once, when it is opened.

use anyhow::anyhow;

use super::failure::{Advise as _, Failure, USAGE};
use crate::cli::Global;
use crate::diagnose::outcome::{Listed, Meaning};
use crate::filter::Filter;
use crate::recording::reader::Status;
use crate::recording::{Recording, Row, folder};
use crate::shell;
use crate::terminal::summary::missing;
use crate::terminal::words::{count, size};
use crate::terminal::{plain, say, warn};

/// Opens the recording that `name` means; what is not in there though it might be expected is said
/// on stderr.
pub(crate) fn open(name: &str, global: &Global) -> anyhow::Result<Recording> {
    let dir = folder::resolve(&global.recordings, name)?;
    let recording = Recording::open(&dir)?;
    tell(&recording, global);
    Ok(recording)
}

fn tell(recording: &Recording, global: &Global) {
    let name = recording.name();
    for defect in defects(recording) {
        let mut told = format!("{name} {}", defect.what);
        if defect.has_places {
            told.push_str(&format!("; `{}` tells where", info_line(recording)));
        }
        if defect.is_loss {
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

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defect {
    /// What follows the recording's name: `is damaged in 2 places`.
    pub(crate) what: String,
    /// Whether something is lost, rather than not there yet.
    pub(crate) is_loss: bool,
    /// Whether `recordings info` tells more of it.
    pub(crate) has_places: bool,
}

/// All that is wrong, in the order in which it came about.
pub(crate) fn defects(recording: &Recording) -> Vec<Defect> {
    let state = match recording.status() {
        Status::Closed | Status::Sealed => None,
        Status::Recording => Some("is still being recorded"),
        Status::Unfinished => Some("is unfinished: its recorder was killed"),
    };
    let is_closed = state.is_none();
    let state = state.map(|what| Defect {
        what: what.into(),
        is_loss: false,
        has_places: false,
    });
    let missing = missing(recording.gaps()).map(|missing| Defect {
        what: format!("is incomplete: {missing}"),
        is_loss: true,
        has_places: false,
    });
    let places = recording.damage().len() as u64;
    // Whoever was killed in the middle of a line left half of it: that is no damage.
    let tail = recording.torn_tail().filter(|_| is_closed);
    let damage = match (places, tail) {
        (0, None) => None,
        (0, Some(tail)) => Some(format!("is damaged: {} at its end", size(tail.len))),
        (places, _) => Some(format!("is damaged in {}", count(places, "place"))),
    };
    let damage = damage.map(|what| Defect {
        what,
        is_loss: true,
        has_places: true,
    });
    [state, missing, damage].into_iter().flatten().collect()
}

/// Reads the filter of a command line; without one all exchanges are taken.
pub(crate) fn filter(text: Option<&str>) -> Result<Filter, Failure> {
    let text = text.unwrap_or_default();
    let filter: Result<Filter, _> = text.parse();
    filter
        .map_err(|error| anyhow!("--filter {text:?}, {error}"))
        .help("`modtape help filter` has keys, names and units")
        .map_err(|error| Failure::new(USAGE, error))
}

/// All that the filter takes, with what lists tell of them, by run, start and id.
pub(crate) fn listed<'a>(
    recording: &'a Recording,
    filter: &Filter,
) -> impl Iterator<Item = (&'a Row, Listed<'a>)> {
    let meaning = Meaning::of(recording);
    let rows = recording.rows().iter();
    let listed = rows.map(move |row| (row, meaning.list(row)));
    listed.filter(|(_, listed)| filter.takes(&listed.subject()))
}

/// The same without what lists tell.
pub(crate) fn rows<'a>(recording: &'a Recording, filter: &Filter) -> Vec<&'a Row> {
    if *filter == Filter::default() {
        return recording.rows().iter().collect();
    }
    listed(recording, filter).map(|(row, _)| row).collect()
}
