//! The first tier: small answers, in memory, as many as fit.

use std::sync::Arc;

use moka::sync::Cache;

use super::answer::{Answer, Content};
use super::purge::Purge;

/// What an entry takes beside its body and its name, bytes: measured with a million small ones.
const OVERHEAD: usize = 256;

/// Answers of this size and smaller are kept in memory, bytes; larger ones are read from disk, where the kernel
/// keeps what is read often.
const LARGEST: u64 = 1 << 20;

/// Answers in memory; those that are asked for least often make room.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    cache: Cache<Arc<str>, Answer>,
}

impl Memory {
    /// As many as fit into so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let weigh = |path: &Arc<str>, answer: &Answer| {
            let bytes = answer.bytes().min(LARGEST);
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            u32::try_from(bytes + path.len() + OVERHEAD).unwrap_or(u32::MAX)
        };
        Self {
            cache: Cache::builder().max_capacity(bytes).weigher(weigh).build(),
        }
    }

    pub(super) fn get(&self, path: &str) -> Option<Answer> {
        self.cache.get(path)
    }

    /// Keeps it, if it is small.
    pub(super) fn put(&self, path: &str, answer: &Answer) {
        match &answer.content {
            Content::Bytes(bytes) if bytes.len() as u64 <= LARGEST => {
                self.cache.insert(path.into(), answer.clone());
            }
            _ => self.cache.invalidate(path),
        }
    }

    /// Drops what a purge covers: it looks at every name, a second for some million.
    pub(super) fn purge(&self, purge: &Purge) {
        for (path, _) in &self.cache {
            if purge.covers(&path) {
                self.cache.invalidate(&**path);
            }
        }
    }
}
