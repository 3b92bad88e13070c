//! The journal of an open recording: a line at a time, read ahead where lines are asked for in order.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, TryLockError};

use super::scan::Span;

/// How much is read at once, bytes.
const AHEAD: u64 = 256 << 10;

/// How much of that lies before the line that was asked for, bytes: exchanges overlap, so the next
/// one's `begin` often stands before this one's `end`.
const BEHIND: u64 = 64 << 10;

/// The file, and a part of it in memory.
pub(super) struct JournalFile {
    file: File,
    part: Mutex<Part>,
}

/// What was read ahead. Lines that are read out of order cost one small read each.
#[derive(Default)]
struct Part {
    offset: u64,
    bytes: Vec<u8>,
    /// The end of the last line that was read, if it was not in memory.
    missed: Option<u64>,
}

impl JournalFile {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            part: Mutex::default(),
        }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Hands the line at `span` to `read`.
    pub(super) fn line<T>(&self, span: Span, read: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        // Threads that read at the same time read what they need themselves.
        match self.part.try_lock() {
            Ok(mut part) => {
                if part.range(span).is_none() {
                    part.miss(span, &self.file)?;
                }
                if let Some(range) = part.range(span) {
                    part.missed = None;
                    return Ok(read(&part.bytes[range]));
                }
                part.missed = Some(span.end());
            }
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => {}
        }
        let mut line = vec![0; usize::try_from(span.len).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut line, span.offset)?;
        Ok(read(&line))
    }
}

impl Part {
    /// Where the line lies in memory.
    fn range(&self, span: Span) -> Option<Range<usize>> {
        let start = usize::try_from(span.offset.checked_sub(self.offset)?).ok()?;
        let end = start.checked_add(usize::try_from(span.len).ok()?)?;
        (end <= self.bytes.len()).then_some(start..end)
    }

    /// Reads ahead if the line follows on what is in memory, or on another one that was not.
    fn miss(&mut self, span: Span, file: &File) -> io::Result<()> {
        let end = self.offset + self.bytes.len() as u64;
        let follows = |at: u64| (at..at.saturating_add(AHEAD)).contains(&span.offset);
        if !follows(end) && !self.missed.is_some_and(follows) {
            return Ok(());
        }
        self.offset = span.offset.saturating_sub(BEHIND);
        self.bytes.resize(AHEAD as usize, 0);
        let mut filled = 0;
        while filled < self.bytes.len() {
            match file.read_at(&mut self.bytes[filled..], self.offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.bytes.clear();
                    return Err(error);
                }
            }
        }
        self.bytes.truncate(filled);
        Ok(())
    }
}

impl fmt::Debug for JournalFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JournalFile").field(&self.file).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn journal() -> (JournalFile, Vec<u8>) {
        let bytes: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (JournalFile::new(file), bytes)
    }

    #[test]
    fn lines_are_the_same_in_whatever_order_they_are_read() {
        let (journal, bytes) = journal();
        let forward = (0..3000_u64).map(|n| n * 200);
        let overlapping = (0..3000_u64).map(|n| (n * 200 + n % 2 * 90_000).min(599_800));
        let scattered = (0..3000_u64).map(|n| n * 7919 % 599_800);
        for offset in forward
            .clone()
            .chain(overlapping)
            .chain(forward.rev())
            .chain(scattered)
        {
            let span = Span { offset, len: 200 };
            let read = journal.line(span, <[u8]>::to_vec).unwrap();
            assert_eq!(read, bytes[offset as usize..][..200], "{offset}");
        }
        let long = Span {
            offset: 5,
            len: 500_000,
        };
        assert_eq!(
            journal.line(long, <[u8]>::to_vec).unwrap(),
            bytes[5..500_005]
        );
        let beyond = Span {
            offset: 599_900,
            len: 200,
        };
        journal.line(beyond, <[u8]>::to_vec).unwrap_err();
    }
}
