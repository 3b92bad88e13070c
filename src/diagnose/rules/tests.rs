//! Rules against rows that are made by hand: thresholds, look-alikes, and what must hold for any input.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::case::Refusal;
use super::super::outcome::Meaning;
use super::super::processes::{Sampled, gaps};
use super::super::routes::Routes;
use super::super::sample::{connection, connections, in_flight, row};
use super::super::timeline::Connections;
use super::*;
use crate::clock::Timestamp;
use crate::diagnose::finding::Exhibit;
use crate::diagnose::requirements::{Requirements, Served};
use crate::exchange::{ExchangeId, Hex, MadeBy, Mode, Opened, Phase, Stall, Tried, UpstreamSide};
use crate::gomod::{self, GoMod, GoSum, ModuleVersion};
use crate::recording::Row;
use crate::recording::format::{Manifest, RunMode, State};
use crate::recording::processes::{Holder, Lock, Process, ProcessState, Sample};
use crate::recording::reader::{RowState, Span};

mod answers;
mod content;
mod estimates;
mod many;
mod processes;

const GOLANG: &str = "https://proxy.golang.org";

/// Seconds, in microseconds.
const S: u64 = 1_000_000;

/// A recording made by hand.
struct Made {
    manifest: Manifest,
    rows: Vec<Row>,
    connections: Connections,
    stalls: Vec<Stall>,
    samples: Vec<Sampled>,
    /// What refusals say, by exchange.
    texts: BTreeMap<ExchangeId, Refusal>,
    /// The go.mod files of answers, by exchange; 0 stands for that of the main module.
    go_mods: BTreeMap<ExchangeId, String>,
    /// Whether redirects lead back to their own URL.
    redirects: bool,
    /// The go.sum of the main module.
    go_sum: Option<GoSum>,
}

impl Made {
    fn of(rows: Vec<Row>) -> Self {
        Self {
            manifest: manifest(),
            rows,
            connections: connections(vec![dialled(1, "proxy.golang.org")]),
            stalls: Vec::new(),
            samples: Vec::new(),
            texts: BTreeMap::new(),
            go_mods: BTreeMap::new(),
            redirects: false,
            go_sum: None,
        }
    }

    /// With other connections.
    fn through(mut self, opened: Vec<Opened>) -> Self {
        self.connections = connections(opened);
        self
    }

    fn goproxy(self, value: &str) -> Self {
        self.setting("GOPROXY", value)
    }

    fn setting(mut self, name: &str, value: &str) -> Self {
        self.manifest.go_env.insert(name.into(), value.into());
        self
    }

    /// The command ended with this code.
    const fn exit(mut self, code: i32) -> Self {
        self.manifest.exit_code = Some(code);
        self
    }

    const fn processors(mut self, number: u32) -> Self {
        self.manifest.processors = Some(number);
        self
    }

    /// The refusal of an exchange says this.
    fn says(mut self, id: ExchangeId, text: &str) -> Self {
        self.texts.entry(id).or_default().text = text.into();
        self
    }

    /// An exchange broke off for this reason.
    fn breaks(mut self, id: ExchangeId, why: &str) -> Self {
        self.texts.entry(id).or_default().why = why.into();
        self
    }

    /// An exchange was answered with this go.mod.
    fn serves(mut self, id: ExchangeId, text: &str) -> Self {
        self.go_mods.insert(id, text.into());
        self
    }

    /// This is the go.mod of the main module.
    fn main(self, text: &str) -> Self {
        self.serves(0, text)
    }

    fn requirements(&self, case: &Case<'_>) -> Requirements {
        let parse = |text: &String| GoMod::parse(text.as_bytes());
        let served = case.asked.iter().enumerate().filter_map(|(row, asked)| {
            let route = &asked.listed.route;
            let go_mod = parse(self.go_mods.get(&asked.row.id)?);
            let of = ModuleVersion::of(route.module.as_deref()?, route.version.as_deref()?);
            Some((of, Served { go_mod, row }))
        });
        Requirements {
            mains: self.go_mods.get(&0).map(parse).into_iter().collect(),
            work: None,
            files: served.collect(),
            ..Requirements::default()
        }
    }

    fn findings(&self) -> Vec<Finding> {
        self.on_case(findings)
    }

    fn on_case<T>(&self, look: impl FnOnce(&Case<'_>) -> T) -> T {
        let bases = gomod::bases(&self.manifest.go_env);
        let back = |row: &Row| self.redirects.then(|| row.url.clone());
        let routes = Routes::following(&self.rows, bases, back);
        let meaning = Meaning::by(&self.manifest, &self.rows, routes);
        let wall_us = self.manifest.wall_us;
        let mut case = Case::made_of(
            &self.manifest,
            &self.rows,
            &self.connections,
            &meaning,
            wall_us,
        );
        case.gaps = gaps(&self.samples, &case.timeline);
        case.samples.clone_from(&self.samples);
        for stall in &self.stalls {
            if let Some(id) = stall.id {
                case.stalls.insert((0, id), stall);
            }
        }
        for asked in &mut case.asked {
            asked.refusal = self.texts.get(&asked.row.id).cloned();
        }
        case.requirements = self.requirements(&case);
        case.go_sum.clone_from(&self.go_sum);
        look(&case)
    }

    /// All codes, notes too.
    fn all(&self) -> Vec<&'static str> {
        let findings = self.findings().into_iter();
        findings.map(|finding| finding.code).collect()
    }

    /// The codes of what is wrong, the first first.
    fn codes(&self) -> Vec<&'static str> {
        let findings = self.findings().into_iter();
        let causes = findings.filter(|finding| finding.severity != Severity::Note);
        causes.map(|finding| finding.code).collect()
    }

    fn first(&self) -> Finding {
        self.findings()
            .into_iter()
            .next()
            .expect("there is a finding")
    }
}

