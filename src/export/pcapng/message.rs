//! A request or a response as HTTP/1.1 text (RFC 9112), whatever it was on the wire.

use std::io::{self, Read};

use http::StatusCode;

use crate::exchange::{Abort, Begin, Body, End, Fields, Target, field};

/// The part of a body that is shown, and its source.
pub(super) struct Shown {
    /// Bytes shown, from the first one on.
    pub(super) bytes: u64,
    /// Gives them; `None` where none are shown.
    pub(super) reader: Option<Box<dyn Read>>,
}

impl Shown {
    pub(super) const NOTHING: Self = Self {
        bytes: 0,
        reader: None,
    };
}

/// How many bytes that are not shown are counted by packets. A recording may claim any length, and
/// each 60 KiB of it cost a packet; the comment has the whole length.
const UNSHOWN: u64 = 64 << 20;

/// One message on its way: a head, and a body of which only the first bytes may be shown.
pub(super) struct Message {
    head: Vec<u8>,
    shown: Shown,
    /// What ends a body in chunks, all of which is shown.
    tail: Vec<u8>,
    /// Bytes of head, body and tail.
    pub(super) total: u64,
    /// Bytes that were taken.
    pub(super) taken: u64,
}

impl Message {
    pub(super) fn new(head: Vec<u8>, body_bytes: u64, shown: Shown) -> Self {
        let unshown = body_bytes.saturating_sub(shown.bytes).min(UNSHOWN);
        let total = (head.len() as u64)
            .saturating_add(shown.bytes)
            .saturating_add(unshown);
        Self {
            head,
            shown,
            tail: Vec::new(),
            total,
            taken: 0,
        }
    }

    /// A whole response. Trailers are shown behind a body of one chunk, if all of that is shown.
    pub(super) fn of_response(begin: &Begin, end: &End, shown: Shown) -> Self {
        let bytes = end.body.as_ref().map_or(0, |body| body.bytes);
        if !shows_trailers(begin, end, shown.bytes) {
            return Self::new(response_head(begin, end, false), bytes, shown);
        }
        let mut head = response_head(begin, end, true);
        let mut tail = Vec::new();
        if bytes > 0 {
            head.extend(format!("{bytes:x}\r\n").into_bytes());
            tail.extend(b"\r\n");
        }
        tail.extend(b"0\r\n");
        write_fields(&mut tail, &end.trailers, Framing::AsRecorded);
        let mut message = Self::new(head, bytes, shown);
        message.total = message.total.saturating_add(tail.len() as u64);
        message.tail = tail;
        message
    }

