//! A client's request as metrics see it: it is under way until the last byte of its response was taken, or the
//! client has left.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};

use super::counts::Counts;
use super::request_log::Logged;
use crate::clock::{Clock, Timestamp};
use crate::exchange::TraceParent;
use crate::filter::Outcome;
use crate::gomod::Kind;
use crate::telemetry::metrics::{Direction, Finished, Metrics, Span};

/// The host of all clients' requests: which upstream has answered says another metric.
pub(crate) const HOST: &str = "self";

/// A request under way. It is counted when this is dropped: as one that broke off, unless its response was whole.
#[derive(Debug)]
pub(super) struct Measure {
    counts: Arc<Counts>,
    metrics: Metrics,
    clock: Clock,
    began: Timestamp,
    pub(super) kind: Kind,
    /// Its span, if the access log tells it.
    pub(super) span: Option<TraceParent>,
    outcome: Outcome,
}

impl Measure {
    /// Begins, if there are metrics.
    pub(super) fn begin(counts: &Arc<Counts>, clock: Clock, began: Timestamp) -> Option<Self> {
        let metrics = counts.metrics()?.clone();
        counts.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            counts: Arc::clone(counts),
            metrics,
            clock,
            began,
            kind: Kind::Other,
            span: None,
            outcome: Outcome::Aborted,
        })
    }

    /// The response was whole.
    fn ended(&mut self, status: StatusCode) {
        self.outcome = match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Outcome::Fallthrough,
            _ if status.is_client_error() || status.is_server_error() => Outcome::Error,
            _ => Outcome::Ok,
        };
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        self.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        let now = self.clock.now();
        self.metrics.finished(&Finished {
            host: HOST,
            kind: self.kind,
            outcome: self.outcome,
            us: now.micros_since(self.began),
            span: self.span.map(|own| Span {
                trace: own.trace,
                id: own.span,
                at: now,
            }),
        });
    }
}

/// A response's body, and the request that it answers, if that is measured.
pub(super) struct Measured {
    sent: Logged,
    status: StatusCode,
    /// All of it was taken, or it broke off.
    is_over: bool,
    measure: Option<Measure>,
}

impl Measured {
    pub(super) fn new(sent: Logged, status: StatusCode, measure: Option<Measure>) -> Self {
        Self {
            sent,
            status,
            is_over: false,
            measure,
        }
    }
}

impl Body for Measured {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let own = self.get_mut();
        let next = ready!(Pin::new(&mut own.sent).poll_frame(cx));
        if let Some(measure) = &mut own.measure {
            match &next {
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                    measure.metrics.passed(Direction::Response, bytes);
                }
                Some(Err(_)) => own.is_over = true,
                None if !own.is_over => {
                    own.is_over = true;
                    measure.ended(own.status);
                }
                None => {}
            }
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.sent.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.sent.size_hint()
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        // Who takes a body whose length is known need not ask for its end.
        if let Some(measure) = &mut self.measure
            && !self.is_over
            && self.sent.is_end_stream()
        {
            measure.ended(self.status);
        }
    }
}
