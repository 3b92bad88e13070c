//! Lets through to hyper what `framing` has found good, and stands in for the rest.
//!
//! A head passes when it is there as a whole; until then its first part is held. In place of a
//! refused head hyper gets a request for the same, without its fields, which the handler answers
//! with 400 once what came before is answered; then an end. The client gets the time to read it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::super::io::linger::{LINGER, poll_drain};
use super::framing::{Field, Scanner, Violation, encode_target, is_token};
use super::watch::Watch;
use crate::clock::Clock;

/// How much is read at a time behind a part of a head.
const PIECE: usize = 4 * 1024;

/// Stands in front of hyper on an HTTP/1 client leg.
#[derive(Debug)]
pub(crate) struct Sieve {
    watch: Arc<Watch>,
    scanner: Scanner,
    /// Read, and not passed on; empty but for a head that comes in parts.
    held: Vec<u8>,
    /// The first of them, which may pass.
    good: usize,
    refused: Option<Violation>,
    /// What hyper gets in place of the head that was refused.
    stand_in: Option<Vec<u8>>,
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

impl Sieve {
    pub(crate) fn new(watch: &Arc<Watch>) -> Self {
        Self {
            watch: Arc::clone(watch),
            scanner: Scanner::default(),
            held: Vec::new(),
            good: 0,
            refused: None,
            stand_in: None,
            farewell: Farewell::None,
            timer: None,
        }
    }

    /// Reads what may pass; an end where something is refused.
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
            if let Some(violation) = self.refused {
                return self.refuse(violation, buf);
            }
            if !self.held.is_empty() {
                ready!(self.poll_more(io, clock, cx))?;
                if self.held.is_empty() && self.refused.is_none() {
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
            match scan.refused {
                None => self.held.extend_from_slice(&fresh[scan.good..]),
                Some(Violation::RawTarget) => {
                    self.held.extend_from_slice(&fresh[scan.good..]);
                    self.scanner.start_over();
                    self.look();
                }
                Some(violation) => self.stops(violation, &fresh[scan.good..]),
            }
            self.watch.admit(self.scanner.heads());
            buf.set_filled(before + scan.good);
            if scan.good > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// True while the first part of a head is here.
    pub(crate) const fn holds(&self) -> bool {
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
        self.look();
        self.watch.admit(self.scanner.heads());
        Poll::Ready(Ok(()))
    }

    /// Looks at what is held.
    fn look(&mut self) {
        self.good = 0;
        loop {
            let scan = self.scanner.scan(&self.held[self.good..]);
            self.good += scan.good;
            match scan.refused {
                None => return,
                Some(Violation::RawTarget) if encode_target(&mut self.held, self.good) => {
                    self.scanner.start_over();
                }
                Some(violation) => {
                    let rest = self.held.split_off(self.good);
                    return self.stops(violation, &rest);
                }
            }
        }
    }

    /// Nothing passes any more of what begins with `octets`.
    fn stops(&mut self, violation: Violation, octets: &[u8]) {
        self.refused = Some(violation);
        self.stand_in = Some(stand_in(octets));
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

    fn refuse(&mut self, violation: Violation, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.scanner.is_in_body() {
            self.watch.refuse(violation);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation)));
        }
        // hyper asks again once the exchange in flight has left.
        if self.watch.is_answering() {
            return Poll::Pending;
        }
        self.watch.refuse(violation);
        if let Some(head) = self.stand_in.take() {
            self.watch.admit(self.scanner.heads() + 1);
            self.held = head;
            self.good = self.held.len();
            self.give(buf);
        }
        Poll::Ready(Ok(()))
    }
    /// Ends the connection; a client that may still be sending is given the time to read its answer.
    pub(crate) fn poll_shutdown<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.farewell, Farewell::None) {
            if self.refused.is_none() && !self.scanner.is_in_body() {
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

/// A request for what a refused head asks for, as far as that can be told, and with the fields that
/// say of whom and on whose behalf.
fn stand_in(octets: &[u8]) -> Vec<u8> {
    let octets = octets.strip_prefix(b"\r\n").unwrap_or(octets);
    let octets = &octets[..octets.len().min(STAND_IN_OCTETS)];
    let lines = octets.split(|octet| *octet == b'\n');
    let mut lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines
        .next()
        .unwrap_or_default()
        .split(|octet| *octet == b' ');
    let method = words
        .next()
        .filter(|word| is_token(word) && *word != b"CONNECT");
    let target = words.next().filter(|target| target.starts_with(b"/"));
    let encoded = percent_encode(target.unwrap_or(b"/"), TARGET).to_string();
    let mut head = method.unwrap_or(b"GET").to_vec();
    head.extend_from_slice(format!(" {encoded} HTTP/1.1\r\n").as_bytes());
    let fields = lines.map_while(|line| Field::parse(line).ok());
    let mut named = false;
    for field in fields {
        let is_host = field.is("host") && !std::mem::replace(&mut named, true);
        if is_host || field.is("proxy-authorization") {
            head.extend_from_slice(&[field.name, b": ", field.value, b"\r\n"].concat());
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// How much of a refused head is looked at for its stand-in.
const STAND_IN_OCTETS: usize = 16 * 1024;

/// What `http::Uri` does not take in a target.
const TARGET: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'`');

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::super::super::deadlines::Deadlines;
    use super::super::Guard;
    use super::*;
    use crate::tls::Protocol;

    const GOOD: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    const STAND_IN: &[u8] = GOOD;
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
                // In its place comes a request that is answered with 400, and then an end.
                let mut stand_in = vec![0; 99];
                let length = guard.read(&mut stand_in).await.unwrap();
                assert_eq!(&stand_in[..length], STAND_IN, "cut at {cut}");
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
        guard.read_exact(&mut [0; STAND_IN.len()]).await.unwrap();
        let before = clock.now();
        guard.shutdown().await.unwrap();
        let waited = clock.now().since(before);
        assert!((2..3).contains(&waited.as_secs()), "{waited:?}");
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
