//! What every connection shares.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Access;
use super::limits::Deadlines;
use super::live::Live;
use super::policy::Policy;
use super::windows::Windows;
use crate::ca::Leafs;
use crate::capture::Capture;
use crate::clock::{Clock, Timestamp};
use crate::exchange::{ExchangeId, Hex, STOPPED, SpanId, TraceId};
use crate::gomod::Base;
use crate::recording::format::Event;
use crate::recording::{BodySink, Recorder};
use crate::redact::Redactor;
use crate::replay::Replay;
use crate::upstream::Dialer;

/// Who answers.
pub enum Responder {
    /// The upstream leg.
    Upstream(Dialer),
    /// A recording; it holds no dialer, so it cannot reach the network.
    Replay(Arc<Replay>),
}

/// How long exchanges in flight may take to end after the stop token is cancelled.
const DRAIN: Duration = Duration::from_secs(2);

/// What every connection shares.
pub struct Context {
    /// The run's clock.
    pub clock: Clock,
    /// How long everything may take.
    pub deadlines: Deadlines,
    /// Who may use it.
    pub access: Access,
    /// Whose TLS is answered.
    pub policy: Policy,
    /// Mints leafs.
    pub leafs: Leafs,
    /// The one fork between live and offline.
    pub responder: Responder,
    /// Where records go; a replay keeps none.
    pub recorder: Option<Recorder>,
    /// The live packet capture, with `--pcap tls`.
    pub capture: Option<Capture>,
    /// What must not reach the disk.
    pub redactor: Redactor,
    /// What is going on right now.
    pub live: Live,
    /// Base paths of the GOPROXY entries.
    pub bases: Arc<[Base]>,
    /// What HTTP/2 connections may have on their way.
    pub windows: Windows,
    /// The command's trace.
    pub trace: TraceId,
    /// Makes span ids of exchange ids: different for each, and in each run.
    pub spans: RandomState,
    /// Owns every task.
    pub tasks: TaskTracker,
    /// Tells every task to stop.
    pub stop: CancellationToken,
    /// Exchanges begun so far.
    pub next_exchange: AtomicU64,
    /// Connections accepted so far.
    pub next_connection: AtomicU64,
}

impl Context {
    /// True if there is an upstream leg.
    pub(super) const fn is_live(&self) -> bool {
        matches!(self.responder, Responder::Upstream(_))
    }

    /// Why no exchange may pass any more, if all of them must be recorded and one was not.
    pub(super) fn refusal(&self) -> Option<String> {
        let why = self.recorder.as_ref()?.refusal()?;
        Some(format!("the recording would be incomplete: {why}"))
    }

    /// Why everything ends once the stop token is cancelled.
    pub(super) fn stopped(&self) -> String {
        let cut = self.live.cut();
        cut.unwrap_or_else(|| String::from(STOPPED))
    }

    /// Why a client has left: `own`, unless the run was cut off, which is then the reason.
    pub(super) fn left(&self, own: &str) -> String {
        self.live.cut().unwrap_or_else(|| own.to_owned())
    }

    /// The span of an exchange.
    pub(super) fn span(&self, id: ExchangeId) -> SpanId {
        Hex(self.spans.hash_one(id).to_be_bytes())
    }

    /// A place for a body, if records are kept.
    pub(super) fn body_sink(&self) -> Option<BodySink> {
        let recorder = self.recorder.as_ref()?;
        Some(recorder.bodies().sink())
    }

    /// Queues a record, if records are kept.
    pub(super) fn note(&self, at: Timestamp, event: &Event) {
        if let Some(recorder) = &self.recorder {
            recorder.note(at, event);
        }
    }

    /// Runs a task until it is over, or until it has been told to stop and has had its time.
    pub(super) fn spawn<F>(self: &Arc<Self>, task: F)
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let context = Arc::clone(self);
        // Boxed: an async block holds what it captures beside what it awaits, so that each layer
        // would double a task of kilobytes.
        let task = Box::pin(task);
        self.tasks.spawn(async move {
            tokio::select! {
                _ = task => {}
                () = context.drained() => {}
            }
        });
    }

    /// Returns once the stop token is cancelled and exchanges in flight have had their time.
    pub(super) async fn drained(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    }
}

/// Gives the tasks that hyper starts for one upstream connection to the tracker.
///
/// The first is the connection itself, which ends as our own tasks do. Each later one carries a
/// request, and ends with the connection: it needs nothing else to watch, and saves each request that.
#[derive(Clone)]
pub(super) struct UpstreamTasks {
    context: Arc<Context>,
    has_connection: Arc<AtomicBool>,
}

impl UpstreamTasks {
    pub(super) fn new(context: &Arc<Context>) -> Self {
        Self {
            context: Arc::clone(context),
            has_connection: Arc::default(),
        }
    }
}

impl<F> hyper::rt::Executor<F> for UpstreamTasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        match self.has_connection.swap(true, Ordering::Relaxed) {
            false => self.context.spawn(future),
            true => drop(self.context.tasks.spawn(future)),
        }
    }
}

/// Gives the tasks of the streams of one client connection to the tracker; they end with it.
#[derive(Clone)]
pub(super) struct StreamTasks(pub(super) TaskTracker);

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
