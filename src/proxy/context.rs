//! What every connection shares.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Access;
use super::connection_log;
use super::fill::Fill;
use super::limits::Deadlines;
use super::live::Live;
use super::policy::Policy;
use super::windows::Windows;
use crate::ca::Leafs;
use crate::capture::Capture;
use crate::child::Repositories;
use crate::clock::{Clock, Timestamp};
use crate::exchange::{DialFailure, ExchangeId, Hex, STOPPED, SpanId, Target, TraceFlags, TraceId};
use crate::gomod::Base;
use crate::recording::format::Event;
use crate::recording::{BodySink, Recorder};
use crate::redact::Redactor;
use crate::replay::Replay;
use crate::telemetry::metrics::{Direction, Family, FamilyKind, Metrics, Sample};
use crate::upstream::{Dialer, FailedLookup};

/// Who answers.
pub enum Responder {
    /// The upstream leg.
    Upstream(Dialer),
    /// A recording; it holds no dialer, so it cannot reach the network.
    Replay(Arc<Replay>),
    /// A recording, and somebody who asks for what it lacks.
    Fill(Arc<Fill>),
}

impl Responder {
    /// Whoever dials, if the answers come from upstream.
    pub(super) const fn dialer(&self) -> Option<&Dialer> {
        match self {
            Self::Upstream(dialer) => Some(dialer),
            Self::Replay(_) | Self::Fill(_) => None,
        }
    }

    /// The recording that answers, if one does.
    pub(super) fn replay(&self) -> Option<&Arc<Replay>> {
        match self {
            Self::Upstream(_) => None,
            Self::Replay(replay) => Some(replay),
            Self::Fill(fill) => Some(fill.replay()),
        }
    }
}

/// What every connection shares.
pub struct Context {
    /// The run's clock.
    pub clock: Clock,
    /// How long everything may take.
    pub deadlines: Deadlines,
    /// Who may use the proxy.
    pub access: Access,
    /// Which hosts are intercepted.
    pub policy: Policy,
    /// Mints leafs; a gateway needs none.
    pub leafs: Option<Leafs>,
    /// The one fork between live and offline.
    pub responder: Responder,
    /// The git repositories that a replay puts together.
    pub repositories: Repositories,
    /// Where records go; a replay keeps none.
    pub recorder: Option<Recorder>,
    /// The live packet capture, with `--pcap tls`.
    pub capture: Option<Capture>,
    /// Takes out what must not reach the disk.
    pub redactor: Redactor,
    /// What is in flight.
    pub live: Live,
    /// Counts what passes, with `--metrics`.
    pub metrics: Option<Metrics>,
    /// Base paths of the GOPROXY entries.
    pub bases: Arc<[Base]>,
    /// What HTTP/2 connections may have on their way.
    pub windows: Windows,
    /// The command's trace.
    pub trace: TraceId,
    /// What is said of it to those who get its ids.
    pub trace_flags: TraceFlags,
    /// Makes span ids of exchange ids: different for each, and in each run.
    pub spans: RandomState,
    /// Owns every task.
    pub tasks: TaskTracker,
    /// Tells every task to stop.
    pub stop: CancellationToken,
    /// Ends what has not ended by itself a while after `stop`.
    pub drained: CancellationToken,
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

    /// Whether nothing may pass that is not on record.
    pub(super) fn requires_all(&self) -> bool {
        let recorder = self.recorder.as_ref();
        recorder.is_some_and(|recorder| recorder.requires_all())
    }

    /// Why everything ends once the stop token is cancelled.
    pub(super) fn why_stopped(&self) -> String {
        let cut = self.live.cut();
        cut.unwrap_or_else(|| String::from(STOPPED))
    }

    /// Why a client closed its connection: because the run was cut off, if it was, else `why`.
    pub(super) fn why_closed(&self, why: &str) -> String {
        self.live.cut().unwrap_or_else(|| why.to_owned())
    }

    /// Why a dial was ended before it was over: because the run was cut off, if it was, else `why`.
    pub(super) fn cut_or(&self, why: DialFailure) -> DialFailure {
        match self.live.cut() {
            Some(_) => DialFailure::CutOff,
            None => why,
        }
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

    /// Exposes what is counted without `metrics`: what is in flight, and what a replay lacks.
    pub(crate) fn expose(&self, metrics: &Metrics) {
        let live = self.live.clone();
        metrics.add(Family {
            name: "modtape_in_flight_requests",
            help: "Requests that are not over.",
            kind: FamilyKind::Gauge,
            read: Box::new(move || vec![Sample::alone(live.requests() as u64)]),
        });
        let (live, counted) = (self.live.clone(), metrics.clone());
        metrics.add(Family {
            name: "modtape_upstream_connections",
            help: "Connections to upstreams: those that are being made, for tunnels too, and those that are there for HTTP.",
            kind: FamilyKind::Gauge,
            read: Box::new(move || {
                vec![
                    Sample::labelled("state", "connecting", live.dials() as u64),
                    Sample::labelled("state", "open", counted.open_upstreams()),
                ]
            }),
        });
        let replay = self.responder.replay().cloned();
        metrics.add(Family {
            name: "modtape_replay_misses_total",
            help: "Requests that a replay had no recorded answer to.",
            kind: FamilyKind::Counter,
            read: Box::new(move || {
                let misses = replay.as_ref().map_or(0, |replay| replay.missed());
                vec![Sample::alone(misses)]
            }),
        });
    }

    /// Some of a body has passed.
    pub(super) fn body_passed(&self, body: Direction, bytes: usize) {
        if let Some(metrics) = &self.metrics {
            metrics.passed(body, bytes as u64);
        }
    }

    /// Queues a record, if records are kept.
    pub(super) fn note(&self, at: Timestamp, event: &Event) {
        if let Some(recorder) = &self.recorder {
            recorder.note(at, event);
        }
    }

    /// Records a lookup since `started` that gave no address for a client that would connect to `target`.
    pub(crate) fn lookup_failed(&self, started: Timestamp, target: &Target, failed: FailedLookup) {
        connection_log::lookup_failed(self, started, target, failed);
    }

    /// Runs a task until it is over, or until it was told to stop and has had its time.
    pub(super) fn spawn<F>(&self, task: F)
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        // Boxed: an async function holds what it is given beside what it awaits, so that each layer
        // would double a task of kilobytes.
        let task = Box::pin(task);
        let drained = self.drained.clone();
        self.tasks.spawn(drained.run_until_cancelled_owned(task));
    }
}
