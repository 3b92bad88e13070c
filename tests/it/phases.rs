//! The recorded phases are those that happened: what a scripted peer delays shows where it belongs.
//!
//! A recorded phase is held between what the peer was told to wait and what the client lived
//! through, so that a loaded machine blurs a figure but never makes a test fail.

mod connecting;
mod lost_connections;
mod unsent_requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use modtape::clock::{Clock, Timestamp};
use modtape::exchange::{Attempt, Exchange, Phase, Timings};
use modtape::proxy::Deadlines;
use modtape::recording::Recording;
use modtape::recording::format::Event;
use modtape::upstream::Limits;

use crate::support::*;

const HOST: &str = "proxy.golang.org";

/// What a peer waits where it is told to.
const DELAY: Duration = Duration::from_millis(300);

/// Both protocols, as what the client offers: the upstream gets the same offer.
const BOTH: [Alpn; 2] = [Alpn::Http1, Alpn::Http2];

fn files() -> Content {
    Content::files([((HOST, "/a"), (200, "text/plain", "a body"))])
}

fn origin(rule: Rule) -> Origin {
    Origin::builder(files()).rule(rule).start()
}

async fn session(recorder: &Recorder, alpn: Alpn) -> Session {
    let hello = recorder.hello(HOST).alpn(alpn);
    Client::session(recorder.proxy(), &hello).await
}

/// Asks for `/a` on a connection of its own; how long that took, CONNECT included.
async fn ask(recorder: &Recorder, alpn: Alpn) -> Duration {
    let clock = Clock::start();
    let answer = session(recorder, alpn).await.get("/a").await;
    let answer = answer.expect("an answer");
    assert!(answer.is_whole_ok(), "{answer:?}");
    clock.now().since(Timestamp::default())
}

/// As [`ask`], for the second request of a connection: the time around that request alone.
async fn ask_again(recorder: &Recorder, alpn: Alpn) -> Duration {
    let mut session = session(recorder, alpn).await;
    session.get("/first").await.expect("an answer");
    let clock = Clock::start();
    let answer = session.get("/a").await.expect("an answer");
    assert!(answer.is_whole_ok(), "{answer:?}");
    clock.now().since(Timestamp::default())
}

/// The attempts that the only exchange has on record.
async fn attempts(recorder: Recorder) -> Vec<Attempt> {
    let recorded = recorder.finish().await;
    let exchange = recorded.only();
    exchange.end().expect("it ended").attempts.clone()
}

fn took(timings: &Timings, phase: Phase) -> Option<Duration> {
    timings[phase].map(Duration::from_micros)
}

/// `slow` is as long as the delay and no longer than the client saw; all other phases together are
/// shorter than the delay, or than all that the client saw beside it on a busy machine.
///
/// A phase begins when we come to see that the one before it is over. Where that is late, because
/// the machine is busy, the one before shows what is missing.
#[track_caller]
fn assert_only_slow(exchange: &Exchange, slow: Phase, delay: Duration, seen: Duration) {
    let timings = exchange.timings();
    let long = took(&timings, slow).unwrap_or_default();
    let others = Duration::from_micros(timings.total_us()) - long;
    let least = delay.saturating_sub(others);
    let told = format!("{slow} {long:?}, the client saw {seen:?}, {timings:?}");
    assert!((least..=seen).contains(&long), "{told}");
    assert!(others < delay.max(seen.saturating_sub(delay)), "{told}");
    eprintln!("{told}");
}

/// The peer cannot have begun to wait before our request left: its whole delay is in `wait`.
#[track_caller]
fn assert_waited(exchange: &Exchange, seen: Duration) {
    assert_only_slow(exchange, Phase::Wait, DELAY, seen);
    let timings = exchange.timings();
    assert!(took(&timings, Phase::Wait) >= Some(DELAY), "{timings:?}");
}

/// From the start to the end of each exchange its phases leave out our own time and nothing else.
#[track_caller]
pub(crate) fn assert_sums(recording: &Recording) {
    let mut ends = 0;
    let exchanges = exchanges(recording);
    for (at, event) in records(recording) {
        let Event::End(end) = event else { continue };
        let begun = exchanges
            .iter()
            .find(|exchange| exchange.begin.id == end.id);
        let whole = at.micros_since(begun.expect("an end has a begin").started);
        let summed = end.phases_us.total_us() + end.own_us;
        assert!(
            whole.abs_diff(summed) <= 1_000,
            "{whole} is not {summed}: {end:?}"
        );
        ends += 1;
    }
    assert_eq!(ends, exchanges.len(), "every exchange has an end");
}

