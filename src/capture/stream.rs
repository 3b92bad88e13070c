//! A connection as the capture hears of it: what passes, and what is to be made of that.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;

use super::frame::{Ends, Interface};
use super::item::What;
use super::queue::Queue;
use crate::clock::Timestamp;
use crate::tls::HANDSHAKE;

/// How a stream's octets are taken.
pub(super) mod mode {
    /// As they are read.
    pub(in crate::capture) const PLAIN: u8 = 0;
    /// Held until the next read or write, when keys that they led to are logged.
    pub(in crate::capture) const SHAKING: u8 = 1;
    /// In large reads, each a packet.
    pub(in crate::capture) const SETTLED: u8 = 2;
    /// By their number alone.
    pub(in crate::capture) const BLIND: u8 = 3;
    /// As they are read if the first of them begin a TLS handshake, else by their number alone.
    pub(in crate::capture) const AHEAD: u8 = 4;
}

/// A connection in the capture; cheap to clone.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(super) queue: Arc<Queue>,
    pub(super) number: u32,
    /// Whether we opened it.
    pub(super) is_ours: bool,
    mode: Arc<AtomicU8>,
}

impl Stream {
    /// A stream that begins at `at`.
    pub(super) fn begin(queue: &Arc<Queue>, ends: Ends, at: Timestamp) -> Self {
        let number = queue.number();
        queue.push_at(at, number, true, What::Dialled(ends));
        Self {
            queue: Arc::clone(queue),
            number,
            is_ours: ends.interface == Interface::Upstream,
            mode: Arc::new(AtomicU8::new(mode::PLAIN)),
        }
    }

    /// The head of a CONNECT was read, and `rest` behind it. Nobody knows yet what is spoken in
    /// there; of a tunnel that is to be blind, it is nobody's business.
    pub(crate) fn has_read_connect(&self, rest: &[u8], is_blind: bool) {
        let cut = is_blind || rest.first().is_some_and(|first| *first != HANDSHAKE);
        if !rest.is_empty() {
            self.queue.part(self.number, rest.len(), cut);
        }
        self.queue.commit(self.number);
        let mode = match (cut, rest) {
            (true, _) => mode::BLIND,
            (false, []) => mode::AHEAD,
            (false, _) => mode::PLAIN,
        };
        self.mode.store(mode, Ordering::Relaxed);
    }

    /// Clear text is spoken.
    pub(crate) fn is_plain(&self) {
        self.mode.store(mode::PLAIN, Ordering::Relaxed);
    }

    /// A TLS handshake begins.
    pub(crate) fn shakes(&self) {
        self.mode.store(mode::SHAKING, Ordering::Relaxed);
    }

    /// The TLS handshake is over.
    pub(crate) fn settles(&self) {
        self.mode.store(mode::SETTLED, Ordering::Relaxed);
        self.queue.commit(self.number);
    }

    /// From here on it is nobody's business what passes, only how much.
    pub(crate) fn blinds(&self) {
        self.mode.store(mode::BLIND, Ordering::Relaxed);
    }

    /// Says of the octets that were read last, or of those with the first head of which nothing was
    /// said, whose they are.
    pub(crate) fn has_read(&self, comment: String) {
        self.queue.remark(self.number, !self.is_ours, comment);
    }

    /// Tells that the octets that were read last hold so many request heads, since it may take a
    /// while until one says whose they are.
    pub(crate) fn has_read_heads(&self, heads: u32) {
        self.queue.note_heads(self.number, !self.is_ours, heads);
    }

    /// Says of the octets that are sent next whose they are.
    pub(crate) fn will_send(&self, comment: String) {
        self.queue.announce(self.number, self.is_ours, comment);
    }

    pub(super) fn mode(&self) -> u8 {
        self.mode.load(Ordering::Relaxed)
    }

    pub(super) fn push(&self, is_clients: bool, what: What) {
        self.queue.push(self.number, is_clients, what);
    }

    pub(super) fn sent(&self, bufs: &[IoSlice<'_>], written: usize) {
        if self.mode() == mode::BLIND {
            self.passed_blind(self.is_ours, written);
            return;
        }
        self.queue.copy(bufs, written, |shown| {
            let bytes = shown.len() as u64;
            self.push(self.is_ours, What::Data { shown, bytes });
        });
    }

    /// Tells of octets that were read otherwise than in large reads.
    pub(super) fn received(&self, octets: &[u8]) {
        if self.mode() == mode::AHEAD {
            let is_tls = octets.first() == Some(&HANDSHAKE);
            let mode = if is_tls { mode::PLAIN } else { mode::BLIND };
            self.mode.store(mode, Ordering::Relaxed);
        }
        match self.mode() {
            mode::BLIND => self.passed_blind(!self.is_ours, octets.len()),
            mode => self
                .queue
                .copy(&[IoSlice::new(octets)], octets.len(), |shown| {
                    let bytes = shown.len() as u64;
                    let data = What::Data { shown, bytes };
                    if mode == mode::SHAKING {
                        self.queue.hold(self.number, !self.is_ours, data);
                    } else {
                        self.push(!self.is_ours, data);
                    }
                }),
        }
    }

    fn passed_blind(&self, is_clients: bool, bytes: usize) {
        let shown = Bytes::new();
        let bytes = bytes as u64;
        self.push(is_clients, What::Data { shown, bytes });
    }
}
