//! Stands between TLS and hyper on the client leg: keeps the deadlines that hyper cannot, refuses what
//! hyper's parse of HTTP/1 would hide (`http1`), and counts HTTP/2 frames (`http2`).
//!
//! hyper's own head timer also runs while a connection idles between requests, so it is off. Here a
//! head has its time from its first byte, and a connection without a request has its own.

mod framing;
mod http1;
mod http2;
mod mirror;
mod watch;

pub(super) use framing::Violation;
#[cfg(any(test, fuzzing))]
pub(super) use framing::check;
pub(super) use watch::Watch;

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::limits::Deadlines;
use crate::capture::Stream;
use crate::clock::{Clock, Timestamp};
use crate::tls::{self, Protocol};

use http1::Http1;
use http2::Http2;
use watch::UNREAD;

/// The client's stream as hyper reads and writes it.
pub(crate) struct Guard<IO> {
    io: IO,
    watch: Arc<Watch>,
    clock: Clock,
    deadlines: Deadlines,
    timer: Option<(Timestamp, Pin<Box<Sleep>>)>,
    /// When to check again whether the client's windows are shut.
    look: Option<Pin<Box<Sleep>>>,
    /// Since when the client's socket takes nothing of what there is to write.
    unread_since: Option<Timestamp>,
    unread: Option<Pin<Box<Sleep>>>,
    http: Http,
    /// The connection in the packet capture, if there is one.
    captured: Option<Stream>,
}

/// What is followed of the client's protocol.
enum Http {
    V1(Http1),
    V2(Http2),
}

impl<IO> Guard<IO> {
    pub(crate) fn new(io: IO, watch: Arc<Watch>, clock: Clock, deadlines: Deadlines) -> Self {
        let http = match watch.protocol {
            Protocol::Http1 => Http::V1(Http1::new(&watch)),
            Protocol::H2 => Http::V2(Http2::new(&watch)),
        };
        Self {
            io,
            watch,
            clock,
            deadlines,
            timer: None,
            look: None,
            unread_since: None,
            unread: None,
            http,
            captured: None,
        }
    }

    /// The guard of a connection that is in the packet capture.
    pub(crate) fn captured_as(self, captured: Option<Stream>) -> Self {
        Self { captured, ..self }
    }

    /// The start of the last request head over HTTP/1.
    pub(crate) fn request_line(&self) -> &[u8] {
        match &self.http {
            Http::V1(http1) => http1.request_line(),
            Http::V2(_) => b"",
        }
    }

    /// When the client must have sent something, and what is wrong if it has not.
    fn deadline(&self) -> Option<(Timestamp, &'static str)> {
        let incomplete = match &self.http {
            Http::V1(_) => None,
            Http::V2(http2) => http2.incomplete_since(),
        };
        let incomplete = incomplete.map(|since| {
            let what = "the client sent no whole request head in time";
            (since + self.deadlines.request_head, what)
        });
        incomplete
            .into_iter()
            .chain(self.watch.deadline(&self.deadlines))
            .min_by_key(|(at, _)| *at)
    }

    /// Counts what we sent: the first `written` bytes of `bufs`.
    fn sent(&mut self, bufs: &[IoSlice<'_>], mut written: usize) {
        let mut answers = written > 0;
        if let Http::V2(http2) = &mut self.http {
            answers = false;
            for buf in bufs {
                let part = written.min(buf.len());
                answers |= http2.sent(&buf[..part]);
                written -= part;
            }
            self.watch.saw_malformed(http2.take_malformed());
        }
        if answers {
            self.watch.saw_answer(self.clock.now());
        }
    }

    /// Has `poll_deadline` called again after as long as a window may stay shut: while exchanges run,
    /// nothing else calls it when the client's windows shut.
    fn look_again(&mut self, cx: &mut Context<'_>) {
        let is_set = self.look.as_ref().is_some_and(|look| !look.is_elapsed());
        if is_set || self.watch.protocol == Protocol::Http1 {
            return;
        }
        let mut look = Box::pin(tokio::time::sleep(self.deadlines.unread));
        if look.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.look = Some(look);
    }

    /// Ready with an error once a deadline has passed; sets a timer otherwise.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let Some((deadline, what)) = self.deadline() else {
                self.look_again(cx);
                return Poll::Pending;
            };
            if self.clock.now() >= deadline {
                self.watch.is_late(what);
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            let at = self.clock.instant(deadline);
            let (set_for, timer) = self
                .timer
                .get_or_insert_with(|| (deadline, Box::pin(tokio::time::sleep_until(at))));
            // A timer that is set too early fires, and is set anew: cheaper than at every request.
            if deadline < *set_for {
                timer.as_mut().reset(at);
                *set_for = deadline;
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
    }
}

impl<IO> Guard<IO> {
    /// The outcome of a write, or an error once the client has taken nothing for too long.
    fn taken<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.unread_since = None;
            return outcome;
        }
        let since = *self.unread_since.get_or_insert_with(|| self.clock.now());
        let deadline = since + self.deadlines.unread;
        let at = self.clock.instant(deadline);
        let timer = &mut self.unread;
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        while timer.as_mut().poll(cx).is_ready() {
            if self.clock.now() >= deadline {
                self.watch.is_late(UNREAD);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, UNREAD)));
            }
            // It was set for an earlier wait, and is kept: setting it anew each time costs more.
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}

