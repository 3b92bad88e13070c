//! Bodies out of a recording, none of whose bytes can be taken for whole unless all are right.
//!
//! Up to 8 MiB are verified before the first byte is given. Of larger ones the last 64 KiB are
//! held back until the digest matched; a mismatch is an error, never an end. Never writes.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::exchange::{Body, Digest, Hex};

use crate::files::open_regular;
use crate::recording::format::BODIES;

/// Bodies up to this size (bytes) are verified before their first byte is given.
pub(crate) const WHOLE_LIMIT: u64 = 8 << 20;

/// What is held back of larger ones until the digest matched, bytes.
pub(crate) const HELD_BACK: u64 = 64 << 10;

/// Why a body cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Only its digest was kept.
    #[error("the body {0} was not kept")]
    NotKept(Digest),
    /// Its file is not there.
    #[error("{path} is missing")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It cannot be read, or is no regular file.
    #[error("cannot read {path}")]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It has another length than recorded.
    #[error("the body {sha256} has {found} bytes, recorded were {expected}")]
    WrongSize {
        /// The recorded digest.
        sha256: Digest,
        /// Bytes recorded.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// It has another digest than recorded.
    #[error("the body {sha256} was altered: its digest is {found}")]
    Mismatch {
        /// The recorded digest.
        sha256: Digest,
        /// The digest of what is there.
        found: Digest,
    },
}

/// Where the body with this digest lies in the recording `dir`, unless it is inline.
pub(crate) fn body_path(dir: &Path, sha256: Digest) -> PathBuf {
    let name = sha256.to_string();
    dir.join(BODIES).join(&name[..2]).join(name)
}

/// The bytes of a body; an error that [`BodyError`] is the inner one of says that they are wrong.
#[derive(Debug)]
pub struct BodyReader(Source);

#[derive(Debug)]
enum Source {
    /// Verified.
    Whole(Cursor<Bytes>),
    /// Being verified.
    Streaming(Box<Streaming>),
}

#[derive(Debug)]
struct Streaming {
    file: File,
    sha256: Digest,
    hasher: Sha256,
    bytes: u64,
    /// Bytes that may be given before the digest is known.
    free: u64,
    given: u64,
}

impl BodyReader {
    /// Opens `body` of the recording in `dir`.
    pub(super) fn open(dir: &Path, body: &Body) -> Result<Self, BodyError> {
        Ok(Self(verified(dir, body)?))
    }

    /// The same body once more, from its first byte on, if all of it is in memory.
    pub(crate) fn again(&self) -> Option<Self> {
        match &self.0 {
            Source::Whole(bytes) => Some(Self(Source::Whole(Cursor::new(bytes.get_ref().clone())))),
            Source::Streaming(_) => None,
        }
    }
}

/// A body as it is stored, to be read at any place: nothing but its length is verified.
#[derive(Debug)]
pub(crate) enum Stored {
    /// From the journal.
    Inline(Vec<u8>),
    /// A file of its own.
    File(File),
}

impl Stored {
    /// Opens `body` of the recording in `dir`.
    pub(super) fn open(dir: &Path, body: &Body) -> Result<Self, BodyError> {
        let (stored, found) = match &body.inline {
            Some(inline) => (Self::Inline(inline.0.clone()), inline.0.len() as u64),
            None if !body.kept => return Err(BodyError::NotKept(body.sha256)),
            None => {
                let path = body_path(dir, body.sha256);
                let unreadable = |source| unreadable(&path, source);
                let file = open_regular(&path).map_err(unreadable)?;
                let bytes = file.metadata().map_err(unreadable)?.len();
                (Self::File(file), bytes)
            }
        };
        match found == body.bytes {
            true => Ok(stored),
            false => Err(wrong_size(body, found)),
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> BodyError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => BodyError::Missing { path },
        _ => BodyError::Unreadable { path, source },
    }
}

fn verified(dir: &Path, body: &Body) -> Result<Source, BodyError> {
    let file = match Stored::open(dir, body)? {
        Stored::Inline(bytes) => return Ok(Source::Whole(whole(bytes, body)?)),
        Stored::File(file) => file,
    };
    if body.bytes <= WHOLE_LIMIT {
        let mut bytes = Vec::new();
        let limit = body.bytes + 1;
        let read = file.take(limit).read_to_end(&mut bytes);
        read.map_err(|source| unreadable(&body_path(dir, body.sha256), source))?;
        return Ok(Source::Whole(whole(bytes, body)?));
    }
    Ok(Source::Streaming(Box::new(Streaming {
        file,
        sha256: body.sha256,
        hasher: Sha256::new(),
        bytes: body.bytes,
        free: body.bytes - HELD_BACK,
        given: 0,
    })))
}

fn whole(bytes: Vec<u8>, body: &Body) -> Result<Cursor<Bytes>, BodyError> {
    if bytes.len() as u64 != body.bytes {
        return Err(wrong_size(body, bytes.len() as u64));
    }
    check(body.sha256, Sha256::new_with_prefix(&bytes))?;
    Ok(Cursor::new(bytes.into()))
}

fn check(sha256: Digest, hasher: Sha256) -> Result<(), BodyError> {
    let found = Hex(hasher.finalize().into());
    if found == sha256 {
        Ok(())
    } else {
        Err(BodyError::Mismatch { sha256, found })
    }
}

const fn wrong_size(body: &Body, found: u64) -> BodyError {
    BodyError::WrongSize {
        sha256: body.sha256,
        expected: body.bytes,
        found,
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.0 {
                Source::Whole(bytes) => return bytes.read(buffer),
                Source::Streaming(streaming) if streaming.free > 0 => {
                    return streaming.read(buffer);
                }
                Source::Streaming(streaming) => {
                    let held_back = streaming.finish()?;
                    self.0 = Source::Whole(Cursor::new(held_back.into()));
                }
            }
        }
    }
}

impl Streaming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.free).unwrap_or(usize::MAX);
        let len = len.min(buffer.len());
        let read = self.file.read(&mut buffer[..len])?;
        if read == 0 && len > 0 {
            return Err(self.cut_off(0));
        }
        self.hasher.update(&buffer[..read]);
        self.free -= read as u64;
        self.given += read as u64;
        Ok(read)
    }

    /// Reads what is held back and compares the digest; asked again after an error, fails again.
    fn finish(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.file.by_ref().take(HELD_BACK).read_to_end(&mut rest)?;
        if (rest.len() as u64) < HELD_BACK {
            return Err(self.cut_off(rest.len() as u64));
        }
        let hasher = self.hasher.clone().chain_update(&rest);
        check(self.sha256, hasher).map_err(invalid)?;
        Ok(rest)
    }

    /// The file became shorter while it was read.
    fn cut_off(&self, rest: u64) -> io::Error {
        invalid(BodyError::WrongSize {
            sha256: self.sha256,
            expected: self.bytes,
            found: self.given + rest,
        })
    }
}

fn invalid(error: BodyError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