fn manifest() -> Manifest {
    let setting = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let go_env = [
        ("GOPROXY", "https://proxy.golang.org,direct"),
        ("GOSUMDB", "sum.golang.org"),
    ];
    Manifest {
        state: State::Closed,
        command: vec!["go".into(), "mod".into(), "tidy".into()],
        mode: Some(RunMode::Mitm),
        go_env: go_env.map(setting).into(),
        go_version: Some("go1.27.3".into()),
        exit_code: Some(0),
        ..Manifest::begun("", String::new(), String::new(), Hex([1; 16]))
    }
}

/// A connection over HTTP/2 that works.
fn dialled(id: u64, host: &str) -> Opened {
    Opened {
        dns_us: Some(1000),
        connect_us: Some(1000),
        tls_us: Some(1000),
        upstream: Some(UpstreamSide {
            addr: Some("192.0.2.1:443".into()),
            alpn: Some("h2".into()),
            ..UpstreamSide::default()
        }),
        ..connection(id, Mode::Intercept, &format!("{host}:443"))
    }
}

/// A dial that failed after so long with nothing to show for it.
fn dead(id: u64, host: &str, started: u64, us: u64) -> Opened {
    Opened {
        started_us: Timestamp::from_micros(started),
        dns_us: Some(0),
        connect_us: Some(us),
        tries: vec![Tried {
            addr: "192.0.2.9:443".into(),
            took_us: us,
            error: Some("no answer".into()),
            reason: None,
        }],
        error: Some(format!(
            "no connection to {host}:443 within 30s (no answer)"
        )),
        ..connection(id, Mode::Refuse, &format!("{host}:443"))
    }
}

/// An answer with so long a wait.
fn answer(id: ExchangeId, path: &str, started: u64, wait: u64) -> Row {
    row(
        id,
        &format!("{GOLANG}/{path}"),
        started,
        &[(Phase::Wait, wait)],
    )
}

fn refused(id: ExchangeId, path: &str, status: u16, started: u64, wait: u64) -> Row {
    Row {
        status: Some(status),
        ..answer(id, path, started, wait)
    }
}

/// One that its client gave up.
fn given_up(row: Row) -> Row {
    Row {
        status: None,
        state: RowState::Aborted,
        made_by: None,
        ..row
    }
}

/// Quick answers, one after another from `started` on.
fn quick(count: u64, started: u64) -> Vec<Row> {
    (0..count)
        .map(|n| {
            let path = format!("a.example/m{n}/@v/v1.0.0.mod");
            answer(100 + n, &path, started + n * 10_000, 5_000)
        })
        .collect()
}

const ZIP: &str = "a.example/m/@v/v1.0.0.zip";

#[test]
fn a_healthy_run_has_nothing_to_say() {
    assert_eq!(Made::of(quick(200, 0)).codes(), [""; 0]);
    assert_eq!(Made::of(Vec::new()).codes(), [""; 0]);
}

#[test]
fn a_silence_is_told_from_some_length_on_and_only_if_others_were_answered_sooner() {
    let silent = |us| {
        let mut rows = quick(10, 0);
        rows.push(given_up(answer(1, ZIP, S, us)));
        Made::of(rows).breaks(1, "cut off by Ctrl-C").exit(130)
    };
    assert_eq!(silent(4 * S).codes(), [""; 0]);
    assert_eq!(silent(6 * S).codes(), ["MT101"]);
    // What was told while it lasted is a stall, however short.
    let mut told = silent(S);
    told.stalls.push(stall(1, Phase::Wait, S));
    assert_eq!(told.codes(), ["MT101"]);
    assert!(told.first().is_stall);
    let first = silent(30 * S).first();
    assert_eq!(first.severity, Severity::Problem);
    assert!(first.title.contains("proxy.golang.org"), "{}", first.title);
    assert!(
        first.title.contains("zip a.example/m v1.0.0"),
        "{}",
        first.title
    );
    assert_eq!(first.cost_us, 30 * S);
    // A host whose every answer takes a second is not silent after two.
    let mut rows: Vec<Row> = (0..9).map(|n| answer(10 + n, ZIP, 0, S)).collect();
    rows.push(given_up(answer(1, ZIP, 0, 2 * S)));
    let slow = Made::of(rows).breaks(1, "cut off by Ctrl-C").exit(130);
    assert!(!slow.codes().contains(&"MT101"));
}

#[test]
fn streams_that_stop_together_are_a_dead_connection_and_one_alone_is_a_silent_server() {
    let stuck = |count: u64| -> Vec<Row> {
        let stuck = (1..=count).map(|n| given_up(answer(n, ZIP, S, 20 * S)));
        stuck.collect()
    };
    let made = |rows: Vec<Row>, ids: u64| {
        let made = Made::of(rows).exit(130);
        (1..=ids).fold(made, |made, id| made.breaks(id, "cut off by Ctrl-C"))
    };
    let mut rows = quick(10, 0);
    rows.extend(stuck(3));
    assert_eq!(made(rows, 3).codes(), ["MT108"]);
    // One silent stream, while others go on.
    let mut rows = quick(10, 0);
    rows.extend(stuck(2));
    rows.extend(quick(10, 5 * S).into_iter().map(|row| Row {
        id: row.id + 50,
        ..row
    }));
    assert_eq!(made(rows, 2).codes(), ["MT101"]);
    // A connection that never carried anything.
    assert_eq!(made(stuck(3), 3).codes(), ["MT101"]);
}