impl<IO: AsyncWrite + Unpin> Guard<IO> {
    /// Counts the frames that the client sent; too many end the connection, with a GOAWAY if the
    /// socket takes one now.
    fn received(&mut self, cx: &mut Context<'_>, now: Timestamp) -> io::Result<()> {
        let Http::V2(http2) = &mut self.http else {
            return Ok(());
        };
        let received = http2.received(now);
        if let Some(captured) = &self.captured {
            let heads = http2.take_opened();
            if heads > 0 {
                captured.has_read_heads(heads);
            }
        }
        let Err(flood) = received else {
            return Ok(());
        };
        if let Some(goaway) = http2.goaway() {
            // A client that floods us may not read: one attempt.
            let _ = Pin::new(&mut self.io).poll_write(cx, &goaway);
            let _ = Pin::new(&mut self.io).poll_flush(cx);
            let _ = Pin::new(&mut self.io).poll_shutdown(cx);
        }
        Err(io::Error::other(flood))
    }

    /// Ready once no SETTINGS frame of ours is to be written, or none may begin.
    fn poll_mirror(&mut self, cx: &mut Context<'_>, may_begin: bool) -> Poll<io::Result<()>> {
        match &mut self.http {
            Http::V1(_) => Poll::Ready(Ok(())),
            Http::V2(http2) => http2.poll_mirror(&mut self.io, cx, may_begin),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let outcome = match &mut this.http {
            Http::V1(http1) => http1.poll_read(&mut this.io, this.clock, cx, buf),
            Http::V2(http2) => {
                let before = buf.filled().len();
                let outcome = http2.poll_read(&mut this.io, cx, buf);
                let has_read = buf.filled().len() > before;
                if has_read || http2.holds() {
                    let now = this.clock.now();
                    if has_read {
                        this.watch.saw_read(now);
                    }
                    this.received(cx, now)?;
                }
                outcome
            }
        };
        match outcome {
            Poll::Ready(outcome) => Poll::Ready(outcome.map_err(tls::readable)),
            Poll::Pending => {
                if matches!(&this.http, Http::V1(http1) if http1.holds()) {
                    this.watch.waits_for_head();
                }
                self.poll_deadline(cx).map(Err)
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let outcome = match this.poll_mirror(cx, false) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.io).poll_write_vectored(cx, bufs),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        if let Poll::Ready(Ok(written)) = outcome {
            this.sent(bufs, written);
        }
        this.taken(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // hyper flushes whenever it has nothing more to write: then we stand between two frames.
        let outcome = match this.poll_mirror(cx, true) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.io).poll_flush(cx),
            other => other,
        };
        this.taken(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.http {
            Http::V1(http1) => http1.poll_shutdown(&mut this.io, cx),
            Http::V2(_) => Pin::new(&mut this.io).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn guarded(protocol: Protocol) -> (Guard<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(1024);
        let clock = Clock::start();
        let watch = Watch::new(protocol, clock.now());
        (Guard::new(near, watch, clock, Deadlines::default()), far)
    }

    async fn fails_after(guard: &mut Guard<tokio::io::DuplexStream>) -> (Duration, String) {
        let started = guard.clock.now();
        let error = loop {
            if let Err(error) = guard.read_u8().await {
                break error;
            }
        };
        (guard.clock.now().since(started), error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_nothing_is_given_five_minutes() {
        let (mut guard, _far) = guarded(Protocol::H2);
        let (after, error) = fails_after(&mut guard).await;
        assert!((300..301).contains(&after.as_secs()), "{after:?}");
        assert!(error.contains("idle"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_given_15_seconds_from_its_first_byte() {
        let (mut guard, mut far) = guarded(Protocol::Http1);
        let (after, error) = tokio::join!(fails_after(&mut guard), async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            far.write_all(b"G").await.unwrap();
            tokio::time::sleep(Duration::from_secs(10)).await;
            far.write_all(b"E").await.unwrap();
        })
        .0;
        assert!((115..116).contains(&after.as_secs()), "{after:?}");
        assert!(error.contains("head"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_of_its_answer_is_given_five_minutes() {
        for protocol in [Protocol::Http1, Protocol::H2] {
            let (mut guard, mut far) = guarded(protocol);
            let started = guard.clock.now();
            let (error, ()) = tokio::join!(guard.write_all(&[0; 10_000]), async {
                tokio::time::sleep(Duration::from_secs(200)).await;
                far.read_exact(&mut [0; 100]).await.unwrap();
            });
            let after = guard.clock.now().since(started);
            assert!((500..501).contains(&after.as_secs()), "{after:?}");
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert_eq!(guard.watch.late(), Some(UNREAD));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_a_window_holds_back_is_held_for_five_minutes() {
        let (mut guard, _far) = guarded(Protocol::H2);
        let watch = Arc::clone(&guard.watch);
        let now = guard.clock.now();
        let silent = Duration::from_secs(3600);
        watch.begin();
        watch.holds(now);
        watch.begin();
        // The other exchange waits for its upstream.
        let waits = tokio::time::timeout(silent, guard.read_u8()).await;
        assert!(waits.is_err());
        watch.holds(guard.clock.now());
        let (after, error) = fails_after(&mut guard).await;
        assert!((300..301).contains(&after.as_secs()), "{after:?}");
        assert_eq!(error, UNREAD);
    }

    #[tokio::test(start_paused = true)]
    async fn while_an_exchange_runs_the_client_may_be_silent() {
        let (mut guard, mut far) = guarded(Protocol::Http1);
        let head = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
        far.write_all(head).await.unwrap();
        guard.read_exact(&mut [0; 35]).await.unwrap();
        let watch = Arc::clone(&guard.watch);
        assert_eq!(watch.begin(), guard.clock.now());
        let silent = tokio::time::timeout(Duration::from_secs(3600), guard.read_u8()).await;
        assert!(silent.is_err());
        watch.end(guard.clock.now());
        let (after, _) = fails_after(&mut guard).await;
        assert!((300..301).contains(&after.as_secs()), "{after:?}");
    }
}
