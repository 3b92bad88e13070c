//! Why there is no answer, or not all of it: a sentence that says who ended it, and with what.

use modtape::proxy::Deadlines;
use modtape::upstream::Limits;

use super::*;
use crate::support::frames::{self, Frame, flag, kind};

/// What a server does instead of a whole answer, and what is said of it.
struct Case {
    name: &'static str,
    does: Does,
    /// What a 502 says, or what the recording says where the head has passed already.
    said: Said,
}

enum Does {
    Http1(Vec<Step>),
    /// Frames on the stream of the request, and what follows.
    H2(fn(u32) -> Vec<Frame>, Option<Step>),
}

enum Said {
    /// A 502.
    Instead(&'static str),
    /// The body is cut.
    Aborted(&'static str),
}

fn http1(name: &'static str, bytes: &str, last: Step, said: Said) -> Case {
    let does = Does::Http1(vec![Step::send(bytes), last]);
    Case { name, does, said }
}

fn h2(name: &'static str, frames: fn(u32) -> Vec<Frame>, said: Said) -> Case {
    let does = Does::H2(frames, None);
    Case { name, does, said }
}

/// RFC 9113 section 7.
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

fn head(stream: u32, fields: &[(&str, &str)]) -> Frame {
    let all: Vec<_> = [(":status", "200")].iter().chain(fields).collect();
    let all: Vec<_> = all
        .iter()
        .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
        .collect();
    Frame::headers(stream, &all, false)
}

/// A head that promises 1000 bytes, and 500 of them.
fn half(stream: u32) -> Vec<Frame> {
    let head = head(stream, &[("content-length", "1000")]);
    vec![head, Frame::data(stream, &[b'x'; 500], false)]
}

fn with(mut frames: Vec<Frame>, last: Frame) -> Vec<Frame> {
    frames.push(last);
    frames
}

fn goaway_with_words(last: u32) -> Frame {
    let code = INTERNAL_ERROR.to_be_bytes();
    let payload = [&last.to_be_bytes()[..], &code, b"drained"].concat();
    Frame::new(kind::GOAWAY, 0, 0, payload)
}

fn cases() -> Vec<Case> {
    use Said::{Aborted, Instead};
    let half_length = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}",
        "x".repeat(500)
    );
    let half_chunks = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n{}\r\n",
        "x".repeat(500)
    );
    let bad_chunk = half_chunks.clone() + "zz\r\n";
    let answer = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nab");
    vec![
        http1(
            "closed",
            "",
            Step::Close,
            Instead("HOST closed the connection before it answered"),
        ),
        http1(
            "reset",
            "",
            Step::Reset,
            Instead("HOST reset the connection (TCP RST) before it answered"),
        ),
        http1(
            "closed in a head",
            "HTTP/1.1 200 OK\r\nA: b\r\n",
            Step::Close,
            Instead("HOST closed the connection before it answered"),
        ),
        http1(
            "a control",
            &answer("Content-Length: 2\r\nSet-Cookie: a=\u{1}b"),
            Step::Close,
            Instead("HOST sent an invalid response head: the field Set-Cookie holds the byte 0x01"),
        ),
        http1(
            "no colon",
            &answer("Content-Length: 2\r\nNonsense"),
            Step::Close,
            Instead("HOST sent an invalid response head: the line \"Nonsense\" has no colon"),
        ),
        http1(
            "a name",
            &answer("Content-Length: 2\r\nA(b: c"),
            Step::Close,
            Instead(
                "HOST sent an invalid response head: the field name \"A(b\" holds the byte 0x28",
            ),
        ),
        http1(
            "no HTTP",
            "SSH-2.0-OpenSSH_9.6\r\n\r\n",
            Step::Close,
            Instead("HOST sent an invalid response head: it begins with \"SSH-2.0-OpenSSH_9.6\""),
        ),
        http1(
            "a length",
            &answer("Content-Length: 1,024"),
            Step::Close,
            Instead("HOST sent an invalid Content-Length"),
        ),
        http1(
            "cut by length",
            &half_length,
            Step::Close,
            Aborted("HOST closed the connection after 500 of 1000 bytes"),
        ),
        http1(
            "reset in a body",
            &half_length,
            Step::Reset,
            Aborted("HOST reset the connection (TCP RST) after 500 of 1000 bytes"),
        ),
        http1(
            "cut in chunks",
            &half_chunks,
            Step::Close,
            Aborted("HOST closed the connection after 500 bytes"),
        ),
        http1(
            "a chunk size",
            &bad_chunk,
            Step::Close,
            Aborted("HOST sent an invalid chunk size after 500 bytes"),
        ),
        h2(
            "RST_STREAM",
            |s| with(half(s), Frame::reset(s, INTERNAL_ERROR)),
            Aborted("HOST sent RST_STREAM INTERNAL_ERROR after 500 of 1000 bytes"),
        ),
        h2(
            "RST_STREAM NO_ERROR",
            |s| with(half(s), Frame::reset(s, NO_ERROR)),
            Aborted("HOST ended the stream with NO_ERROR after 500 of 1000 bytes"),
        ),
        h2(
            "RST_STREAM at once",
            |s| vec![Frame::reset(s, INTERNAL_ERROR)],
            Instead("HOST sent RST_STREAM INTERNAL_ERROR before it answered"),
        ),
        h2(
            "GOAWAY",
            |_| vec![Frame::goaway(0, ENHANCE_YOUR_CALM)],
            Instead("HOST sent GOAWAY ENHANCE_YOUR_CALM and did not process the request"),
        ),
        Case {
            name: "a GOAWAY that leaves the request to be answered, and the end",
            does: Does::H2(|s| vec![goaway_with_words(s)], Some(Step::Close)),
            said: Instead(
                "HOST closed the connection before it answered; its last frames: SETTINGS, SETTINGS, GOAWAY",
            ),
        },
        h2(
            "refused twice",
            |s| vec![Frame::reset(s, REFUSED_STREAM)],
            Instead("HOST sent RST_STREAM REFUSED_STREAM and did not process the request"),
        ),
        h2(
            "a field of the connection",
            |s| vec![head(s, &[("connection", "keep-alive")])],
            Instead(
                "modtape reset the stream with RST_STREAM PROTOCOL_ERROR: HOST sent a malformed message, such as one with a Connection field (RFC 9113 section 8); its last frames: SETTINGS, SETTINGS, HEADERS",
            ),
        ),
        h2(
            "upper case",
            |s| vec![head(s, &[("X-Upper", "a")])],
            Instead(
                "modtape ended the connection with GOAWAY PROTOCOL_ERROR: HOST sent a frame that is invalid or out of place; its last frames: SETTINGS, SETTINGS, HEADERS",
            ),
        ),
        h2(
            "DATA first",
            |s| vec![Frame::data(s, b"x", false)],
            Instead(
                "modtape ended the connection with GOAWAY PROTOCOL_ERROR: HOST sent a frame that is invalid or out of place; its last frames: SETTINGS, SETTINGS, DATA",
            ),
        ),
        h2(
            "a padding that is too long",
            |s| vec![Frame::new(kind::DATA, flag::PADDED, s, [9, 0])],
            Instead(
                "modtape ended the connection with GOAWAY PROTOCOL_ERROR: HOST sent a frame that is invalid or out of place; its last frames: SETTINGS, SETTINGS, DATA",
            ),
        ),
    ]
}

