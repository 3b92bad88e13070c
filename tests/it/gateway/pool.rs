//! Upstream connections that clients share: what one of them meets is no other's matter.

use modtape::clock::Timestamp;
use modtape::exchange::{DialFailure, Ending, Exchange, Opened, Phase};

use serde_json::Value;

use super::clients::{Asked, Asking};
use super::front::{answers, command, get};
use super::*;

/// How many requests share an HTTP/2 connection.
const SHARED: usize = 32;

/// An origin that answers all, after `rules`.
fn origin(alpn: Alpn, rules: impl IntoIterator<Item = Rule>) -> Origin {
    let origin = Origin::builder(Content::default()).alpn(alpn);
    let origin = rules
        .into_iter()
        .fold(origin, |origin, rule| origin.rule(rule));
    origin
        .rule(Rule::any().status(200).body("fetched\n"))
        .start()
}

fn on(path: &'static str) -> Rule {
    Rule::when(move |served| served.path == path)
}

fn fetched() -> (u16, String) {
    (200, String::from("fetched\n"))
}

/// The number of the origin's connection on which a path was asked for.
fn connection_of(origin: &Origin, path: &str) -> u64 {
    let requests = origin.requests();
    let served = requests.iter().find(|served| served.path == path);
    served.expect("it was asked for").connection
}

/// The exchange for a path.
fn exchange(recording: &Recording, path: &str) -> Exchange {
    let all = exchanges(recording);
    let mut of_path = all
        .into_iter()
        .filter(|exchange| exchange.begin.url.ends_with(path));
    of_path.next().expect("it is on record")
}

/// A dial that went on until the recorder ended.
fn is_stopped(dial: &Opened) -> bool {
    dial.reason == Some(DialFailure::Stopped)
}

#[test]
fn a_connection_that_was_silent_gets_no_further_request() {
    for alpn in [Alpn::Both, Alpn::Http1] {
        let origin = origin(alpn, [on("/go/silent").silent()]);
        let sandbox = Sandbox::new();
        let flags = ["--token", "none", "--upstream-idle-timeout", "200ms"];
        let record = command(&sandbox, &origin, &flags);
        let asked = ["/p0/a", "/p0/silent", "/p0/b", "/p0/c"].map(|path| get(path, "ADDRESS"));
        let asked = asked.each_ref().map(String::as_str);
        let (answers, _) = answers(&sandbox, record, &asked);
        let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [200, 504, 200, 200], "{alpn:?}");
        assert_eq!(origin.connections(), 2, "{alpn:?}");
    }
}

#[test]
fn the_connections_of_clients_and_the_dials_upstream_are_told_apart() {
    let (origin, sandbox) = (origin(Alpn::Both, []), Sandbox::new());
    let record = command(&sandbox, &origin, &["--token", "none"]);
    let path = get("/p0/a", "ADDRESS");
    // One connection each.
    let (answers, _) = answers(&sandbox, record, &[&path, &path, &path]);
    let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200]);
    let told = |args: &[&str]| {
        let modtape = sandbox.modtape(args.iter().copied());
        run(modtape, LIMIT).expect_success().stdout
    };
    let info = told(&["recordings", "info", "one"]);
    let line = info.lines().find(|line| line.starts_with("connections"));
    assert_eq!(line, Some("connections  3; 1 dial upstream"));
    let report: Value =
        serde_json::from_str(&told(&["report", "one", "--format", "json"])).expect("JSON");
    assert_eq!(report["hosts"]["a.example"]["dials"], 1, "{report:#}");
}

