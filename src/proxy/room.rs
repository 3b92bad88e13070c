//! Who may come in while descriptors last.
//!
//! The journal, the bodies and the dials need descriptors too, so clients never get the last ones:
//! when all places are taken, the next client waits in the kernel's queue, and whoever has done
//! nothing for longest makes room. Who is served, dialled for or tunnelled lately keeps its place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::guard::Watch;
use super::io::Marks;
use crate::clock::{Clock, Timestamp};
use crate::exchange::ConnectionId;

/// Who has asked for nothing for so long may have to go: an honest client has sent its next byte
/// by then.
const IDLE: Duration = Duration::from_secs(1);

/// The same for a tunnel. We cannot see whether what it carries is over, so it gets more.
const IDLE_TUNNEL: Duration = Duration::from_secs(60);

/// How long who was told to go may take before the next one is told.
const LEAVING: Duration = Duration::from_millis(100);

/// The places there are.
pub(super) struct Room {
    places: usize,
    clock: Clock,
    // A std Mutex: held for a look at the map, never across an await.
    seats: Mutex<BTreeMap<ConnectionId, Arc<Seat>>>,
    freed: Notify,
}

/// What a connection tells of itself.
pub(super) struct Seat {
    doing: Mutex<Doing>,
    /// What passes on its client leg.
    pub(super) marks: Arc<Marks>,
    /// Cancelled when it has to go.
    pub(super) leave: CancellationToken,
}

/// What a connection does.
pub(super) enum Doing {
    /// It waits for the client to say what it wants.
    Opening(Timestamp),
    /// We dial, or shake hands upstream.
    Working,
    /// It serves requests.
    Serving(Arc<Watch>),
    /// It relays.
    Tunnel(Timestamp),
}

/// A place; free again when this is dropped.
pub(super) struct Place {
    room: Arc<Room>,
    id: ConnectionId,
    pub(super) seat: Arc<Seat>,
}

impl Room {
    pub(super) fn new(places: usize, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            places: places.max(1),
            clock,
            seats: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// A place for the connection `id`, once there is one.
    pub(super) async fn enter(self: &Arc<Self>, id: ConnectionId) -> Place {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_enter(id) {
                return place;
            }
            let wait = self.shed();
            // Not the outcome but the time to look again.
            let _ = tokio::time::timeout(wait, freed).await;
        }
    }

    fn try_enter(self: &Arc<Self>, id: ConnectionId) -> Option<Place> {
        let mut seats = self.lock();
        if seats.len() >= self.places {
            return None;
        }
        let seat = Arc::new(Seat {
            doing: Mutex::new(Doing::Opening(self.clock.now())),
            marks: Marks::new(self.clock),
            leave: CancellationToken::new(),
        });
        seats.insert(id, Arc::clone(&seat));
        drop(seats);
        let room = Arc::clone(self);
        Some(Place { room, id, seat })
    }

    /// Tells whoever is idle for longest to go, if it is idle for long enough; when to look again.
    fn shed(&self) -> Duration {
        let now = self.clock.now();
        let seats = self.lock();
        let staying = seats.values().filter(|seat| !seat.leave.is_cancelled());
        let first = staying
            .filter_map(|seat| Some((seat.may_go()?, seat)))
            .min_by_key(|(at, _)| *at);
        match first {
            Some((at, seat)) if at <= now => {
                seat.leave.cancel();
                LEAVING
            }
            Some((at, _)) => at.since(now).min(IDLE),
            None => IDLE,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// What it does from now on.
    pub(super) fn does(&self, doing: Doing) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = doing;
    }

    /// From when on it may have to go; `None` while it is of use to somebody.
    fn may_go(&self) -> Option<Timestamp> {
        let doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        match &*doing {
            Doing::Opening(since) => Some(self.marks.last_passed().max(*since) + IDLE),
            Doing::Working => None,
            Doing::Serving(watch) => Some(watch.quiet_since()? + IDLE),
            Doing::Tunnel(since) => Some(self.marks.last_passed().max(*since) + IDLE_TUNNEL),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.lock().remove(&self.id);
        self.room.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Protocol;

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_left_goes_to_who_waits_at_once() {
        let clock = Clock::start();
        let room = Room::new(1, clock);
        let place = room.enter(1).await;
        place.seat.does(Doing::Working);
        let (entered, ()) = tokio::join!(room.enter(2), async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            drop(place);
        });
        assert_eq!(entered.id, 2);
        assert_eq!(clock.now().since(Timestamp::default()).as_millis(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_idle_for_longest_goes_first_and_who_is_of_use_stays() {
        let clock = Clock::start();
        let room = Room::new(3, clock);
        let (working, serving, opening) = (
            room.enter(1).await,
            room.enter(2).await,
            room.enter(3).await,
        );
        working.seat.does(Doing::Working);
        let watch = Watch::new(Protocol::Http1, clock.now());
        serving.seat.does(Doing::Serving(Arc::clone(&watch)));
        watch.begin();
        tokio::time::advance(IDLE * 2).await;
        watch.end(clock.now());
        working.seat.does(Doing::Tunnel(clock.now()));
        let goes = |place: &Place| place.seat.leave.is_cancelled();
        assert_eq!(room.shed(), LEAVING);
        assert!(goes(&opening) && !goes(&serving) && !goes(&working));
        // Nobody else is idle for long enough.
        assert_eq!(room.shed(), IDLE);
        assert!(!goes(&serving) && !goes(&working));
        tokio::time::advance(IDLE * 2).await;
        assert_eq!(room.shed(), LEAVING);
        assert!(goes(&serving) && !goes(&working));
        tokio::time::advance(IDLE_TUNNEL).await;
        assert_eq!(room.shed(), LEAVING);
        assert!(goes(&working));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_place_of_who_had_to_go() {
        let clock = Clock::start();
        let room = Room::new(1, clock);
        let idle = room.enter(1).await;
        let leave = idle.seat.leave.clone();
        let (place, ()) = tokio::join!(room.enter(2), async {
            leave.cancelled().await;
            drop(idle);
        });
        assert_eq!(place.id, 2);
        assert_eq!(clock.now().since(Timestamp::default()), IDLE);
    }
}
