//! What `-vv` and the log file hear of connections and requests as they go on, an event each step.
//!
//! Names follow OpenTelemetry's semantic conventions where these have one (server, client, network,
//! tls, error). Everything was redacted for the records before it comes here.

use tracing::{Level, debug};

use crate::exchange::{Begin, Closed, ExchangeId, MadeBy, Mode, Opened, Target};

/// A connection is set up, or could not be: who it is with, what both sides chose, what it took.
pub(super) fn opened(opened: &Opened) {
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

/// A request was read.
pub(super) fn asked(begin: &Begin) {
    debug!(
        target: "modtape::exchange",
        id = begin.id,
        connection = begin.connection,
        span_id = %begin.span,
        method = %begin.method,
        url = %begin.url,
        network.protocol.version = %begin.version,
        "asked"
    );
}

/// The head of its answer is there, from whoever made it.
pub(super) fn answered(id: ExchangeId, status: u16, version: &str, made_by: MadeBy) {
    debug!(
        target: "modtape::exchange",
        id,
        status,
        network.protocol.version = version,
        made_by = by(made_by),
        "answered"
    );
}

/// As the journal has it.
pub(super) const fn by(made_by: MadeBy) -> &'static str {
    match made_by {
        MadeBy::Origin => "origin",
        MadeBy::Modtape => "modtape",
    }
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Intercept => "intercept",
        Mode::Tunnel => "tunnel",
        Mode::Plain => "plain",
        Mode::Refuse => "refuse",
    }
}
