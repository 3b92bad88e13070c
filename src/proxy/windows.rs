//! How many bytes may be on their way on one connection.
//!
//! An HTTP/2 window is memory: what a peer may send ahead is kept here while the other side does not
//! read. One download over a slow road needs a large window, two hundred that nobody reads must not
//! have two hundred of them. So the number of open connections decides when one opens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::tls::Protocol;

/// The window of a response while few connections are open: Go's own (net/http, `h2_bundle.go`,
/// `transportDefaultStreamFlow`), so that a download takes as long as it would without us.
const DOWNLOAD_MOST: usize = 4 * 1024 * 1024;

/// The window of a request body, likewise that of Go's servers.
const UPLOAD_MOST: usize = 1024 * 1024;

/// What the window of a request body is a share of.
const UPLOADS: usize = 4 * UPLOAD_MOST;

/// The window of one stream however many connections are open: two frames.
const STREAM_LEAST: usize = 32 * 1024;

/// How many connections have the largest windows: a module proxy and a checksum database. The nth that
/// opens later has an nth of what these have together, so that 200 clients that do not read hold less
/// than 56 MiB.
const FEW: usize = 2;

/// The window of a connection: a few streams that nobody reads must not stop the others. Go has
/// 1 GiB for it, which would let one client fill the memory.
const CONNECTION_MOST: usize = 8 * DOWNLOAD_MOST;

/// No less than four streams.
const CONNECTION_LEAST: usize = 4 * STREAM_LEAST;

/// What a connection's window is a share of.
const CONNECTION_BUDGET: usize = FEW * CONNECTION_MOST;

/// What waits for a peer to make room, beside what it has made room for: it bridges the time from
/// one turn of the loop to the next and nothing more.
const UNSENT_MOST: usize = 64 * 1024;

/// No less than a frame.
const UNSENT_LEAST: usize = 16 * 1024;

/// What an HTTP/1.1 connection reads or writes at once, and what a head may take. TLS brings 16 KiB at
/// a time, and what the kernel holds costs us nothing.
pub(super) const HTTP1_BUFFER: usize = 64 * 1024;

/// How many HTTP/2 connections are open; cheap to clone.
#[derive(Debug, Default, Clone)]
pub struct Windows(Arc<AtomicUsize>);

/// The part of one connection; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    /// `None`: it is not counted.
    open: Option<Arc<AtomicUsize>>,
    among: usize,
}

impl Windows {
    /// The part of one connection more; HTTP/1.1 has no windows, and takes none of the others'.
    pub(super) fn share(&self, protocol: Protocol) -> Share {
        match protocol {
            Protocol::Http1 => Share {
                open: None,
                among: 1,
            },
            Protocol::H2 => Share {
                among: self.0.fetch_add(1, Ordering::Relaxed) + 1,
                open: Some(Arc::clone(&self.0)),
            },
        }
    }
}

impl Share {
    /// The window of each response, bytes.
    pub(super) fn download(&self) -> u32 {
        bytes(
            FEW * DOWNLOAD_MOST / self.among,
            STREAM_LEAST,
            DOWNLOAD_MOST,
        )
    }

    /// The window of each request body, bytes.
    pub(super) fn upload(&self) -> u32 {
        bytes(UPLOADS / self.among, STREAM_LEAST, UPLOAD_MOST)
    }

    /// The window of all its streams together, bytes.
    pub(super) fn connection(&self) -> u32 {
        bytes(
            CONNECTION_BUDGET / self.among,
            CONNECTION_LEAST,
            CONNECTION_MOST,
        )
    }

    /// What may wait on a stream for its peer, bytes.
    pub(super) fn unsent(&self) -> usize {
        (UPLOADS / self.among).clamp(UNSENT_LEAST, UNSENT_MOST)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn bytes(part: usize, least: usize, most: usize) -> u32 {
    u32::try_from(part.clamp(least, most)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_have_windows_as_gos_and_many_share() {
        let windows = Windows::default();
        let mut open = vec![windows.share(Protocol::H2)];
        assert_eq!((open[0].download(), open[0].upload()), (4 << 20, 1 << 20));
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
        assert!(one_body_each < 56 << 20, "{one_body_each}");
        drop(open);
        assert_eq!(windows.share(Protocol::H2).download(), 4 << 20);
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
