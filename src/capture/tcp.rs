//! TCP as it would have looked: what begins a connection, what ends it, and the bytes between.
//!
//! A [`Flow`] numbers the packets of both directions, for exports too; a [`Tcp`] is a connection of
//! the live capture.

use std::io::{self, Write};

use bytes::Bytes;

use super::frame::{ACK, Ends, FIN, PSH, RST, SEGMENT, SYN, Segment};
use super::queue::add_line;
use super::sink::Sink;

/// A receiver acknowledges after this number of bytes, which is less than any window.
const ACKNOWLEDGED: u64 = 1 << 20;

/// From this number of bytes on, a copy costs more than another slice to write.
const WORTH_SHARING: usize = 2048;

/// The distance of the initial sequence numbers of streams, so that a reused port does not look
/// like a retransmission.
const APART: u32 = 0x9e37_79b1;

/// The index of a side: 0 for the client and 1 for the server.
const fn side(is_clients: bool) -> usize {
    if is_clients { 0 } else { 1 }
}

/// When a packet was sent, and by which side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Nanoseconds since 1970.
    pub(crate) at: u64,
    /// Whether the client sent it.
    pub(crate) is_clients: bool,
}

impl Sent {
    /// By the client.
    pub(crate) const fn by_client(at: u64) -> Self {
        let is_clients = true;
        Self { at, is_clients }
    }

    /// By the server.
    pub(crate) const fn by_server(at: u64) -> Self {
        let is_clients = false;
        Self { at, is_clients }
    }
}

/// A connection's ends, and what each side sends next.
#[derive(Debug)]
pub(crate) struct Flow {
    ends: Ends,
    /// Sequence numbers of the client and of the server.
    next: [u32; 2],
    /// Bytes since the last acknowledgement.
    unacknowledged: u64,
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
        Sent { at, is_clients }: Sent,
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
        Sent { at, is_clients }: Sent,
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

    /// Acknowledges, if enough bytes have passed.
    pub(crate) fn acknowledge<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        sent: Sent,
    ) -> io::Result<()> {
        if self.unacknowledged < ACKNOWLEDGED {
            return Ok(());
        }
        self.unacknowledged = 0;
        self.bare(sink, sent, ACK, None)
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

/// One connection; sides are 0 for the client and 1 for the server.
#[derive(Debug)]
pub(super) struct Tcp {
    flow: Flow,
    has_ended: [bool; 2],
    is_connected: bool,
    comments: [String; 2],
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
            flow: Flow::new(ends, [first, !first]),
            has_ended: [false; 2],
            is_connected: false,
            comments: Default::default(),
        };
        tcp.flow.bare(sink, Sent::by_client(at), SYN, None)?;
        Ok(tcp)
    }

    /// The server accepted the connection.
    pub(super) fn connect<W: Write>(&mut self, sink: &mut Sink<W>, at: u64) -> io::Result<()> {
        self.is_connected = true;
        self.flow.bare(sink, Sent::by_server(at), SYN | ACK, None)?;
        self.flow.bare(sink, Sent::by_client(at), ACK, None)
    }

    /// Keeps a comment for the next bytes of this side.
    pub(super) fn remark(&mut self, is_clients: bool, comment: &str) {
        add_line(&mut self.comments[side(is_clients)], comment);
    }

    /// Bytes of one side, of which the first are captured.
    pub(super) fn data<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        sent: Sent,
        mut shown: Bytes,
        bytes: u64,
        comment: &str,
    ) -> io::Result<()> {
        let Sent { at, is_clients } = sent;
        if self.has_ended[side(is_clients)] {
            return Ok(());
        }
        if !comment.is_empty() {
            self.remark(is_clients, comment);
        }
        let mut comment = Some(std::mem::take(&mut self.comments[side(is_clients)]));
        let mut left = bytes;
        while left > 0 {
            let bytes = left.min(SEGMENT);
            let now = shown.split_to(shown.len().min(bytes as usize));
            let comment = comment.take().filter(|comment| !comment.is_empty());
            let payload = |out: &mut Vec<u8>| {
                if now.len() >= WORTH_SHARING {
                    return now;
                }
                out.extend_from_slice(&now);
                Bytes::new()
            };
            let flow = &mut self.flow;
            flow.data(sink, sent, bytes, comment.as_deref(), payload)?;
            let is_clients = !is_clients;
            flow.acknowledge(sink, Sent { at, is_clients })?;
            left -= bytes;
        }
        Ok(())
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
        self.flow
            .bare(sink, Sent { at, is_clients }, FIN | ACK, None)?;
        if self.has_ended == [true; 2] {
            self.flow.bare(
                sink,
                Sent {
                    at,
                    is_clients: !is_clients,
                },
                ACK,
                None,
            )?;
        }
        Ok(())
    }

    /// The socket is closed: `is_clients` says by which side, if neither has ended the connection
    /// before.
    pub(super) fn close<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        at: u64,
        is_clients: bool,
    ) -> io::Result<()> {
        self.end(sink, at, is_clients)?;
        self.end(sink, at, !is_clients)
    }

    /// One side reset the connection.
    pub(super) fn reset<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        at: u64,
        is_clients: bool,
    ) -> io::Result<()> {
        self.has_ended = [true; 2];
        self.flow
            .bare(sink, Sent { at, is_clients }, RST | ACK, None)
    }
}
