//! A request body on its way upstream: kept while it passes, and given a time to arrive in.
//!
//! Its beginning is held until there is an answer: an upstream that did not process the request may
//! be followed by another one, which gets all of the body.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::cause;
use super::headers;
use super::io::{Marks, Slot};
use super::live::Upload;
use crate::clock::Timestamp;
use crate::recording::BodySink;

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
    #[error("the request is asked again on another connection")]
    Moved,
}

/// How much of a body is held for an upstream that did not process the request, bytes: what goes
/// with it before the upstream has said how much it takes (RFC 9113 section 6.9.2).
const HELD: usize = 65_535;

impl RequestBodyError {
    fn broken(error: &hyper::Error) -> Self {
        let when = " before the end of its request body";
        Self::Broken(cause::of(error, "the client", when))
    }

    /// RFC 9110 sections 15.5.1 and 15.5.9.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Idle(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Short | Self::Broken(_) | Self::Unwanted | Self::Moved => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads a request body that nobody wants to its end.
pub(super) async fn drain(
    mut incoming: Incoming,
    is_h2: bool,
    limit: Duration,
) -> Result<(), RequestBodyError> {
    while !incoming.is_end_stream() {
        let frame = tokio::time::timeout(limit, incoming.frame()).await;
        match frame.map_err(|_| RequestBodyError::Idle(limit))? {
            None if is_h2 && !incoming.is_end_stream() => return Err(RequestBodyError::Short),
            None => break,
            Some(Err(error)) => return Err(RequestBodyError::broken(&error)),
            Some(Ok(_)) => {}
        }
    }
    Ok(())
}

/// What the handler keeps of a request body that passes.
pub(super) struct Kept {
    incoming: Option<Incoming>,
    is_h2: bool,
    /// The attempt that may read it.
    attempt: u32,
    /// What an upstream was given; `None` if that is too much to be held, or there is an answer.
    held: Option<Vec<Bytes>>,
    sink: Option<BodySink>,
    whole: bool,
    sent: Option<Arc<Slot>>,
    expectation: Expectation,
    /// Since when the upstream takes no more of it; `None` while the client, or our disk, keeps us
    /// waiting.
    offered: Option<Timestamp>,
    /// Why it did not pass, if that was the client's doing.
    fault: Option<(StatusCode, String)>,
}

/// What became of `Expect: 100-continue` over HTTP/1.1: hyper sends the client a 100 (Continue) as
/// soon as its body is asked for, so that is put off until the upstream has sent one.
#[derive(Default)]
enum Expectation {
    /// There is none, or the body may pass.
    #[default]
    None,
    Waits(Option<Waker>),
    /// The final answer came first, and the body never passes. The exchange is over when that is
    /// ready: the connection, on which a body is still owed, ends with it.
    Answered(oneshot::Receiver<()>),
}

impl Kept {
    fn fail(
        &mut self,
        error: RequestBodyError,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        self.fault = Some((error.status(), error.to_string()));
        Poll::Ready(Some(Err(error)))
    }
}

/// Shared with the handler, which asks for it when the exchange ends.
pub(super) type SharedKept = Arc<Mutex<Kept>>;

/// A request body, or none.
pub(super) enum RequestBody {
    Empty,
    Passing(Box<Passing>),
}

pub(super) struct Passing {
    kept: SharedKept,
    attempt: u32,
    /// What an earlier attempt has read.
    again: VecDeque<Bytes>,
    marks: Arc<Marks>,
    upload: Upload,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the body passes though nobody has said 100 (Continue).
    patience: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    pub(super) fn passing(
        (incoming, is_h2): (Incoming, bool),
        sink: Option<BodySink>,
        (marks, upload): (Arc<Marks>, Upload),
        limit: Duration,
    ) -> (Self, SharedKept) {
        let kept = Arc::new(Mutex::new(Kept {
            incoming: Some(incoming),
            is_h2,
            attempt: 0,
            held: Some(Vec::new()),
            sink,
            whole: false,
            sent: None,
            expectation: Expectation::None,
            offered: Some(marks.now()),
            fault: None,
        }));
        let passing = Passing {
            kept: Arc::clone(&kept),
            attempt: 0,
            again: VecDeque::new(),
            marks,
            upload,
            limit,
            timer: None,
            patience: None,
        };
        (Self::Passing(Box::new(passing)), kept)
    }

    /// All of the same body for another upstream; only where [`is_held`].
    pub(super) fn again(
        shared: &SharedKept,
        (marks, upload): (Arc<Marks>, Upload),
        limit: Duration,
    ) -> Self {
        let mut kept = lock(shared);
        kept.attempt += 1;
        kept.sent = None;
        kept.offered = Some(marks.now());
        let passing = Passing {
            kept: Arc::clone(shared),
            attempt: kept.attempt,
            again: kept.held.iter().flatten().cloned().collect(),
            marks,
            upload,
            limit,
            timer: None,
            patience: None,
        };
        Self::Passing(Box::new(passing))
    }

    /// Puts the body off until the upstream has sent a 100 (Continue), so long at most.
    pub(super) fn expecting(mut self, limit: Duration) -> Self {
        if let Self::Passing(passing) = &mut self {
            passing.patience = Some(Box::pin(tokio::time::sleep(limit)));
            lock(&passing.kept).expectation = Expectation::Waits(None);
        }
        self
    }

