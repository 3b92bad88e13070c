//! The checked projection of a closed journal, so that opening does not read it all.
//!
//! Lines of the journal's own shape: a header, a line an exchange, a line a connection. It is used
//! only if the journal still has the length and the checksums that the header names, over its last
//! line and over all of it; in doubt the journal is read, and then all damage shows. Summing up a
//! journal takes a fiftieth of the time of reading it.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::exchange::{ConnectionId, Digest, MadeBy, Phase};

use super::scan::{Damage, LINE_LIMIT, Span};
use super::table::{ConnectionRow, Row, RowState, Table, read_table};
use crate::files::{open_regular, replace_file};
use crate::recording::format::{Close, FORMAT_VERSION, Gap, INDEX, JOURNAL, Open, Record};
use crate::recording::line::split_line;
use crate::recording::manifest::read_manifest;

/// The version of the index; a reader that knows another one reads the journal.
const INDEX_VERSION: u32 = 3;

/// How far from the journal's end its last line may start, octets: a `close` is a tenth of it.
const LAST_LINE: u64 = 4096;

/// The first line: what the rows belong to, and whatever is not a row.
#[derive(Serialize, Deserialize)]
struct Header<'a> {
    index: u32,
    journal_bytes: u64,
    /// As in the journal: eight hexadecimal digits.
    last_crc: String,
    /// Over all octets of the journal.
    journal_crc: u32,
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

/// A row by position: names would take more than half of the time that reading takes.
#[derive(Serialize, Deserialize)]
struct RowLine<'a> {
    #[serde(borrow)]
    row: Packed<'a>,
}

/// Id, run, connection, start, phases in order, own time; status, state, who made it, octets;
/// method, URL; offset and length of begin and end; digest.
#[derive(Serialize, Deserialize)]
struct Packed<'a>(
    (u64, u32, u64, Timestamp, [Option<u64>; 7], u64),
    (Option<u16>, RowState, Option<MadeBy>, u64),
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    (u64, u64, Option<(u64, u64)>),
    Option<Digest>,
);

impl<'a> Packed<'a> {
    fn new(row: &'a Row) -> Self {
        let phases = Phase::ALL.map(|phase| row.phases[phase]);
        let start = (
            row.id,
            row.run,
            row.connection,
            row.started,
            phases,
            row.own_us,
        );
        let outcome = (row.status, row.state, row.made_by, row.bytes);
        let end = row.end.map(|end| (end.offset, end.len));
        Self(
            start,
            outcome,
            row.method.as_str().into(),
            row.url.as_str().into(),
            (row.begin.offset, row.begin.len, end),
            row.body,
        )
    }

