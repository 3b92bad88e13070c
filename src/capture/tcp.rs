//! TCP as it would have looked: what begins a connection, what ends it, and the bytes between.

use std::io::{self, Write};

use bytes::Bytes;

use super::flow::Flow;
use super::frame::{ACK, Ends, FIN, RST, SEGMENT, SYN};
use super::queue::add_line;
use super::sink::Sink;

/// From so many bytes on, a copy costs more than a further slice to write.
const WORTH_SHARING: usize = 2048;

/// What the first numbers of streams are multiples of: a port that is used again is then no
/// retransmission.
const APART: u32 = 0x9e37_79b1;

/// One connection; sides are 0 for the client and 1 for the server.
#[derive(Debug)]
pub(super) struct Tcp {
    flow: Flow,
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
            flow: Flow::new(ends, [first, !first]),
            has_ended: [false; 2],
            is_connected: false,
            comments: Default::default(),
        };
        tcp.flow.bare(sink, (at, true), SYN, None)?;
        Ok(tcp)
    }

    /// The server took the connection.
    pub(super) fn connect<W: Write>(&mut self, sink: &mut Sink<W>, at: u64) -> io::Result<()> {
        self.is_connected = true;
        self.flow.bare(sink, (at, false), SYN | ACK, None)?;
        self.flow.bare(sink, (at, true), ACK, None)
    }

    /// Keeps a comment for the next bytes of this side.
    pub(super) fn remark(&mut self, is_clients: bool, comment: &str) {
        add_line(&mut self.comments[side(is_clients)], comment);
    }

    /// Bytes of one side, of which the first are shown.
    pub(super) fn data<W: Write>(
        &mut self,
        sink: &mut Sink<W>,
        from: (u64, bool),
        (mut shown, bytes): (Bytes, u64),
        comment: &str,
    ) -> io::Result<()> {
        let (at, is_clients) = from;
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
            flow.data(sink, from, bytes, comment.as_deref(), payload)?;
            flow.acknowledge(sink, at, !is_clients)?;
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
        self.flow.bare(sink, (at, is_clients), FIN | ACK, None)?;
        if self.has_ended == [true; 2] {
            self.flow.bare(sink, (at, !is_clients), ACK, None)?;
        }
        Ok(())
    }

    /// The connection is gone: `is_clients` says which side ended it, if neither had done so before.
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
        self.flow.bare(sink, (at, is_clients), RST | ACK, None)
    }
}
