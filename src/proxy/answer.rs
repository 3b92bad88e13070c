//! Answers that we make ourselves: always `text/plain`, since the go command shows that and only
//! that, and never 404 or 410, which would send it on to the next GOPROXY entry.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::client_leg::ClientLeg;
use super::request_body::ClientFault;
use super::response_body::Outgoing;
use super::ticket::{Bodies, Head, Ticket};
use crate::exchange::{ByteString, MadeBy};
use crate::git::{RESULT, error_line};
use crate::tls::Protocol;

/// Stands in front of every reason, so that it is not taken for the origin's.
pub(crate) const NAME: &str = "modtape: ";

/// The header field that our own answers to exchanges have: the exchange's number.
pub(crate) const ID_FIELD: &str = "x-modtape-id";

/// The text of a 407.
const CHALLENGE: &str = "this proxy wants its token: \
    take HTTPS_PROXY as `modtape env` prints it where the recorder runs";

/// The text of a 403.
const NO_TOKEN: &str = "this module proxy wants its token in the path\n\
    take GOPROXY as `modtape env GOPROXY` prints it where the recorder runs";

/// Basic alone: every client can follow it.
const SCHEME: &str = "Basic realm=\"modtape\"";

/// An answer of our own.
pub(super) struct Answer {
    status: StatusCode,
    /// The reason phrase, where it is not the usual one.
    reason: Option<String>,
    fields: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// Says `text`, which must hold no secrets.
    ///
    /// go prints at most 8 lines of 81 characters, up to the first empty one (cmd/go/internal/web).
    fn new(status: StatusCode, text: &str) -> Self {
        // go prints it to a terminal, and a peer or a recording may have had a word in it.
        let text = text.replace(|c: char| c.is_control() && c != '\n', "?");
        let body = Bytes::from(format!("{NAME}{text}\n"));
        let mut fields = HeaderMap::new();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        fields.insert(header::CONTENT_TYPE, plain);
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        Self {
            status,
            reason: None,
            fields,
            body,
        }
    }

    /// The answer to a CONNECT that leads to no tunnel, or to what is no request: the connection ends
    /// behind it. The reason phrase is all that the go command shows.
    pub(super) fn refusal(status: StatusCode, why: &str) -> Self {
        Self {
            reason: Some(reason_phrase(why)),
            ..Self::new(status, why).closing()
        }
    }

    /// The answer to a request that does not show the token to a proxy (407) or a gateway; the connection
    /// ends behind it if it `closes`.
    pub(super) fn challenge(status: StatusCode, closes: bool) -> Self {
        let answer = match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                let mut answer = Self::new(status, CHALLENGE);
                let scheme = HeaderValue::from_static(SCHEME);
                answer.fields.insert(header::PROXY_AUTHENTICATE, scheme);
                answer
            }
            status => Self::new(status, NO_TOKEN),
        };
        if closes { answer.closing() } else { answer }
    }

    fn closing(mut self) -> Self {
        let close = HeaderValue::from_static("close");
        self.fields.insert(header::CONNECTION, close);
        self
    }

    /// The answer as hyper sends it.
    pub(super) fn into_response(self) -> Response<Outgoing> {
        let mut response = Response::new(Outgoing::Whole(Full::new(self.body)));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.fields;
        response
    }

    /// The same to a HEAD, where `is_head`: RFC 9110 section 9.3.2 wants the head that GET would
    /// bring, and hyper knows over HTTP/1 only that no body follows.
    fn in_answer_to(self, is_head: bool) -> Response<Outgoing> {
        let mut response = self.into_response();
        if is_head {
            *response.body_mut() = Outgoing::Whole(Full::default());
        }
        response
    }

    /// The answer as bytes, for a client to which hyper does not speak yet.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let usual = || self.status.canonical_reason().unwrap_or_default();
        let reason = self.reason.as_deref().unwrap_or_else(usual);
        let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", self.status.as_u16()).into_bytes();
        for (name, value) in &self.fields {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Records it as the response of an exchange.
    pub(super) async fn record(&self, mut ticket: Ticket) {
        let reason = self.reason.as_ref();
        let head = Head {
            status: self.status,
            reason: reason.map(|reason| ByteString(reason.clone().into_bytes())),
            version: "HTTP/1.1",
            headers: ticket.recorded(&self.fields),
            made_by: MadeBy::Modtape,
        };
        ticket.set_head(ticket.now(), head, None);
        ticket.add_bytes(self.body.len());
        ticket.last_byte();
        let response = match ticket.sink() {
            Some(mut sink) => {
                sink.push(&self.body);
                Some(sink.finish().await)
            }
            None => None,
        };
        // Where exchanges that are not on record must not pass, this answer is what says so.
        let bodies = Bodies {
            response,
            ..Bodies::default()
        };
        let _ = ticket.end(bodies).await;
    }
}

/// Records and returns our own answer.
pub(super) async fn own(ticket: Ticket, status: StatusCode, text: &str) -> Response<Outgoing> {
    let mut answer = Answer::new(status, &ticket.redacted(text));
    let id = HeaderValue::from(ticket.id);
    answer.fields.insert(ID_FIELD, id);
    let is_head = ticket.is_head();
    answer.record(ticket).await;
    answer.in_answer_to(is_head)
}

/// Records and returns our own answer to a command of git, which shows the text of this one only.
pub(super) async fn refuse_git(ticket: Ticket, text: &str) -> Response<Outgoing> {
    let text = ticket.redacted(text);
    let text = text.replace(|c: char| c.is_control() && c != '\n', "?");
    let body = Bytes::from(error_line(&format!("{NAME}{text}")));
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(RESULT));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    fields.insert(ID_FIELD, HeaderValue::from(ticket.id));
    let answer = Answer {
        status: StatusCode::OK,
        reason: None,
        fields,
        body,
    };
    answer.record(ticket).await;
    answer.into_response()
}

/// Records what hyper answers by itself to a head that it cannot parse.
pub(super) async fn by_hyper(ticket: Ticket, status: StatusCode) {
    let mut fields = HeaderMap::new();
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    let answer = Answer {
        status,
        reason: None,
        fields,
        body: Bytes::new(),
    };
    answer.record(ticket).await;
}

/// Replaces the response of an exchange that has ended and is not on record, where it has to be.
pub(super) fn refused(why: &str, is_head: bool) -> Response<Outgoing> {
    Answer::new(StatusCode::BAD_GATEWAY, why).in_answer_to(is_head)
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

/// Ends the client connection once this response was sent.
pub(super) fn close_after(leg: &ClientLeg, response: &mut Response<Outgoing>) {
    match leg.protocol {
        Protocol::Http1 => {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Protocol::H2 => leg.ended.cancel(),
    }
}

/// The reason phrase of a refused CONNECT: all that the go command shows of it.
///
/// RFC 9112 section 4 allows spaces, tabs and visible characters.
fn reason_phrase(text: &str) -> String {
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
