//! Places for client connections, as many as there are descriptors for.
//!
//! The journal, the bodies and the dials need descriptors too, so clients never get the last ones. When
//! all places are taken, one client waits for a place and the others in the kernel's queue, and a
//! connection that was idle for long enough ends. A connection that is served, dialled for or
//! tunnelled lately keeps its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::io::Marks;
use crate::clock::{Clock, Timestamp};

/// How long a client may be silent while its place is wanted: an honest one has sent its next byte by
/// then.
pub(super) const IDLE: Duration = Duration::from_secs(1);

/// The same for a tunnel. We cannot see whether what it carries is over, so it gets more.
pub(super) const IDLE_TUNNEL: Duration = Duration::from_secs(60);

const NEVER: u64 = u64::MAX;

/// All places.
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// True while a client waits for a place.
    wanted: watch::Sender<bool>,
    clock: Clock,
}

/// A place; free again when this is dropped.
pub(super) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    wanted: watch::Receiver<bool>,
    clock: Clock,
    /// Since when the setup of the connection waits for the client; [`NEVER`] while it dials or shakes
    /// hands upstream.
    waits_since: Arc<AtomicU64>,
}

impl Places {
    pub(super) fn new(places: usize, clock: Clock) -> Self {
        let places = places.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(places)),
            wanted: watch::Sender::new(false),
            clock,
        }
    }

    /// A place, once there is one; `None` would mean that the semaphore was closed.
    pub(super) async fn enter(&self) -> Option<Place> {
        let free = Arc::clone(&self.free);
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.wanted.send_replace(true);
                let permit = free.acquire_owned().await;
                self.wanted.send_replace(false);
                permit.ok()?
            }
        };
        Some(Place {
            permit: Some(permit),
            wanted: self.wanted.subscribe(),
            clock: self.clock,
            waits_since: Arc::new(AtomicU64::new(self.clock.now().as_micros())),
        })
    }
}

impl Place {
    /// Makes the place free: the connection has no descriptors any more.
    pub(super) fn leave(&mut self) {
        self.permit = None;
    }

    /// The setup of the connection waits for the client from now on.
    pub(super) fn waits_for_client(&self) {
        let now = self.clock.now().as_micros();
        self.waits_since.store(now, Ordering::Relaxed);
    }

    /// The setup of the connection waits for the upstream from now on.
    pub(super) fn waits_for_upstream(&self) {
        self.waits_since.store(NEVER, Ordering::Relaxed);
    }

    /// Ready once the place is wanted and the client, whose bytes leave `marks`, holds up the setup
    /// of its connection.
    pub(super) fn wanted_in_setup(&self, marks: Arc<Marks>) -> impl Future<Output = ()> + use<> {
        let waits_since = Arc::clone(&self.waits_since);
        self.wanted(IDLE, move || match waits_since.load(Ordering::Relaxed) {
            NEVER => None,
            since => Some(Timestamp::from_micros(since).max(marks.last_passed())),
        })
    }

    /// Ready once the place is wanted and the connection was idle for `limit`. `idle_since` says since
    /// when it is idle; `None` while it is of use.
    pub(super) fn wanted<F: Fn() -> Option<Timestamp>>(
        &self,
        limit: Duration,
        idle_since: F,
    ) -> impl Future<Output = ()> + use<F> {
        let (mut wanted, clock) = (self.wanted.clone(), self.clock);
        async move {
            // The sender is gone once nobody accepts any more.
            while wanted.wait_for(|wanted| *wanted).await.is_ok() {
                let now = clock.now();
                let until = idle_since().unwrap_or(now) + limit;
                if until <= now {
                    return;
                }
                tokio::time::sleep_until(clock.instant(until)).await;
            }
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_left_goes_to_the_client_that_waits() {
        let clock = Clock::start();
        let places = Places::new(1, clock);
        let place = places.enter().await.unwrap();
        let (_, ()) = tokio::join!(places.enter(), async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            drop(place);
        });
        assert_eq!(clock.now().since(Timestamp::default()).as_millis(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_keeps_its_place_until_it_is_wanted() {
        let clock = Clock::start();
        let places = Places::new(1, clock);
        let place = places.enter().await.unwrap();
        let idle = place.wanted(IDLE, || Some(Timestamp::default()));
        let hour = Duration::from_secs(3600);
        let alone = tokio::time::timeout(hour, idle).await;
        assert!(alone.is_err());
        let idle = place.wanted(IDLE, || Some(Timestamp::default()));
        tokio::join!(places.enter(), async {
            idle.await;
            drop(place);
        });
        assert_eq!(clock.now().since(Timestamp::default()), hour);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_use_keeps_its_place_and_an_idle_one_has_its_time() {
        let clock = Clock::start();
        let places = Places::new(2, clock);
        let (busy, idle) = (places.enter().await.unwrap(), places.enter().await.unwrap());
        let marks = Marks::new(clock);
        busy.waits_for_upstream();
        let keeps = busy.wanted_in_setup(Arc::clone(&marks));
        let leaves = idle.wanted_in_setup(marks);
        tokio::select! {
            () = keeps => panic!("it is of use"),
            _ = async { tokio::join!(places.enter(), async { leaves.await; drop(idle) }) } => {}
        }
        assert_eq!(clock.now().since(Timestamp::default()), IDLE);
    }
}
