//! Judges what an origin got, byte by byte: strict, and written for itself alone.

use std::collections::BTreeMap;

use super::HOST;
use crate::support::frames::{Frame, PREFACE};
use crate::support::hpack::{Field, Heads};

/// What was seen on a connection.
#[derive(Debug, Default)]
pub struct Seen {
    /// What no origin should ever get.
    pub breaches: Vec<String>,
    /// What was asked for, in order.
    pub targets: Vec<String>,
}

impl Seen {
    fn breach(&mut self, what: &str, bytes: &[u8]) {
        let bytes = bytes.escape_ascii();
        self.breaches.push(format!("{what}: {bytes}"));
    }
}

/// Fields that end at us.
const OURS: [&str; 8] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "upgrade",
    "x-hop",
];

/// The requests of one HTTP/1 connection. A message that was cut is no breach.
pub fn http1(log: &[u8]) -> Seen {
    let (mut seen, mut rest) = (Seen::default(), log);
    while !rest.is_empty() {
        let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
            seen.breach("no end of a head", rest);
            return seen;
        };
        let (head, behind) = rest.split_at(end + 4);
        rest = match framing(head, &mut seen) {
            Framing::Length(length) => behind.get(length..).unwrap_or_default(),
            Framing::Chunked => behind_chunks(behind, &mut seen),
        };
    }
    seen
}

enum Framing {
    Length(usize),
    Chunked,
}

fn framing(head: &[u8], seen: &mut Seen) -> Framing {
    let text = &head[..head.len() - 4];
    let is_odd = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 127;
    let lines: Vec<&[u8]> = split(text);
    if lines.iter().any(|line| line.iter().any(is_odd)) {
        seen.breach("a control character", head);
    }
    let words: Vec<&[u8]> = lines[0].split(|byte| *byte == b' ').collect();
    match words[..] {
        [_, target, b"HTTP/1.1"] if target.starts_with(b"/") => {
            seen.targets.push(String::from_utf8_lossy(target).into());
        }
        _ => seen.breach("a request line", lines[0]),
    }
    let mut fields = BTreeMap::<String, Vec<String>>::new();
    for line in &lines[1..] {
        let line = String::from_utf8_lossy(line);
        let Some((name, value)) = line.split_once(':') else {
            seen.breach("no field", line.as_bytes());
            continue;
        };
        if name.is_empty() || name.contains([' ', '\t']) || !name.is_ascii() {
            seen.breach("a field name", line.as_bytes());
        }
        let name = name.to_ascii_lowercase().replace('_', "-");
        fields.entry(name).or_default().push(value.trim().into());
    }
    judge(fields, head, seen)
}

fn judge(mut fields: BTreeMap<String, Vec<String>>, head: &[u8], seen: &mut Seen) -> Framing {
    if fields.remove("host").unwrap_or_default() != [HOST] {
        seen.breach("not one right Host", head);
    }
    // We pass trailers on, and say so to the origin of whoever asks.
    if fields.get("te").is_some_and(|te| te == &["trailers"]) {
        fields.remove("te");
        if fields
            .get("connection")
            .is_some_and(|names| names == &["te"])
        {
            fields.remove("connection");
        }
    }
    for name in OURS.iter().filter(|name| fields.contains_key(**name)) {
        seen.breach(name, head);
    }
    let lengths = fields.remove("content-length").unwrap_or_default();
    let codings = fields.remove("transfer-encoding").unwrap_or_default();
    match (&lengths[..], &codings[..]) {
        ([], []) => Framing::Length(0),
        ([], [one]) if one == "chunked" => Framing::Chunked,
        ([one], []) if one == "0" || one.starts_with(|c| ('1'..='9').contains(&c)) => {
            let length = one.parse().unwrap_or_else(|_| {
                seen.breach("a length", head);
                0
            });
            Framing::Length(length)
        }
        _ => {
            seen.breach("framing", head);
            Framing::Length(0)
        }
    }
}

fn split(text: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut start) = (Vec::new(), 0);
    while let Some(at) = text[start..].windows(2).position(|two| two == b"\r\n") {
        lines.push(&text[start..start + at]);
        start += at + 2;
    }
    lines.push(&text[start..]);
    lines
}

