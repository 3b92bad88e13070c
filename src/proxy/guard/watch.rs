//! What a client connection does and since when: written by the guard and by the exchanges, read where
//! a silent connection is ended.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::super::limits::Deadlines;
use super::framing::Violation;
use crate::clock::Timestamp;
use crate::proxy::stream_limit::StreamLimit;
use crate::tls::Protocol;

const NEVER: u64 = u64::MAX;

/// Why a client is ended that reads nothing of what there is for it.
pub(crate) const UNREAD: &str = "the client read nothing of its response for too long";

/// What the guard and the handler tell each other.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) protocol: Protocol,
    in_flight: AtomicU32,
    /// Exchanges whose client takes no more of the answer for now, and when one of them began to.
    held: AtomicU32,
    held_since: AtomicU64,
    head_since: AtomicU64,
    idle_since: AtomicU64,
    last_read: AtomicU64,
    /// When a part of an answer last left.
    last_answer: AtomicU64,
    /// Exchanges that are over.
    over: AtomicU64,
    refused: OnceLock<Violation>,
    /// HTTP/2 streams that were reset for a malformed message.
    malformed: AtomicU32,
    late: OnceLock<&'static str>,
    /// What the upstream leg tells the guard of an HTTP/2 connection.
    pub(crate) stream_limit: Arc<StreamLimit>,
}

impl Watch {
    pub(crate) fn new(protocol: Protocol, now: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            protocol,
            in_flight: AtomicU32::new(0),
            held: AtomicU32::new(0),
            held_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NEVER),
            idle_since: AtomicU64::new(now.as_micros()),
            last_read: AtomicU64::new(now.as_micros()),
            last_answer: AtomicU64::new(0),
            over: AtomicU64::new(0),
            refused: OnceLock::new(),
            malformed: AtomicU32::new(0),
            late: OnceLock::new(),
            stream_limit: Arc::default(),
        })
    }

    /// A request head was read; returns when its first byte came.
    pub(crate) fn begin(&self) -> Timestamp {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let head = self.head_since.swap(NEVER, Ordering::Relaxed);
        // On HTTP/2 streams overlap: the read that completed the head stands for its first byte.
        let micros = match self.protocol {
            Protocol::Http1 if head != NEVER => head,
            Protocol::Http1 | Protocol::H2 => self.last_read.load(Ordering::Relaxed),
        };
        Timestamp::from_micros(micros)
    }

    /// An exchange is over.
    pub(crate) fn end(&self, now: Timestamp) {
        self.idle_since.store(now.as_micros(), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.over.fetch_add(1, Ordering::Relaxed);
    }

    /// There is more of an answer than the client has taken.
    pub(crate) fn holds(&self, now: Timestamp) {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.held_since.store(now.as_micros(), Ordering::Relaxed);
    }

    /// The client takes more of that answer, or it is over.
    pub(crate) fn takes(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many exchanges have begun.
    pub(crate) fn begun(&self) -> u64 {
        let in_flight = u64::from(self.in_flight.load(Ordering::Relaxed));
        self.over.load(Ordering::Relaxed) + in_flight
    }

    /// What the client sent was refused before hyper saw it.
    pub(crate) fn refuse(&self, violation: Violation) {
        let _ = self.refused.set(violation);
    }

    /// So many more streams were reset for a malformed message.
    pub(crate) fn saw_malformed(&self, streams: u32) {
        if streams > 0 {
            self.malformed.fetch_add(streams, Ordering::Relaxed);
        }
    }

    /// How many streams were reset for a malformed message.
    pub(crate) fn malformed(&self) -> u32 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// The client was too late with something, which ends the connection.
    pub(crate) fn is_late(&self, what: &'static str) {
        let _ = self.late.set(what);
    }

    /// What the client was too late with, if that ends the connection. hyper keeps it to itself
    /// where no request was ever begun.
    pub(crate) fn late(&self) -> Option<&'static str> {
        self.late.get().copied()
    }

    /// Why something that the client sent was refused before hyper saw it.
    pub(crate) fn refused(&self) -> Option<Violation> {
        self.refused.get().copied()
    }

    /// True if nothing was ever asked.
    pub(crate) fn is_unused(&self) -> bool {
        self.begun() == 0
    }

    /// Since when nothing was asked and no part of an answer left; `None` while an exchange runs.
    pub(crate) fn done_since(&self) -> Option<Timestamp> {
        let over = self.idle_since.load(Ordering::Relaxed);
        let left = self.last_answer.load(Ordering::Relaxed);
        let is_idle = self.in_flight.load(Ordering::Relaxed) == 0;
        is_idle.then(|| Timestamp::from_micros(over.max(left)))
    }

    /// Since when nothing was asked and nothing came that could become a request; `None` while an
    /// exchange runs. Over HTTP/2 there is always something to say: only requests count.
    pub(crate) fn quiet_since(&self) -> Option<Timestamp> {
        let done = self.done_since()?;
        Some(match self.protocol {
            Protocol::Http1 => done.max(Timestamp::from_micros(
                self.last_read.load(Ordering::Relaxed),
            )),
            Protocol::H2 => done,
        })
    }

    /// A part of an answer left.
    pub(crate) fn saw_answer(&self, now: Timestamp) {
        self.last_answer.store(now.as_micros(), Ordering::Relaxed);
    }

    pub(crate) fn saw_read(&self, now: Timestamp) {
        self.last_read.store(now.as_micros(), Ordering::Relaxed);
        if self.in_flight.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == NEVER
        {
            self.head_since.store(now.as_micros(), Ordering::Relaxed);
        }
    }

    /// Part of a head came while an exchange ran: its time begins with the end of that.
    pub(crate) fn waits_for_head(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == NEVER
        {
            let since = self.idle_since.load(Ordering::Relaxed);
            self.head_since.store(since, Ordering::Relaxed);
        }
    }

    /// When the client must have sent something, and what is wrong if it has not.
    pub(crate) fn deadline(&self, deadlines: &Deadlines) -> Option<(Timestamp, &'static str)> {
        let after = |since: u64, limit: std::time::Duration| {
            let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
            Timestamp::from_micros(since.saturating_add(limit))
        };
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        if in_flight > 0 {
            // Windows hold back what there is for a client though its socket would take it. As long
            // as it is the upstream's turn in one exchange, the connection is of use.
            let is_held = self.held.load(Ordering::Relaxed) >= in_flight;
            let held = self.held_since.load(Ordering::Relaxed);
            let since = held.max(self.last_answer.load(Ordering::Relaxed));
            let is_held = is_held && self.protocol == Protocol::H2;
            return is_held.then(|| (after(since, deadlines.unread), UNREAD));
        }
        let head = self.head_since.load(Ordering::Relaxed);
        if self.protocol == Protocol::Http1 && head != NEVER {
            let what = "the client sent no whole request head in time";
            return Some((after(head, deadlines.request_head), what));
        }
        let quiet = self
            .idle_since
            .load(Ordering::Relaxed)
            .max(self.last_read.load(Ordering::Relaxed));
        Some((
            after(quiet, deadlines.idle),
            "the client's connection was idle for too long",
        ))
    }
}
