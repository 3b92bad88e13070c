//! The one place that picks the crypto provider, the roots, ALPN and session handling.
//!
//! Upstream verification is never off: there is no type here that could switch it off. The errors
//! of a peer are sentences for people, see [`in_words`].

mod certificate;
mod errors;
mod observe;
mod pair;
mod provider;
mod roots;
mod verify;

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, KeyLog, ServerConfig};

pub(crate) use certificate::issuer;
pub(crate) use errors::{alert_name, in_words, readable};
pub(crate) use observe::{Hello, Seen, SeenCertificate, hello_bytes, watched};
pub(crate) use pair::{PairError, listener_config};
pub use provider::{provider, random};
pub use roots::{RootSources, Roots, RootsError};
pub(crate) use verify::Distrust;

/// The first byte of a TLS handshake record (RFC 8446 section 5.1).
pub(crate) const HANDSHAKE: u8 = 22;

/// The application protocols that modtape supports (RFC 7301 identifiers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `http/1.1`
    Http1,
    /// `h2`
    H2,
}

impl Protocol {
    /// The identifier on the wire.
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::H2 => b"h2",
        }
    }

    /// The protocol of an identifier, if it is supported.
    pub(crate) fn from_alpn(identifier: &[u8]) -> Option<Self> {
        [Self::Http1, Self::H2]
            .into_iter()
            .find(|protocol| protocol.alpn() == identifier)
    }

    /// The identifier as text.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::H2 => "h2",
        }
    }
}

/// Upstream TLS settings, one per set of offered protocols; all share one session store.
#[derive(Debug, Clone)]
pub struct ClientConfigs {
    base: ClientConfig,
}

impl ClientConfigs {
    /// Settings that trust `roots` and nothing else.
    pub fn new(roots: &Roots) -> Self {
        let verifier = observe::verifier(roots);
        let mut base = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has TLS 1.2 and 1.3 suites")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        base.resumption = Resumption::in_memory_sessions(256);
        Self { base }
    }

    /// The same, with the secrets of each connection logged to `key_log`.
    #[must_use]
    pub(crate) fn logging_keys(mut self, key_log: Arc<dyn KeyLog>) -> Self {
        self.base.key_log = key_log;
        self
    }

    /// Settings that offer `protocols`, in this order; none means no ALPN extension.
    pub fn offering(&self, protocols: &[Protocol]) -> Arc<ClientConfig> {
        offer(self.base.clone(), protocols)
    }
}

/// The settings with these protocols offered, in this order.
pub(crate) fn offer(mut config: ClientConfig, protocols: &[Protocol]) -> Arc<ClientConfig> {
    config.alpn_protocols = protocols.iter().map(|p| p.alpn().to_vec()).collect();
    Arc::new(config)
}

/// Client-leg TLS settings for one leaf; no tickets, since Go never resumes and each costs 80 µs.
pub(crate) fn server_config(
    leaf: Arc<CertifiedKey>,
    protocols: &[Protocol],
    key_log: &Arc<dyn KeyLog>,
) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3 suites")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(leaf)));
    config.alpn_protocols = protocols.iter().map(|p| p.alpn().to_vec()).collect();
    config.key_log = Arc::clone(key_log);
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Arc::new(config)
}

/// `TLSv1_3` as people and Wireshark write it: `TLS 1.3`.
pub(crate) fn version_name(version: rustls::ProtocolVersion) -> &'static str {
    match version {
        rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3",
        rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2",
        _ => "TLS",
    }
}