    /// Appends to `out` what is shown of the next `bytes` bytes.
    pub(super) fn take(&mut self, out: &mut Vec<u8>, bytes: u64) -> io::Result<()> {
        let end = self.taken.saturating_add(bytes).min(self.total);
        let begin = std::mem::replace(&mut self.taken, end);
        // The part of a text that begins at `at` and is among these bytes.
        let part = |at: u64, text: &[u8]| {
            let place = |of: u64| {
                text.len()
                    .min(of.saturating_sub(at).try_into().unwrap_or(usize::MAX))
            };
            place(begin)..place(end)
        };
        let head = self.head.len() as u64;
        out.extend_from_slice(&self.head[part(0, &self.head)]);
        let from = begin.max(head) - head;
        let to = (end.max(head) - head).min(self.shown.bytes);
        if let Some(reader) = &mut self.shown.reader
            && to > from
        {
            let mut reader = reader.by_ref().take(to - from);
            if reader.read_to_end(out)? as u64 != to - from {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let behind = self.total - self.tail.len() as u64;
        out.extend_from_slice(&self.tail[part(behind, &self.tail)]);
        Ok(())
    }

    /// Shows no more of the body: what is left counts by its length alone.
    pub(super) fn give_up(&mut self) {
        self.shown = Shown::NOTHING;
        self.tail.clear();
        self.total = self.total.min(self.taken.saturating_add(UNSHOWN));
    }

    pub(super) fn is_over(&self) -> bool {
        self.taken >= self.total
    }
}

/// A request's head.
pub(super) fn request_head(begin: &Begin, body: Option<&Body>) -> Vec<u8> {
    let (authority, target) = split(&begin.url);
    // RFC 9112 section 3.2.3: CONNECT names host and port.
    let connected = Target::of_url(&begin.url).filter(|_| begin.method == "CONNECT");
    let connected = connected.map(|target| target.to_string());
    let target = connected.as_deref().unwrap_or(target);
    let mut out = Vec::with_capacity(512);
    push(&mut out, begin.method.as_bytes());
    out.push(b' ');
    push(&mut out, target.as_bytes());
    out.extend(b" HTTP/1.1\r\n");
    if field(&begin.headers, "host").is_none() {
        write_field(&mut out, "host", authority.as_bytes());
    }
    let framing = body.map_or(Framing::AsRecorded, |body| Framing::Length(body.bytes));
    write_fields(&mut out, &begin.headers, framing);
    out
}

/// Whether the trailers of a response are shown, if `shown` bytes of its body are.
pub(super) fn shows_trailers(begin: &Begin, end: &End, shown: u64) -> bool {
    let is_whole = end.body.as_ref().map_or(0, |body| body.bytes) == shown;
    is_whole && !end.trailers.is_empty() && !has_no_body(begin, end)
}

/// RFC 9112 section 6.3, number 1.
fn has_no_body(begin: &Begin, end: &End) -> bool {
    begin.method == "HEAD" || matches!(end.status, 204 | 304)
}

/// The head of a whole response.
fn response_head(begin: &Begin, end: &End, is_chunked: bool) -> Vec<u8> {
    let reason = end.reason.as_ref().map(|reason| reason.0.as_slice());
    let mut out = status_line(end.status, reason);
    let framing = match &end.body {
        _ if has_no_body(begin, end) => Framing::AsRecorded,
        _ if is_chunked => Framing::Chunked,
        Some(body) => Framing::Length(body.bytes),
        None => Framing::Length(0),
    };
    write_fields(&mut out, &end.headers, framing);
    out
}

/// The head of a response that broke off, if one had come.
pub(super) fn broken_head(abort: &Abort) -> Option<Vec<u8>> {
    let mut out = status_line(abort.status?, None);
    // A reader waits for a length that never comes, and would not show the head at all.
    let framing = match abort.body_bytes {
        0 => Framing::None,
        _ => Framing::AsRecorded,
    };
    write_fields(&mut out, &abort.headers, framing);
    Some(out)
}

/// What the head says of the body's length. Recorded chunks are never shown: bodies are recorded
/// without them.
#[derive(Clone, Copy)]
enum Framing {
    /// As the recorded fields say.
    AsRecorded,
    /// So many bytes.
    Length(u64),
    /// Chunks, behind which trailers come.
    Chunked,
    /// Nothing: the body lasts until the connection ends.
    None,
}

fn status_line(status: u16, reason: Option<&[u8]>) -> Vec<u8> {
    let usual = StatusCode::from_u16(status).ok();
    let usual = usual.and_then(|status| status.canonical_reason());
    let reason = reason.unwrap_or_else(|| usual.unwrap_or_default().as_bytes());
    let mut out = Vec::with_capacity(1024);
    out.extend(format!("HTTP/1.1 {status} ").into_bytes());
    push(&mut out, reason);
    out.extend(b"\r\n");
    out
}

fn write_fields(out: &mut Vec<u8>, fields: &Fields, framing: Framing) {
    let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
    let mut told = false;
    for (name, value) in fields {
        match framing {
            _ if is(name, "transfer-encoding") => {}
            Framing::None | Framing::Chunked if is(name, "content-length") => {}
            Framing::Length(bytes) if is(name, "content-length") => {
                if !told {
                    write_field(out, name, bytes.to_string().as_bytes());
                }
                told = true;
            }
            _ => write_field(out, name, &value.0),
        }
    }
    if let Framing::Length(bytes) = framing
        && !told
    {
        write_field(out, "content-length", bytes.to_string().as_bytes());
    }
    if matches!(framing, Framing::Chunked) {
        write_field(out, "transfer-encoding", b"chunked");
    }
    out.extend(b"\r\n");
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    push(out, name.as_bytes());
    out.extend(b": ");
    push(out, value);
    out.extend(b"\r\n");
}

/// Writes a space for each character that would end the line: a recording may hold what no wire carries.
fn push(out: &mut Vec<u8>, text: &[u8]) {
    let plain = |byte: &u8| {
        if matches!(byte, b'\r' | b'\n' | 0) {
            b' '
        } else {
            *byte
        }
    };
    out.extend(text.iter().map(plain));
}

/// Authority and origin-form target of an absolute URL.
fn split(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(at);
    (authority, if target.is_empty() { "/" } else { target })
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    fn text(head: &[u8]) -> &str {
        std::str::from_utf8(head).unwrap()
    }

    #[test]
    fn http2_stands_as_http1_with_a_host_and_a_length() {
        let item = sample::answered(1, "https://a.example/x?y=1", 200, b"body");
        let end = item.exchange.end().unwrap();
        assert_eq!(
            text(&request_head(&item.exchange.begin, None)),
            "GET /x?y=1 HTTP/1.1\r\nhost: a.example\r\nuser-agent: Go-http-client/2.0\r\n\
             accept-encoding: gzip\r\n\r\n"
        );
        assert_eq!(
            text(&response_head(&item.exchange.begin, end, false)),
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 4\r\n\r\n"
        );
    }

    #[test]
    fn a_field_breaks_no_line_and_chunks_become_a_length() {
        let mut item = sample::answered(1, "https://a.example", 299, b"");
        let Some(mut end) = item.exchange.end().cloned() else {
            panic!()
        };
        end.headers = sample::fields(&[("Transfer-Encoding", "chunked"), ("x", "a\r\nEvil: 1")]);
        item.exchange.begin.method = "GET".into();
        assert_eq!(
            text(&response_head(&item.exchange.begin, &end, false)),
            "HTTP/1.1 299 \r\nx: a  Evil: 1\r\ncontent-length: 0\r\n\r\n"
        );
        assert!(text(&request_head(&item.exchange.begin, None)).starts_with("GET / HTTP/1.1\r\n"));
    }

    #[test]
    fn trailers_stand_behind_a_chunk_where_all_of_the_body_is_shown() {
        let item = sample::answered(1, "https://a.example", 200, b"a body of 21 bytes...");
        let begin = &item.exchange.begin;
        let mut end = item.exchange.end().unwrap().clone();
        end.trailers = sample::fields(&[("x-sum", "abc")]);
        let written = |end: &End, bytes: u64, pieces: u64| {
            let shown = Shown {
                bytes,
                reader: Some(Box::new(&b"a body of 21 bytes..."[..])),
            };
            let mut message = Message::of_response(begin, end, shown);
            let mut out = Vec::new();
            while !message.is_over() {
                message.take(&mut out, pieces).unwrap();
            }
            assert!(out.len() as u64 <= message.total);
            String::from_utf8(out).unwrap()
        };
        for pieces in [1, 7, 1000] {
            let chunked = written(&end, 21, pieces);
            let (head, body) = chunked.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with("\r\ntransfer-encoding: chunked"), "{head}");
            assert!(!head.contains("content-length"), "{head}");
            assert_eq!(
                body,
                "15\r\na body of 21 bytes...\r\n0\r\nx-sum: abc\r\n\r\n"
            );
        }
        let cut = written(&end, 6, 1000);
        assert!(cut.ends_with("content-length: 21\r\n\r\na body"), "{cut}");
        end.body = None;
        let empty = written(&end, 0, 1000);
        assert!(
            empty.ends_with("\r\n\r\n0\r\nx-sum: abc\r\n\r\n"),
            "{empty}"
        );
    }

    #[test]
    fn what_is_not_shown_still_counts() {
        let shown = Shown {
            bytes: 3,
            reader: Some(Box::new(&b"abcdef"[..])),
        };
        let mut message = Message::new(b"HEAD".to_vec(), 6, shown);
        let mut out = Vec::new();
        message.take(&mut out, 2).unwrap();
        message.take(&mut out, 4).unwrap();
        assert_eq!(out, b"HEADab");
        message.take(&mut out, 100).unwrap();
        assert_eq!(out, b"HEADabc");
        assert!(message.is_over() && message.total == 10);
    }
}
