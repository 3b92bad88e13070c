//! Answers that are none: statuses, redirects, what broke off, what came late or bit by bit.

use super::*;
use crate::exchange::DialFailure;
use crate::gomod::Kind;
use crate::recording::format::Fault;

/// A first request on a connection that took so long to make.
fn dialling(connect: u64, tls: u64) -> Made {
    let phases = [
        (Phase::Connect, connect),
        (Phase::Tls, tls),
        (Phase::Wait, S / 100),
    ];
    let row = row(
        1,
        &format!("{GOLANG}/a.example/m/@v/v1.0.0.mod"),
        0,
        &phases,
    );
    Made::of(vec![row]).through(vec![Opened {
        connect_us: Some(connect),
        tls_us: Some(tls),
        ..dialled(1, "proxy.golang.org")
    }])
}

#[test]
fn a_slow_step_of_a_dial_is_told_unless_the_way_is_long() {
    let first = dialling(S / 20, 6 * S).first();
    assert_eq!((first.code, first.severity), ("MT107", Severity::Slow));
    assert!(
        first.title.contains("1 TLS handshake took up to 6.0"),
        "{}",
        first.title
    );
    let first = dialling(3 * S, S / 20).first();
    assert_eq!((first.code, first.severity), ("MT106", Severity::Slow));
    assert!(
        first.title.contains("1 TCP connect took up to 3.0"),
        "{}",
        first.title
    );
    // Each round trip takes as long.
    let far = dialling(S, S).all();
    assert!(
        !far.contains(&"MT107") && !far.contains(&"MT106"),
        "{far:?}"
    );
    // A parent proxy connects in its own time, and another address that did not answer is another cause.
    let mut made = dialling(3 * S, S / 20);
    let opened = Opened {
        connect_us: Some(3 * S),
        tls_us: Some(S / 20),
        upstream: Some(UpstreamSide {
            via: Some("http://proxy.corp:3128".into()),
            ..UpstreamSide::default()
        }),
        ..dialled(1, "proxy.golang.org")
    };
    made.connections = connections(vec![opened]);
    assert!(!made.all().contains(&"MT106"), "{:?}", made.all());
}

#[test]
fn a_status_that_is_no_answer_is_named_and_a_redirect_or_gits_own_is_not() {
    let path = "a.example/m/@v/v1.0.0.info";
    let made = |status| {
        let made = Made::of(vec![refused(1, path, status, 0, 1000)]).exit(1);
        made.goproxy(GOLANG)
    };
    for status in [204, 206, 304, 400, 451] {
        let first = made(status).first();
        assert_eq!(first.code, "MT122", "{status}");
        let expected = format!("proxy.golang.org answered 1 request with {status}, which");
        assert!(first.title.starts_with(&expected), "{}", first.title);
    }
    assert_eq!(
        made(503).first().title,
        "proxy.golang.org failed: it answered 1 request with 503, first info a.example/m v1.0.0"
    );
    let comma = made(204).goproxy("https://proxy.golang.org,direct").first();
    assert_eq!(comma.code, "MT111");
    for status in [200, 302, 307] {
        assert!(!made(status).all().contains(&"MT122"), "{status}");
    }
    let git = |status| {
        let url = "https://git.corp.example/team/m.git/info/refs?service=git-upload-pack";
        let row = Row {
            status: Some(status),
            ..row(1, url, 0, &[(Phase::Wait, 1000)])
        };
        Made::of(vec![row])
            .through(vec![dialled(1, "git.corp.example")])
            .exit(1)
    };
    assert!(!git(204).all().contains(&"MT122"));
    assert!(git(500).all().contains(&"MT122"));
}

#[test]
fn redirects_in_a_loop_are_one_cause_a_host() {
    let hop = |id, path: &str| refused(id, path, 302, id * 1000, 900);
    let rows: Vec<Row> = (0..10)
        .flat_map(|n| {
            [
                hop(2 * n + 1, ZIP),
                hop(2 * n + 2, "a.example/m/@v/v1.1.0.zip"),
            ]
        })
        .collect();
    let made = Made {
        redirects: true,
        ..Made::of(rows).exit(1)
    };
    let findings = made.findings();
    let loops: Vec<_> = findings
        .iter()
        .filter(|finding| finding.code == "MT110")
        .collect();
    let [found] = &loops[..] else {
        panic!("{findings:#?}")
    };
    assert_eq!(found.severity, Severity::Problem);
    assert!(
        found
            .title
            .starts_with("proxy.golang.org redirects zip a.example/m v1.0.0 in a loop"),
        "{}",
        found.title
    );
    assert!(
        found.title.ends_with(", and 1 more request"),
        "{}",
        found.title
    );
    assert_eq!(
        found.evidence[0].shows,
        "zip a.example/m v1.0.0: 10 redirects"
    );
}

#[test]
fn what_could_not_be_passed_on_is_no_body_that_was_cut() {
    let why = "modtape: proxy.golang.org answered with both Content-Length and Transfer-Encoding";
    let ours = Row {
        made_by: Some(MadeBy::Modtape),
        bytes: 82,
        ..refused(1, ZIP, 502, 0, 1000)
    };
    let first = Made::of(vec![ours]).breaks(1, why).exit(1).first();
    assert_eq!(first.code, "MT109");
    assert_eq!(
        first.title,
        "proxy.golang.org gave zip a.example/m v1.0.0 no answer that could be passed on: \
         proxy.golang.org answered with both Content-Length and Transfer-Encoding"
    );
}

