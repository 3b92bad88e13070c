//! One exchange while it lasts: its stamps, its line in the live view, and its records.
//!
//! Whatever happens to the tasks that carry it, a ticket ends exactly once: with `end`, with
//! `abort`, or, if it is simply dropped, as aborted by the client.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::oneshot;
use tracing::debug;

use super::client_leg::ClientLeg;
use super::context::Context;
use super::headers;
use super::io::Slot;
use super::live::{Entry, LazyRoute, Subject};
use super::pool::Lease;
use super::propagation::Propagation;
use crate::clock::Timestamp;
use crate::exchange::{
    Abort, Attempt, Body, ByteString, ExchangeId, LONG_SILENCE_US, MadeBy, Phase, SpanId, Timings,
    TraceParent,
};
use crate::recording::BodySink;
use crate::recording::format::Event;
use crate::recording::line::{BeginLine, EndLine, FieldsText};
use crate::recording::writer::bodies::NotKept;
use crate::telemetry::metrics::{Direction, Exchanged, Span};
use crate::tls::Protocol;
use crate::upstream::Journey;

/// A response head as it is kept for the records.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) reason: Option<ByteString>,
    pub(super) version: &'static str,
    /// `None` if no records are kept.
    pub(super) headers: Option<FieldsText>,
    pub(super) made_by: MadeBy,
}

/// One exchange while it lasts.
pub(super) struct Ticket {
    context: Arc<Context>,
    leg: Arc<ClientLeg>,
    pub(super) id: ExchangeId,
    span: SpanId,
    method: Method,
    pub(super) entry: Entry,
    stamps: Stamps,
    head: Option<Head>,
    attempts: Vec<Attempt>,
    /// Its use of an upstream connection, where others use that too.
    pub(super) lease: Option<Lease>,
    /// Dropped with the exchange, if its request body was never read.
    pub(super) unwanted_body: Option<oneshot::Sender<()>>,
    /// A field that the request carries besides those of its client.
    propagated: Option<(HeaderName, HeaderValue)>,
    notes: Vec<String>,
    pub(super) client_wait_us: u64,
    pub(super) body_bytes: u64,
    /// The longest silence of the upstream inside the body, microseconds.
    longest_silence_us: u64,
    /// Whether the client takes no more of the answer for now.
    is_held: bool,
    /// What the request's head takes of the connection's room for heads.
    head_bytes: usize,
    is_over: bool,
}

/// How an exchange begins.
pub(super) struct Beginning<'a> {
    pub(super) request: &'a http::request::Parts,
    /// As the client wrote it, with its secrets.
    pub(super) url: &'a str,
    pub(super) host: &'a str,
    pub(super) started: Timestamp,
    /// What the head takes of the connection's room for request heads.
    pub(super) head_bytes: usize,
}

/// What an exchange had besides its heads.
#[derive(Default)]
pub(super) struct Bodies<'a> {
    /// The request's, if it is on record.
    pub(super) request: Option<Result<Body, NotKept>>,
    /// The response's, if it is on record.
    pub(super) response: Option<Result<Body, NotKept>>,
    pub(super) trailers: Option<&'a HeaderMap>,
}

/// When each step happened.
#[derive(Debug, Default)]
struct Stamps {
    started: Timestamp,
    dns_us: Option<u64>,
    connect_us: Option<u64>,
    tls_us: Option<u64>,
    send: Option<Timestamp>,
    sent: Option<Arc<Slot>>,
    head: Option<Timestamp>,
    last_byte: Option<Timestamp>,
}

