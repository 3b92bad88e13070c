//! The certificate authority of one run: root, issuer, leafs, and the bundle that the child trusts.
//!
//! Keys live in memory only, and the root's no longer than it takes to sign the issuer. Root and
//! issuer can vouch for the intercepted hosts and nothing else: both carry critical name
//! constraints (RFC 5280 section 4.2.1.10), since some verifiers ignore those of a root (Java).
//! No system trust store is ever touched.

mod authority;
mod bundle;
mod key;
mod leaf;

pub use authority::{CaError, CertificateAuthority, Scope};
pub(crate) use bundle::Bundle;
pub use bundle::to_pem;
pub use leaf::Leafs;
