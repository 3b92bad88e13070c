//! An upstream connection that is lost while it idles: asked once more, and recorded so.

use std::sync::Mutex;

use super::*;

const CLOSED: &str = "closed the connection";

/// `/a` is answered, the connection is lost under the second request, and `/a` is answered anew.
async fn assert_asked_again(recorder: Recorder, alpn: Alpn, why: &str) -> Recorded {
    let mut session = session(&recorder, alpn).await;
    for _ in 0..3 {
        let answer = session.get("/a").await.expect("an answer");
        assert!(answer.is_whole_ok(), "{answer:?}");
    }
    drop(session);
    let recorded = recorder.finish().await;
    let exchanges = recorded.exchanges();
    let ends: Vec<_> = exchanges
        .iter()
        .map(|exchange| exchange.end().expect("it ended"))
        .collect();
    let attempts: Vec<_> = ends.iter().map(|end| end.attempts.len()).collect();
    assert_eq!(attempts, [0, 1, 0], "{ends:?}");
    let Attempt { connection, error } = &ends[1].attempts[0];
    assert_eq!(*connection, exchanges[0].begin.connection);
    assert!(error.contains(why), "{error}");
    // The second request dialled for itself.
    assert!(ends[1].phases_us[Phase::Tls].is_some(), "{ends:?}");
    assert!(ends[2].phases_us[Phase::Tls].is_none(), "{ends:?}");
    assert_sums(&recorded.recording);
    recorded
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_or_reset_is_replaced() {
    let at_second = || Rule::any().after(1).times(1);
    for (rule, why) in [
        (at_second().hang_up(), CLOSED),
        (at_second().reset(), "reset the connection (TCP RST)"),
    ] {
        let origin = Origin::builder(files()).rule(rule).start();
        assert_asked_again(Recorder::to(&origin, &[]), Alpn::Http1, why).await;
        assert_eq!((origin.connections(), origin.requests().len()), (2, 4));
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_with_a_goodbye_is_replaced() {
    let count = counter();
    let raw = RawOrigin::start(move |_| match count() {
        2 => vec![Step::Close],
        _ => vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")],
    });
    let everywhere = format!("--connect-to=::127.0.0.1:{}", raw.addr().port());
    let recorder = Recorder::trusting(raw.root_pem_path(), &[&everywhere]);
    assert_asked_again(recorder, Alpn::Http1, CLOSED).await;
    assert_eq!(raw.received().len(), 2);
}

#[tokio::test]
async fn a_stream_that_a_goaway_leaves_unanswered_is_asked_again() {
    let (count, frames) = (counter(), Frames::default());
    let raw = RawOrigin::start_h2(move |bytes| {
        let mut steps = Vec::new();
        for (kind, stream) in frames.take(bytes) {
            match kind {
                HEADERS if count() == 2 => {
                    steps.extend([Step::send(goaway(1)), Step::Close]);
                    return steps;
                }
                HEADERS => steps.push(Step::send(answer(stream))),
                SETTINGS => steps.push(Step::send([EMPTY_SETTINGS, SETTINGS_ACK].concat())),
                _ => {}
            }
        }
        steps
    });
    let everywhere = format!("--connect-to=::127.0.0.1:{}", raw.addr().port());
    let recorder = Recorder::trusting(raw.root_pem_path(), &[&everywhere]);
    assert_asked_again(recorder, Alpn::Http2, "did not process the request").await;
    assert_eq!(raw.received().len(), 2);
}

/// RFC 9113 section 8.7: whatever the connection's age, nobody looked at it.
#[tokio::test]
async fn a_stream_that_a_fresh_connection_refuses_is_asked_again() {
    let (count, frames) = (counter(), Frames::default());
    let raw = RawOrigin::start_h2(move |bytes| {
        let answers = frames
            .take(bytes)
            .into_iter()
            .map(|(kind, stream)| match kind {
                HEADERS if count() == 1 => Step::send(refused(stream)),
                HEADERS => Step::send(answer(stream)),
                SETTINGS => Step::send([EMPTY_SETTINGS, SETTINGS_ACK].concat()),
                _ => Step::send([]),
            });
        answers.collect()
    });
    let everywhere = format!("--connect-to=::127.0.0.1:{}", raw.addr().port());
    let recorder = Recorder::trusting(raw.root_pem_path(), &[&everywhere]);
    let mut session = session(&recorder, Alpn::Http2).await;
    let answer = session.get("/a").await.expect("an answer");
    assert!(answer.is_whole_ok(), "{answer:?}");
    drop(session);
    let recorded = recorder.finish().await;
    let end = recorded.only();
    let attempts = &end.end().expect("it ended").attempts;
    assert!(
        attempts[0].error.contains("did not process"),
        "{attempts:?}"
    );
}

#[tokio::test]
async fn a_request_that_nobody_answered_before_is_not_asked_again() {
    for (rule, alpn) in [
        (Rule::any().hang_up(), Alpn::Http1),
        (Rule::any().reset(), Alpn::Http1),
        (Rule::any().hang_up(), Alpn::Http2),
    ] {
        let origin = Origin::builder(files()).rule(rule).start();
        let recorder = Recorder::to(&origin, &[]);
        let mut session = session(&recorder, alpn).await;
        let answer = session.get("/a").await.expect("an answer of ours");
        assert_eq!(answer.status, 502);
        drop(session);
        assert_eq!(attempts(recorder).await, []);
        assert_eq!(origin.requests().len(), 1);
    }
}

fn is_first_closed(log: &Log) -> bool {
    log.connections.first().is_some_and(|seen| seen.is_closed)
}

/// The connection to it is reset as soon as its handshake is complete, and then `later`.
fn origin_that_dies(alpn: Alpn, later: &[Handshake]) -> Origin {
    let dies = Handshake::host(HOST).times(1).reset_after();
    let origin = Origin::builder(files()).alpn(alpn).handshake(dies);
    let all = later.iter().cloned();
    all.fold(origin, OriginBuilder::handshake).start()
}

#[tokio::test]
async fn a_redial_that_failed_bars_no_later_request() {
    for alpn in BOTH {
        let refuses = Handshake::host(HOST).times(1).reset();
        let origin = origin_that_dies(alpn, &[refuses]);
        let recorder = Recorder::to(&origin, &[]);
        let mut asking = session(&recorder, alpn).await;
        origin.wait_for(is_first_closed, LIMIT);
        // By the time that another one has come up the recorder knows of the reset.
        let other = recorder.session("sum.golang.org").await;
        let statuses = [asking.get("/a").await, asking.get("/a").await]
            .map(|answer| answer.map(|answer| answer.status).ok());
        assert_eq!(statuses, [Some(502), Some(200)], "{alpn:?}");
        drop((asking, other));
        recorder.finish().await;
    }
}

#[tokio::test]
async fn an_upstream_that_dies_before_the_first_request_is_replaced_for_it() {
    for alpn in BOTH {
        let origin = std::sync::Arc::new(origin_that_dies(alpn, &[]));
        let recorder = Recorder::to(&origin, &[]);
        let connected = Client::open(recorder.proxy()).await;
        let connected = connected.connect(&format!("{HOST}:443"), &[]).await;
        let watched = Arc::clone(&origin);
        let client = connected.client.reads_after(async move {
            let dies = move || watched.wait_for(is_first_closed, LIMIT);
            tokio::task::spawn_blocking(dies).await.expect("it dies");
        });
        let client = client.handshake(&recorder.hello(HOST).alpn(alpn)).await;
        let session = client.expect("a handshake").into_session().await;
        let answer = session.expect("HTTP begins").get("/a").await;
        assert!(answer.expect("an answer").is_whole_ok(), "{alpn:?}");
        recorder.finish().await;
    }
}

pub(super) async fn post(session: &mut Session, body: &'static [u8]) -> Response {
    let mut request = session.request("/a");
    *request.method_mut() = http::Method::POST;
    *request.body_mut() = http_body_util::Full::from(body);
    session.send(request).await.expect("an answer")
}

#[tokio::test]
async fn a_post_that_never_left_is_asked_on_a_new_connection() {
    for alpn in BOTH {
        let origin = origin_that_dies(alpn, &[]);
        let recorder = Recorder::to(&origin, &[]);
        let mut asking = session(&recorder, alpn).await;
        origin.wait_for(is_first_closed, LIMIT);
        // By the time that another one has come up the recorder knows of the reset.
        let other = recorder.session("sum.golang.org").await;
        let answer = post(&mut asking, b"once").await;
        // The origin's own word, which it says of any POST.
        assert_eq!(answer.status, 405, "{alpn:?}: {}", answer.text());
        let requests = origin.requests();
        assert_eq!(
            (requests.len(), requests[0].request_bytes),
            (1, 4),
            "{alpn:?}"
        );
        drop((asking, other));
        recorder.finish().await;
    }
}

#[tokio::test]
async fn a_request_with_a_body_is_not_asked_again() {
    let origin = origin(Rule::any().after(1).times(1).hang_up());
    let recorder = Recorder::to(&origin, &[]);
    let mut session = session(&recorder, Alpn::Http1).await;
    session.get("/a").await.expect("an answer");
    let mut request = session.request("/a");
    *request.method_mut() = http::Method::POST;
    *request.body_mut() = http_body_util::Full::from("once");
    assert_eq!(
        session
            .send(request)
            .await
            .expect("an answer of ours")
            .status,
        502
    );
    drop(session);
    recorder.finish().await;
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test]
async fn a_connection_that_the_upstream_ends_is_ended_towards_the_client_too() {
    for alpn in BOTH {
        let origin = origin(Rule::any().close_unannounced());
        let recorder = Recorder::to(&origin, &[]);
        let mut session = session(&recorder, alpn).await;
        let answer = session.get("/a").await.expect("an answer");
        assert!(answer.is_whole_ok(), "{answer:?}");
        within(session.closed()).await;
        drop(session);
        recorder.finish().await.only();
    }
}

/// Frame types (RFC 9113 section 6).
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
const SETTINGS_ACK: [u8; 9] = [0, 0, 0, SETTINGS, 1, 0, 0, 0, 0];

/// What of a connection's bytes is no whole frame yet; connections come one after the other.
#[derive(Default)]
struct Frames(Mutex<Vec<u8>>);

impl Frames {
    /// Type and stream of each frame that is whole now; acknowledgements left out.
    fn take(&self, bytes: &[u8]) -> Vec<(u8, u32)> {
        let mut pending = self.0.lock().expect("no panic while locked");
        if bytes.starts_with(b"PRI * ") {
            pending.clear();
        }
        pending.extend(bytes);
        if pending.starts_with(PREFACE) {
            pending.drain(..PREFACE.len());
        }
        let mut frames = Vec::new();
        while let Some(head) = pending
            .first_chunk::<9>()
            .filter(|_| !pending.starts_with(b"PRI"))
        {
            let whole = 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if pending.len() < whole {
                break;
            }
            let is_ack = head[3] == SETTINGS && head[4] == 1;
            if !is_ack {
                frames.push((
                    head[3],
                    u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                ));
            }
            pending.drain(..whole);
        }
        frames
    }
}

/// What a client says first (section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `:status: 200` from HPACK's static table (RFC 7541 appendix A), and the end of the stream.
fn answer(stream: u32) -> Vec<u8> {
    let end_of_headers_and_stream = 5;
    let mut frame = vec![0, 0, 1, HEADERS, end_of_headers_and_stream];
    frame.extend(stream.to_be_bytes());
    frame.push(0x88);
    frame
}

/// The stream was not looked at (section 8.7).
fn refused(stream: u32) -> Vec<u8> {
    let mut frame = vec![0, 0, 4, 3, 0];
    frame.extend(stream.to_be_bytes());
    frame.extend([0, 0, 0, 7]);
    frame
}

/// Nothing after stream `last` was or will be answered, for no fault of anyone (section 6.8).
fn goaway(last: u32) -> Vec<u8> {
    let mut frame = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
    frame.extend(last.to_be_bytes());
    frame.extend([0; 4]);
    frame
}