fn script(case: Case) -> (RawOrigin, Said, Alpn) {
    match case.does {
        Does::Http1(steps) => (
            RawOrigin::start(move |_| steps.clone()),
            case.said,
            Alpn::Http1,
        ),
        Does::H2(frames, last) => {
            let origin = RawOrigin::start_each(Alpn::Http2, move || {
                let mut pending = Vec::new();
                let last = last.clone();
                move |bytes: &[u8]| {
                    pending.extend(bytes);
                    if pending.starts_with(frames::PREFACE) {
                        pending.drain(..frames::PREFACE.len());
                    }
                    let (mut out, mut is_asked) = (Vec::new(), false);
                    while let Some(frame) = Frame::take(&mut pending) {
                        match frame.kind {
                            kind::SETTINGS if !frame.has(flag::ACK) => {
                                out.extend([Frame::settings(&[]), Frame::settings_ack()]);
                            }
                            kind::HEADERS => {
                                is_asked = true;
                                out.extend(frames(frame.stream));
                            }
                            _ => {}
                        }
                    }
                    let mut steps = vec![Step::send(frames::encode(&out))];
                    if is_asked {
                        steps.extend(last.clone());
                    }
                    steps
                }
            });
            (origin, case.said, Alpn::Http2)
        }
    }
}

#[tokio::test]
async fn who_ended_an_exchange_and_with_what_is_said_in_a_sentence() {
    let mut wrong = Vec::new();
    for case in cases() {
        let name = case.name;
        let (origin, said, alpn) = script(case);
        let limits = Limits {
            connect: LIMIT,
            tls: LIMIT,
        };
        let upstream = (origin.addr(), origin.root());
        let mut inside = Inside::start(HOST, upstream, Deadlines::default(), limits).await;
        let mut session = Client::session(inside.proxy, &inside.hello(HOST).alpn(alpn)).await;
        let answer = session.get("/a").await.expect(name);
        drop(session);
        let recording = inside.finish().await;
        let exchanges = exchanges(&recording);
        let [exchange] = &exchanges[..] else {
            panic!("{name}: {exchanges:?}")
        };
        let (expected, told) = match said {
            Said::Instead(expected) => {
                assert_eq!(answer.status, 502, "{name}: {}", answer.text());
                (expected, answer.text())
            }
            Said::Aborted(expected) => {
                let Ending::Aborted(abort) = &exchange.ending else {
                    panic!("{name}: {exchange:?}")
                };
                assert!(matches!(answer.ended, Ended::Cut(_)), "{name}");
                (expected, abort.why.clone())
            }
        };
        let expected = expected.replace("HOST", HOST);
        let plain = told.trim_end().trim_start_matches("modtape: ");
        if plain != expected {
            wrong.push(format!("{name}: {plain:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
