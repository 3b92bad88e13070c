//! Bytes to records: finds every line of a journal that verifies, and says what lies between.
//!
//! Total: any byte string gives records and a list of damage, never a panic. Memory is bounded by
//! one line and by what is found. Never opens a file and never writes.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::marker::PhantomData;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Deserializer;

use crate::recording::line::{Line, LineError, split_line};

/// The longest line that is read as one, bytes.
///
/// The writer's longest lines hold two inline bodies, six times 16 KiB each when all is escaped,
/// and a header section of some hundred KiB; a command line of 2 MiB is Linux's usual limit.
pub(crate) const LINE_LIMIT: u64 = 16 << 20;

/// A place in the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Bytes from the journal's start.
    pub offset: u64,
    /// Bytes, without a line feed where the span is a record's.
    pub len: u64,
}

impl Span {
    /// The offset behind the last byte.
    pub(crate) const fn end(self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// Something in a journal that is not as the writer leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Where.
    pub(crate) span: Span,
    /// What.
    pub kind: DamageKind,
}

/// What is wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DamageKind {
    /// Bytes that no record accounts for.
    Garbled,
    /// A record that verifies but is not of this format; `format` is the version that an `open`
    /// record names.
    Unknown {
        /// The writer's format version, if this is its `open`.
        format: Option<u32>,
    },
    /// A record whose sequence number was there before; it is left out.
    Repeated {
        /// The sequence number.
        seq: u64,
    },
    /// Sequence numbers that are not in the journal, both ends included.
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// An exchange began or ended a second time; the second is left out.
    RepeatedExchange {
        /// The exchange.
        id: u64,
    },
    /// The end of an exchange whose begin is not there.
    Orphan {
        /// The exchange.
        id: u64,
    },
    /// A connection was set up or ended a second time; the second is left out.
    RepeatedConnection {
        /// The connection.
        id: u64,
    },
    /// Records without the `open` that they belong to.
    NoOpen,
    /// An `open` record of another recording.
    Foreign,
    /// The manifest says that the recorder ended in order; the journal does not.
    Unclosed,
    /// The manifest is missing or damaged; what it would say is taken from the journal.
    Manifest,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span { offset, len } = self.span;
        let at = format_args!("journal byte {offset}");
        match &self.kind {
            DamageKind::Garbled => write!(f, "{at}: {len} bytes that are not a record"),
            DamageKind::Unknown {
                format: Some(version),
            } => write!(f, "{at}: record of format version {version}"),
            DamageKind::Unknown { format: None } => write!(f, "{at}: {}", LineError::Unknown),
            DamageKind::Repeated { seq } => write!(f, "{at}: record number {seq} is repeated"),
            DamageKind::Missing { from, to } => {
                write!(f, "{at}: records {from} to {to} are missing before it")
            }
            DamageKind::RepeatedExchange { id } => {
                write!(f, "{at}: a second begin or end of exchange {id}")
            }
            DamageKind::Orphan { id } => {
                write!(f, "{at}: the end of exchange {id}, which has no begin")
            }
            DamageKind::RepeatedConnection { id } => {
                write!(f, "{at}: connection {id} is opened or closed a second time")
            }
            DamageKind::NoOpen => write!(f, "{at}: no open record before this one"),
            DamageKind::Foreign => write!(f, "{at}: a run of another recording"),
            DamageKind::Unclosed => write!(f, "{at}: the journal ends without a close"),
            DamageKind::Manifest => f.write_str("the manifest is missing or damaged"),
        }
    }
}

/// What a scan found besides records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is wrong, by offset; missing numbers last.
    pub damage: Vec<Damage>,
    /// Bytes after the last record that are none: a recorder was killed while it wrote.
    pub(crate) tail: Option<Span>,
    /// The highest sequence number; 0 without records.
    pub(crate) last_seq: u64,
    /// Bytes read.
    pub(crate) bytes: u64,
}

