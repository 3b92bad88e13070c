//! RFC 9113, rule by rule: what a client sends, and what comes of it.
//!
//! Each row of the tables is a connection of its own. Rows that name a deviation hold what the
//! HTTP/2 library does instead of the RFC's word; none of them lets a client harm another.

mod fields;
mod framing;
mod packing;
mod settings;
mod streams;

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::wire::Wire;
use crate::support::frames::{self, Frame, flag, get, kind};
use crate::support::{Content, Hello, Inside, LIMIT, Origin, Recorder, Rule};
use Expect::{Answer, Closed, Connection, Ignored, Refused, Reset};
use modtape::proxy::Deadlines;
use modtape::upstream::Limits;

/// Whom every row asks.
const HOST: &str = "rules.test";

/// One rule.
struct Case {
    /// Of RFC 9113, or with a number before it of that RFC.
    section: &'static str,
    name: &'static str,
    send: fn() -> Vec<u8>,
    expect: Expect,
    /// What the RFC wants instead.
    deviation: Option<&'static str>,
}

/// What comes of it. But for the first two, the connection goes on and answers another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// GOAWAY with this code, and the end.
    Connection(u32),
    /// The end, without a word.
    Closed,
    /// RST_STREAM with this code.
    Reset(u32),
    /// RST_STREAM of REFUSED_STREAM, and the connection stays.
    Refused,
    /// An answer on stream 1 with this status.
    Answer(u16),
    /// Nothing: no stream is reset, and stream 1 is not answered.
    Ignored,
}

// RFC 9113 section 7.
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;

/// The stream of the request that shows that the connection goes on.
const AFTER: u32 = 9999;

/// What a connection did, until it was over or all was seen that was to be seen.
#[derive(Debug, Default)]
struct Seen {
    goaway: Option<u32>,
    resets: Vec<(u32, u32)>,
    answers: Vec<(u32, u16)>,
    is_over: bool,
}

const fn case(
    section: &'static str,
    name: &'static str,
    send: fn() -> Vec<u8>,
    expect: Expect,
) -> Case {
    let deviation = None;
    Case {
        section,
        name,
        send,
        expect,
        deviation,
    }
}

impl Case {
    /// The RFC wants `rule` here.
    const fn instead_of(self, rule: &'static str) -> Self {
        Self {
            deviation: Some(rule),
            ..self
        }
    }

    async fn run(&self, proxy: SocketAddr, hello: Hello) -> Result<(), String> {
        let wire = match self.section {
            "3.4" => Wire::open(proxy, hello, HOST).await,
            _ => Wire::greeted(proxy, hello, HOST, &[]).await,
        };
        let mut seen = Seen::default();
        let watched = timeout(LIMIT / 3, self.watch(wire, &mut seen)).await;
        let is_met = watched.is_ok() && self.is_met(&seen);
        let wrong = || {
            let Self {
                section,
                name,
                expect,
                ..
            } = self;
            format!("{section} {name}: {expect:?}, not {seen:?}")
        };
        if is_met { Ok(()) } else { Err(wrong()) }
    }

    /// Sends, and reads until what is expected is there, and one more answer.
    async fn watch(&self, mut wire: Wire, seen: &mut Seen) {
        let after = Frame::headers(AFTER, &get(HOST, "/after"), true).encode();
        let mut bytes = (self.send)();
        if !matches!(self.expect, Connection(_) | Closed) {
            bytes.extend(after);
        }
        // A peer that ends the connection early may not take all of it.
        let _ = wire.client.send(bytes).await;
        while !self.is_met(seen) {
            let Some(frame) = wire.next().await else {
                seen.is_over = true;
                return;
            };
            seen.note(&frame);
        }
    }

    fn is_met(&self, seen: &Seen) -> bool {
        let goes_on = !seen.is_over && seen.answers.contains(&(AFTER, 200));
        let first = || seen.resets.iter().find(|(stream, _)| *stream != AFTER);
        match self.expect {
            Connection(code) => seen.is_over && seen.goaway == Some(code),
            Closed => seen.is_over && seen.goaway.is_none(),
            Refused => !seen.is_over && first().is_some_and(|(_, code)| *code == REFUSED_STREAM),
            Reset(code) => goes_on && first().is_some_and(|(_, seen)| *seen == code),
            Answer(status) => goes_on && seen.answers.contains(&(1, status)),
            Ignored => goes_on && seen.resets.is_empty() && seen.goaway.is_none(),
        }
    }
}

impl Seen {
    fn note(&mut self, frame: &Frame) {
        let code = |bytes: &[u8]| {
            bytes
                .first_chunk()
                .map_or(0, |code| u32::from_be_bytes(*code))
        };
        match frame.kind {
            kind::GOAWAY => self.goaway = Some(code(&frame.payload[4..])),
            kind::RST_STREAM => self.resets.push((frame.stream, code(&frame.payload))),
            kind::HEADERS => self.answers.push((frame.stream, status(&frame.payload))),
            _ => {}
        }
    }
}

