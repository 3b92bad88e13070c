//! Upstreams that say nothing: told while it lasts, and turned into an error where that is wished.

use std::time::Duration;

use modtape::proxy::Deadlines;
use modtape::upstream::Limits;

use super::*;

const SHORT: Duration = Duration::from_millis(300);

const LIMITS: Limits = Limits {
    connect: LIMIT,
    tls: LIMIT,
};

#[tokio::test]
async fn silence_before_the_head_becomes_a_504_where_that_is_asked_for() {
    let origin = Origin::builder(marked()).rule(Rule::any().silent()).start();
    let recorder = Recorder::to(&origin, &["--upstream-idle-timeout", "300ms"]);
    let mut answers = Vec::new();
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let answer = session(&recorder, alpn)
            .await
            .get("/a")
            .await
            .expect("an answer of ours");
        assert_ours(
            &answer,
            504,
            "no response head from proxy.golang.org for 300ms",
        );
        answers.push(answer);
    }
    let recorded = recorder.finish().await;
    for (exchange, answer) in recorded.exchanges().iter().zip(&answers) {
        assert_recorded_as_ours(exchange, answer);
        // Where a busy machine sees late that the request has left, that time is in `send`.
        let waited = exchange.timings().total_us();
        assert!(waited >= SHORT.as_micros() as u64, "{exchange:?}");
    }
}

#[tokio::test]
async fn silence_after_the_head_ends_the_body_short_where_that_is_asked_for() {
    let rule = Rule::any().generated(100_000).stall_after(50_000);
    let origin = Origin::builder(marked()).rule(rule).start();
    // Longer than a busy machine lets the origin wait within what it sends.
    let recorder = Recorder::to(&origin, &["--upstream-idle-timeout", "1s"]);
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let answer = session(&recorder, alpn)
            .await
            .get("/a")
            .await
            .expect("a head");
        assert_eq!((answer.status, answer.body_bytes), (200, 50_000));
        assert!(matches!(answer.ended, Ended::Cut(_)), "{:?}", answer.ended);
    }
    let recorded = recorder.finish().await;
    for exchange in recorded.exchanges() {
        assert_aborted(&exchange, 50_000);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_no_silence_of_the_upstream() {
    let slow = Rule::suffix("/slow").status(200).delay(SHORT).body("slow");
    let large = Rule::suffix("/large").status(200).generated(16 << 20);
    let origin = Origin::builder(marked()).rule(slow).rule(large).start();
    let recorder = Recorder::to(&origin, &["--upstream-idle-timeout", "2s"]);
    let (mut holding, mut other) = (
        session(&recorder, Alpn::Http2).await,
        session(&recorder, Alpn::Http2).await,
    );
    let request = holding.request("/large");
    let response = holding.start(request).await.expect("a head");
    // Much longer than the upstream's silence may last.
    for _ in 0..12 {
        assert_eq!(other.get("/slow").await.expect("an answer").status, 200);
    }
    let response = Response::read(response).await;
    assert_eq!(
        (response.body_bytes, response.ended),
        (16 << 20, Ended::Clean)
    );
    drop((holding, other));
    recorder.finish().await;
}

#[tokio::test]
async fn a_handshake_that_is_never_answered_is_given_up() {
    let silent = Handshake::any().silent();
    let origin = Origin::builder(marked()).handshake(silent).start();
    let limits = Limits {
        tls: SHORT,
        ..LIMITS
    };
    let upstream = (origin.addr(), origin.root());
    let mut inside = Inside::start(HOST, upstream, Deadlines::default(), limits).await;
    let mut session = Client::session(inside.proxy, &inside.hello(HOST)).await;
    let answer = session.get("/a").await.expect("an answer of ours");
    assert_ours(
        &answer,
        502,
        "TLS with proxy.golang.org: no answer within 300ms",
    );
    drop(session);
    let recording = inside.finish().await;
    assert_recorded_as_ours(&exchanges(&recording)[0], &answer);
}

#[tokio::test]
async fn an_address_that_never_answers_is_given_up() {
    let dead = Blackhole::start();
    let limits = Limits {
        connect: SHORT,
        ..LIMITS
    };
    let root = TestRoot::new();
    let upstream = (dead.addr(), &root);
    let mut inside = Inside::start(HOST, upstream, Deadlines::default(), limits).await;
    let client = Client::open(inside.proxy).await;
    let answer = client.connect(&format!("{HOST}:443"), &[]).await;
    assert_eq!(answer.status, 502);
    let reason = "modtape: no connection to proxy.golang.org:443 within 300ms (connecting)";
    assert_eq!(answer.reason, reason);
    let recording = inside.finish().await;
    let opened = recording.connection(1).and_then(|row| row.opened.clone());
    let opened = opened.expect("it was opened");
    assert!(
        opened.connect_us >= Some(SHORT.as_micros() as u64 - 50_000),
        "{opened:?}"
    );
}
