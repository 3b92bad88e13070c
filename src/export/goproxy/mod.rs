//! A recording as the files of a module proxy, for `GOPROXY=file://…` (Go modules reference,
//! "GOPROXY protocol").
//!
//! Of several answers for one file the last sound 200 is taken; a redirect is followed as far as the
//! recording goes. Nothing is guessed: `list` names the versions that are whole, and what has no
//! answer has no file. Each path is put together anew from what a request means, in the alphabet of
//! module paths: none is taken from the recording.

mod tree;
mod unified;

use std::io::{self, Read};

use super::source::{Source, error_text};
use crate::gomod::Lookup;
use crate::recording::Row;

pub(crate) use tree::{Edit, Faulty, Lacking, LeftOut, Tree};
pub(crate) use unified::NotUnified;

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
    let bytes = match edit {
        Edit::Whole => return Ok(answer),
        Edit::Cut(len) => {
            let mut bytes = whole(answer)?;
            if bytes.len() < *len {
                return Err("it is shorter than its name says".into());
            }
            bytes.truncate(*len);
            bytes
        }
        Edit::Note(note) => {
            let mut bytes = whole(answer)?;
            bytes.truncate(Lookup::note_at(&bytes).ok_or("it is not a valid lookup")?);
            bytes.extend_from_slice(note);
            bytes
        }
    };
    Ok(Box::new(io::Cursor::new(bytes)))
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
