//! What a scripted origin saw and did; tests assert on it and wait for it.
//!
//! An entry appears when a request head has arrived and is filled in as its answer is given.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use http::{HeaderMap, Method, Version};

/// Everything an origin has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// One entry per accepted TCP connection, in order; the index is its `id`.
    pub connections: Vec<ConnectionSeen>,
    /// One entry per request head, in order of arrival.
    pub requests: Vec<Served>,
    /// Handshakes that did not end well, in order.
    pub tls_failures: Vec<TlsFailure>,
}

/// One accepted connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionSeen {
    /// Its number, from 0.
    pub id: u64,
    /// The name in the ClientHello.
    pub sni: Option<String>,
    /// The ALPN protocols that the client offered, in its order.
    pub offered_alpn: Vec<String>,
    /// The protocol that was chosen.
    pub alpn: Option<String>,
    /// The TLS version, as rustls names it (`TLSv1_3`); `None` for clear text.
    pub tls: Option<String>,
    /// Whether a TLS session was resumed.
    pub is_resumed: bool,
    /// Whether it has ended.
    pub is_closed: bool,
}

/// One handshake that failed.
#[derive(Clone, Debug)]
pub struct TlsFailure {
    /// The connection's number.
    pub connection: u64,
    /// The name in the ClientHello, if one was read.
    pub sni: Option<String>,
    /// What went wrong, in rustls' words.
    pub error: String,
}

/// One request and what was answered.
#[derive(Clone, Debug)]
pub struct Served {
    /// The number of its connection.
    pub connection: u64,
    /// From `:authority`, the absolute URI or `Host`; without the port, in lower case.
    pub host: String,
    /// As sent.
    pub method: Method,
    /// Percent-decoded once, without the query.
    pub path: String,
    /// As sent, with the query.
    pub raw_path: String,
    /// The protocol version of the request.
    pub version: Version,
    /// As received, after the HTTP library's parsing.
    pub headers: HeaderMap,
    /// Bytes of the request's body that arrived.
    pub request_bytes: u64,
    /// SHA-256 of the request's body, once it has arrived whole.
    pub request_sha256: Option<String>,
    /// The status, once the head was given to the connection.
    pub status: Option<u16>,
    /// Body bytes handed to the connection (as encoded, without framing).
    pub body_bytes: u64,
    /// SHA-256 of those bytes, once the answer is over.
    pub body_sha256: Option<String>,
    /// Whether the end of the body (and the trailers) was handed to the connection. The transport
    /// may still hold some bytes.
    pub is_complete: bool,
    /// Whether nothing more will happen: complete, cut by a rule, or the client has left.
    pub is_over: bool,
}

/// The log behind its lock, with a bell for those who wait.
#[derive(Default)]
pub struct Ledger {
    log: Mutex<Log>,
    changed: Condvar,
}

impl Ledger {
    /// A copy of the log as it stands.
    pub fn snapshot(&self) -> Log {
        self.lock().clone()
    }

    /// Changes the log and wakes those who wait.
    pub fn update<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Blocks until `is_met` holds, and gives the log that met it.
    ///
    /// Panics after `limit`, with the log in the message.
    pub fn wait_for(&self, is_met: impl Fn(&Log) -> bool, limit: Duration) -> Log {
        let (log, waited) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |log| !is_met(log))
            .expect("no panic while locked");
        assert!(
            !waited.timed_out(),
            "not seen within {limit:?}: {:#?}",
            *log
        );
        log.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no panic while locked")
    }
}
