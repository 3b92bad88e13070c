//! The bundle that the command trusts: the roots that it would use anyway, and the root of the run.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::CertificateDer;

/// A PEM file in a private folder, which is removed on drop.
#[derive(Debug)]
pub(crate) struct Bundle {
    dir: PathBuf,
    path: PathBuf,
}

impl Bundle {
    /// Writes `roots` and then `own` to `bundle.pem` (mode 0600) in the folder `dir`, which only
    /// the user can enter.
    pub(crate) fn write(
        dir: &Path,
        roots: &[CertificateDer<'_>],
        own: &CertificateDer<'_>,
    ) -> io::Result<Self> {
        let bundle = Self {
            dir: dir.to_owned(),
            path: dir.join("bundle.pem"),
        };
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&bundle.path)?;
        let text: String = roots.iter().chain([own]).map(to_pem).collect();
        file.write_all(text.as_bytes())?;
        Ok(bundle)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // It contains only public certificates, so a leftover after a crash does no harm.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A certificate in PEM (RFC 7468).
pub fn to_pem(certificate: &CertificateDer<'_>) -> String {
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new("CERTIFICATE", certificate.as_ref()), lines)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn the_bundle_holds_every_root_and_ours_and_goes_with_its_owner() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("run");
        fs::create_dir(&dir).unwrap();
        let roots = [
            CertificateDer::from(vec![1; 100]),
            CertificateDer::from(vec![2; 3]),
        ];
        let own = CertificateDer::from(vec![3; 48]);
        let bundle = Bundle::write(&dir, &roots, &own).unwrap();
        let read: Vec<_> = CertificateDer::pem_file_iter(bundle.path())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(read, [roots[0].clone(), roots[1].clone(), own]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(bundle.path()), 0o600);
        drop(bundle);
        assert!(!dir.exists());
    }
}
