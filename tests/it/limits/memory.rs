//! Memory does not grow with bodies, with their number, or with readers that take their time.

use std::future::poll_fn;

use modtape::exchange::Exchange;

use super::*;
use crate::http2::wire::Wire;
use crate::support::frames::{self, Frame, flag, kind};
use crate::support::hpack::Heads;

/// The bound for one command, whatever it fetches: 40 MiB less what a release build has of its own file.
const ONE_COMMAND_KIB: u64 = 24 << 10;

/// The bound with two hundred readers that do not read: 128 MB less the same.
const SLOW_READERS_KIB: u64 = 108_000;

#[tokio::test]
async fn a_large_body_passes_in_little_memory() {
    let bytes = count(500_000_000, 5_000_000_000) as u64;
    let origin = Origin::builder(files())
        .rule(Rule::any().generated(bytes))
        .start();
    let recorder = Recorder::to(&origin, &[]);
    // HTTP/2 is the one whose windows could hold it.
    let answer = session(&recorder, Alpn::Http2).await.get("/a").await;
    let answer = answer.expect("a head");
    assert_eq!((answer.body_bytes, &answer.ended), (bytes, &Ended::Clean));
    let peak = recorder.peak_rss_kib();
    eprintln!("{bytes} bytes: peak RSS {peak} KiB");
    assert!(peak < ONE_COMMAND_KIB, "{peak} KiB");
    let recorded = recorder.finish().await;
    let digest = recorded.only().end().and_then(|end| end.body.clone());
    let digest = digest.map(|body| body.sha256.to_string());
    assert_eq!(digest, Some(answer.body_sha256));
}

#[tokio::test]
async fn ten_thousand_exchanges_and_their_close_pass_in_little_memory() {
    const CONNECTIONS: usize = 4;
    let each = count(2_000, 10_000) / CONNECTIONS;
    let origin = Origin::builder(files())
        .rule(Rule::any().status(200).generated(4_000))
        .start();
    let wrapping = Wrapping {
        har: true,
        ..Wrapping::default()
    };
    let recorder = Recorder::to_wrapped(&origin, &wrapping);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CONNECTIONS {
        let mut session = session(&recorder, BOTH[client % 2]).await;
        clients.spawn(async move {
            for number in 0..each {
                let path = format!("/golang.org/x/m{client}/@v/v1.0.{number}.zip");
                let answer = session.get(&path).await.expect("an answer");
                assert!(answer.is_whole_ok(), "{answer:?}");
            }
        });
    }
    clients.join_all().await;
    let peak = recorder.process().watch_peak();
    let recorded = recorder.finish().await;
    let peak = peak.recv().expect("it has ended");
    eprintln!("{} exchanges: peak RSS {peak} KiB", CONNECTIONS * each);
    assert_eq!(recorded.recording.rows().len(), CONNECTIONS * each);
    assert!(recorded.recording.dir().join("session.har").is_file());
    assert!(peak < ONE_COMMAND_KIB, "{peak} KiB");
}

/// An HTTP/2 client with windows like go's, which reads no byte once it has the head of a large
/// answer: not even its socket.
async fn reader_that_stops(recorder: &Recorder) -> impl Drop + use<> {
    let hello = recorder.hello(HOST).alpn(Alpn::Http2);
    let connected = Client::open_narrow(recorder.proxy())
        .await
        .connect(&format!("{HOST}:443"), &[])
        .await;
    let client = connected.client.handshake(&hello).await;
    let stream = client.expect("a handshake").into_stream();
    let (mut sender, mut connection) = h2::client::Builder::new()
        .initial_window_size(4 << 20)
        .initial_connection_window_size(1 << 30)
        .handshake::<_, bytes::Bytes>(stream)
        .await
        .expect("HTTP/2 begins");
    let request = http::Request::get(format!("https://{HOST}/large"));
    let request = request.body(()).expect("a request");
    let (response, _) = sender.send_request(request, true).expect("it is open");
    let response = within(async {
        tokio::select! {
            response = response => response.expect("a head"),
            ended = poll_fn(|context| std::pin::Pin::new(&mut connection).poll(context)) => {
                panic!("{ended:?}")
            }
        }
    })
    .await;
    Held {
        _all: (response, sender, connection),
    }
}

