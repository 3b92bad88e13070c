//! One request of a client, and the response to it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_range_header::parse_range_header;

use super::access::{Admitted, Busy};
use super::answer::{Answer, Content};
use super::body::Sent;
use super::caching::{Tag, is_immutable, put_lifetime};
use super::clients::network;
use super::failure::Failure;
use super::gzip;
use super::item::{Item, Life};
use super::measured::{Measure, Measured};
use super::request_log::{Line, Logged};
use super::server::{Obtained, Server, Source};
use crate::clock::Clock;
use crate::gomod::Kind;
use crate::proxy::{NAME, accepts_gzip};

/// Says which tier answered.
const CACHE: &str = "x-modtape-cache";

/// The longest request head, bytes: go sends a few hundred, and an `Authorization` of a company a few thousand.
pub(super) const HEAD_BYTES: usize = 32 << 10;

/// The longest path of a request, bytes: no module has one of a tenth of it.
const PATH_BYTES: usize = 8 << 10;

/// Says how long it took until there was an answer.
const TIMING: &str = "server-timing";

/// What is known of an answer before it is there.
struct Described {
    content_type: &'static str,
    life: Life,
    /// Whether others may know of the module.
    is_public: bool,
    /// It is no zip and no tile.
    is_text: bool,
}

/// Answers a request.
pub(super) async fn respond<B>(
    server: Arc<Server>,
    client: SocketAddr,
    request: Request<B>,
) -> Result<Response<Measured>, Infallible> {
    // Whoever closes the server waits for it.
    let _underway = server.underway();
    let is_head = request.method() == Method::HEAD;
    let began = server.clock.now();
    let mut line = Line::begin(&server.ids, server.clock, client, &request);
    let (path, has_token) = server.access.without_token(request.uri().path());
    let is_of_ours = matches!(path, "/" | "/healthz" | "/readyz");
    // Who asks whether it runs is no client.
    let mut measure = match is_of_ours {
        true => None,
        false => Measure::begin(&server.counts, server.clock, began),
    };
    let admitted = match path {
        _ if is_of_ours => Ok(Some(Admitted::default())),
        _ => server.access.admits(has_token, request.headers()).await,
    };
    // What is known is noted at once: hyper drops this future when the client goes before there is a response.
    // A path that is not admitted may begin with what was a token yesterday.
    if let (Some(line), Ok(Some(admitted))) = (&mut line, &admitted) {
        line.path = Some(path.to_owned());
        line.user.clone_from(&admitted.user);
    }
    if let Some(measure) = &mut measure {
        measure.span = line.as_ref().map(|line| line.own);
    }
    let mut response = match &admitted {
        Ok(Some(admitted)) => {
            let measure = measure.as_mut();
            answer(&server, client, &request, path, admitted, measure).await
        }
        Ok(None) => not_admitted(&server),
        Err(Busy) => {
            let why = "more passwords wait to be verified than it can: try again in a moment";
            said(StatusCode::SERVICE_UNAVAILABLE, why)
        }
    };
    let tier = response.headers().get(CACHE);
    let tier = tier.cloned();
    if let Some(line) = &mut line {
        line.status = Some(response.status());
        line.tier.clone_from(&tier);
    }
    let tier = tier.as_ref().and_then(|tier| tier.to_str().ok());
    let head_us = server.clock.now().micros_since(began);
    if let Some(tier) = tier {
        let fields = response.headers_mut();
        if let Ok(value) = HeaderValue::try_from(timing(tier, head_us)) {
            fields.insert(TIMING, value);
        }
    }
    if let Some(line) = &mut line {
        line.head_us = Some(head_us);
    }
    if is_head {
        *response.body_mut() = Sent::bytes(Bytes::new());
    }
    let status = response.status();
    Ok(response.map(|sent| Measured::new(Logged::new(sent, line), status, measure)))
}

