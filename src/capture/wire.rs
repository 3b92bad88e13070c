//! A TCP socket that tells what passes through it, if there is a capture.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Capture;
use super::frame::Interface;
use super::item::What;
use super::stream::{Stream, mode};

struct Tapped {
    stream: Stream,
    /// Read, and not given on yet.
    rest: Bytes,
    /// Whether we have told that the peer, and we, send no more.
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

    /// What came of the socket's reading or writing.
    fn outcome<T>(&mut self, outcome: &io::Result<T>) {
        match outcome.as_ref().map_err(io::Error::kind) {
            Err(io::ErrorKind::ConnectionReset) => self.breaks(),
            // What we write behind our own end is nobody's fault.
            Err(io::ErrorKind::BrokenPipe) if !self.has_ended[1] => self.breaks(),
            _ => {}
        }
    }

    /// Gives on what was read.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let bytes = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest[..bytes]);
        self.rest.advance(bytes);
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
        queue.commit(self.stream.number);
        // A handshake is little, and has its limit in time.
        if self.stream.mode() != mode::SHAKING {
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
}

impl Wire {
    /// A connection from `peer` that was just accepted.
    pub(crate) fn accepted(io: TcpStream, peer: SocketAddr, capture: Option<&Capture>) -> Self {
        let tapped = capture.map(|capture| {
            let server = io.local_addr().unwrap_or(peer);
            let stream = capture.begin(Interface::Client, (peer, server), capture.queue.now());
            stream.push(false, What::Connected);
            // Until the client has said what it wants: it may be part of that what it says next.
            stream.shakes();
            Tapped::new(stream)
        });
        Self { io, tapped }
    }

    /// Connects to `address`.
    pub(crate) async fn connect(
        address: SocketAddr,
        capture: Option<&Capture>,
    ) -> io::Result<Self> {
        let Some(capture) = capture else {
            let io = TcpStream::connect(address).await?;
            return Ok(Self { io, tapped: None });
        };
        // By hand, since our own port is known as soon as the first packet has left.
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        let began = capture.queue.now();
        match socket.connect(&address.into()) {
            Err(error) if !is_under_way(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let own = socket.local_addr()?.as_socket().unwrap_or(address);
        let io = TcpStream::from_std(socket.into())?;
        let stream = capture.begin(Interface::Upstream, (own, address), began);
        let mut wire = Self {
            io,
            tapped: Some(Tapped::new(stream)),
        };
        wire.io.writable().await?;
        let failed = wire.io.take_error()?;
        if let Some(tapped) = &mut wire.tapped {
            match failed.as_ref().map(io::Error::kind) {
                None => tapped.stream.push(false, What::Connected),
                Some(io::ErrorKind::ConnectionRefused) => tapped.breaks(),
                // Nobody said anything.
                Some(_) => {}
            }
        }
        failed.map_or(Ok(wire), Err)
    }

    /// The socket itself, for its addresses and options.
    pub(crate) const fn socket(&self) -> &TcpStream {
        &self.io
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
        let Self { io, tapped } = self.get_mut();
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
        let Self { io, tapped } = self.get_mut();
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
        let Self { io, tapped } = self.get_mut();
        let outcome = ready!(Pin::new(io).poll_shutdown(cx));
        if let Some(tapped) = tapped {
            tapped.we_end();
        }
        Poll::Ready(outcome)
    }
}
