//! Answers to lookups: a record's number, its text, and a signed head (`tlog.ParseRecord`).

use super::head::Head;
use super::note::{NoteError, Verifier};

/// The answer to a lookup, its signature verified; whether the head's tree has the record is for
/// [`super::Log`] to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The record's number in the log, from 0.
    pub id: u64,
    /// The record: lines as in a go.sum, each with its newline.
    pub record: &'a str,
    /// The head that came with it.
    pub head: Head,
    /// That head as it was signed.
    pub note: &'a [u8],
}

/// Why an answer is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Another shape.
    #[error("it is not a record with a signed tree head")]
    Form,
    /// Its note.
    #[error("its tree head is not valid: {0}")]
    Note(#[from] NoteError),
    /// The number does not fit the head.
    #[error("it is record {id} of a tree of {size} records")]
    Beyond {
        /// The record's number.
        id: u64,
        /// The records of the tree.
        size: u64,
    },
}

impl<'a> Answer<'a> {
    /// Reads the answer, and checks that `verifier` has signed its head.
    pub fn open(content: &'a [u8], verifier: &Verifier) -> Result<Self, AnswerError> {
        let (id, record, note) = parts(content).ok_or(AnswerError::Form)?;
        let head: Head = verifier
            .open(note)?
            .parse()
            .map_err(|_| AnswerError::Form)?;
        let size = head.size;
        match id < size {
            true => Ok(Self {
                id,
                record,
                head,
                note,
            }),
            false => Err(AnswerError::Beyond { id, size }),
        }
    }

    /// The hash that the record has for `VERSION` or `VERSION/go.mod` of a module, `h1:…`.
    ///
    /// Only the record's own lines count, never those of the note behind it (CVE-2026-56864).
    pub fn h1(&self, module: &str, version: &str) -> Option<&'a str> {
        self.record.lines().find_map(|line| {
            let rest = line.strip_prefix(module)?.strip_prefix(' ')?;
            rest.strip_prefix(version)?
                .strip_prefix(' ')
                .filter(|sum| sum.starts_with("h1:"))
        })
    }
}

/// Number, text and note.
fn parts(content: &[u8]) -> Option<(u64, &str, &[u8])> {
    let blank = content.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, note) = (
        std::str::from_utf8(&content[..=blank]).ok()?,
        &content[blank + 2..],
    );
    let (id, record) = head.split_once('\n')?;
    let is_number = !id.is_empty() && id.bytes().all(|digit| digit.is_ascii_digit());
    let id = is_number.then(|| id.parse::<i64>().ok())??;
    let is_text = !record.is_empty() && !record.chars().any(|c| c < ' ' && c != '\n');
    is_text.then_some((u64::try_from(id).ok()?, record, note))
}