#[tokio::test]
async fn a_slow_answer_shows_in_wait() {
    let origin = origin(Rule::any().delay(DELAY));
    let recorder = Recorder::to(&origin, &[]);
    let firsts = [ask(&recorder, BOTH[0]).await, ask(&recorder, BOTH[1]).await];
    let recorded = recorder.finish().await;
    let exchanges = recorded.exchanges();
    assert_eq!(exchanges.len(), 2);
    for ((exchange, seen), version) in exchanges.iter().zip(firsts).zip(["HTTP/1.1", "HTTP/2"]) {
        assert_eq!(exchange.end().expect("it ended").version, version);
        assert_waited(exchange, seen);
    }
    assert_sums(&recorded.recording);
}

#[tokio::test]
async fn what_an_answer_takes_is_what_its_client_sees() {
    // Between the origin's delay and the client's own clock there is no room for another figure.
    let origin = origin(Rule::suffix("/a").delay(DELAY));
    let recorder = Recorder::to(&origin, &[]);
    let seconds = [
        ask_again(&recorder, BOTH[0]).await,
        ask_again(&recorder, BOTH[1]).await,
    ];
    let recorded = recorder.finish().await;
    let exchanges = recorded.exchanges();
    let slow = exchanges
        .iter()
        .filter(|exchange| exchange.begin.url.ends_with("/a"));
    for (exchange, seen) in slow.zip(seconds) {
        assert_waited(exchange, seen);
        let whole = Duration::from_micros(exchange.timings().total_us());
        assert!(whole <= seen, "{whole:?} of {seen:?}");
    }
    assert_sums(&recorded.recording);
}

#[tokio::test]
async fn a_trickle_shows_in_receive() {
    // The first part comes with the head, a pause before each of the three others.
    let origin = origin(Rule::any().body(vec![b'x'; 4096]).trickle(1024, DELAY / 3));
    let recorder = Recorder::to(&origin, &[]);
    let seen = [ask(&recorder, BOTH[0]).await, ask(&recorder, BOTH[1]).await];
    let recorded = recorder.finish().await;
    for (exchange, seen) in recorded.exchanges().iter().zip(seen) {
        assert_only_slow(exchange, Phase::Receive, DELAY, seen);
        assert_eq!(exchange.body_bytes(), 4096);
    }
    assert_sums(&recorded.recording);
}

#[tokio::test]
async fn an_informational_head_does_not_end_the_wait() {
    let raw = RawOrigin::start(|_| {
        vec![
            Step::send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
            Step::Pause(DELAY),
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ]
    });
    let everywhere = format!("--connect-to=::127.0.0.1:{}", raw.addr().port());
    let recorder = Recorder::trusting(raw.root_pem_path(), &[&everywhere]);
    let seen = ask(&recorder, Alpn::Http1).await;
    let recorded = recorder.finish().await;
    assert_only_slow(&recorded.only(), Phase::Wait, DELAY, seen);
}

#[tokio::test]
async fn a_reused_connection_has_no_dial() {
    let origin = Origin::start(files());
    let recorder = Recorder::to(&origin, &[]);
    for alpn in BOTH {
        let mut session = session(&recorder, alpn).await;
        for path in ["/a", "/missing", "/a"] {
            session.get(path).await.expect("an answer");
        }
        let mut request = session.request("/a");
        *request.method_mut() = http::Method::POST;
        *request.body_mut() = http_body_util::Full::from("a request body");
        session.send(request).await.expect("an answer");
    }
    let recorded = recorder.finish().await;
    assert_eq!(
        origin.connections(),
        2,
        "one upstream connection a client connection"
    );
    let opened = recorded.opened();
    for (of_one, opened) in recorded.exchanges().chunks(4).zip(&opened) {
        let [first, others @ ..] = of_one else {
            panic!("four requests each")
        };
        let timings = first.timings();
        let dial = [Phase::Dns, Phase::Connect, Phase::Tls].map(|phase| timings[phase]);
        assert!(dial.iter().all(Option::is_some), "{timings:?}");
        assert_eq!(dial, [opened.dns_us, opened.connect_us, opened.tls_us]);
        assert_eq!(
            first.started, opened.started_us,
            "it starts with the CONNECT"
        );
        for other in others {
            let timings = other.timings();
            let phases: Vec<_> = timings.iter().map(|(phase, _)| phase).collect();
            assert_eq!(
                phases,
                [Phase::Blocked, Phase::Send, Phase::Wait, Phase::Receive]
            );
        }
    }
    assert_sums(&recorded.recording);
}

