//! A client connection as its exchanges see it: where it leads, and the upstream paired with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::cause;
use super::connection_log::{note, opened};
use super::context::Context;
use super::guard::Watch;
use super::upstream_connection::{UpstreamConnection, UpstreamIo};
use super::windows::Share;
use crate::capture::Stream;
use crate::clock::Timestamp;
use crate::exchange::{ClientSide, ConnectionId, Mode, Opened, Target, chain};
use crate::tls::Protocol;
use crate::upstream::{DialError, Dialer, Hear, Journey};

/// What the request heads of one connection may take at once, bytes. HPACK makes 64 KiB of 40 bytes,
/// and each is copied for the recording and the upstream.
const HEADS_LIMIT: usize = 1024 * 1024;

/// Where the requests of a client connection go.
#[derive(Debug, Clone)]
pub(super) enum Destination {
    /// Inside a CONNECT: TLS for this host, at this target.
    Tunnelled { target: Target, host: String },
    /// Absolute-form requests, each with a target of its own.
    Plain,
}

/// What the first exchange of a connection owns.
#[derive(Debug, Clone)]
pub(super) struct First {
    pub(super) started: Timestamp,
    pub(super) journey: Journey,
    /// A request after that no longer owns the dial.
    pub(super) until: Timestamp,
}

/// Why an exchange has no upstream.
#[derive(Debug, thiserror::Error)]
pub(super) enum PairError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{0}")]
    Handshake(String),
    #[error("the upstream was lost, and cannot be reached again: {0}")]
    Gone(String),
    #[error("the upstream now chose another protocol than before")]
    Protocol,
}

/// There is no pair; what the dial took, if this exchange dialled.
#[derive(Debug)]
pub(super) struct Unpaired {
    pub(super) why: PairError,
    pub(super) journey: Option<Box<Journey>>,
}

/// The last attempt to replace a lost upstream that failed. It counts for the requests that waited
/// for it, so that they do not dial one by one; a later request tries anew.
#[derive(Debug, Default)]
struct Redial {
    failures: AtomicU64,
    why: StdMutex<String>,
}

impl Redial {
    fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn fails(&self, why: String) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn why(&self) -> String {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone()
    }
}

/// A client connection as its exchanges see it.
pub(super) struct Channel {
    context: Arc<Context>,
    id: ConnectionId,
    pub(super) client: ClientSide,
    pub(super) destination: Destination,
    pub(super) protocol: Protocol,
    /// The parent proxy that the connection goes through, without credentials.
    pub(super) via: Option<String>,
    watch: Arc<Watch>,
    /// What may be on its way, on either leg.
    pub(super) share: Share,
    /// Why TLS with the upstream failed, if it did: every request is answered with it.
    pub(super) broken: Option<String>,
    first: StdMutex<Option<First>>,
    pairs: Mutex<HashMap<Target, Arc<UpstreamConnection>>>,
    has_dialled: AtomicBool,
    redial: Redial,
    failed_unused: OnceLock<String>,
    /// Bytes of the request heads of all exchanges that go on: HTTP/2.
    heads: AtomicUsize,
    /// The client's connection in the packet capture, if there is one.
    pub(super) stream: Option<Stream>,
    /// Cancelled when the client connection should end after what is in flight.
    pub(super) ended: CancellationToken,
}

impl Channel {
    pub(super) fn new(
        context: &Arc<Context>,
        id: ConnectionId,
        client: ClientSide,
        (destination, protocol): (Destination, Protocol),
        broken: Option<String>,
        first: Option<First>,
    ) -> Self {
        Self {
            watch: Watch::new(protocol, context.clock.now()),
            share: context.windows.share(protocol),
            context: Arc::clone(context),
            id,
            client,
            destination,
            protocol,
            broken,
            via: first.as_ref().and_then(|first| first.journey.via.clone()),
            first: StdMutex::new(first),
            pairs: Mutex::default(),
            has_dialled: AtomicBool::new(false),
            redial: Redial::default(),
            failed_unused: OnceLock::new(),
            heads: AtomicUsize::new(0),
            stream: None,
            ended: CancellationToken::new(),
        }
    }

