//! A stream whose first bytes were read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::write_through::write_through;

/// Gives `prefix` first, then what the stream gives.
#[derive(Debug)]
pub(crate) struct Prefixed<IO> {
    prefix: Bytes,
    io: IO,
}

impl<IO> Prefixed<IO> {
    pub(crate) const fn new(prefix: Bytes, io: IO) -> Self {
        Self { prefix, io }
    }

    /// The stream itself, behind what was read already.
    pub(crate) const fn stream(&mut self) -> &mut IO {
        &mut self.io
    }

    /// More was read from the stream.
    pub(crate) fn add(&mut self, read: &[u8]) {
        if !read.is_empty() {
            self.prefix = [&self.prefix, read].concat().into();
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Prefixed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let room = buf.remaining();
        buf.put((&mut self.prefix).take(room));
        if self.prefix.is_empty() {
            // Its memory is that of the whole ClientHello.
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

write_through!(Prefixed);
