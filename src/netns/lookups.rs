//! Lookups that ask the system: one for all who wait for a name, few at once, and each name that was found
//! only once.
//!
//! The system's resolver blocks a thread for each name, and may for half a minute where nobody answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::server::{LookingUp, Lookup, Resolve};

/// How many names the system is asked for at once.
const AT_ONCE: usize = 32;

/// How many may wait for that; further ones fail at once.
const WAITING: usize = 512;

/// How many names that were found are remembered.
const REMEMBERED: usize = 10_000;

/// How long a lookup is waited for: as long as resolvers wait for a server (resolv.conf(5)).
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Bounds the lookups of a resolver.
pub(crate) struct Lookups {
    resolver: Arc<dyn Resolve>,
    places: Arc<Semaphore>,
    table: Arc<Mutex<Table>>,
    /// A lookup goes on when nobody waits for it any more: its thread is taken until it ends.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Table {
    found: HashMap<String, Lookup>,
    under_way: HashMap<String, watch::Receiver<Option<Lookup>>>,
}

impl Lookups {
    /// Those of this resolver.
    pub(crate) fn of(resolver: Arc<dyn Resolve>) -> Self {
        Self {
            resolver,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            table: Arc::default(),
            tasks: Mutex::default(),
        }
    }

    /// Asks for a name, and lets all who wait for it know.
    fn begin(&self, name: String, tell: watch::Sender<Option<Lookup>>) {
        let (places, table) = (Arc::clone(&self.places), Arc::clone(&self.table));
        let resolver = Arc::clone(&self.resolver);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let place = tokio::time::timeout(PATIENCE, places.acquire()).await;
            let lookup = match place {
                Ok(Ok(_place)) => resolver.look_up(name.clone()).await,
                Ok(Err(_)) | Err(_) => Lookup::Failed,
            };
            let mut table = locked(&table);
            table.under_way.remove(&name);
            if matches!(lookup, Lookup::Found { .. }) && table.found.len() < REMEMBERED {
                table.found.insert(name, lookup.clone());
            }
            drop(table);
            tell.send_replace(Some(lookup));
        });
    }
}

impl Resolve for Lookups {
    fn look_up(&self, name: String) -> LookingUp {
        let mut table = locked(&self.table);
        if let Some(found) = table.found.get(&name) {
            return Box::pin(std::future::ready(found.clone()));
        }
        let mut heard = match table.under_way.get(&name) {
            Some(heard) => heard.clone(),
            None if table.under_way.len() >= WAITING => {
                return Box::pin(std::future::ready(Lookup::Failed));
            }
            None => {
                let (tell, heard) = watch::channel(None);
                table.under_way.insert(name.clone(), heard.clone());
                drop(table);
                self.begin(name, tell);
                heard
            }
        };
        Box::pin(async move {
            let heard = heard.wait_for(Option::is_some).await;
            heard
                .ok()
                .and_then(|heard| heard.clone())
                .unwrap_or(Lookup::Failed)
        })
    }
}

fn locked(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts what it is asked for; nobody answers for names that begin with `slow`.
    #[derive(Default)]
    struct Counts(AtomicUsize);

    impl Resolve for Counts {
        fn look_up(&self, name: String) -> LookingUp {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                if name.starts_with("slow") {
                    return std::future::pending().await;
                }
                tokio::task::yield_now().await;
                match &*name {
                    "none.example" => Lookup::NotFound,
                    _ => Lookup::Found { v4: true, v6: true },
                }
            })
        }
    }

    const FOUND: Lookup = Lookup::Found { v4: true, v6: true };

    #[tokio::test(start_paused = true)]
    async fn one_lookup_answers_all_who_wait_and_what_is_found_is_not_asked_again() {
        let counts = Arc::<Counts>::default();
        let lookups = Lookups::of(Arc::clone(&counts) as _);
        let ask = |name: &str| lookups.look_up(name.to_owned());
        let (first, second) = tokio::join!(ask("a.example"), ask("a.example"));
        assert_eq!(
            (first, second, ask("a.example").await),
            (FOUND, FOUND, FOUND)
        );
        assert_eq!(counts.0.load(Ordering::Relaxed), 1);
        assert_eq!(ask("none.example").await, Lookup::NotFound);
        assert_eq!(ask("none.example").await, Lookup::NotFound);
        assert_eq!(counts.0.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_names_take_no_more_than_their_places() {
        let counts = Arc::<Counts>::default();
        let lookups = Lookups::of(Arc::clone(&counts) as _);
        let ask = |name: &str| lookups.look_up(name.to_owned());
        assert_eq!(ask("a.example").await, FOUND);
        let slow: Vec<_> = (0..WAITING).map(|n| ask(&format!("slow{n}"))).collect();
        assert_eq!(ask("slow too").await, Lookup::Failed);
        // Known names wait for nobody, and those who found no place give up.
        assert_eq!(ask("a.example").await, FOUND);
        tokio::time::sleep(PATIENCE * 2).await;
        assert_eq!(counts.0.load(Ordering::Relaxed), 1 + AT_ONCE);
        let given_up = slow.into_iter().skip(AT_ONCE);
        for lookup in given_up {
            assert_eq!(lookup.await, Lookup::Failed);
        }
    }
}
