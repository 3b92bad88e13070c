//! The upstream's limit of concurrent streams, as its client is told of it.

use std::collections::BTreeMap;
use std::time::Duration;

use modtape::clock::Timestamp;
use modtape::exchange::Exchange;

use super::wire::Wire;
use crate::record::{record, recording};
use crate::support::frames::{self, Frame, encode, flag, kind, setting};
use crate::support::{
    Alpn, Content, LIMIT, Origin, RawOrigin, Recorder, Rule, Sandbox, Step, Sumdb, exchanges, run,
};

const HOST: &str = "limited.test";

/// Begins with the first limit, and says the next before the answer to each request.
fn origin(limits: &'static [u32]) -> RawOrigin {
    RawOrigin::start_each(Alpn::Http2, move || {
        let (mut bytes, mut greeted, mut limits) = (Vec::new(), false, limits.iter());
        move |fresh: &[u8]| {
            bytes.extend_from_slice(fresh);
            let mut out = Vec::new();
            let mut tell = |out: &mut Vec<Frame>| {
                let limit = limits.next();
                let pair = |limit: &u32| (setting::MAX_CONCURRENT_STREAMS, *limit);
                let settings = limit.map(|limit| Frame::settings(&[(4, 1 << 20), pair(limit)]));
                out.extend(settings);
            };
            if !greeted && bytes.len() >= frames::PREFACE.len() {
                bytes.drain(..frames::PREFACE.len());
                greeted = true;
                tell(&mut out);
            }
            while let Some(frame) = greeted.then(|| Frame::take(&mut bytes)).flatten() {
                if frame.kind == kind::SETTINGS && !frame.has(flag::ACK) {
                    out.push(Frame::settings_ack());
                }
                if frame.kind == kind::HEADERS {
                    tell(&mut out);
                    out.push(Frame::headers(frame.stream, &[(b":status", b"200")], true));
                }
            }
            match out.is_empty() {
                true => Vec::new(),
                false => vec![Step::send(encode(&out))],
            }
        }
    })
}

/// The limits that the client is told, up to `last` and, if it asked something, its answer; it
/// acknowledges each.
async fn told(wire: &mut Wire, last: u32, stream: Option<u32>) -> Vec<u32> {
    let (mut limits, mut is_answered) = (Vec::new(), stream.is_none());
    while !is_answered || limits.last() != Some(&last) {
        let frame = wire.next().await.expect("the connection goes on");
        let is_end = matches!(frame.kind, kind::GOAWAY | kind::RST_STREAM);
        assert!(!is_end, "{frame:?}");
        is_answered |= frame.kind == kind::HEADERS && stream == Some(frame.stream);
        if frame.kind == kind::SETTINGS && !frame.has(flag::ACK) {
            let mut settings = frame.payload.chunks_exact(6);
            let limit = settings.find(|setting| setting[..2] == [0, 3]);
            let value = limit.expect("it names a limit")[2..].try_into();
            limits.push(u32::from_be_bytes(value.expect("four bytes")));
            let acknowledged = wire.send(&[Frame::settings_ack()]).await;
            acknowledged.expect("it takes an answer");
        }
    }
    limits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_told_the_limit_of_its_upstream_and_each_later_one() {
    let origin = origin(&[3, 5, 1, 1_000_000]);
    let to = format!("--connect-to=::{}", origin.addr());
    let flags = [&to[..], "--intercept-all"];
    let recorder = Recorder::trusting(origin.root_pem_path(), &flags);
    let mut wire = Wire::open(recorder.proxy(), recorder.hello(HOST), HOST).await;
    let greeting = [frames::PREFACE, &Frame::settings(&[]).encode()].concat();
    let greeted = wire.client.send(greeting).await;
    greeted.expect("it takes a preface");
    // The recorder's own limit comes first, which is the most that it tells.
    assert_eq!(told(&mut wire, 3, None).await, [250, 3]);
    for (stream, limit) in [(1, 5), (3, 1), (5, 250)] {
        let request = Frame::headers(stream, &frames::get(HOST, "/a"), true);
        wire.send(&[request]).await.expect("it takes a request");
        assert_eq!(told(&mut wire, limit, Some(stream)).await, [limit]);
    }
    drop(wire);
    let recorded = recorder.finish().await;
    let closed: Vec<_> = recorded.recording.connections().collect();
    assert_eq!(closed.len(), 1);
    let why = closed[0].closed.as_ref().map(|closed| &closed.why[..]);
    assert_eq!(why, Some("closed"));
}

/// go opens another connection when its first has no stream left, or waits, as it would by itself: no
/// request waits in modtape.
#[test]
fn go_opens_no_more_streams_than_the_upstream_allows() {
    let Some(content) = Content::corpus("web", Sumdb::Heads) else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go("1.24") else { return };
    sandbox.project("web").expect("the corpus is there");
    let origin = Origin::builder(content)
        .alpn(Alpn::Http2)
        .stream_limit(2)
        .rule(Rule::any().delay(Duration::from_millis(20)))
        .start();
    let go = go.to_str().expect("a path of a test is text");
    let mut modtape = record(&sandbox, &origin, &["--cold"], &[go, "list", "-m", "all"]);
    modtape.env("GOMAXPROCS", "16");
    run(modtape, LIMIT).expect_success();
    let mut exchanges = exchanges(&recording(&sandbox, "one"));
    assert!(exchanges.len() > 50, "{} exchanges", exchanges.len());
    exchanges.sort_by_key(|exchange| exchange.started);
    let mut most = BTreeMap::new();
    for (index, exchange) in exchanges.iter().enumerate() {
        let before = || {
            let before = exchanges[..index].iter();
            before.filter(|before| before.begin.connection == exchange.begin.connection)
        };
        let over = |other: &&Exchange| ended(other) < exchange.started;
        // What go sent before it was told is another matter: the first answer came after that.
        if before().any(|other| over(&other)) {
            let open = before().filter(|other| !over(other)).count() + 1;
            let most = most.entry(exchange.begin.connection).or_insert(0);
            *most = open.max(*most);
        }
    }
    assert!(most.len() > 1, "one connection was enough: {most:?}");
    assert!(most.values().all(|open| *open <= 2), "{most:?}");
}

/// When an exchange was over.
fn ended(exchange: &Exchange) -> Timestamp {
    exchange.started + Duration::from_micros(exchange.timings().total_us())
}
