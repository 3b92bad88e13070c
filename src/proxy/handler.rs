//! One request, from its head to its response: what it asks for, and who answers. All ways in end here.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header, request};
use hyper::body::{Body as _, Incoming};

use super::answer;
use super::client_leg::{ClientLeg, Destination};
use super::context::Responder;
use super::fill;
use super::gateway;
use super::headers;
use super::live::{ConnectedTo, Entry};
use super::pool::Origin;
use super::replayed;
use super::request_body::{ClientFault, Progress, RequestBody, Upload};
use super::response_body::{self, Outgoing, Recorded, Source};
use super::response_head::LeftOut;
use super::ticket::{Beginning, Head, Ticket};
use super::upstream_connection::{SendError, UpstreamConnection};
use super::upstreams::Upstreams;
use crate::clock::{Clock, Timestamp};
use crate::exchange::{ByteString, MadeBy, Target, chain};
use crate::tls::Protocol;
use crate::upstream::Dialer;

/// What is answered to a request for whose head there is no room.
const NO_ROOM: &str =
    "the requests in flight on this connection have too many bytes of header fields";

/// Answers one request of a client connection.
pub(super) async fn serve(
    upstreams: Arc<Upstreams>,
    request: Request<Incoming>,
) -> Response<Outgoing> {
    let leg = &upstreams.leg;
    if let Destination::Gateway(gateway) = &leg.destination {
        // Boxed: it follows redirects, and other ways in need no room for that.
        return Box::pin(gateway::serve(&upstreams, gateway, request)).await;
    }
    let context = &leg.context;
    let mut started = leg.watch.begin();
    let first = upstreams.take_first_dial();
    if let Some(first) = &first {
        started = first.started;
    }
    let (mut head, body) = request.into_parts();
    let head_bytes = match leg.protocol {
        Protocol::Http1 => 0,
        Protocol::H2 => headers::section_bytes(&head.headers),
    };
    let requested = if !leg.reserve_head(head_bytes) {
        // Nothing is kept of the fields, and nothing recorded.
        head.headers.clear();
        Err(ClientFault {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            why: String::from(NO_ROOM),
        })
    } else {
        Requested::of(leg, &head)
    };
    let named;
    let (url, host) = match &requested {
        Ok(requested) => (&requested.url[..], requested.origin.target.host()),
        Err(_) => {
            named = Named::of_refused(leg, &head);
            (&named.url[..], &named.host[..])
        }
    };
    let beginning = Beginning {
        request: &head,
        url,
        host,
        started,
        head_bytes,
    };
    let mut ticket = Ticket::begin(leg, beginning);
    if let Some(first) = &first {
        ticket.owns_dial(&first.journey);
    }
    if let Some(why) = context.refusal() {
        return answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await;
    }
    let requested = match requested {
        Ok(requested) => requested,
        Err(ClientFault { status, why }) => {
            let mut response = answer::own(ticket, status, &why).await;
            // The client may take the end of this request to be elsewhere.
            if status == StatusCode::BAD_REQUEST && leg.protocol == Protocol::Http1 {
                answer::close_after(leg, &mut response);
            }
            return response;
        }
    };
    if let Some(why) = &upstreams.tls_failure {
        let mut response = answer::own(ticket, StatusCode::BAD_GATEWAY, why).await;
        answer::close_after(leg, &mut response);
        return response;
    }
    match &context.responder {
        Responder::Replay(replay) => {
            let answering =
                replayed::answer(leg, replay, ticket, &head, Some(body), &requested.url);
            Box::pin(answering).await
        }
        Responder::Fill(fill) => {
            let answering = fill::answer(leg, fill, ticket, &head, Some(body), &requested.url);
            Box::pin(answering).await
        }
        Responder::Upstream(dialer) => {
            forward(
                &upstreams,
                dialer,
                ticket,
                &requested.origin,
                head,
                Some(body),
            )
            .await
        }
    }
}

