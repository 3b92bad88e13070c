//! The upstream connections of a gateway, which is the client of its upstreams: shared by all who ask it, as the go
//! command shares its own. An HTTP/2 connection carries as many requests as the upstream takes, an HTTP/1.1 connection one
//! at a time. A request takes what is there first: a connection that another has done with, or the one that is dialled for
//! it, which is the next one's then (as net/http's `Transport` has it).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::{Notify, oneshot};

use super::context::Context;
use super::live::{Entry, Follower};
use super::upstream_connection::UpstreamConnection;
use super::upstreams::{ConnectError, Connected, NotConnected, Redial, Upstreams};
use super::windows::SHARED_STREAMS;
use crate::clock::Timestamp;
use crate::exchange::{Target, chain};
use crate::tls::Protocol;
use crate::upstream::{Journey, News};

/// How long an unused connection is kept, as Go's client keeps its own (net/http, `DefaultTransport`).
const IDLE: Duration = Duration::from_secs(90);

/// How many unused connections are kept, as Go's client keeps its own.
pub(crate) const IDLE_MOST: usize = 100;

/// How often is looked for connections that were unused for long enough.
const LOOK: Duration = Duration::from_secs(30);

/// How long a dial is waited for that may lead to an HTTP/2 connection, before another one is begun beside it: TCP
/// has sent its first packet three times by then (RFC 6298 section 2).
const PATIENCE: Duration = Duration::from_secs(3);

/// How many dials to an origin go on at once without the requests that began them, as those of net/http do: no more, so
/// that a client that gives up and asks again, over and over, holds no sockets.
const ORPHANS: usize = 8;

/// Scheme, host and port of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    /// https, or http.
    pub(super) is_secure: bool,
    pub(super) target: Target,
}

impl Origin {
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once("://")?;
        let is_secure = scheme.eq_ignore_ascii_case("https");
        let is_known = is_secure || scheme.eq_ignore_ascii_case("http");
        let target = Target::of_url(url).filter(|_| is_known)?;
        Some(Self { is_secure, target })
    }

    /// The Referer of what a response of this origin to a request for `url` leads to, as go writes it: the URL
    /// without its userinfo.
    pub(super) fn referer(&self, url: &str) -> Option<HeaderValue> {
        let scheme = if self.is_secure { "https" } else { "http" };
        let (_, rest) = url.split_once("://")?;
        let path = rest.find(['/', '?', '#']).and_then(|at| rest.get(at..));
        let path = path.unwrap_or_default();
        HeaderValue::try_from(format!("{scheme}://{}{path}", self.authority())).ok()
    }

    /// The host, and the port where it is not the scheme's own.
    pub(super) fn authority(&self) -> String {
        self.target.authority(if self.is_secure { 443 } else { 80 })
    }
}

/// The connections of all origins; cheap to clone.
// A std Mutex: held for operations on the map, never across an await.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<StdMutex<Shelves>>);

/// The connections by their origins.
#[derive(Default)]
struct Shelves {
    by_origin: HashMap<Origin, Arc<Shelf>>,
    /// How many connections there were so far.
    numbered: u64,
    /// A task ends connections that are unused for too long.
    is_reaped: bool,
}

/// The connections to one origin.
struct Shelf {
    // A std Mutex: held for operations on the list, never across an await.
    state: StdMutex<State>,
    redial: Redial,
    /// Wakes one who waits for each place that becomes free, and all of them when a dial is over.
    changed: Arc<Notify>,
}

struct State {
    open: Vec<Arc<Pooled>>,
    /// The origin speaks HTTP/1.1, so that each request needs a connection of its own.
    is_http1: bool,
    /// How many dials are under way.
    dials: usize,
    /// How many of them go on without the request that began them.
    orphans: usize,
    /// When the last of them began.
    last_dial: Timestamp,
}

