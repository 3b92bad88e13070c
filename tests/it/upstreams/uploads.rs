//! An upload that is answered before its end: the answer arrives whole, and the upload ends in order.

use modtape::proxy::Deadlines;
use modtape::upstream::Limits;

use super::*;
use crate::support::frames::{self, Frame, flag, kind};
use crate::support::hpack::Heads;

/// More than the kernel takes ahead on both legs.
const UPLOAD: usize = 16 << 20;

/// More than one record of TLS, and less than the kernel has delivered by the time that the origin is
/// gone: its end is a reset, as it leaves the upload unread.
const REFUSAL: usize = 30_000;

async fn inside(origin: &RawOrigin, deadlines: Deadlines) -> Inside {
    let limits = Limits {
        connect: LIMIT,
        tls: LIMIT,
    };
    Inside::start(HOST, (origin.addr(), origin.root()), deadlines, limits).await
}

/// An intercepted connection that speaks whatever bytes a test writes.
async fn raw(inside: &Inside, alpn: Alpn) -> Client {
    let connected = Client::open(inside.proxy)
        .await
        .connect(&format!("{HOST}:443"), &[])
        .await;
    assert_eq!(connected.status, 200, "{}", connected.head);
    let client = connected
        .client
        .handshake(&inside.hello(HOST).alpn(alpn))
        .await;
    client.expect("the handshake succeeds")
}

fn patient() -> Deadlines {
    Deadlines {
        expect_continue: LIMIT,
        ..Deadlines::default()
    }
}

fn put(length: usize, fields: &str) -> String {
    format!("PUT /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n{fields}\r\n")
}

fn refusal() -> String {
    let body = "x".repeat(REFUSAL);
    format!("HTTP/1.1 413 Content Too Large\r\nContent-Length: {REFUSAL}\r\n\r\n{body}")
}

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_an_upload_arrives_whole() {
    for last in [Step::Close, Step::HangUp] {
        let end = last.clone();
        let origin = RawOrigin::start(move |_| vec![Step::send(refusal()), end.clone()]);
        let mut inside = inside(&origin, Deadlines::default()).await;
        let mut client = raw(&inside, Alpn::Http1).await;
        // As who looks for an answer at the end only.
        client.send(put(UPLOAD, "")).await.expect("the proxy reads");
        let sent = client.send(vec![b'u'; UPLOAD]).await;
        let (answer, ended) = client.read_to_end().await;
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.starts_with("HTTP/1.1 413 "),
            "{last:?}: {sent:?} {}",
            text.len()
        );
        let body = text.split_once("\r\n\r\n").expect("a head").1;
        assert_eq!(body.len(), REFUSAL, "{last:?}");
        ended.expect("a proper end, not a reset");
        let recording = inside.finish().await;
        let [exchange] = &exchanges(&recording)[..] else {
            panic!("one exchange")
        };
        assert_eq!(
            exchange.end().map(|end| end.status),
            Some(413),
            "{last:?}: {exchange:?}"
        );
    }
}

/// Answers each request with 413, and does not want its body; what it was asked for is kept.
fn refusing_h2() -> RawOrigin {
    RawOrigin::start_each(Alpn::Http2, || {
        let mut pending = Vec::new();
        move |bytes: &[u8]| {
            pending.extend(bytes);
            if pending.starts_with(frames::PREFACE) {
                pending.drain(..frames::PREFACE.len());
            }
            let mut out = Vec::new();
            while let Some(frame) = Frame::take(&mut pending) {
                match frame.kind {
                    kind::SETTINGS if !frame.has(flag::ACK) => {
                        out.extend([Frame::settings(&[]), Frame::settings_ack()]);
                    }
                    kind::HEADERS => out.extend([
                        Frame::headers(frame.stream, &[(b":status", b"413")], false),
                        Frame::data(frame.stream, b"too large", true),
                        Frame::reset(frame.stream, 0),
                    ]),
                    _ => {}
                }
            }
            vec![Step::send(frames::encode(&out))]
        }
    })
}

