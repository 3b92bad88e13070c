//! The two directions of a TCP connection as packets number them: what a synthesised packet says
//! beside its bytes.

use std::io::{self, Write};

use bytes::Bytes;

use super::frame::{ACK, Ends, FIN, PSH, SYN, Segment};
use super::sink::Sink;

/// A receiver acknowledges each so many bytes; less than any window.
const ACKNOWLEDGED: u64 = 1 << 20;

/// A connection's ends, and what each side sends next.
#[derive(Debug)]
pub(crate) struct Flow {
    ends: Ends,
    /// Sequence numbers of the client and of the server.
    next: [u32; 2],
    /// Bytes since a receiver's last word.
    unacknowledged: u64,
}

/// The index of a side.
const fn side(is_clients: bool) -> usize {
    if is_clients { 0 } else { 1 }
}

impl Flow {
    /// A connection whose client and server begin with these numbers.
    pub(crate) const fn new(ends: Ends, first: [u32; 2]) -> Self {
        Self {
            ends,
            next: first,
            unacknowledged: 0,
        }
    }

    /// A packet without payload.
    pub(crate) fn bare<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        (at, is_clients): (u64, bool),
        flags: u8,
        comment: Option<&str>,
    ) -> io::Result<()> {
        let segment = self.segment(is_clients, flags, 0);
        sink.packet(at, &self.ends, &segment, comment, |_| Bytes::new())?;
        if flags & (SYN | FIN) != 0 {
            self.advance(is_clients, 1);
        }
        Ok(())
    }

    /// A packet of `bytes` bytes, as [`Sink::packet`] takes its payload.
    pub(crate) fn data<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        (at, is_clients): (u64, bool),
        bytes: u64,
        comment: Option<&str>,
        payload: impl FnOnce(&mut Vec<u8>) -> Bytes,
    ) -> io::Result<()> {
        let segment = self.segment(is_clients, PSH | ACK, bytes);
        sink.packet(at, &self.ends, &segment, comment, payload)?;
        self.advance(is_clients, u32::try_from(bytes).unwrap_or(0));
        self.unacknowledged += bytes;
        Ok(())
    }

    /// The receiver's word, if it is time for it.
    pub(crate) fn acknowledge<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        at: u64,
        is_clients: bool,
    ) -> io::Result<()> {
        if self.unacknowledged < ACKNOWLEDGED {
            return Ok(());
        }
        self.unacknowledged = 0;
        self.bare(sink, (at, is_clients), ACK, None)
    }

    const fn advance(&mut self, is_clients: bool, bytes: u32) {
        let next = &mut self.next[side(is_clients)];
        *next = next.wrapping_add(bytes);
    }

    const fn segment(&self, is_clients: bool, flags: u8, bytes: u64) -> Segment {
        let ack = if flags & ACK == 0 {
            0
        } else {
            self.next[side(!is_clients)]
        };
        Segment {
            is_clients,
            flags,
            seq: self.next[side(is_clients)],
            ack,
            bytes,
        }
    }
}
