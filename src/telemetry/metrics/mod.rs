//! Metrics for Prometheus: what has passed, how long it took, and how much goes on, as numbers without the
//! modules' names. `docs/telemetry.md` lists all of them; a test holds the list and the code together.
//!
//! Everything is counted in atomics and in histograms that are found by an index: a request takes no lock that
//! a scrape holds for longer than it takes to write one histogram. What others count already is read when it
//! is asked for: see [`Family`].

mod listener;
mod text;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use self::listener::{Scrapes, Scraping};
pub(crate) use self::text::Format;

use crate::clock::{Clock, Timestamp};
use crate::diagnose::outcome::outcome_so_far;
use crate::exchange::{MadeBy, Phase, SpanId, Timings, TraceId};
use crate::filter::Outcome;
use crate::gomod::{GoProxy, Kind, Route};

/// Upper bounds of the histograms' buckets, seconds: those of OpenTelemetry for the duration of an HTTP request,
/// and four more for downloads (`http.client.request.duration` of the semantic conventions, v1.44).
const BUCKETS: [f64; 18] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0,
    120.0, 300.0,
];

/// The host of requests to hosts that are not known by name.
const OTHER: &str = "other";

/// The most hosts that are known by name: a list of hosts to intercept may be long, and each is a series for each
/// kind and outcome.
const HOSTS: usize = 64;

/// What is counted; clones count together.
#[derive(Clone)]
pub struct Metrics {
    counts: Arc<Counts>,
    /// Whether exchanges are requests of clients, and not only what those led to.
    counts_requests: bool,
}

/// What must be known before anything is counted.
pub(crate) struct Setup {
    /// The clock of the stamps.
    pub(crate) clock: Clock,
    /// The hosts that are known by name, lower case and without ports; requests to others are counted together. Of
    /// many hosts only the first are known, in the order of their names.
    pub(crate) hosts: BTreeSet<String>,
    /// Where go asks next after an answer that is none.
    pub(crate) goproxy: GoProxy,
}

struct Counts {
    clock: Clock,
    goproxy: GoProxy,
    /// In order; `other` is behind the last.
    hosts: Vec<String>,
    /// By host, kind and outcome.
    requests: Box<[AtomicU64]>,
    /// By host and kind; each is made by the first request.
    durations: Box<[OnceLock<Histogram>]>,
    phases: [Histogram; Phase::ALL.len()],
    body_bytes: [AtomicU64; Direction::ALL.len()],
    tls_failures: [AtomicU64; Leg::ALL.len()],
    open_upstreams: AtomicU64,
    /// What others count. A std Mutex: held while a scrape is written.
    families: Mutex<Vec<Family>>,
}

type Histogram = HistogramWithExemplars<SpanLabels>;

/// An exchange that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchanged<'a> {
    /// The host that it was for, without a port.
    pub(crate) host: &'a str,
    /// What it asked for.
    pub(crate) route: &'a Route,
    /// Its absolute URL.
    pub(crate) url: &'a str,
    /// Status and author of its whole answer; `None` if it was aborted.
    pub(crate) answer: Option<(u16, MadeBy)>,
    /// How long its phases took.
    pub(crate) timings: &'a Timings,
    /// Its span.
    pub(crate) span: Span,
}

/// A request that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished<'a> {
    /// The host that it was for, without a port.
    pub(crate) host: &'a str,
    /// What it asked for.
    pub(crate) kind: Kind,
    /// What came of it, as far as that is known by now: a probe is not told from another miss.
    pub(crate) outcome: Outcome,
    /// How long it took, microseconds.
    pub(crate) us: u64,
    /// Its span, if it has one.
    pub(crate) span: Option<Span>,
}

/// The span that a histogram names as an example.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Its trace.
    pub(crate) trace: TraceId,
    /// The span itself.
    pub(crate) id: SpanId,
    /// When it was over.
    pub(crate) at: Timestamp,
}

/// Which way a body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The client's, on its way upstream.
    Request,
    /// The answer's, on its way to the client.
    Response,
}

impl Direction {
    const ALL: [Self; 2] = [Self::Request, Self::Response];

