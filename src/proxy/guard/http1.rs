//! What an HTTP/1 client sends, on its way to hyper: past `framing`, head by head.
//!
//! A head passes when it is there as a whole; until then its first part is held. In place of a head
//! that `framing` refuses hyper gets a byte that no request begins with: it answers with 400, once
//! what came before is answered, and ends the connection, as after a head that it refuses by itself.
//! The client gets the time to read that.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::framing::{Scanner, Stop, Violation, encode_target};
use super::watch::Watch;
use crate::clock::Clock;
use crate::proxy::io::linger::{LINGER, PIECE, poll_drain};

/// How much is kept of a request line, for the record of a request that hyper refuses.
const REQUEST_LINE: usize = 1024;

/// No request begins with this.
const INVALID: &[u8] = b"\0";

/// Stands in front of hyper on an HTTP/1 client leg.
#[derive(Debug)]
pub(crate) struct Http1 {
    watch: Arc<Watch>,
    scanner: Scanner,
    /// Read, and not passed on: a head that comes in parts, or stands behind another message.
    held: Vec<u8>,
    /// So many of them may pass.
    good: usize,
    refused: bool,
    /// The start of the last head that passed or was refused. hyper gets no head before it has read
    /// the one before, so that this is the head of which it says that it is malformed.
    request_line: Vec<u8>,
    farewell: Farewell,
    timer: Option<Pin<Box<Sleep>>>,
}

/// How far the end of a connection is whose client may still be sending.
#[derive(Debug, Default)]
enum Farewell {
    #[default]
    None,
    Closing,
    Draining(usize),
    Over,
}

impl Http1 {
    pub(crate) fn new(watch: &Arc<Watch>) -> Self {
        Self {
            watch: Arc::clone(watch),
            scanner: Scanner::default(),
            held: Vec::new(),
            good: 0,
            refused: false,
            request_line: Vec::new(),
            farewell: Farewell::None,
            timer: None,
        }
    }

    /// Reads what may pass.
    pub(crate) fn poll_read<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        clock: Clock,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.good > 0 {
                self.give(buf);
                return Poll::Ready(Ok(()));
            }
            if self.refused {
                // hyper has what it answers with 400, and reads no further.
                return Poll::Pending;
            }
            if self.held.is_empty() {
                let before = buf.filled().len();
                ready!(Pin::new(&mut *io).poll_read(cx, buf))?;
                let fresh = &buf.filled()[before..];
                if fresh.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.watch.saw_read(clock.now());
                let good = self.pass(fresh);
                buf.set_filled(before + good);
                if good > 0 {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            self.look()?;
            if self.good == 0 && ready!(self.poll_more(io, clock, cx))? == 0 {
                self.held = Vec::new();
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// True while the first part of a head is here.
    pub(crate) const fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// The start of the head that hyper refused, if it refused one.
    pub(crate) fn request_line(&self) -> &[u8] {
        &self.request_line
    }

    /// How much of `fresh` may pass as it is, all of it but for the rarest; the rest is held.
    fn pass(&mut self, fresh: &[u8]) -> usize {
        let heads = self.scanner.heads();
        let scan = self.scanner.scan(fresh);
        if self.scanner.heads() > heads {
            self.keep_request_line(fresh);
        }
        if scan.stop.is_some() && self.scanner.is_before_head() {
            self.scanner.start_over();
        }
        self.held.extend_from_slice(&fresh[scan.good..]);
        scan.good
    }

    /// Looks at what is held.
    fn look(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let heads = self.scanner.heads();
        let scan = self.scanner.scan(&held);
        if self.scanner.heads() > heads {
            self.keep_request_line(&held);
        }
        (self.held, self.good) = (held, scan.good);
        match scan.stop {
            // What is good passes first; then it shows again.
            _ if scan.good > 0 => Ok(()),
            None => Ok(()),
            Some(Stop::Encode(target)) => {
                encode_target(&mut self.held, target);
                self.scanner.start_over();
                self.look()
            }
            Some(Stop::Refuse(violation)) => self.refuse(violation),
        }
    }

    fn refuse(&mut self, violation: Violation) -> io::Result<()> {
        self.watch.refuse(violation);
        if !self.scanner.is_before_head() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, violation));
        }
        let head = std::mem::replace(&mut self.held, INVALID.to_vec());
        self.keep_request_line(&head);
        (self.refused, self.good) = (true, INVALID.len());
        Ok(())
    }

    fn keep_request_line(&mut self, head: &[u8]) {
        let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
        let line = &head[start.unwrap_or(0)..];
        let end = memchr(b'\n', line).unwrap_or(line.len());
        self.request_line.clear();
        self.request_line
            .extend_from_slice(&line[..end.min(REQUEST_LINE)]);
    }

