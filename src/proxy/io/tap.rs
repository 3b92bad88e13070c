//! A passive wrapper round a byte stream: counts bytes and stamps when they passed.
//!
//! Sits below TLS on the client leg (bytes on the wire) and below hyper on the upstream leg, where
//! hyper would not tell when a request had left or when the first byte of an answer came.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::kind;
use crate::clock::{Clock, Timestamp};

/// No stamp yet.
const NEVER: u64 = u64::MAX;

/// A stamp that is set once, by whichever write comes next.
#[derive(Debug)]
pub(crate) struct Slot(AtomicU64);

impl Slot {
    /// When the write began.
    pub(crate) fn stamp(&self) -> Option<Timestamp> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros != NEVER).then(|| Timestamp::from_micros(micros))
    }
}

/// What a [`Tap`] saw.
#[derive(Debug)]
pub(crate) struct Marks {
    clock: Clock,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    first_read: AtomicU64,
    /// Something came before the read that is expected now.
    was_informed: AtomicBool,
    last_read: AtomicU64,
    last_write: AtomicU64,
    /// The types of the last frames that were read, the last one in the lowest byte: each one more
    /// than its number, so that 0 is none.
    last_frames: AtomicU64,
    // A std Mutex: held for a push or a drain, never across an await.
    awaiting_write: Mutex<Vec<Arc<Slot>>>,
}

impl Marks {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            read_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            first_read: AtomicU64::new(NEVER),
            was_informed: AtomicBool::new(false),
            last_read: AtomicU64::new(NEVER),
            last_write: AtomicU64::new(0),
            last_frames: AtomicU64::new(0),
            awaiting_write: Mutex::default(),
        })
    }

    /// Bytes read and written so far.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (get(&self.read_bytes), get(&self.written_bytes))
    }

    /// Asks for the stamp of the next write.
    pub(crate) fn next_write(&self) -> Arc<Slot> {
        let slot = Arc::new(Slot(AtomicU64::new(NEVER)));
        let mut awaiting = self
            .awaiting_write
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        awaiting.push(Arc::clone(&slot));
        slot
    }

    /// Forgets the first read, so that the next one counts as first.
    pub(crate) fn expect_read(&self) {
        self.was_informed.store(false, Ordering::Relaxed);
        self.first_read.store(NEVER, Ordering::Relaxed);
    }

    /// The same after an informational head, which is not the answer.
    pub(crate) fn expect_answer(&self) {
        self.was_informed.store(true, Ordering::Relaxed);
        self.first_read.store(NEVER, Ordering::Relaxed);
    }

    /// True if anything was read since [`expect_read`](Self::expect_read).
    pub(crate) fn has_heard(&self) -> bool {
        self.was_informed.load(Ordering::Relaxed) || self.first_read().is_some()
    }

    /// The first read since [`expect_read`](Self::expect_read).
    pub(crate) fn first_read(&self) -> Option<Timestamp> {
        stamp(&self.first_read)
    }

    /// The last read.
    pub(crate) fn last_read(&self) -> Option<Timestamp> {
        stamp(&self.last_read)
    }

    fn saw_read(&self, bytes: usize) {
        let now = self.clock.now().as_micros();
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last_read.store(now, Ordering::Relaxed);
        let unset = self.first_read.load(Ordering::Relaxed) == NEVER;
        if unset {
            self.first_read.store(now, Ordering::Relaxed);
        }
    }

    /// The last read or write; when the clock started if there was none.
    pub(crate) fn last_passed(&self) -> Timestamp {
        let written = Timestamp::from_micros(self.last_write.load(Ordering::Relaxed));
        self.last_read().map_or(written, |read| read.max(written))
    }

    /// The present instant of the clock that the stamps are of.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A frame of this type was read.
    pub(super) fn saw_frame(&self, kind: u8) {
        let last = self.last_frames.load(Ordering::Relaxed) << 8;
        let kind = u64::from(kind.saturating_add(1));
        self.last_frames.store(last | kind, Ordering::Relaxed);
    }

    /// The types of the last frames that were read, where frames are followed.
    pub(crate) fn last_frames(&self) -> String {
        let frames = self.last_frames.load(Ordering::Relaxed).to_be_bytes();
        let names = frames.into_iter().filter_map(|kind| kind.checked_sub(1));
        names.map(kind::name).collect::<Vec<_>>().join(", ")
    }

    /// Counts a write that began at `began`. Not its return: the peer may answer before that, and
    /// on a busy machine it often does, so that what it takes would seem to be ours.
    fn saw_write(&self, bytes: usize, began: Timestamp) {
        self.written_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        self.last_write.store(began.as_micros(), Ordering::Relaxed);
        let mut awaiting = self
            .awaiting_write
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for slot in awaiting.drain(..) {
            slot.0.store(began.as_micros(), Ordering::Relaxed);
        }
    }
}

fn stamp(mark: &AtomicU64) -> Option<Timestamp> {
    let micros = mark.load(Ordering::Relaxed);
    (micros != NEVER).then(|| Timestamp::from_micros(micros))
}

/// The wrapper. Vectored writes pass through, or TLS would lose them.
#[derive(Debug)]
pub(crate) struct Tap<IO> {
    io: IO,
    marks: Arc<Marks>,
    unsent: Unsent,
}

/// What becomes of an error of writing.
#[derive(Debug)]
enum Unsent {
    /// It is told at once.
    Told,
    /// It is told where the reading ends.
    Kept(Option<io::Error>),
}

impl Unsent {
    /// hyper gives up reading when it cannot write; yet a peer that takes no more of a request may
    /// have answered it already (RFC 9112 section 9.5).
    fn keep<T>(&mut self, outcome: io::Result<T>, instead: T) -> io::Result<T> {
        match (outcome, self) {
            (Err(error), Self::Kept(kept)) => {
                kept.get_or_insert(error);
                Ok(instead)
            }
            (outcome, _) => outcome,
        }
    }

    fn take(&mut self) -> Option<io::Error> {
        match self {
            Self::Told => None,
            Self::Kept(kept) => kept.take(),
        }
    }
}

impl<IO> Tap<IO> {
    pub(crate) const fn new(io: IO, marks: Arc<Marks>) -> Self {
        Self {
            io,
            marks,
            unsent: Unsent::Told,
        }
    }

    /// The stream itself.
    pub(crate) const fn inner(&self) -> &IO {
        &self.io
    }

    /// The same, reading on where nothing can be written any more.
    pub(crate) fn reading_on(self) -> Self {
        let unsent = Unsent::Kept(None);
        Self { unsent, ..self }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Tap<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        match buf.filled().len() - before {
            0 => this.unsent.take().map_or(Ok(()), Err)?,
            bytes => this.marks.saw_read(bytes),
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Tap<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let began = self.marks.now();
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf));
        let bytes = self.unsent.keep(written, buf.len())?;
        self.marks.saw_write(bytes, began);
        Poll::Ready(Ok(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let began = self.marks.now();
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs));
        let all = bufs.iter().map(|buf| buf.len()).sum();
        let bytes = self.unsent.keep(written, all)?;
        self.marks.saw_write(bytes, began);
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.io).poll_flush(cx));
        Poll::Ready(self.unsent.keep(flushed, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
