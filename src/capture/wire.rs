//! A TCP socket that reports to a live capture what passes through it.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::frame::{Ends, Interface};
use super::live::Capture;
use super::queue::{Queue, What};
use crate::clock::Timestamp;
use crate::sockets::{Followed, OwnSockets};
use crate::tls::HANDSHAKE;

/// How the bytes of a stream are captured.
mod mode {
    /// As they are read.
    pub(super) const PLAIN: u8 = 0;
    /// Held back until the next read or write, when the keys of the handshake are logged.
    pub(super) const SHAKING: u8 = 1;
    /// In large reads, each a packet.
    pub(super) const SETTLED: u8 = 2;
    /// Only their number.
    pub(super) const BLIND: u8 = 3;
    /// As they are read if they begin a TLS handshake, else only their number.
    pub(super) const AHEAD: u8 = 4;
    /// Held back until it is known what they are.
    pub(super) const UNDECIDED: u8 = 5;
}

/// A connection in the capture; cheap to clone.
#[derive(Clone)]
pub(crate) struct Stream {
    queue: Arc<Queue>,
    number: u32,
    /// Whether modtape opened it.
    is_ours: bool,
    mode: Arc<AtomicU8>,
}

impl Stream {
    /// A stream that begins at `at`.
    fn begin(queue: &Arc<Queue>, ends: Ends, at: Timestamp) -> Self {
        let number = queue.number();
        queue.push_at(at, number, true, What::Dialled(ends));
        Self {
            queue: Arc::clone(queue),
            number,
            is_ours: ends.interface == Interface::Upstream,
            mode: Arc::new(AtomicU8::new(mode::PLAIN)),
        }
    }

    /// The head of a CONNECT was read, followed by `rest`. The protocol inside is not known yet; of
    /// a blind tunnel, only the length of `rest` is captured.
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

    /// What the client sends first decides whether it is captured.
    pub(crate) fn is_undecided(&self) {
        self.mode.store(mode::UNDECIDED, Ordering::Relaxed);
    }

    /// Of what was held back only the number of bytes is captured.
    pub(crate) fn hides(&self) {
        self.queue.cut(self.number);
        self.mode.store(mode::BLIND, Ordering::Relaxed);
    }

    /// The connection is in clear text.
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

    /// From here on only the number of bytes is captured, not the bytes.
    pub(crate) fn blinds(&self) {
        self.mode.store(mode::BLIND, Ordering::Relaxed);
    }

    /// Adds the comment of an exchange to the bytes that contain its request head.
    pub(crate) fn has_read(&self, comment: String) {
        self.queue.remark(self.number, !self.is_ours, comment);
    }

    /// Notes that the bytes that were read last contain this number of request heads; their
    /// comments may come later.
    pub(crate) fn has_read_heads(&self, heads: u32) {
        self.queue.note_heads(self.number, !self.is_ours, heads);
    }

    /// Adds the comment of an exchange to the bytes that are sent next.
    pub(crate) fn will_send(&self, comment: String) {
        self.queue.announce(self.number, self.is_ours, comment);
    }

    fn mode(&self) -> u8 {
        self.mode.load(Ordering::Relaxed)
    }

    fn push(&self, is_clients: bool, what: What) {
        self.queue.push(self.number, is_clients, what);
    }