    const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// One of the two connections of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    /// From the client to us.
    Client,
    /// From us to the upstream.
    Upstream,
}

impl Leg {
    const ALL: [Self; 2] = [Self::Client, Self::Upstream];

    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
        }
    }
}

/// A metric that somebody else counts: its values are read when they are asked for.
pub(crate) struct Family {
    /// Its whole name, with its unit; that of a counter ends with `_total`.
    pub(crate) name: &'static str,
    /// What it is, one sentence.
    pub(crate) help: &'static str,
    /// Whether it can go down.
    pub(crate) kind: FamilyKind,
    /// Gives its present values, each with other labels. Called on the thread of the scrapes: it must not wait.
    pub(crate) read: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FamilyKind {
    /// How much there has been: it only grows.
    Counter,
    /// How much there is now.
    Gauge,
}

/// One value of a [`Family`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Names and values; there must be few different values.
    pub(crate) labels: Vec<(&'static str, String)>,
    /// The value.
    pub(crate) value: u64,
}

impl Sample {
    /// A value with one label.
    pub(crate) fn labelled(label: &'static str, is: impl Into<String>, value: u64) -> Self {
        Self {
            labels: vec![(label, is.into())],
            value,
        }
    }

    /// The only value of a family.
    pub(crate) const fn alone(value: u64) -> Self {
        Self {
            labels: Vec::new(),
            value,
        }
    }
}

impl Metrics {
    /// Counts from 0.
    pub(crate) fn new(setup: Setup) -> Self {
        let hosts: Vec<String> = setup.hosts.into_iter().take(HOSTS).collect();
        let kinds = (hosts.len() + 1) * Kind::ALL.len();
        let counts = Counts {
            clock: setup.clock,
            goproxy: setup.goproxy,
            requests: (0..kinds * Outcome::ALL.len())
                .map(|_| AtomicU64::new(0))
                .collect(),
            durations: (0..kinds).map(|_| OnceLock::new()).collect(),
            phases: std::array::from_fn(|_| histogram()),
            body_bytes: Default::default(),
            tls_failures: Default::default(),
            open_upstreams: AtomicU64::new(0),
            families: Mutex::default(),
            hosts,
        };
        Self {
            counts: Arc::new(counts),
            counts_requests: true,
        }
    }

    /// The same for a proxy on the way upstream, whose exchanges are what the clients' requests led to: these and
    /// their bodies are not counted twice.
    pub(crate) fn of_upstream(&self) -> Self {
        Self {
            counts: Arc::clone(&self.counts),
            counts_requests: false,
        }
    }

    /// Exposes one more metric.
    pub(crate) fn add(&self, family: Family) {
        let families = self.counts.families.lock();
        families
            .unwrap_or_else(PoisonError::into_inner)
            .push(family);
    }

    /// An exchange is over.
    pub(crate) fn exchanged(&self, exchange: &Exchanged<'_>) {
        let Exchanged { route, span, .. } = *exchange;
        self.phases(exchange.timings, span);
        if !self.counts_requests {
            return;
        }
        let outcome = match exchange.answer {
            None => Outcome::Aborted,
            Some((_, MadeBy::Modtape)) => Outcome::Modtape,
            Some((status, MadeBy::Origin)) => {
                outcome_so_far(&self.counts.goproxy, route, exchange.url, status)
            }
        };
        self.finished(&Finished {
            host: exchange.host,
            kind: route.kind,
            outcome,
            us: exchange.timings.total_us(),
            span: Some(span),
        });
    }

    /// A request is over.
    pub(crate) fn finished(&self, request: &Finished<'_>) {
        let counts = &*self.counts;
        let hosts = &counts.hosts;
        let host = hosts.binary_search_by(|known| known.as_str().cmp(request.host));
        let host = host.unwrap_or(hosts.len());
        let place = host * Kind::ALL.len() + place(&Kind::ALL, request.kind);
        let outcome = self::place(&Outcome::ALL, request.outcome);
        let requests = &counts.requests[place * Outcome::ALL.len() + outcome];
        requests.fetch_add(1, Ordering::Relaxed);
        let durations = counts.durations[place].get_or_init(histogram);
        counts.observe(durations, request.us, request.span);
    }

