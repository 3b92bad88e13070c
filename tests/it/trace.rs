//! `modtape export trace`: what it writes is what the trace event format demands, for whatever it is
//! made of.
//!
//! The checks are those of the format's description: every event has a name, a phase, a time and a lane;
//! a complete event has a duration; slices of one lane nest or do not overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::pcapng::sample::rich;
use crate::record::record;
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(180);

fn exported(sandbox: &Sandbox, dir: &Path, options: &[&str]) -> Vec<Value> {
    let dir = dir.to_str().expect("paths of tests are text");
    let mut args = vec!["export", "trace", dir];
    args.extend(options);
    let output = run(sandbox.modtape(args), LIMIT);
    let mut trace: Value = serde_json::from_str(&output.expect_success().stdout).expect("JSON");
    assert_eq!(trace["displayTimeUnit"], "ms");
    let events = trace["traceEvents"].take();
    serde_json::from_value(events).expect("a list of events")
}

fn number(event: &Value, key: &str) -> u64 {
    let number = event[key].as_u64();
    number.unwrap_or_else(|| panic!("{key} of {event:#}"))
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    let text = event[key].as_str();
    text.unwrap_or_else(|| panic!("{key} of {event:#}"))
}

fn of<'a>(events: &'a [Value], category: &str) -> Vec<&'a Value> {
    let events = events.iter();
    events.filter(|event| event["cat"] == category).collect()
}

type Lane = (u64, u64);

fn lane(event: &Value) -> Lane {
    (number(event, "pid"), number(event, "tid"))
}

/// Checks all events; gives the names of the lanes.
#[track_caller]
fn check(events: &[Value]) -> BTreeMap<Lane, String> {
    let mut names = BTreeMap::new();
    let mut slices: BTreeMap<Lane, Vec<(u64, u64)>> = BTreeMap::new();
    for event in events {
        assert!(!text(event, "name").is_empty(), "{event:#}");
        let (ts, lane) = (number(event, "ts"), lane(event));
        match text(event, "ph") {
            "X" => slices
                .entry(lane)
                .or_default()
                .push((ts, ts + number(event, "dur"))),
            "i" => assert_eq!(event["s"], "t", "{event:#}"),
            "C" => assert!(event["args"]["requests"].is_u64(), "{event:#}"),
            "M" => {
                if event["name"] == "thread_name" {
                    let name = text(&event["args"], "name").to_owned();
                    assert_eq!(names.insert(lane, name), None, "{event:#}");
                }
            }
            _ => panic!("{event:#}"),
        }
    }
    for (lane, mut slices) in slices {
        assert!(names.contains_key(&lane), "lane {lane:?} has no name");
        // The longer of two that begin together is the outer one.
        slices.sort_by_key(|(from, to)| (*from, std::cmp::Reverse(*to)));
        let mut open: Vec<(u64, u64)> = Vec::new();
        for slice in slices {
            while open.last().is_some_and(|(_, to)| *to <= slice.0) {
                open.pop();
            }
            if let Some(outer) = open.last() {
                assert!(slice.1 <= outer.1, "{slice:?} in {outer:?} of {lane:?}");
            }
            open.push(slice);
        }
    }
    names
}

#[tokio::test]
async fn every_outcome_is_drawn_by_the_rules_of_the_format() {
    let rich = rich().await;
    let sandbox = Sandbox::new();
    let sample = sandbox.join("recordings/one");
    let to = sample.clone();
    let written = tokio::task::spawn_blocking(move || crate::views::sample::write(&to));
    written.await.expect("no panic");
    for dir in [rich.recorded.recording.dir(), &sample] {
        let recording = modtape::recording::Recording::open(dir).expect("it opens");
        let events = exported(&sandbox, dir, &[]);
        let names = check(&events);
        let drawn: BTreeSet<_> = of(&events, "request")
            .into_iter()
            .map(|event| number(&event["args"], "id"))
            .collect();
        let rows = recording.rows().iter();
        assert_eq!(drawn, rows.map(|row| row.id).collect());
        assert!(names.values().any(|name| name.contains("connection 1")));
        for phase in of(&events, "phase") {
            assert!(number(phase, "dur") > 0, "{phase:#}");
        }
    }
}

#[test]
fn a_filter_leaves_the_other_exchanges_out() {
    let sandbox = Sandbox::new();
    let dir = sandbox.join("recordings/one");
    crate::views::sample::write(&dir);
    let events = exported(&sandbox, &dir, &["-f", "kind:zip"]);
    check(&events);
    let requests = of(&events, "request");
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request["args"]["kind"], "zip");
    }
}

#[test]
fn a_run_of_the_go_command_has_lanes_for_its_streams_and_its_processes() {
    let sandbox = Sandbox::new();
    let Some(content) = Content::corpus("hello", Sumdb::Proxy) else {
        return;
    };
    let (Some(go), Some(_)) = (sandbox.go("1.27"), sandbox.project("hello")) else {
        return;
    };
    let origin = Origin::start(content);
    let go = go.to_str().expect("paths of tests are text");
    let flags = ["--cold", "--no-har"];
    let command = record(&sandbox, &origin, &flags, &[go, "build", "./..."]);
    run(command, LIMIT).expect_success();
    let dir = sandbox.join("project/recordings/one");
    let events = exported(&sandbox, &dir, &[]);
    let names = check(&events);
    let is_lane = |part: &str| names.values().any(|name| name.contains(part));
    assert!(is_lane("proxy.golang.org") && is_lane("no request in flight"));
    assert!(of(&events, "request").len() > 3);
    let journal = fs::read_to_string(dir.join("journal.ndjson")).expect("a journal");
    let is_seen = journal.contains("\"type\":\"sample\"") && journal.contains("\"pid\":");
    assert_eq!(!of(&events, "process").is_empty(), is_seen);
}
