//! Answers from a recording: status, fields and body as they were, framed anew.
//!
//! A recording is untrusted: a response that no upstream could have sent through us is not sent.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;

use super::answer;
use super::client_leg::ClientLeg;
use super::context::Context;
use super::git;
use super::headers;
use super::request_body;
use super::response_body::{self, Outgoing};
use super::response_head::{FIELDS_LIMIT, HEAD_LIMIT};
use super::ticket::{Bodies, Head, Ticket};
use crate::coding::lists_gzip;
use crate::exchange::{End, Fields, MadeBy, chain};
use crate::replay::{AnswerError, Conditions, Hit, Played, REQUEST_LIMIT, Replay};
use crate::tls::Protocol;

/// Why a recorded answer is not given.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplayError {
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error("the recorded response cannot be sent")]
    Head(#[from] HeadError),
}

/// What is wrong with a recorded head.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    #[error("its status is {0}")]
    Status(u16),
    #[error("its reason phrase is invalid")]
    Reason,
    #[error("the name of its field {0:?} is invalid")]
    Name(String),
    #[error("the value of its field {0} is invalid")]
    Value(HeaderName),
    #[error("it has {0}")]
    Ambiguous(&'static str),
    #[error("it has more than {FIELDS_LIMIT} fields or {HEAD_LIMIT} bytes of them")]
    Long,
}

/// A response out of a recording.
pub(super) struct Given {
    pub(super) response: Response<Outgoing>,
    /// Bytes of its body.
    pub(super) bytes: u64,
}

/// Answers one request from the recording, or says what is missing.
pub(super) async fn answer(
    leg: &ClientLeg,
    replay: &Arc<Replay>,
    mut ticket: Ticket,
    head: &request::Parts,
    body: Option<Incoming>,
    url: &str,
) -> Response<Outgoing> {
    // git and curl fail if the response ends while they still send the body.
    let limit = leg.context.deadlines.request_body_idle;
    let is_h2 = leg.protocol == Protocol::H2;
    let is_git = git::is_command(head);
    let keep = if is_git { REQUEST_LIMIT } else { 0 };
    let body = match body {
        Some(body) => request_body::read(body, is_h2, limit, keep).await,
        None => Ok(Bytes::new()),
    };
    let body = match body {
        Ok(body) => body,
        Err(fault) => return answer::fault(leg, ticket, &fault).await,
    };
    ticket.sending(None);
    // The recording holds a mark in place of a secret in a base URL.
    let url = leg.context.redactor.known(url);
    match recorded(&leg.context, replay, head, &body, &url).await {
        Ok(given) => give(leg, ticket, given).await,
        Err(ReplayError::Answer(AnswerError::Miss(text))) if is_git => {
            answer::refuse_git(ticket, &text).await
        }
        Err(ReplayError::Answer(AnswerError::Miss(text))) => {
            answer::own(ticket, StatusCode::GATEWAY_TIMEOUT, &text).await
        }
        Err(error) => {
            let why = format!("{}: {}", ticket.what(), chain(&error));
            answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await
        }
    }
}

/// The recorded answer to a request that sent `body`.
pub(super) async fn recorded(
    context: &Context,
    replay: &Arc<Replay>,
    head: &request::Parts,
    body: &Bytes,
    url: &str,
) -> Result<Given, ReplayError> {
    match git::answer(context, replay, head, body, url).await {
        Some(found) => found,
        None => find(replay, head, url),
    }
}

/// Gives an answer to the client.
pub(super) async fn give(leg: &ClientLeg, mut ticket: Ticket, given: Given) -> Response<Outgoing> {
    let Given { response, bytes } = given;
    let (mut parts, body) = response.into_parts();
    headers::to_client(&mut parts, leg.protocol);
    let response = Response::from_parts(parts, body);
    let now = ticket.now();
    ticket.set_head(
        now,
        Head {
            status: response.status(),
            reason: None,
            version: "HTTP/1.1",
            headers: ticket.recorded(response.headers()),
            made_by: MadeBy::Origin,
        },
        None,
    );
    ticket.add_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
    ticket.end(Bodies::default()).await;
    response_body::with_content_length(response)
}