impl Stamps {
    fn timings(&self, now: Timestamp) -> Timings {
        let mut timings = Timings::default();
        timings[Phase::Dns] = self.dns_us;
        timings[Phase::Connect] = self.connect_us;
        timings[Phase::Tls] = self.tls_us;
        let dialling = timings.total_us();
        let before = self.send.unwrap_or(now).micros_since(self.started);
        timings[Phase::Blocked] = Some(before.saturating_sub(dialling));
        let Some(send) = self.send else {
            return timings;
        };
        let head = self.head.unwrap_or(now).max(send);
        let sent = self.sent.as_ref().and_then(|slot| slot.stamp());
        let sent = match (sent, self.head) {
            (Some(sent), _) => sent.clamp(send, head),
            // Answered before our write was stamped, or never written at all.
            (None, Some(_)) => send,
            (None, None) => head,
        };
        timings[Phase::Send] = Some(sent.micros_since(send));
        timings[Phase::Wait] = Some(head.micros_since(sent));
        if self.head.is_some() {
            let last = self.last_byte.unwrap_or(now);
            timings[Phase::Receive] = Some(last.micros_since(head));
        }
        timings
    }

    const fn phase(&self) -> Phase {
        match (self.send, self.head) {
            (None, _) => Phase::Blocked,
            (Some(_), None) => Phase::Wait,
            (Some(_), Some(_)) => Phase::Receive,
        }
    }
}

impl Ticket {
    /// Begins an exchange.
    pub(super) fn begin(leg: &Arc<ClientLeg>, beginning: Beginning<'_>) -> Self {
        let Beginning {
            request,
            url,
            host,
            started,
            head_bytes,
        } = beginning;
        let context = Arc::clone(&leg.context);
        let id = context.next_exchange.fetch_add(1, Ordering::Relaxed) + 1;
        let span = context.span(id);
        let url = context.redactor.url(url);
        let method = request.method.as_str();
        let version = headers::version_name(request.version);
        debug!(
            target: "modtape::exchange",
            trace_id = %context.trace,
            span_id = %span,
            exchange = id,
            connection = leg.id,
            method,
            url,
            protocol = version,
            "asked"
        );
        let own = TraceParent {
            trace: context.trace,
            span,
            flags: context.trace_flags,
        };
        let propagation = &context.policy.propagation;
        let propagated = propagation.field(host, &request.headers, own);
        let propagated = propagated.filter(|_| context.is_live());
        if let Some(recorder) = &context.recorder {
            let sent = propagated.as_ref().map(|field| {
                let mut fields = request.headers.clone();
                Propagation::add_to(&mut fields, field);
                fields
            });
            let fields = sent.as_ref().unwrap_or(&request.headers);
            let begin = BeginLine {
                id,
                connection: leg.id,
                span,
                method,
                url: &url,
                version,
                headers: &headers::recorded(&context.redactor, fields),
            };
            recorder.begin(started, &begin);
        }
        let subject = Subject {
            id: Some(id),
            connection: leg.id,
            host,
            target: None,
            protocol: Some(leg.protocol),
            route: Some(LazyRoute::new(url, Arc::clone(&context.bases))),
            awaits: None,
        };
        let ticket = Self {
            id,
            span,
            method: request.method.clone(),
            entry: context.live.begin(subject, Phase::Blocked),
            stamps: Stamps {
                started,
                ..Stamps::default()
            },
            head: None,
            attempts: Vec::new(),
            lease: None,
            unwanted_body: None,
            propagated,
            notes: Vec::new(),
            client_wait_us: 0,
            body_bytes: 0,
            longest_silence_us: 0,
            is_held: false,
            head_bytes,
            is_over: false,
            leg: Arc::clone(leg),
            context,
        };
        if let Some(captured) = &leg.captured {
            captured.has_read(ticket.capture_comment());
        }
        ticket
    }

    /// The comment on its packets in a capture, as in one that is made from the journal.
    pub(super) fn capture_comment(&self) -> String {
        let trace = self.context.trace;
        format!("exchange={} trace={trace} span={}", self.id, self.span)
    }

