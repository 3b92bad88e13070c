//! An answer as it is kept and sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::item::Life;
use crate::clock::Clock;

/// How long what can change is fresh. proxy.golang.org says so too (`Cache-Control: max-age=60`).
pub(super) const FRESH: Duration = Duration::from_secs(60);

/// How long an older answer is sent at once, and another one fetched behind it.
const WHILE_REVALIDATED: Duration = Duration::from_secs(10 * 60);

/// How long an answer that can change is kept for when nobody gives another one.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// What a module proxy says to one request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// 200, 404 or 410.
    pub(super) status: StatusCode,
    pub(super) content: Content,
    /// When it came from upstream.
    pub(super) at: SystemTime,
    pub(super) proof: Proof,
}

/// Why an answer is taken to be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Proof {
    /// Nothing says so.
    None,
    /// It has the right form, and the settings say that nobody vouches for more.
    Form,
    /// It is in the log of the checksum database that has this key.
    Database(String),
}

/// Reads the body of an answer.
pub(crate) struct Reader<'a> {
    answer: &'a Answer,
    at: u64,
}

impl io::Read for Reader<'_> {
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let read = match &self.answer.content {
            Content::Bytes(bytes) => {
                let at = usize::try_from(self.at).unwrap_or(usize::MAX);
                (&bytes[at.min(bytes.len())..]).read(chunk)?
            }
            Content::File(file, bytes) => {
                let left = usize::try_from(bytes - self.at).unwrap_or(usize::MAX);
                let length = chunk.len().min(left);
                file.read_at(&mut chunk[..length], self.at)?
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

/// The body of an answer.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Bytes(Bytes),
    File(Arc<File>, u64),
}

/// What an answer of some age is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    /// It is sent, and asked for again behind that.
    Stale,
    /// It is sent only if nobody gives another one.
    Old,
    /// It is good for nothing.
    Over,
}

impl Answer {
    /// That there is no such thing, in the words of whoever said so.
    pub(super) fn absent(status: StatusCode, text: String) -> Self {
        Self {
            status,
            content: Content::Bytes(text.into()),
            at: Clock::wall_now(),
            proof: Proof::None,
        }
    }

    /// How good it still is; `is_proved` says that its proof is as good as the settings want it.
    pub(super) fn age(&self, life: Life, is_proved: bool, now: SystemTime) -> Age {
        if life == Life::Immutable && is_proved && self.status == StatusCode::OK {
            return Age::Fresh;
        }
        // A clock that was set back makes an answer neither new nor useless.
        let age = now
            .duration_since(self.at)
            .unwrap_or_else(|before| match before.duration() {
                ahead if ahead <= FRESH => Duration::ZERO,
                _ => WHILE_REVALIDATED,
            });
        match age {
            age if age <= FRESH => Age::Fresh,
            // That there is no such version may be wrong in a minute; and what was not proved is kept for no
            // longer.
            _ if self.status != StatusCode::OK || life == Life::Immutable => Age::Over,
            age if age <= WHILE_REVALIDATED => Age::Stale,
            age if age <= KEPT => Age::Old,
            _ => Age::Over,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(_, bytes) => *bytes,
        }
    }

    /// Its body, from the beginning.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader {
            answer: self,
            at: 0,
        }
    }

    /// A text, whole.
    pub(super) fn text(&self) -> io::Result<Bytes> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.clone()),
            Content::File(file, bytes) => {
                let length = usize::try_from(*bytes).map_err(io::Error::other)?;
                let mut text = vec![0; length];
                file.read_exact_at(&mut text, 0)?;
                Ok(text.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: StatusCode) -> Answer {
        Answer {
            status,
            content: Content::Bytes(Bytes::new()),
            at: SystemTime::UNIX_EPOCH,
            proof: Proof::Form,
        }
    }

    #[test]
    fn what_is_proved_never_ages_and_what_changes_does() {
        let after = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let found = answer(StatusCode::OK);
        let age = found.age(Life::Immutable, true, after(1 << 40));
        assert_eq!(age, Age::Fresh);
        for (seconds, expected) in [
            (60, Age::Fresh),
            (61, Age::Stale),
            (601, Age::Old),
            (30 * 86_400 + 1, Age::Over),
        ] {
            assert_eq!(found.age(Life::Mutable, true, after(seconds)), expected);
        }
        assert_eq!(found.age(Life::Immutable, false, after(61)), Age::Over);
        let absent = answer(StatusCode::NOT_FOUND);
        assert_eq!(absent.age(Life::Immutable, true, after(60)), Age::Fresh);
        assert_eq!(absent.age(Life::Mutable, true, after(61)), Age::Over);
        // A clock that was set back by a little, and by much.
        let later = Answer {
            at: after(100),
            ..found
        };
        assert_eq!(later.age(Life::Mutable, true, after(90)), Age::Fresh);
        assert_eq!(later.age(Life::Mutable, true, after(0)), Age::Stale);
    }
}