/// Reads a journal to its end and hands over each record with its place.
///
/// A line that fails is searched for records: a killed recorder leaves half a line, and the next
/// one's first record follows on it. Fails only where `input` does.
pub fn scan<L: Line>(mut input: impl BufRead, each: impl FnMut(Span, L)) -> io::Result<Findings> {
    let mut scan = Scan {
        each,
        line: PhantomData,
        findings: Findings::default(),
        missing: BTreeMap::new(),
        pending: None,
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        let offset = scan.findings.bytes;
        let read = input
            .by_ref()
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(scan.finish());
        }
        scan.findings.bytes += read as u64;
        scan.line(offset, &line);
    }
}

struct Scan<L, F> {
    each: F,
    line: PhantomData<L>,
    findings: Findings,
    /// First missing sequence number to the last one and the offset before which they are missing.
    missing: BTreeMap<u64, (u64, u64)>,
    /// Bytes that are not a record: damage if a record follows, else the torn tail.
    pending: Option<Span>,
}

impl<L: Line, F: FnMut(Span, L)> Scan<L, F> {
    fn line(&mut self, offset: u64, line: &[u8]) {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match L::parse_line(text) {
            Ok(record) => self.record(span(offset, text), record),
            Err(LineError::Unknown) => self.unknown(span(offset, text), text),
            Err(LineError::Shape | LineError::Checksum) => self.search(offset, line),
        }
    }

    /// Tries every offset in a failed line where a record could start.
    fn search(&mut self, offset: u64, line: &[u8]) {
        let mut taken = 0;
        for start in starts(line) {
            if start < taken {
                continue;
            }
            let Some(len) = verified_len(&line[start..]) else {
                continue;
            };
            self.garbled(offset + taken as u64, start - taken);
            taken = start + len;
            let text = &line[start..taken];
            let span = span(offset + start as u64, text);
            match L::parse_line(text) {
                Ok(record) => self.record(span, record),
                Err(_) => self.unknown(span, text),
            }
        }
        let rest = &line[taken..];
        if taken == 0 || rest != b"\n" {
            self.garbled(offset + taken as u64, rest.len());
        }
    }

    fn garbled(&mut self, offset: u64, len: usize) {
        let len = len as u64;
        match &mut self.pending {
            _ if len == 0 => {}
            Some(pending) if pending.end() == offset => pending.len += len,
            Some(_) | None => {
                self.settle();
                self.pending = Some(Span { offset, len });
            }
        }
    }

    /// Something verified follows: what is pending is damage, not a torn tail.
    fn settle(&mut self) {
        if let Some(span) = self.pending.take() {
            self.damage(span, DamageKind::Garbled);
        }
    }

    fn damage(&mut self, span: Span, kind: DamageKind) {
        self.findings.damage.push(Damage { span, kind });
    }

