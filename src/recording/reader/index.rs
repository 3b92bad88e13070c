//! The checked projection of a closed journal, so that opening does not read it all.
//!
//! Lines of the journal's own shape, a header and one for each connection; then the rows, packed,
//! behind a checksum of their own. The index is used only if the journal still has the length that
//! the header names, and its last line the checksum; in doubt the journal is read. What was changed
//! in between shows when it is read: each line is verified then, and held against its row.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::packed::{Packer, Unpacker};
use super::scan::{Damage, Span};
use super::table::{ConnectionRow, Row, Table, read_table};
use crate::clock::Timestamp;
use crate::exchange::ConnectionId;
use crate::files::{open_regular, replace_file};
use crate::recording::format::{Close, FORMAT_VERSION, Gap, INDEX, JOURNAL, Open, Record};
use crate::recording::line::split_line;
use crate::recording::manifest::read_manifest;

/// The version of the index; a reader that knows another one reads the journal.
const INDEX_VERSION: u32 = 4;

/// How far from the journal's end its last line may start, bytes: a `close` is a tenth of it.
const LAST_LINE: u64 = 4096;

/// The least bytes that a packed row takes.
const LEAST_ROW: u64 = 12;

/// The first line: what the rows belong to, and whatever is not a row.
#[derive(Serialize, Deserialize)]
struct Header<'a> {
    index: u32,
    journal_bytes: u64,
    /// As in the journal: eight hexadecimal digits.
    last_crc: String,
    rows: u64,
    connections: u64,
    runs: Cow<'a, [Open]>,
    gaps: Cow<'a, [Gap]>,
    damage: Cow<'a, [Damage]>,
    tail: Option<Span>,
    close: Option<Cow<'a, Close>>,
    last_seq: u64,
    last_us: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct ConnectionLine<'a> {
    run: u32,
    id: ConnectionId,
    connection: Cow<'a, ConnectionRow>,
}

/// Reads the journal of the recording in `dir` and writes its index.
pub fn rebuild(dir: &Path) -> io::Result<()> {
    let journal = open_regular(&dir.join(JOURNAL))?;
    let table = read_table(&journal, read_manifest(dir).ok().as_ref())?;
    write(dir, &journal, &table)
}

/// Writes the index of `journal`, which `table` was read from. A journal that does not end with a
/// record was not closed, and gets none.
pub(super) fn write(dir: &Path, journal: &File, table: &Table) -> io::Result<()> {
    let Some(last_crc) = last_crc(journal, table.journal_bytes) else {
        return Ok(());
    };
    let header = Header {
        index: INDEX_VERSION,
        journal_bytes: table.journal_bytes,
        last_crc,
        rows: table.rows.len() as u64,
        connections: table.connections.len() as u64,
        runs: Cow::Borrowed(&table.runs),
        gaps: Cow::Borrowed(&table.gaps),
        damage: Cow::Borrowed(&table.damage),
        tail: table.tail,
        close: table.close.as_ref().map(Cow::Borrowed),
        last_seq: table.last_seq,
        last_us: table.last,
    };
    let mut out = Vec::new();
    write_line(&mut out, &header)?;
    for (&(run, id), connection) in &table.connections {
        let connection = Cow::Borrowed(connection);
        let line = ConnectionLine {
            run,
            id,
            connection,
        };
        write_line(&mut out, &line)?;
    }
    let mut packer = Packer::default();
    for row in &table.rows {
        packer.row(row);
    }
    let rows = packer.into_bytes();
    write!(out, "{:08x} ", crc32c::crc32c(&rows))?;
    replace_file(&dir.join(INDEX), |file| {
        file.write_all(&out)?;
        file.write_all(&rows)
    })
}

fn write_line(out: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(value)?;
    write!(out, "{:08x} ", crc32c::crc32c(&text))?;
    out.extend_from_slice(&text);
    out.push(b'\n');
    Ok(())
}

/// The table of the recording in `dir`, if it has an index that is whole and `journal`'s.
pub(super) fn read(dir: &Path, journal: &File) -> Option<Table> {
    let bytes = read_file(&dir.join(INDEX), journal).ok()?;
    let mut rest = &bytes[..];
    let header: Header<'_> = next_line(&mut rest)?;
    let journal_bytes = journal.metadata().ok()?.len();
    if header.index != INDEX_VERSION
        || header.journal_bytes != journal_bytes
        || last_crc(journal, journal_bytes)? != header.last_crc
    {
        return None;
    }
    let mut table = Table {
        runs: header.runs.into_owned(),
        gaps: header.gaps.into_owned(),
        damage: header.damage.into_owned(),
        tail: header.tail,
        close: header.close.map(Cow::into_owned),
        last_seq: header.last_seq,
        last: header.last_us,
        journal_bytes,
        ..Table::default()
    };
    for _ in 0..header.connections {
        let line: ConnectionLine<'_> = next_line(&mut rest)?;
        let row = line.connection.into_owned();
        table.connections.insert((line.run, line.id), row);
    }
    table.rows = rows(rest, header.rows)?;
    // That another version wrote the journal is the journal's to say.
    let is_ours = table.foreign_version(FORMAT_VERSION).is_none();
    (is_ours && is_consistent(&table)).then_some(table)
}