/// The recorded answer to a request that is known by its URL.
pub(super) fn find(
    replay: &Replay,
    head: &request::Parts,
    url: &str,
) -> Result<Given, ReplayError> {
    let fields = head.headers.iter();
    let conditions = Conditions::of(fields.map(|(name, value)| (name.as_str(), value.as_bytes())));
    let hit = replay.find(head.method.as_str(), url, &conditions)?;
    play(replay, &hit, &head.headers)
}

/// A recorded answer, for a request with these fields.
pub(super) fn play(replay: &Replay, hit: &Hit, request: &HeaderMap) -> Result<Given, ReplayError> {
    let response = response(replay, hit, accepts_gzip(request))?;
    let bytes = hit.exchange.body_bytes();
    Ok(Given { response, bytes })
}

fn response(
    replay: &Replay,
    hit: &Hit,
    accepts_gzip: bool,
) -> Result<Response<Outgoing>, ReplayError> {
    let Some(end) = hit.exchange.end() else {
        return Err(AnswerError::Miss(String::from("the exchange has no end")).into());
    };
    let is_head = hit.exchange.begin.method == "HEAD";
    let (mut response, trailers) = head(end, is_head).inspect_err(|error| {
        replay.cannot_send(hit, error);
    })?;
    let reader = replay.body(hit)?;
    let fields = response.headers_mut();
    if !has_body(end.status, is_head) {
        return Ok(response);
    }
    let (Some(reader), Some(body)) = (reader, &end.body) else {
        set_length(fields, 0);
        return Ok(response);
    };
    let is_gzip = fields
        .get(header::CONTENT_ENCODING)
        .is_some_and(|value| value == "gzip");
    // A client that was sent gzip without asking for it gets gzip again.
    let was_accepted = || accepted_gzip(&hit.exchange.begin.headers);
    let played = if is_gzip && (hit.cut.is_some() || !accepts_gzip && was_accepted()) {
        fields.remove(header::CONTENT_ENCODING);
        fields.remove(header::CONTENT_LENGTH);
        Played::decoded(reader, hit.cut)
    } else {
        set_length(
            fields,
            hit.cut.map_or(body.bytes, |cut| cut.min(body.bytes)),
        );
        Played::new(reader, body.bytes, hit.cut)
    };
    let played = played.with_trailers(trailers).on(replay.account(hit));
    *response.body_mut() = Outgoing::Played(played);
    Ok(response)
}

/// Whether a response has a body (RFC 9110 section 6.4.1). Over HTTP/2 clients fail on one that must not
/// be there.
const fn has_body(status: u16, is_head: bool) -> bool {
    !is_head && !matches!(status, 204 | 304)
}

/// A recorded head without a body, and the trailers, if all of it can be sent.
fn head(end: &End, is_head: bool) -> Result<(Response<Outgoing>, HeaderMap), HeadError> {
    let status = StatusCode::from_u16(end.status).ok();
    let status = status.filter(|status| !status.is_informational());
    let mut response = Response::new(Outgoing::Played(Played::empty()));
    *response.status_mut() = status.ok_or(HeadError::Status(end.status))?;
    *response.headers_mut() = header_map(&end.headers)?;
    if let Some(reason) = &end.reason {
        // HTTP/2 has none, and leaves it out.
        let reason = ReasonPhrase::try_from(reason.0.clone()).map_err(|_| HeadError::Reason)?;
        response.extensions_mut().insert(reason);
    }
    if end.status == 204 {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    } else if !has_body(end.status, is_head) {
        // Content-Length is that of a body that is not sent, so that it cannot be corrected.
        if let Some(what) = headers::ambiguity(response.headers()) {
            return Err(HeadError::Ambiguous(what));
        }
    }
    Ok((response, header_map(&end.trailers)?))
}

/// The length of what is sent, where a length was recorded: the recorded one may be another, and
/// the client would take what follows for the next response.
fn set_length(fields: &mut HeaderMap, bytes: u64) {
    if fields.remove(header::CONTENT_LENGTH).is_some() {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
}

/// Recorded fields for the wire.
fn header_map(fields: &Fields) -> Result<HeaderMap, HeadError> {
    let bytes = fields
        .iter()
        .map(|(name, value)| name.len() + value.0.len());
    if fields.len() > FIELDS_LIMIT || bytes.sum::<usize>() > HEAD_LIMIT {
        return Err(HeadError::Long);
    }
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let parsed = name.parse::<HeaderName>();
        let parsed = parsed.map_err(|_| HeadError::Name(name.chars().take(60).collect()))?;
        let value = HeaderValue::from_bytes(&value.0);
        let value = value.map_err(|_| HeadError::Value(parsed.clone()))?;
        map.append(parsed, value);
    }
    Ok(map)
}

