//! What will be asked next is fetched before it is: the go command walks the graph of modules a level at a time, and a
//! `.mod` that passes names the next one.
//!
//! Files named by a `.mod` are small, and so are the lookups and tiles that their proofs need. Nothing is fetched of
//! modules that are private.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use super::item::Item;
use super::server::{Obtained, Server};
use crate::gomod::{GoMod, Kind};

/// Requests that are on their way at once.
const AT_ONCE: usize = 48;

/// Requests that wait for their turn: beyond that, what a `.mod` names is left to those who ask for it. The graph of a
/// large project has some thousand modules.
const WAITING: usize = 20_000;

/// Items that are remembered as fetched ahead: an older one would be fetched again, if it were not kept.
const REMEMBERED: u64 = 100_000;

/// What nobody has asked for within that time was fetched in vain.
const IN_VAIN: Duration = Duration::from_secs(3600);

/// Fetches ahead of those who ask.
#[derive(Debug)]
pub(super) struct Ahead {
    places: Semaphore,
    waiting: AtomicUsize,
}

/// What was fetched ahead, by whichever server of this process.
#[derive(Debug)]
pub(super) struct Prefetched {
    /// All of it.
    pub(super) made: Files,
    /// What was asked for later.
    pub(super) used: Files,
    /// What was not asked for in time.
    wasted: Arc<Files>,
    /// Whether anything was fetched so far.
    has_begun: AtomicBool,
    // A std Mutex: held for an operation on the item, never across an await.
    items: Cache<Arc<str>, Arc<Mutex<Use>>>,
}

/// A number of files.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) files: AtomicU64,
    /// Their bytes.
    pub(super) bytes: AtomicU64,
}

/// What became of an item that is fetched ahead.
#[derive(Debug, Clone, Copy, Default)]
struct Use {
    /// Its length, bytes, once it is there.
    bytes: Option<u64>,
    is_asked_for: bool,
}

