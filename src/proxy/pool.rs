//! The upstream connections of a gateway, which is the client of its upstreams: shared by all who ask it, as the go
//! command shares its own. An HTTP/2 connection carries as many requests as the upstream takes, an HTTP/1.1 connection one
//! at a time.
//!
//! A connection is in use as long as somebody but the pool holds it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Mutex;

use super::context::Context;
use super::upstream_connection::UpstreamConnection;
use super::upstreams::{ConnectError, Connected, NotConnected, Redial, Upstreams};
use super::windows::SHARED_STREAMS;
use crate::clock::Timestamp;
use crate::exchange::{Target, chain};
use crate::tls::Protocol;
use crate::upstream::{Dialer, Hear, Journey};

/// How long an unused connection is kept, as Go's client keeps its own (net/http, `DefaultTransport`).
const IDLE: Duration = Duration::from_secs(90);

/// How many unused connections are kept, as Go's client keeps its own.
pub(crate) const IDLE_MOST: usize = 100;

/// How often is looked for connections that were unused for long enough.
const LOOK: Duration = Duration::from_secs(30);

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

/// The connections of all origins.
#[derive(Default)]
pub(super) struct Pool {
    // A std Mutex: held for operations on the map, never across an await.
    shelves: Arc<StdMutex<Shelves>>,
    next: AtomicU64,
}

/// The connections by their origins.
#[derive(Default)]
struct Shelves {
    by_origin: HashMap<Origin, Arc<Shelf>>,
    /// A task ends connections that are unused for too long.
    is_reaped: bool,
}

/// The connections to one origin.
struct Shelf {
    /// Held while the first connection is dialled, and any that may turn out to be HTTP/2: those who wait
    /// get it too.
    dialling: Mutex<()>,
    redial: Redial,
    /// The origin speaks HTTP/1.1, so that each request needs a connection of its own.
    is_http1: AtomicBool,
    open: StdMutex<Vec<Arc<Pooled>>>,
}

/// A connection that can be used again.
pub(super) struct Pooled {
    /// Its number in the pool.
    pub(super) number: u64,
    pub(super) connection: Arc<UpstreamConnection>,
    /// How it was dialled, without what that took.
    pub(super) journey: Journey,
}

impl Pool {
    /// A connection to `origin`: one that is free, or a new one. `lost` is the one that failed just now.
    pub(super) async fn connect(
        &self,
        upstreams: &Arc<Upstreams>,
        dialer: &Dialer,
        origin: &Origin,
        lost: Option<&Arc<UpstreamConnection>>,
        hear: Hear<'_>,
    ) -> Result<Connected, NotConnected> {
        let shelf = self.shelf(origin);
        let preferred = upstreams.last_used(origin);
        let free = || shelf.free(preferred, lost, upstreams.leg.context.clock.now());
        let mut turn = None;
        if !shelf.is_http1() {
            if let Some(pooled) = free() {
                return Ok(upstreams.reuse(origin, &pooled));
            }
            let failures = shelf.redial.failures();
            turn = Some(shelf.dialling.lock().await);
            if let Some(pooled) = free() {
                return Ok(upstreams.reuse(origin, &pooled));
            }
            if shelf.redial.failures() != failures {
                return Err(NotConnected {
                    why: ConnectError::Shared(shelf.redial.why()),
                    journey: None,
                });
            }
            if shelf.is_http1() {
                turn = None;
            }
        } else if lost.is_none()
            // Where one HTTP/1.1 connection was closed as idle, the others may be too.
            && let Some(pooled) = free()
        {
            return Ok(upstreams.reuse(origin, &pooled));
        }
        // Boxed: it is large and rare, and would be moved about with every request.
        let dialled = Box::pin(upstreams.dial(dialer, origin, hear)).await;
        match &dialled {
            Ok(connected) => {
                let pooled = Pooled {
                    number: self.next.fetch_add(1, Ordering::Relaxed),
                    connection: Arc::clone(&connected.connection),
                    journey: connected
                        .journey
                        .as_ref()
                        .map_or_else(Journey::default, made),
                };
                upstreams.uses(origin, pooled.number);
                shelf.put(pooled);

                self.reap(&upstreams.leg.context);
            }
            Err(error) => {
                // A stream that became free meanwhile does as well.
                if let Some(pooled) = free() {
                    return Ok(upstreams.reuse(origin, &pooled));
                }
                if !shelf.is_open() {
                    shelf.redial.fails(chain(&error.why));
                }
            }
        }
        drop(turn);
        dialled
    }

    fn shelf(&self, origin: &Origin) -> Arc<Shelf> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shelf) = shelves.by_origin.get(origin) {
            return Arc::clone(shelf);
        }
        let shelf = Arc::new(Shelf {
            dialling: Mutex::default(),
            redial: Redial::default(),
            is_http1: AtomicBool::new(!origin.is_secure),
            open: StdMutex::default(),
        });
        shelves.by_origin.insert(origin.clone(), Arc::clone(&shelf));
        shelf
    }

    /// Ends what is over, and starts the task that does so from now on, while there are connections.
    fn reap(&self, context: &Arc<Context>) {
        let (clock, stop) = (context.clock, context.stop.clone());
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.sweep(clock.now());
        if std::mem::replace(&mut shelves.is_reaped, true) {
            return;
        }
        let shelves = Arc::downgrade(&self.shelves);
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
            let mut open = shelf.open();
            open.retain(|pooled| !pooled.is_over(now));
            let idle = open.iter().filter(|pooled| pooled.users() == 0);
            unused
                .extend(idle.map(|pooled| (pooled.connection.marks.last_passed(), pooled.number)));
        }
        unused.sort_unstable();
        unused.truncate(unused.len().saturating_sub(IDLE_MOST));
        for shelf in self.by_origin.values() {
            let is_spare = |number| unused.iter().any(|(_, spare)| *spare == number);
            shelf.open().retain(|pooled| !is_spare(pooled.number));
        }
        self.by_origin
            .retain(|_, shelf| Arc::strong_count(shelf) > 1 || shelf.is_open());
    }
}

impl Shelf {
    fn open(&self) -> MutexGuard<'_, Vec<Arc<Pooled>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a connection, free or not.
    fn is_open(&self) -> bool {
        !self.open().is_empty()
    }

    fn is_http1(&self) -> bool {
        self.is_http1.load(Ordering::Relaxed)
    }

    fn put(&self, pooled: Pooled) {
        let is_http1 = pooled.connection.protocol == Protocol::Http1;
        self.is_http1.store(is_http1, Ordering::Relaxed);
        self.open().push(Arc::new(pooled));
    }

    /// The connection of that number if it can be used, else the one that was made last.
    fn free(
        &self,
        preferred: Option<u64>,
        lost: Option<&Arc<UpstreamConnection>>,
        now: Timestamp,
    ) -> Option<Arc<Pooled>> {
        let mut open = self.open();
        open.retain(|pooled| !pooled.is_over(now));
        let is_lost =
            |pooled: &Pooled| lost.is_some_and(|lost| Arc::ptr_eq(lost, &pooled.connection));
        let mut free = open
            .iter()
            .rev()
            .filter(|pooled| pooled.has_room() && !is_lost(pooled));
        let own = free.clone().find(|pooled| Some(pooled.number) == preferred);
        own.or_else(|| free.next()).cloned()
    }
}

impl Pooled {
    /// How many use it, those who are still reading a response among them.
    fn users(&self) -> usize {
        Arc::strong_count(&self.connection) - 1
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
