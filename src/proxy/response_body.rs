//! A response body on its way to the client: recorded while it passes, its end held back until the
//! exchange is on record.
//!
//! The client sees the end only after the journal has it: the frame that completes a known length,
//! else the end itself. A body that ends short resets the client leg and is recorded as aborted.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::cause;
use super::headers;
use super::request_body::{ClientFault, Upload};
use super::ticket::{Bodies, Ticket};
use super::upstream_connection::UpstreamConnection;
use crate::clock::{Clock, Timestamp};
use crate::recording::BodySink;
use crate::recording::format::INLINE_LIMIT;
use crate::replay::{PlayError, Played};
use crate::tls::Protocol;

/// Why a response body ended short.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// hyper or h2 found it; [`cause`] says who ended the body, and with what.
    #[error("{0}")]
    Upstream(hyper::Error),
    /// A reset with NO_ERROR, which hyper takes for an end.
    #[error("a reset with NO_ERROR")]
    Short,
    #[error("silence for {0:?}")]
    Idle(Duration),
    /// The whole sentence.
    #[error("{0}")]
    Said(String),
}

/// The writing of the records; it returns why the client may not see the end, if it may not.
type Finishing = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

#[expect(
    clippy::large_enum_variant,
    reason = "it lies in a box already, one for each exchange"
)]
enum State {
    /// Frames pass.
    Passing(Ticket, Option<BodySink>),
    /// All has come; the records are being written.
    Finishing(Finishing),
    /// The records are written, or the body broke off.
    Over,
}

/// Where a response body comes from.
pub(super) struct Source {
    pub(super) body: Incoming,
    pub(super) upstream: Arc<UpstreamConnection>,
    /// The protocol of the client that it goes to.
    pub(super) client: Protocol,
    /// Its end is that of the connection.
    pub(super) ends_with_connection: bool,
    /// The trailers that the head announces; `None` for a client that takes none.
    pub(super) announced: Option<Vec<HeaderName>>,
}

impl Source {
    fn is_h2(&self) -> bool {
        self.upstream.protocol == Protocol::H2
    }

    /// Notes what was unusual in a response that has come whole.
    fn note_oddities(&self, trailers: Option<&HeaderMap>, ticket: &mut Ticket) {
        if self.ends_with_connection && self.upstream.is_cut() {
            ticket.add_note("the body ended with the connection, without TLS's close_notify");
        }
        if let Some(bytes) = self.upstream.surplus() {
            ticket.add_note(&format!(
                "{bytes} bytes came behind the end of the response"
            ));
        }
        // hyper sends over HTTP/1 what the head announces, to those who ask.
        let passes = |name: &HeaderName| match &self.announced {
            Some(names) => self.client == Protocol::H2 || names.contains(name),
            None => false,
        };
        let names = trailers.into_iter().flat_map(HeaderMap::keys);
        let kept_back: Vec<_> = names
            .filter(|name| !passes(name))
            .map(HeaderName::as_str)
            .collect();
        if !kept_back.is_empty() {
            let why = match self.announced {
                Some(_) => "the response head did not announce them",
                None => "the client did not ask for trailers",
            };
            let names = kept_back.join(", ");
            ticket.add_note(&format!("trailers were not passed on, {why}: {names}"));
        }
    }
}

/// A response body on its way to the client.
pub(super) struct Recorded {
    source: Source,
    clock: Clock,
    idle: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    state: State,
    /// The body of the request, if it has one.
    upload: Option<Upload>,
    /// Bytes that are still to be yielded, where the length is known.
    remaining: Option<u64>,
    /// Bytes that are still to come from upstream, where the length is known.
    missing: Option<u64>,
    /// Frames that came already: in the order in which the client gets them.
    gathered: VecDeque<Frame<Bytes>>,
    /// Frames that wait for the records.
    held: VecDeque<Frame<Bytes>>,
    /// What the client gets once it has had what came before.
    failure: Option<BodyError>,
    /// Why the client does not get the end, if it does not.
    refused: Option<String>,
    /// True once hyper had a turn in which to send what came before the failure.
    is_flushed: bool,
    /// When the client was last given something, until it asks for more.
    yielded: Option<Timestamp>,
}

impl Recorded {
    pub(super) fn new(
        source: Source,
        clock: Clock,
        idle: Option<Duration>,
        ticket: Ticket,
        sink: Option<BodySink>,
        upload: Option<Upload>,
    ) -> Self {
        let exact = source.body.size_hint().exact();
        Self {
            source,
            clock,
            idle,
            timer: None,
            state: State::Passing(ticket, sink),
            upload,
            remaining: exact,
            missing: exact,
            gathered: VecDeque::new(),
            held: VecDeque::new(),
            failure: None,
            refused: None,
            is_flushed: false,
            yielded: None,
        }
    }

