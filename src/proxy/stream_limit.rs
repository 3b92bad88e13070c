//! How many streams an HTTP/2 client may have open at once: as many as its upstream allows.
//!
//! Beyond that limit requests would wait here unseen, where without us the client would wait by
//! itself or open another connection, as go does.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// What a client may have open at most, and until the upstream has said what it allows: what Go's own
/// servers allow (net/http, `h2_bundle.go`, `http2defaultMaxStreams`).
pub(super) const MOST: u32 = 250;

/// The limit of an upstream that names none (RFC 9113 section 6.5.2).
pub(super) const UNLIMITED: u32 = u32::MAX;

/// The limit of the present upstream connection of a client connection: set by the one, read by the
/// other.
#[derive(Debug)]
pub(super) struct StreamLimit {
    streams: AtomicU32,
    /// Upstream connections so far: the last of them decides.
    upstreams: AtomicU32,
    // A std Mutex: held for a moment, when the limit changes.
    reader: Mutex<Option<Waker>>,
}

impl Default for StreamLimit {
    fn default() -> Self {
        Self {
            streams: AtomicU32::new(MOST),
            upstreams: AtomicU32::new(0),
            reader: Mutex::default(),
        }
    }
}

/// What one upstream connection says of the limit; it is heard until another one is opened.
#[derive(Debug)]
pub(super) struct UpstreamLimit {
    limit: Arc<StreamLimit>,
    upstream: u32,
}

impl UpstreamLimit {
    /// The upstream allows so many streams.
    pub(super) fn set(&self, streams: u32) {
        if self.limit.upstreams.load(Ordering::Relaxed) == self.upstream {
            self.limit.set(streams);
        }
    }
}

impl StreamLimit {
    /// For a new upstream connection, which is the present one from now on.
    pub(super) fn of_upstream(self: &Arc<Self>) -> UpstreamLimit {
        UpstreamLimit {
            limit: Arc::clone(self),
            upstream: self.upstreams.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    /// There is no upstream connection, and the next request makes one.
    pub(super) fn lift(&self) {
        self.set(MOST);
    }

    pub(super) fn set(&self, streams: u32) {
        let streams = streams.min(MOST);
        if self.streams.swap(streams, Ordering::AcqRel) == streams {
            return;
        }
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*reader {
            waker.wake_by_ref();
        }
    }

    /// How many streams the client may have open.
    pub(super) fn get(&self) -> u32 {
        self.streams.load(Ordering::Acquire)
    }

    /// Has `waker` woken whenever the limit changes.
    pub(super) fn wake_on_change(&self, waker: Waker) {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        *reader = Some(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_upstream_connection_decides() {
        let limit = Arc::<StreamLimit>::default();
        let first = limit.of_upstream();
        first.set(3);
        assert_eq!(limit.get(), 3);
        let second = limit.of_upstream();
        first.set(7);
        assert_eq!(limit.get(), 3, "the first is not the present one any more");
        second.set(5);
        assert_eq!(limit.get(), 5);
    }

    #[test]
    fn a_client_whose_upstream_is_gone_may_ask() {
        let limit = Arc::<StreamLimit>::default();
        limit.of_upstream().set(0);
        limit.lift();
        assert_eq!(limit.get(), MOST);
    }
}
