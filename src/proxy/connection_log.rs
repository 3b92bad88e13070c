//! What the journal and the log say of a connection: how its setup went, and how it ended.
//!
//! Secrets are redacted first.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use tracing::{Level, debug};

use super::context::Context;
use crate::clock::Timestamp;
use crate::exchange::{
    ClientSide, Closed, ConnectionId, DialFailure, Mode, Opened, Target, Tried, UpstreamSide,
};
use crate::recording::format::{Connection, Event};
use crate::redact::Redactor;
use crate::telemetry::metrics::Leg;
use crate::upstream::{FailedLookup, Journey};

/// How the setup of a connection went: done, or why not.
pub(super) struct Setup<'a> {
    pub(super) id: ConnectionId,
    /// When the client connected, or when a later dial for it began.
    pub(super) started: Timestamp,
    pub(super) mode: Mode,
    /// `host:port`; empty if the client named none.
    pub(super) target: Cow<'a, str>,
    pub(super) client: &'a ClientSide,
    /// How far dialling came, if anything was dialled.
    pub(super) journey: Option<&'a Journey>,
    pub(super) error: Option<&'a str>,
    /// This client connection was set up before, and its upstream is dialled anew.
    pub(super) again: bool,
}

impl Setup<'_> {
    /// Records and logs it, without secrets.
    pub(super) fn record(&self, context: &Context) {
        let opened = self.opened(&context.redactor);
        if let Some(metrics) = &context.metrics
            && opened.reason.is_some_and(DialFailure::is_of_upstream_tls)
        {
            metrics.tls_failed(Leg::Upstream);
        }
        log_opened(&opened);
        let event = Event::Connection(Connection::Opened(opened));
        context.note(context.clock.now(), &event);
    }

    fn opened(&self, redactor: &Redactor) -> Opened {
        let journey = self.journey;
        let text = |text: &String| redactor.text(text);
        let upstream = journey.map(|journey| UpstreamSide {
            addr: journey.addr.map(|addr| addr.to_string()),
            local_addr: journey.local_addr.map(|addr| addr.to_string()),
            alpn: journey.alpn.map(|protocol| protocol.name().to_owned()),
            tls: journey.tls.map(str::to_owned),
            issuer: journey.issuer.as_ref().map(text),
            via: journey.via.as_ref().map(text),
        });
        let tries = journey.map_or_else(Vec::new, |journey| {
            let tried = journey.tries.iter().map(|tried| Tried {
                addr: tried.addr.to_string(),
                took_us: tried.took_us,
                error: tried.error.as_ref().map(text),
                reason: tried.failure,
            });
            tried.collect()
        });
        Opened {
            id: self.id,
            started_us: self.started,
            again: self.again,
            mode: self.mode,
            target: redactor.text(&self.target),
            client: self.client.clone(),
            upstream,
            dns_us: journey.and_then(|journey| journey.dns_us),
            connect_us: journey.and_then(|journey| journey.connect_us),
            tls_us: journey.and_then(|journey| journey.tls_us),
            tries,
            error: self.error.map(|error| redactor.text(error)),
            reason: journey
                .and_then(|journey| journey.failure)
                .filter(|_| self.error.is_some()),
        }
    }
}

/// Records a lookup since `started` that gave no address for a client, which connects to nothing then: a
/// connection to `target` that was refused.
pub(super) fn lookup_failed(
    context: &Context,
    started: Timestamp,
    target: &Target,
    failed: FailedLookup,
) {
    let now = context.clock.now();
    let id = context.next_connection.fetch_add(1, Ordering::Relaxed) + 1;
    let journey = Journey {
        started,
        dns_us: Some(now.micros_since(started)),
        failure: Some(failed.reason),
        ..Journey::default()
    };
    Setup {
        id,
        started,
        mode: Mode::Refuse,
        target: target.to_string().into(),
        client: &ClientSide::default(),
        journey: Some(&journey),
        error: Some(&failed.why),
        again: false,
    }
    .record(context);
    let end = Closed {
        id,
        from_client_bytes: 0,
        to_client_bytes: 0,
        tunnel: false,
        why: failed.why,
        note: None,
    };
    closed(context, now, end);
}

/// Records the end of a connection, which was at `at`.
pub(super) fn closed(context: &Context, at: Timestamp, closed: Closed) {
    debug!(
        target: "modtape::connection",
        connection = closed.id,
        from_client_bytes = closed.from_client_bytes,
        to_client_bytes = closed.to_client_bytes,
        why = %closed.why,
        note = closed.note.as_deref(),
        "closed"
    );
    let event = Event::Connection(Connection::Closed(closed));
    context.note(at, &event);
}

/// Logs the peers of a connection, what both sides chose, and how long each step took.
fn log_opened(opened: &Opened) {
    if !tracing::enabled!(target: "modtape::connection", Level::DEBUG) {
        return;
    }
    let target = opened.target.parse::<Target>().ok();
    let upstream = opened.upstream.as_ref();
    let alpn = upstream.and_then(|upstream| upstream.alpn.as_deref());
    for tried in &opened.tries {
        debug!(
            target: "modtape::connection",
            connection = opened.id,
            peer = %tried.addr,
            duration_us = tried.took_us,
            error = tried.error.as_deref(),
            "tried"
        );
    }
    debug!(
        target: "modtape::connection",
        connection = opened.id,
        mode = mode(opened.mode),
        again = opened.again.then_some(true),
        client = %opened.client.addr,
        client_sni = opened.client.sni.as_deref(),
        client_alpn = opened.client.alpn.as_deref(),
        client_tls = opened.client.tls.as_deref(),
        server = target.as_ref().map(Target::host),
        port = target.as_ref().map(Target::port),
        peer = upstream.and_then(|upstream| upstream.addr.as_deref()),
        local = upstream.and_then(|upstream| upstream.local_addr.as_deref()),
        alpn,
        tls = upstream.and_then(|upstream| upstream.tls.as_deref()),
        via = upstream.and_then(|upstream| upstream.via.as_deref()),
        dns_us = opened.dns_us,
        connect_us = opened.connect_us,
        tls_us = opened.tls_us,
        error = opened.error.as_deref(),
        "opened"
    );
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Intercept => "intercept",
        Mode::Tunnel => "tunnel",
        Mode::Plain => "plain",
        Mode::Gateway => "gateway",
        Mode::Refuse => "refuse",
    }
}
