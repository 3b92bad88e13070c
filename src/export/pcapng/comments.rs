//! What the comments say: `key=value`, so that `frame.comment contains "trace=…"` finds it.

use std::fmt::Write as _;

use super::super::source::{Bodies, Item};
use super::message::shows_trailers;
use crate::exchange::{Body, Closed, Ending, Mode, Opened, TraceId};
use crate::recording::format::Manifest;

/// What is true of the whole file.
pub(super) fn of_section(manifest: &Manifest) -> String {
    let command = match manifest.command.as_slice() {
        [] => String::from("without a command"),
        words => words.join(" "),
    };
    let redacted = if manifest.redacted {
        "secrets are redacted"
    } else {
        "SECRETS ARE NOT REDACTED"
    };
    format!(
        "recording={} trace={} command: {command}\nMade by {} from its journal: each exchange is a \
         TCP stream of its own, in clear text on port 80, HTTP/2 as HTTP/1.1. Server addresses, \
         times and contents are real; {redacted}.",
        manifest.id, manifest.trace, manifest.tool
    )
}

/// On the first packet of a request.
pub(super) fn of_request(item: &Item<'_>) -> String {
    let exchange = &item.exchange;
    let begin = &exchange.begin;
    let mut text = of_exchange(item);
    let _ = write!(text, " connection={}", begin.connection);
    if let Some(dial) = item.dial {
        let _ = write!(text, " client={}", dial.client.addr);
        text.push_str(&of_upstream(dial));
    }
    let protocol = exchange.end().map_or(&begin.version, |end| &end.version);
    let _ = write!(text, " protocol={protocol}");
    let _ = write!(text, " what: {}", item.listed.what());
    if let Some(body) = exchange.request_body() {
        let _ = write!(text, " body={} sha256={}", body.bytes, body.sha256);
    }
    if matches!(exchange.ending, Ending::InFlight) {
        text.push_str(" (in flight when the recorder ended)");
    }
    text
}

/// On the first packet of a response, of whose body so many bytes are `shown`; where none came, on the
/// packet that ends the stream.
pub(super) fn of_response(item: &Item<'_>, bodies: Bodies, shown: u64) -> String {
    let exchange = &item.exchange;
    let mut text = of_exchange(item);
    for (phase, us) in exchange.timings().iter() {
        let _ = write!(text, " {phase}_us={us}");
    }
    match &exchange.ending {
        Ending::InFlight => {}
        Ending::Aborted(abort) => {
            let _ = write!(text, " broke off: {}", abort.why);
            let bytes = abort.body_bytes;
            let _ = write!(
                text,
                " (of the body came {bytes} bytes, which are not shown)"
            );
        }
        Ending::Ended(end) => {
            let _ = write!(text, " own_us={}", end.own_us);
            if let Some(body) = &end.body {
                let _ = write!(text, " body={} sha256={}", body.bytes, body.sha256);
                text.push_str(&not_shown(body, bodies, shown));
            }
            if !end.trailers.is_empty() && !shows_trailers(&exchange.begin, end, shown) {
                let _ = write!(
                    text,
                    " ({} trailer fields are not shown)",
                    end.trailers.len()
                );
            }
        }
    }
    text
}

/// On the SYN of a connection whose bytes are not shown.
pub(super) fn of_connection(trace: TraceId, dial: &Opened, closed: Option<&Closed>) -> String {
    let what = match dial.mode {
        Mode::Tunnel => "a tunnel, whose bytes were not read",
        _ => "a connection that no request was sent on",
    };
    let mut text = format!("connection={} trace={trace}", dial.id);
    let _ = write!(text, " target={} client={}", dial.target, dial.client.addr);
    text.push_str(&of_upstream(dial));
    let _ = write!(text, " {what}");
    if let Some(closed) = closed {
        let (sent, received) = (closed.from_client_bytes, closed.to_client_bytes);
        let _ = write!(
            text,
            "; {sent} bytes from the client, {received} to it; {}",
            closed.why
        );
    }
    if let Some(error) = &dial.error {
        let _ = write!(text, "; {error}");
    }
    text
}

fn of_exchange(item: &Item<'_>) -> String {
    let (id, trace, span) = (item.row.id, item.run.trace, item.exchange.begin.span);
    format!("exchange={id} trace={trace} span={span}")
}

/// The real addresses and ports, and the parent proxy.
fn of_upstream(dial: &Opened) -> String {
    let Some(upstream) = &dial.upstream else {
        return String::new();
    };
    let parts = [
        (" upstream=", &upstream.addr),
        (" from=", &upstream.local_addr),
        (" tls=", &upstream.tls),
        (" via=", &upstream.via),
    ];
    let parts = parts
        .iter()
        .filter_map(|(key, value)| Some((key, value.as_ref()?)));
    parts.fold(String::new(), |text, (key, value)| text + key + value)
}

fn not_shown(body: &Body, bodies: Bodies, shown: u64) -> String {
    if shown == body.bytes {
        return String::new();
    }
    let why = match bodies {
        _ if !body.kept => "only its digest was kept",
        Bodies::None => "bodies were left out",
        Bodies::Small if shown > 0 => "the rest lies in bodies/",
        Bodies::Small | Bodies::All => "it could not be read",
    };
    format!(" ({shown} bytes of the body are shown: {why})")
}