/// Records a request that hyper refused with `status` and nothing else; its request line is all that
/// is known of it.
pub(super) async fn note_refused(
    upstreams: &Upstreams,
    request_line: &[u8],
    status: StatusCode,
    why: &str,
) {
    let leg = &upstreams.leg;
    let started = leg.watch.begin();
    let mut words = request_line.split(|byte| *byte == b' ');
    let method = words.next().and_then(|word| Method::from_bytes(word).ok());
    let target = words.next().and_then(|word| Uri::try_from(word).ok());
    let mut request = Request::new(());
    *request.method_mut() = method.unwrap_or_default();
    *request.uri_mut() = target.unwrap_or_default();
    let head = request.into_parts().0;
    let named = Named::of_refused(leg, &head);
    let beginning = Beginning {
        request: &head,
        url: &named.url,
        host: &named.host,
        started,
        head_bytes: 0,
    };
    let mut ticket = Ticket::begin(leg, beginning);
    if let Some(first) = upstreams.take_first_dial() {
        ticket.owns_dial(&first.journey);
    }
    ticket.add_note(why);
    answer::by_hyper(ticket, status).await;
}

/// Sends a request upstream, once more on a fresh connection if the first was lost in a race, or
/// did not process the request.
pub(super) async fn forward(
    upstreams: &Arc<Upstreams>,
    dialer: &Dialer,
    mut ticket: Ticket,
    origin: &Origin,
    head: request::Parts,
    mut body: Option<Incoming>,
) -> Response<Outgoing> {
    let leg = &upstreams.leg;
    let context = &leg.context;
    let target = &origin.target;
    let has_body = body.as_ref().is_some_and(|body| !body.is_end_stream());
    let repeatable = matches!(head.method, Method::GET | Method::HEAD) && !has_body;
    let mut upload: Option<Upload> = None;
    let mut lost: Option<Arc<UpstreamConnection>> = None;
    loop {
        let connected = upstreams
            .connect(dialer, origin, lost.as_ref(), &ticket.entry)
            .await;
        let via;
        let upstream = match connected {
            Ok(connected) => {
                via = connected.via;
                ticket.lease = connected.lease;
                if let Some(journey) = &connected.journey {
                    ticket.owns_dial(journey);
                }
                connected.connection
            }
            Err(error) => {
                if let Some(journey) = &error.journey {
                    ticket.owns_dial(journey);
                }
                let why = chain(&error.why);
                return answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await;
            }
        };
        ticket.entry.connected(ConnectedTo {
            address: upstream.address.clone(),
            local: upstream.local,
            via: via.or_else(|| upstreams.via.clone()),
            is_reused: upstream.is_reused(),
        });
        let mut head_out = outgoing_head(&upstream, origin, &head);
        ticket.complete(&mut head_out.headers);
        let body_out = outgoing_body(leg, &upstream, &ticket.entry, body.take(), &mut upload);
        let body_out = match leg.protocol {
            Protocol::Http1 if expects_continue(&head) => {
                body_out.expecting(context.deadlines.expect_continue)
            }
            _ => body_out,
        };
        let request = Request::from_parts(head_out, body_out);
        let since = ticket.sending(match &upload {
            Some(_) => None,
            None => Some(upstream.marks.next_write()),
        });
        upstream.marks.expect_read();
        if let Some(captured) = &upstream.captured {
            captured.will_send(ticket.capture_comment());
        }
        let unheard = Unheard {
            upstream: &upstream,
            since,
        };
        let sending = upstream.send(request);
        let silence = silence(
            context.clock,
            context.deadlines.upstream_idle,
            upload.clone(),
        );
        let outcome = tokio::select! {
            outcome = sending => outcome,
            limit = silence => {
                let host = target.host();
                let why = format!("no response head from {host} for {limit:?}");
                upstream.distrust();
                return answer::own(ticket, StatusCode::GATEWAY_TIMEOUT, &why).await;
            }
        };
        unheard.ends();
        let error = match outcome {
            Ok(response) => {
                if let Some(what) = unacceptable(&response) {
                    let why = format!("{} answered with {what}", target.host());
                    let mut response = answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await;
                    answer::close_after(leg, &mut response);
                    return response;
                }
                let unwanted = upload.as_ref().and_then(Upload::withhold);
                let is_last = unwanted.is_some();
                ticket.unwanted_body = unwanted;
                let mut response = pass(leg, ticket, &upstream, &head, response, upload).await;
                if is_last {
                    answer::close_after(leg, &mut response);
                }
                return response;
            }
            Err(error) => error,
        };
        if lost.is_none()
            && may_be_sent_again(&error, &upstream, repeatable)
            && upload.as_ref().is_none_or(Upload::is_held)
        {
            ticket.retry(upstream.cause(&error).await);
            lost = Some(upstream);
            continue;
        }
        if let Some(fault) = upload.as_ref().and_then(Upload::take_fault) {
            return answer::fault(leg, ticket, &fault).await;
        }
        let why = upstream.cause(&error).await;
        return answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await;
    }
}

