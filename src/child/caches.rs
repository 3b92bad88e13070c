//! The go command's module cache after a command that failed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cached_modules::{self, Deadline};
use super::module_cache::{forbidden_part, storage};
use crate::exchange::ExchangeId;
use crate::gomod::{GoSum, Kind};
use crate::recording::caches::{CacheFolder, Caches, UNKEPT, Unkept};

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

/// Looks at the caches. Of a file system that is slow, what is known in time is told.
pub(crate) async fn look_at_caches(places: CachePlaces) -> Caches {
    let CachePlaces {
        modules: cache,
        go_sum,
        served,
    } = places;
    let unknown = CacheFolder {
        path: cache.display().to_string(),
        exists: true,
        ..CacheFolder::default()
    };
    let (in_it, behind, parts) = (cache.clone(), cache.clone(), cache.clone());
    let modules = limited(move || storage(&cache));
    let part = limited(move || forbidden_part(&parts));
    let checked = limited(move || Some(cached_modules::check(&in_it, go_sum.as_ref()?, MODULES)));
    let unkept = limited(move || all_unkept(&behind, &served));
    let (modules, part, checked, unkept) = tokio::join!(modules, part, checked, unkept);
    let (unkept, unkept_bytes) = unkept.unwrap_or_default();
    let mut modules = modules.unwrap_or(unknown);
    if modules.exists && modules.write_error.is_none() {
        modules.forbidden = part.flatten();
    }
    Caches {
        modules,
        checked: checked.flatten().unwrap_or_default(),
        unkept,
        unkept_bytes,
    }
}

async fn limited<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let looking = tokio::task::spawn_blocking(look);
    tokio::time::timeout(LIMIT, looking).await.ok()?.ok()
}

/// What was served and not kept, the largest first, and how many bytes all of it takes; of what is looked
/// at in time.
fn all_unkept(cache: &Path, served: &[Served]) -> (Vec<Unkept>, u64) {
    let until = Deadline::within(MODULES);
    let served = served.iter().take(SERVED);
    let served = served.take_while(|_| !until.is_over());
    let mut all: Vec<Unkept> = served.filter_map(|one| unkept(cache, one)).collect();
    let bytes = all.iter().map(|one| one.bytes).sum();
    all.sort_by_key(|one| std::cmp::Reverse(one.bytes));
    all.truncate(UNKEPT);
    (all, bytes)
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
