//! A stream that gives its bytes in pieces: for the tests of what reads them.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Gives at most one piece a read. An empty piece is a moment in which there is nothing to read.
pub(in crate::proxy) struct Pieces(VecDeque<Vec<u8>>);

impl Pieces {
    pub(in crate::proxy) fn new(pieces: impl IntoIterator<Item: Into<Vec<u8>>>) -> Self {
        Self(pieces.into_iter().map(Into::into).collect())
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.0.pop_front() else {
            return Poll::Ready(Ok(()));
        };
        if piece.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        if !rest.is_empty() {
            self.0.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}
