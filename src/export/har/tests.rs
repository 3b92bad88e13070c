use std::collections::BTreeSet;

use serde_json::Value;

use super::super::sample;
use super::*;
use crate::clock::Timestamp;

#[test]
fn every_entry_is_on_the_page_of_its_run() {
    let samples = sample::samples();
    let (har, losses) = sample::har_and_losses(&samples, Bodies::Small);
    let log: Value = serde_json::from_slice(&har).unwrap();
    let log = &log["log"];
    let pages = log["pages"].as_array().unwrap();
    let entries = log["entries"].as_array().unwrap();
    assert_eq!(pages.len(), 2);
    assert_eq!(entries.len(), samples.len());
    for (entry, sample) in entries.iter().zip(&samples) {
        assert_eq!(entry["pageref"], pages[sample.run as usize]["id"]);
    }
    let used: BTreeSet<_> = entries
        .iter()
        .map(|entry| entry["pageref"].as_str())
        .collect();
    assert_eq!(used.len(), 2);
    assert_eq!(pages[0]["title"], "go mod tidy");
    assert_eq!(pages[1]["title"], "recording r-1");
    assert_eq!((losses.missing.len(), losses.not_kept), (1, 1));
}

#[test]
fn a_recording_of_no_exchanges_is_still_a_har() {
    let log: Value = serde_json::from_slice(&sample::har(&[], Bodies::All)).unwrap();
    assert_eq!(log["log"]["version"], "1.2");
    assert_eq!(log["log"]["entries"], serde_json::json!([]));
    assert_eq!(log["log"]["creator"]["name"], "modtape");
}

#[test]
fn what_no_calendar_holds_is_left_out_and_named() {
    let stamps = [u64::MAX, i64::MAX as u64, 1 << 60];
    let samples = (1..).zip(stamps).map(|(id, stamp)| {
        let mut sample = sample::in_flight(id, sample::PROXY);
        sample.exchange.started = Timestamp::from_micros(stamp);
        sample
    });
    let samples: Vec<_> = samples.collect();
    let (_, losses) = sample::har_and_losses(&samples, Bodies::All);
    assert_eq!(losses.missing.len(), stamps.len());
    for missing in &losses.missing {
        assert!(missing.ends_with("its start is not a time"), "{missing}");
    }
}

#[test]
fn a_run_that_does_not_say_when_it_began_has_the_word_of_the_manifest() {
    let mut open = sample::open(&[]);
    open.wall = "yesterday".into();
    let samples = [sample::in_flight(1, sample::PROXY)];
    let (_dir, recording) = sample::recording_of(&samples, &[open]);
    let source = Source::of(&recording);
    let mut har = Vec::new();
    sample::write_har(&samples, &source, Bodies::All, &mut har).unwrap();
    let log: Value = serde_json::from_slice(&har).unwrap();
    let started = &log["log"]["entries"][0]["startedDateTime"];
    assert_eq!(started, "2026-11-23T00:00:00.000001Z");
    let missing = source.into_losses().missing;
    assert_eq!(
        missing,
        ["when run 1 began (taken to be 2026-11-22T23:59:59.999000Z)"]
    );
}

#[test]
fn times_are_utc_with_microseconds_and_carry_over_midnight() {
    let sample = sample::in_flight(1, sample::PROXY);
    let entry = sample::entry(sample.clone(), Bodies::All);
    assert_eq!(entry["startedDateTime"], "2026-11-23T00:00:00.000001Z");
    let mut open = sample::open(&[]);
    open.wall = "2026-11-22T12:00:00+08:00".into();
    let (_dir, recording) = sample::recording_of(&[sample], &[open]);
    let source = Source::of(&recording);
    let page = Page::new(0, &recording.runs()[0], source.walls()[0]);
    let started = page.time(recording.rows()[0].started).unwrap();
    assert_eq!(started, "2026-11-22T04:00:00.001001Z");
}

#[test]
fn an_output_that_takes_no_more_is_an_error() {
    let (_dir, recording) = sample::recording(&[]);
    let source = Source::of(&recording);
    let mut full = [0; 40];
    let har = Har::begin(full.as_mut_slice(), &source, Bodies::All).unwrap();
    let error = Box::new(har).finish().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
}
