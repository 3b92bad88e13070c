//! One clock: journal, log, HAR and capture tell the same times of the same exchange.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use modtape::exchange::Phase;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::sample::rich;
use super::{Packet, packets};

/// What one of them tells: microseconds since 1970 of the start, and the phases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    start: i128,
    phases: BTreeMap<&'static str, u64>,
}

type ById = BTreeMap<u64, Told>;

fn micros(wall: &Value) -> i128 {
    let wall = OffsetDateTime::parse(wall.as_str().expect("a time"), &Rfc3339);
    let nanoseconds = wall.expect("a time").unix_timestamp_nanos();
    assert_eq!(nanoseconds % 1000, 0, "{nanoseconds}");
    nanoseconds / 1000
}

fn phases(of: impl Fn(&str) -> Option<u64>) -> BTreeMap<&'static str, u64> {
    let names = Phase::ALL.map(|phase| phase.name());
    names
        .into_iter()
        .filter_map(|name| Some((name, of(name)?)))
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
}

/// Read as text, without what modtape reads it with.
fn of_journal(dir: &Path) -> (i128, ById) {
    let journal = fs::read_to_string(dir.join("journal.ndjson")).expect("text");
    let checked: String = journal
        .lines()
        .map(|line| format!("{}\n", &line[9..]))
        .collect();
    let (mut wall, mut told) = (0, ById::new());
    for record in lines(&checked) {
        let id = record["id"].as_u64().unwrap_or_default();
        match record["type"].as_str().expect("a type") {
            "open" => wall = micros(&record["wall"]),
            "begin" => {
                let at = record["t_us"].as_u64().expect("a stamp");
                told.entry(id).or_default().start = wall + i128::from(at);
            }
            "end" | "abort" => {
                let us = |phase: &str| record["phases_us"][phase].as_u64();
                told.get_mut(&id).expect("it began").phases = phases(us);
            }
            _ => {}
        }
    }
    (wall, told)
}

fn of_log(log: &str, wall: i128) -> ById {
    let exchanges = lines(log).filter(|line| line["modtape.start_us"].is_u64());
    let told = exchanges.map(|line| {
        let us = |name: &str| line[format!("modtape.phases.{name}_us")].as_u64();
        let start = line["modtape.start_us"].as_u64().expect("a start");
        let start = wall + i128::from(start);
        let told = Told {
            start,
            phases: phases(us),
        };
        (line["modtape.exchange.id"].as_u64().expect("an id"), told)
    });
    told.collect()
}

/// Milliseconds to microseconds; `connect` without the `ssl` that HAR counts in it.
fn of_har(har: &Path) -> ById {
    let har: Value = serde_json::from_slice(&fs::read(har).expect("it is written")).expect("JSON");
    let entries = har["log"]["entries"].as_array().expect("entries");
    let told = entries.iter().map(|entry| {
        let us = |name: &str| {
            let ms = entry["timings"][name].as_f64().expect("a number");
            let us = ms * 1000.0;
            assert!((us - us.round()).abs() < 1e-3, "{name} {ms}");
            (ms >= 0.0).then_some(us.round() as u64)
        };
        let of = |phase: &str| match phase {
            "tls" => us("ssl"),
            "connect" => Some(us("connect")? - us("ssl").unwrap_or(0)),
            phase => us(phase),
        };
        let told = Told {
            start: micros(&entry["startedDateTime"]),
            phases: phases(of),
        };
        (entry["_modtape"]["id"].as_u64().expect("an id"), told)
    });
    told.collect()
}

/// A number that a comment tells.
fn number(comment: &str, key: &str) -> Option<u64> {
    let word = comment
        .split([' ', '\n'])
        .find_map(|word| word.strip_prefix(key));
    word?.strip_prefix('=')?.parse().ok()
}

/// What comments say, checked against the times of their packets.
fn of_capture(dir: &Path) -> ById {
    let packets = packets(&fs::read(dir.join("capture.pcapng")).expect("it is written"));
    let mut told = ById::new();
    for packet in &packets {
        let Some(id) = packet
            .comment
            .as_deref()
            .and_then(|comment| number(comment, "exchange"))
        else {
            continue;
        };
        let stream: Vec<_> = packets
            .iter()
            .filter(|other| other.stream() == packet.stream())
            .collect();
        let mut comments = stream.iter().filter_map(|packet| packet.comment.as_deref());
        let last = comments.next_back().expect("it has one");
        let us = |phase: &str| number(last, &format!("{phase}_us"));
        let phases = phases(us);
        assert_placed(&stream, &phases);
        let start = i128::from(stream[0].at / 1000);
        assert_eq!(stream[0].at % 1000, 0);
        told.insert(id, Told { start, phases });
    }
    told
}

/// SYN at the start, the request's first byte where it is sent, the answer's where waiting ends, and
/// the end where all is over.
fn assert_placed(stream: &[&Packet], phases: &BTreeMap<&str, u64>) {
    let after = |names: &[&str]| -> u64 {
        let us = names.iter().filter_map(|name| phases.get(name));
        stream[0].at + us.sum::<u64>() * 1000
    };
    let before = ["dns", "connect", "blocked", "tls"];
    assert_eq!(stream[1].at, after(&before[..2]), "{phases:?}");
    let mut commented = stream
        .iter()
        .filter(|packet| packet.has_payload() && packet.comment.is_some());
    let asked = commented.next().expect("a request");
    assert_eq!(asked.at, after(&before), "{phases:?}");
    let heard = [&before[..], &["send", "wait"]].concat();
    if let Some(answered) = commented.next() {
        assert_eq!(answered.at, after(&heard), "{phases:?}");
    }
    let over = [&heard[..], &["receive"]].concat();
    assert_eq!(
        stream.last().expect("an end").at,
        after(&over),
        "{phases:?}"
    );
}

#[tokio::test]
async fn journal_log_har_and_capture_tell_the_same_times() {
    let rich = rich().await;
    let dir = rich.recorded.recording.dir();
    let (wall, journal) = of_journal(dir);
    assert!(journal.len() > 80, "{}", journal.len());
    assert_eq!(of_log(&rich.log(), wall), journal, "the log");
    assert_eq!(of_capture(dir), journal, "the capture");
    // HAR has no way to say that these did not happen.
    let mut mandatory = journal;
    for told in mandatory.values_mut() {
        for phase in ["send", "wait", "receive"] {
            told.phases.entry(phase).or_insert(0);
        }
    }
    assert_eq!(of_har(&dir.join("session.har")), mandatory, "the HAR");
    for needed in ["HTTP/1.1", "HTTP/2"] {
        let rows = rich.recorded.exchanges();
        assert!(rows.iter().any(|exchange| exchange.begin.version == needed));
    }
}
