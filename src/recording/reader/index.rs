//! The checked projection of a closed journal, so that opening does not read it all.
//!
//! Lines of the journal's own shape, a header and one for each connection; then the rows, packed,
//! behind a checksum of their own: numbers of seven bits a byte, the least first (LEB128), and texts
//! behind their lengths. The index is used only if the journal still has the length that the header
//! names, and its last line the checksum; in doubt the journal is read. What was changed in between
//! shows when it is read: each line is verified then, and held against its row.
//!
//! It holds what the journal says, and no conclusion from it. What a URL asks for follows from
//! settings, redirects and rules that change with modtape, and working it out for the rows that are
//! filtered or shown takes a microsecond each.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::scan::{Damage, Span};
use super::table::{ConnectionRow, Row, SampleRow, StallRow, Table, method, read_table};
use crate::clock::Timestamp;
use crate::exchange::{ConnectionId, Digest, Hex, MadeBy, Phase, Timings};
use crate::files::{open_regular, replace_file};
use crate::recording::format::{Close, FORMAT_VERSION, Gap, INDEX, JOURNAL, Open, Record};
use crate::recording::line::{RowState, split_line};
use crate::recording::manifest::read_manifest;

/// The version of the index; a reader that knows another one reads the journal.
const INDEX_VERSION: u32 = 5;

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
    stalls: Cow<'a, [StallRow]>,
    samples: Cow<'a, [SampleRow]>,
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
        stalls: Cow::Borrowed(&table.stalls),
        samples: Cow::Borrowed(&table.samples),
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
        stalls: header.stalls.into_owned(),
        samples: header.samples.into_owned(),
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
    let sorted = sorted
        && table
            .samples
            .is_sorted_by_key(|sample| (sample.run, sample.at));
    let last_runs = [
        table.rows.last().map(|row| row.run),
        table.samples.last().map(|sample| sample.run),
    ];
    let last_run = last_runs.into_iter().flatten().max();
    let last_run = last_run.map(|run| run as usize);
    // Each record belongs to one row: rows that share some would have a small journal read as a
    // large one.
    let spans = table.rows.iter().flat_map(|row| [Some(row.begin), row.end]);
    let samples = table.samples.iter().map(|sample| Some(sample.line));
    let read = spans
        .chain(samples)
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

/// Packs rows one behind the other.
#[derive(Default)]
struct Packer(Vec<u8>);

/// Takes rows out of what a [`Packer`] made.
struct Unpacker<'a>(&'a [u8]);

/// What a row may have: the bits of its first byte. The lowest two are its state.
mod has {
    pub(super) const STATE: u8 = 0b11;
    pub(super) const STATUS: u8 = 1 << 2;
    pub(super) const END: u8 = 1 << 3;
    pub(super) const BODY: u8 = 1 << 4;
    pub(super) const MADE_BY: u8 = 1 << 5;
    pub(super) const BY_MODTAPE: u8 = 1 << 6;
}

