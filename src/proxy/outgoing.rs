//! The body of a response on the client leg, whoever made it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Recorded(body) => body.is_end_stream(),
            Self::Played(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Recorded(body) => body.size_hint(),
            Self::Played(body) => body.size_hint(),
        }
    }
}
