mod live;
mod silent;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::live::{LeftOver, stall_line};
use super::*;
use crate::child::Interruption;
use crate::clock::Timestamp;
use crate::diagnose::stuck::Stuck;
use crate::diagnose::timeline::{Connections, Timeline};
use crate::exchange::Phase;
use crate::proxy::{InFlight, Notice, Passed};
use crate::recording::Row;
use crate::recording::reader::RowState;
use crate::recording::reader::Span;
use crate::replay::Misses;
use crate::shell::plain;
use crate::words::columns;

use live::{misses, status_of};

const GOLANG: &str = "https://proxy.golang.org/golang.org/x/net/@v/list";
const CORP: &str = "https://git.corp.example/lib";

fn look(width: usize) -> Look {
    Look {
        colour: false,
        ascii: false,
        width: Some(width),
        is_terminal: true,
    }
}

fn row(url: &str, started: u64, phases: &[(Phase, u64)]) -> Row {
    Row {
        id: 1,
        run: 0,
        connection: 1,
        started: Timestamp::from_micros(started),
        phases: phases.iter().copied().collect(),
        own_us: 0,
        status: Some(200),
        state: RowState::Ended,
        made_by: None,
        bytes: 0,
        method: "GET".into(),
        url: url.into(),
        begin: Span { offset: 0, len: 0 },
        end: None,
        body: None,
    }
}

/// A summary that owns its parts.
struct Case {
    split: Split,
    tally: Tally,
    left_over: LeftOver,
    failure: Option<&'static str>,
    gaps: Vec<Gap>,
    rate_limited: BTreeMap<String, RateLimited>,
    loops: Vec<(Loop, String)>,
    replayable: Replayable,
    why_empty: Vec<String>,
    durability: Durability,
    redacted: bool,
    intercept_all: bool,
}

impl Case {
    fn of(rows: &[Row], wall_us: u64) -> Self {
        Self {
            split: Split::of(&Timeline::of(rows, &Connections::new(), wall_us, |_| false)),
            tally: Tally {
                requests: 412,
                body_bytes: 63_100_000,
                dials: 9,
                slowest_pace: Some(2_100_000),
                ..Tally::default()
            },
            left_over: LeftOver {
                at: Timestamp::from_micros(60_000_000),
                ..LeftOver::default()
            },
            failure: None,
            gaps: Vec::new(),
            rate_limited: BTreeMap::new(),
            loops: Vec::new(),
            replayable: Replayable {
                complete: true,
                ..Replayable::default()
            },
            why_empty: Vec::new(),
            durability: Durability::Process,
            redacted: true,
            intercept_all: false,
        }
    }

    /// 48.2 s as a slow `go mod tidy` spends them.
    fn tidy() -> Self {
        let connecting = [
            (Phase::Dns, 1_100_000),
            (Phase::Connect, 1_000_000),
            (Phase::Tls, 2_000_000),
        ];
        let rows = [
            row(GOLANG, 0, &connecting),
            row(GOLANG, 4_100_000, &[(Phase::Wait, 33_600_000)]),
            row(
                CORP,
                37_700_000,
                &[(Phase::Wait, 6_300_000), (Phase::Receive, 2_600_000)],
            ),
            // Less than one per cent: not shown.
            row(CORP, 46_600_000, &[(Phase::Send, 400_000)]),
        ];
        Self::of(&rows, 48_600_000)
    }

    fn render(&self, look: Look) -> String {
        let summary = Summary {
            recording: "recordings/tidy-1122-0452",
            split: &self.split,
            tally: &self.tally,
            left_over: &self.left_over,
            failure: self.failure,
            gaps: &self.gaps,
            rate_limited: &self.rate_limited,
            loops: &self.loops,
            replayable: &self.replayable,
            why_empty: &self.why_empty,
            durability: self.durability,
            redacted: self.redacted,
            intercept_all: self.intercept_all,
            packets: None,
            report: None,
        };
        render(&summary, look)
    }
}

fn entry(phase: Phase, what: &str, started_s: u64) -> InFlight {
    InFlight {
        key: 1,
        id: Some(208),
        connection: 1,
        target: None,
        protocol: None,
        kind: None,
        host: "sum.golang.org".into(),
        what: what.into(),
        phase,
        started: Timestamp::from_micros(started_s * 1_000_000),
        progress: Timestamp::default(),
        silence: None,
        bytes: 4_100_000,
        length: None,
        address: None,
        local: None,
        via: None,
        is_asking: false,
        is_tls: true,
        is_reused: false,
        awaits: None,
        is_paused: false,
    }
}

/// What keeps an entry and so many others waiting.
fn notice(entry: InFlight, others: usize) -> Notice {
    let stuck = Stuck {
        code: "MT101",
        cause: "nobody answers".into(),
        go: String::new(),
        choices: Vec::new(),
        is_certain: true,
        whom: entry.host.clone(),
        members: (0..=others).collect(),
    };
    Notice { stuck, entry }
}

