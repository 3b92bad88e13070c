//! What one client breaks off is met by nobody else (CVE-2026-71324: bytes of another user through
//! a pooled connection).

use super::*;
use crate::support::frames::{Frame, get};

const CLIENTS: usize = 8;

/// Bytes behind each nonce: enough to break off within.
const FILL: usize = 20_000;

/// How many exchanges are broken off, by all clients together.
fn broken_off() -> usize {
    count(200, 1_000)
}

/// Answers each request with its path and a long tail.
fn origin() -> RawOrigin {
    RawOrigin::start(|asked| {
        let text = String::from_utf8_lossy(asked);
        let path = text.split(' ').nth(1).unwrap_or_default();
        let body = format!("{path}\n{}", "x".repeat(FILL));
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        // In two writes, so that there is a middle.
        vec![Step::send(head + &body[..100]), Step::send(&body[100..])]
    })
}

/// One exchange that is broken off: within the head, before the answer, within the answer.
async fn abort(inside: &Inside, nonce: &str, way: usize) {
    let mut client = raw(inside, Alpn::Http1).await;
    let head = format!("GET {nonce} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let cut = if way == 0 { head.len() / 2 } else { head.len() };
    client.send(&head[..cut]).await.expect("the proxy reads");
    if way == 2 {
        client.read_exactly(200).await.expect("an answer begins");
    }
}

async fn client(inside: &Inside, name: usize, rounds: usize) {
    let hello = inside.hello(HOST).alpn(Alpn::Http1);
    let mut session = Client::session(inside.proxy, &hello).await;
    for round in 0..rounds {
        abort(inside, &format!("/aborted-{name}-{round}"), round % 3).await;
        let nonce = format!("/nonce-{name}-{round}");
        let answer = session.get(&nonce).await.expect("an answer");
        let text = answer.text();
        assert!(answer.is_whole_ok(), "{nonce}: {:?}", answer.ended);
        assert_eq!(text.lines().next(), Some(&nonce[..]));
    }
}

#[tokio::test]
async fn each_answer_carries_its_requesters_nonce_among_aborts() {
    let origin = origin();
    let mut inside = inside(&origin).await;
    let rounds = broken_off() / CLIENTS;
    let clients = (0..CLIENTS).map(|name| client(&inside, name, rounds));
    futures(clients.collect()).await;
    let recording = inside.finish().await;
    let whole = exchanges(&recording);
    let whole = whole.iter().filter(|exchange| exchange.end().is_some());
    assert!(whole.count() >= rounds * CLIENTS);
}

#[tokio::test]
async fn each_stream_carries_its_requesters_nonce_among_resets() {
    let origin = super::http2::origin();
    let inside = inside(&origin).await;
    let rounds = broken_off() / CLIENTS;
    let clients = (0..CLIENTS).map(|name| resets(&inside, name, rounds));
    futures(clients.collect()).await;
}

/// Resets every second stream and reads the others, of which two are always open.
async fn resets(inside: &Inside, name: usize, rounds: usize) {
    let mut client = raw(inside, Alpn::Http2).await;
    let mut out = Vec::new();
    crate::support::frames::greet(&mut out, &[])
        .await
        .expect("a vector takes it");
    client.send(out).await.expect("the proxy reads");
    for round in 0..rounds {
        let stream = u32::try_from(round * 4 + 1).expect("few rounds");
        let (aborted, nonce) = (
            format!("/aborted-{name}-{round}"),
            format!("/nonce-{name}-{round}"),
        );
        let frames = [
            Frame::headers(stream, &get(HOST, &aborted), true),
            Frame::headers(stream + 2, &get(HOST, &nonce), true),
            Frame::reset(stream, 8),
        ];
        // The reset comes with the request, or behind what answers the other.
        let (now, later) = frames.split_at(if round % 2 == 0 { 3 } else { 2 });
        client
            .send(crate::support::frames::encode(now))
            .await
            .expect("the proxy reads");
        assert_eq!(body(&mut client, stream + 2).await, nonce.as_bytes());
        client
            .send(crate::support::frames::encode(later))
            .await
            .expect("the proxy reads");
    }
}

/// The DATA of one stream up to its end.
async fn body(client: &mut Client, stream: u32) -> Vec<u8> {
    use crate::support::frames::{flag, kind};
    let mut body = Vec::new();
    loop {
        let head = client.read_exactly(9).await.expect("a frame");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = client.read_exactly(length).await.expect("its payload");
        let frame = Frame::take(&mut [head, payload].concat()).expect("a whole frame");
        if frame.stream == stream && frame.kind == kind::DATA {
            body.extend_from_slice(&frame.payload);
            if frame.has(flag::END_STREAM) {
                return body;
            }
        }
        assert!(frame.kind != kind::GOAWAY, "{frame:?}");
    }
}

/// All of them at once, in this task.
async fn futures<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut futures: Vec<_> = futures.into_iter().map(|f| Some(Box::pin(f))).collect();
    std::future::poll_fn(|cx| {
        for slot in &mut futures {
            let is_over = slot
                .as_mut()
                .is_some_and(|f| f.as_mut().poll(cx).is_ready());
            if is_over {
                *slot = None;
            }
        }
        match futures.iter().all(Option::is_none) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}
