//! What will be asked next is fetched before it is: the go command walks the graph of modules a level at a time, and a
//! `.mod` that passes names the next one.
//!
//! Files named by a `.mod` are small, and so are the lookups and tiles that their proofs need. Nothing is fetched of
//! modules that are private.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::item::Item;
use super::server::{Obtained, Server};
use crate::gomod::{GoMod, Kind};

/// Requests that are on their way at once.
const AT_ONCE: usize = 48;

/// Requests that wait for their turn: beyond that, what a `.mod` names is left to those who ask for it. The graph of a
/// large project has some thousand modules.
const WAITING: usize = 20_000;

/// Items that are remembered as fetched ahead.
const REMEMBERED: usize = 100_000;

/// Fetches ahead of those who ask.
#[derive(Debug)]
pub(super) struct Ahead {
    places: Semaphore,
    // A std Mutex: held for operations on the map, never across an await.
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    waiting: usize,
    items: HashMap<String, Use>,
}

/// What became of an item that is fetched ahead.
#[derive(Debug, Clone, Copy, Default)]
struct Use {
    is_there: bool,
    is_asked_for: bool,
}

impl Ahead {
    pub(super) fn new() -> Self {
        Self {
            places: Semaphore::new(AT_ONCE),
            made: Mutex::default(),
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
        {
            let mut made = ahead.made();
            let is_known = made.items.contains_key(item.path());
            if is_known || made.waiting >= WAITING || made.items.len() >= REMEMBERED {
                return;
            }
            made.waiting += 1;
            made.items.insert(item.path().to_owned(), Use::default());
        }
        let own = Arc::clone(server);
        server.spawn(async move {
            let server = own;
            let Some(ahead) = &server.ahead else {
                return;
            };
            let place = ahead.places.acquire().await;
            ahead.made().waiting -= 1;
            if place.is_err() || server.has(&item).await {
                return;
            }
            let path = item.path().to_owned();
            let is_there = match server.obtain(item).await {
                Obtained::Whole(..) => true,
                Obtained::Growing(following) => following.flight.ended().await.is_ok(),
                Obtained::Failed(_) => false,
            };
            if is_there {
                server.counts.ahead.fetch_add(1, Ordering::Relaxed);
                Self::note(&server, &path, |item| item.is_there = true);
            } else {
                // It may be asked for again.
                ahead.made().items.remove(&path);
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
        let mut made = ahead.made();
        let Some(item) = made.items.get_mut(path) else {
            return;
        };
        let is_of_use = |item: &Use| item.is_there && item.is_asked_for;
        let was = is_of_use(item);
        change(item);
        if !was && is_of_use(item) {
            server.counts.used.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