#[track_caller]
fn assert_text(text: &str, expected: &[&str]) {
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, expected, "\n{text}");
    assert!(!text.ends_with('\n'));
}

#[test]
fn a_wide_terminal_shows_where_the_time_went() {
    assert_text(
        &Case::tidy().render(look(120)),
        &[
            "modtape: 412 requests in 48.6 s (63.1 MB)  recording: recordings/tidy-1122-0452",
            "  waiting for first bytes    39.9 s  82%  ██████████████████▉      proxy.golang.org 33.6 s, git.corp.example 6.30 s",
            "  connecting (DNS+TCP+TLS)   4.10 s   8%  ██                       9 connections",
            "  receiving                  2.60 s   5%  █▎                       63.1 MB, slowest body 2.1 MB/s",
            "  no request in flight       1.60 s   3%  ▊",
            "  replay: complete for this command; `modtape seal` makes it complete for every command",
        ],
    );
}

#[test]
fn a_narrow_terminal_shows_what_has_room() {
    let text = Case::tidy().render(look(80));
    assert_text(
        &text,
        &[
            "modtape: 412 requests in 48.6 s (63.1 MB)  recording: recordings/tidy-1122-0452",
            "  waiting for first bytes    39.9 s  82%  ████████▎   proxy.golang.org 33.6 s",
            "  connecting (DNS+TCP+TLS)   4.10 s   8%  ▉           9 connections",
            "  receiving                  2.60 s   5%  ▌           63.1 MB",
            "  no request in flight       1.60 s   3%  ▍",
            "  replay: complete for this command; `modtape seal` makes it complete for every command",
        ],
    );
    let tiny = Case::tidy().render(look(40));
    assert!(
        tiny.contains("\n  receiving                  2.60 s   5%\n"),
        "{tiny}"
    );
}

#[test]
fn ascii_is_enough() {
    let ascii = Look {
        ascii: true,
        ..look(80)
    };
    let text = Case::tidy().render(ascii);
    assert!(text.is_ascii(), "{text}");
    assert!(
        text.contains("  39.9 s  82%  ########    proxy.golang.org 33.6 s\n"),
        "{text}"
    );
    assert!(text.contains("   3%  #\n"), "{text}");
}

