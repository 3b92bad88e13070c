//! The certificate authority of one run: root, issuer, leafs, and the bundle that the child trusts.
//!
//! Keys are in memory only, and the root's only until the issuer is signed. Root and issuer can
//! sign for the intercepted hosts and nothing else: both have critical name constraints (RFC 5280
//! section 4.2.1.10), since some verifiers ignore those of a root (Java). No system trust store is
//! ever changed.

mod authority;
mod bundle;
mod key;
mod leaf;

pub use authority::{CaError, CertificateAuthority, Scope};
pub(crate) use bundle::Bundle;
pub use bundle::to_pem;
pub use leaf::Leafs;
