//! The page while its recording is written: a server on loopback that tells what the journal has, and what is added.
//!
//! Whoever knows the token is answered, which stands in the address behind `#` and so is sent to nobody. Other pages
//! in the same browser are refused, whatever name they reached us by (DNS rebinding).

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Data;
use super::html::{html, policy, shell};
use crate::diagnose::report::Report;
use crate::recording::Recording;
use crate::recording::format::{JOURNAL, MANIFEST};

/// How often the journal's length is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long nothing is sent at most: a comment tells that the connection stands.
const ALIVE: Duration = Duration::from_secs(15);

/// Connections at once: a browser has six to one server.
const PLACES: usize = 32;

/// The longest request head, bytes.
const HEAD_BYTES: usize = 16 << 10;

/// How long to wait after an accept that failed, for want of descriptors as a rule.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A recording that is shown.
#[derive(Debug)]
pub(crate) struct Live {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Where the page is.
    pub(crate) address: SocketAddr,
    /// What a client has to know.
    pub(crate) token: String,
}

impl Live {
    /// What a browser opens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/#token={}", self.address, self.token)
    }

    /// What changes whenever there is something new: the journal's length, and the manifest's file, which
    /// is replaced when the recorder has found out what is wrong with answers.
    fn stamp(&self) -> Stamp {
        let journal = fs::metadata(self.folder.join(JOURNAL));
        let manifest = fs::metadata(self.folder.join(MANIFEST));
        Stamp {
            journal_bytes: journal.map_or(0, |meta| meta.len()),
            manifest: manifest.map_or((0, 0), |meta| (meta.ino(), meta.len())),
        }
    }

    /// One event: what is new since a place, and the place up to which it tells.
    ///
    /// What was told of another recording, or of a journal that is shorter now, is void; all of it is told again.
    fn event(&self, since: Option<&Place>) -> io::Result<(Place, Bytes)> {
        self.with_recording(|recording, report| {
            let read = recording.table().journal_bytes;
            // A line that is half there is told when it is whole.
            let until = recording.torn_tail().map_or(read, |tail| tail.offset);
            let until = Place {
                recording: recording.manifest().id.clone(),
                offset: until,
            };
            let known = since
                .filter(|since| since.recording == until.recording && since.offset <= until.offset);
            let offset = known.map_or(0, |since| since.offset);
            let (data, _) = Data::since(recording, report, offset, |_| {});
            let event = Event {
                reset: known.is_none(),
                data,
            };
            let text = serde_json::to_string(&event)?;
            let Place { recording, offset } = &until;
            let event = format!("id: {offset}-{recording}\ndata: {text}\n\n");
            Ok((until, Bytes::from(event)))
        })
    }

    /// The page as `report --format html` writes it.
    fn page(&self) -> io::Result<Vec<u8>> {
        self.with_recording(|recording, report| html(&Data::of(recording, report, |_| {}).0))
    }

    fn with_recording<T>(
        &self,
        then: impl FnOnce(&Recording, &Report) -> io::Result<T>,
    ) -> io::Result<T> {
        let recording = Recording::open(&self.folder).map_err(io::Error::other)?;
        let recording = recording.of_command();
        then(&recording, &Report::of(&recording))
    }

    /// Whether it is us whom a client asks for, and not a name that somebody lets lead here (DNS rebinding).
    fn is_named(&self, fields: &HeaderMap) -> bool {
        let host = fields.get(header::HOST);
        host.is_some_and(|host| self.is_name(host.as_bytes()))
    }

    /// Whether a request comes from the page, as far as a browser tells.
    fn is_ours(&self, fields: &HeaderMap) -> bool {
        let is_origin = |origin: &HeaderValue| {
            let host = origin.as_bytes().strip_prefix(b"http://");
            host.is_some_and(|host| self.is_name(host))
        };
        let is_site = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
        self.is_named(fields)
            && fields.get(header::ORIGIN).is_none_or(is_origin)
            && fields.get("sec-fetch-site").is_none_or(is_site)
    }

    fn is_name(&self, host: &[u8]) -> bool {
        let port = self.address.port();
        let names = [self.address.to_string(), format!("localhost:{port}")];
        names.iter().any(|name| name.as_bytes() == host)
    }

    fn knows_token(&self, fields: &HeaderMap) -> bool {
        let shown = fields.get(header::AUTHORIZATION);
        let shown = shown.and_then(|shown| shown.as_bytes().strip_prefix(b"Bearer "));
        shown.is_some_and(|shown| {
            aws_lc_rs::constant_time::verify_slices_are_equal(shown, self.token.as_bytes()).is_ok()
        })
    }
}

/// A place in a recording's journal: all before it has been told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// The recording's id: another one may take its folder.
    recording: String,
    /// Bytes from the journal's start.
    offset: u64,
}

impl Place {
    /// What an event is called: `OFFSET-RECORDING`.
    fn parse(text: &str) -> Option<Self> {
        let (offset, recording) = text.split_once('-')?;
        Some(Self {
            recording: recording.to_owned(),
            offset: offset.parse().ok()?,
        })
    }
}

/// The files of a recording, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    journal_bytes: u64,
    /// Inode and length.
    manifest: (u64, u64),
}

/// What an event tells.
#[derive(Serialize)]
struct Event<'a> {
    /// Whether it is all that there is, and what was told before is void.
    reset: bool,
    #[serde(flatten)]
    data: Data<'a>,
}