/// The whole file. A row is shorter than its two lines of the journal, and so is a connection: an
/// index that is longer than twice its journal is not read.
fn read_file(path: &Path, journal: &File) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let limit = journal.metadata()?.len().saturating_mul(2).max(1 << 20);
    let mut bytes = Vec::new();
    bytes.reserve_exact(usize::try_from(file.metadata()?.len().min(limit)).unwrap_or(0) + 1);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Takes the next line's value; `None` where a line does not verify.
fn next_line<'a, T: Deserialize<'a>>(rest: &mut &'a [u8]) -> Option<T> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let (crc, text) = split_line(&rest[..end])?;
    *rest = &rest[end + 1..];
    let is_right = crc32c::crc32c(text) == crc;
    is_right.then(|| serde_json::from_slice(text).ok())?
}

/// The rows, packed behind the eight digits of their checksum and a space.
fn rows(packed: &[u8], count: u64) -> Option<Vec<Row>> {
    let (digits, packed) = packed.split_at_checked(8)?;
    let packed = packed.strip_prefix(b" ")?;
    let crc = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    if crc32c::crc32c(packed) != crc {
        return None;
    }
    let mut unpacker = Unpacker::new(packed);
    // A header that promises more rows than fit lies.
    let expected = count.min(packed.len() as u64 / LEAST_ROW);
    let mut rows = Vec::with_capacity(usize::try_from(expected).ok()?);
    for _ in 0..count {
        rows.push(unpacker.row()?);
    }
    unpacker.is_empty().then_some(rows)
}

/// What every reader of a table relies on.
fn is_consistent(table: &Table) -> bool {
    let runs = table.runs.len();
    let sorted = table
        .rows
        .is_sorted_by_key(|row| (row.run, row.started, row.id));
    let last_run = table.rows.last().map(|row| row.run as usize);
    // Each record belongs to one row: rows that share some would have a small journal read as a
    // large one.
    let spans = table.rows.iter().flat_map(|row| [Some(row.begin), row.end]);
    let read = spans
        .flatten()
        .fold(0, |sum: u64, span| sum.saturating_add(span.len));
    sorted && last_run.is_none_or(|run| run < runs) && read <= table.journal_bytes
}

/// The checksum of the last of a journal's lines, if the journal ends with a record.
fn last_crc(journal: &File, journal_bytes: u64) -> Option<String> {
    let len = journal_bytes.min(LAST_LINE);
    let mut end = vec![0; usize::try_from(len).ok()?];
    journal.read_exact_at(&mut end, journal_bytes - len).ok()?;
    let end = end.strip_suffix(b"\n")?;
    let start = end.iter().rposition(|byte| *byte == b'\n')? + 1;
    let line = &end[start..];
    Record::parse_line(line).ok()?;
    String::from_utf8(line[..8].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::format::State;
    use crate::recording::{Recording, sample};

    fn indexed(journal: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        sample::write(dir.path(), journal, State::Closed);
        rebuild(dir.path()).unwrap();
        dir
    }

    fn journal(dir: &Path) -> File {
        File::open(dir.join(JOURNAL)).unwrap()
    }

    #[test]
    fn the_index_tells_what_the_journal_tells() {
        let mut lines = sample::lines(1, sample::events());
        lines[3].truncate(50);
        lines.extend(sample::lines(13, sample::events()));
        for journal_text in [sample::journal(), lines.concat()] {
            let dir = indexed(&journal_text);
            let journal = journal(dir.path());
            let parsed = read_table(&journal, None).unwrap();
            assert_eq!(read(dir.path(), &journal).unwrap(), parsed);
            assert_eq!(Recording::open(dir.path()).unwrap().table(), &parsed);
        }
    }

    #[test]
    fn an_index_of_another_journal_is_not_used() {
        let dir = indexed(&sample::journal());
        let path = dir.path().join(JOURNAL);
        let mut lines = sample::lines(1, sample::events());
        lines.push(sample::lines(13, vec![sample::open()]).concat());
        std::fs::write(&path, lines.concat()).unwrap();
        assert!(read(dir.path(), &journal(dir.path())).is_none());
        lines.pop();
        *lines.last_mut().unwrap() = sample::lines(13, vec![sample::close()]).concat();
        std::fs::write(&path, lines.concat()).unwrap();
        assert_eq!(lines.concat().len(), sample::journal().len());
        assert!(read(dir.path(), &journal(dir.path())).is_none());
    }

    #[test]
    fn an_index_with_any_byte_changed_or_cut_is_not_used() {
        let dir = indexed(&sample::journal());
        let path = dir.path().join(INDEX);
        let journal = journal(dir.path());
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            std::fs::write(&path, &flipped).unwrap();
            assert!(read(dir.path(), &journal).is_none(), "byte {at} changed");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(read(dir.path(), &journal).is_none(), "cut at {at}");
        }
        std::fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
        assert!(read(dir.path(), &journal).is_none());
    }

    #[test]
    fn a_journal_that_does_not_end_with_a_record_gets_no_index() {
        let journal = sample::journal();
        let dir = indexed(&journal[..journal.len() - 2]);
        assert!(!dir.path().join(INDEX).exists());
    }
}
