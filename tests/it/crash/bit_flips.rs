//! A journal that is cut or has a bit flipped: it opens or names its error, and loses at most the
//! record that was touched.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use modtape::recording::Recording;
use modtape::recording::format::{INDEX, JOURNAL, Record};
use modtape::recording::reader::scan::{Findings, scan};
use modtape::recording::reader::{Span, index};

use super::audit;
use super::random::Dice;
use crate::support::count;

fn sample() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/hello")
}

/// The first lines of a real journal: every kind but `abort` and `gap`, bodies inline and in files.
fn lines() -> Vec<Vec<u8>> {
    let journal = fs::read(sample().join(JOURNAL)).expect("the sample has a journal");
    let all: Vec<_> = journal.split_inclusive(|byte| *byte == b'\n').collect();
    let close = all.last().expect("it has lines");
    let first = all.iter().take(8).chain([close]);
    first.map(|line| line.to_vec()).collect()
}

fn scanned(journal: &[u8]) -> (Vec<Record>, Findings) {
    let mut records = Vec::new();
    let findings = scan(journal, |_, record| records.push(record));
    (records, findings.expect("memory can be read"))
}

#[test]
fn a_real_journal_cut_at_any_byte_loses_the_line_that_is_cut_and_no_other() {
    let journal = lines().concat();
    let (whole, _) = scanned(&journal);
    let mut wrong = Vec::new();
    for cut in 0..journal.len() {
        let (records, findings) = scanned(&journal[..cut]);
        let ended = journal[..cut].iter().filter(|c| **c == b'\n').count();
        // What lacks nothing but its line feed is whole.
        let expected = ended + usize::from(journal[cut] == b'\n' && cut > 0);
        if records[..] != whole[..expected] || !findings.damage.iter().all(is_missing_number) {
            wrong.push((cut, records.len(), findings.damage));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The lines between the eighth and the close are not there to begin with.
fn is_missing_number(damage: &modtape::recording::reader::Damage) -> bool {
    use modtape::recording::reader::DamageKind;
    matches!(damage.kind, DamageKind::Missing { .. })
}

#[test]
fn a_bit_flipped_anywhere_in_a_real_journal_is_noticed_and_loses_only_the_line_that_it_hits() {
    let lines = lines();
    let journal = lines.concat();
    let (whole, intact) = scanned(&journal);
    let mut dice = Dice::roll("flips");
    let flips = count(10_000, 100_000);
    let mut wrong = Vec::new();
    for _ in 0..flips {
        let bit = dice.below(journal.len() as u64 * 8) as usize;
        let mut flipped = journal.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (records, findings) = scanned(&flipped);
        let hit = journal[..bit / 8].iter().filter(|c| **c == b'\n').count();
        let kept = whole.iter().enumerate().filter(|(at, _)| *at != hit);
        let is_only = kept.clone().all(|(_, record)| records.contains(record));
        let is_made_up = records.iter().any(|record| !whole.contains(record));
        if findings == intact || !is_only || is_made_up {
            wrong.push(bit);
        }
    }
    assert!(wrong.is_empty(), "bits {wrong:?}");
    eprintln!("{flips} flips, all noticed");
}

#[test]
fn a_bit_flipped_after_a_recording_was_closed_is_damage_where_it_is_read() {
    let copy = tempfile::tempdir().expect("a temporary folder");
    audit::copy_folder(&sample(), copy.path());
    let path = copy.path().join(JOURNAL);
    index::rebuild(copy.path()).expect("our own folder");
    let journal = fs::read(&path).expect("a journal");
    let opened = Recording::open(copy.path()).expect("it opens");
    assert!(copy.path().join(INDEX).exists() && opened.damage().is_empty());
    let mut dice = Dice::roll("flips after closing");
    let mut silent = BTreeSet::new();
    for _ in 0..count(40, 400) {
        let bit = dice.below(journal.len() as u64 * 8) as usize;
        let mut flipped = journal.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, flipped).expect("our own file");
        let is_damaged = match Recording::open_whole(copy.path()) {
            Ok(recording) => !recording.damage().is_empty(),
            Err(_) => true,
        };
        // By the index: the exchange that it hit cannot be read, and what can be is as it was.
        let by_index = Recording::open(copy.path()).expect("the index is whole");
        let hit = |span: Span| (span.offset..span.offset + span.len).contains(&(bit as u64 / 8));
        let is_noticed = by_index
            .rows()
            .iter()
            .zip(opened.rows())
            .all(|(row, before)| {
                let is_hit = hit(row.begin) || row.end.is_some_and(hit);
                row == before && by_index.exchange(row).is_err() == is_hit
            });
        if !is_damaged || !is_noticed && by_index.damage().is_empty() {
            silent.insert(bit);
        }
    }
    assert_eq!(silent, BTreeSet::new());
}