    /// The exchange caused this dial: its time is part of the exchange's.
    pub(super) fn owns_dial(&mut self, journey: &Journey) {
        self.stamps.dns_us = journey.dns_us;
        self.stamps.connect_us = journey.connect_us;
        self.stamps.tls_us = journey.tls_us;
    }

    /// The request goes to hyper now, which is returned; `sent` will hold when it was written, if it has no
    /// body.
    pub(super) fn sending(&mut self, sent: Option<Arc<Slot>>) -> Timestamp {
        let now = self.context.clock.now();
        self.stamps.send = Some(now);
        self.stamps.sent = sent;
        self.entry.enter(Phase::Wait, now);
        now
    }

    /// `sent` holds when the end of the request's body was written, if it has one.
    pub(super) fn body_sent(&mut self, sent: Option<Arc<Slot>>) {
        self.stamps.sent = sent.or_else(|| self.stamps.sent.take());
    }

    /// Adds to the head of the request what is on record of it and did not come from its client.
    pub(super) fn complete(&self, fields: &mut HeaderMap) {
        if let Some(field) = &self.propagated {
            Propagation::add_to(fields, field);
        }
    }

    /// The host that the request is for.
    pub(super) fn host(&self) -> &str {
        self.entry.host()
    }

    /// What was asked for, in words.
    pub(super) fn what(&self) -> String {
        self.entry
            .route()
            .map_or_else(String::new, |route| route.get().what())
    }

    /// True for a HEAD, which no body may answer.
    pub(super) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// A text of ours without the secrets that a peer put in it.
    pub(super) fn redacted(&self, text: &str) -> String {
        self.context.redactor.text(text)
    }

    /// Header fields of a response as the recording holds them, if records are kept.
    pub(super) fn recorded(&self, headers: &HeaderMap) -> Option<FieldsText> {
        let keeps = self.context.recorder.is_some();
        keeps.then(|| headers::recorded(&self.context.redactor, headers))
    }

    /// The present instant.
    pub(super) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// A place for the response's body, if records are kept.
    pub(super) fn sink(&self) -> Option<BodySink> {
        self.context.body_sink()
    }

    /// This try is over without an answer; another one follows.
    pub(super) fn retry(&mut self, error: String) {
        self.attempts.push(Attempt {
            connection: self.leg.id,
            error: self.context.redactor.text(&error),
        });
        self.stamps.send = None;
        self.stamps.sent = None;
    }

    /// Adds a note on something unusual in the response to its `end`.
    pub(super) fn add_note(&mut self, what: &str) {
        let what = self.context.redactor.text(what);
        debug!(
            target: "modtape::exchange",
            trace_id = %self.context.trace,
            span_id = %self.span,
            exchange = self.id,
            "{what}"
        );
        self.notes.push(what);
    }

    /// The final head of the response is there; its first byte came at `at`. `length` is that of the
    /// body, if it is known.
    pub(super) fn set_head(&mut self, at: Timestamp, head: Head, length: Option<u64>) {
        debug!(
            target: "modtape::exchange",
            trace_id = %self.context.trace,
            span_id = %self.span,
            exchange = self.id,
            status = head.status.as_u16(),
            protocol = head.version,
            made_by = by(head.made_by),
            "answered"
        );
        self.stamps.head = Some(at);
        self.head = Some(head);
        self.entry.enter_body(at, length);
    }

    /// There is more of the answer than the client has taken, since `now`.
    pub(super) fn holds(&mut self, now: Timestamp) {
        if !std::mem::replace(&mut self.is_held, true) {
            self.leg.watch.holds(now);
        }
    }

    /// The client takes more.
    pub(super) fn takes(&mut self) {
        if std::mem::replace(&mut self.is_held, false) {
            self.leg.watch.takes();
        }
    }

    /// The last byte was read from upstream.
    pub(super) fn last_byte(&mut self) {
        self.stamps.last_byte = Some(self.context.clock.now());
    }

