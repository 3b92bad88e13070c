//! Requests of a probe, one after the other on one connection, each timed to its first byte.

use std::error::Error as _;
use std::future::Future;
use std::io;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, DATE, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;

use super::Probe;
use crate::capture::Wire;
use crate::clock::Clock;
use crate::diagnose::doctor::facts::Asked;
use crate::exchange::{Target, chain};
use crate::tls::Protocol;

/// A request, sent several times.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Path and query.
    pub(crate) path: String,
    /// The value of `Authorization`, if credentials are sent.
    pub(crate) authorization: Option<String>,
    /// How often it is sent.
    pub(crate) times: usize,
}

/// How much of a body is read, bytes: what follows ends the connection.
const BODY: usize = 1 << 20;

/// How much of an error's text is kept, bytes.
const MESSAGE: usize = 200;

/// TCP, or TLS on it.
pub(super) type Connection = Either<Wire, Box<TlsStream<Wire>>>;

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// Sends all requests of the probe's site. After a failure the others say the same.
pub(super) async fn ask(
    probe: &Probe,
    io: Connection,
    protocol: Protocol,
    tasks: &TaskTracker,
) -> Vec<Asked> {
    let asks = &probe.site.asks;
    let mut asked: Vec<Asked> = asks
        .iter()
        .map(|ask| Asked {
            path: ask.path.clone(),
            ..Asked::default()
        })
        .collect();
    let mut sender = None;
    let mut io = Some((io, protocol));
    for number in 0..asks.len() {
        for _ in 0..asks[number].times {
            let begun = probe.clock().now();
            let (ask, asked_now) = (&asks[number], &mut asked[number]);
            let sent = send_one(probe, &mut sender, io.take(), tasks, ask, asked_now);
            let error = match tokio::time::timeout_at(probe.deadline, sent).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => {
                    let waited = probe.clock().now().since(begun);
                    format!("no answer within {:.1} s", waited.as_secs_f64())
                }
            };
            fail(&mut asked[number..], &error);
            return asked;
        }
    }
    asked
}

/// Sends a request on the connection that is open, or on a new one: a server may close it behind an
/// answer, as go has to take it too.
async fn send_one(
    probe: &Probe,
    sender: &mut Option<Sender>,
    io: Option<(Connection, Protocol)>,
    tasks: &TaskTracker,
    ask: &Ask,
    asked: &mut Asked,
) -> Result<(), String> {
    if let Some(open) = sender
        && one(probe, open, ask, asked).await.is_ok()
    {
        return Ok(());
    }
    let (io, protocol) = match io {
        Some(io) => io,
        None => probe.connect_again().await?,
    };
    let opened = open(io, protocol, tasks).await;
    let opened = opened.map_err(|error| in_words(&error))?;
    one(probe, sender.insert(opened), ask, asked).await
}

fn fail(asked: &mut [Asked], error: &str) {
    for one in asked {
        one.error = Some(error.to_owned());
    }
}

async fn open(
    io: Connection,
    protocol: Protocol,
    tasks: &TaskTracker,
) -> Result<Sender, hyper::Error> {
    let io = TokioIo::new(io);
    // How a connection ends shows in its requests.
    match protocol {
        Protocol::Http1 => {
            let (sender, connection) = http1::handshake(io).await?;
            tasks.spawn(async move { drop(connection.await) });
            Ok(Sender::Http1(sender))
        }
        Protocol::H2 => {
            let (sender, connection) = http2::handshake(Tasks(tasks.clone()), io).await?;
            tasks.spawn(async move { drop(connection.await) });
            Ok(Sender::Http2(sender))
        }
    }
}

/// Sends a request and reads its response.
async fn one(
    probe: &Probe,
    sender: &mut Sender,
    ask: &Ask,
    asked: &mut Asked,
) -> Result<(), String> {
    let request = request(probe, sender, ask).map_err(|error| error.to_string())?;
    let begun = probe.clock().now();
    let response = send(sender, request).await;
    let response = response.map_err(|error| in_words(&error))?;
    let took_us = probe.clock().now().micros_since(begun);
    asked.status = Some(response.status().as_u16());
    asked.skew_s = skew(response.headers());
    asked.redirects_to = redirect(response.headers());
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let text = read(response).await?;
    asked.message = is_error.then(|| first_line(&text)).flatten();
    asked.first_byte_us.push(took_us);
    Ok(())
}

