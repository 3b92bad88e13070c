//! The frames of an HTTP/2 upstream on their way to h2, without its empty DATA frames.
//!
//! h2 ends a connection for a hundred of them, counted over its whole life, as a flood. go's client
//! takes any number, and here they cost only the client that asked this upstream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::cutter::kind;
use super::write_through::write_through;

/// A frame's head (RFC 9113 section 4.1), bytes.
const HEAD: usize = 9;

/// Flags of DATA (RFC 9113 section 6.1): the end of the stream, and padding, whose length is a byte.
const END_STREAM: u8 = 0x01;
const PADDED: u8 = 0x08;

/// A buffer with less room than this is filled by way of one that has it.
const ROOM: usize = 64;

/// Where the frames are.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of the present frame that are still to pass.
    left: usize,
    /// The head of a frame that came in part.
    held: Vec<u8>,
}

impl Frames {
    /// Moves what passes to the front of `buffer` and says how much that is. A head that is there in
    /// part is held, and belongs in front of what comes next.
    fn filter(&mut self, buffer: &mut [u8]) -> usize {
        let (mut from, mut to) = (0, 0);
        self.held.clear();
        while from < buffer.len() {
            if self.left > 0 {
                let bytes = self.left.min(buffer.len() - from);
                if from != to {
                    buffer.copy_within(from..from + bytes, to);
                }
                self.left -= bytes;
                (from, to) = (from + bytes, to + bytes);
                continue;
            }
            let Some(&[a, b, c, kind, flags, ..]) = buffer[from..].first_chunk::<HEAD>() else {
                self.held.extend_from_slice(&buffer[from..]);
                break;
            };
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if kind == kind::DATA && length == 0 && flags & (END_STREAM | PADDED) == 0 {
                from += HEAD;
            } else {
                self.left = HEAD + length;
            }
        }
        to
    }
}

/// Stands between an upstream and h2.
#[derive(Debug)]
pub(crate) struct EmptyDataFilter<IO> {
    io: IO,
    frames: Frames,
    /// What a small buffer had no room for.
    over: Vec<u8>,
}

impl<IO: AsyncRead + Unpin> EmptyDataFilter<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self {
            io,
            frames: Frames::default(),
            over: Vec::new(),
        }
    }

    /// Reads until something passes, into a buffer with [`ROOM`].
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            buf.put_slice(&self.frames.held);
            let read = Pin::new(&mut self.io).poll_read(cx, buf);
            if !matches!(read, Poll::Ready(Ok(()))) {
                buf.set_filled(before);
            }
            ready!(read)?;
            if buf.filled().len() == before + self.frames.held.len() {
                // The end, perhaps within a head: h2 sees both.
                self.frames.held.clear();
                return Poll::Ready(Ok(()));
            }
            let passes = self.frames.filter(&mut buf.filled_mut()[before..]);
            buf.set_filled(before + passes);
            if passes > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for EmptyDataFilter<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.over.is_empty() && buf.remaining() >= ROOM {
            return this.poll_fill(cx, buf);
        }
        if this.over.is_empty() {
            let mut room = [0; ROOM];
            let mut read = ReadBuf::new(&mut room);
            ready!(this.poll_fill(cx, &mut read))?;
            this.over.extend_from_slice(read.filled());
        }
        let bytes = this.over.len().min(buf.remaining());
        buf.put_slice(&this.over[..bytes]);
        this.over.drain(..bytes);
        Poll::Ready(Ok(()))
    }
}

write_through!(EmptyDataFilter);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::super::pieces::Pieces;
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    async fn passed(pieces: Vec<Vec<u8>>, room: usize) -> Vec<u8> {
        let mut filter = EmptyDataFilter::new(Pieces::new(pieces));
        let mut passed = Vec::new();
        let mut buffer = vec![0; room];
        loop {
            match filter.read(&mut buffer).await.unwrap() {
                0 => return passed,
                bytes => passed.extend_from_slice(&buffer[..bytes]),
            }
        }
    }

    #[tokio::test]
    async fn empty_data_alone_is_left_out_however_the_frames_are_cut() {
        let empty = frame(kind::DATA, 0, b"");
        let whole = [
            frame(kind::SETTINGS, 0, b""),
            frame(kind::HEADERS, 4, b"a head"),
            frame(kind::DATA, 0, b"a body with \0\0\0\0\0\0\0\0\0 in it"),
            frame(kind::DATA, PADDED, b"\0"),
            frame(kind::DATA, END_STREAM, b""),
        ];
        let sent = whole.join(&[&empty[..]; 3].concat()[..]);
        let sent = [&empty[..], &sent, &empty].concat();
        let expected = whole.concat();
        for room in [1, 8, ROOM - 1, ROOM, 4096] {
            assert_eq!(passed(vec![sent.clone()], room).await, expected, "{room}");
            for at in 0..=sent.len() {
                let (before, after) = sent.split_at(at);
                let pieces = vec![before.to_vec(), Vec::new(), after.to_vec()];
                assert_eq!(passed(pieces, room).await, expected, "{room}, cut at {at}");
            }
            let pieces = sent.chunks(1).map(<[u8]>::to_vec).collect();
            assert_eq!(passed(pieces, room).await, expected, "{room}, in bytes");
        }
    }

    #[tokio::test]
    async fn an_end_within_a_frame_is_passed_on() {
        let sent = frame(kind::DATA, 0, b"body");
        for bytes in 0..sent.len() {
            assert_eq!(
                passed(vec![sent[..bytes].to_vec()], 4096).await,
                sent[..bytes]
            );
        }
    }
}