/// A request that waits for its answer. A client that leaves meanwhile, with nothing read from the upstream since,
/// may have done so because the connection is dead: others are not to wait for it too.
struct Unheard<'a> {
    upstream: &'a UpstreamConnection,
    since: Timestamp,
}

impl Unheard<'_> {
    fn ends(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        let heard = self.upstream.marks.last_read();
        if heard.is_none_or(|heard| heard < self.since) {
            self.upstream.distrust();
        }
    }
}

/// True if the upstream cannot have looked at the request; of one that may be sent twice also if the
/// upstream closed the connection as idle just then.
fn may_be_sent_again(error: &SendError, upstream: &UpstreamConnection, repeatable: bool) -> bool {
    match error {
        SendError::Unsent(_) | SendError::Unprocessed(_) => true,
        SendError::Lost(_) => repeatable && upstream.is_reused(),
        SendError::Broken(_) => false,
    }
}

/// Why a response must not be passed on: its head could be read in two ways, or it switches
/// protocols unasked.
fn unacceptable(response: &Response<Incoming>) -> Option<&'static str> {
    if response.status().is_informational() {
        return Some("a switch of protocols that nobody asked for");
    }
    headers::ambiguity(response.headers())
}

fn outgoing_head(
    upstream: &UpstreamConnection,
    origin: &Origin,
    head: &request::Parts,
) -> request::Parts {
    let mut head = head.clone();
    let authority = origin.authority();
    headers::to_upstream(&mut head, &authority, upstream.protocol);
    head
}

/// The body for one attempt: the client's on the first, where `upload` becomes its handle, and the
/// same again on the next.
fn outgoing_body(
    leg: &ClientLeg,
    upstream: &UpstreamConnection,
    entry: &Entry,
    body: Option<Incoming>,
    upload: &mut Option<Upload>,
) -> RequestBody {
    let context = &leg.context;
    let progress = || Progress {
        marks: Arc::clone(&upstream.marks),
        entry: entry.upload(),
        idle: context.deadlines.request_body_idle,
        metrics: context.metrics.clone(),
    };
    match (body.filter(|body| !body.is_end_stream()), &upload) {
        (Some(body), _) => {
            let sink = context.body_sink();
            let is_h2 = leg.protocol == Protocol::H2;
            let (body, passing) = RequestBody::new(body, is_h2, sink, progress());
            *upload = Some(passing);
            body
        }
        (None, Some(upload)) => RequestBody::resend(upload, progress()),
        (None, None) => RequestBody::Empty,
    }
}

