//! The access log: one line for each request, which is written when its response is over, or its client gone.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tracing::Level;

use super::body::Sent;
use crate::clock::{Clock, Timestamp};
use crate::exchange::{Hex, SpanId, TraceFlags, TraceParent};

/// Makes ids for traces and spans, each from a number and keys that are nobody else's.
#[derive(Debug, Default)]
pub(super) struct Ids {
    keys: RandomState,
    next: AtomicU64,
}

impl Ids {
    /// A span of the trace that the client names (`traceparent`, W3C Trace Context), else of a new one.
    fn span_of(&self, fields: &HeaderMap) -> TraceParent {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let hash = |part: u8| self.keys.hash_one((number, part)).to_be_bytes();
        let span: SpanId = Hex(hash(2));
        if let Some(given) = given_in(fields) {
            return TraceParent { span, ..given };
        }
        let mut trace = [0; 16];
        trace[..8].copy_from_slice(&hash(0));
        trace[8..].copy_from_slice(&hash(1));
        TraceParent {
            trace: Hex(trace),
            span,
            flags: TraceFlags::SAMPLED,
        }
    }
}

/// The client's span that a request belongs to, as its one `traceparent` says.
fn given_in(fields: &HeaderMap) -> Option<TraceParent> {
    let mut values = fields.get_all("traceparent").iter();
    let (value, more) = (values.next()?, values.next());
    let given = TraceParent::parse(value.to_str().ok()?)?;
    more.is_none().then_some(given)
}

/// The line of one request, which is written when it is dropped.
pub(super) struct Line {
    clock: Clock,
    began: Timestamp,
    /// The request's span.
    pub(super) own: TraceParent,
    client: SocketAddr,
    method: Method,
    /// `None` if the client was not admitted: a path may begin with what was a token yesterday.
    pub(super) path: Option<String>,
    pub(super) user: Option<String>,
    pub(super) status: Option<StatusCode>,
    /// Where the answer was found.
    pub(super) tier: Option<HeaderValue>,
    /// How long it took until there was an answer.
    pub(super) head_us: Option<u64>,
    /// Bytes of the body that were given to the connection.
    bytes: u64,
    /// Why the body has no end.
    error: Option<String>,
    is_over: bool,
}

impl Line {
    /// Begins it; `None` if nobody reads the log.
    pub(super) fn begin<B>(
        ids: &Ids,
        clock: Clock,
        client: SocketAddr,
        request: &Request<B>,
    ) -> Option<Box<Self>> {
        if !tracing::enabled!(target: "modtape::access", Level::INFO) {
            return None;
        }
        Some(Box::new(Self {
            clock,
            began: clock.now(),
            own: ids.span_of(request.headers()),
            client,
            method: request.method().clone(),
            path: None,
            user: None,
            status: None,
            tier: None,
            head_us: None,
            bytes: 0,
            error: None,
            is_over: false,
        }))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let left = match (self.is_over, self.status) {
            (true, _) => None,
            (false, Some(_)) => Some("the connection ended before the end of the response"),
            (false, None) => Some("the connection ended before there was a response"),
        };
        let (mut trace, mut span) = ([0; 64], [0; 64]);
        tracing::info!(
            target: "modtape::access",
            trace_id = self.own.trace.digits(&mut trace),
            span_id = self.own.span.digits(&mut span),
            client = %self.client,
            method = self.method.as_str(),
            path = self.path.as_deref(),
            user = self.user.as_deref(),
            status = self.status.map(|status| status.as_u16()),
            tier = self.tier.as_ref().and_then(|tier| tier.to_str().ok()),
            bytes = self.bytes,
            head_us = self.head_us,
            duration_us = self.clock.now().micros_since(self.began),
            error = self.error.as_deref().or(left),
        );
    }
}

/// A body whose line is written when it is over.
pub(super) struct Logged {
    body: Sent,
    line: Option<Box<Line>>,
}

impl Logged {
    pub(super) fn new(body: Sent, line: Option<Box<Line>>) -> Self {
        Self { body, line }
    }
}

impl Body for Logged {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(line) = &mut self.line {
            match &frame {
                Some(Ok(frame)) => line.bytes += frame.data_ref().map_or(0, |it| it.len() as u64),
                Some(Err(error)) => line.error = Some(error.to_string()),
                None => line.is_over = true,
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        if let Some(line) = &mut self.line {
            line.is_over |= self.body.is_end_stream();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_names_one_trace_or_gets_a_new_one() {
        let (ids, mut fields) = (Ids::default(), HeaderMap::new());
        let first = ids.span_of(&fields);
        let second = ids.span_of(&fields);
        assert_ne!(first.trace, second.trace);
        assert_ne!(first.span, second.span);
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        fields.insert("traceparent", given.parse().unwrap());
        let joined = ids.span_of(&fields);
        assert_eq!(joined.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_ne!(joined.span.to_string(), "b7ad6b7169203331");
        fields.append("traceparent", given.parse().unwrap());
        assert_ne!(ids.span_of(&fields).trace, joined.trace);
    }
}
