//! Odd responses over HTTP/2, in raw frames on both legs: what is on record is what passed.

use super::*;
use crate::support::frames::{Frame, encode, flag, get, greet, kind};
use crate::support::hpack::Heads;

/// Answers each stream with these frames of stream 1.
fn origin(frames: Vec<Frame>) -> RawOrigin {
    RawOrigin::start_each(Alpn::Http2, move || {
        let (mut bytes, mut greeted, frames) = (Vec::new(), false, frames.clone());
        move |fresh: &[u8]| {
            bytes.extend_from_slice(fresh);
            let mut out = Vec::new();
            if !greeted && bytes.len() >= 24 {
                bytes.drain(..24);
                greeted = true;
                out.push(Frame::settings(&[]));
            }
            while let Some(frame) = greeted.then(|| Frame::take(&mut bytes)).flatten() {
                if frame.kind == kind::SETTINGS && !frame.has(flag::ACK) {
                    out.push(Frame::settings_ack());
                }
                if frame.kind == kind::HEADERS {
                    out.extend(frames.iter().cloned());
                }
            }
            match out.is_empty() {
                true => Vec::new(),
                false => vec![Step::send(encode(&out))],
            }
        }
    })
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What a client got: the fields of heads and trailers, and the body, once the stream ended.
async fn ask(inside: &Inside, method: &[u8]) -> (Fields, Vec<u8>) {
    let mut client = raw(inside, Alpn::Http2).await;
    let mut out = Vec::new();
    greet(&mut out, &[]).await.expect("a vector takes it");
    let mut fields = get(HOST, "/a");
    fields[0].1 = method;
    out.extend(Frame::headers(1, &fields, true).encode());
    client.send(out).await.expect("the proxy reads");
    let (mut heads, mut fields, mut body) = (Heads::default(), Vec::new(), Vec::new());
    loop {
        let head = client.read_exactly(9).await.expect("a frame");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = client.read_exactly(length).await.expect("its payload");
        let frame = Frame::take(&mut [head, payload].concat()).expect("a whole frame");
        if frame.stream != 1 {
            continue;
        }
        assert_ne!(frame.kind, kind::RST_STREAM, "{frame:?}");
        let mut is_over = frame.kind == kind::DATA && frame.has(flag::END_STREAM);
        if frame.kind == kind::DATA {
            body.extend_from_slice(&frame.payload);
        }
        if let Some((_, more, ends)) = heads.take(&frame) {
            fields.extend(more);
            is_over |= ends;
        }
        if is_over {
            return (fields, body);
        }
    }
}

/// A head in as many frames as it takes.
fn head(fields: &[(&[u8], &[u8])], ends: bool) -> Vec<Frame> {
    let block = crate::support::frames::block(fields);
    let mut pieces = block.chunks(16_384).peekable();
    let mut frames = Vec::new();
    while let Some(piece) = pieces.next() {
        let kind = if frames.is_empty() {
            kind::HEADERS
        } else {
            kind::CONTINUATION
        };
        let end = if pieces.peek().is_none() {
            flag::END_HEADERS
        } else {
            0
        };
        let ends = if ends && frames.is_empty() {
            flag::END_STREAM
        } else {
            0
        };
        frames.push(Frame::new(kind, end | ends, 1, piece));
    }
    frames
}

fn status(status: &str) -> Vec<(&[u8], &[u8])> {
    vec![(b":status", status.as_bytes())]
}

#[tokio::test]
async fn what_go_takes_over_http2_passes_and_is_on_record() {
    let names: Vec<_> = (0..19_990).map(|n| format!("x-{n}").into_bytes()).collect();
    let many = || names.iter().map(|name| (&name[..], &b"v"[..]));
    let long = vec![b'a'; 1_000_000];
    let data = |body: &[u8]| vec![Frame::data(1, body, true)];
    let length: (&[u8], &[u8]) = (b"content-length", b"7");
    let spaced: (&[u8], &[u8]) = (b"x", b" a ");
    let latin: (&[u8], &[u8]) = (b"y", b"M\xe4rz");
    let fields = |first: &'static str, more: &[(&'static [u8], &'static [u8])]| {
        [status(first), more.to_vec()].concat()
    };
    let ok = || head(&status("200"), false);
    let rows = [
        (
            "204",
            [head(&status("204"), false), data(b"v1.0.0\n")].concat(),
            Some("v1.0.0\n"),
        ),
        (
            "204 with a length",
            [head(&fields("204", &[length]), false), data(b"v1.0.0\n")].concat(),
            Some("v1.0.0\n"),
        ),
        (
            "304",
            [head(&status("304"), false), data(b"v1.0.0\n")].concat(),
            Some("v1.0.0\n"),
        ),
        ("304 alone", head(&fields("304", &[length]), true), None),
        (
            "204 and an end",
            [head(&status("204"), false), data(b"")].concat(),
            Some(""),
        ),
        (
            "values",
            [
                head(&fields("200", &[spaced, latin, (b"z", b"")]), false),
                data(b"v1.0.0\n"),
            ]
            .concat(),
            Some("v1.0.0\n"),
        ),
        (
            "20,000 fields",
            [
                head(
                    &status("200").into_iter().chain(many()).collect::<Vec<_>>(),
                    false,
                ),
                data(b"v1.0.0\n"),
            ]
            .concat(),
            Some("v1.0.0\n"),
        ),
        (
            "1 MB",
            [
                head(&[(b":status", b"200"), (b"x", &long)], false),
                data(b"v1.0.0\n"),
            ]
            .concat(),
            Some("v1.0.0\n"),
        ),
        (
            "hints",
            [
                vec![head(&status("103"), false); 9].concat(),
                ok(),
                data(b"v1.0.0\n"),
            ]
            .concat(),
            Some("v1.0.0\n"),
        ),
        (
            "empty frames",
            [
                ok(),
                vec![Frame::data(1, b"", false); 1000],
                vec![Frame::data(1, b"v1.0", false)],
                vec![Frame::data(1, b"", false); 1000],
                data(b".0\n"),
            ]
            .concat(),
            Some("v1.0.0\n"),
        ),
        (
            "reset behind the end",
            [ok(), data(b"v1.0.0\n"), vec![Frame::reset(1, 0)]].concat(),
            Some("v1.0.0\n"),
        ),
        (
            "trailers",
            [
                ok(),
                vec![Frame::data(1, b"v1.0.0\n", false)],
                head(&[(b"x-sum", b"abc")], true),
            ]
            .concat(),
            Some("v1.0.0\n"),
        ),
    ];
    let mut failed = Vec::new();
    for (name, frames, expected) in rows {
        let origin = origin(frames);
        let mut inside = inside(&origin).await;
        let (fields, body) = ask(&inside, b"GET").await;
        let recording = inside.finish().await;
        let [exchange] = &exchanges(&recording)[..] else {
            panic!("{name}: not one exchange");
        };
        let Some(end) = exchange.end() else {
            failed.push(format!("{name}: {exchange:?}"));
            continue;
        };
        let kept = end.body.as_ref().map(|body| {
            let inline = body.inline.as_ref().expect("it is small");
            inline.to_text().into_owned()
        });
        let kept_fields = [&end.headers[..], &end.trailers].concat();
        let kept_fields = kept_fields
            .into_iter()
            .map(|(name, value)| (name.into_bytes(), value.0));
        let passed = fields.into_iter().filter(|(name, _)| name != b":status");
        if kept.as_deref() != expected
            || body != expected.unwrap_or_default().as_bytes()
            || !kept_fields.eq(passed)
        {
            failed.push(format!(
                "{name}: {kept:?}, {:?}",
                String::from_utf8_lossy(&body)
            ));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