    /// How long the phases of an exchange took, those that happened.
    fn phases(&self, timings: &Timings, span: Span) {
        for (phase, histogram) in Phase::ALL.into_iter().zip(&self.counts.phases) {
            if let Some(us) = timings[phase] {
                self.counts.observe(histogram, us, Some(span));
            }
        }
    }

    /// Some of a body has passed.
    pub(crate) fn passed(&self, body: Direction, bytes: u64) {
        if self.counts_requests {
            let count = &self.counts.body_bytes[place(&Direction::ALL, body)];
            count.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// A connection for HTTP to an upstream is there until this is dropped.
    pub(crate) fn upstream_opened(&self) -> OpenUpstream {
        self.counts.open_upstreams.fetch_add(1, Ordering::Relaxed);
        OpenUpstream(Arc::clone(&self.counts))
    }

    /// How many of them there are.
    pub(crate) fn open_upstreams(&self) -> u64 {
        self.counts.open_upstreams.load(Ordering::Relaxed)
    }

    /// A TLS handshake failed.
    pub(crate) fn tls_failed(&self, leg: Leg) {
        self.counts.tls_failures[place(&Leg::ALL, leg)].fetch_add(1, Ordering::Relaxed);
    }

    /// All values as a text of this format.
    pub(crate) fn text(&self, format: Format) -> String {
        // It holds nothing of its own.
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        text::write(&registry, format)
    }
}

/// The place of a value in the list of all values.
fn place<T: PartialEq>(all: &[T], value: T) -> usize {
    all.iter().position(|one| *one == value).unwrap_or(0)
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS.into_iter())
}

impl Counts {
    fn observe(&self, histogram: &Histogram, us: u64, span: Option<Span>) {
        let labels = span.map(|span| SpanLabels {
            trace: span.trace,
            id: span.id,
        });
        let since = |span: Span| std::time::Duration::from_micros(span.at.as_micros());
        let at = span.map(|span| self.clock.wall_start() + since(span));
        #[expect(clippy::cast_precision_loss, reason = "2^53 us are 285 years")]
        let seconds = us as f64 / 1e6;
        histogram.observe(seconds, labels, at);
    }

