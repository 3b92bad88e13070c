//! The frames of one direction of an HTTP/2 connection, wherever the reads and writes cut them.
//!
//! Nothing is checked: any bytes are frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

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

/// Frame flags (RFC 9113 section 6).
pub(crate) mod flag {
    /// Of SETTINGS: it acknowledges the peer's.
    pub(crate) const ACK: u8 = 0x1;
    /// Of DATA and HEADERS.
    pub(crate) const END_STREAM: u8 = 0x1;
    /// Of HEADERS, PUSH_PROMISE and CONTINUATION.
    pub(crate) const END_HEADERS: u8 = 0x4;
    /// Of DATA: its first byte is the length of padding.
    pub(crate) const PADDED: u8 = 0x8;
}

/// A frame's head (RFC 9113 section 4.1), bytes.
pub(crate) const HEAD: usize = 9;

/// A buffer with less room than this is filled by way of one that has it.
const ROOM: usize = 64;

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    /// Bytes of payload behind the head.
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// Without the reserved bit.
    pub(crate) stream: u32,
}

impl FrameHead {
    const fn parse(head: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, d, e, f, g] = head;
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([d & 0x7f, e, f, g]),
        }
    }

    /// True if all of these flags are set.
    pub(crate) const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// What some bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// The end of a frame's head.
    Head(FrameHead),
    /// Payload of the frame whose head came last.
    Payload(&'a [u8]),
}

/// Where one direction of a connection stands.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The first bytes of a head that is incomplete.
    head: [u8; HEAD],
    have: usize,
    /// Bytes of payload that are still to come.
    left: usize,
}

impl Frames {
    /// Frames behind a preface of so many bytes, which counts as payload.
    pub(crate) const fn behind(preface: usize) -> Self {
        Self {
            head: [0; HEAD],
            have: 0,
            left: preface,
        }
    }

    /// Takes the next part off `bytes`; `None` once they are used up.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Part<'a>> {
        if self.left > 0 {
            let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
            *bytes = rest;
            self.left -= payload.len();
            return (!payload.is_empty()).then_some(Part::Payload(payload));
        }
        let (more, rest) = bytes.split_at((HEAD - self.have).min(bytes.len()));
        *bytes = rest;
        self.head[self.have..][..more.len()].copy_from_slice(more);
        self.have += more.len();
        if self.have < HEAD {
            return None;
        }
        let head = FrameHead::parse(self.head);
        self.have = 0;
        self.left = head.length as usize;
        Some(Part::Head(head))
    }

    /// True between two frames.
    pub(crate) const fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// True if a part of the present frame's payload is still to come.
    pub(crate) const fn is_in_payload(&self) -> bool {
        self.left > 0
    }

    /// The first bytes of a head that is incomplete.
    fn incomplete_head(&self) -> &[u8] {
        &self.head[..self.have]
    }

    /// Moves what passes to the front of `bytes` and says how much that is. An incomplete head at
    /// their end is none of it: it belongs in front of the bytes that come next.
    fn filter(&mut self, bytes: &mut [u8], passes: &mut impl FnMut(Part<'_>) -> bool) -> usize {
        self.have = 0;
        let (mut from, mut to) = (0, 0);
        loop {
            let mut rest = &bytes[from..];
            let Some(part) = self.next(&mut rest) else {
                return to;
            };
            let end = bytes.len() - rest.len();
            if passes(part) {
                if from != to {
                    bytes.copy_within(from..end, to);
                }
                to += end - from;
            }
            from = end;
        }
    }
}

/// Reads frames and leaves some out.
#[derive(Debug, Default)]
pub(crate) struct FrameFilter {
    frames: Frames,
    /// What a small buffer had no room for.
    over: Vec<u8>,
}

impl FrameFilter {
    pub(crate) const fn new(frames: Frames) -> Self {
        Self {
            frames,
            over: Vec::new(),
        }
    }

    /// True if a part of the present frame's payload is still to come.
    pub(crate) const fn is_in_payload(&self) -> bool {
        self.frames.is_in_payload()
    }

    /// True if the head of a frame is there in part, which waits here for its rest.
    pub(crate) const fn holds(&self) -> bool {
        self.frames.have > 0
    }

    /// Reads what passes: `passes` sees each part once, in order. A frame that it leaves out must have
    /// no payload.
    pub(crate) fn poll_read<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        mut passes: impl FnMut(Part<'_>) -> bool,
    ) -> Poll<io::Result<()>> {
        if self.over.is_empty() {
            let room = buf.remaining();
            let is_payload = (1..=self.frames.left).contains(&room);
            if is_payload || room >= ROOM {
                return self.poll_fill(io, cx, buf, &mut passes);
            }
            let mut room = [0; ROOM];
            let mut read = ReadBuf::new(&mut room);
            ready!(self.poll_fill(io, cx, &mut read, &mut passes))?;
            self.over.extend_from_slice(read.filled());
        }
        let bytes = self.over.len().min(buf.remaining());
        buf.put_slice(&self.over[..bytes]);
        self.over.drain(..bytes);
        Poll::Ready(Ok(()))
    }

    /// Reads until something passes, into a buffer that has [`ROOM`] or takes payload alone.
    fn poll_fill<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        passes: &mut impl FnMut(Part<'_>) -> bool,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            let held = self.frames.incomplete_head();
            let bytes = before + held.len();
            buf.put_slice(held);
            let read = Pin::new(&mut *io).poll_read(cx, buf);
            if !matches!(read, Poll::Ready(Ok(()))) {
                buf.set_filled(before);
            }
            ready!(read)?;
            if buf.filled().len() == bytes {
                // The end, perhaps within a head: h2 sees both.
                self.frames.have = 0;
                return Poll::Ready(Ok(()));
            }
            let passed = self.frames.filter(&mut buf.filled_mut()[before..], passes);
            buf.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of these pieces: heads, and how much payload is behind each.
    fn parts(pieces: &[&[u8]]) -> Vec<(FrameHead, Vec<u8>)> {
        let mut frames = Frames::default();
        let mut found: Vec<(FrameHead, Vec<u8>)> = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(part) = frames.next(&mut piece) {
                match part {
                    Part::Head(head) => found.push((head, Vec::new())),
                    Part::Payload(bytes) => found.last_mut().unwrap().1.extend(bytes),
                }
            }
        }
        assert!(frames.is_between());
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
        let whole = parts(&[&bytes]);
        let told: Vec<_> = whole
            .iter()
            .map(|(head, payload)| (head.kind, head.flags, head.stream, &payload[..]))
            .collect();
        let expected: [(u8, u8, u32, &[u8]); 5] = [
            (4, 1, 0, b""),
            (6, 0, 0, b"abcdefgh"),
            (3, 0, 5, b"\0\0\0\x07"),
            (0, 8, 3, b"\x01x"),
            (4, 0, 0, b""),
        ];
        assert_eq!(told, expected);
        assert_eq!(parts(&bytes.chunks(1).collect::<Vec<_>>()), whole);
        for at in 0..bytes.len() {
            let (before, after) = bytes.split_at(at);
            assert_eq!(parts(&[before, after]), whole, "cut at {at}");
        }
    }
}
