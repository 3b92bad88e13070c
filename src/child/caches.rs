//! The go command's module cache after a command that failed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cached_modules;
use super::module_cache::{foreign, storage};
use crate::exchange::ExchangeId;
use crate::gomod::{GoSum, Kind};
use crate::recording::caches::{Caches, Forbidden, UNKEPT, Unkept};

/// How long the modules in the cache are looked at: nobody waits for more behind a command that failed.
const MODULES: Duration = Duration::from_secs(1);

/// How long a file system may take that does not answer.
const LIMIT: Duration = Duration::from_secs(3);

/// How many files that were served are looked for.
const SERVED: usize = 10_000;

/// What is looked at.
#[derive(Debug)]
pub(crate) struct CachePlaces {
    /// GOMODCACHE.
    pub(crate) modules: PathBuf,
    /// The main module's go.sum, if the command went by it.
    pub(crate) go_sum: Option<GoSum>,
    /// What the go command should have kept.
    pub(crate) served: Vec<Served>,
}

/// A zip or a go.mod that was served.
#[derive(Debug)]
pub(crate) struct Served {
    /// The run of the exchange.
    pub(crate) run: u32,
    /// The exchange.
    pub(crate) exchange: ExchangeId,
    /// Which of both.
    pub(crate) kind: Kind,
    /// The module.
    pub(crate) module: String,
    /// Its version.
    pub(crate) version: String,
    /// The same for people.
    pub(crate) what: String,
    /// How many bytes it has.
    pub(crate) bytes: u64,
}

/// Looks at the caches; `None` if their file system does not answer soon.
pub(crate) async fn look_at_caches(places: CachePlaces) -> Option<Caches> {
    let looking = tokio::task::spawn_blocking(move || looked_at(&places));
    tokio::time::timeout(LIMIT, looking).await.ok()?.ok()
}

fn looked_at(places: &CachePlaces) -> Caches {
    let cache = &places.modules;
    let go_sum = places.go_sum.as_ref();
    let checked = go_sum.map(|go_sum| cached_modules::check(cache, go_sum, MODULES));
    let served = places.served.iter().take(SERVED);
    let mut unkept: Vec<Unkept> = served.filter_map(|one| unkept(cache, one)).collect();
    let unkept_bytes = unkept.iter().map(|one| one.bytes).sum();
    unkept.sort_by_key(|one| std::cmp::Reverse(one.bytes));
    unkept.truncate(UNKEPT);
    let mut modules = storage(cache);
    if modules.exists && modules.write_error.is_none() {
        modules.forbidden = foreign(cache).map(|found| Forbidden {
            path: found.path,
            owner: found.owner,
        });
    }
    Caches {
        modules,
        checked: checked.unwrap_or_default(),
        unkept,
        unkept_bytes,
    }
}

fn unkept(cache: &Path, served: &Served) -> Option<Unkept> {
    let Served {
        module, version, ..
    } = served;
    let bytes = cached_modules::needs(cache, module, version, served.kind, served.bytes)?;
    Some(Unkept {
        run: served.run,
        exchange: served.exchange,
        what: served.what.clone(),
        bytes,
    })
}
