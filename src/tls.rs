//! The one place that picks the crypto provider, the roots, ALPN and session handling.
//!
//! Upstream verification is never off: there is no type here that could switch it off. What is wrong
//! with a peer is said in a person's words, see [`in_words`].

mod certificate;
mod verify;
mod words;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, KeyLog, RootCertStore, ServerConfig};

pub(crate) use words::{alert_name, in_words, plain};

/// The first octet of a TLS handshake record (RFC 8446 section 5.1).
pub(crate) const HANDSHAKE: u8 = 22;

/// The application protocols that we speak (RFC 7301 identifiers).
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

    /// The protocol of an identifier, if it is one of ours.
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

/// aws-lc-rs with AES-128-GCM first: SHA-384's key schedule has no hardware path on common CPUs.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| {
        let mut provider = aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .sort_by_key(|suite| !format!("{:?}", suite.suite()).contains("AES_128_GCM"));
        Arc::new(provider)
    });
    Arc::clone(provider)
}

/// Fills `octets` from the provider's random generator.
pub fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    provider()
        .secure_random
        .fill(&mut octets)
        .expect("the operating system gives random numbers");
    octets
}

/// Where roots come from, as Go on Linux reads them (crypto/x509/root_unix.go).
#[derive(Debug, Clone, Default)]
pub struct RootSources {
    /// `SSL_CERT_FILE`: replaces the list of well-known bundles.
    pub file: Option<PathBuf>,
    /// `SSL_CERT_DIR`: replaces the list of well-known folders; separated by `:`.
    pub dirs: Option<OsString>,
    /// `--upstream-ca`: added to whatever the system has.
    pub extra: Vec<PathBuf>,
}

/// A file named by the user that holds no certificate.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// It cannot be read.
    #[error("cannot read the certificates in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// It was read, and nothing in it is a certificate.
    #[error("{} holds no PEM certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The trusted roots, once each.
#[derive(Debug, Clone)]
pub struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
}

impl Roots {
    /// Reads the same set as Go would, and the user's own files on top.
    pub fn load(sources: &RootSources) -> Result<Self, RootsError> {
        let mut certificates = system_roots(sources);
        for path in &sources.extra {
            let own = read_pem(path)?;
            if own.is_empty() {
                return Err(RootsError::Empty { path: path.clone() });
            }
            certificates.extend(own);
        }
        let mut seen = std::collections::HashSet::new();
        certificates.retain(|certificate| seen.insert(certificate.clone()));
        let mut store = RootCertStore::empty();
        let signing = certificates.iter().filter(|root| verify::is_anchor(root));
        store.add_parsable_certificates(signing.cloned());
        Ok(Self {
            certificates,
            store: Arc::new(store),
        })
    }

    /// The certificates, in the order in which they were read.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

#[cfg(all(unix, not(target_vendor = "apple")))]
fn system_roots(sources: &RootSources) -> Vec<CertificateDer<'static>> {
    /// crypto/x509/root_linux.go `certFiles`: the first that can be read is taken.
    const FILES: [&str; 6] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/tls/cacert.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    /// crypto/x509/root_linux.go `certDirectories`: all of them are read, in addition.
    const DIRS: &str = "/etc/ssl/certs:/etc/pki/tls/certs";

    let files = match &sources.file {
        Some(file) => vec![file.clone()],
        None => FILES.iter().map(PathBuf::from).collect(),
    };
    let mut certificates = files
        .iter()
        .find_map(|file| read_pem(file).ok())
        .unwrap_or_default();
    let dirs = sources.dirs.clone().unwrap_or_else(|| DIRS.into());
    for dir in std::env::split_paths(&dirs) {
        let Ok(entries) = fs::read_dir(dir) else {
            continue;
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        // Links within the folder are the same certificates under their hashed names
        // (`isSameDirSymlink`); what a mounted secret links to lies below, `..data/ca.pem`.
        paths.retain(|path| {
            let leads_away = |to: PathBuf| to.as_os_str().as_encoded_bytes().contains(&b'/');
            !path.is_symlink() || fs::read_link(path).is_ok_and(leads_away)
        });
        certificates.extend(
            paths
                .iter()
                .flat_map(|path| read_pem(path).unwrap_or_default()),
        );
    }
    certificates
}

#[cfg(not(all(unix, not(target_vendor = "apple"))))]
fn system_roots(sources: &RootSources) -> Vec<CertificateDer<'static>> {
    // Go from 1.27 on reads the variables here too, and then only them.
    if sources.file.is_some() || sources.dirs.is_some() {
        let file = sources.file.as_deref();
        let dir = sources.dirs.as_ref().map(Path::new);
        return rustls_native_certs::load_certs_from_paths(file, dir).certs;
    }
    rustls_native_certs::load_native_certs().certs
}

