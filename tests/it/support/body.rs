//! The body of a scripted answer: bytes or generated content, at a pace, perhaps cut short.
//!
//! It never holds more than its source: generated content is made block by block, so that a body
//! of many gigabytes costs no memory.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Sleep, sleep};

use super::log::Served;
use super::origin::Site;

/// Where a body's bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// These.
    Bytes(Bytes),
    /// So many of [`generated`].
    Generated(u64),
}

/// How a body ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing more comes, and the connection stays.
    Stall,
    /// HTTP/1.1: the connection closes. HTTP/2: the stream is reset.
    Break,
    /// The body ends as if it were whole (HTTP/2: END_STREAM).
    End,
}

/// How a body is sent.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Bytes in a chunk, and the pause before each but the first.
    pub trickle: Option<(usize, Duration)>,
    /// After so many bytes, this happens.
    pub cut: Option<(u64, Cut)>,
    /// Sent after the last byte.
    pub trailers: Option<HeaderMap>,
}

impl Source {
    /// The number of bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Generated(len) => *len,
        }
    }

    fn chunk(&self, from: u64, len: u64) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.slice(from as usize..(from + len) as usize),
            Self::Generated(_) => generated(from, len),
        }
    }
}

/// One request's entry in the log; dropped, the request is over.
pub struct Entry {
    site: Arc<Site>,
    index: usize,
    digest: digest::Context,
    at_end: Option<Arc<Notify>>,
    flushed: Arc<Notify>,
}

impl Entry {
    /// Adds the entry.
    pub fn begin(site: Arc<Site>, served: Served) -> Self {
        let index = site.ledger.update(|log| {
            log.requests.push(served);
            log.requests.len() - 1
        });
        Self {
            site,
            index,
            digest: digest::Context::new(&digest::SHA256),
            at_end: None,
            flushed: Arc::default(),
        }
    }

    /// Changes the entry.
    pub fn update(&self, change: impl FnOnce(&mut Served)) {
        self.site
            .ledger
            .update(|log| change(&mut log.requests[self.index]));
    }

    /// Knows by that bell when bytes have reached the kernel.
    pub fn watch(&mut self, flushed: Arc<Notify>) {
        self.flushed = flushed;
    }

    /// Rings when the request is over.
    pub fn ring_at_end(&mut self, bell: Arc<Notify>) {
        self.at_end = Some(bell);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let sha256 = hex(self.digest.clone().finish().as_ref());
        self.update(|served| {
            served.body_sha256 = served.status.map(|_| sha256);
            served.is_over = true;
        });
        if let Some(bell) = &self.at_end {
            bell.notify_one();
        }
    }
}

/// A body that is being sent.
pub struct ScriptedBody {
    source: Source,
    pace: Pace,
    sent: u64,
    pause: Option<Pin<Box<Sleep>>>,
    flush: Option<Pin<Box<OwnedNotified>>>,
    entry: Entry,
}

impl ScriptedBody {
    /// A body whose progress shows in `entry`.
    pub fn new(source: Source, pace: Pace, entry: Entry) -> Self {
        let body = Self {
            source,
            pace,
            sent: 0,
            flush: None,
            pause: None,
            entry,
        };
        body.note_if_whole();
        body
    }

    fn limit(&self) -> u64 {
        let cut = self.pace.cut.map_or(u64::MAX, |(after, _)| after);
        self.source.len().min(cut)
    }

    fn is_whole(&self) -> bool {
        self.pace.cut.is_none() && self.pace.trailers.is_none() && self.sent == self.source.len()
    }

    fn note_if_whole(&self) {
        if self.is_whole() {
            self.entry.update(|served| served.is_complete = true);
        }
    }

    fn next_chunk(&mut self, len: u64) -> Bytes {
        let chunk = self.source.chunk(self.sent, len);
        self.entry.digest.update(&chunk);
        self.sent += chunk.len() as u64;
        let sent = self.sent;
        self.entry.update(|served| served.body_bytes = sent);
        self.note_if_whole();
        self.pause = self.pace.trickle.map(|(_, every)| Box::pin(sleep(every)));
        chunk
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let left = this.limit() - this.sent;
        if left > 0 {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(context));
            }
            let size = this.pace.trickle.map_or(CHUNK, |(bytes, _)| bytes as u64);
            return Poll::Ready(Some(Ok(Frame::data(this.next_chunk(left.min(size))))));
        }
        if matches!(this.pace.cut, Some((_, Cut::Break | Cut::End))) {
            // What is still in the HTTP library's buffers would be lost with the connection.
            let flushed = &this.entry.flushed;
            let flush = || Box::pin(flushed.clone().notified_owned());
            ready!(this.flush.get_or_insert_with(flush).as_mut().poll(context));
        }
        match this.pace.cut {
            // No waker is kept: only the end of the connection ends this.
            Some((_, Cut::Stall)) => Poll::Pending,
            Some((_, Cut::Break)) => Poll::Ready(Some(Err(io::Error::other("cut by a rule")))),
            Some((_, Cut::End)) => Poll::Ready(None),
            None => Poll::Ready(this.pace.trailers.take().map(|trailers| {
                this.note_if_whole();
                Ok(Frame::trailers(trailers))
            })),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_whole()
    }
}

/// At most `len` bytes of the generated content, from offset `from`.
///
/// Blocks of 64 KiB of noise, each beginning with its number: any shift or repetition shows in a
/// digest.
pub fn generated(from: u64, len: u64) -> Bytes {
    let (block, skip) = (from / BLOCK, (from % BLOCK) as usize);
    let mut bytes = NOISE.clone();
    bytes[..8].copy_from_slice(&block.to_be_bytes());
    let end = (skip as u64 + len).min(BLOCK) as usize;
    Bytes::from(bytes).slice(skip..end)
}

/// The SHA-256 of the first `len` bytes of the generated content, in hex.
pub fn generated_sha256(len: u64) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut from = 0;
    while from < len {
        let chunk = generated(from, len - from);
        context.update(&chunk);
        from += chunk.len() as u64;
    }
    hex(context.finish().as_ref())
}

/// The SHA-256 of `bytes`, in hex. Not `sha2`: unoptimised, it is twenty times slower.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const BLOCK: u64 = 64 * 1024;
const CHUNK: u64 = BLOCK;

static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // xorshift64, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    };
    (0..BLOCK / 8).flat_map(|_| next()).collect()
});