/// Serves the page until `stop`.
pub(crate) async fn serve(listener: TcpListener, live: Arc<Live>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(PLACES));
    let tasks = TaskTracker::new();
    let accepting = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let Ok((stream, _)) = listener.accept().await else {
                sleep(BACK_OFF).await;
                continue;
            };
            let (live, stop) = (Arc::clone(&live), stop.clone());
            tasks.spawn(async move {
                let _place = place;
                // How a connection ends is its client's matter.
                let _ = stop.run_until_cancelled(converse(stream, live)).await;
            });
        }
    };
    stop.run_until_cancelled(accepting).await;
}

async fn converse(stream: TcpStream, live: Arc<Live>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let live = Arc::clone(&live);
        async move { Ok::<_, Infallible>(respond(&live, &request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn respond<B>(live: &Arc<Live>, request: &Request<B>) -> Response<Told> {
    // The page itself has no data, and a browser comes to it from a file of ours.
    let is_page = request.uri().path() == "/";
    let is_ours = match is_page {
        true => live.is_named(request.headers()),
        false => live.is_ours(request.headers()),
    };
    if !is_ours {
        return said(
            StatusCode::FORBIDDEN,
            "this page is for its own address alone",
        );
    }
    if request.method() != Method::GET {
        return said(
            StatusCode::METHOD_NOT_ALLOWED,
            "there is nothing to change here",
        );
    }
    let path = request.uri().path();
    if is_page {
        let name = live.folder.file_name().unwrap_or_default();
        return match shell(&name.to_string_lossy()) {
            Ok(page) => found("text/html; charset=utf-8", Told::whole(page)),
            Err(error) => said(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        };
    }
    if !matches!(path, "/api/events" | "/api/page") {
        return said(StatusCode::NOT_FOUND, "the page is at /");
    }
    if !live.knows_token(request.headers()) {
        return said(
            StatusCode::UNAUTHORIZED,
            "open the address that modtape printed",
        );
    }
    if path == "/api/page" {
        return match reading(live, Live::page).await {
            Ok(page) => found("text/html; charset=utf-8", Told::whole(page)),
            Err(error) => said(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        };
    }
    let since = request.uri().query().unwrap_or_default();
    let since = since.strip_prefix("since=").and_then(Place::parse);
    let (events, told) = mpsc::channel(1);
    let stream = Told {
        first: None,
        more: Some(told),
        _sending: Some(Sending::start(live, since, events)),
    };
    found("text/event-stream", stream)
}

/// What reads the recording, on a thread that may wait for the disk.
async fn reading<T: Send + 'static>(
    live: &Arc<Live>,
    read: impl FnOnce(&Live) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let live = Arc::clone(live);
    let reading = tokio::task::spawn_blocking(move || read(&live));
    reading.await.map_err(io::Error::other)?
}

/// The task that sends events; it ends with its response.
struct Sending(tokio::task::AbortHandle, TaskTracker);

impl Sending {
    fn start(live: &Arc<Live>, since: Option<Place>, events: mpsc::Sender<Bytes>) -> Self {
        let tasks = TaskTracker::new();
        let task = tasks.spawn(tell(Arc::clone(live), since, events));
        Self(task.abort_handle(), tasks)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
        self.1.close();
    }
}

/// Sends what is there, then what is added, until nobody listens.
async fn tell(live: Arc<Live>, mut since: Option<Place>, events: mpsc::Sender<Bytes>) {
    let mut manifest = None;
    loop {
        // Before the recording is read: what is added meanwhile is told the next time.
        let stamp = live.stamp();
        // What the manifest says changes what was told.
        if manifest
            .replace(stamp.manifest)
            .is_some_and(|known| known != stamp.manifest)
        {
            since = None;
        }
        let asked = since.clone();
        let bytes = match reading(&live, move |live| live.event(asked.as_ref())).await {
            Ok((until, bytes)) => {
                since = Some(until);
                bytes
            }
            // It may be in a moment: a recorder that begins has no whole line yet.
            Err(_) => Bytes::from_static(b": cannot be read now\n\n"),
        };
        if events.send(bytes).await.is_err() {
            return;
        }
        while timeout(ALIVE, changed_or_closed(&events, &live, stamp))
            .await
            .is_err()
        {
            let alive = Bytes::from_static(b": alive\n\n");
            if events.send(alive).await.is_err() {
                return;
            }
        }
    }
}

/// Waits until the recording has changed, or nobody listens.
async fn changed_or_closed(events: &mpsc::Sender<Bytes>, live: &Live, stamp: Stamp) {
    let changed = async {
        loop {
            sleep(LOOK).await;
            if live.stamp() != stamp {
                return;
            }
        }
    };
    tokio::select! {
        () = changed => {}
        () = events.closed() => {}
    }
}

/// A body: bytes, or what a task sends.
struct Told {
    first: Option<Bytes>,
    more: Option<mpsc::Receiver<Bytes>>,
    _sending: Option<Sending>,
}

impl Told {
    fn whole(bytes: impl Into<Bytes>) -> Self {
        Self {
            first: Some(bytes.into()),
            more: None,
            _sending: None,
        }
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(bytes) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(more) = &mut self.more else {
            return Poll::Ready(None);
        };
        let bytes = ready!(more.poll_recv(context));
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        let bytes = self.first.as_ref().map_or(0, Bytes::len);
        match self.more {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(bytes as u64),
        }
    }
}

fn found(content_type: &'static str, body: Told) -> Response<Told> {
    let mut response = Response::new(body);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    fields.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    let only = header::HeaderName::from_static("cross-origin-resource-policy");
    fields.insert(only, HeaderValue::from_static("same-origin"));
    if let Ok(policy) = HeaderValue::try_from(policy("'self'") + "; frame-ancestors 'none'") {
        fields.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn said(status: StatusCode, why: &str) -> Response<Told> {
    let mut response = found(
        "text/plain; charset=utf-8",
        Told::whole(format!("modtape: {why}\n")),
    );
    *response.status_mut() = status;
    response
}
