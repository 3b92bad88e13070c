//! The roots that upstreams are verified by: the same that Go would read, and the user's own.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};

use super::verify;

/// As much of a file is read, bytes: a bundle of all public roots has 250 kB, a device has no end.
const LARGEST: u64 = 64 << 20;

/// Where roots come from, as Go on Linux reads them (crypto/x509/root_unix.go).
#[derive(Debug, Clone, Default)]
pub struct RootSources {
    /// `SSL_CERT_FILE`: replaces the list of well-known bundles.
    pub file: Option<PathBuf>,
    /// `SSL_CERT_DIR`: replaces the list of well-known folders; separated by `:`.
    pub dirs: Option<OsString>,
    /// `--upstream-ca`: added to the roots of the system.
    pub extra: Vec<PathBuf>,
}

/// Why the certificates of a file that the user named cannot be used.
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
    /// It contains no certificate.
    #[error("{} holds no PEM certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The trusted roots, once each.
#[derive(Debug, Clone)]
pub struct Roots {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) store: Arc<RootCertStore>,
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
        // (`isSameDirSymlink`); a mounted secret links to a folder below, `..data/ca.pem`.
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
    let file = fs::File::open(path).map_err(|source| error(pem::Error::Io(source)))?;
    let certificates = CertificateDer::pem_reader_iter(file.take(LARGEST));
    // Of a folder the opening is no error, but the reading is.
    let mut read = Vec::new();
    for certificate in certificates {
        match certificate {
            Ok(certificate) => read.push(certificate),
            Err(source @ pem::Error::Io(_)) => return Err(error(source)),
            Err(_) => {}
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

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
