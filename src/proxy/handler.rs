//! One request: who answers it, and with what. All modes of arrival end here.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request, response};
use hyper::body::{Body as _, Incoming};

use super::answer;
use super::asked::{self, asked};
use super::body::{Recorded, Source};
use super::channel::{Channel, Destination, Unpaired};
use super::headers;
use super::live::Entry;
use super::outgoing::{self, Outgoing};
use super::pair::{Pair, SendError};
use super::play;
use super::request_body::{self, RequestBody, SharedKept};
use super::responder::Responder;
use super::response_head::LeftOut;
use super::silence::silence;
use super::ticket::{Head, Ticket};
use crate::exchange::{MadeBy, Octets, Target, chain};
use crate::tls::Protocol;
use crate::upstream::{Dialer, News};

/// What a request is told whose head finds no room.
const NO_ROOM: &str =
    "the requests in flight on this connection have too many bytes of header fields";

/// Answers one request of a client connection.
pub(super) async fn serve(channel: Arc<Channel>, request: Request<Incoming>) -> Response<Outgoing> {
    let mut started = channel.watch().begin();
    let first = channel.take_first();
    if let Some(first) = &first {
        started = first.started;
    }
    let (mut head, body) = request.into_parts();
    let head_bytes = match channel.protocol {
        Protocol::Http1 => 0,
        Protocol::H2 => headers::section_bytes(&head.headers),
    };
    let has_room = channel.has_room_for(head_bytes);
    let asked = match channel.watch().refused() {
        // This one stands in for the request that was refused.
        Some(violation) => {
            let why = format!("this request was refused: {violation}");
            Err((StatusCode::BAD_REQUEST, why))
        }
        None => asked(&channel, &head),
    };
    let asked = match has_room {
        true => asked,
        false => {
            // Nothing is kept of them, and nothing recorded.
            head.headers.clear();
            Err((
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                String::from(NO_ROOM),
            ))
        }
    };
    let (url, host) = match &asked {
        Ok((url, target)) => (url.clone(), Cow::from(target.host())),
        Err(_) => {
            let (url, host) = asked::refused(&channel, &head);
            (url, Cow::from(host))
        }
    };
    let mut ticket = Ticket::begin(&channel, &head, (&url, &host), (started, head_bytes));
    if let Some(first) = &first {
        ticket.owns(&first.journey);
    }
    if let Some(why) = channel.context().refusal() {
        return answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await;
    }
    let target = match &asked {
        Ok((_, target)) => target,
        Err((status, why)) => {
            let mut response = answer::own(ticket, *status, why).await;
            // The client may take the end of this request to be elsewhere.
            if *status == StatusCode::BAD_REQUEST && channel.protocol == Protocol::Http1 {
                close_after(&channel, &mut response);
            }
            return response;
        }
    };
    if let Some(why) = &channel.broken {
        let mut response = answer::own(ticket, StatusCode::BAD_GATEWAY, why).await;
        close_after(&channel, &mut response);
        return response;
    }
    match &channel.context().responder {
        Responder::Replay(replay) => {
            Box::pin(play::answer(&channel, replay, ticket, (&head, body, &url))).await
        }
        Responder::Upstream(dialer) => ask(&channel, dialer, ticket, target, (head, body)).await,
    }
}