#[test]
fn colour_adds_nothing_but_colour() {
    let mut case = Case::tidy();
    case.left_over.in_flight = vec![entry(Phase::Wait, "list m", 59)];
    case.gaps = vec![Gap {
        what: "x".into(),
        why: "y".into(),
    }];
    case.redacted = false;
    case.replayable = Replayable {
        complete: false,
        reasons: vec!["r".into()],
        ..Replayable::default()
    };
    let colour = case.render(Look {
        colour: true,
        ..look(80)
    });
    assert!(
        colour.contains("\u{1b}[1mmodtape: 412 requests in 48.6 s (63.1 MB)\u{1b}[0m  recording:"),
        "{colour}"
    );
    assert!(
        colour.contains("  replay: \u{1b}[33mpartial:\u{1b}[0m r\n"),
        "{colour}"
    );
    let mut stripped = colour;
    for code in [0, 1, 31, 33] {
        stripped = stripped.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(stripped, case.render(look(80)));
}

#[test]
fn sending_and_blocked_show_when_they_matter() {
    let rows = [row(
        CORP,
        0,
        &[(Phase::Blocked, 300_000), (Phase::Send, 700_000)],
    )];
    let mut case = Case::of(&rows, 1_000_000);
    (case.tally.requests, case.tally.body_bytes) = (1, 0);
    assert_text(
        &case.render(look(80)),
        &[
            "modtape: 1 request in 1.00 s (0 B)  recording: recordings/tidy-1122-0452",
            "  sending                    700 ms  70%  ███████     git.corp.example 700 ms",
            "  blocked (client/modtape)   300 ms  30%  ███         git.corp.example 300 ms",
            "  replay: complete for this command; `modtape seal` makes it complete for every command",
        ],
    );
}

#[test]
fn failed_dials_and_tunnels_are_named_beside_their_time() {
    let mut case = Case::of(&[row(CORP, 0, &[(Phase::Connect, 500_000)])], 1_000_000);
    case.tally.dials = 1;
    case.tally.failed_dials = 1;
    case.tally.tunnels = BTreeMap::from([("github.com".into(), 12_300_000)]);
    let text = case.render(look(120));
    assert!(text.contains("1 connection, 1 failed\n"), "{text}");
    assert!(
        text.contains("50%  ███████████▌             tunnelled: github.com 12.3 MB\n"),
        "{text}"
    );
}

#[test]
fn without_a_request_it_says_why() {
    let mut case = Case::of(&[], 1_234_000);
    case.tally = Tally::default();
    case.why_empty = vec!["GOPROXY=off forbids it".into(), "and so on".into()];
    assert_text(
        &case.render(look(80)),
        &[
            "modtape: no requests in 1.23 s  recording: recordings/tidy-1122-0452",
            "  GOPROXY=off forbids it",
            "  and so on",
        ],
    );
}

#[test]
fn what_is_left_over_and_what_is_missing_is_loud() {
    let mut case = Case::of(&[row(GOLANG, 0, &[(Phase::Wait, 9)])], 9);
    let mut dial = entry(Phase::Dns, "", 50);
    dial.id = None;
    case.left_over.in_flight = vec![entry(Phase::Wait, "tile/8/1/245", 26), dial];
    let gap = Gap {
        what: "body of exchange 9".into(),
        why: "no space left on device".into(),
    };
    case.gaps = vec![gap.clone(), gap.clone(), gap];
    case.replayable = Replayable {
        complete: false,
        reasons: vec!["one".into(), "two".into()],
        ..Replayable::default()
    };
    case.left_over.interruption = Some(Interruption::Interrupt);
    case.failure = Some("cannot write recording.json: read-only");
    case.redacted = false;
    case.intercept_all = true;
    assert_text(
        &case.render(look(80)),
        &[
            "modtape: 2 requests were still in flight at the interrupt:",
            "   #208  waiting headers   34.0 s  sum.golang.org  tile/8/1/245",
            "      -  resolving         10.0 s  sum.golang.org",
            "modtape: 412 requests in <0.1 ms (63.1 MB)  recording: recordings/tidy-1122-0452",
            "  waiting for first bytes   <0.1 ms 100%  ██████████  proxy.golang.org <0.1 ms",
            "  replay: partial:",
            "    - one",
            "    - two",
            "! INCOMPLETE: cannot write recording.json: read-only",
            "! INCOMPLETE: not recorded: body of exchange 9: no space left on device (and 2 more)",
            "! not redacted: the recording may hold secrets in clear text",
            "! every host was intercepted: the run's root could sign certificates for any host name",
        ],
    );
    case.left_over.interruption = Some(Interruption::Timeout);
    case.left_over.in_flight = (0..25).map(|_| entry(Phase::Wait, "m", 0)).collect();
    let text = case.render(look(80));
    assert!(
        text.starts_with("modtape: 25 requests were still in flight when --timeout expired:\n"),
        "{text}"
    );
    assert!(text.contains("\n  and 5 more\nmodtape: 412"), "{text}");
}

#[test]
fn nothing_hostile_reaches_the_terminal() {
    let evil = "a\u{1b}]0;x\u{7}\r\n\u{202e}b";
    let mut entry = entry(Phase::Wait, evil, 0);
    entry.host = evil.into();
    entry.address = Some(evil.into());
    let mut case = Case::of(
        &[row(&format!("https://{evil}/"), 0, &[(Phase::Wait, 9)])],
        20,
    );
    case.left_over.in_flight = vec![entry.clone()];
    case.tally.tunnels = BTreeMap::from([(evil.into(), 1)]);
    case.gaps = vec![Gap {
        what: evil.into(),
        why: evil.into(),
    }];
    case.replayable = Replayable {
        complete: false,
        reasons: vec![evil.into(), evil.into()],
        ..Replayable::default()
    };
    let mut texts = vec![
        case.render(look(200)),
        status_of(std::slice::from_ref(&entry), look(200)),
    ];
    case.replayable.reasons.pop();
    texts.push(case.render(look(200)));
    case.tally.requests = 0;
    case.why_empty = vec![evil.into()];
    texts.push(case.render(look(200)));
    let mut found = notice(entry, 0);
    found.stuck.cause = evil.into();
    texts.push(stall_line(&found, look(80)));
    let misses = misses(&[(evil, Some(evil))]);
    texts.push(replayed(
        &Replayed {
            hits: 0,
            misses: &misses,
            recorder: evil,
            packets: None,
        },
        look(80),
    ));
    for text in texts {
        assert!(text.contains(r"a\x1b]0;x\x07\r\n\u{202e}b"), "{text:?}");
        for line in text.lines() {
            assert_eq!(plain(line), line);
        }
        assert!(!text.contains('\r'), "{text:?}");
    }
}

proptest! {
    #[test]
    fn parts_fit_a_terminal_that_has_room_for_them(host in "[a-z.]{1,80}", width in 45..200_usize) {
        let case = Case::of(&[row(&format!("https://{host}/"), 0, &[(Phase::Wait, 9)])], 9);
        let text = case.render(look(width));
        let part = text.lines().nth(1).unwrap_or_default();
        prop_assert!(columns(part) <= width, "{} > {width}: {part}", columns(part));
    }
}