#[tokio::test]
async fn over_http2_the_end_of_the_answer_comes_before_the_end_of_its_stream() {
    for expect in [None, Some((&b"expect"[..], &b"100-continue"[..]))] {
        let origin = refusing_h2();
        let mut inside = inside(&origin, Deadlines::default()).await;
        let mut client = raw(&inside, Alpn::Http2).await;
        let mut out = Vec::new();
        frames::greet(&mut out, &[])
            .await
            .expect("a vector takes it");
        let mut fields = frames::get(HOST, "/a");
        fields[0] = (b":method", b"PUT");
        fields.extend(expect);
        out.extend(Frame::headers(1, &fields, false).encode());
        client.send(out).await.expect("the proxy reads");
        let mut came = Vec::new();
        while came.last() != Some(&(kind::RST_STREAM, false)) {
            let head = client.read_exactly(9).await.expect("a frame");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let payload = client.read_exactly(length).await.expect("its payload");
            let frame = Frame::take(&mut [head, payload].concat()).expect("a whole frame");
            if frame.stream == 1 && frame.kind != kind::WINDOW_UPDATE {
                if frame.kind == kind::RST_STREAM {
                    assert_eq!(frame.payload, [0; 4], "NO_ERROR (RFC 9113 section 8.1)");
                }
                let ends = frame.kind == kind::DATA && frame.has(flag::END_STREAM);
                came.push((frame.kind, ends));
            }
        }
        assert!(came.contains(&(kind::DATA, true)), "{came:?}");
        drop(client);
        let recording = inside.finish().await;
        let [exchange] = &exchanges(&recording)[..] else {
            panic!("one exchange")
        };
        assert_eq!(
            exchange.end().map(|end| end.status),
            Some(413),
            "{exchange:?}"
        );
        let mut bytes = origin.received().concat();
        bytes.drain(..frames::PREFACE.len());
        let (mut heads, mut seen) = (Heads::default(), Vec::new());
        while let Some(frame) = Frame::take(&mut bytes) {
            seen.extend(
                heads
                    .take(&frame)
                    .map(|(_, fields, _)| fields)
                    .into_iter()
                    .flatten(),
            );
        }
        let passed = seen.iter().find(|(name, _)| name == b"expect");
        assert_eq!(passed.is_some(), expect.is_some(), "{seen:?}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_when_the_upstream_gave_one() {
    let origin = RawOrigin::start(|_| {
        vec![
            Step::send("HTTP/1.1 100 Continue\r\n\r\n"),
            Step::Read(5),
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ]
    });
    let mut inside = inside(&origin, patient()).await;
    let mut client = raw(&inside, Alpn::Http1).await;
    for _ in 0..2 {
        client
            .send(put(5, "Expect: 100-continue\r\n"))
            .await
            .expect("the proxy reads");
        let head = client.read_head().await.expect("a word");
        assert_eq!(head, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("abcde").await.expect("the proxy reads");
        let head = client.read_head().await.expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(client.read_exactly(2).await.expect("a body"), b"ok");
    }
    let seen = text(&origin.received().concat());
    assert_eq!(
        seen.matches("\r\nexpect: 100-continue\r\n").count(),
        2,
        "{seen}"
    );
    assert_eq!(seen.matches("abcde").count(), 2, "{seen}");
    drop(client);
    inside.finish().await;
}

#[tokio::test]
async fn a_final_answer_ends_an_upload_that_expected_100() {
    let origin = RawOrigin::start(|_| vec![Step::send(refusal())]);
    let mut inside = inside(&origin, patient()).await;
    let mut client = raw(&inside, Alpn::Http1).await;
    client
        .send(put(5, "Expect: 100-continue\r\n"))
        .await
        .expect("the proxy reads");
    let (answer, ended) = client.read_to_end().await;
    let answer = text(&answer);
    assert!(answer.starts_with("http/1.1 413 "), "{}", &answer[..20]);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("\r\nconnection: close"), "{head}");
    assert_eq!(body.len(), REFUSAL);
    ended.expect("a proper end");
    let recording = inside.finish().await;
    let [exchange] = &exchanges(&recording)[..] else {
        panic!("one exchange")
    };
    assert_eq!(
        exchange.end().map(|end| end.status),
        Some(413),
        "{exchange:?}"
    );
    let seen = text(&origin.received().concat());
    assert!(seen.ends_with("\r\n\r\n"), "no body was sent: {seen}");
}

#[tokio::test]
async fn an_upstream_that_never_says_100_gets_the_body_all_the_same() {
    let origin = RawOrigin::start(|_| {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        vec![Step::Read(5), Step::send(answer)]
    });
    let deadlines = Deadlines {
        expect_continue: std::time::Duration::from_millis(20),
        ..patient()
    };
    let mut inside = inside(&origin, deadlines).await;
    let mut client = raw(&inside, Alpn::Http1).await;
    client
        .send(put(5, "Expect: 100-continue\r\n"))
        .await
        .expect("the proxy reads");
    let head = client.read_head().await.expect("a word");
    assert_eq!(head, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abcde").await.expect("the proxy reads");
    let head = client.read_head().await.expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    drop(client);
    inside.finish().await;
}