    /// Takes what is there without waiting. If that is a whole small body, it is recorded too, and
    /// head and body can leave in one write.
    pub(super) async fn gather(&mut self) {
        if self.missing.is_none_or(|bytes| bytes > INLINE_LIMIT as u64) {
            return;
        }
        std::future::poll_fn(|cx| {
            while matches!(self.state, State::Passing(..)) {
                match self.poll_incoming(cx) {
                    Poll::Ready(Ok(Some(frame))) => self.gathered.push_back(frame),
                    Poll::Ready(Ok(None)) => break,
                    // The client gets what came before it first.
                    Poll::Ready(Err(error)) => {
                        self.failure = Some(error);
                        return Poll::Ready(());
                    }
                    // The client may be long in asking for more.
                    Poll::Pending => {
                        if let State::Passing(_, Some(sink)) = &mut self.state {
                            sink.idle();
                        }
                        return Poll::Ready(());
                    }
                }
            }
            self.poll_finishing(cx)
        })
        .await;
    }

    /// Why the client may not have this response, if that is known before any of it was sent.
    pub(super) fn refusal(&mut self) -> Option<String> {
        self.refused.take()
    }

    /// The next frame from upstream that may pass at once; `None` once all has come.
    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        let State::Passing(ticket, sink) = &mut self.state else {
            return Poll::Ready(Ok(None));
        };
        loop {
            if let Some(sink) = sink {
                if sink.poll_ready(cx).is_pending() {
                    ticket.entry.waits_for_disk();
                    return Poll::Pending;
                }
                ticket.entry.wants_more();
            }
            let frame = match Pin::new(&mut self.source.body).poll_frame(cx) {
                Poll::Ready(frame) => frame.transpose().map_err(BodyError::Upstream)?,
                Poll::Pending => {
                    if let Some(sink) = sink {
                        sink.idle();
                    }
                    return self.poll_idle(cx).map(Err);
                }
            };
            self.timer = None;
            let Some(mut frame) = frame else {
                // hyper takes a reset with NO_ERROR for an end; over HTTP/2 END_STREAM tells.
                if self.source.is_h2() && !self.source.body.is_end_stream() {
                    return Poll::Ready(Err(BodyError::Short));
                }
                self.finish(None);
                return Poll::Ready(Ok(None));
            };
            let Some(data) = frame.data_ref() else {
                let trailers = frame.trailers_ref().cloned();
                frame.trailers_mut().map(headers::trailers);
                self.held.push_back(frame);
                self.finish(trailers);
                return Poll::Ready(Ok(None));
            };
            ticket.add_bytes(data.len());
            if let Some(sink) = sink {
                sink.push(data);
            }
            self.missing = self
                .missing
                .map(|bytes| bytes.saturating_sub(data.len() as u64));
            let complete = self.missing == Some(0);
            if self.source.body.is_end_stream() {
                self.held.push_back(frame);
                self.finish(None);
                return Poll::Ready(Ok(None));
            }
            if !complete {
                return Poll::Ready(Ok(Some(frame)));
            }
            // The length is reached, yet over HTTP/2 trailers or a bare end may follow.
            self.held.push_back(frame);
            ticket.entry.wants_more();
        }
    }

    /// Fails once the upstream was silent for too long though it was its turn.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some(limit) = self.idle else {
            return Poll::Pending;
        };
        let (clock, timer) = (self.clock, &mut self.timer);
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        loop {
            ready!(timer.as_mut().poll(cx));
            // A response may begin before its request has ended, and wait for the rest of it.
            let since = match &self.upload {
                None => return Poll::Ready(BodyError::Idle(limit)),
                Some(upload) => upload.upstreams_turn().unwrap_or_else(|| clock.now()),
            };
            if clock.now() >= since + limit {
                return Poll::Ready(BodyError::Idle(limit));
            }
            timer.as_mut().reset(clock.instant(since + limit));
        }
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) {
        let State::Passing(mut ticket, sink) = std::mem::replace(&mut self.state, State::Over)
        else {
            return;
        };
        ticket.last_byte();
        self.source.note_oddities(trailers.as_ref(), &mut ticket);
        let upload = self.upload.take();
        self.state = State::Finishing(Box::pin(async move {
            let response = match sink {
                Some(sink) => Some(sink.finish().await),
                None => None,
            };
            let request = match upload.as_ref().and_then(Upload::take_sink) {
                Some(sink) => Some(sink.finish().await),
                None => None,
            };
            let bodies = Bodies {
                request,
                response,
                trailers: trailers.as_ref(),
            };
            ticket.end(bodies).await
        }));
    }

    fn poll_finishing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Finishing(finishing) = &mut self.state {
            self.refused = ready!(finishing.as_mut().poll(cx));
            self.state = State::Over;
            self.gathered.append(&mut self.held);
        }
        Poll::Ready(())
    }

    fn break_off(&mut self, error: BodyError) -> BodyError {
        let State::Passing(ticket, _) = std::mem::replace(&mut self.state, State::Over) else {
            return error;
        };
        let (host, bytes) = (ticket.host(), ticket.body_bytes);
        let when = match self.missing {
            Some(missing) => format!(" after {bytes} of {} bytes", bytes + missing),
            None => format!(" after {bytes} bytes"),
        };
        // A client whose upload fails ends the upstream connection, and this body with it.
        let fault = self.upload.as_ref().and_then(Upload::take_fault);
        let why = match (fault, error) {
            (Some(ClientFault { why, .. }), _) | (None, BodyError::Said(why)) => why,
            (None, BodyError::Upstream(error)) => cause::of(&error, host, &when),
            (None, BodyError::Short) => format!("{host} ended the stream with NO_ERROR{when}"),
            (None, BodyError::Idle(limit)) => {
                self.source.upstream.distrust();
                format!("{host} sent nothing for {limit:?}{when}")
            }
        };
        ticket.abort(&why);
        BodyError::Said(why)
    }

    /// Takes what is left of a body that no client gets, so that it is on record and its connection can be used
    /// again. A body of more than `bytes`, or that is not over once there was `enough`, is given up: its
    /// exchange is recorded without a body.
    pub(super) async fn read_rest(
        mut self: Box<Self>,
        bytes: usize,
        enough: impl Future<Output = ()>,
    ) {
        let mut left = bytes;
        let reading = async {
            while let Some(Ok(frame)) = self.frame().await {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                left = match left.checked_sub(bytes) {
                    Some(left) => left,
                    None => return,
                };
            }
        };
        tokio::select! {
            () = reading => {}
            () = enough => {}
        }
        self.give_up();
        std::future::poll_fn(|cx| self.poll_finishing(cx)).await;
    }

    /// Ends the exchange without the body, unless all of that has come.
    fn give_up(&mut self) {
        let State::Passing(mut ticket, _) = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        let bytes = ticket.body_bytes;
        ticket.last_byte();
        ticket.add_note(&format!(
            "the body, which no client gets, is not on record: modtape gave it up after {bytes} bytes"
        ));
        self.state = State::Finishing(Box::pin(ticket.end(Bodies::default())));
    }

    fn yields(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.remaining = self.remaining.map(|left| left.saturating_sub(bytes));
        self.offer();
        Poll::Ready(Some(Ok(frame)))
    }

    /// Adds a note to its exchange, if that goes on.
    pub(super) fn note(&mut self, what: &str) {
        if let State::Passing(ticket, _) = &mut self.state {
            ticket.add_note(what);
        }
    }

    /// It is the client's turn to take what there is.
    pub(super) fn offer(&mut self) {
        let now = self.clock.now();
        self.yielded = Some(now);
        if let State::Passing(ticket, _) = &mut self.state {
            ticket.holds(now);
        }
    }

    /// The client is ready for more, and we have waited for it until now.
    fn resume(&mut self) {
        let Some(yielded) = self.yielded.take() else {
            return;
        };
        if let State::Passing(ticket, _) = &mut self.state {
            ticket.client_wait_us += self.clock.now().micros_since(yielded);
            ticket.entry.wants_more();
            ticket.takes();
        }
    }
}