    /// Some of the body passed.
    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.body_bytes += bytes as u64;
        self.context.body_passed(Direction::Response, bytes);
        let silent_us = self.entry.add_bytes(bytes as u64);
        self.longest_silence_us = self.longest_silence_us.max(silent_us);
    }

    /// Records the whole exchange; once this returns the client may see its end, unless this says
    /// why not.
    pub(super) async fn end(mut self, bodies: Bodies<'_>) -> Option<String> {
        self.is_over = true;
        let Some(head) = self.head.take() else {
            debug_assert!(false, "an exchange ends after its head");
            return None;
        };
        let now = self.context.clock.now();
        let last = *self.stamps.last_byte.get_or_insert(now);
        let redactor = &self.context.redactor;
        let phases_us = self.stamps.timings(last);
        self.log(Some(&head), phases_us, None);
        self.count(Some(&head), &phases_us, now);
        let records = self.context.recorder.as_ref().zip(head.headers.as_ref());
        let written = records.map(|(recorder, headers)| {
            let reason = head.reason.map(|reason| redactor.bytes(reason));
            let trailers = bodies.trailers;
            let trailers = trailers.map(|trailers| headers::recorded(redactor, trailers));
            let request_body = bodies.request;
            let request_body = request_body.map(|body| self.on_record(body, "request body"));
            let body = bodies.response.map(|body| self.on_record(body, "body"));
            let end = EndLine {
                id: self.id,
                status: head.status.as_u16(),
                reason: reason.as_ref(),
                version: head.version,
                headers,
                trailers: trailers.as_ref(),
                request_body: request_body.as_ref(),
                body: body.as_ref(),
                phases_us,
                own_us: now.micros_since(last),
                client_wait_us: self.client_wait_us,
                longest_silence_us: long_silence(self.longest_silence_us),
                made_by: head.made_by,
                attempts: &self.attempts,
                notes: &self.notes,
            };
            recorder.end(now, &end)
        });
        if let Some(written) = written {
            written.await;
        }
        self.context.refusal()
    }

    /// The body as far as it is on record; what is missing of it is a gap.
    fn on_record(&self, body: Result<Body, NotKept>, what: &str) -> Body {
        body.unwrap_or_else(|NotKept { body, why }| {
            if let Some(recorder) = &self.context.recorder {
                let what = format!("{what} of exchange {}", self.id);
                recorder.gap(self.context.clock.now(), what, why.to_string());
            }
            body
        })
    }

    /// Records that the exchange stopped on the way.
    pub(super) fn abort(mut self, why: &str) {
        self.abort_in_place(why);
    }

    fn abort_in_place(&mut self, why: &str) {
        self.is_over = true;
        let now = self.context.clock.now();
        let head = self.head.take();
        let phases_us = self.stamps.timings(now);
        let redactor = &self.context.redactor;
        let why = redactor.text(why);
        self.log(head.as_ref(), phases_us, Some(&why));
        self.count(None, &phases_us, now);
        let headers = head.as_ref().and_then(|head| head.headers.as_ref());
        let last_silence_us = head.as_ref().map_or(0, |_| self.entry.silent_us());
        let abort = Abort {
            id: self.id,
            phase: self.stamps.phase(),
            why,
            status: head.as_ref().map(|head| head.status.as_u16()),
            headers: headers.map_or_else(Vec::new, FieldsText::to_fields),
            request_body: None,
            body_bytes: self.body_bytes,
            longest_silence_us: long_silence(self.longest_silence_us.max(last_silence_us)),
            phases_us,
        };
        self.context.note(now, &Event::Abort(abort));
    }

    /// Why the exchange is over if it is simply dropped: its client gave it up.
    fn abandoned(&self) -> String {
        let what = match self.leg.protocol {
            Protocol::Http1 => "closed its connection",
            Protocol::H2 => "reset the stream or closed its connection",
        };
        match self.head {
            Some(_) => format!("the client {what} before the end of the response"),
            None => format!("the client {what} before {} answered", self.host()),
        }
    }

    /// Counts the exchange, which was over at `at`; `head` is that of a whole answer.
    fn count(&self, head: Option<&Head>, timings: &Timings, at: Timestamp) {
        let Some(metrics) = &self.context.metrics else {
            return;
        };
        let Some(lazy) = self.entry.route() else {
            return;
        };
        metrics.exchanged(&Exchanged {
            host: self.host(),
            route: lazy.get(),
            url: &lazy.url,
            answer: head.map(|head| (head.status.as_u16(), head.made_by)),
            timings,
            span: Span {
                trace: self.context.trace,
                id: self.span,
                at,
            },
        });
    }

    fn log(&self, head: Option<&Head>, timings: Timings, error: Option<&str>) {
        let phase = |phase| timings[phase];
        let lazy = self.entry.route();
        // Read by the log only, where somebody listens.
        let route = || lazy.map(LazyRoute::get);
        tracing::info!(
            target: "modtape::exchange",
            trace_id = %self.context.trace,
            span_id = %self.span,
            exchange = self.id,
            connection = self.leg.id,
            method = self.method.as_str(),
            host = self.host(),
            kind = route().map(|route| route.kind.name()),
            module = route().and_then(|route| route.module.as_deref()),
            version = route().and_then(|route| route.version.as_deref()),
            url = lazy.map(|lazy| &*lazy.url),
            status = head.map(|head| head.status.as_u16()),
            made_by = head.map(|head| by(head.made_by)),
            bytes = self.body_bytes,
            start_us = self.stamps.started.as_micros(),
            duration_us = timings.total_us(),
            blocked_us = phase(Phase::Blocked),
            dns_us = phase(Phase::Dns),
            connect_us = phase(Phase::Connect),
            tls_us = phase(Phase::Tls),
            send_us = phase(Phase::Send),
            wait_us = phase(Phase::Wait),
            receive_us = phase(Phase::Receive),
            error,
        );
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_over {
            self.entry.done();
        } else {
            let why = match self.context.stop.is_cancelled() {
                true => self.context.why_stopped(),
                false => self.context.why_closed(&self.abandoned()),
            };
            self.abort_in_place(&why);
        }
        self.takes();
        self.leg.release_head(self.head_bytes);
        self.leg.watch.end(self.context.clock.now());
    }
}