fn read_pem(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let error = |source| RootsError::Read {
        path: path.to_owned(),
        source,
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(error)?;
    Ok(certificates.flatten().collect())
}

/// Upstream TLS settings, one per set of offered protocols; all share one session store.
#[derive(Debug, Clone)]
pub struct ClientConfigs {
    base: ClientConfig,
}

impl ClientConfigs {
    /// Settings that trust `roots` and nothing else.
    pub fn new(roots: &Roots) -> Self {
        let store = Arc::clone(&roots.store);
        let webpki = WebPkiServerVerifier::builder_with_provider(store, provider());
        // It fails where not one root may sign; one that a server shows itself is trusted still.
        let verifier = verify::Verifier::new(webpki.build().ok(), &roots.certificates);
        let mut base = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has TLS 1.2 and 1.3 suites")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        base.resumption = Resumption::in_memory_sessions(256);
        Self { base }
    }

    /// The same, telling `key_log` the secrets of each connection.
    #[must_use]
    pub(crate) fn telling_keys(mut self, key_log: Arc<dyn KeyLog>) -> Self {
        self.base.key_log = key_log;
        self
    }

    /// Settings that offer `protocols`, in this order; none means no ALPN extension.
    pub fn offering(&self, protocols: &[Protocol]) -> Arc<ClientConfig> {
        let mut config = self.base.clone();
        config.alpn_protocols = protocols.iter().map(|p| p.alpn().to_vec()).collect();
        Arc::new(config)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_is_offered_first() {
        let suites: Vec<_> = provider()
            .cipher_suites
            .iter()
            .map(|suite| format!("{:?}", suite.suite()))
            .collect();
        assert_eq!(suites[0], "TLS13_AES_128_GCM_SHA256", "{suites:?}");
    }

    #[test]
    fn a_named_file_without_a_certificate_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sources = RootSources {
            extra: vec![file.path().to_owned()],
            ..RootSources::default()
        };
        let error = Roots::load(&sources).unwrap_err().to_string();
        assert!(error.ends_with("holds no PEM certificate"), "{error}");
        let sources = RootSources {
            extra: vec!["/does/not/exist.pem".into()],
            ..RootSources::default()
        };
        assert!(Roots::load(&sources).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_link_within_the_folder_is_passed_over_and_one_that_leads_away_is_not() {
        use std::os::unix::fs::symlink;
        let temp = tempfile::tempdir().unwrap();
        let mounted = temp.path().join("..data");
        fs::create_dir(&mounted).unwrap();
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/certs/test-root.pem");
        fs::copy(root, mounted.join("ca.pem")).unwrap();
        let loaded = || {
            let sources = RootSources {
                file: Some(PathBuf::from("/does/not/exist")),
                dirs: Some(temp.path().into()),
                extra: Vec::new(),
            };
            Roots::load(&sources).unwrap().certificates().len()
        };
        symlink("ca.pem", temp.path().join("2f0c.0")).unwrap();
        assert_eq!(loaded(), 0);
        // As Kubernetes mounts a secret.
        symlink("..data/ca.pem", temp.path().join("ca.pem")).unwrap();
        assert_eq!(loaded(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_variables_replace_files_and_folders_apart_as_in_go() {
        let missing = || Some(PathBuf::from("/does/not/exist"));
        let nothing = RootSources {
            file: missing(),
            dirs: Some("/does/not/exist".into()),
            extra: Vec::new(),
        };
        assert_eq!(Roots::load(&nothing).unwrap().certificates().len(), 0);
    }
}
