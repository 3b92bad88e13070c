//! A request body on its way upstream: recorded while it passes, and given a time to arrive in.
//!
//! Its beginning is held until there is an answer: if the upstream did not process the request, the
//! whole body goes to another connection.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::cause;
use super::headers;
use super::io::{Marks, Slot};
use super::live::UploadEntry;
use crate::clock::Timestamp;
use crate::recording::BodySink;
use crate::telemetry::metrics::{Direction, Metrics};

/// What a client did wrong in its request, and the status that says so.
#[derive(Debug)]
pub(super) struct ClientFault {
    pub(super) status: StatusCode,
    pub(super) why: String,
}

/// Why a request body did not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestBodyError {
    #[error("the client sent no more of its request body for {0:?}")]
    Idle(Duration),
    #[error("the client ended its stream with NO_ERROR before the end of its request body")]
    Short,
    #[error("{0}")]
    Broken(String),
    #[error("the request was answered without its body")]
    Unwanted,
    #[error("the request is sent again on another connection")]
    Moved,
}

/// How much of a body is held in case that the upstream does not process the request, bytes: the
/// initial window of HTTP/2, in which a body is sent before the upstream's first WINDOW_UPDATE (RFC
/// 9113 section 6.9.2).
const HELD: usize = 65_535;

impl RequestBodyError {
    fn broken(error: &hyper::Error) -> Self {
        let when = " before the end of its request body";
        Self::Broken(cause::of(error, "the client", when))
    }

    /// RFC 9110 sections 15.5.1 and 15.5.9.
    fn fault(&self) -> ClientFault {
        let status = match self {
            Self::Idle(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Short | Self::Broken(_) | Self::Unwanted | Self::Moved => StatusCode::BAD_REQUEST,
        };
        let why = self.to_string();
        ClientFault { status, why }
    }
}

/// Reads a request body to its end; what it gives is empty if that is longer than `keep`, bytes.
pub(super) async fn read(
    incoming: Incoming,
    is_h2: bool,
    limit: Duration,
    keep: u64,
) -> Result<Bytes, ClientFault> {
    let read = read_to_end(incoming, is_h2, limit, keep).await;
    read.map_err(|error| error.fault())
}

async fn read_to_end(
    mut incoming: Incoming,
    is_h2: bool,
    limit: Duration,
    keep: u64,
) -> Result<Bytes, RequestBodyError> {
    let mut kept = BytesMut::new();
    let mut length = 0;
    while !incoming.is_end_stream() {
        let frame = tokio::time::timeout(limit, incoming.frame()).await;
        match frame.map_err(|_| RequestBodyError::Idle(limit))? {
            None if is_h2 && !incoming.is_end_stream() => return Err(RequestBodyError::Short),
            None => break,
            Some(Err(error)) => return Err(RequestBodyError::broken(&error)),
            Some(Ok(frame)) => {
                let data = frame.data_ref().map_or(&[][..], |data| data);
                length += data.len() as u64;
                if length <= keep {
                    kept.extend_from_slice(data);
                }
            }
        }
    }
    Ok(if length <= keep {
        kept.freeze()
    } else {
        Bytes::new()
    })
}

/// What the handler and the attempts to send a request share of its body.
struct State {
    incoming: Option<Incoming>,
    is_h2: bool,
    /// The attempt that may read it.
    attempt: u32,
    /// The data that was sent upstream; `None` if it is too much to be held, or there is a response.
    held: Option<Vec<Bytes>>,
    sink: Option<BodySink>,
    whole: bool,
    sent: Option<Arc<Slot>>,
    expectation: Expectation,
    /// Since when the upstream takes no more of it; `None` while the client, or our disk, keeps us
    /// waiting.
    offered: Option<Timestamp>,
    /// Why it did not pass, if that is the client's fault.
    fault: Option<ClientFault>,
}

/// What became of `Expect: 100-continue` over HTTP/1.1: hyper sends the client a 100 (Continue) as
/// soon as its body is read, so nothing reads it until the upstream has sent one.
#[derive(Default)]
enum Expectation {
    /// There is none, or the body may pass.
    #[default]
    None,
    Waits(Option<Waker>),
    /// The final response came first, and the body never passes. The receiver is ready when the
    /// exchange is over: the connection, on which the body is still owed, ends with it.
    Answered(oneshot::Receiver<()>),
}

impl State {
    fn fail(
        &mut self,
        error: RequestBodyError,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        self.fault = Some(error.fault());
        Poll::Ready(Some(Err(error)))
    }
}

/// A request body as the handler sees it while it passes; clones are the same.
#[derive(Clone)]
pub(super) struct Upload(Arc<Mutex<State>>);

impl Upload {
    /// The upstream has sent 100 (Continue): a body that waited for it passes now.
    pub(super) fn go_on(&self) {
        let before = std::mem::take(&mut self.lock().expectation);
        if let Expectation::Waits(Some(waker)) = before {
            waker.wake();
        }
    }

