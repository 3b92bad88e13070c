//! Lets through to hyper what `framing` has found good, and answers the rest.
//!
//! A head passes when it is there as a whole; until then its first part is held. Behind a refused
//! head hyper sees an end between two requests, so what came before is answered as ever; then the
//! client gets our 400, and the time to read it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::answer::reason_phrase;
use super::framing::{Scanner, Violation};
use super::linger::{LINGER, poll_drain};
use super::watch::Watch;
use crate::clock::Clock;

/// How much is read at a time behind a part of a head.
const PIECE: usize = 4 * 1024;

/// Stands in front of hyper on an HTTP/1 client leg.
#[derive(Debug)]
pub(super) struct Sieve {
    watch: Arc<Watch>,
    scanner: Scanner,
    /// Read, and not passed on; empty but for a head that comes in parts.
    held: Vec<u8>,
    /// So many of them may pass.
    good: usize,
    refused: Option<Violation>,
    farewell: Farewell,
    timer: Option<Pin<Box<Sleep>>>,
}

/// How far the answer to a refused request is.
#[derive(Debug, Default)]
enum Farewell {
    /// Nothing is refused, or exchanges are in flight.
    #[default]
    None,
    /// hyper was told the end.
    Due,
    Writing(Vec<u8>, usize),
    Closing,
    Draining(usize),
    Over,
}

impl Sieve {
    pub(super) fn new(watch: &Arc<Watch>) -> Self {
        Self {
            watch: Arc::clone(watch),
            scanner: Scanner::default(),
            held: Vec::new(),
            good: 0,
            refused: None,
            farewell: Farewell::None,
            timer: None,
        }
    }

    /// Reads what may pass; an end where something is refused.
    pub(super) fn poll_read<IO: AsyncRead + Unpin>(
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
            if let Some(violation) = self.refused {
                return self.refuse(violation);
            }
            if !self.held.is_empty() {
                ready!(self.poll_more(io, clock, cx))?;
                if self.held.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut *io).poll_read(cx, buf))?;
            let fresh = &buf.filled()[before..];
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.watch.saw_read(clock.now());
            let scan = self.scanner.scan(fresh);
            if scan.refused.is_none() {
                self.held.extend_from_slice(&fresh[scan.good..]);
            }
            self.refused = scan.refused;
            self.watch.admit(self.scanner.heads());
            buf.set_filled(before + scan.good);
            if scan.good > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// True while the first part of a head is here.
    pub(super) const fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Reads behind what is held; nothing is held any more where the client has ended.
    fn poll_more<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        clock: Clock,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(io).poll_read(cx, &mut piece))?;
        if piece.filled().is_empty() {
            self.held = Vec::new();
            return Poll::Ready(Ok(()));
        }
        self.watch.saw_read(clock.now());
        self.held.extend_from_slice(piece.filled());
        let scan = self.scanner.scan(&self.held);
        self.good = scan.good;
        self.refused = scan.refused;
        self.watch.admit(self.scanner.heads());
        Poll::Ready(Ok(()))
    }

    /// Passes on what is held and good.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let octets = self.good.min(buf.remaining());
        buf.put_slice(&self.held[..octets]);
        self.good -= octets;
        // Mostly all of it: a head that came in parts and nothing behind it.
        if octets == self.held.len() || (self.good == 0 && self.refused.is_some()) {
            self.held = Vec::new();
        } else {
            self.held.drain(..octets);
        }
    }

    fn refuse(&mut self, violation: Violation) -> Poll<io::Result<()>> {
        self.watch.refuse(violation);
        if self.scanner.is_in_body() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation)));
        }
        // hyper asks again once the exchange in flight has left.
        if self.watch.is_answering() {
            return Poll::Pending;
        }
        if matches!(self.farewell, Farewell::None) {
            self.farewell = Farewell::Due;
        }
        Poll::Ready(Ok(()))
    }

    /// Answers what was refused, if anything was, and ends the connection.
    pub(super) fn poll_shutdown<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.farewell, Farewell::None) {
            if !self.scanner.is_in_body() {
                return Pin::new(io).poll_shutdown(cx);
            }
            // It was answered before the end of its body, and may not have read that yet.
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
                Farewell::Due => {
                    let answer = self.refused.map(answer).unwrap_or_default();
                    self.farewell = Farewell::Writing(answer, 0);
                }
                Farewell::Writing(answer, written) if *written < answer.len() => {
                    let rest = &answer[*written..];
                    let octets = ready!(Pin::new(&mut *io).poll_write(cx, rest))?;
                    if octets == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    *written += octets;
                }
                Farewell::Writing(..) => {
                    ready!(Pin::new(&mut *io).poll_flush(cx))?;
                    self.farewell = Farewell::Closing;
                }
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

fn answer(violation: Violation) -> Vec<u8> {
    let phrase = reason_phrase(&violation.to_string());
    let body = format!("modtape: this request was refused: {violation}\n");
    let length = body.len();
    let head = format!(
        "HTTP/1.1 400 {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    (head + &body).into_bytes()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::super::Deadlines;
    use super::super::guard::Guard;
    use super::*;
    use crate::tls::Protocol;

    const GOOD: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    const BAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n";

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
            let (mut guard, mut far, watch, clock) = guarded();
            let (one, two) = both.split_at(cut);
            let write = async {
                far.write_all(one).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
                far.write_all(two).await.unwrap();
            };
            let read = async {
                let mut head = [0; GOOD.len()];
                guard.read_exact(&mut head).await.unwrap();
                assert_eq!(head, GOOD);
                // As long as that is not answered, hyper waits.
                let soon = tokio::time::timeout(Duration::from_secs(5), guard.read_u8()).await;
                assert!(soon.is_err(), "cut at {cut}");
                watch.begin();
                watch.end(clock.now());
                assert_eq!(guard.read(&mut [0; 9]).await.unwrap(), 0, "cut at {cut}");
            };
            tokio::join!(write, read);
            assert_eq!(watch.refused(), Some(Violation::RepeatedHost));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stays_after_the_refusal_is_given_two_seconds() {
        let (mut guard, mut far, _, clock) = guarded();
        far.write_all(BAD).await.unwrap();
        assert_eq!(guard.read(&mut [0; 9]).await.unwrap(), 0);
        let before = clock.now();
        guard.shutdown().await.unwrap();
        let waited = clock.now().since(before);
        assert!((2..3).contains(&waited.as_secs()), "{waited:?}");
        let mut answer = String::new();
        drop(guard);
        far.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 modtape: Host stands twice\r\n"));
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
