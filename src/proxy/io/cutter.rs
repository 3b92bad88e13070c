//! Cuts the bytes of an HTTP/2 connection into frames, wherever the reads and writes cut them.
//!
//! It gives each frame's head and the first four bytes behind it (padding length, error code), and
//! skips the rest. It checks nothing: any bytes are frames.

/// Frame types (RFC 9113 section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;

    /// As the RFC spells it.
    pub(crate) const fn name(kind: u8) -> &'static str {
        match kind {
            DATA => "DATA",
            HEADERS => "HEADERS",
            PRIORITY => "PRIORITY",
            RST_STREAM => "RST_STREAM",
            SETTINGS => "SETTINGS",
            PUSH_PROMISE => "PUSH_PROMISE",
            PING => "PING",
            GOAWAY => "GOAWAY",
            WINDOW_UPDATE => "WINDOW_UPDATE",
            CONTINUATION => "CONTINUATION",
            _ => "a frame of an unknown type",
        }
    }
}

const HEAD: usize = 9;
const PAYLOAD: usize = 4;

/// Where the cutter stands in one direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    /// The start of the frame that is being read.
    start: [u8; HEAD + PAYLOAD],
    have: usize,
    /// Bytes of the frame that are still to be skipped.
    left: usize,
}

/// How a frame starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// Bytes behind the head.
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// Without the reserved bit.
    pub(crate) stream: u32,
    /// The first bytes behind the head; zeros where the frame has fewer.
    pub(crate) payload: [u8; PAYLOAD],
}

impl Cutter {
    /// Takes the start of the next frame off `bytes`, or all of them if none is complete.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Option<Start> {
        self.skip(bytes);
        while self.left == 0 {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            self.start[self.have] = *byte;
            self.have += 1;
            if let Some(start) = self.complete() {
                self.left = (start.length as usize).saturating_sub(PAYLOAD);
                self.have = 0;
                self.start = [0; HEAD + PAYLOAD];
                self.skip(bytes);
                return Some(start);
            }
        }
        None
    }

    /// True between two frames.
    pub(crate) const fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// True if part of a frame's start is there.
    pub(crate) const fn is_starting(&self) -> bool {
        self.have > 0
    }

    fn skip(&mut self, bytes: &mut &[u8]) {
        let skipped = self.left.min(bytes.len());
        self.left -= skipped;
        *bytes = &bytes[skipped..];
    }

    fn complete(&self) -> Option<Start> {
        let [a, b, c, kind, flags, e, f, g, h, payload @ ..] = self.start;
        let length = u32::from_be_bytes([0, a, b, c]);
        let needed = HEAD + PAYLOAD.min(length as usize);
        (self.have >= HEAD && self.have >= needed).then_some(Start {
            length,
            kind,
            flags,
            stream: u32::from_be_bytes([e & 0x7f, f, g, h]),
            payload,
        })
    }
}

impl Start {
    /// The error code, if this is RST_STREAM.
    pub(crate) fn reset(&self) -> Option<u32> {
        (self.kind == kind::RST_STREAM).then(|| u32::from_be_bytes(self.payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(pieces: &[&[u8]]) -> Vec<Start> {
        let mut cutter = Cutter::default();
        let mut found = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(start) = cutter.next(&mut piece) {
                found.push(start);
            }
        }
        assert!(cutter.is_between());
        found
    }

    #[test]
    fn frames_are_the_same_however_they_are_cut() {
        let bytes = [
            &b"\0\0\0\x04\x01\0\0\0\0"[..],
            b"\0\0\x08\x06\0\0\0\0\0abcdefgh",
            b"\0\0\x04\x03\0\x80\0\0\x05\0\0\0\x07",
            b"\0\0\x02\0\x08\0\0\0\x03\x01x",
            b"\0\0\0\x04\0\0\0\0\0",
        ]
        .concat();
        let whole = starts(&[&bytes]);
        let kinds: Vec<_> = whole.iter().map(|s| (s.kind, s.stream, s.length)).collect();
        assert_eq!(
            kinds,
            [(4, 0, 0), (6, 0, 8), (3, 5, 4), (0, 3, 2), (4, 0, 0)]
        );
        assert_eq!((whole[2].reset(), whole[1].reset()), (Some(7), None));
        assert_eq!(whole[3].payload, [1, b'x', 0, 0]);
        assert_eq!(starts(&bytes.chunks(1).collect::<Vec<_>>()), whole);
        for at in 0..bytes.len() {
            let (before, after) = bytes.split_at(at);
            assert_eq!(starts(&[before, after]), whole, "cut at {at}");
        }
    }
}