/// A connection that can be used again.
pub(super) struct Pooled {
    /// Its number in the pool.
    pub(super) number: u64,
    pub(super) connection: Arc<UpstreamConnection>,
    /// How it was dialled, without what that took.
    pub(super) journey: Journey,
    /// How many exchanges use it.
    users: AtomicUsize,
    changed: Arc<Notify>,
}

/// The use of a pooled connection by one exchange, until it is over.
pub(super) struct Lease(Arc<Pooled>);

/// A dial that is under way, until it is over.
struct Dial {
    shelf: Arc<Shelf>,
    /// Why it failed, if it did.
    failed: Option<String>,
    /// It goes on without its request.
    is_orphan: bool,
}

/// The dial that a request has begun. It goes on without the request, which takes what comes first.
struct OwnDial {
    outcome: oneshot::Receiver<Result<(Lease, Box<Journey>), NotConnected>>,
    /// The request's line in the live view, as long as it waits.
    _line: Arc<Follower>,
}

impl Pool {
    /// A connection to `origin`, whichever is there first: one that is free, or a new one. `lost` is the one
    /// that failed just now.
    pub(super) async fn connect(
        &self,
        upstreams: &Arc<Upstreams>,
        origin: &Origin,
        lost: Option<&Arc<UpstreamConnection>>,
        entry: &Entry,
    ) -> Result<Connected, NotConnected> {
        let shelf = self.shelf(origin);
        let clock = upstreams.leg.context.clock;
        let preferred = upstreams.last_used(origin);
        // Where one HTTP/1.1 connection was closed as idle, the others may be too.
        let free = || match lost.is_some() && shelf.is_http1() {
            true => None,
            false => shelf.lease(preferred, lost, clock.now()),
        };
        if let Some(lease) = free() {
            return Ok(upstreams.reuse(origin, lease, false));
        }
        let failures = shelf.redial.failures();
        let mut own: Option<OwnDial> = None;
        loop {
            let changed = shelf.changed.notified();
            tokio::pin!(changed);
            // Whoever takes only what is dialled for it keeps no other from being woken.
            let takes_free = lost.is_none() || !shelf.is_http1();
            if takes_free {
                // What changes from now on is noticed.
                changed.as_mut().enable();
            }
            if let Some(lease) = free() {
                shelf.pass_on();
                return Ok(upstreams.reuse(origin, lease, own.is_some()));
            }
            if own.is_none() {
                if shelf.redial.failures() != failures {
                    return Err(shared(shelf.redial.why()));
                }
                let dial = shelf.may_dial(clock.now());
                own = dial.map(|dial| self.dial(dial, upstreams, origin, entry));
            }
            let Some(own) = &mut own else {
                let _ = tokio::time::timeout_at(clock.instant(shelf.patience()), changed).await;
                continue;
            };
            let outcome = tokio::select! {
                biased;
                outcome = &mut own.outcome => outcome,
                () = changed, if takes_free => continue,
            };
            let outcome = outcome.unwrap_or_else(|_| {
                // The run is over.
                Err(shared(upstreams.leg.context.why_stopped()))
            });
            return match outcome {
                Ok((lease, journey)) => Ok(upstreams.owns(origin, lease, *journey)),
                Err(error) => match free() {
                    Some(lease) => Ok(upstreams.reuse(origin, lease, true)),
                    None => Err(error),
                },
            };
        }
    }

