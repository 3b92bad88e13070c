//! One request: who answers it, and with what. All modes of arrival end here.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request, response};
use hyper::body::{Body as _, Incoming};

use super::answer;
use super::body::Recorded;
use super::channel::{Channel, Destination, PairError};
use super::headers;
use super::outgoing::Outgoing;
use super::pair::{Pair, SendError};
use super::request_body::{self, RequestBody, SharedKept};
use super::responder::Responder;
use super::silence::silence;
use super::ticket::{Head, Ticket};
use crate::exchange::{MadeBy, Octets, Target};
use crate::tls::Protocol;
use crate::upstream::Dialer;

/// Answers one request of a client connection.
pub(super) async fn serve(channel: Arc<Channel>, request: Request<Incoming>) -> Response<Outgoing> {
    let mut started = channel.watch().begin();
    let first = channel.take_first();
    if let Some(first) = &first {
        started = first.started;
    }
    let (head, body) = request.into_parts();
    let asked = asked(&channel, &head);
    let (url, target) = match &asked {
        Ok((url, target)) => (url.clone(), Some(target)),
        Err(_) => (head.uri.to_string(), None),
    };
    let host = target.map_or("", Target::host);
    let mut ticket = Ticket::begin(&channel, &head, (&url, host), started);
    if let Some(first) = &first {
        ticket.owns(&first.journey);
    }
    let target = match &asked {
        Ok((_, target)) => target,
        Err((status, why)) => return answer::own(ticket, *status, why).await,
    };
    if let Some(why) = &channel.broken {
        let mut response = answer::own(ticket, StatusCode::BAD_GATEWAY, why).await;
        close_after(&channel, &mut response);
        return response;
    }
    match &channel.context().responder {
        Responder::Replay(replay) => {
            Box::pin(super::play::answer(&channel, replay, ticket, (&head, &url))).await
        }
        Responder::Upstream(dialer) => ask(&channel, dialer, ticket, target, (head, body)).await,
    }
}

/// What the client asks for, and of whom.
fn asked(
    channel: &Channel,
    head: &request::Parts,
) -> Result<(String, Target), (StatusCode, String)> {
    let bad = |why: &str| (StatusCode::BAD_REQUEST, why.to_owned());
    if head.method == Method::CONNECT {
        return Err(bad("CONNECT inside a tunnel is not supported"));
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    match &channel.destination {
        Destination::Tunnelled { target, host } => {
            let named = authority(head, "https").map_err(|()| bad("the request names no host"))?;
            if named.host() != host || named.port() != target.port() {
                // RFC 9110 section 15.5.20: this connection does not speak for that host.
                let why = format!("this connection leads to {host}, not to {}", named.host());
                return Err((StatusCode::MISDIRECTED_REQUEST, why));
            }
            Ok((url("https", &named, path), named))
        }
        Destination::Plain => {
            if head.uri.scheme_str() != Some("http") {
                let why = "this is a proxy: it takes CONNECT and absolute http:// URLs";
                return Err(bad(why));
            }
            let named = authority(head, "http").map_err(|()| bad("the URL names no host"))?;
            Ok((url("http", &named, path), named))
        }
    }
}

/// The authority of the URL, else the Host field (RFC 9112 section 3.3).
fn authority(head: &request::Parts, scheme: &str) -> Result<Target, ()> {
    let default_port = if scheme == "https" { 443 } else { 80 };
    let written = match head.uri.authority() {
        Some(authority) => authority.clone(),
        None => {
            let host = head.headers.get(header::HOST).ok_or(())?;
            host.as_bytes().try_into().map_err(|_| ())?
        }
    };
    Target::new(written.host(), written.port_u16().unwrap_or(default_port)).map_err(|_| ())
}

fn url(scheme: &str, target: &Target, path: &str) -> String {
    let default = matches!((scheme, target.port()), ("https", 443) | ("http", 80));
    let host = target.host();
    match (default, host.contains(':')) {
        (true, true) => format!("{scheme}://[{host}]{path}"),
        (true, false) => format!("{scheme}://{host}{path}"),
        (false, _) => format!("{scheme}://{target}{path}"),
    }
}

/// Asks the upstream, once more on a fresh connection if the first was lost in a race.
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
    let mut lost: Option<Arc<Pair>> = None;
    loop {
        let enter = |phase| ticket.entry.enter(phase);
        let pair = channel.pair(dialer, target, lost.as_ref(), &enter).await;
        let (pair, journey) = match pair {
            Ok(pair) => pair,
            Err(error) => return unreachable(ticket, error).await,
        };
        if let Some(journey) = &journey {
            ticket.owns(journey);
        }
        ticket.entry.connected(pair.address.clone());
        let (request, kept) = outgoing_request(channel, &pair, target, (&head, body.take()));
        ticket.sending(match &kept {
            Some(_) => None,
            None => Some(pair.marks.next_write()),
        });
        pair.marks.expect_read();
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
            Ok(response) => {
                let sent = kept.as_ref().and_then(request_body::sent);
                return pass(
                    channel,
                    ticket,
                    &pair,
                    (response, head.method),
                    (kept, sent),
                )
                .await;
            }
            Err(error @ SendError::Lost(_)) if repeatable && lost.is_none() && pair.is_reused() => {
                ticket.retry(tell(&error));
                lost = Some(pair);
            }
            Err(error) => {
                // RFC 9110 section 15.5.9: it is the client that was too slow, not the upstream.
                if let Some(slow) = request_body::too_slow(&error) {
                    let mut response =
                        answer::own(ticket, StatusCode::REQUEST_TIMEOUT, &slow).await;
                    close_after(channel, &mut response);
                    return response;
                }
                let why = format!("{} of {}", tell(&error), target.host());
                return answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await;
            }
        }
    }
}

