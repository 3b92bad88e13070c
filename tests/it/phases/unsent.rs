//! Requests that never left, and requests that may have been looked at, on a connection that answered
//! nothing before.

use super::*;
use crate::http2::wire::Wire;
use crate::support::frames::{Frame, PREFACE, flag, get, kind};

/// RFC 9113 section 7.
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;

/// Shows that the recorder has read what came before it.
const MARK: [u8; 8] = *b"read all";

/// An HTTP/2 origin that answers each request but those of its first connection: to them it says
/// `first`.
fn origin(first: fn(u32) -> Vec<Step>) -> RawOrigin {
    let count = counter();
    RawOrigin::start_each(Alpn::Http2, move || {
        let (connection, mut pending) = (count(), Vec::new());
        move |octets: &[u8]| {
            pending.extend(octets);
            if pending.starts_with(PREFACE) {
                pending.drain(..PREFACE.len());
            }
            let mut steps = Vec::new();
            while let Some(frame) = Frame::take(&mut pending) {
                match frame.kind {
                    kind::SETTINGS if !frame.has(flag::ACK) => {
                        let both = [Frame::settings(&[]), Frame::settings_ack()];
                        steps.extend(both.map(|frame| Step::send(frame.encode())));
                    }
                    kind::HEADERS if connection == 1 => steps.extend(first(frame.stream)),
                    kind::HEADERS => {
                        let answer = Frame::headers(frame.stream, &[(b":status", b"200")], true);
                        steps.push(Step::send(answer.encode()));
                    }
                    _ => {}
                }
            }
            steps
        }
    })
}

fn recorder(origin: &RawOrigin) -> Recorder {
    let everywhere = format!("--connect-to=::127.0.0.1:{}", origin.addr().port());
    Recorder::trusting(origin.root_pem_path(), &[&everywhere])
}

async fn ask(wire: &mut Wire, stream: u32, path: &str) {
    let asked = [Frame::headers(stream, &get(HOST, path), true)];
    wire.send(&asked).await.expect("it takes a request");
}

#[tokio::test]
async fn a_stream_that_comes_after_a_goaway_is_asked_elsewhere_though_nothing_was_answered_yet() {
    let origin = origin(|stream| {
        let goaway = Frame::goaway(stream, NO_ERROR);
        vec![Step::send(
            [goaway.encode(), Frame::ping(MARK).encode()].concat(),
        )]
    });
    let recorder = recorder(&origin);
    let mut wire = Wire::greeted(recorder.proxy(), recorder.hello(HOST), HOST, &[]).await;
    ask(&mut wire, 1, "/first").await;
    let is_read = |connections: &[Vec<u8>]| {
        let octets = &connections[0];
        octets.windows(MARK.len()).any(|eight| eight == MARK)
    };
    origin.wait_for(is_read, LIMIT);
    ask(&mut wire, 3, "/second").await;
    let answer = loop {
        let frame = within(wire.next()).await.expect("an answer");
        if (frame.kind, frame.stream) == (kind::HEADERS, 3) {
            break frame;
        }
    };
    let status = hpack::Decoder::default().fields(&answer.payload).remove(0);
    assert_eq!(status, (b":status".to_vec(), b"200".to_vec()));
    drop(wire);
    let recorded = recorder.finish().await;
    let exchanges = recorded.exchanges();
    let second = exchanges
        .iter()
        .find(|exchange| exchange.begin.url.ends_with("/second"));
    let end = second.and_then(Exchange::end).expect("it ended");
    assert_eq!((end.status, end.attempts.len()), (200, 1), "{end:?}");
    assert_eq!(origin.received().len(), 2);
}

#[tokio::test]
async fn a_stream_that_a_goaway_may_mean_as_looked_at_is_not_asked_again() {
    let origin = origin(|stream| {
        let goaway = Frame::goaway(stream, INTERNAL_ERROR);
        vec![Step::send(goaway.encode()), Step::HangUp]
    });
    let recorder = recorder(&origin);
    let mut session = session(&recorder, Alpn::Http2).await;
    let answer = session.get("/a").await.expect("an answer of ours");
    assert_eq!(answer.status, 502, "{}", answer.text());
    drop(session);
    recorder.finish().await;
    assert_eq!(origin.received().len(), 1);
}