#[test]
fn requests_that_come_at_once_share_the_first_http2_connection() {
    let origin = origin(Alpn::Both, []);
    // All of them are there before it is known what the origin speaks.
    origin.add_handshake(Handshake::any().delay(Duration::from_millis(300)));
    let gateway = Asking::start(&origin, |_| {});
    let asked: Vec<Asked> = (0..24)
        .map(|number| gateway.ask(&format!("/p0/{number}")))
        .collect();
    for asked in asked {
        assert_eq!(asked.answer(), fetched());
    }
    assert_eq!(origin.connections(), 1);
    let (recording, _) = gateway.end();
    let all = exchanges(&recording);
    let dialled = all
        .iter()
        .filter(|exchange| exchange.timings()[Phase::Connect].is_some());
    assert_eq!(dialled.count(), 1);
}

#[test]
fn a_request_takes_the_stream_that_becomes_free_before_its_own_connection_is_there() {
    let held = Rule::when(|served| served.path.starts_with("/go/held"));
    let origin = origin(
        Alpn::Both,
        [held.status(200).generated(100_000).stall_after(10)],
    );
    let gateway = Asking::start(&origin, |_| {});
    let mut held: Vec<Asked> = (0..SHARED)
        .map(|number| gateway.ask(&format!("/p0/held/{number}")))
        .collect();
    for held in &mut held {
        assert_eq!(held.head().0, 200);
    }
    assert_eq!(origin.connections(), 1);
    origin.add_handshake(Handshake::any().silent());
    let asked = gateway.ask("/p0/x");
    origin.wait_for(|log| log.connections.len() == 2, LIMIT);
    // Its client leaves.
    drop(held.pop());
    assert_eq!(asked.answer(), fetched());
    assert_eq!(connection_of(&origin, "/go/x"), 0);
    drop(held);
    let (recording, _) = gateway.end();
    let exchange = exchange(&recording, "/go/x");
    assert_eq!(exchange.timings()[Phase::Connect], None);
    assert_eq!(exchange.timings()[Phase::Tls], None);
    let row = recording.connection(exchange.begin.connection);
    let mut dials = row.expect("it is on record").dials();
    assert!(dials.any(is_stopped), "it was not waited for");
}

#[test]
fn a_request_takes_the_http1_connection_that_another_has_done_with() {
    let slow = on("/go/slow")
        .status(200)
        .body("fetched\n")
        .delay(Duration::from_millis(300));
    let origin = origin(Alpn::Http1, [slow]);
    let gateway = Asking::start(&origin, |_| {});
    assert_eq!(gateway.answer("/p0/a"), fetched());
    let slow = gateway.ask("/p0/slow");
    origin.wait_for(|log| log.requests.len() == 2, LIMIT);
    origin.add_handshake(Handshake::any().silent());
    let asked = gateway.ask("/p0/x");
    assert_eq!(asked.answer(), fetched());
    assert_eq!(slow.answer(), fetched());
    assert_eq!(connection_of(&origin, "/go/x"), 0);
    assert_eq!(origin.connections(), 2);
    let (recording, _) = gateway.end();
    let exchange = exchange(&recording, "/go/x");
    assert_eq!(exchange.timings()[Phase::Connect], None);
    // It says which connection it went through, though the other was dialled for it.
    let row = recording
        .connection(exchange.begin.connection)
        .expect("it is on record");
    let of_first = recording.connections().next().expect("it is on record");
    let local = |dial: &Opened| dial.upstream.as_ref().and_then(|it| it.local_addr.clone());
    let until = Timestamp::from_micros(u64::MAX);
    let [used, first] =
        [row, of_first].map(|row| local(row.dial_of(&exchange.begin.url, until).expect("one")));
    assert!(used.is_some() && used == first, "{row:#?}");
    assert!(row.dials().any(is_stopped), "{row:#?}");
}

