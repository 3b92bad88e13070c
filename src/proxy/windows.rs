//! How many bytes may be on their way on one connection.
//!
//! An HTTP/2 window is memory: what a peer may send ahead is kept here while the other side does not
//! read. One download over a slow road needs a large window, two hundred that nobody reads must not
//! have two hundred of them. So what the open connections have decides when one more opens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::tls::Protocol;

/// The window of a response while few connections are open: Go's own (net/http, `h2_bundle.go`,
/// `transportDefaultStreamFlow`), so that a download takes as long as it would without us.
const DOWNLOAD_MOST: usize = 4 * 1024 * 1024;

/// The window of a request body, likewise that of Go's servers.
const UPLOAD_MOST: usize = 1024 * 1024;

/// The window of one stream however many connections are open: two frames.
const STREAM_LEAST: usize = 32 * 1024;

/// What the response windows of all connections, one of each, add up to. A connection that opens
/// takes a quarter of what the others have left of it, which is Go's window for the first two (a
/// module proxy and a checksum database), and never less than [`STREAM_LEAST`].
const BUDGET: usize = 5 * DOWNLOAD_MOST;

/// The window of a connection, in windows of its streams: some streams that nobody reads must not
/// stop the others. Go has 1 GiB for a connection, which would let one client fill the memory.
const STREAMS: usize = 8;

/// How many streams a connection carries that clients share, and its window in windows of theirs: what one client
/// does not read must not stop another's.
pub(super) const SHARED_STREAMS: u32 = 32;

/// What waits for a peer to make room, beside what it has made room for: it bridges the time from
/// one turn of the loop to the next and nothing more.
const UNSENT_MOST: usize = 64 * 1024;

/// No less than a frame.
const UNSENT_LEAST: usize = 16 * 1024;

/// What an HTTP/1.1 connection reads or writes at once, and what a head may take. TLS brings 16 KiB at
/// a time, and what the kernel holds costs us nothing.
pub(super) const HTTP1_BUFFER: usize = 64 * 1024;

/// What the open HTTP/2 connections have taken of [`BUDGET`], bytes; cheap to clone.
#[derive(Debug, Default, Clone)]
pub struct Windows(Arc<AtomicUsize>);

/// The part of one connection; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    /// The window of a response, bytes.
    download: usize,
    /// How many of them the connection's window has room for.
    streams: usize,
    /// What all connections have taken; `None` if this one is not counted.
    taken: Option<Arc<AtomicUsize>>,
}

impl Windows {
    /// The part of one connection more; HTTP/1.1 has no windows, and takes none of the others'.
    pub(super) fn share(&self, protocol: Protocol) -> Share {
        if protocol == Protocol::Http1 {
            return Share {
                download: DOWNLOAD_MOST,
                streams: STREAMS,
                taken: None,
            };
        }
        let mut download = 0;
        let part = |taken: usize| {
            let left = BUDGET.saturating_sub(taken);
            download = (left / 4).clamp(STREAM_LEAST, DOWNLOAD_MOST);
            Some(taken + download)
        };
        // It always has a part to add.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, part);
        Share {
            download,
            streams: STREAMS,
            taken: Some(Arc::clone(&self.0)),
        }
    }
}

impl Share {
    /// The same for a connection that clients share.
    #[must_use]
    pub(super) fn of_many(mut self) -> Self {
        self.streams = SHARED_STREAMS as usize;
        self
    }

    /// The window of each response, bytes.
    pub(super) fn download(&self) -> u32 {
        bytes(self.download)
    }

    /// The window of each request body, bytes.
    pub(super) fn upload(&self) -> u32 {
        bytes((self.download / 4).clamp(STREAM_LEAST, UPLOAD_MOST))
    }

    /// The window of all its streams together, bytes.
    pub(super) fn connection(&self) -> u32 {
        bytes(self.streams * self.download)
    }

    /// What may wait on a stream for its peer, bytes.
    pub(super) fn unsent(&self) -> usize {
        (self.download / 16).clamp(UNSENT_LEAST, UNSENT_MOST)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(taken) = &self.taken {
            taken.fetch_sub(self.download, Ordering::Relaxed);
        }
    }
}

fn bytes(window: usize) -> u32 {
    u32::try_from(window).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_have_windows_as_gos_and_many_share() {
        let windows = Windows::default();
        let mut open = vec![windows.share(Protocol::H2), windows.share(Protocol::H2)];
        for share in &open {
            assert_eq!((share.download(), share.upload()), (4 << 20, 1 << 20));
        }
        while open.len() < 200 {
            open.push(windows.share(Protocol::H2));
        }
        let last = open.last().unwrap();
        assert!(last.download() < 1 << 17, "{last:?}");
        assert!(last.connection() < 1 << 20, "{last:?}");
        let one_body_each: usize = open
            .iter()
            .map(|share| share.download() as usize + share.unsent())
            .sum();
        assert!(one_body_each < 30 << 20, "{one_body_each}");
        drop(open);
        assert_eq!(windows.share(Protocol::H2).download(), 4 << 20);
    }

    #[test]
    fn a_shared_connection_has_room_for_all_that_its_streams_may_be_sent() {
        let windows = Windows::default();
        let share = windows.share(Protocol::H2).of_many();
        let streams = u64::from(SHARED_STREAMS);
        let all = u64::from(share.download()) * streams;
        assert_eq!(u64::from(share.connection()), all);
    }

    #[test]
    fn a_connection_never_has_room_for_less_than_a_few_streams() {
        let windows = Windows::default();
        let open: Vec<_> = (0..10_000).map(|_| windows.share(Protocol::H2)).collect();
        for share in &open {
            assert!(share.connection() >= 4 * share.download(), "{share:?}");
            assert!(share.unsent() >= UNSENT_LEAST, "{share:?}");
        }
    }
}
