//! What holds for any recorded and asked URLs: for a fuzz target and its twin.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::index::{exact_key, without_query};
use super::{AnswerError, Conditions, Hit, Replay};
use crate::clock::Timestamp;
use crate::exchange::{Begin, ByteString, End, Hex, MadeBy, Phase, Timings};
use crate::gomod::{Route, replay_key};
use crate::hostile::in_folder;
use crate::recording::Recording;
use crate::recording::format::{Event, FORMAT_VERSION, JOURNAL, Manifest, Open, Record, RunMode};
use crate::recording::manifest::write_manifest;

/// Recorded lines are found, and what is given for a line that was asked has its meaning.
///
/// A line is `METHOD URL`, behind a `+` if it was recorded, behind a `>` if it was recorded as a
/// redirect to the next line's URL, and else asked.
pub fn matcher(bytes: &[u8]) {
    thread_local!(static DIR: OnceCell<TempDir> = const { OnceCell::new() });
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().take(64).collect();
    in_folder(&DIR, manifest, |dir| {
        let recorded = record(dir, &lines);
        let replay = Replay::new(
            Recording::open_whole(dir).expect("it was just written"),
            "again".into(),
        );
        for (method, url) in lines.iter().filter_map(|line| request(line)) {
            let found = replay.find(method, url, &Conditions::default());
            let is_recorded = recorded.contains(&(method, url));
            match found {
                Ok(hit) => fits(&replay, method, url, &hit),
                Err(AnswerError::Miss(told)) => {
                    assert!(!is_recorded, "{method} {url} is recorded: {told}");
                    assert!(told.lines().count() >= 2);
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
}

/// A hit has the method that was asked, and the meaning, in one of the ways that replay knows.
fn fits(replay: &Replay, method: &str, url: &str, hit: &Hit) {
    let begin = &hit.exchange.begin;
    assert_eq!(begin.method, method);
    let bases = replay.bases();
    let is_exact = exact_key(method, &begin.url) == exact_key(method, url);
    let key = replay_key(url, bases);
    let is_same_module = key.is_some() && key == replay_key(&begin.url, bases);
    let is_path = without_query(&begin.url) == without_query(url);
    let (asked, given) = (Route::of(url, bases), Route::of(&begin.url, bases));
    let is_tile = matches!((asked.tile, given.tile), (Some(asked), Some(given)) if asked.is_cut_from(&given))
        && asked.sumdb == given.sumdb;
    assert!(
        is_exact || is_same_module || is_path || is_tile,
        "{url} is answered by {}",
        begin.url
    );
    assert!(hit.cut.is_none() || is_tile);
}

fn request(line: &str) -> Option<(&str, &str)> {
    line.trim_start_matches(['+', '>']).split_once(' ')
}

/// Writes a journal of the marked lines; those that can be asked for again.
fn record<'a>(dir: &Path, lines: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let mut recorded = Vec::new();
    let mut events = vec![open()];
    for (number, line) in lines.iter().enumerate() {
        let Some((method, url)) = request(line).filter(|_| line.starts_with(['+', '>'])) else {
            continue;
        };
        let next = lines
            .get(number + 1)
            .and_then(|next| request(next))
            .map(|(_, url)| url);
        let to = next.filter(|_| line.starts_with('>'));
        let id = number as u64 + 1;
        events.extend([begin(id, method, url), end(id, to)]);
        recorded.push((method, url));
    }
    let lines = (1..).zip(events).map(|(seq, event)| {
        Record {
            seq,
            t_us: Timestamp::from_micros(seq),
            event,
        }
        .to_line()
    });
    fs::write(dir.join(JOURNAL), lines.collect::<Vec<_>>().concat())
        .expect("the folder can be written to");
    recorded
}

/// Of a recording whose modules may come from either of two hosts.
pub(super) fn manifest(dir: &Path) {
    let env = [
        (
            "GOPROXY",
            "https://proxy.golang.org,https://goproxy.corp/api/go|direct",
        ),
        ("GOSUMDB", "sum.golang.org"),
    ];
    let manifest = Manifest {
        mode: Some(RunMode::Mitm),
        go_env: env.map(|(name, value)| (name.into(), value.into())).into(),
        ..Manifest::begun(
            "modtape",
            "0190c1d2".into(),
            "2026-11-22T04:52:00Z".into(),
            Hex([7; 16]),
        )
    };
    write_manifest(dir, &manifest).expect("the folder can be written to");
}

pub(super) fn open() -> Event {
    Event::Open(Open {
        added_by: None,
        format: FORMAT_VERSION,
        recording: "0190c1d2".into(),
        wall: "2026-11-22T04:52:00Z".into(),
        trace: Hex([7; 16]),
        tool: "modtape".into(),
        command: Vec::new(),
    })
}

pub(super) fn begin(id: u64, method: &str, url: &str) -> Event {
    Event::Begin(Begin {
        id,
        connection: 1,
        span: Hex([1; 8]),
        method: method.into(),
        url: url.into(),
        version: "HTTP/1.1".into(),
        headers: Vec::new(),
    })
}

pub(super) fn end(id: u64, location: Option<&str>) -> Event {
    let location = location.map(|location| ("location".to_owned(), ByteString::from(location)));
    Event::End(End {
        id,
        status: if location.is_some() { 302 } else { 200 },
        reason: None,
        version: "HTTP/1.1".into(),
        headers: location.into_iter().collect(),
        trailers: Vec::new(),
        request_body: None,
        body: None,
        phases_us: Timings::from_iter([(Phase::Wait, 40)]),
        own_us: 0,
        client_wait_us: 0,
        longest_silence_us: None,
        made_by: MadeBy::Origin,
        attempts: Vec::new(),
        notes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_recorded_request_is_found_and_nothing_else_is_given_for_it() {
        crate::hostile::twin("replay_matcher", 250, super::matcher);
    }
}
