//! The steps of a dial: events while it goes on, and the record of it afterwards.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::clock::{Clock, Timestamp};
use crate::exchange::{DialFailure, Phase};
use crate::tls::Protocol;

/// The record of a dial. It is filled step by step, so that it is complete up to a failure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journey {
    /// When dialling began.
    pub(crate) started: Timestamp,
    /// The step that it reached.
    pub(crate) step: Step,
    /// Resolving, microseconds.
    pub(crate) dns_us: Option<u64>,
    /// TCP and parent proxy, microseconds.
    pub(crate) connect_us: Option<u64>,
    /// TLS, microseconds.
    pub(crate) tls_us: Option<u64>,
    /// Each address that was tried.
    pub(crate) tries: Vec<Try>,
    /// The parent proxy, without credentials.
    pub(crate) via: Option<String>,
    /// The remote address.
    pub(crate) addr: Option<SocketAddr>,
    /// The local address.
    pub(crate) local_addr: Option<SocketAddr>,
    /// The protocol that TLS negotiated.
    pub(crate) alpn: Option<Protocol>,
    /// The TLS version.
    pub(crate) tls: Option<&'static str>,
    /// Who issued the upstream's certificate.
    pub(crate) issuer: Option<String>,
    /// Why it led nowhere, if it did not.
    pub(crate) failure: Option<DialFailure>,
}

/// A part of dialling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Step {
    /// The name is looked up.
    #[default]
    Resolving,
    /// TCP is opened.
    Connecting,
    /// TCP is open, and the parent proxy has the request for a tunnel.
    Asking,
    /// The next hop leads to the target, which shakes hands where TLS follows.
    Connected,
}

/// A callback for each step of a dial.
pub(crate) type Hear<'a> = &'a (dyn Fn(News<'_>) + Send + Sync);

/// What happens while a dial goes on, for the live view.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News<'a> {
    /// The dial goes through this parent proxy, named without credentials.
    Through(&'a str),
    /// A phase begins.
    Entered(Phase),
    /// A further address is tried.
    Trying(SocketAddr),
    /// TCP is open.
    Connected(SocketAddr),
    /// The parent proxy has the request for a tunnel.
    Asking,
}

/// One attempt to connect.
#[derive(Debug, Clone)]
pub(crate) struct Try {
    /// The address.
    pub(crate) addr: SocketAddr,
    /// When the first SYN left.
    pub(crate) started: Timestamp,
    /// From the first SYN to the answer, or to the end of the race, microseconds.
    pub(crate) took_us: u64,
    /// What happened; `None` for the winner.
    pub(crate) error: Option<String>,
    /// The same as one word, once it is over.
    pub(crate) failure: Option<DialFailure>,
}

/// The error of an attempt until the address answers.
pub(super) const NO_ANSWER: &str = "no answer";

pub(super) fn is_pending(tried: &Try) -> bool {
    tried.error.as_deref() == Some(NO_ANSWER)
}

/// Notes the duration of the attempts that have no answer.
pub(super) fn end_race(clock: &Clock, tries: &mut [Try]) {
    for tried in tries.iter_mut().filter(|tried| is_pending(tried)) {
        tried.took_us = clock.now().micros_since(tried.started);
    }
}

/// The attempts in words: `192.0.2.1:443: Connection refused, [2001:db8::1]:443: no answer`.
pub(super) fn tries_text(tries: &[Try]) -> String {
    let mut text = String::new();
    for tried in tries {
        let comma = if text.is_empty() { "" } else { ", " };
        let error = tried.error.as_deref().unwrap_or("connected");
        let _ = write!(text, "{comma}{}: {error}", tried.addr);
    }
    text
}
