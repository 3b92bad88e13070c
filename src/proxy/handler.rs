//! One request: who answers it, and with what. All modes of arrival end here.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header, request, response};
use hyper::body::{Body as _, Incoming};

use super::answer;
use super::context::Responder;
use super::headers;
use super::live::Entry;
use super::replayed;
use super::request_body::{self, RequestBody, SharedKept};
use super::response_body::{self, Outgoing};
use super::response_body::{Recorded, Source};
use super::response_head::LeftOut;
use super::ticket::{Head, Ticket};
use super::upstream_connection::{SendError, UpstreamConnection};
use super::upstreams::{Channel, Destination, Unpaired};
use crate::clock::Clock;
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
    let asked = match has_room {
        true => asked(&channel, &head),
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
            let (url, host) = refused(&channel, &head);
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
            Box::pin(replayed::answer(
                &channel,
                replay,
                ticket,
                (&head, body, &url),
            ))
            .await
        }
        Responder::Upstream(dialer) => ask(&channel, dialer, ticket, target, (head, body)).await,
    }
}

/// Records a request that hyper refused with `status` and nothing else; its request line is all that
/// is known of it.
pub(super) async fn note_refused(
    channel: &Arc<Channel>,
    request_line: &[u8],
    status: StatusCode,
    why: &str,
) {
    let started = channel.watch().begin();
    let mut words = request_line.split(|byte| *byte == b' ');
    let method = words.next().and_then(|word| Method::from_bytes(word).ok());
    let target = words.next().and_then(|word| Uri::try_from(word).ok());
    let mut request = Request::new(());
    *request.method_mut() = method.unwrap_or_default();
    *request.uri_mut() = target.unwrap_or_default();
    let head = request.into_parts().0;
    let (url, host) = refused(channel, &head);
    let mut ticket = Ticket::begin(channel, &head, (&url, &host), (started, 0));
    if let Some(first) = channel.take_first() {
        ticket.owns(&first.journey);
    }
    ticket.notes(why);
    answer::by_hyper(ticket, status).await;
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
    let mut lost: Option<Arc<UpstreamConnection>> = None;
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
fn may_be_sent_again(error: &SendError, pair: &UpstreamConnection, repeatable: bool) -> bool {
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
    pair: &UpstreamConnection,
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
    pair: &Arc<UpstreamConnection>,
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
    let mut response = response_body::with_told_length(response);
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

/// Returns once the upstream was silent for `limit` though it was its turn; never without a limit.
pub(super) async fn silence(
    clock: Clock,
    limit: Option<Duration>,
    kept: Option<SharedKept>,
) -> Duration {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    let asked = clock.now();
    loop {
        // It may become the upstream's turn just after this look: the next one still comes in time.
        let deadline = match kept
            .as_ref()
            .map_or(Some(asked), request_body::upstreams_turn)
        {
            Some(since) => since + limit,
            None => clock.now() + limit,
        };
        if clock.now() >= deadline {
            return limit;
        }
        tokio::time::sleep_until(clock.instant(deadline)).await;
    }
}

/// What the client asks for, and of whom.
pub(super) fn asked(
    channel: &Channel,
    head: &request::Parts,
) -> Result<(String, Target), (StatusCode, String)> {
    let bad = |why: &str| (StatusCode::BAD_REQUEST, why.to_owned());
    if head.method == Method::CONNECT {
        return Err(bad("CONNECT is for the first request of a connection"));
    }
    if let Some(what) = headers::ambiguity(&head.headers) {
        return Err(bad(&format!("the request has {what}")));
    }
    // RFC 9113 section 8.2.1; HTTP/1 takes it off when it parses.
    if head
        .headers
        .values()
        .any(|value| value.as_bytes() != value.as_bytes().trim_ascii())
    {
        return Err(bad(
            "whitespace stands at the start or end of a field value",
        ));
    }
    if head.uri.authority().is_some() && head.uri.scheme().is_none() {
        return Err(bad("the request target is neither a path nor a URL"));
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    if !path.starts_with('/') && head.method != Method::OPTIONS {
        return Err(bad("the path does not begin with a slash"));
    }
    // RFC 9110 sections 7.4 and 15.5.20: this connection does not speak for that origin.
    let misdirected = |why: String| (StatusCode::MISDIRECTED_REQUEST, why);
    match &channel.destination {
        Destination::Tunnelled { target, host } => {
            let named = authority(head, "https").map_err(bad)?;
            if named.host() != host || named.port() != target.port() {
                let why = format!("this connection leads to {host}, not to {}", named.host());
                return Err(misdirected(why));
            }
            if head
                .uri
                .scheme_str()
                .is_some_and(|scheme| scheme != "https")
            {
                return Err(misdirected(String::from("this connection is for https")));
            }
            Ok((url("https", &named, path), named))
        }
        Destination::Plain => {
            if head.uri.scheme_str() != Some("http") {
                let why = "this is a proxy: it takes CONNECT and absolute http:// URLs";
                return Err(bad(why));
            }
            let named = authority(head, "http").map_err(bad)?;
            Ok((url("http", &named, path), named))
        }
    }
}

/// The authority of the URL, else the Host field (RFC 9112 section 3.3); both must name the same.
fn authority(head: &request::Parts, scheme: &str) -> Result<Target, &'static str> {
    let default_port = if scheme == "https" { 443 } else { 80 };
    let target = |written: &str| {
        let target = Target::with_default_port(written, default_port);
        target.map_err(|_| "the request names no usable host")
    };
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err("the request has two Host fields");
    }
    let host = host.map(|host| target(host.to_str().unwrap_or_default()));
    let named = head.uri.authority().map(|named| target(named.as_str()));
    match (named, host) {
        (None, None) => Err("the request names no host"),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(named), Some(host)) => match (named?, host?) {
            (named, host) if named == host => Ok(named),
            _ => Err("the URL and the Host field name different hosts"),
        },
    }
}

