//! One upstream connection: HTTP over TCP or TLS, and why it ended.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::ext::on_informational;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::cause;
use super::client_leg::ClientLeg;
use super::context::Context;
use super::io::{Marks, Tap, UpstreamFrames};
use super::request_body::{RequestBody, Upload};
use super::response_head::{FIELDS_LIMIT, HEAD_LIMIT, HeadFilter, Heads};
use super::stream_limit::StreamLimit;
use super::windows::{HTTP1_BUFFER, Share};
use crate::capture::{Stream, Wire};
use crate::telemetry::metrics::Metrics;
use crate::tls::Protocol;

/// The largest response head over HTTP/2, where each field counts 32 bytes more (RFC 9113 section
/// 6.5.2).
#[expect(clippy::cast_possible_truncation, reason = "it is less than 2 MiB")]
const H2_HEAD_LIMIT: u32 = (HEAD_LIMIT + 32 * FIELDS_LIMIT) as u32;

/// How long a connection's own task may take to end after a request on it has failed.
const SOON: Duration = Duration::from_secs(1);

/// What TCP carries upstream: clear text, or TLS.
pub(super) type UpstreamIo = Either<Wire, Box<TlsStream<Wire>>>;

enum Sender {
    // Held while hyper takes a request, not while it is answered.
    Http1(Mutex<http1::SendRequest<RequestBody>>),
    Http2(http2::SendRequest<RequestBody>),
}

/// One upstream connection.
pub(super) struct UpstreamConnection {
    sender: Sender,
    pub(super) marks: Arc<Marks>,
    heads: Arc<Heads>,
    pub(super) protocol: Protocol,
    /// Where TCP connected to.
    pub(super) address: Option<Arc<str>>,
    /// Our end of it.
    pub(super) local: Option<SocketAddr>,
    /// The connection in the packet capture, if there is one.
    pub(super) captured: Option<Stream>,
    answered: AtomicBool,
    /// It may be dead without having ended.
    is_distrusted: AtomicBool,
    /// The upstream, as errors name it.
    host: String,
    /// How many streams it takes: HTTP/2.
    stream_limit: Arc<StreamLimit>,
    /// Taken as long as the connection is used.
    _share: Arc<Share>,
    /// Cancelled when the upstream has ended the connection.
    pub(super) ended: CancellationToken,
    end: Arc<OnceLock<End>>,
}

/// How a connection ended.
struct End {
    /// Why, if it did not end in order.
    failure: Option<hyper::Error>,
    /// What was read of it and not parsed.
    unparsed: Bytes,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum SendError {
    /// The connection had ended before any byte of the request was sent.
    Unsent(hyper::Error),
    /// The connection was lost before the request can have been answered.
    Lost(hyper::Error),
    /// The upstream said that it did not look at the request (RFC 9113 section 8.7).
    Unprocessed(hyper::Error),
    /// Anything else.
    Broken(hyper::Error),
}

/// How HTTP is spoken on a connection.
pub(super) struct Speaking {
    protocol: Protocol,
    /// How much may be on its way.
    share: Arc<Share>,
    /// Where it is noted how many streams the upstream takes.
    stream_limit: Arc<StreamLimit>,
}

impl Speaking {
    /// As the one client connection does that it is for.
    pub(super) fn as_client(leg: &ClientLeg) -> Self {
        Self {
            protocol: leg.protocol,
            share: Arc::clone(&leg.share),
            stream_limit: Arc::clone(&leg.watch.stream_limit),
        }
    }

