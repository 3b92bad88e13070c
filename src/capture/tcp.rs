//! TCP as it would have looked: sequence numbers, acknowledgements, and the flags of beginning and end.

use std::io::{self, Write};

use bytes::Bytes;

use super::frame::{ACK, Ends, FIN, PSH, RST, SEGMENT, SYN, Segment};
use super::sink::Sink;

/// The receiver acknowledges at least so often, octets.
const ACKNOWLEDGED: u64 = 1 << 20;

/// From so many octets on, a copy costs more than a further slice to write.
const WORTH_SHARING: usize = 2048;

/// What the first numbers of streams are multiples of: a port that is used again is then no
/// retransmission.
const APART: u32 = 0x9e37_79b1;

/// One connection; sides are 0 for the client and 1 for the server.
#[derive(Debug)]
pub(super) struct Tcp {
    ends: Ends,
    next: [u32; 2],
    unacknowledged: u64,
    has_ended: [bool; 2],
    is_connected: bool,
    comments: [String; 2],
}

/// The side that a packet comes from.
const fn side(is_clients: bool) -> usize {
    if is_clients { 0 } else { 1 }
}

impl Tcp {
    /// Writes its first packet.
    pub(super) fn dial<W: Write>(
        sink: &mut Sink<W>,
        at: u64,
        number: u32,
        ends: Ends,
    ) -> io::Result<Self> {
        let first = number.wrapping_mul(APART);
        let mut tcp = Self {
            ends,
            next: [first, !first],
            unacknowledged: 0,
            has_ended: [false; 2],
            is_connected: false,
            comments: Default::default(),
        };
        tcp.bare(sink, at, true, SYN)?;
        Ok(tcp)
    }

    /// The server took the connection.
    pub(super) fn connect<W: Write>(&mut self, sink: &mut Sink<W>, at: u64) -> io::Result<()> {
        self.is_connected = true;
        self.bare(sink, at, false, SYN | ACK)?;
        self.bare(sink, at, true, ACK)
    }

    /// Keeps a comment for the next octets of this side.
    pub(super) fn remark(&mut self, is_clients: bool, comment: &str) {
        let kept = &mut self.comments[side(is_clients)];
        if !kept.is_empty() {
            kept.push('\n');
        }
        kept.push_str(comment);
    }

    /// Octets of one side, of which the first are shown.
    pub(super) fn data<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        (at, is_clients): (u64, bool),
        (mut shown, bytes): (Bytes, u64),
        comment: &str,
    ) -> io::Result<()> {
        let from = side(is_clients);
        if self.has_ended[from] {
            return Ok(());
        }
        self.remark_if_any(is_clients, comment);
        let mut comment = Some(std::mem::take(&mut self.comments[from]));
        let mut left = bytes;
        while left > 0 {
            let bytes = left.min(SEGMENT);
            let segment = self.segment(is_clients, PSH | ACK, bytes);
            let now = shown.split_to(shown.len().min(bytes as usize));
            let comment = comment.take().filter(|comment| !comment.is_empty());
            sink.packet(at, &self.ends, &segment, comment.as_deref(), |out| {
                if now.len() >= WORTH_SHARING {
                    return now;
                }
                out.extend_from_slice(&now);
                Bytes::new()
            })?;
            left -= bytes;
            self.next[from] = self.next[from].wrapping_add(u32::try_from(bytes).unwrap_or(0));
            self.unacknowledged += bytes;
            if self.unacknowledged >= ACKNOWLEDGED {
                self.bare(sink, at, !is_clients, ACK)?;
                self.unacknowledged = 0;
            }
        }
        Ok(())
    }

    fn remark_if_any(&mut self, is_clients: bool, comment: &str) {
        if !comment.is_empty() {
            self.remark(is_clients, comment);
        }
    }

    /// One side sends no more.
    pub(super) fn end<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        at: u64,
        is_clients: bool,
    ) -> io::Result<()> {
        let from = side(is_clients);
        if !self.is_connected || std::mem::replace(&mut self.has_ended[from], true) {
            return Ok(());
        }
        self.bare(sink, at, is_clients, FIN | ACK)?;
        if self.has_ended == [true; 2] {
            self.bare(sink, at, !is_clients, ACK)?;
        }
        Ok(())
    }

    /// The connection is gone: `is_clients` says who ended it, if nobody did so before.
    pub(super) fn close<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        at: u64,
        is_clients: bool,
    ) -> io::Result<()> {
        self.end(sink, at, is_clients)?;
        self.end(sink, at, !is_clients)
    }

    /// One side broke off.
    pub(super) fn reset<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        at: u64,
        is_clients: bool,
    ) -> io::Result<()> {
        self.has_ended = [true; 2];
        self.bare(sink, at, is_clients, RST | ACK)
    }

    fn bare<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        at: u64,
        is_clients: bool,
        flags: u8,
    ) -> io::Result<()> {
        let segment = self.segment(is_clients, flags, 0);
        sink.packet(at, &self.ends, &segment, None, |_| Bytes::new())?;
        if flags & (SYN | FIN) != 0 {
            let next = &mut self.next[side(is_clients)];
            *next = next.wrapping_add(1);
        }
        Ok(())
    }

    const fn segment(&self, is_clients: bool, flags: u8, bytes: u64) -> Segment {
        let from = side(is_clients);
        let ack = if flags & ACK == 0 {
            0
        } else {
            self.next[1 - from]
        };
        Segment {
            is_clients,
            flags,
            seq: self.next[from],
            ack,
            bytes,
        }
    }
}