/// Asks the upstream, once more on a fresh connection if the first was lost in a race, or did not
/// process the request.
async fn ask(
    channel: &Arc<Channel>,
    dialer: &Dialer,
    mut ticket: Ticket,
    target: &Target,
    (head, body): (request::Parts, Incoming),
) -> Response<Outgoing> {
    let context = Arc::clone(channel.context());
    let mut body = Some(body);
    let repeatable = matches!(head.method, Method::GET | Method::HEAD)
        && body.as_ref().is_some_and(hyper::body::Body::is_end_stream);
    let mut kept: Option<SharedKept> = None;
    let mut lost: Option<Arc<Pair>> = None;
    loop {
        let hear = |news: News<'_>| ticket.entry.hears(news);
        let pair = channel.pair(dialer, target, lost.as_ref(), &hear).await;
        let (pair, journey) = match pair {
            Ok(pair) => pair,
            Err(Unpaired { why, journey }) => {
                if let Some(journey) = &journey {
                    ticket.owns(journey);
                }
                return answer::own(ticket, StatusCode::BAD_GATEWAY, &chain(&why)).await;
            }
        };
        if let Some(journey) = &journey {
            ticket.owns(journey);
        }
        ticket.entry.goes_through(channel.via.as_deref());
        ticket.entry.connected(pair.address.clone());
        let asked = (&head, body.take());
        let kept_of = (&mut kept, &ticket.entry);
        let request = outgoing_request(channel, &pair, target, asked, kept_of);
        ticket.sending(match &kept {
            Some(_) => None,
            None => Some(pair.marks.next_write()),
        });
        pair.marks.expect_read();
        if let Some(stream) = &pair.stream {
            stream.will_send(ticket.captured());
        }
        let sending = pair.send(request);
        let silence = silence(context.clock, context.deadlines.upstream_idle, kept.clone());
        let outcome = tokio::select! {
            outcome = sending => outcome,
            limit = silence => {
                let host = target.host();
                let why = format!("no response head from {host} for {limit:?}");
                return answer::own(ticket, StatusCode::GATEWAY_TIMEOUT, &why).await;
            }
        };
        match outcome {
            Ok(response) if odd(&response).is_some() => {
                let what = odd(&response).unwrap_or_default();
                let why = format!("{} answered with {what}", target.host());
                let mut response = answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await;
                close_after(channel, &mut response);
                return response;
            }
            Ok(response) => {
                let sent = kept.as_ref().and_then(request_body::sent);
                let unwanted = kept.as_ref().and_then(request_body::is_answered);
                let is_last = unwanted.is_some();
                ticket.unwanted_body = unwanted;
                let response = (response, &head);
                let mut response = pass(channel, ticket, &pair, response, (kept, sent)).await;
                if is_last {
                    close_after(channel, &mut response);
                }
                return response;
            }
            Err(error)
                if lost.is_none()
                    && may_be_sent_again(&error, &pair, repeatable)
                    && kept.as_ref().is_none_or(request_body::is_held) =>
            {
                ticket.retry(pair.tell(&error).await);
                lost = Some(pair);
            }
            Err(error) => {
                if let Some((status, why)) = kept.as_ref().and_then(request_body::clients_fault) {
                    let mut response = answer::own(ticket, status, &why).await;
                    // Over HTTP/2 it is the fault of one stream, and the others go on.
                    if channel.protocol == Protocol::Http1 {
                        close_after(channel, &mut response);
                    }
                    return response;
                }
                let why = pair.tell(&error).await;
                return answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await;
            }
        }
    }
}

/// True if the upstream cannot have looked at the request; of one that may be sent twice also if the
/// upstream closed the connection as idle just then.
fn may_be_sent_again(error: &SendError, pair: &Pair, repeatable: bool) -> bool {
    match error {
        SendError::Unsent(_) | SendError::Unprocessed(_) => true,
        SendError::Lost(_) => repeatable && pair.is_reused(),
        SendError::Broken(_) => false,
    }
}

/// What must not be passed on: a head that could be read in two ways, or a switch of protocols
/// that nobody asked for.
fn odd(response: &Response<Incoming>) -> Option<&'static str> {
    if response.status().is_informational() {
        return Some("a switch of protocols that nobody asked for");
    }
    headers::ambiguity(response.headers())
}

