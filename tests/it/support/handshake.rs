//! What an origin does with a ClientHello, host by host: certificates, protocols, delays.
//!
//! The first that matches and is not used up decides.

use std::time::Duration;

use super::certs::Leaf;
use super::origin::Alpn;
use super::rules::{Instead, Uses};

/// A scripted handshake for the hosts that it matches.
#[derive(Clone, Debug)]
pub struct Handshake {
    host: Option<String>,
    uses: Uses,
    /// Waited between the ClientHello and the answer to it.
    pub(super) delay: Duration,
    pub(super) instead: Option<Instead>,
    pub(super) resets_after: bool,
    pub(super) leaf: Leaf,
    pub(super) alpn: Option<Alpn>,
    pub(super) max_requests: Option<usize>,
}

impl Handshake {
    /// For connections whose ClientHello names that host.
    pub fn host(host: &str) -> Self {
        Self {
            host: Some(host.to_owned()),
            ..Self::any()
        }
    }

    /// For all connections.
    pub fn any() -> Self {
        Self {
            host: None,
            uses: Uses::default(),
            delay: Duration::ZERO,
            instead: None,
            resets_after: false,
            leaf: Leaf::Good,
            alpn: None,
            max_requests: None,
        }
    }

    /// Lets the first `n` matching connections pass.
    #[must_use]
    pub fn after(mut self, n: usize) -> Self {
        self.uses.skip = n;
        self
    }

    /// Is used for `n` connections only.
    #[must_use]
    pub fn times(mut self, n: usize) -> Self {
        self.uses.limit = n;
        self
    }

    /// Waits between the ClientHello and the ServerHello.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Never answers the ClientHello.
    #[must_use]
    pub fn silent(self) -> Self {
        Self {
            instead: Some(Instead::Silence),
            ..self
        }
    }

    /// Closes the connection when the ClientHello has come.
    #[must_use]
    pub fn hang_up(self) -> Self {
        Self {
            instead: Some(Instead::HangUp),
            ..self
        }
    }

    /// Resets the connection when the ClientHello has come.
    #[must_use]
    pub fn reset(self) -> Self {
        Self {
            instead: Some(Instead::Reset),
            ..self
        }
    }

    /// Resets the connection as soon as the handshake is complete.
    #[must_use]
    pub fn reset_after(self) -> Self {
        Self {
            resets_after: true,
            ..self
        }
    }

    /// Shows this kind of certificate.
    #[must_use]
    pub fn leaf(self, leaf: Leaf) -> Self {
        Self { leaf, ..self }
    }

    /// Chooses from these protocols instead of the origin's.
    #[must_use]
    pub fn alpn(self, alpn: Alpn) -> Self {
        Self {
            alpn: Some(alpn),
            ..self
        }
    }

    /// Ends the connection gracefully with the answer to its `n`-th request: `Connection: close`
    /// in HTTP/1.1, GOAWAY in HTTP/2.
    #[must_use]
    pub fn goaway_after(self, n: usize) -> Self {
        Self {
            max_requests: Some(n),
            ..self
        }
    }

    pub(super) fn takes(&self, sni: Option<&str>) -> bool {
        self.host.as_deref().is_none_or(|host| Some(host) == sni) && self.uses.take()
    }
}