#[test]
fn a_body_that_comes_in_drops_is_not_one_that_stopped() {
    let made = |bytes, silence_us| {
        let row = row(
            1,
            &format!("{GOLANG}/{ZIP}"),
            0,
            &[(Phase::Wait, 1000), (Phase::Receive, 12 * S)],
        );
        let row = Row {
            bytes,
            ..given_up(row)
        };
        let mut made = Made::of(vec![row])
            .breaks(1, "cut off by --timeout")
            .exit(124);
        made.texts.entry(1).or_default().longest_silence_us = silence_us;
        made.findings().into_iter().next()
    };
    let told = |bytes, silence_us| made(bytes, silence_us).expect("a finding");
    let first = told(4, Some(3 * S));
    assert_eq!(
        (first.code, first.confidence),
        ("MT101", Confidence::Certain)
    );
    assert!(
        first.title.contains("in drops: 4 B in 12.0 s"),
        "{}",
        first.title
    );
    let first = told(1_000_000, Some(11 * S));
    assert!(first.is_stall && first.confidence == Confidence::Certain);
    assert!(
        first.title.contains("stopped in the middle"),
        "{}",
        first.title
    );
    // A download that its user broke off.
    for silence_us in [None, Some(2 * S)] {
        let found = made(150_000_000, silence_us);
        let is_note = |found: &Finding| found.severity == Severity::Note;
        assert!(found.as_ref().is_none_or(is_note), "{found:?}");
    }
}

#[test]
fn wrong_contents_of_a_host_are_one_cause_that_names_the_module_and_not_the_path_above_it() {
    let fault = |exchange, kind, what: &str| Fault {
        run: 0,
        exchange,
        kind,
        what: what.into(),
        host: "proxy.golang.org".into(),
        why: "it is an HTML page".into(),
    };
    let paths = ["a.example/@v/v1.0.0.info", "a.example/m/@v/v1.0.0.info"];
    let rows = (1..).zip(paths).map(|(id, path)| answer(id, path, 0, 1000));
    let mut made = Made::of(rows.collect()).exit(1);
    made.manifest.replayable.faults = vec![
        fault(1, Kind::Info, "info a.example v1.0.0"),
        fault(2, Kind::Info, "info a.example/m v1.0.0"),
    ];
    let findings = made.findings();
    let [found] = &findings[..] else {
        panic!("{findings:#?}")
    };
    assert_eq!(
        found.title,
        "proxy.golang.org answered info a.example/m v1.0.0 with something else: it is an HTML page, \
         and 1 more request"
    );
    assert_eq!(found.evidence.len(), 2);
    assert!(
        found
            .hint
            .as_deref()
            .is_some_and(|hint| hint.contains("modtape show 2"))
    );
}

#[test]
fn one_dial_of_many_that_was_silent_does_not_speak_for_those_that_were_refused() {
    let broken = |id| Opened {
        tls_us: Some(S / 10),
        error: Some("TLS with proxy.golang.org: it reset the connection".into()),
        reason: Some(DialFailure::TlsClosed),
        ..dialled(id, "proxy.golang.org")
    };
    let silent = Opened {
        tls_us: Some(6 * S),
        error: Some("cut off by Ctrl-C".into()),
        reason: Some(DialFailure::CutOff),
        ..broken(9)
    };
    let mut dials: Vec<Opened> = (1..=4).map(broken).collect();
    dials.push(silent);
    let first = Made::of(Vec::new()).through(dials).exit(130).first();
    assert_eq!(first.code, "MT107");
    assert!(
        first.title.contains("breaks off the TLS handshake"),
        "{}",
        first.title
    );
    assert!(!first.is_stall);
}

#[test]
fn a_host_that_answers_others_is_not_one_that_cannot_be_reached() {
    let mut dials = vec![dialled(1, "proxy.golang.org")];
    dials.push(dead(2, "proxy.golang.org", S, 30 * S));
    let made = |rows| Made::of(rows).goproxy(GOLANG).exit(1);
    let mut rows = quick(10, 0);
    rows.push(answer(1, ZIP, 40 * S, 1000));
    let some = made(rows).through(dials.clone());
    let found = some
        .findings()
        .into_iter()
        .find(|found| found.code == "MT106")
        .expect("MT106");
    assert_eq!(found.severity, Severity::Slow);
    assert!(
        found
            .title
            .starts_with("proxy.golang.org is not always reached: 1 dial"),
        "{}",
        found.title
    );
    assert!(
        found
            .hint
            .as_deref()
            .is_some_and(|hint| !hint.contains("goproxy.cn"))
    );
    let none = made(Vec::new()).through(dials.split_off(1)).first();
    assert!(
        none.title
            .starts_with("proxy.golang.org cannot be reached: 1 dial"),
        "{}",
        none.title
    );
    // In place of a proxy of one's own no public one is named.
    let own = Made::of(Vec::new())
        .goproxy("https://goproxy.corp")
        .through(vec![dead(2, "goproxy.corp", S, 30 * S)])
        .exit(1)
        .first();
    assert_eq!(own.code, "MT106");
    assert!(
        own.hint
            .as_deref()
            .is_some_and(|hint| !hint.contains("goproxy.cn")),
        "{:?}",
        own.hint
    );
}
