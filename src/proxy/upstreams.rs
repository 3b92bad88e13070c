//! The upstream connections of one client connection: made for it, and shared with no other.
//!
//! Inside a CONNECT there is one at a time, and when it ends, the client connection ends too. An
//! exchange that was caught in that end dials once more. The clients of a gateway share those of its pool.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};

use tokio::sync::Mutex;
use tokio_util::either::Either;

use super::cause;
use super::client_leg::{ClientLeg, Destination};
use super::connection_log::Setup;
use super::live::Entry;
use super::pool::{Lease, Origin};
use super::upstream_connection::{Speaking, UpstreamConnection, UpstreamIo, captured};
use crate::clock::Timestamp;
use crate::exchange::{DialFailure, Mode, Target, chain};
use crate::tls::Protocol;
use crate::upstream::{DialError, Dialer, Hear, Journey, News};

/// The dial that CONNECT asked for. The first exchange owns it, if its request comes soon.
#[derive(Debug, Clone)]
pub(super) struct FirstDial {
    /// When the CONNECT was read.
    pub(super) started: Timestamp,
    pub(super) journey: Journey,
    /// A request after that does not own the dial.
    pub(super) until: Timestamp,
}

/// An upstream connection for one exchange.
pub(super) struct Connected {
    pub(super) connection: Arc<UpstreamConnection>,
    /// Its use, where others use it too.
    pub(super) lease: Option<Lease>,
    /// How long the dial took, if this exchange dialled.
    pub(super) journey: Option<Journey>,
    /// The parent proxy on the way, where it is not that of CONNECT.
    pub(super) via: Option<Arc<str>>,
}

/// Why an exchange has no upstream connection.
#[derive(Debug)]
pub(super) struct NotConnected {
    pub(super) why: ConnectError,
    /// How far the dial came, if this exchange dialled.
    pub(super) journey: Option<Box<Journey>>,
}

/// Why there is no upstream connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{0}")]
    Handshake(String),
    #[error("the upstream was lost, and cannot be reached again: {0}")]
    Gone(String),
    #[error("the upstream now chose another protocol than before")]
    Protocol,
    /// What another request was told that dialled for this one too.
    #[error("{0}")]
    Shared(String),
}

/// The last attempt to replace a lost upstream that failed. It counts for the requests that waited
/// for it, so that they do not dial one by one; a later request tries anew.
#[derive(Debug, Default)]
pub(super) struct Redial {
    failures: AtomicU64,
    why: StdMutex<String>,
}

impl Redial {
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn fails(&self, why: String) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn why(&self) -> String {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone()
    }
}

/// The upstream connections of one client connection.
pub(super) struct Upstreams {
    pub(super) leg: Arc<ClientLeg>,
    /// The parent proxy that CONNECT was dialled through, without credentials.
    pub(super) via: Option<Arc<str>>,
    /// Why TLS with the upstream failed, if it did: every request is answered with it.
    pub(super) tls_failure: Option<String>,
    first: StdMutex<Option<FirstDial>>,
    connections: Mutex<HashMap<Target, Arc<UpstreamConnection>>>,
    /// The pooled connection that was used last for each origin.
    used: StdMutex<HashMap<Origin, u64>>,
    /// The places of entries that answered with an error, other than 404 and 410, whether they relay the
    /// checksum database.
    pub(super) failed_databases: StdMutex<BTreeSet<usize>>,
    has_dialled: AtomicBool,
    redial: Redial,
    failed_unused: OnceLock<String>,
}

