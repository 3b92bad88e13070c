//! A recording as the files of a module proxy, for `GOPROXY=file://…` (Go modules reference,
//! "GOPROXY protocol"): the contents that [`crate::catalog`] names.

use std::io::{self, Read};

use super::source::{Source, error_text};
use crate::catalog::Edit;
use crate::recording::Row;

/// Bytes of a lookup's answer, and of a tile: real ones have less than 9,000.
const LOOKUP_LIMIT: usize = 1 << 16;

/// The content of a file: the answer of `row`, or as much of it as `edit` says. Large ones are
/// verified while they are read.
pub(crate) fn content(
    source: &Source<'_>,
    row: &Row,
    edit: &Edit,
) -> Result<Box<dyn Read>, String> {
    let answer = source.content(row)?;
    if *edit == Edit::Whole {
        return Ok(answer);
    }
    let file = edit.apply(whole(answer)?);
    let file = file.map_err(|error| error.to_string())?;
    Ok(Box::new(io::Cursor::new(file)))
}

/// The content of a lookup's answer.
pub(crate) fn lookup(source: &Source<'_>, row: &Row) -> Option<Vec<u8>> {
    whole(source.content(row).ok()?).ok()
}

fn whole(answer: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut answer = answer.take(LOOKUP_LIMIT as u64 + 1);
    let read = answer.read_to_end(&mut bytes);
    read.map_err(|error| error_text(&error))?;
    match bytes.len() > LOOKUP_LIMIT {
        true => Err("it is too large for a lookup or a tile".into()),
        false => Ok(bytes),
    }
}
