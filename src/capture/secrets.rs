//! TLS secrets are written to the live capture, to a key log, or to both.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Mutex;

use super::live::Capture;
use super::queue::{NO_STREAM, What};

/// Takes the secrets of every connection, as lines of the NSS key log format
/// (`LABEL client_random secret`, hexadecimal; draft-ietf-tls-keylogfile).
pub(crate) struct KeyLogs {
    capture: Option<Capture>,
    /// The file; `None` after it could not be written.
    file: Mutex<Option<File>>,
}

impl KeyLogs {
    /// Writes secrets to a capture, to a file, or to both.
    pub(crate) const fn new(capture: Option<Capture>, file: Option<File>) -> Self {
        Self {
            capture,
            file: Mutex::new(file),
        }
    }
}

impl fmt::Debug for KeyLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLogs")
    }
}

impl rustls::KeyLog for KeyLogs {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::with_capacity(label.len() + 200);
        line.push_str(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        if let Ok(mut file) = self.file.lock()
            && let Some(open) = file.as_mut()
            && let Err(error) = open.write_all(line.as_bytes())
        {
            tracing::warn!(target: "modtape::capture", %error, "the key log ends here");
            *file = None;
        }
        if let Some(capture) = &self.capture {
            capture.queue.push(NO_STREAM, false, What::Secret(line));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        // It decrypts nothing that is captured.
        label != "EXPORTER_SECRET"
    }
}

/// Opens a key log for appending, as programs that share one do; only its owner may read it.
///
/// # Errors
/// It cannot be opened, is not a file of this user, or others may read it.
pub(crate) fn open_key_log(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Opening a pipe would wait for its reader.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let options = options
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags);
    let file = options.open(path)?;
    let meta = file.metadata()?;
    let is_ours = meta.uid() == rustix::process::geteuid().as_raw();
    let wrong = match (meta.is_file(), is_ours, meta.mode() & 0o077) {
        (false, _, _) => "it is not a regular file",
        (_, false, _) => "it belongs to another user",
        (_, _, 0) => return Ok(file),
        _ => "others may read it: chmod 600, or name another file",
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, wrong))
}