    /// For whoever uses it.
    pub(super) fn for_many(context: &Context, protocol: Protocol) -> Self {
        Self {
            protocol,
            share: Arc::new(context.windows.share(protocol).of_many()),
            stream_limit: Arc::default(),
        }
    }
}

impl UpstreamConnection {
    /// Speaks HTTP over `io`.
    pub(super) async fn open(
        context: &Arc<Context>,
        speaking: Speaking,
        io: UpstreamIo,
        host: &str,
    ) -> Result<Arc<Self>, hyper::Error> {
        let Speaking {
            protocol,
            share,
            stream_limit,
        } = speaking;
        let marks = Marks::new(context.clock);
        let local = wire(&io).socket().local_addr().ok();
        let address = wire(&io).socket().peer_addr();
        let address = address.ok().map(|address| Arc::from(address.to_string()));
        let captured = captured(&io).cloned();
        let io = Tap::new(io, Arc::clone(&marks));
        let heads = Arc::<Heads>::default();
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let counted = context.metrics.as_ref().map(Metrics::upstream_opened);
        let end = Arc::<OnceLock<End>>::default();
        let ending = Arc::clone(&end);
        let finish = move |outcome: hyper::Result<()>, unparsed| {
            let failure = outcome.err();
            let _ = ending.set(End { failure, unparsed });
            drop((guard, counted));
        };
        let sender = match protocol {
            Protocol::Http1 => {
                let mut builder = http1::Builder::new();
                builder
                    .preserve_header_case(true)
                    .allow_obsolete_multiline_headers_in_responses(true)
                    .max_buf_size(HTTP1_BUFFER);
                let io = TokioIo::new(HeadFilter::new(io.reading_on(), Arc::clone(&heads)));
                let (sender, mut connection) = builder.handshake(io).await?;
                context.spawn(async move {
                    let outcome = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
                    let mut parts = connection.into_parts();
                    finish(outcome, parts.read_buf);
                    let _ = parts.io.inner_mut().shutdown().await;
                });
                Sender::Http1(Mutex::new(sender))
            }
            Protocol::H2 => {
                let tasks = ConnectionTasks::new(context);
                let mut builder = http2::Builder::new(tasks.clone());
                builder
                    .initial_stream_window_size(share.download())
                    .initial_connection_window_size(share.connection())
                    .max_send_buf_size(share.unsent())
                    .max_header_list_size(H2_HEAD_LIMIT);
                let limit = stream_limit.of_upstream();
                let io = UpstreamFrames::new(io, Arc::clone(&marks), limit);
                let io = TokioIo::new(io);
                let (sender, connection) = builder.handshake(io).await?;
                tasks.is_open.store(true, Ordering::Relaxed);
                context.spawn(async move { finish(connection.await, Bytes::new()) });
                Sender::Http2(sender)
            }
        };
        Ok(Arc::new(Self {
            sender,
            marks,
            heads,
            protocol,
            address,
            local,
            captured,
            answered: AtomicBool::new(false),
            is_distrusted: AtomicBool::new(false),
            host: host.to_owned(),
            stream_limit,
            _share: share,
            ended,
            end,
        }))
    }

    /// Sends one request. Over HTTP/1.1 they come one after the other.
    pub(super) async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let outcome = match &self.sender {
            Sender::Http1(sender) => {
                // An informational head is not the answer: the read after it is.
                let marks = Arc::clone(&self.marks);
                let upload = request.body().awaiting_continue();
                on_informational(&mut request, move |response| {
                    marks.expect_answer();
                    if response.status() == StatusCode::CONTINUE {
                        upload.iter().for_each(Upload::go_on);
                    }
                });
                let response = {
                    let mut sender = sender.lock().await;
                    sender.ready().await.map_err(SendError::Unsent)?;
                    self.heads.expect();
                    sender.send_request(request)
                };
                response.await
            }
            Sender::Http2(sender) => {
                let mut sender = sender.clone();
                sender.ready().await.map_err(SendError::Unsent)?;
                sender.send_request(request).await
            }
        };
        match outcome {
            Ok(mut response) => {
                self.answered.store(true, Ordering::Relaxed);
                if let Some(beside) = self.heads.take() {
                    beside.join(&mut response);
                }
                Ok(response)
            }
            Err(error) if self.is_unsent(&error) => Err(SendError::Unsent(error)),
            Err(error) if is_unprocessed(&error) => Err(SendError::Unprocessed(error)),
            // A connection that answered before and ends without a byte was closed as idle just
            // when the request was sent: the race of RFC 9112 section 9.3.1.
            Err(error) if self.is_reused() && self.ended_silently(&error) => {
                Err(SendError::Lost(error))
            }
            Err(error) => Err(SendError::Broken(error)),
        }
    }

    /// True if hyper never began to write the request: it was still in hyper's queue or, over
    /// HTTP/2, waited for a stream, when the connection ended.
    fn is_unsent(&self, error: &hyper::Error) -> bool {
        // A request that waits for a stream is dropped with the connection, which is an error of the
        // user to hyper.
        let waited = self.protocol == Protocol::H2 && error.is_user();
        error.is_canceled() || error.is_closed() || waited
    }

    /// True if the connection was lost, in whatever way, before any byte of a response came.
    fn ended_silently(&self, error: &hyper::Error) -> bool {
        let is_io = error.source().is_some_and(<dyn StdError>::is::<io::Error>);
        match self.protocol {
            Protocol::Http1 => !self.marks.has_heard() && (is_io || error.is_incomplete_message()),
            Protocol::H2 => is_io,
        }
    }