    /// The final response came: a body that still waits for 100 (Continue) never passes. The sender
    /// is to be dropped when the exchange is over.
    pub(super) fn withhold(&self) -> Option<oneshot::Sender<()>> {
        let mut state = self.lock();
        let Expectation::Waits(waker) = &mut state.expectation else {
            return None;
        };
        let waker = waker.take();
        let (exchange, over) = oneshot::channel();
        state.expectation = Expectation::Answered(over);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Some(exchange)
    }

    /// True if all that was read of the body can be sent to another upstream.
    pub(super) fn is_held(&self) -> bool {
        let state = self.lock();
        state.held.is_some() && state.fault.is_none()
    }

    /// The sink of a body that passed whole.
    pub(super) fn take_sink(&self) -> Option<BodySink> {
        let mut state = self.lock();
        if state.whole { state.sink.take() } else { None }
    }

    /// What the client did wrong, if that is what ended the request. Over HTTP/2, hyper's error does not
    /// tell it from a fault of the upstream.
    pub(super) fn take_fault(&self) -> Option<ClientFault> {
        self.lock().fault.take()
    }

    /// Since when we wait for the upstream: all of the body was sent, or the upstream takes no more of
    /// it. `None` while we wait for the client.
    pub(super) fn upstreams_turn(&self) -> Option<Timestamp> {
        let state = self.lock();
        let sent = state.sent.as_ref().and_then(|slot| slot.stamp());
        sent.or(state.offered)
    }