impl Body for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        this.resume();
        if let Some(frame) = this.gathered.pop_front() {
            return this.yields(frame);
        }
        match ready!(this.poll_incoming(cx)) {
            Ok(Some(frame)) => return this.yields(frame),
            Ok(None) => {}
            // A reset takes with it what hyper holds of this stream: the connection goes first.
            Err(error) if !std::mem::replace(&mut this.is_flushed, true) => {
                this.failure = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Err(error) => return Poll::Ready(Some(Err(this.break_off(error)))),
        }
        ready!(this.poll_finishing(cx));
        if let Some(why) = this.refused.take() {
            this.gathered.clear();
            return Poll::Ready(Some(Err(BodyError::Said(why))));
        }
        match this.gathered.pop_front() {
            Some(frame) => this.yields(frame),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Over) && self.gathered.is_empty() && self.refused.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The body of a response on the client leg.
pub(super) enum Outgoing {
    /// Known whole.
    Whole(Full<Bytes>),
    /// From upstream, recorded while it passes.
    Recorded(Box<Recorded>),
    /// From a recording.
    Played(Played),
    /// No body, and a head with the Content-Length of the one that is left out.
    LeftOut(u64),
}

/// Lets the client see the Content-Length of a 304 or 204 over HTTP/1, which hyper drops where it
/// knows the body to be empty.
pub(super) fn with_content_length(mut response: Response<Outgoing>) -> Response<Outgoing> {
    let is_bodyless = matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if is_bodyless && response.version() == Version::HTTP_11 && response.body().is_end_stream() {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        if let Some(length) = length {
            *response.body_mut() = Outgoing::LeftOut(length);
        }
    }
    response
}

/// Why a response stops on the way: the client leg is reset.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutgoingError {
    #[error(transparent)]
    Recorded(#[from] BodyError),
    #[error(transparent)]
    Played(#[from] PlayError),
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = OutgoingError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        match self.get_mut() {
            Self::Whole(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                frame.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Self::Recorded(body) => Pin::new(&mut **body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            Self::Played(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            Self::LeftOut(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Recorded(body) => body.is_end_stream(),
            Self::Played(body) => body.is_end_stream(),
            Self::LeftOut(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Recorded(body) => body.size_hint(),
            Self::Played(body) => body.size_hint(),
            Self::LeftOut(length) => SizeHint::with_exact(*length),
        }
    }
}
