//! Files that this process has held against their digests: none is read for that once more while it is the same.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a file counts as verified: what a disk loses by itself changes none of its times.
const AGAIN: Duration = Duration::from_secs(6 * 3600);

/// A file that was changed this shortly before may be changed again, and have the same times.
const SETTLED: Duration = Duration::from_secs(2);

/// What tells a file from another one, and from itself before a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// Of its content.
    pub(super) bytes: u64,
    /// Seconds and nanoseconds since 1970 (UTC).
    modified: (i64, i64),
    /// The same of the last change to the content, the times or the name. Nobody can set it.
    changed: (i64, i64),
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether this is a file that had another identity, and may have other times since.
    fn is_of_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode, self.bytes) == (other.device, other.inode, other.bytes)
    }

    /// Whether a later change would have another time.
    fn is_settled(&self, now: SystemTime) -> bool {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = u64::try_from(self.changed.0).map(Duration::from_secs);
        // To the second, which is more than there is.
        changed.is_ok_and(|changed| since >= changed + SETTLED + Duration::from_secs(1))
    }
}

/// Files by their names, and what is known of each: as many as `most`.
#[derive(Debug)]
pub(super) struct Verified<T> {
    most: usize,
    // A std Mutex: held for an operation on the map, never across an await.
    files: Mutex<HashMap<Box<str>, Known<T>>>,
}

#[derive(Debug)]
struct Known<T> {
    identity: Identity,
    /// When it was verified.
    at: SystemTime,
    what: T,
}

impl<T: Clone> Verified<T> {
    pub(super) fn new(most: usize) -> Self {
        let files = Mutex::default();
        Self { most, files }
    }

    /// What the file was that had this name, and what is known of it; `None` if it was not verified, or long ago.
    pub(super) fn get(&self, name: &str, now: SystemTime) -> Option<(Identity, T)> {
        let files = self.files();
        let known = files.get(name)?;
        // Nor if the clock was set back.
        let is_recent = now.duration_since(known.at).is_ok_and(|age| age < AGAIN);
        is_recent.then(|| (known.identity, known.what.clone()))
    }

    /// Whether the file that has this name is the one that was verified.
    pub(super) fn has(&self, name: &str, identity: &Identity, now: SystemTime) -> bool {
        self.get(name, now)
            .is_some_and(|(known, _)| known == *identity)
    }

    /// Notes that a file was verified after it was this, unless a later change might have the same times.
    pub(super) fn insert(&self, name: &str, identity: Identity, what: T, now: SystemTime) {
        if !identity.is_settled(now) {
            return;
        }
        let mut files = self.files();
        if files.len() >= self.most
            && !files.contains_key(name)
            && let Some(any) = files.keys().next().cloned()
        {
            files.remove(&any);
        }
        let at = now;
        files.insert(name.into(), Known { identity, at, what });
    }

    /// Notes that a file which was `before` has other times since, and the same content. Another file is not noted.
    pub(super) fn renew(&self, name: &str, before: &Identity, identity: Identity) {
        if let Some(known) = self.files().get_mut(name)
            && known.identity == *before
            && identity.is_of_same_file(before)
        {
            known.identity = identity;
        }
    }

    pub(super) fn remove(&self, name: &str) {
        self.files().remove(name);
    }

    fn files(&self) -> MutexGuard<'_, HashMap<Box<str>, Known<T>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(changed: i64) -> Identity {
        Identity {
            device: 1,
            inode: 2,
            bytes: 3,
            modified: (4, 5),
            changed: (changed, 0),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_file_counts_as_verified_while_it_is_the_same_and_for_some_hours() {
        let verified = Verified::new(2);
        verified.insert("a", identity(7), (), at(1000));
        assert!(verified.has("a", &identity(7), at(1000)));
        assert!(!verified.has("a", &identity(8), at(1000)));
        assert!(!verified.has("a", &identity(7), at(999)));
        assert!(!verified.has("a", &identity(7), at(1000) + AGAIN));
        verified.renew("a", &identity(6), identity(8));
        assert!(verified.has("a", &identity(7), at(1000)));
        let of_another = Identity {
            inode: 3,
            ..identity(8)
        };
        let longer = Identity {
            bytes: 4,
            ..identity(8)
        };
        for other in [of_another, longer] {
            verified.renew("a", &identity(7), other);
            assert!(verified.has("a", &identity(7), at(1000)));
        }
        verified.renew("a", &identity(7), identity(8));
        assert!(verified.has("a", &identity(8), at(1000)));
        for name in ["b", "c", "d", "d"] {
            verified.insert(name, identity(7), (), at(1000));
            assert!(verified.files().len() <= 2);
            assert!(verified.has(name, &identity(7), at(1000)));
        }
        // What was changed a moment ago may change again.
        verified.insert("e", identity(999), (), at(1000));
        assert!(!verified.has("e", &identity(999), at(1000)));
        verified.remove("d");
        assert!(!verified.has("d", &identity(7), at(1000)));
    }

    #[test]
    fn a_file_of_this_moment_may_change_again() {
        assert!(!identity(1000).is_settled(at(1000)));
        assert!(!identity(1000).is_settled(at(1002)));
        assert!(identity(1000).is_settled(at(1003)));
        assert!(!identity(1000).is_settled(at(5)));
        assert!(!identity(-1).is_settled(at(5)));
    }
}