/// A silence that is long enough to be on record.
fn long_silence(us: u64) -> Option<u64> {
    (us >= LONG_SILENCE_US).then_some(us)
}

/// `made_by` as the journal spells it.
const fn by(made_by: MadeBy) -> &'static str {
    match made_by {
        MadeBy::Origin => "origin",
        MadeBy::Modtape => "modtape",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    #[test]
    fn phases_sum_to_the_whole() {
        let stamps = Stamps {
            started: at(10),
            dns_us: Some(2_000),
            connect_us: Some(3_000),
            tls_us: Some(5_000),
            send: Some(at(27)),
            sent: None,
            head: Some(at(100)),
            last_byte: Some(at(130)),
        };
        let timings = stamps.timings(at(130));
        assert_eq!(timings.total_us(), 120_000);
        assert_eq!(timings[Phase::Blocked], Some(7_000));
        assert_eq!(timings[Phase::Wait], Some(73_000));
        assert_eq!(timings[Phase::Receive], Some(30_000));
    }

    #[test]
    fn a_reused_connection_has_no_connect_phase() {
        let stamps = Stamps {
            started: at(10),
            send: Some(at(11)),
            ..Stamps::default()
        };
        let timings = stamps.timings(at(50));
        assert_eq!(timings[Phase::Connect], None);
        assert_eq!(timings[Phase::Receive], None);
        assert_eq!(
            timings[Phase::Send],
            Some(39_000),
            "nothing was written yet"
        );
        assert_eq!(timings.total_us(), 40_000);
    }
}