/// The status at the start of a header block: of the static table (RFC 7541 appendix A), or a
/// literal; 0 if it is neither. A table of nothing may come before it.
fn status(block: &[u8]) -> u16 {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let block = block.strip_prefix(b"\x20").unwrap_or(block);
    match block {
        [index @ 0x88..=0x8e, ..] => INDEXED[usize::from(index - 0x88)],
        [0x48, length, text @ ..] if length & 0x80 != 0 => digits(text),
        [0x48, 3, a, b, c, ..] => [a, b, c]
            .iter()
            .fold(0, |n, d| n * 10 + u16::from(**d - b'0')),
        _ => 0,
    }
}

/// Three digits in the code of RFC 7541 appendix B: 0 to 2 have five bits, the others six.
fn digits(bytes: &[u8]) -> u16 {
    let bits = bytes
        .iter()
        .take(3)
        .flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1));
    let mut bits: VecDeque<u16> = bits.map(u16::from).collect();
    let mut take = |count| bits.drain(..count).fold(0, |n, bit| n * 2 + bit);
    (0..3).fold(0, |number, _| {
        let five = take(5);
        let digit = if five < 3 {
            five
        } else {
            (five * 2 + take(1)) - 0x19 + 3
        };
        number * 10 + digit
    })
}

/// A whole GET on stream 1.
fn ask() -> Vec<u8> {
    asking("/").encode()
}

fn asking(path: &str) -> Frame {
    Frame::headers(1, &get(HOST, path), true)
}

/// A POST on stream 1 whose body is to come, with further fields.
fn post(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut all = get(HOST, "/post");
    all[0] = (b":method", b"POST");
    all.extend(
        fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
    );
    Frame::headers(1, &all, false).encode()
}

/// `first`, then these frames.
fn then(first: Vec<u8>, rest: &[Frame]) -> Vec<u8> {
    [first, frames::encode(rest)].concat()
}

/// Frames alone.
fn only(all: &[Frame]) -> Vec<u8> {
    frames::encode(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_for_frames_has_the_promised_outcome() {
    // The recorder's own limit: it sends no SETTINGS that tell another.
    let origin = Origin::builder(Content::default())
        .stream_limit(250)
        .rule(Rule::suffix("/silent").silent())
        .rule(Rule::any().status(200).body("answer"))
        .start();
    let recorder = Recorder::to(&origin, &["--intercept-all"]);
    let tables = [
        framing::CASES,
        streams::CASES,
        settings::CASES,
        packing::CASES,
        fields::CASES,
    ];
    let mut cases: VecDeque<&'static Case> = tables.into_iter().flatten().collect();
    let (count, mut wrong) = (cases.len(), Vec::new());
    let deviations = cases.iter().filter(|case| case.deviation.is_some()).count();
    let mut running = JoinSet::new();
    while !cases.is_empty() || !running.is_empty() {
        while running.len() < 8
            && let Some(case) = cases.pop_front()
        {
            running.spawn(case.run(recorder.proxy(), recorder.hello(HOST)));
        }
        let outcome = running.join_next().await.expect("one is running");
        wrong.extend(outcome.expect("a case does not panic").err());
    }
    eprintln!("{count} cases, {deviations} known deviations");
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= 100, "{count}");
}

/// Whatever a client sends, and however its connection ends: with it every request is over.
#[tokio::test]
async fn no_exchange_outlives_its_connection() {
    let origin = Origin::builder(Content::default())
        .rule(Rule::any().silent())
        .start();
    let upstream = (origin.addr(), origin.root());
    let limits = Limits {
        connect: LIMIT,
        tls: LIMIT,
    };
    let mut inside = Inside::start(HOST, upstream, Deadlines::default(), limits).await;
    let tables = [
        framing::CASES,
        streams::CASES,
        settings::CASES,
        packing::CASES,
        fields::CASES,
    ];
    for case in tables.into_iter().flatten() {
        for is_half_closed in [false, true] {
            let hello = inside.hello(HOST);
            let mut wire = match case.section {
                "3.4" => Wire::open(inside.proxy, hello, HOST).await,
                _ => Wire::greeted(inside.proxy, hello, HOST, &[]).await,
            };
            let ping = Frame::ping(*b"are read").encode();
            // A peer that ends the connection early may not take all of it.
            let _ = wire.client.send([(case.send)(), ping].concat()).await;
            while let Some(frame) = wire.next().await {
                if frame.kind == kind::PING {
                    break;
                }
            }
            if is_half_closed {
                let _ = wire.client.shutdown().await;
                while wire.next().await.is_some() {}
            }
        }
    }
    let live = inside.live();
    let all_over = async {
        while !live.in_flight().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let are_over = timeout(LIMIT, all_over).await;
    assert!(are_over.is_ok(), "{:#?}", live.in_flight());
    inside.finish().await;
}
