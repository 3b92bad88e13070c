//! The end of a connection whose client may still be sending.
//!
//! An end with bytes unread would be a reset, which takes with it what we said last (RFC 9112
//! section 9.6). So the client gets some time, and what it says meanwhile is dropped.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// How long the client has to read what we said.
pub(in crate::proxy) const LINGER: Duration = Duration::from_secs(2);

/// How many bytes we read and drop meanwhile: those of an upload go on until its client has seen
/// the answer, which some look for at the end only.
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// How much is read at a time where little is expected.
pub(crate) const PIECE: usize = 4 * 1024;

/// Ready once the client has ended too, or has sent too much; `dropped` counts.
pub(in crate::proxy) fn poll_drain<IO: AsyncRead + Unpin>(
    io: &mut IO,
    cx: &mut Context<'_>,
    dropped: &mut usize,
) -> Poll<io::Result<()>> {
    loop {
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut *io).poll_read(cx, &mut piece))?;
        *dropped += piece.filled().len();
        if piece.filled().is_empty() || *dropped > LINGER_BYTES {
            return Poll::Ready(Ok(()));
        }
    }
}

/// Ends our side, and waits for the client's within the limits above.
pub(in crate::proxy) async fn hang_up<IO: AsyncRead + AsyncWrite + Unpin>(io: &mut IO) {
    let ending = async {
        io.shutdown().await?;
        let mut dropped = 0;
        poll_fn(|cx| poll_drain(io, cx, &mut dropped)).await
    };
    // The client may be gone: then nobody reads what we said.
    let _ = tokio::time::timeout(LINGER, ending).await;
}
