//! What holds for any journal, manifest and index: for fuzz targets and their twins in the tests.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use super::format::{
    FORMAT_VERSION, INDEX, JOURNAL, MANIFEST, MANIFEST_KIND, Manifest, Record, State,
};
use super::line::{Line, Summary};
use super::manifest::{ManifestError, read_manifest};
use super::reader::scan::{DamageKind, Findings, Span, scan};
use super::reader::table::read_table;
use super::reader::{OpenError, index};
use super::{Recording, sample};
use crate::files::open_regular;
use crate::hostile::{checksummed, in_folder};

/// Any journal gives records and damage that account for each byte; the recording opens, and its
/// index tells the same as the journal.
///
/// Lines that begin with a brace get their checksum first.
pub fn journal(bytes: &[u8]) {
    thread_local!(static DIR: OnceCell<TempDir> = const { OnceCell::new() });
    let journal = checksummed(bytes);
    let (records, findings) = scanned::<Record>(&journal);
    account(&journal, &records, &findings);
    let (summaries, findings) = scanned::<Summary>(&journal);
    account(&journal, &summaries, &findings);
    in_folder(
        &DIR,
        |dir| sample::write(dir, &[], State::Closed),
        |dir| {
            let _ = fs::remove_file(dir.join(INDEX));
            write(dir, JOURNAL, &journal);
            let whole = match Recording::open_whole(dir) {
                Ok(whole) => whole,
                Err(OpenError::Version { .. }) => return,
                Err(error) => panic!("{error}"),
            };
            read_all(&whole);
            index::rebuild(dir).expect("the folder can be written to");
            if dir.join(INDEX).exists() {
                let by_index = Recording::open(dir).expect("it opened without the index");
                assert_eq!(by_index.table(), whole.table());
            }
        },
    );
}

/// Any manifest is read as what it says or is a named error, and the recording opens all the same
/// unless it is of another program or version.
pub fn manifest(bytes: &[u8]) {
    thread_local!(static DIR: OnceCell<TempDir> = const { OnceCell::new() });
    let fill = |dir: &Path| sample::write(dir, &sample::journal(), State::Closed);
    in_folder(&DIR, fill, |dir| {
        write(dir, MANIFEST, bytes);
        let read = read_manifest(dir);
        let opened = Recording::open_whole(dir);
        match (&read, &opened) {
            (Ok(read), Ok(opened)) => {
                assert_eq!(
                    (read.kind.as_str(), read.format),
                    (MANIFEST_KIND, FORMAT_VERSION)
                );
                assert_eq!(read, opened.manifest());
                let text = serde_json::to_vec(read).expect("a manifest can be written");
                assert_eq!(
                    &serde_json::from_slice::<Manifest>(&text).expect("and read"),
                    read
                );
            }
            (Err(ManifestError::Foreign), Err(OpenError::NotARecording { .. }))
            | (Err(ManifestError::Version(_)), Err(OpenError::Version { .. })) => {}
            (Err(ManifestError::Damaged(_)), Ok(opened)) => {
                assert_eq!(
                    opened.damage().first().map(|damage| &damage.kind),
                    Some(&DamageKind::Manifest)
                );
                assert!(!opened.manifest().redacted && !opened.manifest().replayable.complete);
            }
            odd => panic!("{odd:?}"),
        }
    });
}

/// Any index beside a good journal tells the same as the journal, or its rows lead to records that
/// say otherwise, or it is passed over; the recording always opens.
///
/// Lines that begin with a brace get their checksum first, and so do the rows behind them.
pub fn index(bytes: &[u8]) {
    thread_local!(static DIR: OnceCell<TempDir> = const { OnceCell::new() });
    let fill = |dir: &Path| sample::write(dir, &sample::journal(), State::Closed);
    in_folder(&DIR, fill, |dir| {
        write(dir, INDEX, &checksummed_index(bytes));
        let recording = Recording::open(dir).expect("the journal is good");
        let journal = open_regular(&dir.join(JOURNAL)).expect("it is there");
        let truth = read_table(&journal, None).expect("it can be read");
        for row in recording.rows() {
            if recording.exchange(row).is_ok() {
                let same = truth.rows.iter().find(|other| other.begin == row.begin);
                let same = same.expect("what was read is an exchange's begin");
                let told = (
                    &row.method,
                    &row.url,
                    row.status,
                    row.bytes,
                    row.body,
                    row.end,
                    (row.started, row.phases, row.own_us),
                );
                let true_ones = (
                    &same.method,
                    &same.url,
                    same.status,
                    same.bytes,
                    same.body,
                    same.end,
                    (same.started, same.phases, same.own_us),
                );
                assert!(row.end.is_none() || told == true_ones, "{row:?}\n{same:?}");
            }
        }
        let samples = recording.samples().iter().map(|row| Some(row.line));
        let spans = recording
            .rows()
            .iter()
            .flat_map(|row| [Some(row.begin), row.end])
            .chain(samples);
        let read = spans
            .flatten()
            .fold(0_u64, |sum, span| sum.saturating_add(span.len));
        assert!(
            read <= truth.journal_bytes,
            "{read} bytes of {} would be read",
            truth.journal_bytes
        );
        read_all(&recording);
    });
}

