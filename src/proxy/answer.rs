//! Answers that we make ourselves: always `text/plain`, since the go command shows that and only
//! that, and never 404 or 410, which would send it on to the next GOPROXY entry.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::access::{CHALLENGED, Gate, SCHEME};
use super::client_leg::ClientLeg;
use super::request_body::ClientFault;
use super::response_body::Outgoing;
use super::ticket::{Head, Ticket};
use crate::exchange::MadeBy;
use crate::tls::Protocol;

/// Stands in front of every reason, so that it is not taken for the origin's.
pub(super) const NAME: &str = "modtape: ";

/// Records and returns our own answer.
///
/// go prints at most 8 lines of 81 characters, up to the first empty one (cmd/go/internal/web).
pub(super) async fn own(ticket: Ticket, status: StatusCode, text: &str) -> Response<Outgoing> {
    let (mut response, body) = plain(status, &ticket.redacted(text));
    if ticket.is_head() {
        // RFC 9110 section 9.3.2: the head is what GET would bring. hyper knows that of HTTP/1 only.
        *response.body_mut() = Outgoing::Whole(Full::default());
    }
    let fields = response.headers_mut();
    fields.insert("x-modtape-id", HeaderValue::from(ticket.id));
    record(ticket, status, response.headers(), &body).await;
    response
}

/// Records what hyper answers by itself to a head that it cannot parse.
pub(super) async fn by_hyper(ticket: Ticket, status: StatusCode) {
    let mut fields = HeaderMap::new();
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    record(ticket, status, &fields, &Bytes::new()).await;
}

async fn record(mut ticket: Ticket, status: StatusCode, fields: &HeaderMap, body: &Bytes) {
    let head = Head {
        status,
        reason: None,
        version: "HTTP/1.1",
        headers: ticket.recorded(fields),
        made_by: MadeBy::Modtape,
    };
    let now = ticket.now();
    ticket.heard(now, head);
    ticket.add_bytes(body.len());
    ticket.last_byte();
    let sink = ticket.sink();
    let kept = match sink {
        Some(mut sink) => {
            sink.push(body);
            Some(sink.finish().await)
        }
        None => None,
    };
    // Also where nothing may pass unrecorded: this says so.
    let _ = ticket.end(kept, None, None).await;
}

/// Answers a request whose client failed while it sent the body.
pub(super) async fn fault(
    leg: &ClientLeg,
    ticket: Ticket,
    fault: &ClientFault,
) -> Response<Outgoing> {
    let mut response = own(ticket, fault.status, &fault.why).await;
    // Over HTTP/2 only one stream is at fault, and the others go on.
    if leg.protocol == Protocol::Http1 {
        close_after(leg, &mut response);
    }
    response
}

/// Ends the client connection once this response has left.
pub(super) fn close_after(leg: &ClientLeg, response: &mut Response<Outgoing>) {
    match leg.protocol {
        Protocol::Http1 => {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Protocol::H2 => leg.ended.cancel(),
    }
}

/// The answer to a request that does not show the token.
pub(super) fn challenge(gate: &Gate) -> Response<Outgoing> {
    let body = Full::new(Bytes::from_static(CHALLENGED.as_bytes()));
    let mut response = Response::new(Outgoing::Whole(body));
    *response.status_mut() = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    let mut set = |name, value| {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    };
    set(header::PROXY_AUTHENTICATE, SCHEME);
    set(header::CONTENT_TYPE, "text/plain; charset=utf-8");
    if gate.is_shut() {
        set(header::CONNECTION, "close");
    }
    response
}

/// Stands in for an answer that was recorded as it came and may not pass.
pub(super) fn refused(why: &str, is_head: bool) -> Response<Outgoing> {
    let mut response = plain(StatusCode::BAD_GATEWAY, why).0;
    if is_head {
        // hyper sends it over HTTP/2.
        *response.body_mut() = Outgoing::Whole(Full::default());
    }
    response
}

fn plain(status: StatusCode, text: &str) -> (Response<Outgoing>, Bytes) {
    // go prints it to a terminal, and a peer or a recording may have had a word in it.
    let text = text.replace(|c: char| c.is_control() && c != '\n', "?");
    let body = Bytes::from(format!("{NAME}{text}\n"));
    let mut response = Response::new(Outgoing::Whole(Full::new(body.clone())));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    (response, body)
}

/// The reason phrase of a refused CONNECT: all that the go command shows of it.
///
/// RFC 9112 section 4 allows spaces, tabs and visible characters.
pub(super) fn reason_phrase(text: &str) -> String {
    let plain = text
        .chars()
        .map(|c| if (' '..='~').contains(&c) { c } else { '?' });
    NAME.chars().chain(plain).take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_phrase_is_one_line_of_visible_characters() {
        let phrase = reason_phrase("no\r\nInjected: header\u{1b}[2J é");
        assert_eq!(phrase, "modtape: no??Injected: header?[2J ?");
    }
}