fn request(
    probe: &Probe,
    sender: &Sender,
    ask: &Ask,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let (scheme, port) = match probe.site.is_secure {
        true => ("https", 443),
        false => ("http", 80),
    };
    let authority = probe.site.target.authority(port);
    let mut request = match sender {
        Sender::Http1(_) => Request::get(&ask.path).header(HOST, authority),
        Sender::Http2(_) => Request::get(format!("{scheme}://{authority}{}", ask.path)),
    };
    request = request
        .header(USER_AGENT, concat!("modtape/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT_ENCODING, "gzip");
    if let Some(authorization) = &ask.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    request.body(Empty::new())
}

async fn send(
    sender: &mut Sender,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    match sender {
        Sender::Http1(sender) => {
            sender.ready().await?;
            sender.send_request(request).await
        }
        Sender::Http2(sender) => {
            sender.ready().await?;
            sender.send_request(request).await
        }
    }
}

/// Why there is no response, without the words of a library where there are others.
fn in_words(error: &hyper::Error) -> String {
    let mut source = error.source();
    while let Some(cause) = source {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        match kind {
            Some(io::ErrorKind::UnexpectedEof) => return String::from(CLOSED),
            Some(io::ErrorKind::ConnectionReset) => return String::from("it reset the connection"),
            _ => source = cause.source(),
        }
    }
    match error.is_incomplete_message() || error.is_closed() {
        true => String::from(CLOSED),
        false => chain(error),
    }
}

const CLOSED: &str = "it closed the connection";

/// Reads the body, and gives its first bytes.
async fn read(response: Response<Incoming>) -> Result<Vec<u8>, String> {
    let mut body = response.into_body();
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| in_words(&error))?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        length += data.len();
        kept.extend(data.iter().take(MESSAGE - kept.len()));
        if length > BODY {
            return Err(String::from("its answer to a small request is over 1 MiB"));
        }
    }
    Ok(kept)
}

/// The first line that says something, if the body is text.
fn first_line(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let is_markup = text.trim_start().starts_with(['<', '{', '[']);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    (!is_markup).then(|| line.to_owned())
}

/// The host of a redirect.
fn redirect(headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let location: Uri = location.parse().ok()?;
    let target: Target = Target::new(location.host()?, location.port_u16().unwrap_or(443)).ok()?;
    Some(target.authority(443))
}

/// The server's clock minus ours, seconds; `None` of an answer that a cache had stored, whose `Date` is
/// that of the day on which it was made (RFC 9110 section 6.6.1).
fn skew(headers: &HeaderMap) -> Option<i64> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let age = text("age").map_or(Some(0), |age| age.trim().parse::<u64>().ok());
    let is_hit = text("x-cache").is_some_and(|cache| cache.to_ascii_lowercase().contains("hit"));
    if is_hit || age != Some(0) {
        return None;
    }
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = OffsetDateTime::parse(date, &Rfc2822).ok()?;
    Some((date - OffsetDateTime::from(Clock::wall_now())).whole_seconds())
}

/// Runs the tasks of an HTTP/2 connection.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_clocks_are_compared_by_the_date_field() {
        let at = |date: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, date.parse().unwrap());
            skew(&headers)
        };
        // Nobody's clock stands so far back.
        assert!(at("Sun, 06 Nov 1994 08:49:37 GMT").is_some_and(|skew| skew < -500_000_000));
        assert!(at("Sun, 06 Nov 2094 08:49:37 GMT").is_none_or(|skew| skew > 500_000_000));
        assert_eq!(at("yesterday"), None);
        let stored = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
            headers.insert(DATE, date);
            headers.insert(name, HeaderValue::from_static(value));
            skew(&headers).is_none()
        };
        assert!(stored("age", "3600") && stored("age", "long"));
        assert!(stored("x-cache", "Hit from cloudfront") && stored("x-cache", "TCP_HIT"));
        assert!(!stored("age", "0") && !stored("x-cache", "MISS"));
    }

    #[test]
    fn a_message_is_the_first_line_of_a_text() {
        for (text, line) in [
            ("\n  not found: x\nmore", Some("not found: x")),
            ("<html><body>no</body>", None),
            ("{\"error\":1}", None),
            ("", None),
        ] {
            assert_eq!(first_line(text.as_bytes()).as_deref(), line, "{text:?}");
        }
        assert_eq!(first_line(b"\xff"), None);
    }
}