    /// What to tell of an informational response, if this waits for one.
    pub(super) fn expects(&self) -> Option<SharedKept> {
        match self {
            Self::Passing(passing) if passing.patience.is_some() => Some(Arc::clone(&passing.kept)),
            _ => None,
        }
    }
}

/// The upstream wants the body that it was asked about.
pub(super) fn goes_on(kept: &SharedKept) {
    let before = std::mem::take(&mut lock(kept).expectation);
    if let Expectation::Waits(Some(waker)) = before {
        waker.wake();
    }
}

/// The final answer came: where the body was still put off, it never passes. What is returned then
/// is to be dropped when the exchange is over.
pub(super) fn is_answered(kept: &SharedKept) -> Option<oneshot::Sender<()>> {
    let mut kept = lock(kept);
    let Expectation::Waits(waker) = &mut kept.expectation else {
        return None;
    };
    let waker = waker.take();
    let (exchange, over) = oneshot::channel();
    kept.expectation = Expectation::Answered(over);
    drop(kept);
    waker.into_iter().for_each(Waker::wake);
    Some(exchange)
}

/// True if all that was read of a body can be given to another upstream.
pub(super) fn is_held(kept: &SharedKept) -> bool {
    let kept = lock(kept);
    kept.held.is_some() && kept.fault.is_none()
}

/// The sink of a body that passed whole.
pub(super) fn take_whole(kept: &SharedKept) -> Option<BodySink> {
    let mut kept = lock(kept);
    if kept.whole { kept.sink.take() } else { None }
}

fn lock(kept: &SharedKept) -> std::sync::MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Passing {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let mut kept = lock(&self.kept);
        let kept = &mut *kept;
        if kept.attempt != self.attempt {
            return Poll::Ready(Some(Err(RequestBodyError::Moved)));
        }
        match &mut kept.expectation {
            Expectation::None => {}
            Expectation::Waits(waker) => {
                if let Some(patience) = &mut self.patience
                    && patience.as_mut().poll(cx).is_pending()
                {
                    *waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                kept.expectation = Expectation::None;
            }
            Expectation::Answered(over) => {
                // hyper reads no more of what nobody will ask for.
                kept.incoming = None;
                let _ = ready!(Pin::new(over).poll(cx));
                return Poll::Ready(Some(Err(RequestBodyError::Unwanted)));
            }
        }
        if let Some(data) = self.again.pop_front() {
            if self.again.is_empty() && kept.whole {
                kept.sent = Some(self.marks.next_write());
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(incoming) = &mut kept.incoming else {
            return Poll::Ready(None);
        };
        if let Some(sink) = &mut kept.sink
            && sink.poll_ready(cx).is_pending()
        {
            kept.offered = None;
            self.upload.is_held();
            return Poll::Pending;
        }
        let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
            if let Some(sink) = &mut kept.sink {
                sink.idle();
            }
            kept.offered = None;
            self.upload.is_held();
            let limit = self.limit;
            let timer = &mut self.timer;
            ready!(
                timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)))
                    .as_mut()
                    .poll(cx)
            );
            return kept.fail(RequestBodyError::Idle(self.limit));
        };
        self.timer = None;
        self.upload.passes();
        kept.offered = Some(self.marks.now());
        let frame = match frame {
            // A reset with NO_ERROR looks like an end, and over HTTP/2 END_STREAM tells them apart.
            None if kept.is_h2 && !incoming.is_end_stream() => {
                return kept.fail(RequestBodyError::Short);
            }
            None => None,
            Some(Ok(mut frame)) => {
                frame.trailers_mut().map(headers::trailers);
                Some(frame)
            }
            Some(Err(error)) => {
                return kept.fail(RequestBodyError::broken(&error));
            }
        };
        if let Some(frame) = &frame {
            hold(&mut kept.held, frame);
        }
        if let (Some(data), Some(sink)) = (frame.as_ref().and_then(Frame::data_ref), &mut kept.sink)
        {
            sink.push(data);
        }
        if frame.is_none() || incoming.is_end_stream() {
            kept.whole = true;
            if let Some(sink) = &mut kept.sink {
                sink.idle();
            }
            kept.sent.get_or_insert_with(|| self.marks.next_write());
        }
        Poll::Ready(frame.map(Ok))
    }
}

/// Holds what is given to an upstream, if it is not too much; of trailers nothing.
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
                let kept = lock(&passing.kept);
                let is_read = kept.incoming.as_ref().is_none_or(Body::is_end_stream);
                passing.again.is_empty() && is_read
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Passing(passing) => {
                let again: usize = passing.again.iter().map(Bytes::len).sum();
                let kept = lock(&passing.kept);
                let rest = kept.incoming.as_ref().map(Body::size_hint);
                let whole = rest.and_then(|rest| Some(rest.exact()? + again as u64));
                whole.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

/// What the client did, if that is what ended a request, and the status that says so: the upstream
/// is not to blame. Asked here, for over HTTP/2 hyper's error does not say it.
pub(super) fn clients_fault(kept: &SharedKept) -> Option<(StatusCode, String)> {
    lock(kept).fault.take()
}

/// Since when it is the upstream's turn: all of the body left, or it takes no more of what there is.
/// `None` while the client keeps us waiting.
pub(super) fn upstreams_turn(kept: &SharedKept) -> Option<Timestamp> {
    let kept = lock(kept);
    let sent = kept.sent.as_ref().and_then(|slot| slot.stamp());
    sent.or(kept.offered)
}

/// There is an answer: when the last of a request body left, if it has.
pub(super) fn sent(kept: &SharedKept) -> Option<Arc<Slot>> {
    let mut kept = lock(kept);
    kept.held = None;
    kept.sent.clone()
}