/// What stands behind a chunked body; nothing where that was cut.
fn behind_chunks<'a>(mut rest: &'a [u8], seen: &mut Seen) -> &'a [u8] {
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
            let is_part = rest.iter().all(|o| o.is_ascii_hexdigit() || *o == b'\r');
            if !is_part {
                seen.breach("part of a chunk's size", rest);
            }
            return &[];
        };
        let digits = &rest[..end];
        let size = std::str::from_utf8(digits)
            .ok()
            .filter(|_| !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit));
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            seen.breach("a chunk's size", digits);
            return &[];
        };
        rest = &rest[end + 2..];
        if size == 0 {
            return match rest.strip_prefix(b"\r\n") {
                Some(rest) => rest,
                None => {
                    if !rest.is_empty() {
                        seen.breach("trailers", rest);
                    }
                    &[]
                }
            };
        }
        match rest.get(size..size + 2) {
            Some(b"\r\n") => rest = &rest[size + 2..],
            Some(_) => {
                seen.breach("a chunk's end", rest);
                return &[];
            }
            None => return &[],
        }
    }
}

/// The requests of one HTTP/2 connection.
pub fn http2(log: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let Some(rest) = log.strip_prefix(PREFACE) else {
        if !PREFACE.starts_with(log) {
            seen.breach("no preface", log);
        }
        return seen;
    };
    let (mut rest, mut heads) = (rest.to_vec(), Heads::default());
    let mut streams = Vec::new();
    while let Some(frame) = Frame::take(&mut rest) {
        if let Some((stream, fields, _)) = heads.take(&frame) {
            // A second block on a stream is its trailers.
            let is_head = !streams.contains(&stream);
            streams.push(stream);
            fields2(&fields, is_head, &mut seen);
        }
    }
    seen
}

/// The fields of one header block.
pub fn fields2(fields: &[Field], is_head: bool, seen: &mut Seen) {
    let told = format!(
        "{:?}",
        fields
            .iter()
            .map(|(n, v)| (n.escape_ascii().to_string(), v.escape_ascii().to_string()))
            .collect::<Vec<_>>()
    );
    let count = |name: &str| {
        fields
            .iter()
            .filter(|field| field.0 == name.as_bytes())
            .count()
    };
    let pseudo = fields
        .iter()
        .filter(|(name, _)| name.starts_with(b":"))
        .count();
    let wanted = if is_head { 4 } else { 0 };
    let four = [":method", ":scheme", ":authority", ":path"];
    let is_first = fields
        .iter()
        .take(pseudo)
        .all(|(name, _)| name.starts_with(b":"));
    if pseudo != wanted || (is_head && four.iter().any(|name| count(name) != 1)) || !is_first {
        seen.breach("pseudo-header fields", told.as_bytes());
    }
    for (name, value) in fields {
        let text = String::from_utf8_lossy(value).into_owned();
        let is_wrong = match &name[..] {
            b":path" => {
                seen.targets.push(text.clone());
                !text.starts_with('/') || text.contains([' ', '#'])
            }
            b":authority" => text != HOST,
            b":scheme" => text != "https",
            b":method" => text.is_empty() || !text.chars().all(|c| c.is_ascii_uppercase()),
            b"content_length" | b"transfer_encoding" | b"" => true,
            _ => !name.iter().all(|byte| {
                byte.is_ascii_lowercase()
                    || byte.is_ascii_digit()
                    || b"-._~!#$%&'*+^`|".contains(byte)
            }),
        };
        let is_odd = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 127;
        let is_framed = value.first().is_some_and(|o| b" \t".contains(o))
            || value.last().is_some_and(|o| b" \t".contains(o));
        if is_wrong || value.iter().any(is_odd) || is_framed {
            seen.breach("a field", told.as_bytes());
        }
    }
    let plain = |name: &[u8]| {
        String::from_utf8_lossy(name)
            .to_ascii_lowercase()
            .replace('_', "-")
    };
    let asks = |field: &&Field| field.0 == b"te" && field.1 == b"trailers";
    let names = fields.iter().filter(|field| !asks(field));
    let names: Vec<String> = names.map(|(name, _)| plain(name)).collect();
    let is_ours = |name: &&String| {
        OURS.contains(&&name[..]) || ["host", "transfer-encoding"].contains(&&name[..])
    };
    if let Some(name) = names.iter().find(is_ours) {
        seen.breach(name, told.as_bytes());
    }
    let lengths = names
        .iter()
        .filter(|name| *name == "content-length")
        .count();
    if lengths > usize::from(is_head) {
        seen.breach("lengths", told.as_bytes());
    }
}
