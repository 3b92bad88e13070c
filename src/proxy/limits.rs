//! How long a client connection may take for each of its phases, and how large a request head may be.

use std::time::Duration;

/// The longest request head, bytes, over HTTP/1 and HTTP/2.
pub(super) const HEAD_BYTES: u32 = 64 * 1024;

/// How long each phase of a client connection may take; upstream limits are the dialer's.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// The head of a CONNECT: from accept, or from the 407 that the one before was answered with.
    pub connect_head: Duration,
    /// The ClientHello, and then our handshake with the client.
    pub client_hello: Duration,
    /// A request head, from its first byte.
    pub request_head: Duration,
    /// A connection without a request.
    pub idle: Duration,
    /// A response of which the client reads no more.
    pub unread: Duration,
    /// The next part of a request body.
    pub request_body_idle: Duration,
    /// The upstream's reply to a request that expects 100 (Continue): then its body is sent without
    /// one (RFC 9110 section 10.1.1). Go and curl wait as long.
    pub expect_continue: Duration,
    /// A tunnel that carries nothing, either way.
    pub tunnel_idle: Duration,
    /// The upstream's silence while we are ready to read; `None` waits as the go command would.
    pub upstream_idle: Option<Duration>,
    /// How long after the handshake the first request still owns the dial.
    pub first_request: Duration,
    /// The resolver's answer whether a name leads to the address that a redirected client connected to;
    /// nothing waits for it but the record of the connection's end.
    pub name_lookup: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect_head: Duration::from_secs(10),
            client_hello: Duration::from_secs(10),
            request_head: Duration::from_secs(15),
            idle: Duration::from_secs(5 * 60),
            unread: Duration::from_secs(5 * 60),
            request_body_idle: Duration::from_secs(60),
            expect_continue: Duration::from_secs(1),
            tunnel_idle: Duration::from_secs(15 * 60),
            upstream_idle: None,
            first_request: Duration::from_secs(1),
            name_lookup: Duration::from_secs(2),
        }
    }
}