#[test]
fn what_tcp_acknowledges_tells_a_dead_connection_from_a_silent_server() {
    let told = |count: u64, unacknowledged_bytes, later_us| {
        let mut rows = quick(10, 0);
        rows.extend((1..=count).map(|n| given_up(answer(n, ZIP, S, 20 * S))));
        let made = Made::of(rows).exit(130);
        let mut made = (1..=count).fold(made, |made, id| made.breaks(id, "cut off by Ctrl-C"));
        made.stalls.extend((1..=count).map(|id| Stall {
            unacknowledged_bytes,
            since_us: Timestamp::from_micros(S + id * later_us),
            ..stall(id, Phase::Wait, 10 * S)
        }));
        let first = made.first();
        (first.code, first.confidence)
    };
    use Confidence::{Certain, Likely};
    assert_eq!(told(3, None, S), ("MT108", Likely));
    assert_eq!(told(3, Some(0), S), ("MT101", Certain));
    // It may have died before the answer to all of them.
    assert_eq!(told(3, Some(0), S / 10), ("MT108", Likely));
    assert_eq!(told(3, Some(240), S), ("MT108", Certain));
    assert_eq!(told(1, Some(240), S), ("MT108", Certain));
    assert_eq!(told(1, Some(0), S), ("MT101", Certain));
}

#[test]
fn a_recorder_that_was_killed_leaves_its_stalls() {
    let mut rows = quick(3, 0);
    rows.push(in_flight(1, &format!("{GOLANG}/{ZIP}"), S));
    let mut made = Made::of(rows);
    made.manifest.exit_code = None;
    assert_eq!(made.codes(), [""; 0]);
    made.stalls.push(stall(1, Phase::Receive, 40 * S));
    made.manifest.wall_us = 41 * S;
    let first = made.first();
    assert_eq!((first.code, first.severity), ("MT101", Severity::Problem));
    assert!(first.title.contains("in the middle"), "{}", first.title);
    assert_eq!(first.confidence, Confidence::Certain);
}

fn stall(id: ExchangeId, phase: Phase, silent_us: u64) -> Stall {
    Stall {
        id: Some(id),
        connection: 1,
        host: "proxy.golang.org".into(),
        target: None,
        phase,
        is_asking: false,
        since_us: Timestamp::from_micros(S),
        silent_us,
        is_over: false,
        body_bytes: 4096,
        length: None,
        address: None,
        unacknowledged_bytes: None,
        via: None,
    }
}

#[test]
fn what_stands_behind_a_dead_entry_decides_what_is_said_of_it() {
    let made_of = |host: &'static str, goproxy: &str| {
        let dials = (2..5).map(|n| dead(n, host, n * 10 * S, 10 * S));
        let mut dials: Vec<Opened> = dials.collect();
        dials.push(dialled(1, "proxy.golang.org"));
        Made::of(quick(3, 60 * S)).through(dials).goproxy(goproxy)
    };
    let made = |goproxy: &str| made_of("goproxy.corp", goproxy);
    let bar = made("https://goproxy.corp|https://proxy.golang.org");
    assert_eq!(bar.codes(), ["MT116"]);
    assert_eq!(bar.first().cost_us, 30 * S);
    // Its private modules would be asked of the other one.
    let hint = bar.first().hint.unwrap_or_default();
    assert!(hint.starts_with("ask who runs goproxy.corp"), "{hint}");
    let public = made_of("goproxy.cn", "https://goproxy.cn|https://proxy.golang.org");
    let hint = public.first().hint.unwrap_or_default();
    assert!(
        hint.contains("GOPROXY='https://proxy.golang.org'"),
        "{hint}"
    );
    let comma = made("https://goproxy.corp,https://proxy.golang.org").exit(1);
    assert_eq!(comma.codes(), ["MT111"]);
    let alone = made("https://goproxy.corp").exit(1);
    assert_eq!(alone.codes(), ["MT106"]);
}

#[test]
fn a_refusal_is_known_by_its_text() {
    let module = "a.example/m/@v/v1.0.0.info";
    let made = |text: &str| {
        let row = refused(1, module, 404, 0, 2 * S);
        Made::of(vec![row]).says(1, text).exit(1).goproxy(GOLANG)
    };
    for (text, code) in [
        ("not found: fetch timed out", "MT123"),
        (
            "not found: Failed to connect to github.com port 443",
            "MT123",
        ),
        (
            "fatal: could not read Username for 'https://a.example': terminal prompts disabled",
            "MT114",
        ),
        (
            "dial tcp: lookup a.example on 8.8.8.8:53: no such host",
            "MT114",
        ),
        ("invalid version: unknown revision v1.0.0", "MT124"),
        ("not found", "MT124"),
    ] {
        assert_eq!(made(text).first().code, code, "{text}");
    }
    // Whoever does not know a host cannot tell a private one from a misspelt one.
    let unknown = made("dial tcp: lookup a.example on 8.8.8.8:53: no such host").first();
    assert_eq!(unknown.confidence, Confidence::Likely);
    let hint = unknown.hint.unwrap_or_default();
    assert!(hint.starts_with("check the spelling"), "{hint}");
    // The command survived it: what was tried in vain is no problem.
    assert_eq!(made("not found").exit(0).codes(), [""; 0]);
}

