//! Whatever the bytes: a recording or a named error, and no more lost than was touched.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::scan::{Findings, scan};
use super::*;
use crate::recording::format::{INDEX, MANIFEST};
use crate::recording::sample;

fn lines() -> Vec<Vec<u8>> {
    sample::lines(1, sample::events())
}

fn scanned(journal: &[u8]) -> (Vec<Record>, Findings) {
    let mut records = Vec::new();
    let findings = scan(journal, |span: Span, record| {
        assert!(span.end() <= journal.len() as u64);
        records.push(record);
    });
    (records, findings.unwrap())
}

/// Opens by journal and, where there is one, by index; reads all that can be read.
fn read_all(dir: &Path) {
    for opened in [Recording::open(dir), Recording::open_whole(dir)] {
        let Ok(recording) = opened else { continue };
        for row in recording.rows() {
            let Ok(exchange) = recording.exchange(row) else {
                continue;
            };
            if let Some(body) = exchange.end().and_then(|end| end.body.as_ref()) {
                let _ = recording.body(body).map(io::read_to_string);
            }
        }
        let _ = (recording.name(), recording.connection(1));
    }
}

fn write(journal: &[u8], manifest: Option<&[u8]>, index: Option<&[u8]>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    sample::write(dir.path(), journal, State::Open);
    if let Some(manifest) = manifest {
        std::fs::write(dir.path().join(MANIFEST), manifest).unwrap();
    }
    if let Some(index) = index {
        std::fs::write(dir.path().join(INDEX), index).unwrap();
    }
    dir
}

/// What hostile journals are made of: whole lines, parts of lines, what looks like one, and noise.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(lines());
    let part = (
        line.clone(),
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
    );
    let verified = vec(any::<u8>(), 0..60).prop_map(|noise| {
        let text = [b"{", &noise[..], b"}"].concat();
        let crc = format!("{:08x} ", crc32c::crc32c(&text));
        [crc.as_bytes(), &text, b"\n"].concat()
    });
    prop_oneof![
        4 => line,
        4 => part.prop_map(|(line, a, b)| {
            let (a, b) = (a.index(line.len()), b.index(line.len()));
            line[a.min(b)..a.max(b)].to_vec()
        }),
        1 => verified,
        1 => "[0-9a-f]{8} \\{[\"\\{\\[:,a]{0,9}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..40),
    ]
}

/// A change of one place; the place is taken modulo the length.
#[derive(Debug, Clone)]
enum Change {
    Flip(usize, u8),
    Insert(usize, u8),
    Remove(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        any::<usize>().prop_map(Change::Remove),
    ]
}

/// The journal with one change, and the number of the line that it touched.
fn changed(lines: &mut [Vec<u8>], change: &Change) -> u64 {
    let (Change::Flip(at, _) | Change::Insert(at, _) | Change::Remove(at)) = change;
    let len: usize = lines.iter().map(Vec::len).sum();
    let mut at = at % len;
    let mut number = 0;
    while at >= lines[number].len() {
        at -= lines[number].len();
        number += 1;
    }
    match change {
        Change::Flip(_, bit) => lines[number][at] ^= 1 << bit,
        Change::Insert(_, byte) => lines[number].insert(at, *byte),
        Change::Remove(_) => drop(lines[number].remove(at)),
    }
    number as u64 + 1
}

#[test]
fn a_cut_at_every_byte_loses_only_the_line_that_it_cuts() {
    let journal = sample::journal();
    let ends: Vec<usize> = lines()
        .iter()
        .scan(0, |end, line| {
            *end += line.len();
            Some(*end)
        })
        .collect();
    let (whole, _) = scanned(&journal);
    for cut in 0..journal.len() {
        let (records, findings) = scanned(&journal[..cut]);
        // A line that lacks nothing but its line feed is whole.
        let expected = ends.iter().filter(|end| **end <= cut + 1).count();
        assert_eq!(records, whole[..expected], "cut at {cut}");
        assert_eq!(findings.damage, [], "cut at {cut}");
        let torn = !ends.contains(&cut) && !ends.contains(&(cut + 1)) && cut > 0;
        assert_eq!(findings.tail.is_some(), torn, "cut at {cut}");
    }
}

#[test]
fn a_flip_at_every_byte_is_noticed_and_loses_only_the_line_that_it_hits() {
    let (whole, _) = scanned(&sample::journal());
    for at in 0..sample::journal().len() {
        let mut lines = lines();
        let hit = changed(&mut lines, &Change::Flip(at, (at % 8) as u8));
        let (records, findings) = scanned(&lines.concat());
        assert!(
            !findings.damage.is_empty() || findings.tail.is_some(),
            "byte {at}"
        );
        let kept = |record: &&Record| record.seq != hit || records.contains(record);
        assert!(records.iter().eq(whole.iter().filter(kept)), "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_open_or_name_their_error(
        journal in vec(any::<u8>(), 0..400),
        manifest in prop::option::of(vec(any::<u8>(), 0..100)),
        index in prop::option::of(vec(any::<u8>(), 0..100)),
    ) {
        read_all(write(&journal, manifest.as_deref(), index.as_deref()).path());
    }

    #[test]
    fn pieces_of_journals_open_or_name_their_error(pieces in vec(piece(), 0..24)) {
        let journal = pieces.concat();
        let (records, findings) = scanned(&journal);
        let known = sample::events();
        for record in &records {
            prop_assert!(known.contains(&record.event), "made up: {record:?}");
        }
        let numbers: BTreeSet<u64> = records.iter().map(|record| record.seq).collect();
        prop_assert_eq!(numbers.len(), records.len());
        prop_assert_eq!(findings.bytes, journal.len() as u64);
        read_all(write(&journal, None, Some(&journal)).path());
        read_all(write(&journal, Some(b"{"), None).path());
    }

    #[test]
    fn changes_lose_no_line_that_they_do_not_touch(changes in vec(change(), 1..6)) {
        let mut lines = lines();
        let touched: BTreeSet<u64> =
            changes.iter().map(|change| changed(&mut lines, change)).collect();
        let (records, _) = scanned(&lines.concat());
        let (whole, _) = scanned(&sample::journal());
        for record in &whole {
            let kept = records.contains(record);
            prop_assert!(kept || touched.contains(&record.seq), "{} is lost", record.seq);
        }
        prop_assert!(records.iter().all(|record| whole.contains(record)));
    }

    #[test]
    fn what_a_row_tells_is_what_its_exchange_tells(changes in vec(change(), 0..3)) {
        let mut lines = lines();
        for change in &changes {
            changed(&mut lines, change);
        }
        let dir = write(&lines.concat(), None, None);
        let Ok(recording) = Recording::open(dir.path()) else { return Ok(()) };
        for row in recording.rows() {
            let exchange = recording.exchange(row).unwrap();
            prop_assert_eq!(&row.url, &exchange.begin.url);
            prop_assert_eq!(row.status, exchange.status());
            prop_assert_eq!(row.phases, exchange.timings());
            prop_assert_eq!(row.bytes, exchange.body_bytes());
            prop_assert_eq!(row.started, exchange.started);
        }
    }
}