    /// The same, as a connection of the packet capture.
    pub(super) fn captured_as(self, stream: Option<Stream>) -> Self {
        Self { stream, ..self }
    }

    /// Tells the packet capture, if there is one, whose request was read.
    pub(super) fn has_read(&self, request: impl FnOnce() -> String) {
        if let Some(stream) = &self.stream {
            stream.has_read(request());
        }
    }

    pub(super) const fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(super) const fn id(&self) -> ConnectionId {
        self.id
    }

    pub(super) const fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Takes room for a request head; false where the connection has none left. One head has room
    /// alone, and hundreds of those that go or git send.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        let held = self.heads.fetch_add(bytes, Ordering::Relaxed);
        held == 0 || held + bytes <= HEADS_LIMIT
    }

    /// Gives that room back.
    pub(super) fn gives_back(&self, bytes: usize) {
        self.heads.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What the connection's first exchange owns, once, if its request came in time.
    pub(super) fn take_first(&self) -> Option<First> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first
            .take()
            .filter(|first| self.context.clock.now() <= first.until)
    }

    /// Pairs this connection with what was dialled when CONNECT came. If that is lost already, the
    /// first request dials anew.
    pub(super) async fn pair_with(self: &Arc<Self>, target: &Target, io: UpstreamIo) {
        let peer = (target.host(), self.protocol);
        match UpstreamConnection::open(&self.context, io, peer, &self.share).await {
            Ok(pair) => self.adopt(target, pair).await,
            Err(error) => {
                let why = cause::of(&error, target.host(), "");
                let _ = self.failed_unused.set(why);
            }
        }
    }

    /// The pair for `target`; dials where there is none, or where `lost` is what there is.
    pub(super) async fn pair(
        self: &Arc<Self>,
        dialer: &Dialer,
        target: &Target,
        lost: Option<&Arc<UpstreamConnection>>,
        hear: Hear<'_>,
    ) -> Result<(Arc<UpstreamConnection>, Option<Journey>), Unpaired> {
        let failures = self.redial.failures();
        let mut pairs = self.pairs.lock().await;
        if let Some(pair) = pairs.get(target) {
            let usable = match lost {
                Some(lost) => !Arc::ptr_eq(pair, lost),
                // Of plain requests a new pair is simply dialled; inside a CONNECT the end of the
                // upstream is met by sending, which tells a race from a close.
                None => self.is_tunnelled() || !pair.ended.is_cancelled(),
            };
            if usable {
                return Ok((Arc::clone(pair), None));
            }
        }
        if lost.is_some() && self.redial.failures() != failures {
            return Err(Unpaired {
                why: PairError::Gone(self.redial.why()),
                journey: None,
            });
        }
        // Boxed: it is large and rare, and would be moved about with every request.
        let dialled = Box::pin(self.dial(dialer, target, hear)).await;
        if let (Some(_), Err(error)) = (lost, &dialled)
            && self.is_tunnelled()
        {
            self.redial.fails(chain(&error.why));
        }
        let (pair, journey) = dialled?;
        if !self.is_tunnelled() {
            // Requests in clear text come one after the other, so that no other one is in use. They
            // may ask any number of hosts, and a place is counted with one descriptor upstream.
            pairs.clear();
        }
        pairs.insert(target.clone(), Arc::clone(&pair));
        drop(pairs);
        self.follow(target.clone(), &pair);
        Ok((pair, Some(journey)))
    }

    const fn is_tunnelled(&self) -> bool {
        matches!(self.destination, Destination::Tunnelled { .. })
    }

    async fn dial(
        &self,
        dialer: &Dialer,
        target: &Target,
        hear: Hear<'_>,
    ) -> Result<(Arc<UpstreamConnection>, Journey), Unpaired> {
        let mut journey = Journey::default();
        let started = self.context.clock.now();
        let dialled = self.dial_steps(dialer, target, &mut journey, hear).await;
        let mode = if self.is_tunnelled() {
            Mode::Intercept
        } else {
            Mode::Plain
        };
        let error = dialled.as_ref().err().map(|error| chain(error));
        let what = (self.id, started, mode);
        let outcome = (Some(&journey), error);
        let opened = opened(
            &self.context,
            what,
            &target.to_string(),
            &self.client,
            outcome,
        );
        // What CONNECT dialled was told when it came.
        let again = self.has_dialled.swap(true, Ordering::Relaxed) || self.is_tunnelled();
        note(&self.context, Opened { again, ..opened });
        match dialled {
            Ok(pair) => Ok((pair, journey)),
            Err(why) => Err(Unpaired {
                why,
                journey: Some(Box::new(journey)),
            }),
        }
    }

    async fn dial_steps(
        &self,
        dialer: &Dialer,
        target: &Target,
        journey: &mut Journey,
        hear: Hear<'_>,
    ) -> Result<Arc<UpstreamConnection>, PairError> {
        let io = match &self.destination {
            Destination::Plain => {
                UpstreamIo::Plain(dialer.connect(target, false, journey, hear).await?)
            }
            // The CONNECT named where to go; the server name only says whom to expect there.
            Destination::Tunnelled { target, host } => {
                let stream = dialer.connect(target, true, journey, hear).await?;
                let offered = [self.protocol];
                let tls = dialer
                    .handshake(stream, host, &offered, journey, hear)
                    .await?;
                if journey.alpn.unwrap_or(Protocol::Http1) != self.protocol {
                    return Err(PairError::Protocol);
                }
                UpstreamIo::Tls(Box::new(tls))
            }
        };
        if let Some(stream) = io.stream() {
            stream.will_send(format!("connection={}", self.id));
        }
        let peer = (target.host(), self.protocol);
        let pair = UpstreamConnection::open(&self.context, io, peer, &self.share).await;
        pair.map_err(|error| PairError::Handshake(cause::of(&error, target.host(), "")))
    }

    async fn adopt(self: &Arc<Self>, target: &Target, pair: Arc<UpstreamConnection>) {
        self.pairs
            .lock()
            .await
            .insert(target.clone(), Arc::clone(&pair));
        self.follow(target.clone(), &pair);
    }

    /// When the upstream of a CONNECT ends, and nothing replaced it, the client leg ends too.
    fn follow(self: &Arc<Self>, target: Target, pair: &Arc<UpstreamConnection>) {
        if !self.is_tunnelled() {
            return;
        }
        let (channel, pair) = (Arc::downgrade(self), Arc::downgrade(pair));
        let Some(ended) = pair.upgrade().map(|pair| pair.ended.clone()) else {
            return;
        };
        self.context.spawn(async move {
            ended.cancelled().await;
            let (Some(channel), Some(pair)) = (channel.upgrade(), pair.upgrade()) else {
                return;
            };
            let pairs = channel.pairs.lock().await;
            if pairs
                .get(&target)
                .is_some_and(|current| Arc::ptr_eq(current, &pair))
            {
                channel.upstream_ended(&pair);
            }
        });
    }
}

impl Channel {
    /// What the upstream had against us, a client that asked for nothing yet would never hear: its
    /// first request goes to a new connection, and is told what comes of that.
    fn upstream_ended(&self, pair: &UpstreamConnection) {
        match pair.failure() {
            Some(why) if self.watch.is_unused() => {
                let _ = self.failed_unused.set(why);
            }
            _ => self.ended.cancel(),
        }
    }

    /// Why the upstream broke off, if it did and nothing was ever asked.
    pub(super) fn failed_unused(&self) -> Option<&str> {
        let why = self.failed_unused.get()?;
        self.watch.is_unused().then_some(why)
    }
}
