//! The certificate chain and the key of a server of our own, from PEM.

use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{NoKeyLog, ServerConfig};

use super::{Protocol, provider, server_config};

/// Why a chain and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    /// There is no certificate in its file.
    #[error("it holds no PEM certificate")]
    NoCertificate,
    /// Its file is damaged.
    #[error("it is no valid PEM: {0}")]
    Certificate(pem::Error),
    /// There is no key in its file.
    #[error("it holds no PEM private key")]
    NoKey,
    /// A passphrase stands before it, and nobody is there to type it.
    #[error(
        "its key is encrypted: write it without a passphrase, in a file that only the server reads"
    )]
    Encrypted,
    /// Its file is damaged.
    #[error("it is no valid PEM: {0}")]
    Key(pem::Error),
    /// They do not belong together, or the provider does not know the key's algorithm.
    #[error("they do not fit: {0}")]
    Unfit(rustls::Error),
}

impl PairError {
    /// Whether the file of the certificates is to blame, and not that of the key; `None` if both are.
    pub(crate) const fn is_of_certificate(&self) -> Option<bool> {
        match self {
            Self::NoCertificate | Self::Certificate(_) => Some(true),
            Self::NoKey | Self::Encrypted | Self::Key(_) => Some(false),
            Self::Unfit(_) => None,
        }
    }
}

/// The settings of a listener that shows this chain: HTTP/2 to those who offer it, else HTTP/1.1.
///
/// `chain` has the server's own certificate first, as servers send it; `key` is PKCS #8, PKCS #1 or SEC 1.
pub(crate) fn listener_config(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, PairError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let certificates = certificates.map_err(PairError::Certificate)?;
    if certificates.is_empty() {
        return Err(PairError::NoCertificate);
    }
    let is_encrypted = || {
        let mark = b"ENCRYPTED";
        key.windows(mark.len()).any(|bytes| bytes == mark)
    };
    let key = match PrivateKeyDer::from_pem_slice(key) {
        Ok(key) => key,
        Err(_) if is_encrypted() => return Err(PairError::Encrypted),
        Err(pem::Error::NoItemsFound) => return Err(PairError::NoKey),
        Err(error) => return Err(PairError::Key(error)),
    };
    let pair = CertifiedKey::from_der(certificates, key, &provider());
    let pair = Arc::new(pair.map_err(PairError::Unfit)?);
    let protocols = [Protocol::H2, Protocol::Http1];
    Ok(server_config(
        pair,
        &protocols,
        &(Arc::new(NoKeyLog {}) as _),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_is_used_and_what_is_wrong_with_another_is_told() {
        let (chain, key) = pair();
        let config = listener_config(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(config.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let damaged = chain.replace("-----END", "---END");
        for (chain, key, told) in [
            ("", key.as_str(), "it holds no PEM certificate"),
            (&key, &key, "it holds no PEM certificate"),
            (&chain, "", "it holds no PEM private key"),
            (&chain, &chain, "it holds no PEM private key"),
            (&chain, encrypted, "its key is encrypted"),
            (&damaged, &key, "it is no valid PEM"),
            (&chain, &pair().1, "they do not fit: "),
        ] {
            let error = listener_config(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with(told), "{error}");
        }
    }
}
