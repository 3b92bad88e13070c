//! Tells an HTTP/2 client the stream limit of its upstream, in SETTINGS frames beside hyper's.
//!
//! hyper's server sends SETTINGS before those of the upstream are there, and never again. So a frame
//! of ours is written between two of hyper's, and the client's acknowledgement is kept from hyper: h2
//! ends a connection for one that it does not expect. SETTINGS are acknowledged in the order in which
//! they were sent (RFC 9113 section 6.5.3). One frame of ours is on its way at a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::AsyncWrite;

use crate::proxy::stream_limit::{MOST, StreamLimit};

/// A SETTINGS frame with one setting, bytes.
const FRAME: usize = 15;

/// Its bytes before the value of SETTINGS_MAX_CONCURRENT_STREAMS.
const BEGIN: [u8; FRAME - 4] = *b"\0\0\x06\x04\0\0\0\0\0\0\x03";

/// What the client of one connection was told, and what it has acknowledged.
#[derive(Debug)]
pub(super) struct Mirror {
    limit: Arc<StreamLimit>,
    /// The limit that the client was told last.
    told: u32,
    frame: [u8; FRAME],
    /// How much of `frame` is written: all of it if nothing is to be written.
    written: usize,
    /// hyper has sent SETTINGS, which must be the first frame of all.
    has_begun: bool,
    /// SETTINGS frames, hyper's and ours, that the client has not acknowledged.
    pending: u32,
    /// How many of them the client acknowledges before ours; `None` if ours is acknowledged.
    ahead: Option<u32>,
    /// Whom a change of the limit wakes.
    waker: Option<Waker>,
}

impl Mirror {
    pub(super) const fn new(limit: Arc<StreamLimit>) -> Self {
        Self {
            limit,
            told: MOST,
            frame: [0; FRAME],
            written: FRAME,
            has_begun: false,
            pending: 0,
            ahead: None,
            waker: None,
        }
    }