impl Ahead {
    pub(super) fn new() -> Self {
        Self {
            places: Semaphore::new(AT_ONCE),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Fetches the go.mod files of what a go.mod requires.
    pub(super) fn follow(server: &Arc<Server>, go_mod: &[u8]) {
        Self::follow_files(server, go_mod, Kind::Mod);
    }

    /// Fetches the zips of what a go.mod requires.
    pub(super) fn follow_zips(server: &Arc<Server>, go_mod: &[u8]) {
        Self::follow_files(server, go_mod, Kind::Zip);
    }

    fn follow_files(server: &Arc<Server>, go_mod: &[u8], kind: Kind) {
        for requirement in GoMod::parse(go_mod).require {
            let of = requirement.of;
            if server.truth.is_public(&of.path)
                && let Some(item) = Item::of_version(kind, &of.path, &of.version)
            {
                Self::fetch(server, item);
            }
        }
    }

    /// Fetches an item, if nobody has.
    pub(super) fn fetch(server: &Arc<Server>, item: Item) {
        let Some(ahead) = &server.ahead else {
            return;
        };
        if ahead.waiting.load(Ordering::Relaxed) >= WAITING {
            return;
        }
        let known = &server.counts.ahead;
        let entry = known.items.entry(item.path().into());
        if !entry.or_default().is_fresh() {
            return;
        }
        known.has_begun.store(true, Ordering::Relaxed);
        ahead.waiting.fetch_add(1, Ordering::Relaxed);
        let own = Arc::clone(server);
        server.spawn(async move {
            let server = own;
            let Some(ahead) = &server.ahead else {
                return;
            };
            let place = ahead.places.acquire().await;
            ahead.waiting.fetch_sub(1, Ordering::Relaxed);
            if place.is_err() || server.has(&item).await {
                return;
            }
            let path = item.path().to_owned();
            if server.is_busy() {
                // Clients wait for what they have asked for.
                server.counts.ahead.items.invalidate(&*path);
                return;
            }
            let bytes = match server.obtain(item).await {
                Obtained::Whole(answer, _) => Some(answer.bytes()),
                Obtained::Growing(following) => {
                    let ended = following.flight.ended().await;
                    ended.ok().map(|answer| answer.bytes())
                }
                Obtained::Failed(_) => None,
            };
            match bytes {
                Some(bytes) => {
                    server.counts.ahead.made.add(bytes);
                    Self::note(&server, &path, |item| item.bytes = Some(bytes));
                }
                // It may be asked for again.
                None => server.counts.ahead.items.invalidate(&*path),
            }
        });
    }

    /// Begins nothing any more.
    pub(super) fn end(&self) {
        self.places.close();
    }

    /// A client asks for an item.
    pub(super) fn asked(server: &Server, item: &Item) {
        Self::note(server, item.path(), |item| item.is_asked_for = true);
    }

    /// Notes something of an item, and counts it once it is of use.
    fn note(server: &Server, path: &str, change: impl FnOnce(&mut Use)) {
        if server.ahead.is_some() {
            server.counts.ahead.note(path, change);
        }
    }
}

impl Default for Prefetched {
    fn default() -> Self {
        Self::new(IN_VAIN)
    }
}

impl Prefetched {
    /// With so much time for somebody to ask for an item.
    fn new(in_vain: Duration) -> Self {
        let wasted = Arc::<Files>::default();
        let counted = Arc::clone(&wasted);
        let forgotten = move |_: Arc<Arc<str>>, item: Arc<Mutex<Use>>, cause: RemovalCause| {
            let item = *of(&item);
            if let Some(bytes) = item.bytes
                && !item.is_asked_for
                && cause.was_evicted()
            {
                counted.add(bytes);
            }
        };
        let items = Cache::builder()
            .max_capacity(REMEMBERED)
            .time_to_live(in_vain)
            .eviction_listener(forgotten);
        Self {
            made: Files::default(),
            used: Files::default(),
            wasted,
            has_begun: AtomicBool::new(false),
            items: items.build(),
        }
    }

    /// What was fetched and not asked for in time.
    pub(super) fn wasted(&self) -> &Files {
        self.items.run_pending_tasks();
        &self.wasted
    }

    fn note(&self, path: &str, change: impl FnOnce(&mut Use)) {
        if !self.has_begun.load(Ordering::Relaxed) {
            return;
        }
        let Some(item) = self.items.get(path) else {
            return;
        };
        let mut item = of(&item);
        let of_use = |item: &Use| item.bytes.filter(|_| item.is_asked_for);
        let was = of_use(&item);
        change(&mut item);
        if let (None, Some(bytes)) = (was, of_use(&item)) {
            self.used.add(bytes);
        }
    }
}

impl Files {
    fn add(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn of(item: &Mutex<Use>) -> MutexGuard<'_, Use> {
    item.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefetched() -> Prefetched {
        let known = Prefetched::default();
        known.has_begun.store(true, Ordering::Relaxed);
        for path in ["used", "unused", "never fetched"] {
            let _ = known.items.entry(path.into()).or_default();
        }
        for path in ["used", "unused"] {
            known.note(path, |item| item.bytes = Some(100));
        }
        known
    }

    #[test]
    fn what_is_asked_for_is_used_once() {
        let known = prefetched();
        for _ in 0..2 {
            known.note("used", |item| item.is_asked_for = true);
            known.note("unknown", |item| item.is_asked_for = true);
        }
        let used = [&known.used.files, &known.used.bytes].map(|it| it.load(Ordering::Relaxed));
        assert_eq!(used, [1, 100]);
        assert_eq!(known.wasted().files.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_nobody_asks_for_in_time_is_wasted() {
        // In no time.
        let known = Prefetched::new(Duration::from_nanos(1));
        let fetched = Use {
            bytes: Some(100),
            is_asked_for: false,
        };
        let asked_for = Use {
            is_asked_for: true,
            ..fetched
        };
        let items = [
            ("it", fetched),
            ("asked for", asked_for),
            ("none", Use::default()),
        ];
        for (path, item) in items {
            known.items.insert(path.into(), Arc::new(Mutex::new(item)));
        }
        let wasted = known.wasted();
        let wasted = [&wasted.files, &wasted.bytes].map(|it| it.load(Ordering::Relaxed));
        assert_eq!(wasted, [1, 100]);
    }
}