    fn into_row(self) -> Row {
        let Self(start, outcome, method, url, (offset, len, end), body) = self;
        let (id, run, connection, started, phases, own_us) = start;
        let (status, state, made_by, bytes) = outcome;
        let phases = Phase::ALL.into_iter().zip(phases);
        Row {
            id,
            run,
            connection,
            started,
            phases: phases
                .filter_map(|(phase, us)| Some((phase, us?)))
                .collect(),
            own_us,
            status,
            state,
            made_by,
            bytes,
            method: method.into_owned(),
            url: url.into_owned(),
            begin: Span { offset, len },
            end: end.map(|(offset, len)| Span { offset, len }),
            body,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct ConnectionLine<'a> {
    run: u32,
    id: ConnectionId,
    connection: Cow<'a, ConnectionRow>,
}

/// Reads the journal of the recording in `dir` and writes its index; for whoever closes it.
pub fn rebuild(dir: &Path) -> io::Result<()> {
    let journal = open_regular(&dir.join(JOURNAL))?;
    let table = read_table(&journal, read_manifest(dir).ok().as_ref())?;
    let Some(last_crc) = last_crc(&journal, table.journal_bytes) else {
        // A journal that does not end with a record is not one that was closed.
        return Ok(());
    };
    let journal_crc = journal_crc(&journal, table.journal_bytes)?;
    write(dir, &table, (&last_crc, journal_crc))
}

/// The checksum over the first `bytes` octets.
fn journal_crc(journal: &File, bytes: u64) -> io::Result<u32> {
    let (mut crc, mut at) = (0, 0);
    let mut chunk = vec![0; 256 << 10];
    while at < bytes {
        let len = usize::try_from(bytes - at).map_or(chunk.len(), |left| left.min(chunk.len()));
        journal.read_exact_at(&mut chunk[..len], at)?;
        crc = crc32c::crc32c_append(crc, &chunk[..len]);
        at += len as u64;
    }
    Ok(crc)
}

/// Writes the index of a journal that `table` was read from, whose last line and whole have these
/// checksums.
fn write(dir: &Path, table: &Table, (last_crc, journal_crc): (&str, u32)) -> io::Result<()> {
    let header = Header {
        index: INDEX_VERSION,
        journal_bytes: table.journal_bytes,
        last_crc: last_crc.into(),
        journal_crc,
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
    replace_file(&dir.join(INDEX), |file| {
        let mut out = BufWriter::new(file);
        write_line(&mut out, &header)?;
        for row in &table.rows {
            let row = Packed::new(row);
            write_line(&mut out, &RowLine { row })?;
        }
        for (&(run, id), connection) in &table.connections {
            let connection = Cow::Borrowed(connection);
            write_line(
                &mut out,
                &ConnectionLine {
                    run,
                    id,
                    connection,
                },
            )?;
        }
        out.flush()
    })
}

fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(value)?;
    write!(out, "{:08x} ", crc32c::crc32c(&text))?;
    out.write_all(&text)?;
    out.write_all(b"\n")
}

/// The table of the recording in `dir`, if it has an index that is whole and `journal`'s.
pub(super) fn read(dir: &Path, journal: &File) -> Option<Table> {
    let file = open_regular(&dir.join(INDEX)).ok()?;
    let bytes = file.metadata().ok()?.len();
    let mut lines = Lines {
        input: BufReader::with_capacity(256 << 10, file),
        line: Vec::new(),
    };
    let header: Header<'_> = lines.next()?;
    let journal_bytes = journal.metadata().ok()?.len();
    if header.index != INDEX_VERSION
        || header.journal_bytes != journal_bytes
        || last_crc(journal, journal_bytes)? != header.last_crc
        || journal_crc(journal, journal_bytes).ok()? != header.journal_crc
    {
        return None;
    }
    // No row is shorter than 64 octets: a header that promises more rows than fit lies.
    let expected = usize::try_from(header.rows.min(bytes / 64)).ok()?;
    let mut rows = Vec::with_capacity(expected);
    for _ in 0..header.rows {
        rows.push(lines.next::<RowLine<'_>>()?.row.into_row());
    }
    let mut table = Table {
        rows,
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
        let line: ConnectionLine<'_> = lines.next()?;
        let row = line.connection.into_owned();
        table.connections.insert((line.run, line.id), row);
    }
    // That another version wrote the journal is the journal's to say.
    let is_ours = table.foreign_version(FORMAT_VERSION).is_none();
    (lines.at_end() && is_ours && is_consistent(&table)).then_some(table)
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

struct Lines {
    input: BufReader<File>,
    line: Vec<u8>,
}

impl Lines {
    /// The next line's value; `None` at the end, or where a line does not verify.
    fn next<'a, T: Deserialize<'a>>(&'a mut self) -> Option<T> {
        self.line.clear();
        let mut input = self.input.by_ref().take(LINE_LIMIT);
        input.read_until(b'\n', &mut self.line).ok()?;
        let (crc, text) = split_line(self.line.strip_suffix(b"\n")?)?;
        if crc32c::crc32c(text) != crc {
            return None;
        }
        serde_json::from_slice(text).ok()
    }

    fn at_end(&mut self) -> bool {
        self.input.fill_buf().is_ok_and(<[u8]>::is_empty)
    }
}

/// The checksum of the last of a journal's lines, if the journal ends with a record.
fn last_crc(journal: &File, journal_bytes: u64) -> Option<String> {
    let len = journal_bytes.min(LAST_LINE);
    let mut end = vec![0; usize::try_from(len).ok()?];
    journal.read_exact_at(&mut end, journal_bytes - len).ok()?;
    let end = end.strip_suffix(b"\n")?;
    let start = end.iter().rposition(|octet| *octet == b'\n')? + 1;
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
    fn an_index_with_any_octet_changed_or_cut_is_not_used() {
        let dir = indexed(&sample::journal());
        let path = dir.path().join(INDEX);
        let journal = journal(dir.path());
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            std::fs::write(&path, &flipped).unwrap();
            assert!(read(dir.path(), &journal).is_none(), "octet {at} changed");
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