#[test]
fn a_pattern_that_matches_nothing_is_the_cause_only_of_what_it_was_meant_for() {
    let made = |module: &str, list: &str| {
        let row = Row {
            status: Some(404),
            ..row(
                1,
                &format!("{GOLANG}/{module}/@v/v1.0.0.mod"),
                0,
                &[(Phase::Wait, S)],
            )
        };
        let text = "fatal: could not read Username: terminal prompts disabled";
        let made = Made::of(vec![row]).setting("GOPRIVATE", list).says(1, text);
        // As `go env` prints them.
        made.setting("GONOPROXY", list)
            .setting("GONOSUMDB", list)
            .exit(1)
    };
    let private = "git.corp.example/team/m";
    let found = made(private, "https://git.corp.example").findings();
    let codes: Vec<_> = found.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["MT117"]);
    assert_eq!(found[0].severity, Severity::Problem);
    let hint = found[0].hint.as_deref().unwrap_or_default();
    assert!(
        hint.starts_with("GOPRIVATE='git.corp.example' (with go env -w, or export "),
        "{hint}"
    );
    for (exported, expected) in [
        (
            vec!["GOPRIVATE".to_owned()],
            "export GOPRIVATE='git.corp.example' ",
        ),
        (vec![], "go env -w GOPRIVATE='git.corp.example' "),
    ] {
        let mut made = made(private, "https://git.corp.example");
        made.manifest.exported = Some(exported);
        let hint = made.first().hint.unwrap_or_default();
        assert!(hint.starts_with(expected), "{hint}");
    }
    // The list is right and lacks this module; or it is wrong, and was meant for others.
    assert_eq!(made(private, "git.other.example").codes(), ["MT114"]);
    // It names the domain and not what is below it.
    let below = made(private, "a.example,corp.example").first();
    assert_eq!(below.code, "MT114");
    let names = "GOPRIVATE has corp.example, which covers no host below it";
    assert!(below.title.contains(names), "{}", below.title);
    let hint = below.hint.unwrap_or_default();
    let meant = "GOPRIVATE='a.example,corp.example,*.corp.example'";
    assert!(hint.contains(meant), "{hint}");
    for list in [
        "xcorp.example",
        "corp.example/other",
        "*.corp.example/other",
    ] {
        let title = made(private, list).first().title;
        assert!(title.contains("GOPRIVATE does not name it"), "{title}");
    }
    let other = made(private, "https://git.other.example");
    assert_eq!(other.codes(), ["MT114"]);
    let notes = other.findings();
    let note = notes
        .iter()
        .find(|finding| finding.code == "MT117")
        .unwrap();
    assert_eq!((note.severity, note.cost_us), (Severity::Note, 0));
    // GONOSUMDB by itself.
    let own = made("a.example/m", "")
        .setting("GONOSUMDB", ".corp.example")
        .findings();
    assert!(
        own.iter()
            .any(|finding| finding.title.starts_with("GONOSUMDB has")),
        "{own:#?}"
    );
}

#[test]
fn a_number_of_seconds_before_a_proxys_refusal_of_a_lookup_tells_of_its_patience() {
    let made = |us| {
        let url = "https://goproxy.corp/sumdb/sum.golang.org/lookup/a.example/m@v1.0.0";
        let row = Row {
            status: Some(500),
            ..row(1, url, 0, &[(Phase::Wait, us)])
        };
        let dials = vec![dialled(1, "goproxy.corp")];
        Made::of(vec![row])
            .through(dials)
            .goproxy("https://goproxy.corp")
            .exit(1)
    };
    assert_eq!(made(2 * S).first().code, "MT125");
    assert_eq!(made(10_000).first().code, "MT122");
}

#[test]
fn more_processors_help_only_where_all_are_busy_waiting() {
    // Two at a time, 100 ms each, for 5 s.
    let pairs = |at_once: u64, us: u64| -> Vec<Row> {
        (0..100)
            .map(|n| {
                answer(
                    n + 1,
                    &format!("a.example/m{n}/@v/v1.0.0.mod"),
                    n / at_once * us,
                    us,
                )
            })
            .collect()
    };
    let bound = Made::of(pairs(2, 100_000)).processors(2);
    assert_eq!(bound.codes(), ["MT201"]);
    assert!(bound.first().title.contains("GOMAXPROCS=2"));
    // As many workers as it likes: then they follow one another because they must.
    let chain = Made::of(pairs(2, 100_000)).processors(64);
    assert_eq!(chain.codes(), ["MT202"]);
    assert_eq!(Made::of(pairs(2, 2_000)).processors(2).codes(), [""; 0]);
}

#[test]
fn a_full_line_is_no_matter_of_processors() {
    let rows = (0..40).map(|n| Row {
        bytes: 500_000,
        ..row(
            n + 1,
            &format!("{GOLANG}/a.example/m{n}/@v/v1.0.0.zip"),
            n / 2 * S,
            &[(Phase::Wait, 1000), (Phase::Receive, S - 1000)],
        )
    });
    let made = Made::of(rows.collect()).processors(2);
    assert_eq!(made.codes(), ["MT205"]);
}

#[test]
fn of_two_that_explain_the_same_seconds_the_more_specific_stays() {
    // A list that hangs for 8 s is both a slow list and a late answer.
    let mut rows = quick(20, 0);
    rows.push(answer(1, "a.example/m/@v/list", S, 8 * S));
    assert_eq!(Made::of(rows).codes(), ["MT127"]);
}

#[test]
fn what_costs_little_is_not_told() {
    let slow = |us| {
        let mut opened = dialled(1, "proxy.golang.org");
        opened.dns_us = Some(us);
        let mut rows = quick(100, us);
        rows[0].phases[Phase::Dns] = Some(us);
        rows[0].started = Timestamp::default();
        Made::of(rows).through(vec![opened])
    };
    assert_eq!(slow(400_000).codes(), [""; 0]);
    assert_eq!(slow(3 * S).codes(), ["MT102"]);
    // Less than a twentieth of the run.
    let mut long = slow(S);
    long.manifest.wall_us = 100 * S;
    assert_eq!(long.codes(), [""; 0]);
}