fn checksummed_index(bytes: &[u8]) -> Vec<u8> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.take_while(|line| line.starts_with(b"{"));
    let (lines, rows) = bytes.split_at(lines.map(<[u8]>::len).sum());
    let digits = format!("{:08x} ", crc32c::crc32c(rows));
    [&checksummed(lines), digits.as_bytes(), rows].concat()
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).expect("the folder can be written to");
}

fn scanned<L: Line>(journal: &[u8]) -> (Vec<(Span, u64)>, Findings) {
    let mut records = Vec::new();
    let findings = scan(journal, |span: Span, record: L| {
        records.push((span, record.seq()))
    });
    (records, findings.expect("memory can be read"))
}

/// Records, damage and torn tail lie within the journal and cover it, but for line feeds; no number
/// comes twice.
fn account(journal: &[u8], records: &[(Span, u64)], findings: &Findings) {
    assert_eq!(findings.bytes, journal.len() as u64);
    let mut covered = vec![false; journal.len()];
    let damaged = findings.damage.iter().map(|damage| damage.span);
    let spans = records
        .iter()
        .map(|(span, _)| *span)
        .chain(damaged)
        .chain(findings.tail);
    for span in spans {
        let (start, end) = (span.offset as usize, span.end() as usize);
        for byte in &mut covered[start..end] {
            assert!(!*byte, "{span:?} was accounted for before");
            *byte = true;
        }
    }
    let lost = journal
        .iter()
        .zip(&covered)
        .position(|(byte, covered)| !covered && *byte != b'\n');
    assert_eq!(lost, None, "a byte that nothing accounts for");
    assert!(records.is_sorted_by_key(|(span, _)| span.offset));
    let mut numbers: Vec<u64> = records.iter().map(|(_, seq)| *seq).collect();
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
}

/// Reads all that a command can read, as far as it can be read.
fn read_all(recording: &Recording) {
    for row in recording.rows() {
        let Ok(exchange) = recording.exchange(row) else {
            continue;
        };
        assert_eq!((exchange.begin.id, &exchange.begin.url), (row.id, &row.url));
        if let Some(body) = exchange.end().and_then(|end| end.body.as_ref()) {
            let bytes = recording.body(body).ok().map(io::read_to_string);
            assert!(bytes.is_none_or(|bytes| {
                bytes.map_or(true, |bytes| bytes.len() as u64 == body.bytes)
            }));
        }
    }
    for row in recording.samples() {
        let _ = recording.sample(row);
    }
    let _ = (
        recording.name(),
        recording.connection(1),
        recording.status(),
    );
    for damage in recording.damage() {
        assert!(!damage.to_string().chars().any(char::is_control));
    }
}

#[cfg(test)]
mod tests {
    use crate::hostile::twin;

    #[test]
    fn any_journal_is_accounted_for() {
        twin("journal", 200, super::journal);
    }

    #[test]
    fn any_manifest_is_read_or_named() {
        twin("manifest", 200, super::manifest);
    }

    #[test]
    fn any_index_leads_into_the_journal_or_is_passed_over() {
        twin("index", 200, super::index);
    }

    /// A seed that is passed over at its first line shows nothing.
    #[test]
    fn the_index_seed_is_one_that_would_be_read() {
        let dir = tempfile::tempdir().unwrap();
        super::sample::write(dir.path(), &super::sample::journal(), super::State::Closed);
        super::index::rebuild(dir.path()).unwrap();
        let index = std::fs::read(dir.path().join(super::INDEX)).unwrap();
        let seed = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/index/whole");
        let seed = std::fs::read(seed).unwrap();
        assert_eq!(super::checksummed_index(&seed), index);
    }
}