    fn sent(&self, bufs: &[IoSlice<'_>], written: usize) {
        if self.mode() == mode::BLIND {
            self.passed_blind(self.is_ours, written);
            return;
        }
        self.queue.copy(bufs, written, |shown| {
            let bytes = shown.len() as u64;
            self.push(self.is_ours, What::Data { shown, bytes });
        });
    }

    /// Captures bytes that were not read in large reads.
    fn received(&self, bytes: &[u8]) {
        if self.mode() == mode::AHEAD {
            let is_tls = bytes.first() == Some(&HANDSHAKE);
            let mode = if is_tls { mode::PLAIN } else { mode::BLIND };
            self.mode.store(mode, Ordering::Relaxed);
        }
        match self.mode() {
            mode::BLIND => self.passed_blind(!self.is_ours, bytes.len()),
            mode => self
                .queue
                .copy(&[IoSlice::new(bytes)], bytes.len(), |shown| {
                    let bytes = shown.len() as u64;
                    let data = What::Data { shown, bytes };
                    if matches!(mode, mode::SHAKING | mode::UNDECIDED) {
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

struct Tapped {
    stream: Stream,
    /// Bytes that were read and not passed on yet.
    rest: Bytes,
    /// Whether the end of the peer's side, and of our side, is captured.
    has_ended: [bool; 2],
}

impl Tapped {
    fn new(stream: Stream) -> Box<Self> {
        Box::new(Self {
            stream,
            rest: Bytes::new(),
            has_ended: [false; 2],
        })
    }

    fn peer_ends(&mut self) {
        if !std::mem::replace(&mut self.has_ended[0], true) {
            self.stream.push(!self.stream.is_ours, What::End);
        }
    }

    fn we_end(&mut self) {
        if !std::mem::replace(&mut self.has_ended[1], true) {
            self.stream.queue.commit(self.stream.number);
            self.stream.push(self.stream.is_ours, What::End);
        }
    }

    fn breaks(&mut self) {
        if self.has_ended != [true; 2] {
            self.has_ended = [true; 2];
            self.stream.queue.commit(self.stream.number);
            self.stream.push(!self.stream.is_ours, What::Reset);
        }
    }

    /// Captures a reset, if reading or writing failed with one.
    fn outcome<T>(&mut self, outcome: &io::Result<T>) {
        match outcome.as_ref().map_err(io::Error::kind) {
            Err(io::ErrorKind::ConnectionReset) => self.breaks(),
            // Writing after our own end of the stream is not a failure of the connection.
            Err(io::ErrorKind::BrokenPipe) if !self.has_ended[1] => self.breaks(),
            _ => {}
        }
    }

    /// Passes on bytes that were read.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let room = buf.remaining();
        buf.put((&mut self.rest).take(room));
        if self.rest.is_empty() {
            // Its memory is that of a whole chunk.
            self.rest = Bytes::new();
        }
    }

    fn poll_read(
        &mut self,
        io: &mut TcpStream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.rest.is_empty() {
            self.give(buf);
            return Poll::Ready(Ok(()));
        }
        let queue = &self.stream.queue;
        if self.stream.mode() != mode::UNDECIDED {
            queue.commit(self.stream.number);
        }
        // Both are small, and have a time limit.
        if !matches!(self.stream.mode(), mode::SHAKING | mode::UNDECIDED) {
            ready!(queue.poll_room(cx));
        }
        if self.stream.mode() != mode::SETTLED {
            let before = buf.filled().len();
            let outcome = ready!(Pin::new(io).poll_read(cx, buf));
            self.outcome(&outcome);
            outcome?;
            match &buf.filled()[before..] {
                [] if buf.remaining() > 0 => self.peer_ends(),
                fresh => self.stream.received(fresh),
            }
            return Poll::Ready(Ok(()));
        }
        let (outcome, shown) = queue.read(|chunk, limit| {
            let mut chunk = chunk.limit(limit);
            pin!(io.read_buf(&mut chunk)).poll(cx)
        });
        let outcome = ready!(outcome);
        self.outcome(&outcome);
        if outcome? == 0 {
            self.peer_ends();
            return Poll::Ready(Ok(()));
        }
        self.rest = shown.clone();
        let bytes = shown.len() as u64;
        let is_clients = !self.stream.is_ours;
        self.stream.push(is_clients, What::Data { shown, bytes });
        self.give(buf);
        Poll::Ready(Ok(()))
    }
}

/// The socket.
pub(crate) struct Wire {
    io: TcpStream,
    tapped: Option<Box<Tapped>>,
    /// Of one that we opened, where our own sockets are followed.
    followed: Option<Followed>,
}

impl Wire {
    /// A connection from `peer` that was just accepted; `server` is where the client believes it leads.
    pub(crate) fn accepted(
        io: TcpStream,
        peer: SocketAddr,
        server: SocketAddr,
        capture: Option<&Capture>,
    ) -> Self {
        let tapped = capture.map(|capture| {
            let queue = &capture.queue;
            let ends = Ends {
                interface: Interface::Client,
                client: canonical(peer),
                server: canonical(server),
            };
            let stream = Stream::begin(queue, ends, queue.now());
            stream.push(false, What::Connected);
            // Until the head of the request is read: the next bytes may belong to it.
            stream.shakes();
            Tapped::new(stream)
        });
        Self {
            io,
            tapped,
            followed: None,
        }
    }

    /// Connects to `address`.
    pub(crate) async fn connect(
        address: SocketAddr,
        capture: Option<&Capture>,
        own: &OwnSockets,
    ) -> io::Result<Self> {
        if capture.is_none() && !own.are_followed() {
            let io = TcpStream::connect(address).await?;
            return Ok(Self {
                io,
                tapped: None,
                followed: None,
            });
        }
        // Without tokio's connect, since the local port is known when the first packet is sent.
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        own.mark(&socket)?;
        let began = capture.map(|capture| capture.queue.now());
        match socket.connect(&address.into()) {
            Err(error) if !is_under_way(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let followed = own.follow(&socket);
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        let io = TcpStream::from_std(socket.into())?;
        let tapped = capture.zip(began).map(|(capture, began)| {
            let ends = Ends {
                interface: Interface::Upstream,
                client: canonical(local),
                server: canonical(address),
            };
            Tapped::new(Stream::begin(&capture.queue, ends, began))
        });
        let mut wire = Self {
            io,
            tapped,
            followed,
        };
        wire.io.writable().await?;
        let failed = wire.io.take_error()?;
        if let Some(tapped) = &mut wire.tapped {
            match failed.as_ref().map(io::Error::kind) {
                None => tapped.stream.push(false, What::Connected),
                Some(io::ErrorKind::ConnectionRefused) => tapped.breaks(),
                // Neither a SYN-ACK nor a reset was received.
                Some(_) => {}
            }
        }
        failed.map_or(Ok(wire), Err)
    }

    /// The socket itself, for its addresses and options.
    pub(crate) const fn socket(&self) -> &TcpStream {
        &self.io
    }

    /// Becomes true if the connection turns out to lead back to modtape; `None` where that is not
    /// followed.
    pub(crate) fn is_redirected(&self) -> Option<Arc<AtomicBool>> {
        self.followed.as_ref().map(Followed::is_redirected)
    }

    /// The connection in the capture, if there is one.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        self.tapped.as_ref().map(|tapped| &tapped.stream)
    }
}

fn is_under_way(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno == Some(Errno::INPROGRESS)
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(tapped) = &self.tapped {
            let stream = &tapped.stream;
            if stream.mode() == mode::UNDECIDED {
                stream.queue.cut(stream.number);
            }
            stream.queue.commit(stream.number);
            stream.push(stream.is_ours, What::Gone);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, tapped, .. } = self.get_mut();
        match tapped {
            None => Pin::new(io).poll_read(cx, buf),
            Some(tapped) => tapped.poll_read(io, cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.tapped.is_none() {
            return Pin::new(&mut self.get_mut().io).poll_write(cx, buf);
        }
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, tapped, .. } = self.get_mut();
        let Some(tapped) = tapped else {
            return Pin::new(io).poll_write_vectored(cx, bufs);
        };
        let queue = &tapped.stream.queue;
        queue.commit(tapped.stream.number);
        if tapped.stream.mode() != mode::SHAKING {
            ready!(queue.poll_room(cx));
        }
        let outcome = ready!(Pin::new(io).poll_write_vectored(cx, bufs));
        tapped.outcome(&outcome);
        if let Ok(written) = outcome {
            tapped.stream.sent(bufs, written);
        }
        Poll::Ready(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, tapped, .. } = self.get_mut();
        let outcome = ready!(Pin::new(io).poll_shutdown(cx));
        if let Some(tapped) = tapped {
            tapped.we_end();
        }
        Poll::Ready(outcome)
    }
}

/// A mapped address is IPv4 on the network.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