#[tokio::test]
async fn streams_at_the_same_time_have_phases_of_their_own() {
    let slow = Rule::suffix("/slow").delay(DELAY).status(200).body("slow");
    let origin = Origin::builder(files()).rule(slow).start();
    let recorder = Recorder::to(&origin, &[]);
    let mut one = session(&recorder, Alpn::Http2).await;
    one.get("/a").await.expect("an answer");
    let mut two = one.fork();
    let clock = Clock::start();
    let (slow, quick) = tokio::join!(one.get("/slow"), two.get("/a"));
    let seen = clock.now().since(Timestamp::default());
    assert!(slow.expect("an answer").is_whole_ok() && quick.expect("an answer").is_whole_ok());
    drop((one, two));
    let recorded = recorder.finish().await;
    let exchanges = recorded.exchanges();
    let (slow, quick): (Vec<_>, Vec<_>) = exchanges
        .iter()
        .partition(|exchange| exchange.begin.url.ends_with("/slow"));
    assert_waited(slow[0], seen);
    let timings = quick[1].timings();
    assert!(
        timings
            .iter()
            .all(|(_, us)| Duration::from_micros(us) < DELAY),
        "{timings:?}"
    );
    assert_sums(&recorded.recording);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_told_apart_from_a_slow_upstream() {
    const BYTES: u64 = 24 << 20;
    let large = Rule::suffix("/large").status(200).generated(BYTES);
    let slow = Rule::suffix("/slow").status(200).delay(DELAY).body("slow");
    let origin = Origin::builder(files()).rule(large).rule(slow).start();
    let recorder = Recorder::to(&origin, &[]);
    for alpn in BOTH {
        let (mut holding, mut other) = (
            session(&recorder, alpn).await,
            session(&recorder, alpn).await,
        );
        let request = holding.request("/large");
        let response = holding.start(request).await.expect("a head");
        // The client reads on only when slow answers have come on another connection: by the last
        // one all buffers on the way have long been full.
        for _ in 0..4 {
            other.get("/slow").await.expect("an answer");
        }
        let response = Response::read(response).await;
        assert!(
            response.is_whole_ok() && response.body_bytes == BYTES,
            "{alpn:?}"
        );
    }
    let recorded = recorder.finish().await;
    for exchange in recorded.exchanges() {
        let end = exchange.end().expect("it ended");
        let held = Duration::from_micros(end.client_wait_us);
        let receive = took(&end.phases_us, Phase::Receive).unwrap_or_default();
        assert!(held <= receive, "{end:?}");
        match exchange.begin.url.ends_with("/large") {
            true => assert!(held >= DELAY, "{end:?}"),
            false => assert!(held < DELAY, "{end:?}"),
        }
    }
    assert_sums(&recorded.recording);
}

/// Limits that no test of phases comes near.
const LIMITS: Limits = Limits {
    connect: LIMIT,
    tls: LIMIT,
};

#[tokio::test]
async fn a_first_request_that_comes_late_does_not_own_the_dial() {
    let origin = Origin::start(files());
    for (grace, owns) in [(LIMIT, true), (Duration::ZERO, false)] {
        let deadlines = Deadlines {
            first_request: grace,
            ..Deadlines::default()
        };
        let upstream = (origin.addr(), origin.root());
        let mut inside = Inside::start(HOST, upstream, deadlines, LIMITS).await;
        for alpn in BOTH {
            let hello = inside.hello(HOST).alpn(alpn);
            let mut session = Client::session(inside.proxy, &hello).await;
            session.get("/a").await.expect("an answer");
        }
        let recording = inside.finish().await;
        for exchange in exchanges(&recording) {
            let timings = exchange.timings();
            for phase in [Phase::Dns, Phase::Connect, Phase::Tls] {
                assert_eq!(timings[phase].is_some(), owns, "{phase} {timings:?}");
            }
            let connection = recording.connection(exchange.begin.connection);
            let opened = connection
                .and_then(|row| row.opened.as_ref())
                .expect("it was opened");
            assert_eq!(exchange.started == opened.started_us, owns, "{exchange:?}");
            assert!(
                opened.tls_us.is_some(),
                "the connection tells in any case: {opened:?}"
            );
        }
        assert_sums(&recording);
    }
}

/// Counts its calls from 1.
fn counter() -> impl Fn() -> usize + Send + Sync + Clone {
    let count = Arc::new(AtomicUsize::new(0));
    move || count.fetch_add(1, Ordering::Relaxed) + 1
}
