//! The first tier: small answers, in memory, as many as fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::answer::{Answer, Content};
use super::purge::Purge;
use super::tiers::Stock;
use crate::clock::Clock;

/// What an entry takes beside its body and its name, bytes: 256, measured with a million small ones, and the line of the
/// file that it was read from.
const OVERHEAD: usize = 512;

/// Answers of this size and smaller are kept in memory, bytes; larger ones are read from disk, where the kernel
/// keeps what is read often.
const LARGEST: u64 = 1 << 20;

/// Answers in memory; those that are asked for least often make room.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    cache: Cache<Arc<str>, Arc<Entry>>,
    /// Answers that made room.
    evictions: Arc<AtomicU64>,
    /// Bytes that fit; with none nothing is kept.
    most: u64,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    /// The hour since 1970 (UTC) for which its use is noted on the disk.
    noted: AtomicU64,
}

impl Memory {
    /// As many as fit into so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let weigh = |path: &Arc<str>, entry: &Arc<Entry>| {
            let bytes = entry.answer.bytes().min(LARGEST);
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            u32::try_from(bytes + path.len() + OVERHEAD).unwrap_or(u32::MAX)
        };
        let evictions = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&evictions);
        let removed = move |_: Arc<Arc<str>>, _: Arc<Entry>, cause: RemovalCause| {
            if cause.was_evicted() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        };
        let cache = Cache::builder().max_capacity(bytes).weigher(weigh);
        Self {
            cache: cache.eviction_listener(removed).build(),
            evictions,
            most: bytes,
        }
    }

    /// What it holds, and what has made room so far.
    pub(super) fn stock(&self) -> Stock {
        self.cache.run_pending_tasks();
        Stock {
            bytes: self.cache.weighted_size(),
            entries: self.cache.entry_count(),
            most: self.most,
            evictions: self.evictions.load(Ordering::Relaxed),
        }
    }

    /// An answer, and whether this is its first use within an hour.
    pub(super) fn get(&self, path: &str, now: SystemTime) -> Option<(Answer, bool)> {
        if self.most == 0 {
            return None;
        }
        let entry = self.cache.get(path)?;
        let hour = hour(now);
        let is_noted = entry.noted.load(Ordering::Relaxed) == hour
            || entry.noted.swap(hour, Ordering::Relaxed) == hour;
        Some((entry.answer.clone(), !is_noted))
    }

    pub(super) fn forget(&self, path: &str) {
        self.cache.invalidate(path);
    }

    /// Keeps it, if it is small. The disk has it as used now.
    pub(super) fn put(&self, path: &str, answer: &Answer) {
        match &answer.content {
            _ if self.most == 0 => {}
            Content::Bytes(bytes) if bytes.len() as u64 <= LARGEST => {
                let entry = Entry {
                    answer: answer.clone(),
                    noted: hour(Clock::wall_now()).into(),
                };
                self.cache.insert(path.into(), Arc::new(entry));
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

fn hour(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / 3600
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::StatusCode;

    use super::super::answer::Proof;
    use super::*;

    #[test]
    fn what_makes_room_is_counted() {
        let memory = Memory::new(10_000);
        let answer = Answer {
            status: StatusCode::OK,
            content: Content::Bytes(vec![0; 1000].into()),
            at: UNIX_EPOCH,
            proof: Proof::Form,
        };
        for number in 0..20 {
            memory.put(&format!("a.b/c/@v/v1.{number}.0.mod"), &answer);
        }
        // Not one that is dropped, or replaced.
        memory.put("a.b/c/@v/v1.0.0.mod", &answer);
        memory.forget("a.b/c/@v/v1.0.0.mod");
        let stock = memory.stock();
        assert!(stock.bytes <= 10_000 && stock.entries > 2, "{stock:?}");
        assert!((12..=20).contains(&stock.evictions), "{stock:?}");
    }

    #[test]
    fn the_first_use_within_an_hour_is_to_be_noted() {
        let memory = Memory::new(1 << 20);
        let answer = Answer {
            status: StatusCode::OK,
            content: Content::Bytes(Bytes::from_static(b"module a.b/c\n")),
            at: UNIX_EPOCH,
            proof: Proof::Form,
        };
        memory.put("a.b/c/@v/v1.0.0.mod", &answer);
        let is_noted_at = |now| {
            let found = memory.get("a.b/c/@v/v1.0.0.mod", now);
            found.map(|(_, is_used_anew)| is_used_anew)
        };
        let later = Clock::wall_now() + Duration::from_secs(7200);
        assert_eq!(is_noted_at(later), Some(true));
        assert_eq!(is_noted_at(later), Some(false));
        assert_eq!(is_noted_at(later + Duration::from_secs(3600)), Some(true));
        let none = Memory::new(0);
        none.put("a.b/c/@v/v1.0.0.mod", &answer);
        assert!(none.get("a.b/c/@v/v1.0.0.mod", later).is_none());
    }
}
