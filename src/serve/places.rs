//! Places among those who ask upstream: where all are taken, clients get the next ones in turn, however many requests
//! one of them has waiting.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// Places, and who waits for one.
#[derive(Debug)]
pub(super) struct Places {
    /// How many may wait.
    queue: usize,
    // A std Mutex: held for operations on the lists, never across an await.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: usize,
    /// By client; what nobody has asked for yet waits as one client.
    by_client: HashMap<Option<IpAddr>, VecDeque<oneshot::Sender<Place>>>,
    /// Clients that wait, each once; the first one is served next.
    turns: VecDeque<Option<IpAddr>>,
}

/// A place, which is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
}

impl Places {
    /// So many `places`, for which as many as `queue` may wait.
    pub(super) fn new(places: usize, queue: usize) -> Arc<Self> {
        Arc::new(Self {
            queue,
            state: Mutex::new(State {
                free: places,
                waiting: 0,
                by_client: HashMap::new(),
                turns: VecDeque::new(),
            }),
        })
    }

    /// A place for a request of a client; `None` if too many wait, most of them of this client, or for longer than
    /// `patience`.
    pub(super) async fn take(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        patience: Duration,
    ) -> Option<Place> {
        let given = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Some(self.place());
            }
            if state.waiting >= self.queue && !state.make_room(client) {
                return None;
            }
            state.wait(client)
        };
        // A place that is given to somebody who has left goes to the next one.
        tokio::time::timeout(patience, given).await.ok()?.ok()
    }

    /// Whether all are taken.
    pub(super) fn are_taken(&self) -> bool {
        self.state().free == 0
    }

    fn place(self: &Arc<Self>) -> Place {
        let places = Arc::clone(self);
        Place { places }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, client: Option<IpAddr>) -> oneshot::Receiver<Place> {
        let (give, given) = oneshot::channel();
        let of_client = self.by_client.entry(client).or_default();
        if of_client.is_empty() {
            self.turns.push_back(client);
        }
        of_client.push_back(give);
        self.waiting += 1;
        given
    }

    /// Makes room for one more request of a client: those who have left go, then the last request of the client that
    /// has most. Says whether there is room.
    fn make_room(&mut self, client: Option<IpAddr>) -> bool {
        let before = self.waiting;
        self.waiting = 0;
        self.by_client.retain(|_, of_client| {
            of_client.retain(|waiting| !waiting.is_closed());
            self.waiting += of_client.len();
            !of_client.is_empty()
        });
        self.turns.retain(|it| self.by_client.contains_key(it));
        if self.waiting < before {
            return true;
        }
        let own = self.by_client.get(&client).map_or(0, VecDeque::len);
        let longest = self.by_client.values_mut().max_by_key(|it| it.len());
        // Nobody makes room for a client that would wait with more than it has left.
        let Some(longest) = longest.filter(|it| it.len() > own + 1) else {
            return false;
        };
        longest.pop_back();
        self.waiting -= 1;
        true
    }

    /// The next one who waits, if anybody does.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        while let Some(client) = self.turns.pop_front() {
            let Some(of_client) = self.by_client.get_mut(&client) else {
                continue;
            };
            let next = of_client.pop_front();
            match of_client.is_empty() {
                true => drop(self.by_client.remove(&client)),
                false => self.turns.push_back(client),
            }
            self.waiting -= usize::from(next.is_some());
            // Who has left takes no turn of its own.
            if let Some(next) = next.filter(|next| !next.is_closed()) {
                return Some(next);
            }
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state();
        match state.next() {
            None => state.free += 1,
            Some(next) => {
                drop(state);
                // Who leaves at this moment gives it back in the same way.
                let _ = next.send(self.places.place());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn client(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[tokio::test(start_paused = true)]
    async fn clients_get_places_in_turn_however_many_one_of_them_waits_for() {
        let places = Places::new(1, 100);
        let mut held = places.take(client(1), PATIENCE).await.expect("one is free");
        assert!(places.are_taken());
        let (told, mut turns) = tokio::sync::mpsc::unbounded_channel();
        let mut waiting = tokio::task::JoinSet::new();
        for number in [1, 1, 1, 1, 2, 2, 3] {
            let (places, told) = (Arc::clone(&places), told.clone());
            waiting.spawn(async move {
                let place = places.take(client(number), PATIENCE).await;
                let _ = told.send((number, place));
            });
            tokio::task::yield_now().await;
        }
        let mut order = Vec::new();
        for _ in 0..7 {
            drop(held);
            let (number, place) = turns.recv().await.expect("somebody waits");
            held = place.expect("in time");
            order.push(number);
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 1, 1]);
        drop(held);
        assert!(!places.are_taken());
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_or_waits_too_long_keeps_no_place_and_the_queue_is_bounded() {
        let places = Places::new(1, 2);
        let held = places.take(None, PATIENCE).await.expect("one is free");
        let patient =
            tokio::time::timeout(Duration::from_secs(1), places.take(client(1), PATIENCE));
        assert!(patient.await.is_err(), "it has left");
        assert!(
            places
                .take(client(2), Duration::from_secs(2))
                .await
                .is_none()
        );
        // Both count until it is their turn, or somebody needs the room.
        assert_eq!(places.state().waiting, 2);
        let mut waiting = tokio::task::JoinSet::new();
        for number in [3, 4] {
            let places = Arc::clone(&places);
            waiting.spawn(async move { places.take(client(number), PATIENCE).await.is_some() });
            tokio::task::yield_now().await;
        }
        assert!(places.take(client(5), PATIENCE).await.is_none());
        assert_eq!(places.state().waiting, 2);
        waiting.shutdown().await;
        drop(held);
        assert!(!places.are_taken());
        assert!(places.take(client(3), PATIENCE).await.is_some());
        let state = places.state();
        assert_eq!(
            (state.waiting, state.by_client.len(), state.turns.len()),
            (0, 0, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_requests_fill_the_queue_makes_room_for_others() {
        let places = Places::new(1, 4);
        let held = places.take(client(1), PATIENCE).await.expect("one is free");
        let mut waiting = tokio::task::JoinSet::new();
        // The fifth of the first client is refused; the others take the place of its last ones.
        for number in [1, 1, 1, 1, 1, 2, 3, 2] {
            let places = Arc::clone(&places);
            waiting.spawn(async move {
                let place = places.take(client(number), PATIENCE).await;
                (number, place.is_some())
            });
            tokio::task::yield_now().await;
        }
        assert_eq!(places.state().waiting, 4);
        drop(held);
        let mut served: Vec<_> = waiting.join_all().await;
        served.retain(|(_, is_served)| *is_served);
        served.sort_unstable();
        assert_eq!(served, [1, 1, 2, 3].map(|number| (number, true)));
        assert!(!places.are_taken());
    }
}