    /// Reads behind what is held: so many bytes.
    fn poll_more<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        clock: Clock,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(io).poll_read(cx, &mut piece))?;
        let bytes = piece.filled().len();
        if bytes > 0 {
            self.watch.saw_read(clock.now());
            self.held.extend_from_slice(piece.filled());
        }
        Poll::Ready(Ok(bytes))
    }

    /// Passes on what is held and good.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let bytes = self.good.min(buf.remaining());
        buf.put_slice(&self.held[..bytes]);
        self.good -= bytes;
        // Mostly all of it: a head that came in parts and nothing behind it.
        if bytes == self.held.len() {
            self.held = Vec::new();
        } else {
            self.held.drain(..bytes);
        }
    }

    /// Ends the connection; a client that may still be sending is given the time to read its answer.
    pub(crate) fn poll_shutdown<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.farewell, Farewell::None) {
            // A head that passed and began no exchange is one that hyper refused.
            let is_refused = self.refused || self.scanner.heads() > self.watch.begun();
            if !is_refused && self.scanner.is_before_head() {
                return Pin::new(io).poll_shutdown(cx);
            }
            self.farewell = Farewell::Closing;
        }
        // The client may be gone: then nobody reads why.
        if self.poll_farewell(io, cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let timer = &mut self.timer;
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        timer.as_mut().poll(cx).map(Ok)
    }

    fn poll_farewell<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.farewell {
                Farewell::None | Farewell::Over => return Poll::Ready(Ok(())),
                Farewell::Closing => {
                    ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
                    self.farewell = Farewell::Draining(0);
                }
                Farewell::Draining(dropped) => {
                    ready!(poll_drain(io, cx, dropped))?;
                    self.farewell = Farewell::Over;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;
    use crate::proxy::guard::Guard;
    use crate::proxy::limits::Deadlines;
    use crate::tls::Protocol;

    const GOOD: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    const BAD: &[u8] = b"PUT /b HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n";

    fn guarded() -> (Guard<DuplexStream>, DuplexStream, Arc<Watch>, Clock) {
        let (near, far) = tokio::io::duplex(1024);
        let clock = Clock::start();
        let watch = Watch::new(Protocol::Http1, clock.now());
        let guard = Guard::new(near, Arc::clone(&watch), clock, Deadlines::default());
        (guard, far, watch, clock)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_of_a_refused_head_is_read() {
        let both = [GOOD, BAD, b"behind"].concat();
        for cut in 0..both.len() {
            let (mut guard, mut far, watch, _) = guarded();
            let (one, two) = both.split_at(cut);
            let write = async {
                far.write_all(one).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
                far.write_all(two).await.unwrap();
            };
            let read = async {
                let mut head = [0; GOOD.len() + INVALID.len()];
                guard.read_exact(&mut head).await.unwrap();
                assert_eq!(head[..], [GOOD, INVALID].concat(), "cut at {cut}");
                let more = tokio::time::timeout(Duration::from_secs(5), guard.read_u8()).await;
                assert!(more.is_err(), "cut at {cut}");
            };
            tokio::join!(write, read);
            assert_eq!(watch.refused(), Some(Violation::RepeatedLength));
            assert_eq!(guard.request_line(), b"PUT /b HTTP/1.1\r");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_is_kept_as_long_as_hyper_may_refuse_it() {
        let (mut guard, mut far, _, _) = guarded();
        let heads = b"GET /1 HTTP/1.1\r\n\r\n\r\nGET /2 HTTP/1.1\r\n\r\n";
        far.write_all(heads).await.unwrap();
        for (line, behind) in [("GET /1 HTTP/1.1\r", 19), ("GET /2 HTTP/1.1\r", 21)] {
            let mut head = [0; 99];
            assert_eq!(guard.read(&mut head).await.unwrap(), behind);
            assert_eq!(guard.request_line(), line.as_bytes());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stays_after_a_refusal_is_given_two_seconds() {
        // Ours, and one of hyper's.
        for refused in [BAD, b"GET\r\n\r\n"] {
            let (mut guard, mut far, _, clock) = guarded();
            far.write_all(refused).await.unwrap();
            guard.read_u8().await.unwrap();
            let before = clock.now();
            guard.shutdown().await.unwrap();
            let waited = clock.now().since(before);
            assert!((2..3).contains(&waited.as_secs()), "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_owes_nothing_ends_at_once() {
        let (mut guard, mut far, watch, clock) = guarded();
        far.write_all(GOOD).await.unwrap();
        guard.read_exact(&mut [0; GOOD.len()]).await.unwrap();
        watch.begin();
        watch.end(clock.now());
        let before = clock.now();
        guard.shutdown().await.unwrap();
        assert_eq!(clock.now(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_of_a_head_behind_an_exchange_has_its_time_too() {
        let (mut guard, mut far, watch, clock) = guarded();
        far.write_all(&[GOOD, b"GET /"].concat()).await.unwrap();
        guard.read_exact(&mut [0; GOOD.len()]).await.unwrap();
        watch.begin();
        let silent = tokio::time::timeout(Duration::from_secs(3600), guard.read_u8()).await;
        assert!(silent.is_err());
        watch.end(clock.now());
        let ended = clock.now();
        let error = guard.read_u8().await.unwrap_err();
        assert!(error.to_string().contains("head"), "{error}");
        let waited = clock.now().since(ended);
        assert!((15..16).contains(&waited.as_secs()), "{waited:?}");
    }
}
