//! HTTP/2 inside CONNECT and TLS, in raw frames, to an origin that keeps raw frames.

use super::http2_rows::{Fields, asks, hostile, with};
use super::oracle::{self, Seen};
use super::*;
use crate::support::frames::{Frame, encode, flag, get, greet, kind};
use crate::support::hpack::Heads;

/// What came back on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Came {
    Status(String),
    Reset,
    /// The connection ended first.
    Nothing,
}

/// Answers each request with its own path.
pub fn origin() -> RawOrigin {
    RawOrigin::start_each(Alpn::Http2, || {
        let (mut bytes, mut heads, mut greeted) = (Vec::new(), Heads::default(), false);
        let mut paths = std::collections::HashMap::new();
        move |fresh: &[u8]| {
            bytes.extend_from_slice(fresh);
            let mut frames = Vec::new();
            if !greeted && bytes.len() >= 24 {
                bytes.drain(..24);
                greeted = true;
                frames.push(Frame::settings(&[]));
            }
            while let Some(frame) = greeted.then(|| Frame::take(&mut bytes)).flatten() {
                if frame.kind == kind::SETTINGS && !frame.has(flag::ACK) {
                    frames.push(Frame::settings_ack());
                }
                if let Some((stream, fields, _)) = heads.take(&frame) {
                    let path = fields.into_iter().find(|(name, _)| name == b":path");
                    paths.entry(stream).or_insert(path.map(|field| field.1));
                }
                let may_end = [kind::DATA, kind::HEADERS].contains(&frame.kind);
                if may_end && frame.has(flag::END_STREAM) {
                    let path = paths.get(&frame.stream).cloned().flatten();
                    let (id, ok) = (frame.stream, [(&b":status"[..], &b"200"[..])]);
                    frames.push(Frame::headers(id, &ok, false));
                    frames.push(Frame::data(id, &path.unwrap_or_default(), true));
                }
            }
            match frames.is_empty() {
                true => Vec::new(),
                false => vec![Step::send(encode(&frames))],
            }
        }
    })
}

/// Sends one request on stream 1 and a plain one on stream 3; what came of each.
async fn send(inside: &Inside, fields: &Fields, body: Option<&str>) -> [Came; 2] {
    let mut client = raw(inside, Alpn::Http2).await;
    let mut out = Vec::new();
    greet(&mut out, &[]).await.expect("a vector takes it");
    let mut frames = vec![Frame::headers(1, fields, body.is_none())];
    frames.extend(body.map(|body| Frame::data(1, body.as_bytes(), true)));
    frames.push(Frame::headers(3, &get(HOST, "/honest"), true));
    out.extend(encode(&frames));
    client.send(out).await.expect("the proxy reads");
    outcomes(&mut client).await
}

async fn outcomes(client: &mut Client) -> [Came; 2] {
    let (mut heads, mut came) = (Heads::default(), [Came::Nothing, Came::Nothing]);
    while came.contains(&Came::Nothing) {
        let Ok(head) = client.read_exactly(9).await else {
            break;
        };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Ok(payload) = client.read_exactly(length).await else {
            break;
        };
        let frame = Frame::take(&mut [head, payload].concat()).expect("a whole frame");
        let Some(slot) = [1, 3].iter().position(|stream| *stream == frame.stream) else {
            if frame.kind == kind::GOAWAY {
                break;
            }
            continue;
        };
        if let Some((_, fields, _)) = heads.take(&frame) {
            let status = fields.iter().find(|(name, _)| name == b":status");
            let status = status.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
            came[slot] = Came::Status(status.unwrap_or_default());
        } else if frame.kind == kind::RST_STREAM && came[slot] == Came::Nothing {
            came[slot] = Came::Reset;
        }
    }
    came
}

fn seen(origin: &RawOrigin) -> Seen {
    let mut all = Seen::default();
    for log in origin.received() {
        let one = oracle::http2(&log);
        all.breaches.extend(one.breaches);
        all.targets.extend(one.targets);
    }
    all
}