    /// Dials beside the request that asks for it, which may be served by another connection meanwhile.
    fn dial(
        &self,
        mut dial: Dial,
        upstreams: &Arc<Upstreams>,
        origin: &Origin,
        entry: &Entry,
    ) -> OwnDial {
        let (mut asks, outcome) = oneshot::channel();
        let line = Arc::new(entry.follower());
        let follower = Arc::downgrade(&line);
        let (pool, origin) = (self.clone(), origin.clone());
        let asker = Arc::clone(upstreams);
        upstreams.leg.context.spawn(async move {
            let context = &asker.leg.context;
            let Some(dialer) = context.responder.dialer() else {
                return;
            };
            let hear = |news: News<'_>| {
                if let Some(line) = follower.upgrade() {
                    line.update(news);
                }
            };
            let unwanted = async {
                asks.closed().await;
                if dial.goes_on() {
                    context.stop.cancelled().await;
                }
            };
            let dialled = tokio::select! {
                dialled = asker.dial(dialer, &origin, &hear) => dialled,
                () = unwanted => return,
            };
            let outcome = match dialled {
                Ok((connection, journey)) => {
                    let lease = pool.put(&dial.shelf, connection, &journey);
                    Ok((lease, Box::new(journey)))
                }
                Err(error) => {
                    dial.fails(&error);
                    Err(error)
                }
            };
            pool.reap(context);
            // Without anybody who asks, it is the next one's.
            let _ = asks.send(outcome);
        });
        OwnDial {
            outcome,
            _line: line,
        }
    }

    /// A new connection, and its first use.
    fn put(&self, shelf: &Shelf, connection: Arc<UpstreamConnection>, journey: &Journey) -> Lease {
        let number = {
            let mut shelves = self.lock();
            shelves.numbered += 1;
            shelves.numbered
        };
        let pooled = Arc::new(Pooled {
            number,
            connection,
            journey: made(journey),
            users: AtomicUsize::new(0),
            changed: Arc::clone(&shelf.changed),
        });
        let mut state = shelf.lock();
        state.is_http1 = pooled.connection.protocol == Protocol::Http1;
        state.open.push(Arc::clone(&pooled));
        Lease::of(&pooled)
    }

    fn shelf(&self, origin: &Origin) -> Arc<Shelf> {
        let mut shelves = self.lock();
        if let Some(shelf) = shelves.by_origin.get(origin) {
            return Arc::clone(shelf);
        }
        let shelf = Arc::new(Shelf {
            state: StdMutex::new(State {
                open: Vec::new(),
                is_http1: !origin.is_secure,
                dials: 0,
                orphans: 0,
                last_dial: Timestamp::default(),
            }),
            redial: Redial::default(),
            changed: Arc::default(),
        });
        shelves.by_origin.insert(origin.clone(), Arc::clone(&shelf));
        shelf
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what is over, and starts the task that does so from now on, while there are connections.
    fn reap(&self, context: &Arc<Context>) {
        let (clock, stop) = (context.clock, context.stop.clone());
        let mut shelves = self.lock();
        shelves.sweep(clock.now());
        if std::mem::replace(&mut shelves.is_reaped, true) {
            return;
        }
        let shelves = Arc::downgrade(&self.0);
        context.spawn(async move {
            let look = || tokio::time::timeout(LOOK, stop.cancelled());
            while look().await.is_err() {
                let Some(shelves) = shelves.upgrade() else {
                    return;
                };
                let mut shelves = shelves.lock().unwrap_or_else(PoisonError::into_inner);
                shelves.sweep(clock.now());
                if shelves.by_origin.is_empty() {
                    shelves.is_reaped = false;
                    return;
                }
            }
        });
    }
}

fn shared(why: String) -> NotConnected {
    NotConnected {
        why: ConnectError::Shared(why),
        journey: None,
    }
}

/// The same way without the time that it took, which is another exchange's.
fn made(journey: &Journey) -> Journey {
    Journey {
        dns_us: None,
        connect_us: None,
        tls_us: None,
        tries: Vec::new(),
        ..journey.clone()
    }
}