    /// The name that stands for a host's place.
    fn host(&self, place: usize) -> &str {
        self.hosts.get(place).map_or(OTHER, String::as_str)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A connection to an upstream that is counted as open.
pub(crate) struct OpenUpstream(Arc<Counts>);

impl Drop for OpenUpstream {
    fn drop(&mut self) {
        self.0.open_upstreams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an example is found by in a store of traces.
#[derive(Debug, Clone, Copy)]
struct SpanLabels {
    trace: TraceId,
    id: SpanId,
}

impl EncodeLabelSet for SpanLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let (mut trace, mut id) = ([0; 64], [0; 64]);
        let labels = [
            ("trace_id", self.trace.digits(&mut trace)),
            ("span_id", self.id.digits(&mut id)),
        ];
        labels.encode(encoder)
    }
}

/// A metric's head.
struct Metric<'a> {
    /// Without unit and `_total`, which the encoder adds.
    name: &'a str,
    help: &'a str,
    unit: Option<&'a Unit>,
    kind: MetricType,
}

impl Metric<'_> {
    /// Writes the head, and each value with its labels.
    fn write<'v, M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        values: impl IntoIterator<Item = (Vec<(&'v str, &'v str)>, M)>,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, self.unit, self.kind)?;
        for (labels, value) in values {
            value.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (counts, encoder) = (&*self.counts, &mut encoder);
        counts.write_requests(encoder)?;
        let phases = Phase::ALL.into_iter().zip(&counts.phases);
        Metric {
            name: "modtape_phase_duration",
            help: "How long each phase of the exchanges took.",
            unit: Some(&Unit::Seconds),
            kind: MetricType::Histogram,
        }
        .write(
            encoder,
            phases.map(|(phase, histogram)| (vec![("phase", phase.name())], Shared(histogram))),
        )?;
        let bytes = Direction::ALL.into_iter().zip(&counts.body_bytes);
        Metric {
            name: "modtape_body",
            help: "Bytes of bodies that passed, as they are on the wire.",
            unit: Some(&Unit::Bytes),
            kind: MetricType::Counter,
        }
        .write(
            encoder,
            bytes.map(|(body, count)| (vec![("direction", body.name())], counter(count))),
        )?;
        let failures = Leg::ALL.into_iter().zip(&counts.tls_failures);
        Metric {
            name: "modtape_tls_failures",
            help: "TLS handshakes that failed.",
            unit: None,
            kind: MetricType::Counter,
        }
        .write(
            encoder,
            failures.map(|(leg, count)| (vec![("side", leg.name())], counter(count))),
        )?;
        let families = counts.families.lock();
        for family in &*families.unwrap_or_else(PoisonError::into_inner) {
            family.write(encoder)?;
        }
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        let build = [(Vec::new(), build)];
        Metric {
            name: "modtape_build",
            help: "The program that counts.",
            unit: None,
            kind: MetricType::Info,
        }
        .write(encoder, build)
    }
}

impl Counts {
    /// What is known by host and kind, and counted: whatever has not happened has no value.
    fn write_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kinds = Kind::ALL.len();
        let host_and_kind = |place: usize| {
            let kind = Kind::ALL[place % kinds].name();
            vec![("host", self.host(place / kinds)), ("kind", kind)]
        };
        let outcomes = Outcome::ALL.len();
        let requests = self.requests.iter().enumerate();
        let requests = requests.filter(|(_, count)| count.load(Ordering::Relaxed) > 0);
        Metric {
            name: "modtape_requests",
            help: "Requests that are over.",
            unit: None,
            kind: MetricType::Counter,
        }
        .write(
            encoder,
            requests.map(|(place, count)| {
                let mut labels = host_and_kind(place / outcomes);
                labels.push(("outcome", Outcome::ALL[place % outcomes].name()));
                (labels, counter(count))
            }),
        )?;
        let durations = self.durations.iter().enumerate();
        let durations = durations.filter_map(|(place, made)| Some((place, made.get()?)));
        Metric {
            name: "modtape_request_duration",
            help: "How long requests took, from the head to the last byte.",
            unit: Some(&Unit::Seconds),
            kind: MetricType::Histogram,
        }
        .write(
            encoder,
            durations.map(|(place, histogram)| (host_and_kind(place), Shared(histogram))),
        )
    }
}

impl Family {
    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        let units = [("_bytes", Unit::Bytes), ("_seconds", Unit::Seconds)];
        let with_unit = units.iter().find_map(|(suffix, unit)| {
            let name = name.strip_suffix(suffix)?;
            Some((name, unit))
        });
        let (name, unit) = with_unit.map_or((name, None), |(name, unit)| (name, Some(unit)));
        let metric = Metric {
            name,
            help: self.help,
            unit,
            kind: match self.kind {
                FamilyKind::Counter => MetricType::Counter,
                FamilyKind::Gauge => MetricType::Gauge,
            },
        };
        let samples = (self.read)();
        let values = samples.iter().map(|sample| {
            let labels = sample.labels.iter();
            let labels: Vec<_> = labels.map(|(name, is)| (*name, is.as_str())).collect();
            (labels, sample.value)
        });
        match self.kind {
            FamilyKind::Counter => {
                let values = values.map(|(labels, value)| (labels, ConstCounter::new(value)));
                metric.write(encoder, values)
            }
            FamilyKind::Gauge => {
                let values = values.map(|(labels, value)| (labels, ConstGauge::new(value)));
                metric.write(encoder, values)
            }
        }
    }
}

fn counter(count: &AtomicU64) -> ConstCounter<u64> {
    ConstCounter::new(count.load(Ordering::Relaxed))
}

/// A histogram that goes on counting.
struct Shared<'a>(&'a Histogram);

impl EncodeMetric for Shared<'_> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests;