#[tokio::test]
async fn no_hostile_stream_reaches_the_origin() {
    let origin = origin();
    let inside = inside(&origin).await;
    let rows = hostile();
    assert!(rows.len() >= 60, "{}", rows.len());
    let mut failed = Vec::new();
    for (name, fields, body) in &rows {
        let [came, beside] = send(&inside, fields, *body).await;
        let is_refused = match &came {
            Came::Status(status) => ["400", "421", "502"].contains(&&status[..]),
            Came::Reset | Came::Nothing => true,
        };
        // What is wrong with one stream is no matter of the next, unless the connection is gone.
        let is_fair = match came {
            Came::Nothing => true,
            Came::Status(_) | Came::Reset => beside == Came::Status(String::from("200")),
        };
        if !is_refused || !is_fair {
            failed.push(format!("{name}: {came:?}, beside it {beside:?}"));
        }
    }
    let hello = inside.hello(HOST).alpn(Alpn::Http2);
    let mut session = Client::session(inside.proxy, &hello).await;
    let answer = session.get("/after").await.expect("an answer");
    assert_eq!(answer.text(), "/after");
    let seen = seen(&origin);
    // A body that breaks its promise does so behind its head.
    let may = |target: &&String| ["/honest", "/after"].contains(&&target[..]);
    let others: Vec<_> = seen.targets.iter().filter(|target| !may(target)).collect();
    let bodies = rows.iter().filter(|row| row.2.is_some()).count();
    assert!(
        others.len() <= bodies && others.iter().all(|target| *target == "/hostile"),
        "{others:?}"
    );
    failed.extend(seen.breaches);
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn every_plain_stream_reaches_the_origin() {
    let origin = origin();
    let inside = inside(&origin).await;
    let mut failed = Vec::new();
    for (name, fields, body) in [
        ("a GET", with(&[]), None),
        (
            "a query",
            asks("GET", "https", HOST, "/hostile?a=b&c"),
            None,
        ),
        (
            "the port",
            asks("GET", "https", "Proxy.golang.org:443", "/hostile"),
            None,
        ),
        ("host beside :authority", with(&[("host", HOST)]), None),
        ("te trailers", with(&[("te", "trailers")]), None),
        ("a body", with(&[]), Some("abcde")),
        (
            "a body and its length",
            with(&[("content-length", "5")]),
            Some("abcde"),
        ),
        (
            "one length twice",
            with(&[("content-length", "5"), ("content-length", "5")]),
            Some("abcde"),
        ),
        (
            "a token",
            with(&[("proxy-authorization", "Basic eDp5")]),
            None,
        ),
        ("obs-text", with(&[("x", "\u{f6}"), ("y", "")]), None),
        (
            "crumbs",
            with(&[("cookie", "a=b"), ("cookie", "c=d")]),
            None,
        ),
    ] {
        let came = send(&inside, &fields, body).await;
        if came != [const { Came::Nothing }; 2].map(|_| Came::Status(String::from("200"))) {
            failed.push(format!("{name}: {came:?}"));
        }
    }
    let seen = seen(&origin);
    let hostile = seen
        .targets
        .iter()
        .filter(|target| target.starts_with("/hostile"));
    assert_eq!(hostile.count(), 11);
    failed.extend(seen.breaches);
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_oracle_sees_what_a_relay_of_frames_would_let_through() {
    let unseen = hostile().into_iter().filter(|(_, fields, body)| {
        let mut seen = Seen::default();
        let fields: Vec<_> = fields
            .iter()
            .map(|(n, v)| (n.to_vec(), v.to_vec()))
            .collect();
        oracle::fields2(&fields, true, &mut seen);
        seen.breaches.is_empty() && body.is_none()
    });
    let unseen: Vec<_> = unseen.map(|(name, ..)| name).collect();
    assert_eq!(unseen, Vec::<&str>::new());
}

/// h2 takes no such request, and shows nothing of it.
#[tokio::test]
async fn a_stream_that_is_reset_unseen_is_told_at_the_end_of_its_connection() {
    let origin = origin();
    let mut inside = inside(&origin).await;
    let fields = asks("GET", "https", HOST, "/a<b");
    let came = send(&inside, &fields, None).await;
    assert_eq!(came, [Came::Reset, Came::Status(String::from("200"))]);
    let whys = whys(&inside.finish().await);
    let told = "; 1 malformed requests were reset (PROTOCOL_ERROR)";
    assert!(whys[0].ends_with(told), "{whys:?}");
}