impl Packer {
    fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn row(&mut self, row: &Row) {
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let state = match row.state {
            RowState::InFlight => 0,
            RowState::Ended => 1,
            RowState::Aborted => 2,
        };
        self.0.push(
            state
                | bit(row.status.is_some(), has::STATUS)
                | bit(row.end.is_some(), has::END)
                | bit(row.body.is_some(), has::BODY)
                | bit(row.made_by.is_some(), has::MADE_BY)
                | bit(row.made_by == Some(MadeBy::Modtape), has::BY_MODTAPE),
        );
        let phases = Phase::ALL.into_iter().enumerate();
        let phases = phases.filter(|(_, phase)| row.phases[*phase].is_some());
        self.0.push(phases.fold(0, |bits, (at, _)| bits | 1 << at));
        for (_, us) in row.phases.iter() {
            self.number(us);
        }
        self.number(row.id);
        self.number(row.run.into());
        self.number(row.connection);
        self.number(row.started.as_micros());
        self.number(row.own_us);
        self.number(row.bytes);
        self.span(row.begin);
        if let Some(end) = row.end {
            self.span(end);
        }
        if let Some(status) = row.status {
            self.number(status.into());
        }
        if let Some(Hex(digest)) = &row.body {
            self.0.extend_from_slice(digest);
        }
        self.text(&row.method);
        self.text(&row.url);
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn span(&mut self, span: Span) {
        self.number(span.offset);
        self.number(span.len);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }
}

impl<'a> Unpacker<'a> {
    const fn new(packed: &'a [u8]) -> Self {
        Self(packed)
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next row; `None` where there is none.
    fn row(&mut self) -> Option<Row> {
        let [bits, phases] = *self.bytes(2)?.first_chunk()?;
        let has = |bit| bits & bit != 0;
        let mut timings = Timings::default();
        for (at, phase) in Phase::ALL.into_iter().enumerate() {
            if phases & 1 << at != 0 {
                timings[phase] = Some(self.number()?);
            }
        }
        Some(Row {
            id: self.number()?,
            run: self.number()?.try_into().ok()?,
            connection: self.number()?,
            started: Timestamp::from_micros(self.number()?),
            phases: timings,
            own_us: self.number()?,
            bytes: self.number()?,
            begin: self.span()?,
            end: if has(has::END) {
                Some(self.span()?)
            } else {
                None
            },
            status: match has(has::STATUS) {
                true => Some(self.number()?.try_into().ok()?),
                false => None,
            },
            body: match has(has::BODY) {
                true => Some(Hex(*self.bytes(32)?.first_chunk()?) as Digest),
                false => None,
            },
            state: match bits & has::STATE {
                0 => RowState::InFlight,
                1 => RowState::Ended,
                2 => RowState::Aborted,
                _ => return None,
            },
            made_by: match (has(has::MADE_BY), has(has::BY_MODTAPE)) {
                (false, _) => None,
                (true, false) => Some(MadeBy::Origin),
                (true, true) => Some(MadeBy::Modtape),
            },
            method: method(self.text()?),
            url: self.text()?.to_owned(),
        })
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn span(&mut self) -> Option<Span> {
        let (offset, len) = (self.number()?, self.number()?);
        Some(Span { offset, len })
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let mut events = sample::events();
        events.insert(4, sample::stall(1, 7, 10_000_000));
        lines.extend(sample::lines(14, events));
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
        lines.push(sample::lines(14, vec![sample::open()]).concat());
        std::fs::write(&path, lines.concat()).unwrap();
        assert!(read(dir.path(), &journal(dir.path())).is_none());
        lines.pop();
        *lines.last_mut().unwrap() = sample::lines(14, vec![sample::close()]).concat();
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

    fn row() -> impl Strategy<Value = Row> {
        let times = (any::<u64>(), any::<[Option<u64>; 7]>(), any::<u64>());
        let places = (any::<u64>(), any::<u64>(), any::<Option<(u64, u64)>>());
        let ended = (
            any::<Option<u16>>(),
            any::<Option<[u8; 32]>>(),
            any::<u64>(),
        );
        let states = (0..3_usize, 0..3_usize);
        let asked = ("[A-Z]{0,7}", ".{0,30}");
        (any::<(u64, u32)>(), times, places, ended, states, asked).prop_map(
            |((id, run), (started, phases, own_us), places, ended, (state, by), asked)| Row {
                id,
                run,
                connection: id / 2,
                started: Timestamp::from_micros(started),
                phases: Phase::ALL
                    .into_iter()
                    .zip(phases)
                    .filter_map(|(phase, us)| Some((phase, us?)))
                    .collect(),
                own_us,
                status: ended.0,
                state: [RowState::InFlight, RowState::Ended, RowState::Aborted][state],
                made_by: [None, Some(MadeBy::Origin), Some(MadeBy::Modtape)][by],
                bytes: ended.2,
                method: asked.0.into(),
                url: asked.1,
                begin: Span {
                    offset: places.0,
                    len: places.1,
                },
                end: places.2.map(|(offset, len)| Span { offset, len }),
                body: ended.1.map(Hex),
            },
        )
    }

    proptest! {
        #[test]
        fn rows_come_out_as_they_went_in(rows in proptest::collection::vec(row(), 0..4)) {
            let mut packer = Packer::default();
            rows.iter().for_each(|row| packer.row(row));
            let packed = packer.into_bytes();
            let mut unpacker = Unpacker::new(&packed);
            for row in &rows {
                prop_assert_eq!(unpacker.row(), Some(row.clone()));
            }
            prop_assert!(unpacker.is_empty());
        }

        #[test]
        fn any_bytes_are_rows_or_none(bytes: Vec<u8>) {
            let mut unpacker = Unpacker::new(&bytes);
            while unpacker.row().is_some() {}
        }
    }
}
