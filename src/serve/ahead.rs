//! What will be asked next is fetched before it is: the go command walks the graph of modules a level at a time, and a
//! `.mod` that passes names the next one.
//!
//! Files named by a `.mod` are small, and so are the lookups and tiles that their proofs need. Nothing is fetched of
//! modules that are private.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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

/// Fetches ahead of those who ask.
#[derive(Debug)]
pub(super) struct Ahead {
    places: Semaphore,
    waiting: AtomicUsize,
    /// Whether anything was fetched so far.
    has_begun: AtomicBool,
    // A std Mutex: held for an operation on the item, never across an await.
    items: Cache<Arc<str>, Arc<Mutex<Use>>>,
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
            has_begun: AtomicBool::new(false),
            items: Cache::new(REMEMBERED),
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
        let entry = ahead.items.entry(item.path().into());
        if !entry.or_default().is_fresh() {
            return;
        }
        ahead.has_begun.store(true, Ordering::Relaxed);
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
                ahead.items.invalidate(&*path);
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
                    server.counts.ahead.fetch_add(1, Ordering::Relaxed);
                    server
                        .counts
                        .ahead_bytes
                        .fetch_add(bytes, Ordering::Relaxed);
                    Self::note(&server, &path, |item| item.bytes = Some(bytes));
                }
                // It may be asked for again.
                None => ahead.items.invalidate(&*path),
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
        let Some(ahead) = &server.ahead else {
            return;
        };
        if !ahead.has_begun.load(Ordering::Relaxed) {
            return;
        }
        let Some(item) = ahead.items.get(path) else {
            return;
        };
        let mut item = item.lock().unwrap_or_else(PoisonError::into_inner);
        let of_use = |item: &Use| item.bytes.filter(|_| item.is_asked_for);
        let was = of_use(&item);
        change(&mut item);
        if let (None, Some(bytes)) = (was, of_use(&item)) {
            server.counts.used.fetch_add(1, Ordering::Relaxed);
            server.counts.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}
