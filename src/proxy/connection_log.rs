//! What `-vv` and the log file hear of connections and requests as they go on, an event each step.
//!
//! Names follow OpenTelemetry's semantic conventions where these have one (server, client, network,
//! tls, error). Everything was redacted for the records before it comes here.

use tracing::{Level, debug};

use super::context::Context;
use crate::clock::Timestamp;
use crate::exchange::{
    ClientSide, Closed, ConnectionId, Mode, Opened, Target, Tried, UpstreamSide,
};
use crate::recording::format::{Connection, Event};
use crate::upstream::Journey;

/// A connection is set up, or could not be: who it is with, what both sides chose, what it took.
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
            id = opened.id,
            network.peer.address = %tried.addr,
            took_us = tried.took_us,
            error.message = tried.error.as_deref(),
            "tried"
        );
    }
    debug!(
        target: "modtape::connection",
        id = opened.id,
        mode = mode(opened.mode),
        again = opened.again.then_some(true),
        client.address = %opened.client.addr,
        client.sni = opened.client.sni.as_deref(),
        client.alpn = opened.client.alpn.as_deref(),
        client.tls = opened.client.tls.as_deref(),
        server.address = target.as_ref().map(Target::host),
        server.port = target.as_ref().map(Target::port),
        network.peer.address = upstream.and_then(|upstream| upstream.addr.as_deref()),
        network.local.address = upstream.and_then(|upstream| upstream.local_addr.as_deref()),
        network.protocol.name = alpn,
        tls.protocol.version = upstream.and_then(|upstream| upstream.tls.as_deref()),
        via = upstream.and_then(|upstream| upstream.via.as_deref()),
        dns_us = opened.dns_us,
        connect_us = opened.connect_us,
        tls_us = opened.tls_us,
        error.message = opened.error.as_deref(),
        "opened"
    );
}

/// A connection is over.
pub(super) fn closed(closed: &Closed) {
    debug!(
        target: "modtape::connection",
        id = closed.id,
        from_client_bytes = closed.from_client_bytes,
        to_client_bytes = closed.to_client_bytes,
        why = %closed.why,
        "closed"
    );
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Intercept => "intercept",
        Mode::Tunnel => "tunnel",
        Mode::Plain => "plain",
        Mode::Refuse => "refuse",
    }
}

/// Records that a connection is set up, or why it is not.
pub(super) fn note_opened(
    context: &Context,
    what: (ConnectionId, Timestamp, Mode),
    target: &str,
    client: &ClientSide,
    outcome: (Option<&Journey>, Option<String>),
) {
    note(context, opened(context, what, target, client, outcome));
}

pub(super) fn note(context: &Context, opened: Opened) {
    log_opened(&opened);
    let event = Event::Connection(Connection::Opened(opened));
    context.note(context.clock.now(), &event);
}

pub(super) fn opened(
    context: &Context,
    (id, started, mode): (ConnectionId, Timestamp, Mode),
    target: &str,
    client: &ClientSide,
    (journey, error): (Option<&Journey>, Option<String>),
) -> Opened {
    let redactor = &context.redactor;
    let text = |text: &String| redactor.text(text);
    let upstream = journey.map(|journey| UpstreamSide {
        addr: journey.addr.map(|addr| addr.to_string()),
        local_addr: journey.local_addr.map(|addr| addr.to_string()),
        alpn: journey.alpn.map(|protocol| protocol.name().to_owned()),
        tls: journey.tls.map(str::to_owned),
        via: journey.via.as_ref().map(text),
    });
    let tries = journey.map_or_else(Vec::new, |journey| {
        let tried = journey.tries.iter().map(|tried| Tried {
            addr: tried.addr.to_string(),
            took_us: tried.took_us,
            error: tried.error.as_ref().map(text),
        });
        tried.collect()
    });
    Opened {
        id,
        started_us: started,
        again: false,
        mode,
        target: redactor.text(target),
        client: client.clone(),
        upstream,
        dns_us: journey.and_then(|journey| journey.dns_us),
        connect_us: journey.and_then(|journey| journey.connect_us),
        tls_us: journey.and_then(|journey| journey.tls_us),
        tries,
        error: error.as_ref().map(text),
    }
}
