//! HPACK read back (RFC 7541): what a header block said, byte for byte, whatever a library would
//! have made of it.

use std::collections::VecDeque;

use super::frames::{Frame, flag, kind};

/// Name and value as they came.
pub type Field = (Vec<u8>, Vec<u8>);

/// The blocks of one direction of one connection.
pub struct Decoder {
    entries: VecDeque<Field>,
    limit: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        let (entries, limit) = (VecDeque::new(), 4096);
        Self { entries, limit }
    }
}

impl Decoder {
    /// The fields of one block; panics where it is malformed, since the sender is under test.
    pub fn fields(&mut self, block: &[u8]) -> Vec<Field> {
        let (mut bytes, mut fields) = (block, Vec::new());
        while let Some(first) = bytes.first().copied() {
            if first & 0x80 != 0 {
                let index = integer(&mut bytes, 7);
                fields.push(self.entry(index));
            } else if first & 0xe0 == 0x20 {
                self.limit = integer(&mut bytes, 5);
                self.evict();
            } else {
                let is_kept = first & 0x40 != 0;
                let index = integer(&mut bytes, if is_kept { 6 } else { 4 });
                let name = match index {
                    0 => text(&mut bytes),
                    index => self.entry(index).0,
                };
                let field = (name, text(&mut bytes));
                if is_kept {
                    self.entries.push_front(field.clone());
                    self.evict();
                }
                fields.push(field);
            }
        }
        fields
    }

    fn entry(&self, index: usize) -> Field {
        match index.checked_sub(STATIC.len() + 1) {
            None => {
                let (name, value) = STATIC[index - 1];
                (name.into(), value.into())
            }
            Some(index) => self.entries[index].clone(),
        }
    }

    fn evict(&mut self) {
        let size = |(name, value): &Field| name.len() + value.len() + 32;
        while self.entries.iter().map(size).sum::<usize>() > self.limit {
            self.entries.pop_back();
        }
    }
}

/// The header blocks among these frames, with their streams and whether the stream ends there.
#[derive(Default)]
pub struct Heads {
    decoder: Decoder,
    block: Vec<u8>,
    ends: bool,
}

impl Heads {
    /// What this frame completes.
    pub fn take(&mut self, frame: &Frame) -> Option<(u32, Vec<Field>, bool)> {
        match frame.kind {
            kind::HEADERS => {
                self.ends = frame.has(flag::END_STREAM);
                let skipped = if frame.has(flag::PRIORITY) { 5 } else { 0 };
                self.block = frame.payload[skipped..].to_vec();
            }
            kind::CONTINUATION => self.block.extend(&frame.payload),
            _ => return None,
        }
        if !frame.has(flag::END_HEADERS) {
            return None;
        }
        let fields = self.decoder.fields(&self.block);
        Some((frame.stream, fields, self.ends))
    }
}

fn integer(bytes: &mut &[u8], bits: u32) -> usize {
    let most = (1 << bits) - 1;
    let mut value = usize::from(take(bytes)) & most;
    if value < most {
        return value;
    }
    for shift in (0..).step_by(7) {
        let byte = take(bytes);
        value += usize::from(byte & 127) << shift;
        if byte & 128 == 0 {
            break;
        }
    }
    value
}

fn text(bytes: &mut &[u8]) -> Vec<u8> {
    let is_compressed = bytes.first().is_some_and(|byte| byte & 128 != 0);
    let length = integer(bytes, 7);
    let (text, rest) = bytes.split_at(length);
    *bytes = rest;
    if is_compressed {
        expand(text)
    } else {
        text.to_vec()
    }
}

fn take(bytes: &mut &[u8]) -> u8 {
    let (first, rest) = bytes.split_first().expect("a block ends with a field");
    *bytes = rest;
    *first
}

/// The Huffman code of RFC 7541 appendix B is canonical: its lengths say it all.
fn expand(bytes: &[u8]) -> Vec<u8> {
    let mut symbols: Vec<usize> = (0..LENGTHS.len()).collect();
    symbols.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
    let (mut text, mut bits, mut length) = (Vec::new(), 0_u32, 0_u8);
    for bit in bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
    {
        (bits, length) = (bits << 1 | u32::from(bit), length + 1);
        let (mut code, mut before) = (0_u32, LENGTHS[symbols[0]]);
        for symbol in &symbols {
            let own = LENGTHS[*symbol];
            if own > length {
                break;
            }
            code <<= own - before;
            before = own;
            if own == length && code == bits {
                text.push(u8::try_from(*symbol).expect("nobody sends EOS"));
                (bits, length) = (0, 0);
                break;
            }
            code += 1;
        }
    }
    text
}

#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// RFC 7541 appendix A.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
];
