//! The bodies that clients get.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::fetch::Flight;
use super::server::Server;

/// Bytes that are read of a file at once.
const CHUNK: u64 = 256 << 10;

/// Chunks that wait for a client.
const AHEAD: usize = 1;

/// A body.
#[derive(Debug)]
pub(super) enum Sent {
    Bytes(Option<Bytes>),
    /// Chunks, and how many bytes are still to come, where that is known.
    Chunks(mpsc::Receiver<io::Result<Bytes>>, Option<u64>),
}

impl Sent {
    pub(super) fn bytes(bytes: Bytes) -> Self {
        Self::Bytes(Some(bytes).filter(|it| !it.is_empty()))
    }

    /// A part of a file, which is there.
    pub(super) fn file(server: &Server, file: Arc<File>, from: u64, bytes: u64) -> Self {
        let (send, chunks) = mpsc::channel(AHEAD);
        server.spawn(async move {
            let _ = send_part(&send, &file, from, from + bytes).await;
        });
        Self::Chunks(chunks, Some(bytes))
    }

    /// A file that grows, as it does.
    pub(super) fn growing(server: &Server, flight: Arc<Flight>, length: Option<u64>) -> Self {
        let (send, chunks) = mpsc::channel(AHEAD);
        server.spawn(async move { follow(&send, &flight).await });
        Self::Chunks(chunks, length)
    }
}

/// Sends what is released, until there is no more, or the client has left.
async fn follow(send: &mpsc::Sender<io::Result<Bytes>>, flight: &Flight) -> Option<()> {
    let mut state = flight.state();
    let mut sent = 0;
    loop {
        let now = tokio::select! {
            now = state.wait_for(|state| state.released > sent || state.end.is_some()) => now.ok()?.clone(),
            () = send.closed() => return None,
        };
        let until = match &now.end {
            None => now.released,
            Some(Ok(answer)) => answer.bytes(),
            Some(Err(failure)) => {
                let _ = send.send(Err(io::Error::other(failure.text()))).await;
                return None;
            }
        };
        // It may be another one by now, with the same bytes.
        let file = &now.growing.as_ref()?.file;
        send_part(send, file, sent, until).await?;
        sent = until;
        if now.end.is_some() {
            return Some(());
        }
    }
}

/// Sends a part of a file; `None` if the client has left or the file cannot be read.
async fn send_part(
    send: &mpsc::Sender<io::Result<Bytes>>,
    file: &Arc<File>,
    mut from: u64,
    until: u64,
) -> Option<()> {
    while from < until {
        let place = send.reserve().await.ok()?;
        let (file, bytes) = (Arc::clone(file), CHUNK.min(until - from));
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = BytesMut::zeroed(usize::try_from(bytes).map_err(io::Error::other)?);
            file.read_exact_at(&mut chunk, from)?;
            Ok(chunk.freeze())
        });
        let read = read.await.map_err(io::Error::other).and_then(|read| read);
        let is_read = read.is_ok();
        place.send(read);
        from += bytes;
        if !is_read {
            return None;
        }
    }
    Some(())
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = match self.get_mut() {
            Self::Bytes(bytes) => bytes.take().map(Ok),
            Self::Chunks(chunks, left) => {
                let next = ready!(chunks.poll_recv(cx));
                match (&next, left) {
                    (Some(Ok(chunk)), Some(left)) => {
                        *left = left.saturating_sub(chunk.len() as u64)
                    }
                    // Whoever reads the file has ended before it.
                    (None, Some(1..)) => {
                        let why = "the body ended before its end";
                        return Poll::Ready(Some(Err(io::Error::other(why))));
                    }
                    _ => {}
                }
                next
            }
        };
        Poll::Ready(next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_none(),
            Self::Chunks(_, left) => *left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |it| it.len() as u64))
            }
            Self::Chunks(_, Some(left)) => SizeHint::with_exact(*left),
            Self::Chunks(_, None) => SizeHint::default(),
        }
    }
}
