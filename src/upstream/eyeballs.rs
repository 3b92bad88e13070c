//! Racing addresses of both families (RFC 8305), each try timed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::failure;
use super::journey::{Hear, NO_ANSWER, News, Try, end_race, is_pending};
use crate::capture::{Capture, Wire};
use crate::clock::Clock;
use crate::sockets::OwnSockets;

/// How long the next attempt waits for an answer to the one before: RFC 8305 section 5 recommends
/// 250 ms; the go command waits 300.
const HEAD_START: Duration = Duration::from_millis(250);

/// Keep-alive as Go's: `Dialer.KeepAlive` of `http.DefaultTransport`, and the defaults of
/// `net.KeepAliveConfig` (Go 1.23 and later).
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 9;

/// A race of connection attempts, and its observers.
pub(super) struct Race<'a> {
    /// Stamps each attempt.
    pub(super) clock: &'a Clock,
    /// Is told of each attempt and of the winner.
    pub(super) hear: Hear<'a>,
    /// The live capture, if packets are captured.
    pub(super) capture: Option<&'a Capture>,
    /// Knows each socket.
    pub(super) sockets: &'a OwnSockets,
}

impl Race<'_> {
    /// Connects to the first address that answers; `None` if none does. Each attempt is noted when
    /// it begins, so that it is known even if the dial is given up before it ends.
    pub(super) async fn run(&self, addresses: &[SocketAddr], tries: &mut Vec<Try>) -> Option<Wire> {
        let Self { clock, hear, .. } = self;
        let mut waiting = interleave(addresses).into_iter();
        let mut running: JoinSet<(SocketAddr, io::Result<Wire>)> = JoinSet::new();
        let mut next = waiting.next();
        let winner = loop {
            if let Some(addr) = next.take() {
                tries.push(Try {
                    addr,
                    started: clock.now(),
                    took_us: 0,
                    error: Some(NO_ANSWER.to_owned()),
                    failure: None,
                });
                hear(News::Trying(addr));
                let (capture, sockets) = (self.capture.cloned(), self.sockets.clone());
                running.spawn(async move {
                    (addr, Wire::connect(addr, capture.as_ref(), &sockets).await)
                });
            }
            let outcome = tokio::select! {
                outcome = running.join_next() => outcome,
                () = tokio::time::sleep(HEAD_START), if waiting.len() > 0 => {
                    next = waiting.next();
                    continue;
                }
            };
            match outcome {
                Some(Ok((addr, Ok(stream)))) => {
                    note(clock, tries, addr, None);
                    hear(News::Connected(addr));
                    break Some(stream);
                }
                Some(Ok((addr, Err(error)))) => {
                    note(clock, tries, addr, Some(&error));
                    next = waiting.next();
                }
                Some(Err(_)) => next = waiting.next(),
                None => break None,
            }
        };
        end_race(clock, tries);
        if let Some(stream) = &winner {
            // Head and body are written separately: with Nagle's algorithm the second would wait
            // for an ACK.
            let _ = stream.socket().set_nodelay(true);
            keep_alive(stream.socket());
        }
        winner
    }
}

fn note(clock: &Clock, tries: &mut [Try], addr: SocketAddr, error: Option<&io::Error>) {
    // A resolver may return an address twice.
    let open = |tried: &&mut Try| tried.addr == addr && is_pending(tried);
    if let Some(tried) = tries.iter_mut().find(open) {
        tried.took_us = clock.now().micros_since(tried.started);
        tried.error = error.map(ToString::to_string);
        tried.failure = error.map(failure::of_tcp);
    }
}

/// Turns on TCP keep-alive as Go's transport does (net/http `DefaultTransport`), so that a dead
/// connection is noticed as it would be without modtape. It is used on the client leg too, as Go's
/// servers do.
pub(crate) fn keep_alive(stream: &TcpStream) {
    use rustix::net::sockopt;
    // If a system does not support it, the connection works without.
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, PROBE_AFTER);
    let _ = sockopt::set_tcp_keepintvl(stream, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepcnt(stream, PROBES);
}

/// The families alternate, beginning with the one that the resolver put first (section 4).
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else {
        return Vec::new();
    };
    let same = |address: &&SocketAddr| address.is_ipv6() == first.is_ipv6();
    let mut preferred = addresses.iter().filter(same);
    let mut other = addresses.iter().filter(|address| !same(address));
    let mut order = Vec::with_capacity(addresses.len());
    loop {
        let pair = (preferred.next(), other.next());
        order.extend(pair.0.into_iter().chain(pair.1));
        if pair == (None, None) {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::journey::tries_text;
    use super::*;

    #[test]
    fn families_alternate_beginning_with_the_first() {
        let v6 = ["[2001:db8::1]:1", "[2001:db8::2]:1"].map(|a| a.parse().unwrap());
        let v4 = ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"].map(|a| a.parse().unwrap());
        let all = [v6[0], v6[1], v4[0], v4[1], v4[2]];
        assert_eq!(interleave(&all), [v6[0], v4[0], v6[1], v4[1], v4[2]]);
        assert_eq!(interleave(&[]), []);
    }

    #[tokio::test]
    async fn a_refused_address_is_noted_and_the_next_one_taken_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = {
            let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap()
        };
        let mut tries = Vec::new();
        let race = Race {
            clock: &Clock::start(),
            hear: &|_| (),
            capture: None,
            sockets: &OwnSockets::default(),
        };
        let stream = race.run(&[closed, open], &mut tries).await.unwrap();
        assert_eq!(stream.socket().peer_addr().unwrap(), open);
        assert!(rustix::net::sockopt::socket_keepalive(stream.socket()).unwrap());
        assert_eq!(tries.len(), 2);
        assert!(tries[0].error.is_some() && tries[1].error.is_none());
        assert!(
            tries_text(&tries[..1]).contains("refused"),
            "{}",
            tries_text(&tries)
        );
    }
}
