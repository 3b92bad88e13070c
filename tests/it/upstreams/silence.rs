//! Upstreams that say nothing: told while it lasts, and turned into an error where that is wished.

use std::net::SocketAddr;
use std::time::Duration;

use modtape::exchange::{DialFailure, Ending, Mode, Opened};
use modtape::proxy::Deadlines;
use modtape::upstream::{Limits, ParentProxies};

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

/// Asks for a tunnel that never comes; what is said of that, and how it is recorded.
async fn given_up(upstream: SocketAddr, parents: ParentProxies) -> (String, Opened) {
    let limits = Limits {
        connect: SHORT,
        ..LIMITS
    };
    let root = TestRoot::new();
    let all = (Deadlines::default(), limits, usize::MAX);
    let mut inside = Inside::behind(HOST, (upstream, &root), parents, all).await;
    let client = Client::open(inside.proxy).await;
    let answer = client.connect(&format!("{HOST}:443"), &[]).await;
    assert_eq!(answer.status, 502);
    let recording = inside.finish().await;
    let opened = recording.connection(1).and_then(|row| row.opened.clone());
    let opened = opened.expect("it was opened");
    assert!(
        opened.connect_us >= Some(SHORT.as_micros() as u64 - 50_000),
        "{opened:?}"
    );
    (answer.reason, opened)
}

#[tokio::test]
async fn an_address_that_never_answers_is_given_up_and_named() {
    let dead = Blackhole::start();
    let (reason, opened) = given_up(dead.addr(), ParentProxies::none()).await;
    let begins = "modtape: no connection to proxy.golang.org:443 within 300ms";
    let address = dead.addr();
    assert_eq!(reason, format!("{begins} ({address}: no answer)"));
    let [tried] = &opened.tries[..] else {
        panic!("{opened:?}")
    };
    assert_eq!(tried.addr, address.to_string());
    assert_eq!(tried.error.as_deref(), Some("no answer"));
    assert_eq!(opened.reason, Some(DialFailure::Timeout));
    assert!(
        tried.took_us >= SHORT.as_micros() as u64 - 50_000,
        "{opened:?}"
    );
}

#[tokio::test]
async fn a_parent_proxy_that_takes_the_connection_and_says_nothing_is_named() {
    // The kernel answers for it.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let address = silent.local_addr().expect("it is bound");
    let parents = ParentProxies::checked(&format!("http://{address}"), "").expect("a proxy");
    // Loopback would be dialled without it; nobody dials this one (RFC 5737).
    let upstream = SocketAddr::from(([192, 0, 2, 1], 443));
    let (reason, opened) = given_up(upstream, parents).await;
    let begins = "modtape: no connection to proxy.golang.org:443 within 300ms";
    let who = format!("parent proxy http://{address} took the connection and did not answer");
    assert_eq!(reason, format!("{begins} ({who})"));
    assert_eq!(opened.tries[0].error, None, "{opened:?}");
    assert_eq!(opened.reason, Some(DialFailure::ProxyTimeout));
}

#[tokio::test]
async fn what_a_plain_request_waits_for_an_address_shows_in_connect() {
    let dead = Blackhole::start();
    let limits = Limits {
        connect: SHORT,
        ..LIMITS
    };
    let root = TestRoot::new();
    let upstream = (dead.addr(), &root);
    let mut inside = Inside::start(HOST, upstream, Deadlines::default(), limits).await;
    let mut client = Client::open(inside.proxy).await;
    let asked = format!("GET http://{HOST}/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    client.send(asked).await.expect("the proxy takes it");
    let answer = client.read_head().await.expect("an answer of ours");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    drop(client);
    let recording = inside.finish().await;
    let timings = exchanges(&recording)[0].timings();
    let connect = timings[Phase::Connect].unwrap_or_default();
    assert!(connect >= SHORT.as_micros() as u64 - 50_000, "{timings:?}");
    assert!(
        timings[Phase::Blocked] < timings[Phase::Connect],
        "{timings:?}"
    );
}

#[tokio::test]
async fn a_plain_request_that_is_given_up_while_it_is_dialled_leaves_the_dial_on_record() {
    let dead = Blackhole::start();
    let root = TestRoot::new();
    let upstream = (dead.addr(), &root);
    let mut inside = Inside::start(HOST, upstream, Deadlines::default(), LIMITS).await;
    let mut client = Client::open(inside.proxy).await;
    let asked = format!("GET http://{HOST}/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    client.send(asked).await.expect("the proxy takes it");
    let live = inside.live();
    let until = |what: &'static str| {
        let live = live.clone();
        within(async move {
            while !format!("{:?}", live.in_flight()).contains(what) {
                tokio::task::yield_now().await;
            }
        })
    };
    until("phase: Connect").await;
    drop(client);
    until("[]").await;
    let recording = inside.finish().await;
    let opened = recording.connection(1).and_then(|row| row.opened.clone());
    let opened = opened.expect("it was dialled");
    assert_eq!(opened.mode, Mode::Plain);
    assert_eq!(opened.target, format!("{HOST}:80"));
    assert_eq!(opened.reason, Some(DialFailure::ClientLeft));
    let address = dead.addr();
    let error =
        format!("the client gave up while {HOST} was being connected ({address}: no answer)");
    assert_eq!(opened.error.as_deref(), Some(&*error));
    assert!(opened.connect_us.is_some(), "{opened:?}");
    let ending = &exchanges(&recording)[0].ending;
    assert!(matches!(ending, Ending::Aborted(_)), "{ending:?}");
}

#[tokio::test]
async fn what_we_answer_to_head_is_the_head_alone() {
    let origin = Origin::builder(marked())
        .rule(Rule::any().hang_up())
        .start();
    let recorder = Recorder::to(&origin, &[]);
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let mut session = session(&recorder, alpn).await;
        let mut request = session.request("/a");
        *request.method_mut() = http::Method::HEAD;
        let answer = session.send(request).await.expect("an answer of ours");
        assert_eq!((answer.status, answer.body_bytes), (502, 0), "{alpn:?}");
        assert_eq!(answer.ended, Ended::Clean, "{alpn:?}");
        assert_ne!(answer.header("content-length"), Some("0"), "{alpn:?}");
        assert!(answer.header("content-length").is_some(), "{alpn:?}");
    }
    recorder.finish().await;
}