/// Any row: hosts and paths that mean something, states and phases that do not fit each other.
fn any_row() -> impl Strategy<Value = Row> {
    let url = prop_oneof![
        Just(format!("{GOLANG}/a.example/m/@v/list")),
        Just(format!("{GOLANG}/{ZIP}")),
        Just(format!(
            "{GOLANG}/golang.org/toolchain/@v/v0.0.1-go1.27.0.linux-amd64.zip"
        )),
        Just("https://sum.golang.org/lookup/a.example/m@v1.0.0".to_owned()),
        Just("https://sum.golang.org/tile/8/0/001".to_owned()),
        Just("https://git.corp/m?go-get=1".to_owned()),
        Just("https://git.corp/m.git/info/refs?service=git-upload-pack".to_owned()),
        Just("https://goproxy.corp/sumdb/sum.golang.org/supported".to_owned()),
        Just("::: no URL".to_owned()),
    ];
    let phase = prop::sample::select(Phase::ALL.to_vec());
    let phases = prop::collection::vec((phase, 0..60 * S), 0..5);
    let state = prop_oneof![
        Just(RowState::Ended),
        Just(RowState::Aborted),
        Just(RowState::InFlight)
    ];
    let status = prop::option::of(prop::sample::select(vec![
        200, 301, 401, 403, 404, 410, 429, 500, 504,
    ]));
    let made_by = prop::option::of(prop_oneof![Just(MadeBy::Origin), Just(MadeBy::Modtape)]);
    let numbers = (0..100 * S, 1..6_u64, 0..S, 0..100_000_000_u64);
    (url, phases, state, status, made_by, numbers).prop_map(
        |(url, phases, state, status, made_by, (started, connection, own_us, bytes))| Row {
            connection,
            state,
            status,
            made_by,
            own_us,
            bytes,
            end: Some(Span::default()),
            ..row(0, &url, started, &phases)
        },
    )
}