fn outgoing_request(
    channel: &Channel,
    pair: &Pair,
    target: &Target,
    (head, body): (&request::Parts, Option<Incoming>),
    (kept, entry): (&mut Option<SharedKept>, &Entry),
) -> Request<RequestBody> {
    let context = channel.context();
    let mut head = head.clone();
    let default_port = match channel.destination {
        Destination::Tunnelled { .. } => 443,
        Destination::Plain => 80,
    };
    let authority = match (target.port() == default_port, target.host().contains(':')) {
        (true, false) => target.host().to_owned(),
        (true, true) => format!("[{}]", target.host()),
        (false, _) => target.to_string(),
    };
    headers::to_upstream(&mut head, &authority, pair.protocol);
    let limit = context.deadlines.request_body_idle;
    let watched = || (Arc::clone(&pair.marks), entry.upload());
    let is_h2 = channel.protocol == Protocol::H2;
    let body = match (body.filter(|body| !body.is_end_stream()), &kept) {
        (Some(body), _) => {
            let sink = context
                .recorder
                .as_ref()
                .map(|recorder| recorder.bodies().sink());
            let (body, passing) = RequestBody::passing((body, is_h2), sink, watched(), limit);
            *kept = Some(passing);
            body
        }
        (None, Some(kept)) => RequestBody::again(kept, watched(), limit),
        (None, None) => RequestBody::Empty,
    };
    let body = match !is_h2 && expects_continue(&head) {
        true => body.expecting(context.deadlines.expect_continue),
        false => body,
    };
    Request::from_parts(head, body)
}

/// As hyper sees it, which answers 100 (Continue) by itself (RFC 9110 section 10.1.1).
fn expects_continue(head: &request::Parts) -> bool {
    let expect = head.headers.get(header::EXPECT);
    expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Passes the upstream's response on.
async fn pass(
    channel: &Channel,
    mut ticket: Ticket,
    pair: &Arc<Pair>,
    (response, request): (Response<Incoming>, &request::Parts),
    (kept, sent): (Option<SharedKept>, Option<Arc<super::io::Slot>>),
) -> Response<Outgoing> {
    let context = channel.context();
    let now = context.clock.now();
    let (mut head, body) = response.into_parts();
    // Over HTTP/2 the last read is the one that completed this head, or one just after it.
    let first_byte = match pair.protocol {
        Protocol::Http1 => pair.marks.first_read(),
        Protocol::H2 => pair.marks.last_read(),
    };
    ticket.sent(sent);
    ticket.heard(first_byte.map_or(now, |at| at.min(now)), record_head(&head));
    if let Some(LeftOut(names)) = head.extensions.remove() {
        let what = "a field with a space in its name was not passed on";
        names
            .iter()
            .for_each(|name| ticket.notes(&format!("{what}: \"{name}\"")));
    }
    let is_h2 = pair.protocol == Protocol::H2;
    let is_head = request.method == Method::HEAD;
    let has_body = match head.status {
        _ if is_head => false,
        // Over HTTP/2 it can have one, and go reads it.
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => is_h2 && !body.is_end_stream(),
        _ => true,
    };
    let ends_with_connection = !is_h2
        && has_body
        && !head.headers.contains_key(header::TRANSFER_ENCODING)
        && body.size_hint().exact().is_none();
    let closes = !is_h2 && (ends_with_connection || headers::closes(&head));
    let takes_trailers = is_h2 || headers::takes_trailers(&request.headers);
    let announced = takes_trailers.then(|| headers::announced(&head.headers));
    headers::to_client(&mut head, channel.protocol);
    let sink = if has_body { ticket.sink() } else { None };
    let incoming = Source {
        body,
        pair: Arc::clone(pair),
        ends_with_connection,
        announced,
    };
    let idle = context.deadlines.upstream_idle;
    let mut body = Recorded::new(incoming, context.clock, idle, (ticket, sink), kept);
    body.gather().await;
    if let Some(why) = body.refusal() {
        return answer::refused(&why, is_head);
    }
    // Over HTTP/2 a window may let the head pass and no octet more.
    body.offer();
    let response = Response::from_parts(head, Outgoing::Recorded(Box::new(body)));
    let mut response = outgoing::with_told_length(response);
    if closes {
        close_after(channel, &mut response);
    }
    response
}

fn record_head(head: &response::Parts) -> Head {
    let reason = head.extensions.get::<hyper::ext::ReasonPhrase>();
    Head {
        status: head.status,
        reason: reason.map(|reason| Octets(reason.as_bytes().to_vec())),
        version: headers::version_name(head.version),
        headers: headers::fields(&head.headers),
        made_by: MadeBy::Origin,
    }
}

/// Ends the client connection once this response has left.
pub(super) fn close_after(channel: &Channel, response: &mut Response<Outgoing>) {
    match channel.protocol {
        Protocol::Http1 => {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Protocol::H2 => channel.ended.cancel(),
    }
}
