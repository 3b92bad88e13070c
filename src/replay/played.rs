//! A recorded body on its way to the client.

use std::io::{self, BufReader, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::ledger::Account;
use crate::coding::gunzip;
use crate::recording::reader::BodyReader;

/// Bytes of one frame.
const FRAME_BYTES: usize = 64 * 1024;

/// What a recorded body can turn out to be half-way: the client leg is reset then.
#[derive(Debug, thiserror::Error)]
#[error("the recorded body is damaged")]
pub(crate) struct PlayError(#[from] io::Error);

/// A recorded body on its way to the client.
pub(crate) struct Played {
    source: Option<Box<dyn Read + Send + Sync>>,
    left: Option<u64>,
    trailers: Option<HeaderMap>,
    /// Where to report that the body turns out to be damaged.
    account: Option<Account>,
}

impl Played {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self {
            source: None,
            left: Some(0),
            trailers: None,
            account: None,
        }
    }

    /// The bytes as they are, or only the first `cut` of them.
    pub(crate) fn new(reader: BodyReader, bytes: u64, cut: Option<u64>) -> Self {
        let left = cut.map_or(bytes, |cut| cut.min(bytes));
        Self {
            source: Some(Box::new(reader.take(left))),
            left: Some(left),
            trailers: None,
            account: None,
        }
    }

    /// All that `source` gives, so many bytes.
    pub(crate) fn of(source: impl Read + Send + Sync + 'static, bytes: u64) -> Self {
        Self {
            source: Some(Box::new(source)),
            left: Some(bytes),
            trailers: None,
            account: None,
        }
    }

    /// Decoded, for a client that does not accept gzip, or to be cut.
    pub(crate) fn decoded(reader: BodyReader, cut: Option<u64>) -> Self {
        // No more than a frame of it is held, and the client says when it has enough.
        let decoder = gunzip(BufReader::new(reader), u64::MAX);
        Self {
            source: Some(Box::new(decoder.take(cut.unwrap_or(u64::MAX)))),
            left: None,
            trailers: None,
            account: None,
        }
    }

    /// With trailers after the last byte.
    pub(crate) fn with_trailers(mut self, trailers: HeaderMap) -> Self {
        if !trailers.is_empty() {
            // Over HTTP/1 they need chunks, which hyper makes of a body of unknown length.
            (self.trailers, self.left) = (Some(trailers), None);
        }
        self
    }

    /// Reports to `account` if the body turns out to be damaged.
    pub(crate) fn on(mut self, account: Account) -> Self {
        self.account = Some(account);
        self
    }
}

impl Body for Played {
    type Data = Bytes;
    type Error = PlayError;

    // The file is read right here: it is in the page cache or nearly so, and a read of 64 KiB
    // costs less than handing it to another thread and back.
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PlayError>>> {
        let this = self.get_mut();
        if let Some(source) = &mut this.source {
            let mut frame = Vec::with_capacity(FRAME_BYTES);
            let read = source
                .by_ref()
                .take(FRAME_BYTES as u64)
                .read_to_end(&mut frame);
            match read {
                Err(error) => {
                    this.source = None;
                    let error = PlayError(error);
                    if let Some(account) = this.account.take() {
                        account.broke_off(format!("{error}: {}", error.0));
                    }
                    return Poll::Ready(Some(Err(error)));
                }
                Ok(0) => this.source = None,
                Ok(bytes) => {
                    this.left = this.left.map(|left| left.saturating_sub(bytes as u64));
                    if this.left == Some(0) {
                        this.source = None;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(frame.into()))));
                }
            }
        }
        Poll::Ready(
            this.trailers
                .take()
                .map(|trailers| Ok(Frame::trailers(trailers))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