impl Shelves {
    /// Drops connections that are over, the oldest of the unused ones where there are too many, and shelves that
    /// nobody uses and that hold none.
    fn sweep(&mut self, now: Timestamp) {
        let mut unused = Vec::new();
        for shelf in self.by_origin.values() {
            let open = &mut shelf.lock().open;
            open.retain(|pooled| !pooled.is_over(now));
            let idle = open.iter().filter(|pooled| pooled.users() == 0);
            unused
                .extend(idle.map(|pooled| (pooled.connection.marks.last_passed(), pooled.number)));
        }
        unused.sort_unstable();
        unused.truncate(unused.len().saturating_sub(IDLE_MOST));
        for shelf in self.by_origin.values() {
            let is_spare = |number| unused.iter().any(|(_, spare)| *spare == number);
            let open = &mut shelf.lock().open;
            open.retain(|pooled| !is_spare(pooled.number));
        }
        self.by_origin
            .retain(|_, shelf| Arc::strong_count(shelf) > 1 || !shelf.lock().open.is_empty());
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_http1(&self) -> bool {
        self.lock().is_http1
    }

    /// The use of a connection that is free: that of the number, else the one that was made last.
    fn lease(
        &self,
        preferred: Option<u64>,
        lost: Option<&Arc<UpstreamConnection>>,
        now: Timestamp,
    ) -> Option<Lease> {
        let open = &mut self.lock().open;
        open.retain(|pooled| !pooled.is_over(now));
        let is_lost =
            |pooled: &Pooled| lost.is_some_and(|lost| Arc::ptr_eq(lost, &pooled.connection));
        let mut free = open
            .iter()
            .rev()
            .filter(|pooled| pooled.has_room() && !is_lost(pooled));
        let own = free.clone().find(|pooled| Some(pooled.number) == preferred);
        own.or_else(|| free.next()).map(Lease::of)
    }

    /// Whoever waits besides is woken too, if there is more room: one is woken for a connection that has many
    /// places.
    fn pass_on(&self) {
        if self.lock().open.iter().any(|pooled| pooled.has_room()) {
            self.changed.notify_one();
        }
    }

    /// A dial, unless one is waited for: it may lead to an HTTP/2 connection, which takes all who wait.
    fn may_dial(self: &Arc<Self>, now: Timestamp) -> Option<Dial> {
        let mut state = self.lock();
        let is_waited_for = state.dials > 0 && now < state.last_dial + PATIENCE;
        if is_waited_for && !state.is_http1 {
            return None;
        }
        state.dials += 1;
        state.last_dial = now;
        Some(Dial {
            shelf: Arc::clone(self),
            failed: None,
            is_orphan: false,
        })
    }

    /// Until when the last dial is waited for.
    fn patience(&self) -> Timestamp {
        self.lock().last_dial + PATIENCE
    }
}

impl Dial {
    fn fails(&mut self, error: &NotConnected) {
        self.failed = Some(chain(&error.why));
    }

    /// Whether it goes on without its request, which took another connection or was given up.
    fn goes_on(&mut self) -> bool {
        let mut state = self.shelf.lock();
        self.is_orphan = state.orphans < ORPHANS;
        state.orphans += usize::from(self.is_orphan);
        self.is_orphan
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        let mut state = self.shelf.lock();
        state.dials -= 1;
        state.orphans -= usize::from(self.is_orphan);
        // Those who wait are told of the last failure: as long as there is another dial, that one may succeed.
        let is_last = state.dials == 0 && state.open.is_empty();
        if let Some(why) = self.failed.take().filter(|_| is_last) {
            self.shelf.redial.fails(why);
        }
        drop(state);
        self.shelf.changed.notify_waiters();
    }
}

impl Lease {
    fn of(pooled: &Arc<Pooled>) -> Self {
        pooled.users.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(pooled))
    }

    /// The connection.
    pub(super) fn pooled(&self) -> &Pooled {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

impl Pooled {
    /// How many use it, those who are still reading a response among them.
    fn users(&self) -> usize {
        self.users.load(Ordering::Relaxed)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        let last = self.connection.marks.last_passed();
        let is_stale = self.users() == 0 && now.since(last) > IDLE;
        let connection = &self.connection;
        is_stale || connection.is_distrusted() || connection.ended.is_cancelled()
    }

    fn has_room(&self) -> bool {
        match self.connection.protocol {
            Protocol::Http1 => self.users() == 0 && self.connection.is_idle(),
            Protocol::H2 => {
                let limit = self.connection.stream_limit().min(SHARED_STREAMS);
                self.users() < limit as usize
            }
        }
    }
}
