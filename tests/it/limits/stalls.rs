//! Every phase that a client can stall in ends in time, and the recording names it.

use std::path::Path;

use modtape::clock::{Clock, Timestamp};
use modtape::exchange::Closed;
use modtape::proxy::Deadlines;
use modtape::recording::Recording;
use tokio::task::JoinSet;

use super::*;
use crate::hostile::forgery::Craft;
use crate::http2::wire::Wire;
use crate::support::frames::{Frame, get, kind, setting};

/// Where a client stops.
#[derive(Clone, Copy, Debug)]
pub enum Stall {
    Silent,
    HalfConnect,
    NoHello,
    HalfHello,
    HalfHandshake,
    HalfHead,
    LaterHalfHead,
    NeverUsed(Alpn),
    Tunnel,
}

/// Talks up to there, and gives the connection.
pub async fn talk(proxy: std::net::SocketAddr, hello: &Hello, stall: Stall) -> Client {
    let mut client = Client::open(proxy).await;
    let target = match stall {
        Stall::Silent => return client,
        Stall::HalfConnect => {
            let half = format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost:");
            client.send(half).await.expect("the proxy takes it");
            return client;
        }
        Stall::Tunnel => "elsewhere.example:443",
        _ => "proxy.golang.org:443",
    };
    let connected = client.connect(target, &[]).await;
    assert_eq!(connected.status, 200, "{}", connected.head);
    let mut client = connected.client;
    let bytes = hello.bytes();
    let raw = match stall {
        Stall::HalfHello => &bytes[..bytes.len() / 2],
        Stall::HalfHandshake => &bytes[..],
        Stall::Tunnel => b"x",
        _ => b"",
    };
    client.send(raw).await.expect("the proxy takes it");
    let (alpn, words) = match stall {
        Stall::NeverUsed(alpn) => (alpn, String::new()),
        Stall::HalfHead => (Alpn::Http1, format!("GET /a HTTP/1.1\r\nHost: {HOST}")),
        Stall::LaterHalfHead => {
            let whole = format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
            (Alpn::Http1, whole)
        }
        _ => return client,
    };
    let hello = hello.clone().alpn(alpn);
    let mut client = client.handshake(&hello).await.expect("a handshake");
    client.send(words).await.expect("the proxy takes it");
    if matches!(stall, Stall::LaterHalfHead) {
        client.read_head().await.expect("an answer");
        client
            .send("GET /b HTTP/1.1")
            .await
            .expect("the proxy takes it");
    }
    client
}

/// The time in which a phase must end, when it is shortened.
const SHORT: Duration = Duration::from_millis(500);

/// How much later the end may come: a second, and what a loaded machine adds.
const LATE: Duration = Duration::from_secs(5);

struct Row {
    name: &'static str,
    stall: Stall,
    shorten: fn(&mut Deadlines) -> &mut Duration,
    why: &'static str,
}

const ROWS: [Row; 10] = [
    Row {
        name: "nothing at all",
        stall: Stall::Silent,
        shorten: |deadlines| &mut deadlines.connect_head,
        why: "no whole head within 500ms",
    },
    Row {
        name: "half a CONNECT",
        stall: Stall::HalfConnect,
        shorten: |deadlines| &mut deadlines.connect_head,
        why: "no whole head within 500ms",
    },
    Row {
        name: "no ClientHello",
        stall: Stall::NoHello,
        shorten: |deadlines| &mut deadlines.client_hello,
        why: "no ClientHello within 500ms",
    },
    Row {
        name: "half a ClientHello",
        stall: Stall::HalfHello,
        shorten: |deadlines| &mut deadlines.client_hello,
        why: "no ClientHello within 500ms",
    },
    Row {
        name: "half a handshake",
        stall: Stall::HalfHandshake,
        shorten: |deadlines| &mut deadlines.client_hello,
        why: "did not complete TLS within 500ms",
    },
    Row {
        name: "half a request head",
        stall: Stall::HalfHead,
        shorten: |deadlines| &mut deadlines.request_head,
        why: "no whole request head in time",
    },
    Row {
        name: "half of a later request head",
        stall: Stall::LaterHalfHead,
        shorten: |deadlines| &mut deadlines.request_head,
        why: "no whole request head in time",
    },
    Row {
        name: "never used, HTTP/1.1",
        stall: Stall::NeverUsed(Alpn::Http1),
        shorten: |deadlines| &mut deadlines.idle,
        why: "idle for too long",
    },
    Row {
        name: "never used, HTTP/2",
        stall: Stall::NeverUsed(Alpn::Http2),
        shorten: |deadlines| &mut deadlines.idle,
        why: "idle for too long",
    },
    Row {
        name: "a tunnel that carries nothing",
        stall: Stall::Tunnel,
        shorten: |deadlines| &mut deadlines.tunnel_idle,
        why: "nothing passed for 500ms",
    },
];

