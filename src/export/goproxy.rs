//! A recording as the files of a module proxy, for `GOPROXY=file://…` (Go modules reference,
//! "GOPROXY protocol"): the contents that [`crate::catalog`] names.

use std::io::{self, Read};

use crate::catalog::{Edit, SMALL_FILE};
use crate::exchange::chain;
use crate::recording::{Recording, Row};

/// The content of a file: the answer of `row`, or as much of it as `edit` says. Large ones are
/// verified while they are read.
pub(crate) fn content(
    recording: &Recording,
    row: &Row,
    edit: &Edit,
) -> Result<Box<dyn Read>, String> {
    if *edit == Edit::Whole {
        return recording.content(row).map_err(|error| chain(&error));
    }
    let answer = recording.content_within(row, SMALL_FILE);
    let file = edit.apply(answer.map_err(|error| chain(&error))?);
    let file = file.map_err(|error| error.to_string())?;
    Ok(Box::new(io::Cursor::new(file)))
}
