//! The listener that Prometheus scrapes, on a thread of its own: neither a scrape nor a client that sends nothing
//! takes time of the traffic.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{Format, Metrics};
use crate::coding::{gzip, lists_gzip};

/// Where the metrics are.
const PATH: &str = "/metrics";

/// How many scrapers are served at once; others wait in the kernel's queue.
const PLACES: usize = 8;

/// How long a connection may last, for one request and its response: that of Prometheus' own default
/// (`scrape_timeout`).
const LIMIT: Duration = Duration::from_secs(10);

/// How long a request head may take to come: a client that sends none holds a place no longer.
const HEAD: Duration = Duration::from_secs(1);

/// The longest request head, bytes: it is the least that hyper allows.
const HEAD_BYTES: usize = 8 << 10;

/// How long to wait after an accept that failed, for want of descriptors as a rule.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Scrapes {
    listener: TcpListener,
    address: SocketAddr,
}

/// The thread that answers scrapes; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Scraping {
    // Declared before the thread: dropped by `drop`, which joins it.
    stop: Option<DropGuard>,
    thread: Option<JoinHandle<()>>,
}

impl Scrapes {
    /// Binds the address; with port 0, a free one.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where scrapers find it: `http://127.0.0.1:9464/metrics`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Whether only this machine reaches it.
    pub(crate) fn is_on_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }

    /// Answers with these metrics from now on.
    pub(crate) fn answer(self, metrics: Metrics) -> io::Result<Scraping> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(self.listener)?
        };
        let thread = std::thread::Builder::new()
            .name("metrics".into())
            .spawn(move || {
                let serving = stop.run_until_cancelled(serve(listener, metrics));
                runtime.block_on(serving);
            })?;
        Ok(Scraping {
            stop: Some(guard),
            thread: Some(thread),
        })
    }
}

impl Drop for Scraping {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has no panic to tell of.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: tokio::net::TcpListener, metrics: Metrics) -> Infallible {
    let places = Arc::new(Semaphore::new(PLACES));
    // The tasks end with the runtime, which is dropped with its thread.
    let tasks = TaskTracker::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(BACK_OFF).await;
            continue;
        };
        let metrics = metrics.clone();
        tasks.spawn(async move {
            let _place = place;
            // How a connection ends is its client's matter.
            let _ = tokio::time::timeout(LIMIT, converse(stream, metrics)).await;
        });
    }
}

/// Answers one request.
async fn converse(stream: TcpStream, metrics: Metrics) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(
            &metrics,
            request.method(),
            request.uri().path(),
            request.headers(),
        );
        std::future::ready(Ok::<_, Infallible>(response))
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        // An idle scraper would hold a place between two scrapes.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn respond(
    metrics: &Metrics,
    method: &Method,
    path: &str,
    fields: &HeaderMap,
) -> Response<Full<Bytes>> {
    if path != PATH {
        return in_words(StatusCode::NOT_FOUND, "the metrics are at /metrics");
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = in_words(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are for metrics",
        );
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    let accept = fields.get_all(header::ACCEPT).iter();
    let format = Format::accepted(accept.filter_map(|value| value.to_str().ok()));
    let text = metrics.text(format);
    let codings = fields.get_all(header::ACCEPT_ENCODING).iter();
    let compressed = match lists_gzip(codings.map(HeaderValue::as_bytes)) {
        true => Some(gzip(text.as_bytes(), Compression::fast())),
        false => None,
    };
    let is_gzip = compressed.is_some();
    let body = compressed.unwrap_or_else(|| text.into_bytes());
    let mut response = Response::new(Full::from(body));
    let fields = response.headers_mut();
    let content_type = HeaderValue::from_static(format.content_type());
    fields.insert(header::CONTENT_TYPE, content_type);
    let vary = HeaderValue::from_static("accept, accept-encoding");
    fields.insert(header::VARY, vary);
    if is_gzip {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn in_words(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("modtape: {why}\n")));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::{Read as _, Write as _};

    use super::super::Setup;
    use super::*;
    use crate::clock::Clock;
    use crate::gomod::GoProxy;

    fn metrics() -> Metrics {
        Metrics::new(Setup {
            clock: Clock::start(),
            hosts: BTreeSet::new(),
            goproxy: GoProxy::default(),
        })
    }

    fn asked(
        method: &Method,
        path: &str,
        fields: &[(&'static str, &'static str)],
    ) -> Response<Full<Bytes>> {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| {
            let name = header::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        respond(&metrics(), method, path, &fields.collect())
    }

    #[test]
    fn what_is_no_scrape_is_refused() {
        assert_eq!(asked(&Method::GET, "/", &[]).status(), 404);
        assert_eq!(asked(&Method::GET, "/metrics/", &[]).status(), 404);
        let post = asked(&Method::POST, "/metrics", &[]);
        assert_eq!(
            (post.status().as_u16(), &post.headers()["allow"]),
            (405, &HeaderValue::from_static("GET, HEAD"))
        );
        assert_eq!(asked(&Method::HEAD, "/metrics", &[]).status(), 200);
    }

    #[test]
    fn the_text_comes_in_gzip_to_those_who_ask() {
        let plain = asked(&Method::GET, "/metrics", &[]);
        assert_eq!(
            plain.headers()["content-type"],
            "text/plain; version=0.0.4; charset=utf-8"
        );
        assert!(!plain.headers().contains_key("content-encoding"));
        let response = asked(&Method::GET, "/metrics", &[("accept-encoding", "gzip")]);
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let body = http_body_util::BodyExt::collect(response.into_body());
        let body = runtime.block_on(body).unwrap().to_bytes();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*body)
            .read_to_string(&mut text)
            .unwrap();
        assert!(text.contains("modtape_build_info{"), "{text}");
    }

    #[test]
    fn a_client_that_sends_nothing_holds_nobody_up_and_ends_with_the_thread() {
        let bound = Scrapes::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = bound.address;
        assert!(Scrapes::bind(address).is_err());
        let scraping = bound.answer(metrics()).unwrap();
        let silent: Vec<_> = (1..PLACES)
            .map(|_| std::net::TcpStream::connect(address).unwrap())
            .collect();
        let mut asking = std::net::TcpStream::connect(address).unwrap();
        asking
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        asking.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let mut flood = std::net::TcpStream::connect(address).unwrap();
        let head = format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(2 * HEAD_BYTES));
        flood.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        // The rest of the flood may have been refused with a reset.
        let _ = flood.read_to_string(&mut answer);
        assert!(!answer.contains(" 200"), "{answer}");
        let crowd: Vec<_> = (0..2 * PLACES)
            .map(|_| std::net::TcpStream::connect(address).unwrap())
            .collect();
        let mut asking = std::net::TcpStream::connect(address).unwrap();
        // Prometheus waits no longer.
        asking.set_read_timeout(Some(LIMIT)).unwrap();
        asking
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        asking.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(scraping);
        for mut stream in silent.into_iter().chain(crowd) {
            let ended = stream.read(&mut [0]);
            assert!(!matches!(ended, Ok(1..)), "{ended:?}");
        }
    }
}