    /// Has the present task woken whenever there may be a frame to write.
    pub(super) fn listen(&mut self, cx: &Context<'_>) {
        let known = self.waker.as_ref();
        if !known.is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.limit.wake_on_change(cx.waker().clone());
            self.waker = Some(cx.waker().clone());
        }
    }

    /// hyper sent SETTINGS.
    pub(super) const fn saw_settings(&mut self) {
        self.has_begun = true;
        self.pending = self.pending.saturating_add(1);
    }

    /// The client acknowledged the oldest SETTINGS frame; true if that is ours.
    pub(super) fn is_acknowledged(&mut self) -> bool {
        self.pending = self.pending.saturating_sub(1);
        let ahead = self.ahead.take();
        self.ahead = ahead.and_then(|ahead| ahead.checked_sub(1));
        ahead == Some(0)
    }

    /// True while the client has not acknowledged what it was told last.
    const fn awaits_ack(&self) -> bool {
        self.ahead.is_some()
    }

    /// True unless a part of a frame of ours is written.
    pub(super) const fn is_whole(&self) -> bool {
        self.written == FRAME
    }

    /// Writes what is left of a frame of ours; if `may_begin`, one with a new limit too.
    pub(super) fn poll_write<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        may_begin: bool,
    ) -> Poll<io::Result<()>> {
        if may_begin && self.is_whole() && self.has_begun && !self.awaits_ack() {
            self.begin(self.limit.get());
        }
        while !self.is_whole() {
            let rest = &self.frame[self.written..];
            match ready!(Pin::new(&mut *io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.written += bytes,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn begin(&mut self, limit: u32) {
        if limit == self.told {
            return;
        }
        self.told = limit;
        let (begin, value) = self.frame.split_at_mut(BEGIN.len());
        begin.copy_from_slice(&BEGIN);
        value.copy_from_slice(&limit.to_be_bytes());
        self.written = 0;
        self.ahead = Some(self.pending);
        self.pending = self.pending.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf};

    use super::super::{Guard, Watch};
    use super::*;
    use crate::clock::Clock;
    use crate::proxy::io::frames::{Frames, Part};
    use crate::proxy::limits::Deadlines;
    use crate::tls::Protocol;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    const ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingping";
    const HEADERS: &[u8] = b"\0\0\x01\x01\0\0\0\0\x01\x82";
    const CONTINUATION: &[u8] = b"\0\0\x01\x09\x04\0\0\0\x01\x84";
    const DATA: &[u8] = b"\0\0\x04\0\0\0\0\0\x01data";

    /// The frame that tells a limit.
    fn told(limit: u8) -> Vec<u8> {
        [b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0", &[limit][..]].concat()
    }

    /// A guarded connection whose socket takes so many bytes at a time, and its client.
    fn guarded(room: usize) -> (Guard<DuplexStream>, DuplexStream, Arc<StreamLimit>) {
        let (near, far) = tokio::io::duplex(room);
        let clock = Clock::start();
        let watch = Watch::new(Protocol::H2, clock.now());
        let limit = Arc::clone(&watch.stream_limit);
        let guard = Guard::new(near, watch, clock, Deadlines::default());
        (guard, far, limit)
    }

    /// hyper writes that and flushes, and the client gets this much.
    async fn sends(
        guard: &mut Guard<DuplexStream>,
        far: &mut DuplexStream,
        bytes: &[u8],
    ) -> Vec<u8> {
        let mut got = Vec::new();
        let write = async {
            guard.write_all(bytes).await.unwrap();
            guard.flush().await.unwrap();
        };
        tokio::pin!(write);
        let mut is_written = false;
        // Pending is to mean that nothing more comes.
        tokio::task::unconstrained(poll_fn(|cx| {
            is_written = is_written || write.as_mut().poll(cx).is_ready();
            let mut piece = [0; 64];
            let mut buf = ReadBuf::new(&mut piece);
            while Pin::new(&mut *far).poll_read(cx, &mut buf).is_ready() {
                got.extend_from_slice(buf.filled());
                buf.clear();
                is_written = is_written || write.as_mut().poll(cx).is_ready();
            }
            if is_written {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }))
        .await;
        got
    }

    /// The client sends that; what hyper gets of it.
    async fn passes(
        guard: &mut Guard<DuplexStream>,
        far: &mut DuplexStream,
        bytes: &[u8],
    ) -> Vec<u8> {
        far.write_all(bytes).await.unwrap();
        let mut got = Vec::new();
        // Pending is to mean that nothing more passes.
        tokio::task::unconstrained(poll_fn(|cx| {
            let mut piece = [0; 64];
            let mut buf = ReadBuf::new(&mut piece);
            while let Poll::Ready(read) = Pin::new(&mut *guard).poll_read(cx, &mut buf) {
                read.unwrap();
                got.extend_from_slice(buf.filled());
                buf.clear();
            }
            Poll::Ready(())
        }))
        .await;
        got
    }

    /// Where each frame begins.
    fn starts(mut bytes: &[u8]) -> Vec<usize> {
        let (length, mut frames, mut starts) = (bytes.len(), Frames::default(), Vec::new());
        while let Some(part) = frames.next(&mut bytes) {
            if let Part::Head(_) = part {
                starts.push(length - bytes.len() - 9);
            }
        }
        starts
    }

    #[tokio::test]
    async fn a_limit_is_told_between_two_frames_wherever_hypers_are_cut() {
        let hypers = [SETTINGS, ACK, HEADERS, CONTINUATION, DATA, PING].concat();
        let within_head = SETTINGS.len() + ACK.len() + HEADERS.len();
        for room in [1, 4, 15, 16, 1024] {
            for cut in 0..=hypers.len() {
                let (mut guard, mut far, limit) = guarded(room);
                limit.set(3);
                let (one, two) = hypers.split_at(cut);
                let mut got = sends(&mut guard, &mut far, one).await;
                got.extend(sends(&mut guard, &mut far, two).await);
                let may_stand = |at: &usize| *at > 0 && *at >= cut && *at != within_head;
                let ends = starts(&hypers).into_iter().chain([hypers.len()]);
                // Where hyper flushes first and stands between two frames.
                let at = ends
                    .into_iter()
                    .find(|at| may_stand(at) && (*at == cut || *at == hypers.len()));
                let (before, after) = hypers.split_at(at.unwrap());
                let expected = [before, &told(3), after].concat();
                assert_eq!(got, expected, "{room} bytes at a time, cut at {cut}");
            }
        }
    }

    #[tokio::test]
    async fn hypers_bytes_come_behind_a_frame_that_was_begun() {
        for room in 1..FRAME {
            let (mut guard, mut far, limit) = guarded(room);
            sends(&mut guard, &mut far, SETTINGS).await;
            limit.set(3);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut guard).poll_flush(&mut cx).is_pending());
            let got = sends(&mut guard, &mut far, PING).await;
            assert_eq!(got, [&told(3), PING].concat(), "{room} bytes at a time");
        }
    }

    #[tokio::test]
    async fn the_acknowledgement_of_ours_alone_is_kept_from_hyper() {
        let before = [PREFACE, SETTINGS].concat();
        // The client acknowledges hyper's before or after it gets ours; one more is one too many.
        for hypers_first in [true, false] {
            let theirs = [ACK, HEADERS, CONTINUATION, DATA, ACK, PING, ACK, PING].concat();
            for cut in 0..=theirs.len() {
                let (mut guard, mut far, limit) = guarded(1024);
                sends(&mut guard, &mut far, SETTINGS).await;
                let mut got = passes(&mut guard, &mut far, &before).await;
                let mut rest = &theirs[..];
                if hypers_first {
                    got.extend(passes(&mut guard, &mut far, ACK).await);
                    rest = &theirs[ACK.len()..];
                }
                limit.set(3);
                assert_eq!(sends(&mut guard, &mut far, b"").await, told(3));
                let (one, two) = rest.split_at(cut.min(rest.len()));
                got.extend(passes(&mut guard, &mut far, one).await);
                got.extend(passes(&mut guard, &mut far, two).await);
                let expected = [&before, ACK, HEADERS, CONTINUATION, DATA, PING, ACK, PING];
                assert_eq!(got, expected.concat(), "cut at {cut}, {hypers_first}");
            }
        }
    }

    #[tokio::test]
    async fn an_acknowledgement_within_a_head_is_hypers_to_refuse() {
        let (mut guard, mut far, limit) = guarded(1024);
        limit.set(3);
        sends(&mut guard, &mut far, SETTINGS).await;
        let theirs = [PREFACE, SETTINGS, ACK, HEADERS, ACK].concat();
        assert_eq!(passes(&mut guard, &mut far, &theirs).await, theirs);
    }

    #[tokio::test]
    async fn a_later_limit_is_told_once_the_last_is_acknowledged() {
        let (mut guard, mut far, limit) = guarded(1024);
        assert_eq!(sends(&mut guard, &mut far, b"").await, b"");
        limit.set(3);
        // SETTINGS of hyper's come first.
        assert_eq!(sends(&mut guard, &mut far, b"").await, b"");
        let first = sends(&mut guard, &mut far, SETTINGS).await;
        assert_eq!(first, [SETTINGS, &told(3)].concat());
        let theirs = [PREFACE, SETTINGS, ACK].concat();
        assert_eq!(passes(&mut guard, &mut far, &theirs).await, theirs);
        for next in [0, 7] {
            limit.set(next);
            assert_eq!(sends(&mut guard, &mut far, PING).await, PING);
            assert_eq!(passes(&mut guard, &mut far, ACK).await, b"");
            let tells = told(u8::try_from(next).unwrap());
            assert_eq!(sends(&mut guard, &mut far, b"").await, tells);
        }
        // More than before, but no more than hyper takes.
        assert_eq!(passes(&mut guard, &mut far, ACK).await, b"");
        limit.set(1 << 20);
        assert_eq!(sends(&mut guard, &mut far, b"").await, told(250));
        assert_eq!(passes(&mut guard, &mut far, ACK).await, b"");
        assert_eq!(sends(&mut guard, &mut far, b"").await, b"");
    }

    #[tokio::test]
    async fn no_number_of_limits_counts_as_a_flood() {
        let (mut guard, mut far, limit) = guarded(1024);
        sends(&mut guard, &mut far, SETTINGS).await;
        passes(&mut guard, &mut far, &[PREFACE, SETTINGS, ACK].concat()).await;
        for n in 0..5000_u32 {
            limit.set(n % 2);
            assert_eq!(sends(&mut guard, &mut far, b"").await.len(), FRAME);
            assert_eq!(passes(&mut guard, &mut far, ACK).await, b"");
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_change_wakes_hyper_where_it_reads() {
        let (mut guard, _far, limit) = guarded(1024);
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        for limit_and_wakes in [(3, 1), (3, 1), (7, 2)] {
            let reads = guard.read_u8();
            tokio::pin!(reads);
            assert!(reads.poll(&mut cx).is_pending());
            limit.set(limit_and_wakes.0);
            assert_eq!(woken.0.load(Ordering::Relaxed), limit_and_wakes.1);
        }
    }
}
