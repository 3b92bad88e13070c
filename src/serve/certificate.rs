//! The certificate that clients are shown; another one once its files have changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;

use crate::clock::{Clock, Timestamp};
use crate::files::read_small;
use crate::tls::{PairError, listener_config};

/// How long the files are taken to be as they were.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The largest file that is read, bytes: a chain has a few thousand.
const LIMIT: u64 = 1 << 20;

/// A chain and its key, in files that somebody renews.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: Files,
    clock: Clock,
    // A std Mutex: never held while a file is read.
    state: Mutex<State>,
}

/// Where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// The chain, the server's own certificate first.
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    /// What the files were when somebody looked last.
    seen: Stamps,
    looked: Timestamp,
}

/// What tells one pair of files from another: device, number, length and time of change of each.
type Stamps = [(u64, u64, u64, i64, i64); 2];

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a file holds is not what it should be.
    #[error("cannot use {}: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        why: PairError,
    },
    /// Each is valid, but not with the other.
    #[error("cannot use {} with the key {}: {why}", files.chain.display(), files.key.display())]
    Unfit {
        /// Both.
        files: Files,
        /// Why.
        why: PairError,
    },
}

impl Certificate {
    /// Reads the files.
    pub(crate) fn load(files: Files, clock: Clock) -> Result<Arc<Self>, CertificateError> {
        // Before they are read: what changes in between is read again.
        let seen = files.stamps()?;
        let state = State {
            config: files.read()?,
            seen,
            looked: clock.now(),
        };
        let state = Mutex::new(state);
        Ok(Arc::new(Self {
            files,
            clock,
            state,
        }))
    }

    /// The settings of a handshake that begins now. Files that cannot be used leave them as they were, aloud.
    pub(super) async fn config(self: &Arc<Self>) -> Arc<ServerConfig> {
        let now = self.clock.now();
        {
            let mut state = self.lock();
            if now.since(state.looked) < LOOK_AGAIN {
                return Arc::clone(&state.config);
            }
            // Who comes meanwhile takes what is there.
            state.looked = now;
        }
        let own = Arc::clone(self);
        let _ = tokio::task::spawn_blocking(move || own.look()).await;
        Arc::clone(&self.lock().config)
    }

    fn look(&self) {
        let changed = match self.files.stamps() {
            Ok(seen) if seen == self.lock().seen => return,
            Ok(seen) => self.files.read().map(|config| (config, Some(seen))),
            Err(error) => Err(error),
        };
        match changed {
            Ok((config, seen)) => {
                let mut state = self.lock();
                state.config = config;
                state.seen = seen.unwrap_or(state.seen);
                drop(state);
                let chain = self.files.chain.display();
                tracing::warn!(target: "modtape::serve", "{chain} is another certificate now, and is used");
            }
            // The other file may not be written yet: it is tried again.
            Err(error) => {
                let why = anyhow::Error::from(error);
                tracing::warn!(target: "modtape::serve", "{why:#}; the certificate stays as it was");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn stamps(&self) -> Result<Stamps, CertificateError> {
        let stamp = |path: &Path| match fs::metadata(path) {
            Ok(at) => Ok((at.dev(), at.ino(), at.len(), at.mtime(), at.mtime_nsec())),
            Err(source) => Err(unread(path, source)),
        };
        Ok([stamp(&self.chain)?, stamp(&self.key)?])
    }

    fn read(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let read = |path: &Path| read_small(path, LIMIT).map_err(|source| unread(path, source));
        let (chain, key) = (read(&self.chain)?, read(&self.key)?);
        listener_config(&chain, &key).map_err(|why| match why.is_of_certificate() {
            Some(true) => CertificateError::Invalid {
                path: self.chain.clone(),
                why,
            },
            Some(false) => CertificateError::Invalid {
                path: self.key.clone(),
                why,
            },
            None => CertificateError::Unfit {
                files: self.clone(),
                why,
            },
        })
    }
}

fn unread(path: &Path, source: io::Error) -> CertificateError {
    let path = path.to_owned();
    CertificateError::Read { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &Files) {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let key = made.signing_key.serialize_pem();
        // As certbot renews: another file takes the name.
        for (path, text) in [(&files.chain, made.cert.pem()), (&files.key, key)] {
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, path).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_certificate_is_used_within_ten_seconds_and_an_unfit_one_never() {
        let temp = tempfile::tempdir().unwrap();
        let files = Files {
            chain: temp.path().join("chain.pem"),
            key: temp.path().join("key.pem"),
        };
        write(&files);
        let own = Certificate::load(files.clone(), Clock::start()).unwrap();
        let first = own.config().await;
        write(&files);
        assert!(Arc::ptr_eq(&first, &own.config().await));
        tokio::time::advance(LOOK_AGAIN).await;
        let second = own.config().await;
        assert!(!Arc::ptr_eq(&first, &second));
        // The chain alone is new as yet.
        let kept = fs::read(&files.key).unwrap();
        write(&files);
        let new = fs::read(&files.key).unwrap();
        fs::write(&files.key, kept).unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        assert!(Arc::ptr_eq(&second, &own.config().await));
        let error = Certificate::load(files.clone(), Clock::start()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("chain.pem with the key "), "{error}");
        assert!(error.contains("key.pem: they do not fit"), "{error}");
        fs::write(&files.key, new).unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        let third = own.config().await;
        assert!(!Arc::ptr_eq(&second, &third));
        // Nothing is there for a moment.
        fs::remove_file(&files.chain).unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        assert!(Arc::ptr_eq(&third, &own.config().await));
        let missing = Certificate::load(files, Clock::start()).unwrap_err();
        assert!(missing.to_string().contains("chain.pem"), "{missing}");
    }
}