/// The whole URL of a request that [`asked`] refuses, and its host: as far as the request names one,
/// else that of its connection, else a name that nobody can have (RFC 2606 section 2).
pub(super) fn refused(channel: &Channel, head: &request::Parts) -> (String, String) {
    let (scheme, own) = match &channel.destination {
        Destination::Tunnelled { target, host } => ("https", Target::new(host, target.port()).ok()),
        Destination::Plain if head.method == Method::CONNECT => ("https", None),
        Destination::Plain => ("http", None),
    };
    whole(head, scheme, own)
}

fn whole(head: &request::Parts, scheme: &str, own: Option<Target>) -> (String, String) {
    if let (Some(_), Some(host)) = (head.uri.scheme(), head.uri.host()) {
        return (head.uri.to_string(), host.to_ascii_lowercase());
    }
    let host = head.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let default_port = if scheme == "https" { 443 } else { 80 };
    let mut named = authority
        .into_iter()
        .chain(host)
        .filter_map(|named| Target::with_default_port(named, default_port).ok());
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    match named.next().or(own) {
        Some(target) => (url(scheme, &target, path), target.host().to_owned()),
        None => (format!("{scheme}://{NOBODY}{path}"), NOBODY.to_owned()),
    }
}

/// Stands for the host of a request that names none.
const NOBODY: &str = "unnamed.invalid";

pub(super) fn url(scheme: &str, target: &Target, path: &str) -> String {
    let default = matches!((scheme, target.port()), ("https", 443) | ("http", 80));
    let host = target.host();
    match (default, host.contains(':')) {
        (true, true) => format!("{scheme}://[{host}]{path}"),
        (true, false) => format!("{scheme}://{host}{path}"),
        (false, _) => format!("{scheme}://{target}{path}"),
    }
}

/// The absolute form of a URI, for tests of the tables above.
#[cfg(test)]
fn parts(method: Method, uri: &str, host: Option<&str>) -> request::Parts {
    let mut request = http::Request::builder()
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
    fn a_request_that_is_refused_has_a_whole_url_and_a_host() {
        let own = || Some("own.example:8443".parse::<Target>().unwrap());
        for (uri, host, own, expected, named) in [
            (
                "/p?q",
                Some("B.example"),
                own(),
                "https://b.example/p?q",
                "b.example",
            ),
            (
                "/p",
                Some("a b"),
                own(),
                "https://own.example:8443/p",
                "own.example",
            ),
            ("*", None, own(), "https://own.example:8443/", "own.example"),
            ("/p", None, None, "https://unnamed.invalid/p", NOBODY),
            (
                "c.example:443",
                None,
                None,
                "https://c.example/",
                "c.example",
            ),
            (
                "http://D.example/p",
                None,
                own(),
                "http://D.example/p",
                "d.example",
            ),
        ] {
            let told = whole(&parts(Method::GET, uri, host), "https", own);
            assert_eq!(told, (expected.to_owned(), named.to_owned()), "{uri}");
        }
    }

    #[test]
    fn the_authority_is_the_urls_else_the_host_fields() {
        let named = |uri, host| authority(&parts(Method::GET, uri, host), "https");
        let target = |text: &str| Ok(text.parse::<Target>().unwrap());
        assert_eq!(named("/p", Some("A.example")), target("a.example:443"));
        assert_eq!(named("https://b.example:1/p", None), target("b.example:1"));
        // RFC 3986 section 3.2.3: an empty port is the scheme's.
        assert_eq!(named("/p", Some("a.example:")), target("a.example:443"));
        let same = named("https://a.example/p", Some("A.example.:443"));
        assert_eq!(same, target("a.example:443"));
        for (uri, host) in [
            ("/p", None),
            ("/p", Some("")),
            ("/p", Some("a b")),
            ("/p", Some("b@a.example")),
            ("/p", Some("a.example:0x50")),
            ("/p", Some("a.example:65979")),
            ("/p", Some("a.example, b.example")),
            ("https://u@a.example/p", None),
            ("https://a.example/p", Some("b.example")),
            ("https://a.example/p", Some("a.example:80")),
        ] {
            assert!(named(uri, host).is_err(), "{uri} {host:?}");
        }
    }
}