/// What is said to those who show neither the token nor a password that is right.
fn not_admitted(server: &Server) -> Response<Sent> {
    let why = match server.access.token {
        Some(_) => "this module proxy wants its token in the path: take GOPROXY as it printed it",
        None => "this module proxy wants a user and a password, such as netrc has them",
    };
    // Not 404, which would send go on to the next entry of its list.
    let mut response = said(StatusCode::UNAUTHORIZED, why);
    let challenge = HeaderValue::from_static(r#"Basic realm="modtape""#);
    let fields = response.headers_mut();
    fields.insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Where an answer was found, or that it was waited for, and how long that took (`Server-Timing`, in ms).
fn timing(tier: &str, micros: u64) -> String {
    let what = match tier {
        "joined" | "miss" => "wait",
        _ => "lookup",
    };
    let (ms, rest) = (micros / 1000, micros % 1000);
    format!("{what};desc={tier};dur={ms}.{rest:03}")
}

/// Also says, where that is measured, which kind of thing is asked for.
async fn answer<B>(
    server: &Arc<Server>,
    client: SocketAddr,
    request: &Request<B>,
    path: &str,
    admitted: &Admitted,
    measure: Option<&mut Measure>,
) -> Response<Sent> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = said(
            StatusCode::METHOD_NOT_ALLOWED,
            "a module proxy takes GET and HEAD",
        );
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    let all = request.uri().path_and_query();
    if all.is_some_and(|all| all.as_str().len() > PATH_BYTES) {
        let why = format!("the path has more than {PATH_BYTES} bytes");
        return said(StatusCode::URI_TOO_LONG, &why);
    }
    // hyper takes more of what comes at once: it looks at the length of what is still to come.
    if field_bytes(request.headers()) > HEAD_BYTES {
        let why = format!("the header fields have more than {HEAD_BYTES} bytes");
        return said(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &why);
    }
    match path {
        "/" => {
            let why = "a module proxy: `go env -w GOPROXY=` with this address asks it";
            return said(StatusCode::OK, why);
        }
        "/healthz" => return said(StatusCode::OK, "it runs"),
        "/readyz" => {
            let states = server.tiers.states().await;
            let tiers = states.iter().map(|tier| match tier.is_used {
                true => format!("{}: ok", tier.name),
                false => format!("{}: left out", tier.name),
            });
            // A replica does its work without Redis, too.
            let redis = server
                .redis
                .as_ref()
                .map(|redis| match redis.is_left_out() {
                    true => String::from("redis: left out"),
                    false => String::from("redis: ok"),
                });
            let tiers: Vec<_> = tiers.chain(redis).collect();
            let status = match states.iter().all(|tier| tier.is_used || !tier.is_needed) {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            return said(status, &tiers.join("\n"));
        }
        _ => {}
    }
    if let Some(database) = path
        .strip_prefix("/sumdb/")
        .and_then(|rest| rest.strip_suffix("/latest"))
        && let Some(head) = server.truth.latest_head(server, database).await
    {
        let source = Source::Tier(head.1);
        server.counts.answered(source);
        let kind = Described {
            content_type: "text/plain; charset=utf-8",
            life: Life::Mutable,
            is_public: true,
            is_text: true,
        };
        return whole(request, &head.0, None, source, &kind);
    }
    let item = match Item::of_path(path) {
        Ok(item) => item.asked_from(network(client.ip())),
        // Not 404, which would send go on to the next entry of its list.
        Err(why) => return said(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    if let Some(measure) = measure {
        measure.kind = item.kind();
    }
    if item.kind() == Kind::SumdbSupported {
        let name = item.route.sumdb.as_deref().unwrap_or_default();
        return match server.relays(name) {
            true => said(StatusCode::OK, "the checksum database is relayed"),
            false => said(
                StatusCode::NOT_FOUND,
                "this checksum database is not relayed: its key is not known, or nothing of it is here",
            ),
        };
    }
    if matches!(item.kind(), Kind::Lookup | Kind::Tile)
        && !server.relays(item.route.sumdb.as_deref().unwrap_or_default())
    {
        let why = "this checksum database is not relayed";
        return said(StatusCode::NOT_FOUND, why);
    }
    if item.kind() == Kind::Lookup && !server.truth.is_public(item.module()) {
        let why = "this module is private here: the checksum database is not asked for it";
        return said(StatusCode::FORBIDDEN, why);
    }
    let Some(area) = server.private.of(&item) else {
        return item_response(server, request, item).await;
    };
    let server = area.server();
    let item = match admitted.is_ours {
        true => area.asked_by(item, &HeaderMap::new()),
        false => area.asked_by(item, request.headers()),
    };
    let mut response = item_response(server, request, item).await;
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    // What is compressed for some says so already.
    fields.append(header::VARY, HeaderValue::from_static("Authorization"));
    response
}

/// What header fields take in HTTP/1.1.
fn field_bytes(fields: &HeaderMap) -> usize {
    let bytes = fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    bytes.sum()
}

/// What the server that is responsible for an item answers.
async fn item_response<B>(
    server: &Arc<Server>,
    request: &Request<B>,
    item: Item,
) -> Response<Sent> {
    let is_judged = item.asker().is_some();
    let kind = Described {
        content_type: item.content_type(),
        life: item.life(),
        // What needs a password is for nobody else.
        is_public: server.truth.is_public(item.module())
            && !request.headers().contains_key(header::AUTHORIZATION),
        is_text: !item.is_zip() && item.kind() != Kind::Tile,
    };
    let takes_gzip = kind.is_text
        && accepts_gzip(request.headers())
        && !request.headers().contains_key(header::RANGE);
    let path = takes_gzip.then(|| item.kept_name().into_owned());
    match server.answer(item).await {
        Obtained::Whole(answer, source) => {
            let is_found = answer.status == StatusCode::OK;
            let gzip = match path.filter(|_| is_found) {
                Some(path) => gzip::compressed(server, &path, &answer).await,
                None => None,
            };
            whole(request, &answer, gzip, source, &kind)
        }
        Obtained::Growing(following) => {
            let Some(growing) = following.flight.state().borrow().growing.clone() else {
                return failed(&Failure::bad_gateway("the request was given up"));
            };
            let flight = Arc::clone(&following.flight);
            let body = Sent::growing(server, flight, growing.length);
            let mut response = Response::new(body);
            describe(&mut response, kind.content_type, following.source);
            if let Some(length) = growing.length {
                let fields = response.headers_mut();
                fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            response
        }
        Obtained::Failed(failure) => {
            let mut response = failed(&failure);
            // Those of an upstream that judges us are none of the client's.
            for challenge in failure.challenges.into_iter().filter(|_| is_judged) {
                let fields = response.headers_mut();
                fields.append(header::WWW_AUTHENTICATE, challenge);
            }
            response
        }
    }
}

fn whole<B>(
    request: &Request<B>,
    answer: &Answer,
    gzip: Option<Bytes>,
    source: Source,
    kind: &Described,
) -> Response<Sent> {
    let mut response = match answer.status {
        StatusCode::OK => found(request, answer, gzip, kind, source),
        status => {
            let mut response = Response::new(part(answer, 0, answer.bytes()));
            *response.status_mut() = status;
            describe(&mut response, "text/plain; charset=utf-8", source);
            let fields = response.headers_mut();
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(answer.bytes()));
            response
        }
    };
    let fields = response.headers_mut();
    put_lifetime(fields, answer, kind.life, kind.is_public);
    if !is_immutable(answer, kind.life) {
        let age = Clock::wall_now().duration_since(answer.at);
        let age = age.unwrap_or_default().as_secs();
        fields.insert(header::AGE, HeaderValue::from(age));
    }
    response
}

/// What is sent of an answer that is a file.
fn found<B>(
    request: &Request<B>,
    answer: &Answer,
    gzip: Option<Bytes>,
    kind: &Described,
    source: Source,
) -> Response<Sent> {
    let all = answer.bytes();
    let tag = Tag::of(answer, gzip.is_some());
    if tag.is_known(request) {
        let mut response = Response::new(Sent::bytes(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        let fields = response.headers_mut();
        fields.insert(CACHE, HeaderValue::from_static(source.name()));
        tag.put(fields);
        put_vary(fields, answer, kind);
        return response;
    }
    if let Some(text) = gzip {
        let length = HeaderValue::from(text.len());
        let mut response = Response::new(Sent::bytes(text));
        describe(&mut response, kind.content_type, source);
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_LENGTH, length);
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        tag.put(fields);
        put_vary(fields, answer, kind);
        return response;
    }
    let range = match tag.has_range(request) {
        true => asked_range(request, all),
        false => None,
    };
    let (status, from, bytes) = match range {
        None => (StatusCode::OK, 0, all),
        Some(Ok((from, bytes))) => (StatusCode::PARTIAL_CONTENT, from, bytes),
        Some(Err(())) => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let mut response = Response::new(part(answer, from, bytes));
    *response.status_mut() = status;
    describe(&mut response, kind.content_type, source);
    let fields = response.headers_mut();
    tag.put(fields);
    put_vary(fields, answer, kind);
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let range = match status {
        StatusCode::PARTIAL_CONTENT => Some(format!("bytes {from}-{}/{all}", from + bytes - 1)),
        StatusCode::RANGE_NOT_SATISFIABLE => Some(format!("bytes */{all}")),
        _ => None,
    };
    if let Some(Ok(range)) = range.map(HeaderValue::try_from) {
        fields.insert(header::CONTENT_RANGE, range);
    }
    response
}

/// A text may come in gzip to others who ask.
fn put_vary(fields: &mut HeaderMap, answer: &Answer, kind: &Described) {
    if kind.is_text && answer.bytes() > gzip::LEAST as u64 {
        fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// The one range that a request asks for, as offset and length; several get the whole, as RFC 9110 section 14.2
/// allows.
fn asked_range<B>(request: &Request<B>, all: u64) -> Option<Result<(u64, u64), ()>> {
    let text = request.headers().get(header::RANGE)?.to_str().ok()?;
    let ranges = parse_range_header(text).ok()?.validate(all);
    let Ok(ranges) = ranges else {
        return Some(Err(()));
    };
    match ranges.as_slice() {
        [range] => Some(Ok((*range.start(), range.end() - range.start() + 1))),
        _ => None,
    }
}

fn part(answer: &Answer, from: u64, bytes: u64) -> Sent {
    match &answer.content {
        Content::Bytes(all) => {
            let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(all.len());
            Sent::bytes(all.slice(index(from)..index(from + bytes)))
        }
        Content::File(file, _) => Sent::file(Arc::clone(file), from, bytes),
    }
}

fn describe(response: &mut Response<Sent>, content_type: &'static str, source: Source) {
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(CACHE, HeaderValue::from_static(source.name()));
}

/// What is said of a request without an answer: go prints it.
fn failed(failure: &Failure) -> Response<Sent> {
    said(failure.status, &failure.lines.join("\n"))
}

fn said(status: StatusCode, text: &str) -> Response<Sent> {
    // go prints it to a terminal, and an upstream may have had a word in it.
    let text = text.replace(|c: char| c.is_control() && c != '\n', "?");
    let text = Bytes::from(format!("{NAME}{text}\n"));
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(Sent::bytes(text));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    fields.insert(header::CONTENT_TYPE, plain);
    fields.insert(header::CONTENT_LENGTH, length);
    response
}
