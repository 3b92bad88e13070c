//! The body of a response on the client leg, whoever made it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::body::{BodyError, Recorded};
use crate::replay::{PlayError, Played};

/// The body of a response on the client leg.
pub(super) enum Outgoing {
    /// Known whole.
    Whole(Full<Bytes>),
    /// From upstream, recorded while it passes.
    Recorded(Box<Recorded>),
    /// From a recording.
    Played(Played),
    /// None, and the head tells the length of what there would be.
    Told(u64),
}

/// Lets the client see the length that a 304 or 204 over HTTP/1 tells of: hyper leaves it out where
/// a body is known to be empty.
pub(super) fn with_told_length(mut response: Response<Outgoing>) -> Response<Outgoing> {
    let is_bodyless = matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if is_bodyless && response.version() == Version::HTTP_11 && response.body().is_end_stream() {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        if let Some(length) = length {
            *response.body_mut() = Outgoing::Told(length);
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
            Self::Told(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Recorded(body) => body.is_end_stream(),
            Self::Played(body) => body.is_end_stream(),
            Self::Told(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Recorded(body) => body.size_hint(),
            Self::Played(body) => body.size_hint(),
            Self::Told(length) => SizeHint::with_exact(*length),
        }
    }
}