impl Upstreams {
    pub(super) fn new(
        leg: ClientLeg,
        first: Option<FirstDial>,
        tls_failure: Option<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            leg: Arc::new(leg),
            via: first
                .as_ref()
                .and_then(|first| first.journey.via.as_deref())
                .map(Arc::from),
            tls_failure,
            first: StdMutex::new(first),
            connections: Mutex::default(),
            used: StdMutex::default(),
            failed_databases: StdMutex::default(),
            has_dialled: AtomicBool::new(false),
            redial: Redial::default(),
            failed_unused: OnceLock::new(),
        })
    }

    /// The dial of CONNECT for the connection's first exchange, if its request came in time.
    pub(super) fn take_first_dial(&self) -> Option<FirstDial> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let first = first.take();
        first.filter(|first| self.leg.context.clock.now() <= first.until)
    }

    /// Takes over the connection that was dialled when CONNECT came. If it is lost already, the
    /// first request dials anew.
    pub(super) async fn adopt(self: &Arc<Self>, target: &Target, io: UpstreamIo) {
        match self.speak_http(target, io).await {
            Ok(connection) => {
                let mut connections = self.connections.lock().await;
                connections.insert(target.clone(), Arc::clone(&connection));
                drop(connections);
                self.follow(target.clone(), &connection);
            }
            Err(error) => {
                let why = cause::of(&error, target.host(), "");
                let _ = self.failed_unused.set(why);
            }
        }
    }

    /// The connection to `origin`; dials if there is none, or only the one that was `lost`.
    pub(super) async fn connect(
        self: &Arc<Self>,
        dialer: &Dialer,
        origin: &Origin,
        lost: Option<&Arc<UpstreamConnection>>,
        entry: &Entry,
    ) -> Result<Connected, NotConnected> {
        if let Destination::Gateway(gateway) = &self.leg.destination {
            return Box::pin(gateway.pool.connect(self, origin, lost, entry)).await;
        }
        let target = &origin.target;
        let is_tunnelled = self.leg.is_tunnelled();
        let failures = self.redial.failures();
        let mut connections = self.connections.lock().await;
        if let Some(connection) = connections.get(target) {
            let is_usable = match lost {
                Some(lost) => !Arc::ptr_eq(connection, lost),
                // For requests in clear text a new connection is simply dialled; inside a CONNECT
                // the end of the upstream is met by sending, which tells a race from a close.
                None => is_tunnelled || !connection.ended.is_cancelled(),
            };
            if is_usable {
                return Ok(Connected {
                    connection: Arc::clone(connection),
                    lease: None,
                    journey: None,
                    via: None,
                });
            }
        }
        if lost.is_some() && self.redial.failures() != failures {
            return Err(NotConnected {
                why: ConnectError::Gone(self.redial.why()),
                journey: None,
            });
        }
        // Boxed: it is large and rare, and would be moved about with every request.
        let hear = |news: News<'_>| entry.update(news);
        let dialled = Box::pin(self.dial(dialer, origin, &hear)).await;
        if let (Some(_), true, Err(error)) = (lost, is_tunnelled, &dialled) {
            self.redial.fails(chain(&error.why));
        }
        let (connection, journey) = dialled?;
        if !is_tunnelled {
            // Requests in clear text come one after the other, so that no other connection is in
            // use. They may ask any number of hosts, and a place is counted with one descriptor
            // upstream.
            connections.clear();
        }
        connections.insert(target.clone(), Arc::clone(&connection));
        drop(connections);
        self.follow(target.clone(), &connection);
        Ok(Connected {
            connection,
            lease: None,
            via: journey.via.as_deref().map(Arc::from),
            journey: Some(journey),
        })
    }

    /// The number of the pooled connection that was used last for an origin.
    pub(super) fn last_used(&self, origin: &Origin) -> Option<u64> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.get(origin).copied()
    }

    /// Notes which pooled connection is used now; true if it was another one before.
    fn uses(&self, origin: &Origin, number: u64) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = used.get(origin) != Some(&number);
        if is_new {
            used.insert(origin.clone(), number);
        }
        is_new
    }

    /// A connection of the pool, for the exchange that dialled it.
    pub(super) fn owns(&self, origin: &Origin, lease: Lease, journey: Journey) -> Connected {
        self.uses(origin, lease.pooled().number);
        Connected {
            connection: Arc::clone(&lease.pooled().connection),
            lease: Some(lease),
            via: journey.via.as_deref().map(Arc::from),
            journey: Some(journey),
        }
    }

    /// A connection of the pool, for an exchange that did not dial it. The record says which one, where the
    /// exchange before it on this client connection used another, or where this one `has_dialled` another.
    pub(super) fn reuse(&self, origin: &Origin, lease: Lease, has_dialled: bool) -> Connected {
        let pooled = lease.pooled();
        let journey = &pooled.journey;
        if self.uses(origin, pooled.number) || has_dialled {
            let context = &self.leg.context;
            self.setup(context.clock.now(), &origin.target, journey, None)
                .record(context);
        }
        Connected {
            connection: Arc::clone(&pooled.connection),
            journey: None,
            via: journey.via.as_deref().map(Arc::from),
            lease: Some(lease),
        }
    }

    /// What is recorded of a dial, or of a connection that is used from now on.
    fn setup<'a>(
        &'a self,
        started: Timestamp,
        target: &Target,
        journey: &'a Journey,
        error: Option<&'a str>,
    ) -> Setup<'a> {
        let leg = &self.leg;
        let has_dialled = self.has_dialled.swap(true, Ordering::Relaxed);
        Setup {
            id: leg.id,
            started,
            mode: match &leg.destination {
                Destination::Tunnelled {
                    is_secure: true, ..
                } => Mode::Intercept,
                Destination::Tunnelled { .. } | Destination::Plain => Mode::Plain,
                Destination::Gateway(_) => Mode::Gateway,
            },
            target: target.to_string().into(),
            client: &leg.side,
            journey: Some(journey),
            error,
            // The dial for a CONNECT was recorded when that came.
            again: has_dialled || leg.is_tunnelled(),
        }
    }

    /// Dials and records it.
    pub(super) async fn dial(
        &self,
        dialer: &Dialer,
        origin: &Origin,
        hear: Hear<'_>,
    ) -> Result<(Arc<UpstreamConnection>, Journey), NotConnected> {
        let target = &origin.target;
        let started = self.leg.context.clock.now();
        let mut dialling = Dialling {
            upstreams: self,
            dialer,
            target,
            started,
            journey: Journey {
                started,
                ..Journey::default()
            },
            is_recorded: false,
        };
        let journey = &mut dialling.journey;
        let dialled = self.dial_steps(dialer, origin, journey, hear).await;
        let error = dialled.as_ref().err().map(|error| chain(error));
        dialling.record(error.as_deref());
        let journey = std::mem::take(&mut dialling.journey);
        match dialled {
            Ok(connection) => Ok((connection, journey)),
            Err(why) => Err(NotConnected {
                why,
                journey: Some(Box::new(journey)),
            }),
        }
    }

    async fn dial_steps(
        &self,
        dialer: &Dialer,
        origin: &Origin,
        journey: &mut Journey,
        hear: Hear<'_>,
    ) -> Result<Arc<UpstreamConnection>, ConnectError> {
        let leg = &self.leg;
        let Origin { is_secure, target } = origin;
        let io = match &leg.destination {
            // The CONNECT named where to go; the server name only says which host to expect there.
            Destination::Tunnelled {
                target,
                host,
                is_secure,
            } => {
                let stream = dialer.connect(target, *is_secure, journey, hear).await?;
                if !is_secure {
                    let connection = self.speak_http(target, Either::Left(stream)).await;
                    return connection
                        .map_err(|error| ConnectError::Handshake(cause::of(&error, host, "")));
                }
                let offered = [leg.protocol];
                let tls = dialer
                    .handshake(stream, host, &offered, journey, hear)
                    .await?;
                if journey.alpn.unwrap_or(Protocol::Http1) != leg.protocol {
                    return Err(ConnectError::Protocol);
                }
                Either::Right(Box::new(tls))
            }
            Destination::Gateway(_) if *is_secure => {
                let stream = dialer.connect(target, true, journey, hear).await?;
                let offered = [Protocol::H2, Protocol::Http1];
                let tls = dialer
                    .handshake(stream, target.host(), &offered, journey, hear)
                    .await?;
                Either::Right(Box::new(tls))
            }
            Destination::Plain | Destination::Gateway(_) => {
                Either::Left(dialer.connect(target, false, journey, hear).await?)
            }
        };
        if let Some(captured) = captured(&io) {
            captured.will_send(format!("connection={}", leg.id));
        }
        let connection = match leg.destination {
            Destination::Gateway(_) => {
                let protocol = journey.alpn.unwrap_or(Protocol::Http1);
                let speaking = Speaking::for_many(&leg.context, protocol);
                UpstreamConnection::open(&leg.context, speaking, io, target.host()).await
            }
            _ => self.speak_http(target, io).await,
        };
        connection.map_err(|error| ConnectError::Handshake(cause::of(&error, target.host(), "")))
    }

    async fn speak_http(
        &self,
        target: &Target,
        io: UpstreamIo,
    ) -> Result<Arc<UpstreamConnection>, hyper::Error> {
        let leg = &self.leg;
        let speaking = Speaking::as_client(leg);
        UpstreamConnection::open(&leg.context, speaking, io, target.host()).await
    }

    /// When the upstream of a CONNECT ends, and nothing replaced it, the client leg ends too.
    fn follow(self: &Arc<Self>, target: Target, connection: &Arc<UpstreamConnection>) {
        if !self.leg.is_tunnelled() {
            return;
        }
        let ended = connection.ended.clone();
        let (upstreams, connection) = (Arc::downgrade(self), Arc::downgrade(connection));
        self.leg.context.spawn(async move {
            ended.cancelled().await;
            let (Some(upstreams), Some(connection)) = (upstreams.upgrade(), connection.upgrade())
            else {
                return;
            };
            let connections = upstreams.connections.lock().await;
            let current = connections.get(&target);
            if current.is_some_and(|current| Arc::ptr_eq(current, &connection)) {
                upstreams.upstream_ended(&connection);
            }
        });
    }

    /// A client that has sent no request yet would never hear why the upstream broke off: its
    /// connection stays, and its first request goes to a new upstream connection.
    fn upstream_ended(&self, connection: &UpstreamConnection) {
        match connection.failure() {
            Some(why) if self.leg.watch.is_unused() => {
                let _ = self.failed_unused.set(why);
                self.leg.watch.stream_limit.lift();
            }
            _ => self.leg.ended.cancel(),
        }
    }

    /// Why the upstream broke off, if it did and no request ever came.
    pub(super) fn failed_unused(&self) -> Option<&str> {
        let why = self.failed_unused.get()?;
        self.leg.watch.is_unused().then_some(why)
    }
}

/// A dial, which is on record whatever becomes of it: where its client leaves, or the run ends, it is
/// dropped.
struct Dialling<'a> {
    upstreams: &'a Upstreams,
    dialer: &'a Dialer,
    target: &'a Target,
    started: Timestamp,
    journey: Journey,
    is_recorded: bool,
}

impl Dialling<'_> {
    fn record(&mut self, error: Option<&str>) {
        self.is_recorded = true;
        let upstreams = self.upstreams;
        upstreams
            .setup(self.started, self.target, &self.journey, error)
            .record(&upstreams.leg.context);
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        if self.is_recorded {
            return;
        }
        let context = &self.upstreams.leg.context;
        let (failure, why) = match context.stop.is_cancelled() {
            true => (DialFailure::Stopped, context.why_stopped()),
            false => (DialFailure::ClientLeft, context.why_closed(cause::GAVE_UP)),
        };
        let got = self.dialer.give_up(self.target, &mut self.journey);
        self.journey.failure = Some(context.cut_or(failure));
        let host = self.target.host();
        self.record(Some(&format!(
            "{why} while {host} was being connected ({got})"
        )));
    }
}