    /// True once an HTTP/1 connection has ended without TLS's close_notify.
    pub(super) fn is_cut(&self) -> bool {
        self.heads.is_cut()
    }

    /// How many bytes came behind the end of a response, if any did.
    pub(super) fn surplus(&self) -> Option<usize> {
        let end = self.end.get()?;
        let is_surplus = cause::is_surplus(end.failure.as_ref()?);
        is_surplus.then_some(end.unparsed.len())
    }

    /// Why the connection ended, if it has, and not in order.
    pub(super) fn failure(&self) -> Option<String> {
        let failure = self.end.get()?.failure.as_ref()?;
        Some(cause::of(failure, &self.host, ""))
    }

    /// Why a request was not answered.
    ///
    /// hyper says of an unsent request only that, and not what ended the connection, and of an invalid
    /// head not what is wrong with it. Both are known once the connection's own task is over, which is
    /// soon after. h2 does not say which frame was at fault.
    pub(super) async fn cause(&self, error: &SendError) -> String {
        let (SendError::Unsent(cause)
        | SendError::Lost(cause)
        | SendError::Unprocessed(cause)
        | SendError::Broken(cause)) = error;
        let (host, marks) = (&self.host, &self.marks);
        let is_of_h2 = cause.source().is_some_and(<dyn StdError>::is::<h2::Error>);
        let is_unsent = matches!(error, SendError::Unsent(_));
        let when = match error {
            SendError::Unprocessed(_) => " and did not process the request",
            _ => " before it answered",
        };
        if is_unsent || cause::blames_a_head(cause) {
            let _ = tokio::time::timeout(SOON, self.ended.cancelled()).await;
            let Some(end) = self.end.get() else {
                return cause::of(cause, host, when);
            };
            if let Some(failure) = end.failure.as_ref().filter(|_| is_unsent) {
                return cause::of(failure, host, when);
            }
            if let Some(what) = cause::invalid_head(&end.unparsed) {
                return format!("{host} sent an invalid response head: {what}");
            }
        }
        let why = cause::of(cause, host, when);
        let frames = marks.last_frames();
        match cause::blames_a_frame(cause) || (!is_of_h2 && frames.contains("GOAWAY")) {
            true => format!("{why}; its last frames: {frames}"),
            false => why,
        }
    }

    /// How many requests it may carry at once: HTTP/2.
    pub(super) fn stream_limit(&self) -> u32 {
        self.stream_limit.get().max(1)
    }

    /// True if it can carry a request at once: HTTP/1.1.
    pub(super) fn is_idle(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.try_lock().is_ok_and(|sender| sender.is_ready()),
            Sender::Http2(_) => false,
        }
    }

    /// A request on it was met with silence: no further one is sent on it.
    pub(super) fn distrust(&self) {
        self.is_distrusted.store(true, Ordering::Relaxed);
    }

    /// True if no further request is to be sent on it.
    pub(super) fn is_distrusted(&self) -> bool {
        self.is_distrusted.load(Ordering::Relaxed)
    }

    /// True once it has answered a request.
    pub(super) fn is_reused(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }
}

/// True for a stream that was refused, or came after a GOAWAY, on a connection of whatever age.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let source = error.source();
    let source = source.and_then(<dyn StdError>::downcast_ref::<h2::Error>);
    source.is_some_and(|error| {
        let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (error.is_go_away() || refused)
    })
}

/// Gives the tasks that hyper starts for one HTTP/2 connection to the tracker.
///
/// The one of the handshake is the connection itself, and ends as our own tasks do. Each later one
/// carries a request and ends with the connection: it has nothing else to watch, which would cost
/// each request.
#[derive(Clone)]
struct ConnectionTasks {
    context: Arc<Context>,
    /// The handshake is over.
    is_open: Arc<AtomicBool>,
}

impl ConnectionTasks {
    fn new(context: &Arc<Context>) -> Self {
        Self {
            context: Arc::clone(context),
            is_open: Arc::default(),
        }
    }
}

impl<F> hyper::rt::Executor<F> for ConnectionTasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        match self.is_open.load(Ordering::Relaxed) {
            false => self.context.spawn(future),
            true => drop(self.context.tasks.spawn(future)),
        }
    }
}

/// The socket below.
fn wire(io: &UpstreamIo) -> &Wire {
    match io {
        Either::Left(wire) => wire,
        Either::Right(tls) => tls.get_ref().0,
    }
}

/// The connection in the packet capture, if there is one.
pub(super) fn captured(io: &UpstreamIo) -> Option<&Stream> {
    wire(io).stream()
}