fn closed(recording: &Recording) -> Vec<Closed> {
    let rows = recording.connections();
    rows.filter_map(|row| row.closed.clone()).collect()
}

#[tokio::test]
async fn every_stalled_phase_ends_in_time_and_is_named() {
    let origin = Origin::start(files());
    let mut failed = Vec::new();
    for row in ROWS {
        let mut deadlines = Deadlines::default();
        *(row.shorten)(&mut deadlines) = SHORT;
        let upstream = (origin.addr(), origin.root());
        let mut inside = Inside::start(HOST, upstream, deadlines, NO_LIMITS).await;
        let hello = inside.hello(HOST);
        let mut client = talk(inside.proxy, &hello, row.stall).await;
        let clock = Clock::start();
        let (_, _) = client.read_to_end().await;
        let after = clock.now().since(Timestamp::default());
        let recording = inside.finish().await;
        let why: Vec<_> = closed(&recording)
            .into_iter()
            .map(|closed| closed.why)
            .collect();
        let named = matches!(&why[..], [why] if why.contains(row.why));
        if !named || after > SHORT + LATE {
            failed.push(format!("{}: after {after:?}: {why:?}", row.name));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn a_window_that_stays_shut_ends_the_connection_in_time() {
    for bytes in [0, 1_000] {
        let large = Rule::any().status(200).generated(100_000);
        let origin = Origin::builder(files()).rule(large).start();
        let deadlines = Deadlines {
            unread: SHORT,
            ..Deadlines::default()
        };
        let upstream = (origin.addr(), origin.root());
        let mut inside = Inside::start(HOST, upstream, deadlines, NO_LIMITS).await;
        let window = [(setting::INITIAL_WINDOW_SIZE, bytes)];
        let mut wire = Wire::greeted(inside.proxy, inside.hello(HOST), HOST, &window).await;
        let asked = [Frame::headers(1, &get(HOST, "/a"), true)];
        wire.send(&asked).await.expect("the proxy takes it");
        within(async { while wire.next().await.is_some() {} }).await;
        let recording = inside.finish().await;
        let why: Vec<_> = closed(&recording).into_iter().map(|one| one.why).collect();
        assert!(
            matches!(&why[..], [why] if why.contains("read nothing of its response")),
            "{bytes}: {why:?}"
        );
    }
}

#[tokio::test]
async fn the_limits_of_a_real_recorder_are_those_that_are_promised() {
    let ten = Duration::from_secs(10);
    let rows = [
        (Stall::Silent, ten),
        (Stall::HalfConnect, ten),
        (Stall::NoHello, ten),
        (Stall::HalfHello, ten),
        (Stall::HalfHandshake, ten),
        (Stall::HalfHead, Duration::from_secs(15)),
    ];
    let origin = Origin::start(files());
    let recorder = Recorder::to(&origin, &[]);
    let mut stalled = JoinSet::new();
    for (stall, limit) in rows {
        let (proxy, hello) = (recorder.proxy(), recorder.hello(HOST));
        stalled.spawn(async move {
            let clock = Clock::start();
            let mut client = talk(proxy, &hello, stall).await;
            client.read_to_end().await.1.ok();
            (stall, limit, clock.now().since(Timestamp::default()))
        });
    }
    let ended = stalled.join_all().await;
    for (stall, limit, after) in ended {
        // The clock runs from before the connection.
        assert!(
            (limit..limit + LATE).contains(&after),
            "{stall:?} {after:?}"
        );
    }
    let recorded = recorder.finish().await;
    assert_eq!(closed(&recorded.recording).len(), rows.len());
}

#[tokio::test]
async fn a_request_body_that_does_not_come_is_answered_with_408() {
    let origin = Origin::start(files());
    let deadlines = Deadlines {
        request_body_idle: SHORT,
        ..Deadlines::default()
    };
    let upstream = (origin.addr(), origin.root());
    let live = Inside::start(HOST, upstream, deadlines, NO_LIMITS).await;
    ends_with_408_over_http1(live).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let replaying = Inside::replaying(HOST, recorded(folder.path()), deadlines).await;
    ends_with_408_over_http1(replaying).await;
}

/// A recording that has an answer to a GET request for `/a`.
fn recorded(folder: &Path) -> Recording {
    let dir = Craft::new(&folder.join("one"))
        .with("begin", "url", format!("https://{HOST}/a").into())
        .write();
    Recording::open(&dir).expect("it was just written")
}

async fn ends_with_408_over_http1(mut inside: Inside) {
    let hello = inside.hello(HOST).alpn(Alpn::Http1);
    let connected = Client::open(inside.proxy)
        .await
        .connect(&format!("{HOST}:443"), &[])
        .await;
    let mut client = connected.client.handshake(&hello).await.expect("TLS");
    let head = format!("POST /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nabc");
    client.send(head).await.expect("the proxy takes it");
    let (answer, _) = client.read_to_end().await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains("no more of its request body for 500ms"),
        "{answer}"
    );
    let recording = inside.finish().await;
    let exchanges = exchanges(&recording);
    assert_eq!(exchanges[0].end().map(|end| end.status), Some(408));
}

/// Reads on to the head of the answer on that stream.
async fn status_of(wire: &mut Wire, stream: u32, decoder: &mut hpack::Decoder) -> Vec<u8> {
    loop {
        let frame = within(wire.next()).await.expect("an answer");
        if (frame.kind, frame.stream) == (kind::HEADERS, stream) {
            return decoder.fields(&frame.payload).remove(0).1;
        }
    }
}

#[tokio::test]
async fn a_stream_whose_body_does_not_come_is_answered_with_408_and_the_others_go_on() {
    let origin = Origin::start(files());
    let deadlines = Deadlines {
        request_body_idle: SHORT,
        ..Deadlines::default()
    };
    let upstream = (origin.addr(), origin.root());
    let live = Inside::start(HOST, upstream, deadlines, NO_LIMITS).await;
    ends_with_408_over_http2(live).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let replaying = Inside::replaying(HOST, recorded(folder.path()), deadlines).await;
    ends_with_408_over_http2(replaying).await;
}

async fn ends_with_408_over_http2(mut inside: Inside) {
    let mut wire = Wire::greeted(inside.proxy, inside.hello(HOST), HOST, &[]).await;
    let mut fields = get(HOST, "/a");
    fields[0].1 = b"POST";
    let begun = [
        Frame::headers(1, &fields, false),
        Frame::data(1, b"abc", false),
    ];
    wire.send(&begun).await.expect("the proxy takes it");
    let mut decoder = hpack::Decoder::default();
    let refused = status_of(&mut wire, 1, &mut decoder).await;
    assert_eq!(refused, b"408");
    let next = [Frame::headers(3, &get(HOST, "/a"), true)];
    wire.send(&next).await.expect("the proxy takes it");
    assert_eq!(status_of(&mut wire, 3, &mut decoder).await, b"200");
    drop(wire);
    let recording = inside.finish().await;
    let statuses = exchanges(&recording)
        .iter()
        .map(|exchange| exchange.end().map(|end| end.status))
        .collect::<Vec<_>>();
    assert_eq!(statuses, [Some(408), Some(200)]);
}

#[tokio::test]
async fn the_upstreams_silence_does_not_count_while_the_client_uploads() {
    let origin = Origin::builder(files()).rule(clock_rule()).start();
    let recorder = Recorder::to(&origin, &["--upstream-idle-timeout", "1500ms"]);
    let mut other = session(&recorder, Alpn::Http2).await;
    let hello = recorder.hello(HOST).alpn(Alpn::Http1);
    let connected = Client::open(recorder.proxy())
        .await
        .connect(&format!("{HOST}:443"), &[])
        .await;
    let mut client = connected.client.handshake(&hello).await.expect("TLS");
    let head = format!("POST /a HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 6\r\n\r\nabc");
    client.send(head).await.expect("the proxy takes it");
    // Much longer than the upstream may be silent.
    for _ in 0..12 {
        other.get("/tick").await.expect("an answer");
    }
    client.send("def").await.expect("the proxy takes it");
    let answer = client.read_head().await.expect("an answer");
    // The origin's own word, which it says of any POST.
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    drop((client, other));
    recorder.finish().await;
}
