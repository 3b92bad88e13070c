//! Answers from a recording: status, fields and octets as they were, framing anew.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request};

use super::answer;
use super::channel::Channel;
use super::headers;
use super::outgoing::Outgoing;
use super::ticket::{Head, Ticket};
use crate::exchange::{End, Fields, MadeBy};
use crate::replay::{AnswerError, Conditions, Hit, Played, Replay};

/// Answers one request from the recording, or says what is missing.
pub(super) async fn answer(
    channel: &Arc<Channel>,
    replay: &Replay,
    mut ticket: Ticket,
    (head, url): (&request::Parts, &str),
) -> Response<Outgoing> {
    ticket.sending(None);
    let fields = head.headers.iter();
    let conditions = Conditions::of(fields.map(|(name, value)| (name.as_str(), value.as_bytes())));
    let found = replay.find(head.method.as_str(), url, &conditions);
    let found = found.and_then(|hit| {
        let response = play(replay, &hit, accepts_gzip(&head.headers))?;
        Ok((hit, response))
    });
    let (hit, mut response) = match found {
        Ok(found) => found,
        Err(AnswerError::Miss(text)) => {
            return answer::own(ticket, StatusCode::GATEWAY_TIMEOUT, &text).await;
        }
        Err(error) => {
            let mut why = format!("{error}: {}", ticket.wanted.route().what());
            if let Some(source) = std::error::Error::source(&error) {
                why = format!("{why}: {source}");
            }
            return answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await;
        }
    };
    let (mut parts, body) = response.into_parts();
    headers::to_client(&mut parts, channel.protocol);
    response = Response::from_parts(parts, body);
    let now = ticket.now();
    ticket.heard(
        now,
        Head {
            status: response.status(),
            reason: None,
            version: "HTTP/1.1",
            headers: headers::fields(response.headers()),
            made_by: MadeBy::Origin,
        },
    );
    let bytes = hit.exchange.body_bytes();
    ticket.add_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
    ticket.end(None, None, None).await;
    response
}

fn play(replay: &Replay, hit: &Hit, accepts_gzip: bool) -> Result<Response<Outgoing>, AnswerError> {
    let Some(end) = hit.exchange.end() else {
        return Err(AnswerError::Miss(String::from("the exchange has no end")));
    };
    let mut response = Response::new(Outgoing::Played(Played::empty()));
    *response.status_mut() = StatusCode::from_u16(end.status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = header_map(&end.headers);
    let reader = replay.body(hit)?;
    let (Some(reader), Some(body)) = (reader, &end.body) else {
        let is_told_only = hit.exchange.begin.method == "HEAD" || end.status == 304;
        if !is_told_only {
            set_length(response.headers_mut(), 0);
        }
        return Ok(response);
    };
    let fields = response.headers_mut();
    let is_gzip = fields
        .get(header::CONTENT_ENCODING)
        .is_some_and(|value| value == "gzip");
    // A client that never took gzip and was given it is given it again.
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
    *response.body_mut() =
        Outgoing::Played(played.with_trailers(trailers(end)).on(replay.account(hit)));
    Ok(response)
}

/// The length of what is sent, where a length was recorded: the recorded one may be another, and
/// the client would take what follows for the next response.
fn set_length(fields: &mut HeaderMap, bytes: u64) {
    if fields.remove(header::CONTENT_LENGTH).is_some() {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
}

fn trailers(end: &End) -> HeaderMap {
    header_map(&end.trailers)
}

/// Recorded fields for the wire; what cannot stand there was never on it.
fn header_map(fields: &Fields) -> HeaderMap {
    let parsed = fields.iter().filter_map(|(name, value)| {
        let name: HeaderName = name.parse().ok()?;
        Some((name, HeaderValue::from_bytes(&value.0).ok()?))
    });
    let mut map = HeaderMap::new();
    for (name, value) in parsed {
        map.append(name, value);
    }
    map
}

fn accepts_gzip(fields: &HeaderMap) -> bool {
    let values = fields.get_all(header::ACCEPT_ENCODING).iter();
    lists_gzip(values.filter_map(|value| value.to_str().ok()))
}

fn accepted_gzip(fields: &Fields) -> bool {
    let values = fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("accept-encoding"));
    lists_gzip(values.filter_map(|(_, value)| std::str::from_utf8(&value.0).ok()))
}

fn lists_gzip<'a>(lists: impl Iterator<Item = &'a str>) -> bool {
    let mut codings = lists.flat_map(|list| list.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight
            .trim()
            .strip_prefix("q=")
            .is_some_and(|q| q.parse() == Ok(0.0));
        matches!(name.trim(), "gzip" | "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let accepts = |value: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_str(value).unwrap(),
            );
            let recorded = accepted_gzip(&headers::fields(&fields));
            assert_eq!(recorded, accepts_gzip(&fields), "{value}");
            recorded
        };
        assert!(accepts("gzip") && accepts("br, gzip;q=0.5") && accepts("*"));
        assert!(!accepts("identity") && !accepts("gzip;q=0") && !accepts(""));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
