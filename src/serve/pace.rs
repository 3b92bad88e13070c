//! Clients that take nothing: one that has not read for minutes what there is for it loses its connection, so that others
//! get its place.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::{Clock, Timestamp};

/// How long a client may take nothing: a machine that sleeps is asked again all the same.
const STILL: Duration = Duration::from_secs(300);

/// How often that is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(30);

/// How one connection's client takes what there is for it.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Clock,
    /// Bodies of which the client was given a piece, and has not asked for the next one.
    waiting: AtomicU32,
    /// When it asked for one for the last time, microseconds.
    asked: AtomicU64,
    /// Since when the connection takes no bytes, microseconds and one; 0 if it does.
    blocked: AtomicU64,
}

impl Pace {
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            waiting: AtomicU32::new(0),
            asked: AtomicU64::new(clock.now().as_micros()),
            blocked: AtomicU64::new(0),
        })
    }

    /// Whether the client has taken nothing for too long. Neither a client that waits for us, nor one that asks for nothing,
    /// takes too long.
    pub(super) fn is_still(&self) -> bool {
        let now = self.clock.now();
        let is_long = |since: u64| now.since(Timestamp::from_micros(since)) > STILL;
        let blocked = self.blocked.load(Ordering::Relaxed);
        let is_blocked = blocked > 0 && is_long(blocked - 1);
        let waits = self.waiting.load(Ordering::Relaxed) > 0;
        is_blocked || waits && is_long(self.asked.load(Ordering::Relaxed))
    }

    fn asks(&self) {
        let now = self.clock.now().as_micros();
        self.asked.store(now, Ordering::Relaxed);
    }

    /// Notes what came of a write.
    fn wrote<T>(&self, written: Poll<T>) -> Poll<T> {
        match &written {
            Poll::Ready(_) => self.blocked.store(0, Ordering::Relaxed),
            Poll::Pending => {
                let now = self.clock.now().as_micros() + 1;
                let order = Ordering::Relaxed;
                // Only since the first.
                let _ = self.blocked.compare_exchange(0, now, order, order);
            }
        }
        written
    }
}

/// A body whose pieces a client takes.
#[derive(Debug)]
pub(super) struct Paced<B> {
    body: B,
    pace: Arc<Pace>,
    /// Whether the client has a piece, and has not asked for the next one.
    waits: bool,
}

impl<B> Paced<B> {
    pub(super) fn new(body: B, pace: Arc<Pace>) -> Self {
        Self {
            body,
            pace,
            waits: false,
        }
    }

    fn waits(&mut self, waits: bool) {
        match (std::mem::replace(&mut self.waits, waits), waits) {
            (false, true) => drop(self.pace.waiting.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.pace.waiting.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }
}

impl<B: Body + Unpin> Body for Paced<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let paced = self.get_mut();
        paced.pace.asks();
        let polled = Pin::new(&mut paced.body).poll_frame(cx);
        // What is not there is our own fault.
        paced.waits(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Paced<B> {
    fn drop(&mut self) {
        self.waits(false);
    }
}

/// A client's connection, of which it is noted since when it takes no bytes.
#[derive(Debug)]
pub(super) struct Outlet<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl<S> Outlet<S> {
    pub(super) fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outlet<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Outlet<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outlet = self.get_mut();
        let written = Pin::new(&mut outlet.stream).poll_write(cx, buf);
        outlet.pace.wrote(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outlet = self.get_mut();
        let written = Pin::new(&mut outlet.stream).poll_write_vectored(cx, bufs);
        outlet.pace.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outlet = self.get_mut();
        let flushed = Pin::new(&mut outlet.stream).poll_flush(cx);
        outlet.pace.wrote(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outlet = self.get_mut();
        let shut = Pin::new(&mut outlet.stream).poll_shutdown(cx);
        outlet.pace.wrote(shut)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LONG: Duration = Duration::from_secs(301);

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_takes_no_bytes_is_still_and_one_that_does_is_not() {
        let pace = Pace::new(Clock::start());
        let (client, stream) = tokio::io::duplex(16);
        let mut outlet = Outlet::new(stream, Arc::clone(&pace));
        // Nothing is there for it.
        tokio::time::advance(LONG).await;
        assert!(!pace.is_still());
        let mut client = client;
        let sending = outlet.write_all(&[0; 64]);
        tokio::pin!(sending);
        assert!(futures_pending(sending.as_mut()).await);
        assert!(!pace.is_still());
        tokio::time::advance(LONG).await;
        assert!(pace.is_still());
        let mut read = [0; 64];
        let (sent, received) = tokio::join!(sending, client.read_exact(&mut read));
        sent.expect("it is read");
        received.expect("it is sent");
        assert!(!pace.is_still());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_given_no_room_is_still_until_it_is_over() {
        let pace = Pace::new(Clock::start());
        let body = Full::new(bytes::Bytes::from_static(b"a piece"));
        let mut body = Paced::new(body, Arc::clone(&pace));
        tokio::time::advance(LONG).await;
        assert!(!pace.is_still());
        assert!(body.frame().await.is_some());
        assert!(!pace.is_still());
        tokio::time::advance(LONG).await;
        assert!(pace.is_still());
        // Another stream of the connection goes on.
        let mut other = Paced::new(Full::new(bytes::Bytes::new()), Arc::clone(&pace));
        let _ = other.frame().await;
        assert!(!pace.is_still());
        tokio::time::advance(LONG).await;
        assert!(pace.is_still());
        drop(body);
        assert!(!pace.is_still());
    }

    /// Whether a future is not ready yet.
    async fn futures_pending(mut future: Pin<&mut impl Future>) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }
}
