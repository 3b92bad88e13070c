//! The exchanges of a recording that `--filter` takes.

use anyhow::anyhow;

use super::advice::Advise as _;
use super::listed::{Listed, Meaning};
use super::{Failure, USAGE};
use crate::filter::Filter;
use crate::recording::{Recording, Row};

/// Reads the filter of a command line; without one all exchanges are taken.
pub(super) fn filter(text: Option<&str>) -> Result<Filter, Failure> {
    let text = text.unwrap_or_default();
    let filter: Result<Filter, _> = text.parse();
    filter
        .map_err(|error| anyhow!("--filter {text:?}, {error}"))
        .help("`modtape help filter` has keys, names and units")
        .map_err(|error| Failure::new(USAGE, error))
}

/// All that the filter takes, with what lists tell of them, by run, start and id.
pub(super) fn listed<'a>(
    recording: &'a Recording,
    filter: &Filter,
) -> impl Iterator<Item = (&'a Row, Listed<'a>)> {
    let meaning = Meaning::of(recording);
    let rows = recording.rows().iter();
    let listed = rows.map(move |row| (row, meaning.list(row)));
    listed.filter(|(_, listed)| filter.takes(&listed.subject()))
}

/// The same without what lists tell.
pub(super) fn rows<'a>(recording: &'a Recording, filter: &Filter) -> Vec<&'a Row> {
    if *filter == Filter::default() {
        return recording.rows().iter().collect();
    }
    listed(recording, filter).map(|(row, _)| row).collect()
}
