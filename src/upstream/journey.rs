//! How a connection comes about: what is told while it goes on, and what is known of it afterwards.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::clock::{Clock, Timestamp};
use crate::exchange::Phase;
use crate::tls::Protocol;

/// How a connection came about; filled as the steps pass, so that a failure keeps what is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journey {
    /// When dialling began.
    pub(crate) started: Timestamp,
    /// How far it came.
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
    /// Where TCP connected to.
    pub(crate) addr: Option<SocketAddr>,
    /// Where TCP connected from.
    pub(crate) local_addr: Option<SocketAddr>,
    /// What TLS agreed on.
    pub(crate) alpn: Option<Protocol>,
    /// The TLS version.
    pub(crate) tls: Option<&'static str>,
}

/// A part of dialling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Step {
    /// The name is looked up.
    #[default]
    Resolving,
    /// TCP is opened.
    Connecting,
    /// TCP is open, and the parent proxy was asked.
    Asking,
}

/// Is called at each step of a dial.
pub(crate) type Hear<'a> = &'a (dyn Fn(News<'_>) + Send + Sync);

/// What happens while a dial goes on, for the live view.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News<'a> {
    /// It goes through this parent proxy, named without credentials.
    Through(&'a str),
    /// A phase begins.
    Entered(Phase),
    /// TCP to an address is tried, beside those before.
    Trying(SocketAddr),
    /// TCP is open.
    Connected(SocketAddr),
    /// The parent proxy was asked, and has to answer.
    Asking,
}

/// One address that was tried.
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
}

/// The error of a try until the address answers.
pub(super) const NO_ANSWER: &str = "no answer";

pub(super) fn is_pending(tried: &Try) -> bool {
    tried.error.as_deref() == Some(NO_ANSWER)
}

/// Notes for the addresses that have not answered how long they had.
pub(super) fn end_race(clock: &Clock, tries: &mut [Try]) {
    for tried in tries.iter_mut().filter(|tried| is_pending(tried)) {
        tried.took_us = clock.now().micros_since(tried.started);
    }
}

/// The tries in words: `192.0.2.1:443: Connection refused, [2001:db8::1]:443: no answer`.
pub(super) fn tries_text(tries: &[Try]) -> String {
    let mut text = String::new();
    for tried in tries {
        let comma = if text.is_empty() { "" } else { ", " };
        let error = tried.error.as_deref().unwrap_or("connected");
        let _ = write!(text, "{comma}{}: {error}", tried.addr);
    }
    text
}