/// Whether a client takes gzip.
pub(crate) fn accepts_gzip(fields: &HeaderMap) -> bool {
    let values = fields.get_all(header::ACCEPT_ENCODING).iter();
    lists_gzip(values.map(HeaderValue::as_bytes))
}

fn accepted_gzip(fields: &Fields) -> bool {
    let values = fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("accept-encoding"));
    lists_gzip(values.map(|(_, value)| &value.0[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Timings;

    fn recorded(status: u16, fields: &[(&str, &str)]) -> End {
        let fields = fields.iter();
        End {
            id: 1,
            status,
            reason: None,
            version: "HTTP/1.1".into(),
            headers: fields
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            trailers: Vec::new(),
            request_body: None,
            body: None,
            phases_us: Timings::default(),
            own_us: 0,
            client_wait_us: 0,
            longest_silence_us: None,
            made_by: MadeBy::Origin,
            attempts: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_head_that_no_upstream_could_have_sent_is_named_and_not_sent() {
        let fails = |end: &End| head(end, false).map(|_| ()).unwrap_err().to_string();
        for (fields, why) in [
            (("a b", "c"), "the name of its field \"a b\" is invalid"),
            (("", "c"), "the name of its field \"\" is invalid"),
            (
                ("x\r\ny", "c"),
                "the name of its field \"x\\r\\ny\" is invalid",
            ),
            (
                ("ETag", "a\r\nb: c"),
                "the value of its field etag is invalid",
            ),
            (("x", "\u{1b}[2J"), "the value of its field x is invalid"),
        ] {
            assert_eq!(fails(&recorded(200, &[fields])), why);
            let trailers = End {
                trailers: recorded(200, &[fields]).headers,
                ..recorded(200, &[])
            };
            assert_eq!(fails(&trailers), why);
        }
        for status in [0, 99, 100, 101, 103, 1000, u16::MAX] {
            assert_eq!(
                fails(&recorded(status, &[])),
                format!("its status is {status}")
            );
        }
        let many = vec![("a", ""); FIELDS_LIMIT + 1];
        assert!(matches!(
            head(&recorded(200, &many), false),
            Err(HeadError::Long)
        ));
        let long = "x".repeat(HEAD_LIMIT);
        assert!(matches!(
            head(&recorded(200, &[("a", &long)]), false),
            Err(HeadError::Long)
        ));
        let split = End {
            reason: Some("OK\r\nx: y".into()),
            ..recorded(200, &[])
        };
        assert!(matches!(head(&split, false), Err(HeadError::Reason)));
        for (status, is_head) in [(304, false), (200, true)] {
            let invalid = recorded(status, &[("content-length", "many")]);
            assert!(matches!(
                head(&invalid, is_head),
                Err(HeadError::Ambiguous(_))
            ));
        }
    }

    #[test]
    fn a_head_is_sent_as_it_was() {
        let mut end = recorded(200, &[("ETag", "\"a\u{e9}\""), ("x", "1\t2"), ("x", "3")]);
        end.reason = Some("Fein".into());
        let (response, _) = head(&end, false).unwrap();
        assert_eq!(response.headers().len(), 3);
        let reason = response.extensions().get::<ReasonPhrase>();
        assert_eq!(reason.map(ReasonPhrase::as_bytes), Some(&b"Fein"[..]));
        let (response, _) = head(&recorded(204, &[("content-length", "7")]), false).unwrap();
        assert!(response.headers().is_empty());
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let accepts = |value: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_str(value).unwrap(),
            );
            let recorded = accepted_gzip(&vec![("accept-encoding".into(), value.into())]);
            assert_eq!(recorded, accepts_gzip(&fields), "{value}");
            recorded
        };
        assert!(accepts("gzip") && accepts("br, gzip;q=0.5") && accepts("*"));
        assert!(!accepts("identity") && !accepts("gzip;q=0") && !accepts(""));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