    fn unknown(&mut self, span: Span, line: &[u8]) {
        self.settle();
        #[derive(Deserialize)]
        struct Any {
            seq: Option<u64>,
            r#type: Option<String>,
            format: Option<u32>,
        }
        let any = split_line(line).and_then(|(_, text)| serde_json::from_slice::<Any>(text).ok());
        let format = any
            .as_ref()
            .filter(|any| any.r#type.as_deref() == Some("open"))
            .and_then(|any| any.format);
        self.damage(span, DamageKind::Unknown { format });
        if let Some(seq) = any.and_then(|any| any.seq) {
            // It holds its number: what is known to be there is not missing too.
            self.number(span, seq);
        }
    }

    fn record(&mut self, span: Span, record: L) {
        self.settle();
        if self.number(span, record.seq()) {
            (self.each)(span, record);
        } else {
            self.damage(span, DamageKind::Repeated { seq: record.seq() });
        }
    }

    /// Notes that `seq` is there; false if it was there before.
    fn number(&mut self, span: Span, seq: u64) -> bool {
        let last = self.findings.last_seq;
        if seq > last {
            if seq - last > 1 {
                self.missing.insert(last + 1, (seq - 1, span.offset));
            }
            self.findings.last_seq = seq;
            return true;
        }
        let Some((&from, &(to, offset))) = self.missing.range(..=seq).next_back() else {
            return false;
        };
        if seq > to {
            return false;
        }
        self.missing.remove(&from);
        if from < seq {
            self.missing.insert(from, (seq - 1, offset));
        }
        if seq < to {
            self.missing.insert(seq + 1, (to, offset));
        }
        true
    }

    fn finish(mut self) -> Findings {
        for (from, (to, offset)) in std::mem::take(&mut self.missing) {
            self.damage(Span { offset, len: 0 }, DamageKind::Missing { from, to });
        }
        self.findings.tail = self.pending;
        self.findings
    }
}

fn span(offset: u64, text: &[u8]) -> Span {
    let len = text.len() as u64;
    Span { offset, len }
}

/// The length of the record that a line starts with, if it verifies: to where its JSON text ends.
///
/// Linear over all starts of a line together: where one start lies in a string of another's text,
/// quotes open for one what they close for the other, so the next start ends one of the two.
fn verified_len(line: &[u8]) -> Option<usize> {
    let (crc, text) = split_line(line)?;
    let mut values = Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let text = &text[..values.byte_offset()];
    (crc32c::crc32c(text) == crc).then_some(9 + text.len())
}

/// The offsets where eight hexadecimal digits, a space and `{` stand.
fn starts(line: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut rest = line;
    // Braces are rare in what is no record, and `skip_until` finds them as fast as memchr(3) can.
    let behind_braces = std::iter::from_fn(move || match rest.skip_until(b'{') {
        Ok(skipped) if skipped > 0 => Some(line.len() - rest.len()),
        _ => None,
    });
    behind_braces
        .filter_map(|end| end.checked_sub(10))
        .filter(|start| split_line(&line[*start..]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::format::{Event, Record};
    use crate::recording::sample;

    fn scanned(journal: &[u8]) -> (Vec<(Span, Record)>, Findings) {
        let mut records = Vec::new();
        let findings = scan(journal, |span, record| records.push((span, record))).unwrap();
        (records, findings)
    }

    fn numbers(journal: &[u8]) -> Vec<u64> {
        let (records, _) = scanned(journal);
        records.iter().map(|(_, record)| record.seq).collect()
    }

    /// The sample's lines; tests that take some away or change some join them again.
    fn lines() -> Vec<Vec<u8>> {
        sample::lines(1, sample::events())
    }

    fn kinds(findings: &Findings) -> Vec<DamageKind> {
        findings
            .damage
            .iter()
            .map(|damage| damage.kind.clone())
            .collect()
    }

    #[test]
    fn an_intact_journal_has_all_its_records_and_no_damage() {
        let journal = sample::journal();
        let (records, findings) = scanned(&journal);
        assert_eq!(findings.damage, []);
        assert_eq!(findings.tail, None);
        assert_eq!(findings.last_seq, 13);
        assert_eq!(findings.bytes, journal.len() as u64);
        for (span, record) in &records {
            let line = &journal[span.offset as usize..span.end() as usize];
            assert_eq!(Record::parse_line(line).as_ref(), Ok(record));
        }
        assert_eq!(numbers(&journal), (1..=13).collect::<Vec<_>>());
    }

    #[test]
    fn a_record_behind_half_a_line_is_found() {
        let mut lines = lines();
        lines[4].truncate(31);
        let (records, findings) = scanned(&lines.concat());
        assert_eq!(records.len(), 12);
        let missing = DamageKind::Missing { from: 5, to: 5 };
        assert_eq!(kinds(&findings), [DamageKind::Garbled, missing]);
        assert_eq!(findings.damage[0].span.len, 31);
    }

    #[test]
    fn a_lost_line_feed_loses_no_record() {
        for line in 0..12 {
            let mut lines = lines();
            lines[line].pop();
            let (records, findings) = scanned(&lines.concat());
            assert_eq!(records.len(), 13, "line {line}");
            assert_eq!(findings.damage, []);
        }
    }

    #[test]
    fn a_changed_line_feed_loses_no_record_and_is_noticed() {
        for line in 0..12 {
            let mut lines = lines();
            *lines[line].last_mut().unwrap() ^= 1;
            let (records, findings) = scanned(&lines.concat());
            assert_eq!(records.len(), 13, "line {line}");
            assert_eq!(kinds(&findings), [DamageKind::Garbled], "line {line}");
        }
    }

    #[test]
    fn half_a_last_line_is_a_torn_tail_and_no_damage() {
        let journal = sample::journal();
        let (_, whole) = scanned(&journal);
        let cut = journal.len() - 20;
        let (records, findings) = scanned(&journal[..cut]);
        assert_eq!(records.len(), 12);
        assert_eq!(findings.damage, []);
        assert_eq!(findings.tail.unwrap().end(), cut as u64);
        assert_eq!(whole.tail, None);
    }

    #[test]
    fn bytes_that_never_reached_the_disk_are_one_torn_tail() {
        let mut journal = sample::journal();
        journal.extend([0; 4096]);
        journal.extend(b"\n\n\0\n");
        let (records, findings) = scanned(&journal);
        assert_eq!(records.len(), 13);
        assert_eq!(findings.damage, []);
        assert_eq!(findings.tail.unwrap().len, 4100);
    }

    #[test]
    fn a_line_that_is_there_twice_counts_once() {
        let mut lines = lines();
        let again = lines[2].clone();
        lines.insert(6, again);
        let (records, findings) = scanned(&lines.concat());
        assert_eq!(records.len(), 13);
        assert_eq!(kinds(&findings), [DamageKind::Repeated { seq: 3 }]);
    }

    #[test]
    fn lines_in_another_order_are_neither_missing_nor_repeated() {
        let mut lines = lines();
        lines[3..9].reverse();
        let (records, findings) = scanned(&lines.concat());
        assert_eq!(records.len(), 13);
        assert_eq!(findings.damage, []);
    }

    #[test]
    fn lost_lines_are_missing_by_number() {
        let mut lines = lines();
        lines.drain(4..7);
        let (_, findings) = scanned(&lines.concat());
        assert_eq!(kinds(&findings), [DamageKind::Missing { from: 5, to: 7 }]);
    }

    #[test]
    fn a_record_of_a_kind_to_come_is_reported_and_passed_over() {
        let text = r#"{"seq":3,"t_us":1,"type":"push","of":"h3"}"#;
        let mut lines = lines();
        lines[2] = format!("{:08x} {text}\n", crc32c::crc32c(text.as_bytes())).into_bytes();
        let (records, findings) = scanned(&lines.concat());
        assert_eq!(records.len(), 12);
        assert_eq!(kinds(&findings), [DamageKind::Unknown { format: None }]);
    }

    #[test]
    fn a_line_without_end_is_cut_and_searched() {
        let mut journal = vec![0; LINE_LIMIT as usize + 5];
        journal.extend(sample::journal());
        let (records, findings) = scanned(&journal);
        assert_eq!(records.len(), 13);
        assert_eq!(kinds(&findings), [DamageKind::Garbled]);
        assert_eq!(findings.damage[0].span.len, LINE_LIMIT + 5);
    }

    #[test]
    fn what_looks_like_a_record_inside_a_record_is_none() {
        let inner = format!("{:08x} {{}}", crc32c::crc32c(b"{}"));
        let Event::Begin(mut begin) = sample::begin(1) else {
            unreachable!()
        };
        begin.url = format!("https://example.com/?{inner}");
        let mut lines = sample::lines(
            1,
            vec![sample::open(), Event::Begin(begin), sample::close()],
        );
        lines[1].pop();
        let (records, findings) = scanned(&lines.concat());
        assert_eq!(records.len(), 3);
        assert_eq!(findings.damage, []);
    }
}