#[test]
fn a_connection_that_came_too_late_for_its_request_is_the_next_ones() {
    let slow = on("/go/slow")
        .status(200)
        .body("fetched\n")
        .delay(Duration::from_millis(300));
    let origin = origin(Alpn::Http1, [slow]);
    let gateway = Asking::start(&origin, |_| {});
    assert_eq!(gateway.answer("/p0/a"), fetched());
    let slow = gateway.ask("/p0/slow");
    origin.wait_for(|log| log.requests.len() == 2, LIMIT);
    origin.add_handshake(Handshake::any().delay(Duration::from_millis(800)));
    assert_eq!(gateway.answer("/p0/x"), fetched());
    assert_eq!(connection_of(&origin, "/go/x"), 0);
    assert_eq!(slow.answer(), fetched());
    origin.wait_for(|log| log.connections[1].alpn.is_some(), LIMIT);
    let slow = gateway.ask("/p0/slow");
    origin.wait_for(|log| log.requests.len() == 4, LIMIT);
    assert_eq!(gateway.answer("/p0/y"), fetched());
    assert_eq!(slow.answer(), fetched());
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_body_ends_the_request_and_no_other() {
    for (alpn, connections) in [(Alpn::Both, 1), (Alpn::Http1, 2)] {
        let held = on("/go/held")
            .status(200)
            .generated(100_000)
            .stall_after(10);
        let origin = origin(alpn, [held]);
        let gateway = Asking::start(&origin, |_| {});
        let mut held = gateway.ask("/p0/held");
        assert_eq!(held.head().0, 200);
        drop(held);
        let log = origin.wait_for(|log| log.requests[0].is_over, LIMIT);
        assert!(!log.requests[0].is_complete, "{alpn:?}");
        assert_eq!(gateway.answer("/p0/x"), fetched(), "{alpn:?}");
        assert_eq!(origin.connections(), connections, "{alpn:?}");
        let (recording, _) = gateway.end();
        let Ending::Aborted(abort) = exchange(&recording, "/go/held").ending else {
            panic!("{alpn:?}: it has an end");
        };
        let why = "the client closed its connection before the end of the response";
        assert_eq!((abort.status, &*abort.why), (Some(200), why), "{alpn:?}");
    }
}

#[test]
fn a_client_that_leaves_while_it_waits_ends_the_request_and_its_connection() {
    for alpn in [Alpn::Both, Alpn::Http1] {
        let origin = origin(alpn, [on("/go/silent").silent()]);
        let gateway = Asking::start(&origin, |_| {});
        // What HTTP/2 begins with is over.
        assert_eq!(gateway.answer("/p0/a"), fetched());
        let silent = gateway.ask("/p0/silent");
        origin.wait_for(|log| log.requests.len() == 2, LIMIT);
        drop(silent);
        origin.wait_for(|log| log.requests[1].is_over, LIMIT);
        // It may be dead.
        assert_eq!(gateway.answer("/p0/x"), fetched(), "{alpn:?}");
        assert_eq!(connection_of(&origin, "/go/x"), 1, "{alpn:?}");
        let (recording, _) = gateway.end();
        let Ending::Aborted(abort) = exchange(&recording, "/go/silent").ending else {
            panic!("{alpn:?}: it has an end");
        };
        let why = "the client closed its connection before a.example answered";
        assert_eq!((abort.status, &*abort.why), (None, why), "{alpn:?}");
    }
}

#[test]
fn unused_connections_are_kept_up_to_a_hundred() {
    let origin = origin(Alpn::Both, []);
    let hosts = 110;
    let list: Vec<_> = (0..hosts)
        .map(|number| format!("https://h{number}.example"))
        .collect();
    let gateway = Asking::start(&origin, |record| {
        record.env("GOPROXY", list.join(","));
    });
    for number in 0..hosts {
        assert_eq!(gateway.answer(&format!("/p{number}/x")), fetched());
    }
    // The last one was in use when it was looked for those that are too many.
    let closed = |log: &Log| -> Vec<u64> {
        let closed = log.connections.iter().filter(|it| it.is_closed);
        closed.map(|it| it.id).collect()
    };
    let too_many = hosts - 101;
    let log = origin.wait_for(|log| closed(log).len() == too_many, LIMIT);
    let oldest: Vec<u64> = (0..too_many as u64).collect();
    assert_eq!(closed(&log), oldest);
}
