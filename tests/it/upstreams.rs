//! Upstreams that fail, and answers of every shape: the client meets what it would meet without us.
//!
//! Where there is an answer it passes unchanged. Where there is none ours says so in its place:
//! never a byte of an origin that could not be verified, never a 404 or 410 of our making.

mod bodies;
mod causes;
mod hangs;
mod leniency;
mod log;
mod real_go;
mod refusals;
mod silence;
mod tls_failures;
mod uploads;

use std::net::TcpListener;

use modtape::exchange::{Ending, Exchange, MadeBy, Phase};

use crate::support::*;

const HOST: &str = "proxy.golang.org";

/// What no client may see of an origin that was not verified.
const MARK: &str = "bytes of the origin";

fn marked() -> Content {
    Content::files([((HOST, "/a"), (200, "text/plain", MARK))])
}

async fn session(recorder: &Recorder, alpn: Alpn) -> Session {
    let hello = recorder.hello(HOST).alpn(alpn);
    Client::session(recorder.proxy(), &hello).await
}

/// An address where nobody listens.
fn nobody() -> String {
    let gone = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    gone.local_addr().expect("it is bound").to_string()
}

/// The answer is ours, tells `reason`, and is no word of the origin's.
#[track_caller]
fn assert_ours(answer: &Response, status: u16, reason: &str) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    assert!(
        text.starts_with("modtape: ") && text.contains(reason),
        "{text:?} without {reason:?}"
    );
    assert!(!text.contains(MARK) && text.lines().count() == 1, "{text}");
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("text/plain; charset=utf-8"), "go shows no other");
    assert!(
        answer.header("x-modtape-id").is_some(),
        "{:?}",
        answer.headers
    );
    assert_eq!(answer.ended, Ended::Clean);
}

/// The recording says that the answer is ours.
#[track_caller]
fn assert_recorded_as_ours(exchange: &Exchange, answer: &Response) {
    let end = exchange.end().unwrap_or_else(|| panic!("{exchange:?}"));
    assert_eq!(
        (end.status, end.made_by),
        (answer.status, MadeBy::Modtape),
        "{end:?}"
    );
    let body = end.body.as_ref().expect("it has a body");
    assert_eq!(body.sha256.to_string(), answer.body_sha256);
}

/// The recording says that the answer stopped after `bytes` bytes of its body.
#[track_caller]
fn assert_aborted(exchange: &Exchange, bytes: u64) {
    let Ending::Aborted(abort) = &exchange.ending else {
        panic!("{exchange:?}")
    };
    assert_eq!(
        (abort.status, abort.body_bytes),
        (Some(200), bytes),
        "{abort:?}"
    );
    assert!(abort.why.starts_with(HOST), "{abort:?}");
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_in_the_reason_phrase() {
    let long = "x".repeat(64);
    // No label of a name is longer than 63 bytes (RFC 1035 section 2.3.4): no resolver asks anyone.
    let unresolvable = format!("--connect-to=::{long}.invalid:443");
    let refused = format!("--connect-to=::{}", nobody());
    for (flag, reason) in [
        (&refused, "Connection refused"),
        (&unresolvable, "modtape: cannot resolve xxx"),
    ] {
        let root = TestRoot::new();
        let mut root_pem = tempfile::NamedTempFile::new().expect("a temporary file");
        std::io::Write::write_all(&mut root_pem, root.pem().as_bytes()).expect("it takes it");
        let recorder = Recorder::trusting(root_pem.path(), &[flag]);
        let client = Client::open(recorder.proxy()).await;
        let answer = client.connect(&format!("{HOST}:443"), &[]).await;
        assert_eq!(answer.status, 502, "{}", answer.head);
        assert!(
            answer.reason.starts_with("modtape: cannot "),
            "{}",
            answer.reason
        );
        assert!(answer.reason.contains(reason), "{}", answer.reason);
        let recorded = recorder.finish().await;
        let error = recorded.opened().remove(0).error.expect("it failed");
        assert_eq!(format!("modtape: {error}"), answer.reason);
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_off_before_its_head_is_told_in_a_502() {
    let origin = Origin::builder(marked())
        .rule(Rule::suffix("/reset").reset())
        .rule(Rule::suffix("/hang-up").hang_up())
        .start();
    let recorder = Recorder::to(&origin, &[]);
    let mut answers = Vec::new();
    for alpn in [Alpn::Http1, Alpn::Http2] {
        for path in ["/reset", "/hang-up"] {
            let mut session = session(&recorder, alpn).await;
            let answer = session.get(path).await.expect("an answer of ours");
            assert_ours(&answer, 502, &format!("{HOST} "));
            answers.push(answer);
        }
    }
    let recorded = recorder.finish().await;
    for (exchange, answer) in recorded.exchanges().iter().zip(&answers) {
        assert_recorded_as_ours(exchange, answer);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_told_in_a_502() {
    let raw = RawOrigin::start(|_| vec![Step::send("SSH-2.0-OpenSSH_9.6\r\n\r\n"), Step::Close]);
    let everywhere = format!("--connect-to=::127.0.0.1:{}", raw.addr().port());
    let recorder = Recorder::trusting(raw.root_pem_path(), &[&everywhere]);
    let answer = session(&recorder, Alpn::Http1)
        .await
        .get("/a")
        .await
        .expect("ours");
    assert_ours(&answer, 502, "it begins with \"SSH-2.0");
    assert_recorded_as_ours(&recorder.finish().await.only(), &answer);
}
