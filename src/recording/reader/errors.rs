//! Why a recording, or a part of it, cannot be read.

use std::io;
use std::path::PathBuf;

use super::super::format::{FORMAT_VERSION, LineError};
use super::super::manifest::ManifestError;
use super::super::scan::Span;

/// Why a folder cannot be opened as a recording.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing there.
    #[error("there is no recording {path}")]
    NotFound {
        /// What was asked for.
        path: PathBuf,
    },
    /// There is something else there.
    #[error("{path} is not a recording: {why}")]
    NotARecording {
        /// What was asked for.
        path: PathBuf,
        /// How one sees that.
        why: &'static str,
    },
    /// Another version of the format.
    #[error("{path} is of format version {found}; this program reads version {FORMAT_VERSION}")]
    Version {
        /// The recording.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The manifest is damaged and the journal does not tell what it said.
    #[error("cannot make out the recording {path}")]
    Manifest {
        /// The recording.
        path: PathBuf,
        /// What is wrong with the manifest.
        source: ManifestError,
    },
    /// Something there cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Why an exchange cannot be read again.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal cannot be read there.
    #[error("cannot read {} bytes at journal byte {}", span.len, span.offset)]
    Unreadable {
        /// Where.
        span: Span,
        /// Why not.
        source: io::Error,
    },
    /// What stands there does not verify.
    #[error("journal byte {}", span.offset)]
    Damaged {
        /// Where.
        span: Span,
        /// What is wrong with it.
        source: LineError,
    },
    /// What stands there verifies, but is not what the row tells of.
    #[error("journal byte {}: not a record of exchange {id}", span.offset)]
    Another {
        /// Where.
        span: Span,
        /// The exchange.
        id: u64,
    },
}