/// As hyper decides it, which answers 100 (Continue) by itself (RFC 9110 section 10.1.1).
fn expects_continue(head: &request::Parts) -> bool {
    let expect = head.headers.get(header::EXPECT);
    expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Returns once the upstream has sent no response head for `limit`; never without a limit.
///
/// Only the time in which we wait for the upstream counts: while the client uploads, or pauses in its
/// upload, no response can be expected.
async fn silence(clock: Clock, limit: Option<Duration>, upload: Option<Upload>) -> Duration {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    let began = clock.now();
    loop {
        // Where it becomes the upstream's turn just after this, the next look still comes in time.
        let since = match &upload {
            None => Some(began),
            Some(upload) => upload.upstreams_turn(),
        };
        let deadline = since.unwrap_or_else(|| clock.now()) + limit;
        if clock.now() >= deadline {
            return limit;
        }
        tokio::time::sleep_until(clock.instant(deadline)).await;
    }
}

/// Passes the upstream's response on.
async fn pass(
    leg: &ClientLeg,
    mut ticket: Ticket,
    upstream: &Arc<UpstreamConnection>,
    request: &request::Parts,
    response: Response<Incoming>,
    upload: Option<Upload>,
) -> Response<Outgoing> {
    let context = &leg.context;
    let now = context.clock.now();
    let (mut head, body) = response.into_parts();
    // Over HTTP/2 the last read is the one that completed this head, or one just after it.
    let first_byte = match upstream.protocol {
        Protocol::Http1 => upstream.marks.first_read(),
        Protocol::H2 => upstream.marks.last_read(),
    };
    if !leg.ends_with_upstream() {
        // What GOAUTH programs are told.
        head.extensions.insert(head.version);
    }
    ticket.body_sent(upload.as_ref().and_then(Upload::answered));
    let reason = head.extensions.get::<hyper::ext::ReasonPhrase>();
    let recorded = Head {
        status: head.status,
        reason: reason.map(|reason| ByteString(reason.as_bytes().to_vec())),
        version: headers::version_name(head.version),
        headers: ticket.recorded(&head.headers),
        made_by: MadeBy::Origin,
    };
    let first_byte = first_byte.map_or(now, |at| at.min(now));
    ticket.set_head(first_byte, recorded, body.size_hint().exact());
    if let Some(LeftOut(names)) = head.extensions.remove() {
        let what = "a field with a space in its name was not passed on";
        names
            .iter()
            .for_each(|name| ticket.add_note(&format!("{what}: \"{name}\"")));
    }
    let is_h2 = upstream.protocol == Protocol::H2;
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
    let takes_trailers = leg.protocol == Protocol::H2 || headers::takes_trailers(&request.headers);
    let announced = takes_trailers.then(|| headers::announced(&head.headers));
    headers::to_client(&mut head, leg.protocol);
    let sink = if has_body { ticket.sink() } else { None };
    let incoming = Source {
        body,
        upstream: Arc::clone(upstream),
        client: leg.protocol,
        ends_with_connection,
        announced,
    };
    let idle = context.deadlines.upstream_idle;
    let mut body = Recorded::new(incoming, context.clock, idle, ticket, sink, upload);
    body.gather().await;
    if let Some(why) = body.refusal() {
        return answer::refused(&why, is_head);
    }
    // Over HTTP/2 a window may let the head pass and no byte more.
    body.offer();
    let response = Response::from_parts(head, Outgoing::Recorded(Box::new(body)));
    let mut response = response_body::with_content_length(response);
    if closes && leg.ends_with_upstream() {
        answer::close_after(leg, &mut response);
    }
    response
}

/// A request that may be answered.
#[derive(Debug)]
struct Requested {
    /// The absolute URL.
    url: String,
    /// The origin that it names.
    origin: Origin,
}

impl Requested {
    /// Refuses a request that names two hosts, or another than its connection leads to.
    fn of(leg: &ClientLeg, head: &request::Parts) -> Result<Self, ClientFault> {
        if head.method == Method::CONNECT {
            return Err(bad_request(
                "CONNECT is for the first request of a connection",
            ));
        }
        if let Some(what) = headers::ambiguity(&head.headers) {
            return Err(bad_request(format!("the request has {what}")));
        }
        // RFC 9113 section 8.2.1; HTTP/1 takes it off when it parses.
        let is_padded = |value: &HeaderValue| value.as_bytes() != value.as_bytes().trim_ascii();
        if head.headers.values().any(is_padded) {
            return Err(bad_request(
                "whitespace stands at the start or end of a field value",
            ));
        }
        if head.uri.authority().is_some() && head.uri.scheme().is_none() {
            return Err(bad_request(
                "the request target is neither a path nor a URL",
            ));
        }
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        if !path.starts_with('/') && head.method != Method::OPTIONS {
            return Err(bad_request("the path does not begin with a slash"));
        }
        let scheme = leg.scheme();
        if !leg.is_tunnelled() && head.uri.scheme_str() != Some("http") {
            return Err(bad_request(
                "this is a proxy: it takes CONNECT and absolute http:// URLs",
            ));
        }
        let named = authority(head, default_port(scheme)).map_err(bad_request)?;
        if let Destination::Tunnelled { target, host, .. } = &leg.destination {
            // RFC 9110 sections 7.4 and 15.5.20: this connection does not speak for that origin.
            let misdirected = |why| ClientFault {
                status: StatusCode::MISDIRECTED_REQUEST,
                why,
            };
            if named.host() != host || named.port() != target.port() {
                let why = format!("this connection leads to {host}, not to {}", named.host());
                return Err(misdirected(why));
            }
            let asked = head.uri.scheme_str();
            if asked.is_some_and(|asked| asked != scheme) {
                return Err(misdirected(format!("this connection is for {scheme}")));
            }
        }
        Ok(Self {
            url: url(scheme, &named, path),
            origin: Origin {
                is_secure: scheme == "https",
                target: named,
            },
        })
    }
}

fn bad_request(why: impl Into<String>) -> ClientFault {
    ClientFault {
        status: StatusCode::BAD_REQUEST,
        why: why.into(),
    }
}

/// The authority of the URL, else the Host field (RFC 9112 section 3.3); both must name the same.
fn authority(head: &request::Parts, default_port: u16) -> Result<Target, &'static str> {
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

/// The URL and the host of a request that is refused: as far as the request names them, else its
/// connection's, else a name that no host can have (RFC 2606 section 2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) url: String,
    pub(super) host: String,
}