    /// There is a response, so that nothing is held any longer. Returns when the end of the body was
    /// sent, if it was.
    pub(super) fn answered(&self) -> Option<Arc<Slot>> {
        let mut state = self.lock();
        state.held = None;
        state.sent.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the progress of a request body is noted, and how long the client may pause.
pub(super) struct Progress {
    pub(super) marks: Arc<Marks>,
    pub(super) entry: UploadEntry,
    pub(super) idle: Duration,
    /// Counts the bytes that pass.
    pub(super) metrics: Option<Metrics>,
}

/// A request body, or none.
pub(super) enum RequestBody {
    Empty,
    Passing(Box<Passing>),
}

pub(super) struct Passing {
    upload: Upload,
    attempt: u32,
    /// What an earlier attempt has read of the body.
    resent: VecDeque<Bytes>,
    progress: Progress,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the body passes without a 100 (Continue) of the upstream.
    continue_timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    pub(super) fn new(
        incoming: Incoming,
        is_h2: bool,
        sink: Option<BodySink>,
        progress: Progress,
    ) -> (Self, Upload) {
        let upload = Upload(Arc::new(Mutex::new(State {
            incoming: Some(incoming),
            is_h2,
            attempt: 0,
            held: Some(Vec::new()),
            sink,
            whole: false,
            sent: None,
            expectation: Expectation::None,
            offered: Some(progress.marks.now()),
            fault: None,
        })));
        let passing = Passing {
            upload: upload.clone(),
            attempt: 0,
            resent: VecDeque::new(),
            progress,
            timer: None,
            continue_timer: None,
        };
        (Self::Passing(Box::new(passing)), upload)
    }

    /// The same body from its start, for another upstream connection, if it [is held](Upload::is_held).
    pub(super) fn resend(upload: &Upload, progress: Progress) -> Self {
        let mut state = upload.lock();
        state.attempt += 1;
        state.sent = None;
        state.offered = Some(progress.marks.now());
        let passing = Passing {
            upload: upload.clone(),
            attempt: state.attempt,
            resent: state.held.iter().flatten().cloned().collect(),
            progress,
            timer: None,
            continue_timer: None,
        };
        Self::Passing(Box::new(passing))
    }

    /// Holds the body back until the upstream has sent a 100 (Continue), for `limit` at most.
    pub(super) fn expecting(mut self, limit: Duration) -> Self {
        if let Self::Passing(passing) = &mut self {
            passing.continue_timer = Some(Box::pin(tokio::time::sleep(limit)));
            passing.upload.lock().expectation = Expectation::Waits(None);
        }
        self
    }

    /// The upload, if it waits for a 100 (Continue).
    pub(super) fn awaiting_continue(&self) -> Option<Upload> {
        match self {
            Self::Passing(passing) if passing.continue_timer.is_some() => {
                Some(passing.upload.clone())
            }
            _ => None,
        }
    }
}

impl Passing {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let mut state = self.upload.lock();
        let state = &mut *state;
        if state.attempt != self.attempt {
            return Poll::Ready(Some(Err(RequestBodyError::Moved)));
        }
        match &mut state.expectation {
            Expectation::None => {}
            Expectation::Waits(waker) => {
                if let Some(continue_timer) = &mut self.continue_timer
                    && continue_timer.as_mut().poll(cx).is_pending()
                {
                    *waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                state.expectation = Expectation::None;
            }
            Expectation::Answered(over) => {
                // Dropped, so that hyper reads no more of it.
                state.incoming = None;
                let _ = ready!(Pin::new(over).poll(cx));
                return Poll::Ready(Some(Err(RequestBodyError::Unwanted)));
            }
        }
        if let Some(data) = self.resent.pop_front() {
            if self.resent.is_empty() && state.whole {
                state.sent = Some(self.progress.marks.next_write());
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(incoming) = &mut state.incoming else {
            return Poll::Ready(None);
        };
        if let Some(sink) = &mut state.sink
            && sink.poll_ready(cx).is_pending()
        {
            state.offered = None;
            self.progress.entry.pauses();
            return Poll::Pending;
        }
        let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
            if let Some(sink) = &mut state.sink {
                sink.idle();
            }
            state.offered = None;
            self.progress.entry.pauses();
            let limit = self.progress.idle;
            let timer = &mut self.timer;
            ready!(
                timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)))
                    .as_mut()
                    .poll(cx)
            );
            return state.fail(RequestBodyError::Idle(limit));
        };
        self.timer = None;
        self.progress.entry.passes();
        state.offered = Some(self.progress.marks.now());
        let frame = match frame {
            // A reset with NO_ERROR looks like an end; only END_STREAM tells them apart.
            None if state.is_h2 && !incoming.is_end_stream() => {
                return state.fail(RequestBodyError::Short);
            }
            None => None,
            Some(Ok(mut frame)) => {
                frame.trailers_mut().map(headers::trailers);
                Some(frame)
            }
            Some(Err(error)) => {
                return state.fail(RequestBodyError::broken(&error));
            }
        };
        if let Some(frame) = &frame {
            hold(&mut state.held, frame);
            if let (Some(metrics), Some(data)) = (&self.progress.metrics, frame.data_ref()) {
                metrics.passed(Direction::Request, data.len() as u64);
            }
        }
        if let (Some(data), Some(sink)) =
            (frame.as_ref().and_then(Frame::data_ref), &mut state.sink)
        {
            sink.push(data);
        }
        if frame.is_none() || incoming.is_end_stream() {
            state.whole = true;
            if let Some(sink) = &mut state.sink {
                sink.idle();
            }
            state
                .sent
                .get_or_insert_with(|| self.progress.marks.next_write());
        }
        Poll::Ready(frame.map(Ok))
    }
}

/// Adds to `held` what is given to an upstream, and gives up holding where that is too much, or
/// trailers.
fn hold(held: &mut Option<Vec<Bytes>>, frame: &Frame<Bytes>) {
    let Some(parts) = held else { return };
    match frame.data_ref() {
        Some(data) if parts.iter().map(Bytes::len).sum::<usize>() + data.len() <= HELD => {
            parts.push(data.clone());
        }
        _ => *held = None,
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Passing(passing) => passing.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Passing(passing) => {
                let state = passing.upload.lock();
                let is_read = state.incoming.as_ref().is_none_or(Body::is_end_stream);
                passing.resent.is_empty() && is_read
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Passing(passing) => {
                let resent: usize = passing.resent.iter().map(Bytes::len).sum();
                let state = passing.upload.lock();
                let rest = state.incoming.as_ref().map(Body::size_hint);
                let whole = rest.and_then(|rest| Some(rest.exact()? + resent as u64));
                whole.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}
