//! An answer in bytes, as a folder and an object store keep it: a line of JSON, then the body if it is small. A large
//! body lies elsewhere, by its digest.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::answer::{Answer, Content, Proof};
use crate::exchange::Hex;

/// Bodies of this size and smaller stand behind the line, bytes.
pub(super) const INLINE: u64 = 64 << 10;

/// The longest file or object of an answer, bytes: the line, and a small body.
pub(super) const LONGEST: u64 = INLINE + (8 << 10);

/// The line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// The path below a module proxy.
    path: String,
    status: u16,
    pub(super) bytes: u64,
    /// Of the body, hexadecimal.
    pub(super) sha256: String,
    /// When it came from upstream, seconds since 1970 (UTC).
    at: u64,
    pub(super) proof: Proof,
}

impl Head {
    /// The line of an answer whose body has this digest.
    pub(super) fn new(path: &str, answer: &Answer, sha256: [u8; 32]) -> Self {
        let at = answer.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            path: path.to_owned(),
            status: answer.status.as_u16(),
            bytes: answer.bytes(),
            sha256: hex(sha256),
            at: at.as_secs(),
            proof: answer.proof.clone(),
        }
    }

    /// The line, and behind it the body if it is small.
    pub(super) fn kept(&self, inline: &[u8]) -> serde_json::Result<Vec<u8>> {
        let mut kept = serde_json::to_vec(self)?;
        kept.push(b'\n');
        kept.extend_from_slice(inline);
        Ok(kept)
    }

    /// Reads what was kept as the answer to a path; gives what stands behind the line too. Or what is wrong with it.
    pub(super) fn read(path: &str, kept: &Bytes) -> Result<(Self, Bytes), &'static str> {
        let end = kept.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or("its head is cut")?;
        let head: Self =
            serde_json::from_slice(&kept[..end]).map_err(|_| "its head cannot be read")?;
        if StatusCode::from_u16(head.status).is_err() {
            return Err("its status is invalid");
        }
        if head.path != path {
            return Err("it is that of another path");
        }
        Ok((head, kept.slice(end + 1..)))
    }

    /// Whether it says more than that there is no such thing.
    pub(super) fn is_found(&self) -> bool {
        self.status == 200
    }

    pub(super) fn is_proved(&self) -> bool {
        self.proof != Proof::None
    }

    pub(super) fn is_inline(&self) -> bool {
        self.bytes <= INLINE
    }

    /// Holds a small body against its digest.
    pub(super) fn check(&self, body: &[u8]) -> Result<(), &'static str> {
        match body.len() as u64 == self.bytes && hex(Sha256::digest(body)) == self.sha256 {
            true => Ok(()),
            false => Err("its body is another one"),
        }
    }

    /// The same; gives the body as that of an answer.
    pub(super) fn checked(&self, body: Bytes) -> Result<Content, &'static str> {
        self.check(&body)?;
        Ok(Content::Bytes(body))
    }

    /// The answer, with a body that was held against its digest.
    pub(super) fn answer(&self, content: Content) -> Answer {
        Answer {
            status: StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_GATEWAY),
            content,
            at: UNIX_EPOCH + Duration::from_secs(self.at),
            proof: self.proof.clone(),
        }
    }
}

/// The path of a large body below the bodies: two digits, a slash, the others.
pub(super) fn body_path(sha256: &str) -> String {
    // A digest from a damaged head may be any text.
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|it| it.is_ascii_hexdigit());
    let (shelf, name) = match is_digest {
        true => sha256.split_at(2),
        false => ("none", "none"),
    };
    format!("{shelf}/{name}")
}

/// A SHA-256 digest, as heads have it.
pub(super) fn hex(digest: impl Into<[u8; 32]>) -> String {
    Hex(digest.into()).to_string()
}