impl Named {
    pub(super) fn of_refused(leg: &ClientLeg, head: &request::Parts) -> Self {
        let own = match &leg.destination {
            Destination::Tunnelled { target, host, .. } => Target::new(host, target.port()).ok(),
            Destination::Plain | Destination::Gateway(_) => None,
        };
        let scheme = match head.method {
            Method::CONNECT => "https",
            _ => leg.scheme(),
        };
        Self::of(head, scheme, own)
    }

    fn of(head: &request::Parts, scheme: &str, own: Option<Target>) -> Self {
        if let (Some(_), Some(host)) = (head.uri.scheme(), head.uri.host()) {
            return Self {
                url: head.uri.to_string(),
                host: host.to_ascii_lowercase(),
            };
        }
        let host = head.headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        let authority = head.uri.authority().map(http::uri::Authority::as_str);
        let named = authority.into_iter().chain(host).find_map(|named| {
            let target = Target::with_default_port(named, default_port(scheme));
            target.ok()
        });
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path } else { "/" };
        match named.or(own) {
            Some(target) => Self {
                url: url(scheme, &target, path),
                host: target.host().to_owned(),
            },
            None => Self {
                url: format!("{scheme}://{UNNAMED}{path}"),
                host: UNNAMED.to_owned(),
            },
        }
    }
}

/// Stands for the host of a request that names none.
const UNNAMED: &str = "unnamed.invalid";

/// An absolute URL; it leaves out the port that its scheme implies.
pub(super) fn url(scheme: &str, target: &Target, path: &str) -> String {
    format!(
        "{scheme}://{}{path}",
        target.authority(default_port(scheme))
    )
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

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
            ("/p", None, None, "https://unnamed.invalid/p", UNNAMED),
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
            let found = Named::of(&parts(Method::GET, uri, host), "https", own);
            let (url, host) = (expected.to_owned(), named.to_owned());
            assert_eq!(found, Named { url, host }, "{uri}");
        }
    }

    #[test]
    fn the_authority_is_the_urls_else_the_host_fields() {
        let named = |uri, host| authority(&parts(Method::GET, uri, host), 443);
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