/// Keeps what it holds as it is.
struct Held<T> {
    _all: T,
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {}
}

#[tokio::test]
async fn two_hundred_readers_that_do_not_read_take_little_memory() {
    const READERS: usize = 200;
    let _all = take_descriptors().await;
    let origin = Origin::builder(files())
        .rule(clock_rule())
        .rule(Rule::any().status(200).generated(100_000_000))
        .start();
    let recorder = Recorder::to(&origin, &[]);
    let mut other = session(&recorder, Alpn::Http1).await;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(reader_that_stops(&recorder).await);
    }
    let sent = settled(&mut other, || sent(&origin)).await;
    let peak = recorder.peak_rss_kib();
    eprintln!(
        "{READERS} readers, {} MB sent: peak RSS {peak} KiB",
        sent / 1_000_000
    );
    assert!(sent < 100_000_000 * READERS as u64 / 4, "{sent}");
    assert!(peak < SLOW_READERS_KIB, "{peak} KiB");
    drop((readers, other));
    recorder.finish().await;
}

/// One field of 4 KB, kept by HPACK, and sixteen references to it: a head of 64 KiB in some bytes.
fn amplified(id: u32) -> Frame {
    let mut bytes = frames::block(&frames::get(HOST, "/silent"));
    match id {
        1 => {
            bytes.extend([0x40, 1, b'x']);
            frames::integer(4000, 7, &mut bytes);
            bytes.extend([b'y'; 4000]);
        }
        _ => bytes.extend([0x80 | 62; 16]),
    }
    let flags = flag::END_HEADERS | flag::END_STREAM;
    Frame::new(kind::HEADERS, flags, id, bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_heads_that_hpack_makes_large_take_their_share_of_memory_and_no_more() {
    const STREAMS: u32 = 250;
    let origin = Origin::builder(files())
        .rule(Rule::suffix("/silent").silent())
        .start();
    let recorder = Recorder::to(&origin, &[]);
    let answer = session(&recorder, Alpn::Http2).await.get("/a").await;
    assert!(answer.expect("an answer").is_whole_ok());
    let before = recorder.peak_rss_kib();
    let mut wire = Wire::greeted(recorder.proxy(), recorder.hello(HOST), HOST, &[]).await;
    let mut sent: Vec<_> = (0..STREAMS).map(|n| amplified(2 * n + 1)).collect();
    sent.push(Frame::ping(*b"read all"));
    wire.send(&sent).await.expect("it takes them");
    let (mut heads, mut refused) = (Heads::default(), 0);
    loop {
        let frame = within(wire.next()).await.expect("the connection stays");
        if let Some((_, fields, _)) = heads.take(&frame) {
            assert_eq!(fields[0].1, b"431", "{fields:?}");
            refused += 1;
        }
        if frame.kind == kind::PING && frame.has(flag::ACK) {
            break;
        }
    }
    // Others are served meanwhile, and the journal has what it was given.
    let answer = session(&recorder, Alpn::Http2).await.get("/a").await;
    assert!(answer.expect("an answer").is_whole_ok());
    let growth = recorder.peak_rss_kib() - before;
    eprintln!("{STREAMS} heads, {refused} refused so far: memory +{growth} KiB");
    assert!(growth < AMPLIFIED_KIB, "{growth} KiB");
    drop(wire);
    let recorded = recorder.finish().await;
    let large = |exchange: &Exchange| exchange.begin.headers.len() > 10;
    let exchanges = recorded.exchanges();
    let passed = exchanges.iter().filter(|exchange| large(exchange)).count();
    assert!(
        (10..20).contains(&passed),
        "{passed} of {}",
        exchanges.len()
    );
    assert_eq!(exchanges.len(), STREAMS as usize + 2, "each has its line");
}

/// The bound on what request heads of one connection add.
const AMPLIFIED_KIB: u64 = 12 << 10;
