//! Requests that never left, and requests that may have been looked at, on a connection that answered
//! nothing before.

use super::lost_connections::post;
use super::*;
use crate::http2::wire::Wire;
use crate::support::frames::{Frame, PREFACE, flag, get, kind};

/// RFC 9113 section 7.
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// Shows that the recorder has read what came before it.
const MARK: [u8; 8] = *b"read all";

/// An HTTP/2 origin that answers each request but those of its first connection: to them it says
/// `first`.
fn origin(first: fn(u32) -> Vec<Step>) -> RawOrigin {
    let count = counter();
    RawOrigin::start_each(Alpn::Http2, move || {
        let (connection, mut pending) = (count(), Vec::new());
        move |bytes: &[u8]| {
            pending.extend(bytes);
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
                    kind::HEADERS | kind::DATA if frame.has(flag::END_STREAM) => {
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
        let bytes = &connections[0];
        bytes.windows(MARK.len()).any(|eight| eight == MARK)
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
async fn a_post_that_was_not_processed_is_asked_again_with_its_body() {
    const BODY: &[u8] = &[b'x'; 20_000];
    let refuses: fn(u32) -> Vec<Step> =
        |stream| vec![Step::send(Frame::reset(stream, REFUSED_STREAM).encode())];
    for first in [refuses, |_| {
        vec![Step::send(Frame::goaway(0, NO_ERROR).encode())]
    }] {
        let origin = origin(first);
        let recorder = recorder(&origin);
        let mut session = session(&recorder, Alpn::Http2).await;
        let answer = post(&mut session, BODY).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        drop(session);
        let second = &origin.received()[1];
        let came = second.iter().filter(|byte| **byte == b'x').count();
        assert!(came >= BODY.len(), "{came}");
        let exchange = recorder.finish().await.only();
        let end = exchange.end().expect("it ended");
        assert_eq!(end.attempts.len(), 1, "{end:?}");
        let body = end.request_body.as_ref().map(|body| body.bytes);
        assert_eq!(body, Some(BODY.len() as u64), "{end:?}");
    }
}

#[tokio::test]
async fn a_post_that_is_too_long_to_be_held_is_not_asked_again() {
    let origin = origin(|stream| {
        // By then more is on its way than is held.
        let more = Frame::window_update(stream, 1 << 20);
        let all = Frame::window_update(0, 1 << 20);
        let refused = Frame::reset(stream, REFUSED_STREAM);
        let before = [more.encode(), all.encode()].concat();
        vec![
            Step::send(before),
            Step::Read(100_000),
            Step::send(refused.encode()),
        ]
    });
    let recorder = recorder(&origin);
    let mut session = session(&recorder, Alpn::Http2).await;
    let answer = post(&mut session, &[b'x'; 300_000]).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    drop(session);
    assert_eq!(origin.received().len(), 1);
    assert_eq!(attempts(recorder).await, []);
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

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers a first request, and is gone for good when the second comes.
fn once() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let addr = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("somebody comes");
        let heads = || {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                std::io::Read::read_exact(&mut &stream, &mut byte).expect("a request");
                asked.extend(byte);
            }
        };
        heads();
        std::io::Write::write_all(&mut &stream, OK).expect("it is taken");
        heads();
        drop(listener);
    });
    addr
}

#[tokio::test]
async fn a_plain_host_that_is_gone_bars_no_other() {
    let count = counter();
    let other = RawOrigin::start(move |_| match count() {
        2 => vec![Step::HangUp],
        _ => vec![Step::send(OK)],
    });
    let to = |host: &str, addr: std::net::SocketAddr| format!("--connect-to={host}:80:{addr}");
    let flags = [
        to("gone.example", once()),
        to("other.example", other.addr()),
    ];
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let recorder = Recorder::trusting(other.root_pem_path(), &flags);
    let mut client = Client::open(recorder.proxy()).await;
    for (host, status) in [
        ("gone.example", "200"),
        ("gone.example", "502"),
        ("other.example", "200"),
        ("other.example", "200"),
    ] {
        let asked = format!("GET http://{host}/a HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.send(asked).await.expect("the proxy takes it");
        let head = client.read_head().await.expect("an answer");
        assert_eq!(head.get(9..12), Some(status), "{host}: {head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.or_else(|| {
            head.lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
        });
        let length = length.expect("a length").parse().expect("a number");
        client.read_exactly(length).await.expect("a body");
    }
    drop(client);
    recorder.finish().await;
}

#[tokio::test]
async fn a_connection_that_said_anything_at_all_is_not_asked_again() {
    let count = counter();
    let origin = RawOrigin::start(move |_| match count() {
        2 => vec![
            Step::send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
            Step::Close,
        ],
        _ => vec![Step::send(OK)],
    });
    let recorder = recorder(&origin);
    let mut session = session(&recorder, Alpn::Http1).await;
    for status in [200, 502] {
        let answer = session.get("/a").await.expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    drop(session);
    recorder.finish().await;
    assert_eq!(origin.received().len(), 1);
}