async fn unreachable(ticket: Ticket, error: PairError) -> Response<Outgoing> {
    let why = match &error {
        PairError::Dial(error) => error.diagnosis(),
        PairError::Handshake(_) | PairError::Protocol | PairError::Gone(_) => tell(&error),
    };
    answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await
}

/// An error and its causes in one line.
fn tell(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn outgoing_request(
    channel: &Channel,
    pair: &Pair,
    target: &Target,
    (head, body): (&request::Parts, Option<Incoming>),
) -> (Request<RequestBody>, Option<SharedKept>) {
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
    let (body, kept) = match body.filter(|body| !body.is_end_stream()) {
        None => (RequestBody::Empty, None),
        Some(body) => {
            let sink = context
                .recorder
                .as_ref()
                .map(|recorder| recorder.bodies().sink());
            let limit = context.deadlines.request_body_idle;
            let is_h2 = channel.protocol == Protocol::H2;
            let (body, kept) =
                RequestBody::passing((body, is_h2), sink, Arc::clone(&pair.marks), limit);
            (body, Some(kept))
        }
    };
    (Request::from_parts(head, body), kept)
}

/// Passes the upstream's response on.
async fn pass(
    channel: &Channel,
    mut ticket: Ticket,
    pair: &Pair,
    (response, method): (Response<Incoming>, Method),
    (kept, sent): (Option<SharedKept>, Option<Arc<super::tap::Slot>>),
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
    headers::to_client(&mut head, channel.protocol);
    let allows_body = method != Method::HEAD
        && !matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    let sink = if allows_body { ticket.sink() } else { None };
    let idle = context.deadlines.upstream_idle;
    let is_h2 = pair.protocol == Protocol::H2;
    let mut body = Recorded::new((body, is_h2), context.clock, idle, (ticket, sink), kept);
    body.gather().await;
    Response::from_parts(head, Outgoing::Recorded(Box::new(body)))
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
fn close_after(channel: &Channel, response: &mut Response<Outgoing>) {
    match channel.protocol {
        Protocol::Http1 => {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Protocol::H2 => channel.ended.cancel(),
    }
}

/// The absolute form of a URI, for tests of the tables above.
#[cfg(test)]
fn parts(method: Method, uri: &str, host: Option<&str>) -> request::Parts {
    let mut request = Request::builder()
        .method(method)
        .uri(uri.parse::<http::Uri>().unwrap());
    if let Some(host) = host {
        request = request.header(header::HOST, host);
    }
    request.body(()).unwrap().into_parts().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_leaves_out_what_the_scheme_implies() {
        for (scheme, target, expected) in [
            ("https", "a.example:443", "https://a.example/p?q"),
            ("https", "a.example:8443", "https://a.example:8443/p?q"),
            ("http", "[::1]:80", "http://[::1]/p?q"),
            ("http", "[::1]:443", "http://[::1]:443/p?q"),
        ] {
            assert_eq!(url(scheme, &target.parse().unwrap(), "/p?q"), expected);
        }
    }

    #[test]
    fn the_authority_is_the_urls_else_the_host_fields() {
        let named = |uri, host| authority(&parts(Method::GET, uri, host), "https");
        let target = |text: &str| Ok(text.parse::<Target>().unwrap());
        assert_eq!(named("/p", Some("A.example")), target("a.example:443"));
        assert_eq!(
            named("https://b.example:1/p", Some("a.example")),
            target("b.example:1")
        );
        assert_eq!(named("/p", None), Err(()));
        assert_eq!(named("/p", Some("a b")), Err(()));
    }
}