fn any_dial() -> impl Strategy<Value = Opened> {
    let host = prop::sample::select(vec![
        "proxy.golang.org",
        "goproxy.corp",
        "sum.golang.org",
        "x.example",
    ]);
    let error = prop::option::of(prop::sample::select(vec![
        "cannot resolve x.example: no such host",
        "cannot connect to x.example:443 (192.0.2.1:443: Connection refused)",
        "no connection to x.example:443 within 30s (TCP)",
        "parent proxy http://p:3128: answered 407 Proxy Authentication Required",
        "TLS with x.example: its certificate comes from an unknown issuer (\"Corp\")",
        "TLS with x.example: no answer within 9s",
        "the client gave up",
        "cut off by Ctrl-C",
        "",
    ]));
    let us = || prop::option::of(0..40 * S);
    let upstream = prop::option::of((
        prop::option::of(Just("[2001:db8::1]:443".to_owned())),
        prop::option::of(Just("http://p:3128".to_owned())),
    ));
    (host, error, us(), us(), us(), 0..90 * S, upstream).prop_map(
        |(host, error, dns_us, connect_us, tls_us, started, upstream)| Opened {
            dns_us,
            connect_us,
            tls_us,
            started_us: Timestamp::from_micros(started),
            error: error.map(str::to_owned),
            upstream: upstream.map(|(addr, via)| UpstreamSide {
                addr,
                via,
                ..UpstreamSide::default()
            }),
            tries: vec![Tried {
                addr: "[2001:db8::1]:443".into(),
                took_us: 250_000,
                error: Some("no answer".into()),
                reason: None,
            }],
            ..connection(0, Mode::Intercept, &format!("{host}:443"))
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_recorded_no_rule_makes_anything_up(
        rows in prop::collection::vec(any_row(), 0..40),
        dials in prop::collection::vec(any_dial(), 0..8),
        exit_code in prop::option::of(0..3_i32),
        processors in prop::option::of(0..70_u32),
        bar in any::<bool>(),
        stalls in prop::collection::vec((0..40_u64, 0..90 * S), 0..4),
        samples in prop::collection::vec(processes::any_sampled(), 0..12),
        wall_us in 0..100 * S,
        conflicts in prop::collection::vec(content::any_conflict(), 0..4),
        // Whoever wrote the recording may have written any number, and several runs.
        scale in prop::sample::select(vec![1, 1 << 30, 1 << 40, u64::MAX]),
        runs in 1..4_u32,
        texts in prop::collection::vec("(cut off by|the client|RST_STREAM|unknown|timed out)? ?[a-z]{0,8}", 0..40),
    ) {
        let mut rows: Vec<Row> = rows;
        rows.sort_by_key(|row| row.started);
        for (index, row) in rows.iter_mut().enumerate() {
            row.id = index as u64 + 1;
            row.run = index as u32 % runs;
            row.started = Timestamp::from_micros(row.started.as_micros().saturating_mul(scale));
            row.phases = row.phases.iter().map(|(phase, us)| (phase, us.saturating_mul(scale))).collect();
            row.own_us = row.own_us.saturating_mul(scale);
            row.bytes = row.bytes.saturating_mul(scale);
        }
        rows.sort_by_key(|row| row.run);
        let dials: Vec<Opened> = dials.into_iter().enumerate().map(|(index, dial)| Opened {
            id: index as u64 + 1,
            started_us: Timestamp::from_micros(dial.started_us.as_micros().saturating_mul(scale)),
            connect_us: dial.connect_us.map(|us| us.saturating_mul(scale)),
            ..dial
        }).collect();
        let separator = if bar { '|' } else { ',' };
        let mut made = Made::of(rows)
            .through(dials)
            .goproxy(&format!("https://goproxy.corp{separator}https://proxy.golang.org,direct"));
        made.manifest.exit_code = exit_code;
        made.manifest.processors = processors;
        made.manifest.wall_us = wall_us;
        made.manifest.conflicts = conflicts;
        made.samples = samples;
        for (index, sampled) in made.samples.iter_mut().enumerate() {
            sampled.run = index as u32 % runs;
            sampled.at = Timestamp::from_micros(sampled.at.as_micros().saturating_mul(scale));
        }
        made.samples.sort_by_key(|sampled| (sampled.run, sampled.at));
        made.stalls = stalls.iter().map(|(id, us)| stall(*id, Phase::Wait, *us)).collect();
        for (index, text) in texts.iter().enumerate() {
            made = made.says(index as u64 + 1, text).breaks(index as u64 + 1, text);
        }
        let findings = made.findings();
        let timeline = super::super::timeline::Timeline::of(&made.rows, &made.connections, wall_us, |_| false);
        let costs = findings.iter().filter(|finding| finding.severity != Severity::Note);
        let all: u128 = costs.map(|finding| u128::from(finding.cost_us)).sum();
        prop_assert!(all <= timeline.wall_us.into(), "{all} of {}: {findings:#?}", timeline.wall_us);
        for finding in &findings {
            prop_assert!(!finding.evidence.is_empty(), "{finding:#?}");
            prop_assert!(finding.cost_us <= timeline.wall_us);
            prop_assert!(finding.estimate_us.is_none_or(|us| us < timeline.wall_us && exit_code == Some(0)));
            prop_assert!(!finding.title.contains('\n'), "{finding:#?}");
            for evidence in &finding.evidence {
                let is_there = match &evidence.what {
                    Exhibit::Exchange { run, id } => made.rows.iter().any(|row| (row.run, row.id) == (*run, *id)),
                    Exhibit::Connection { run, id } => made.connections.contains_key(&(*run, *id)),
                    Exhibit::Sample { run, t_us } => made.samples.iter().any(|one| (one.run, one.at) == (*run, *t_us)),
                    Exhibit::Setting { .. } | Exhibit::File { .. } => true,
                };
                prop_assert!(is_there, "{finding:#?}");
            }
        }
        let sorted = findings.windows(2).all(|pair| pair[0].severity <= pair[1].severity);
        prop_assert!(sorted, "{findings:#?}");
    }
}

#[test]
fn advice_neither_weakens_security_nor_undoes_settings() {
    let weak = [
        "GOSUMDB=off",
        "GOINSECURE",
        "-insecure",
        "GONOSUMDB",
        "GONOSUMCHECK",
        "GOFLAGS=-insecure",
    ];
    for rule in RULES {
        // A page may name it to say that it is no help.
        let advice = rule.page.split("\nWhat does not help: ").next();
        for word in weak {
            let is_advised = advice.is_some_and(|advice| advice.contains(word));
            assert!(!is_advised, "{} {word}", rule.code);
        }
    }
    let private = "https://goproxy.corp,https://proxy.golang.org,direct";
    let refused = |id, status| Row {
        status: Some(status),
        ..row(
            id,
            &format!("https://goproxy.corp/{ZIP}"),
            0,
            &[(Phase::Wait, S)],
        )
    };
    let failing = Made::of(vec![refused(1, 502)]).goproxy(private).exit(1);
    let forbidden = Made::of(vec![refused(1, 403)]).goproxy(private).exit(1);
    let leaked = Made::of(vec![Row {
        status: Some(404),
        ..row(
            1,
            &format!("{GOLANG}/git.corp/m/@v/v1.0.0.info"),
            0,
            &[(Phase::Wait, S)],
        )
    }]);
    let leaked = leaked.setting("GOPRIVATE", "git.other,git.corp/x").exit(1);
    let leaked = leaked.says(1, "fatal: could not read Username for 'https://git.corp'");
    for (made, code) in [
        (&failing, "MT111"),
        (&forbidden, "MT115"),
        (&leaked, "MT114"),
    ] {
        let first = made.first();
        let hint = first.hint.expect("a hint");
        assert_eq!(first.code, code, "{hint}");
        assert!(weak.iter().all(|word| !hint.contains(word)), "{hint}");
        // A bar would tell the next entry what only the first may know.
        assert!(!hint.contains("goproxy.corp|"), "{hint}");
        if hint.contains("GOPRIVATE=") {
            assert!(hint.contains("git.other,git.corp/x,"), "{hint}");
        }
    }
}

#[test]
fn a_host_that_takes_its_time_for_everything_has_no_slow_probes() {
    let rows = |usual: u64| {
        let modules = (1..8).map(|n| answer(n, &format!("a.example/b/m{n}/@v/list"), n * S, usual));
        let probe = refused(9, "a.example/b/@v/list", 404, 9 * S, S);
        modules.chain([probe]).collect::<Vec<_>>()
    };
    assert!(!Made::of(rows(600_000)).codes().contains(&"MT126"));
    assert_eq!(Made::of(rows(10_000)).codes(), ["MT126"]);
}

#[test]
fn a_parent_proxy_that_is_down_is_not_the_host() {
    let mut dial = dead(2, "proxy.golang.org", 0, 30 * S);
    dial.upstream = Some(UpstreamSide {
        via: Some("http://proxy.corp:3128".into()),
        ..UpstreamSide::default()
    });
    dial.error = Some("cannot connect to proxy.corp:3128 (192.0.2.9:3128: no answer)".into());
    let made = Made::of(Vec::new()).through(vec![dial]).exit(1);
    let first = made.first();
    assert_eq!(first.code, "MT105");
    assert!(first.title.contains("proxy.corp:3128"), "{}", first.title);
}

#[test]
fn a_handshake_that_is_reset_is_named() {
    let mut dial = dead(2, "proxy.golang.org", 0, 1000);
    (dial.tls_us, dial.tries) = (Some(1000), Vec::new());
    dial.error = Some("TLS with proxy.golang.org: Connection reset by peer (os error 104)".into());
    let made = Made::of(Vec::new())
        .through(vec![dial])
        .exit(1)
        .goproxy(GOLANG);
    let first = made.first();
    assert_eq!(first.code, "MT107");
    assert!(first.title.contains("breaks off"), "{}", first.title);
}

#[test]
fn a_module_that_is_called_timeout_has_not_timed_out() {
    let module = "github.com/gin-contrib/timeout/@v/v9.9.9.info";
    let made = Made::of(vec![refused(1, module, 404, 0, 10_000)]);
    let text = "not found: github.com/gin-contrib/timeout@v9.9.9: invalid version: unknown revision v9.9.9";
    assert_eq!(made.says(1, text).exit(1).first().code, "MT124");
}

#[test]
fn a_thousand_versions_that_only_the_second_entry_has_are_one_note() {
    let url = |host: &str, n: u64| format!("https://{host}/a.example/m{n}/@v/v1.0.0.mod");
    let rows = (0..1000).flat_map(|n| {
        let gone = Row {
            status: Some(404),
            ..row(
                2 * n + 1,
                &url("goproxy.corp", n),
                n * 10_000,
                &[(Phase::Wait, 3000)],
            )
        };
        let there = row(
            2 * n + 2,
            &url("proxy.golang.org", n),
            n * 10_000 + 4000,
            &[(Phase::Wait, 3000)],
        );
        [gone, there]
    });
    let made = Made::of(rows.collect()).goproxy("https://goproxy.corp,https://proxy.golang.org");
    let findings = made.findings();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(
        (findings[0].code, findings[0].severity),
        ("MT124", Severity::Note)
    );
}

fn go_mod_of(id: ExchangeId, module: &str, started: u64, wait: u64) -> Row {
    answer(id, &format!("{module}/@v/v1.0.0.mod"), started, wait)
}

#[test]
fn a_graph_that_is_not_pruned_is_told_by_the_requirement_at_which_most_of_it_hangs() {
    // `a.example/old` requires all, one after another.
    let made = |files: u64, zips: u64, go: &str, wait: u64| {
        let path = |n: u64| format!("a.example/m{n}");
        let mut rows = vec![go_mod_of(1, "a.example/old", 0, wait)];
        rows.extend((2..files).map(|n| go_mod_of(n, &path(n), n * wait, wait)));
        rows.extend((0..zips).map(|n| {
            let path = format!("a.example/m{}/@v/v1.0.0.zip", n + 2);
            answer(10_000 + n, &path, files * wait, 1000)
        }));
        let require: String = (2..files)
            .map(|n| format!("require {} v1.0.0\n", path(n)))
            .collect();
        let made = Made::of(rows)
            .main("module a.example/main\ngo 1.22\nrequire a.example/old v1.0.0\n")
            .serves(1, &format!("module a.example/old\n{go}{require}"));
        (2..files).fold(made, |made, n| {
            made.serves(n, &format!("module {}\n{go}", path(n)))
        })
    };
    let found = |made: &Made| {
        let findings = made.findings().into_iter();
        let mut found = findings.filter(|finding| finding.code == "MT134");
        found.next()
    };
    let many = found(&made(1200, 3, "", 20_000)).expect("it is told");
    assert_eq!(many.severity, Severity::Slow);
    assert!(
        many.title.contains("1199 hang at a.example/old v1.0.0"),
        "{}",
        many.title
    );
    assert!(
        many.title
            .starts_with("1199 go.mod files were read, only 3 zips"),
        "{}",
        many.title
    );
    let some = found(&made(200, 3, "go 1.16\n", 20_000)).expect("it is noted");
    assert_eq!(some.severity, Severity::Note);
    // All are required by the main module itself, whose go line is old too.
    let require: String = (2..200)
        .map(|n| format!("require a.example/m{n} v1.0.0\n"))
        .collect();
    let flat = made(200, 3, "go 1.16\n", 20_000);
    let flat = flat.serves(1, "module a.example/old\ngo 1.16\n");
    let flat = found(&flat.main(&format!("module a.example/main\ngo 1.16\n{require}")));
    let flat = flat.expect("it is noted");
    assert!(!flat.title.contains("hang at"), "{}", flat.title);
    assert!(
        flat.hint
            .is_some_and(|hint| hint.contains("go mod tidy -go="))
    );
    // They cost little.
    let quick = found(&made(1200, 3, "", 2000)).expect("it is noted");
    assert_eq!(quick.severity, Severity::Note);
    // Few files, many zips, or a graph that is pruned.
    assert_eq!(found(&made(100, 3, "", 20_000)), None);
    assert_eq!(found(&made(200, 100, "", 20_000)), None);
    assert_eq!(found(&made(1200, 3, "go 1.17\n", 20_000)), None);
}

#[test]
fn a_renamed_module_is_a_problem_where_go_refused_it_and_a_fork_may_keep_its_name() {
    let made = |main: &str| {
        let rows = vec![go_mod_of(1, "a.example/old", 0, 1000)];
        Made::of(rows)
            .main(&format!("module a.example/main\ngo 1.22\n{main}"))
            .serves(1, "module a.example/new\n")
            .exit(1)
    };
    let first = made("require a.example/old v1.0.0\n").first();
    assert_eq!((first.code, first.severity), ("MT305", Severity::Problem));
    let expected = "a.example/old v1.0.0 calls itself a.example/new in its go.mod: \
        the module was renamed (a.example/main requires it by the old path)";
    assert_eq!(first.title, expected);
    assert_eq!(made("").exit(0).first().severity, Severity::Note);
    let fork =
        made("require a.example/new v1.0.0\nreplace a.example/new => a.example/old v1.0.0\n");
    assert_eq!(fork.all(), [""; 0]);
    let same = made("").serves(1, "module a.example/old\n");
    assert_eq!(same.all(), [""; 0]);
}

#[test]
fn what_was_retracted_is_noted_if_it_is_used() {
    let made = |used: &str| {
        let newest = answer(1, "a.example/m/@v/v1.3.0.mod", 0, 1000);
        let main = format!("module a.example/main\ngo 1.22\nrequire a.example/m {used}\n");
        Made::of(vec![newest]).main(&main).serves(
            1,
            "module a.example/m // Deprecated: use a.example/n\nretract [v1.0.0, v1.1.0] // a race\n",
        )
    };
    let told = |made: &Made| -> Vec<String> {
        let findings = made.findings().into_iter();
        findings.map(|finding| finding.title).collect()
    };
    let deprecated = "a.example/m is deprecated: use a.example/n";
    let retracted = "a.example/m v1.1.0 was retracted by its authors: a race";
    assert_eq!(told(&made("v1.1.0")), [deprecated, retracted]);
    assert_eq!(told(&made("v1.1.1")), [deprecated]);
    assert_eq!(told(&made("v1.1.1 // indirect")), [""; 0]);
    // What the command names is the user's own choice, whatever go.mod says of it by then.
    let mut named = made("v1.1.1 // indirect");
    named.manifest.command = ["go", "get", "a.example/m/cmd@v1.1.1"]
        .map(str::to_owned)
        .into();
    assert_eq!(told(&named), [deprecated]);
    assert_eq!(made("v1.1.0").codes(), [""; 0]);
}

#[test]
fn what_was_answered_is_asked_again_only_in_a_loop() {
    let made = |times: u64, urls: u64| {
        let rows = (0..times * urls).map(|n| {
            answer(
                n + 1,
                &format!("a.example/m{}/@v/v1.0.0.mod", n % urls),
                n * 200_000,
                200_000,
            )
        });
        Made::of(rows.collect())
    };
    let told = made(10, 6);
    assert!(told.codes().contains(&"MT211"), "{:?}", told.codes());
    let findings = told.findings().into_iter();
    let found = findings.into_iter().find(|finding| finding.code == "MT211");
    let title = found.map(|finding| finding.title).unwrap_or_default();
    assert!(
        title.contains("6 requests were sent again and again, up to 10 times"),
        "{title}"
    );
    assert!(!made(4, 10).codes().contains(&"MT211"));
    assert!(!made(5, 4).codes().contains(&"MT211"));
    // A recorder without a command serves many go commands.
    let mut many = made(10, 6);
    many.manifest.command.clear();
    assert!(!many.codes().contains(&"MT211"));
}

#[test]
fn a_go_line_is_too_new_only_where_go_may_not_switch() {
    let made = |main: &str, toolchain: &str| {
        Made::of(vec![go_mod_of(1, "a.example/m", 0, 1000)])
            .main(&format!(
                "module a.example/main\ngo {main}\nrequire a.example/m v1.0.0\n"
            ))
            .serves(1, "module a.example/m\ngo 1.25.0\n")
            .setting("GOVERSION", "go1.24.1")
            .setting("GOTOOLCHAIN", toolchain)
            .exit(1)
    };
    let dependency = made("1.24", "local").first();
    assert_eq!(
        (dependency.code, dependency.severity),
        ("MT118", Severity::Problem)
    );
    let title = "a.example/m v1.0.0 needs Go 1.25.0, and GOTOOLCHAIN=local forbids any but 1.24.1";
    assert_eq!(dependency.title, title);
    let own = made("1.24.2", "local").first();
    assert!(
        own.title.starts_with("your go.mod needs Go 1.24.2"),
        "{}",
        own.title
    );
    let named = made("1.24", "go1.23.4").first();
    assert!(
        named.title.ends_with("forbids any but 1.23.4"),
        "{}",
        named.title
    );
    for (made, why) in [
        (made("1.24", "auto"), "it may switch"),
        (made("1.24", "go1.24.1+auto"), "it may switch"),
        (made("1.24", "local").exit(0), "it worked"),
        (
            made("1.24", "local").setting("GOVERSION", "go1.25.0"),
            "it is new enough",
        ),
        (
            made("1.24", "local").setting("GOVERSION", "go1.20.1"),
            "it does not mind",
        ),
    ] {
        assert!(!made.all().contains(&"MT118"), "{why}");
    }
}

#[test]
fn a_downloaded_toolchain_is_told_with_what_asks_for_it() {
    let path = "golang.org/toolchain/@v/v0.0.1-go1.99.0.linux-amd64.zip";
    let made = || {
        let zip = Row {
            bytes: 3_000_000,
            ..answer(1, path, 0, 3 * S)
        };
        Made::of(vec![zip])
    };
    for (made, title) in [
        (
            made().main("module a.b/c\ngo 1.99.0\n"),
            "your go.mod asks for go1.99.0 (`go 1.99.0`), and go1.27.3 downloaded it: 3.0 MB",
        ),
        (
            made().setting("GOTOOLCHAIN", "go1.99.0+auto"),
            "GOTOOLCHAIN asks for go1.99.0, and",
        ),
        (made(), "go1.99.0 was to run, and"),
    ] {
        let first = made.first();
        assert_eq!(first.code, "MT131");
        assert!(first.title.starts_with(title), "{}", first.title);
    }
}

#[test]
fn a_toolchain_that_no_proxy_has_is_told_with_the_line_that_asks_for_it() {
    let path = "golang.org/toolchain/@v/v0.0.1-go1.99.0.linux-amd64.zip";
    let made = |line: &str| {
        Made::of(vec![refused(1, path, 404, 0, 1000)])
            .main(&format!("module a.example/main\n{line}\n"))
            .setting("GOTOOLCHAIN", "auto")
            .exit(1)
    };
    for (line, asks) in [
        ("go 1.99.0", "your go.mod asks for go1.99.0 (`go 1.99.0`)"),
        (
            "go 1.21\ntoolchain go1.99.0",
            "your go.mod asks for go1.99.0 (`toolchain go1.99.0`)",
        ),
        (
            "go 1.9",
            "go1.99.0 was to run in place of the Go that is installed",
        ),
    ] {
        let first = made(line).first();
        assert_eq!((first.code, first.severity), ("MT118", Severity::Problem));
        let title = format!("{asks}, and proxy.golang.org does not have that toolchain");
        assert_eq!(first.title, title);
        assert_eq!(made(line).codes().len(), 1, "{:?}", made(line).codes());
    }
    assert!(!made("go 1.99.0").exit(0).all().contains(&"MT118"));
}

#[test]
fn a_recording_of_nothing_says_why() {
    let empty = Made::of(Vec::new()).through(Vec::new());
    let first = empty.first();
    assert_eq!((first.code, first.severity), ("MT901", Severity::Note));
    assert!(
        first
            .title
            .starts_with("nothing was recorded: the module cache"),
        "{}",
        first.title
    );
    assert!(first.hint.is_some_and(|hint| hint.contains("--cold")));
    let off = empty.goproxy("off").first();
    assert!(off.title.contains("GOPROXY=off"), "{}", off.title);
    assert!(!Made::of(quick(1, 0)).all().contains(&"MT901"));
}
