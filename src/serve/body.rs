//! The bodies that clients get.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio_util::sync::ReusableBoxFuture;

use super::chunk;
use super::fetch::Flight;
use super::reads::BODIES;
use super::server::Server;

/// Chunks that wait for a client.
const AHEAD: usize = 1;

/// A body.
#[derive(Debug)]
pub(super) enum Sent {
    Bytes(Option<Bytes>),
    Part(Part),
    /// Chunks, and how many bytes are still to come, where that is known.
    Chunks(mpsc::Receiver<io::Result<Bytes>>, Option<u64>),
}

/// A part of a file, which is whole.
#[derive(Debug)]
pub(super) struct Part {
    file: Arc<File>,
    /// The next byte to send, and the one behind the last.
    next: u64,
    end: u64,
    /// What the page cache did not have is read on a thread where it holds nobody up.
    reading: Option<ReusableBoxFuture<'static, io::Result<Bytes>>>,
}

impl Sent {
    pub(super) fn bytes(bytes: Bytes) -> Self {
        Self::Bytes(Some(bytes).filter(|it| !it.is_empty()))
    }

    /// A part of a file, which is there.
    pub(super) fn file(file: Arc<File>, from: u64, bytes: u64) -> Self {
        Self::Part(Part {
            file,
            next: from,
            end: from + bytes,
            reading: None,
        })
    }

    /// A file that grows, as it does.
    pub(super) fn growing(server: &Server, flight: Arc<Flight>, length: Option<u64>) -> Self {
        let (send, chunks) = mpsc::channel(AHEAD);
        server.spawn(async move { follow(&send, &flight).await });
        Self::Chunks(chunks, length)
    }
}

impl Part {
    fn left(&self) -> u64 {
        self.end - self.next
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let read = match &mut self.reading {
            None => match chunk::cached(&self.file, self.next, self.left()) {
                Some(chunk) => Ok(chunk),
                None => {
                    let (file, at, most) = (Arc::clone(&self.file), self.next, self.left());
                    let reading = BODIES.run(move || chunk::read(&file, at, most));
                    self.reading = Some(ReusableBoxFuture::new(reading));
                    return self.poll_chunk(cx);
                }
            },
            Some(reading) => {
                let read = ready!(reading.poll(cx));
                self.reading = None;
                read
            }
        };
        match &read {
            Ok(chunk) => self.next += chunk.len() as u64,
            Err(_) => self.next = self.end,
        }
        Poll::Ready(Some(read))
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
        let read = match chunk::cached(file, from, until - from) {
            Some(chunk) => Ok(chunk),
            None => {
                let file = Arc::clone(file);
                BODIES
                    .run(move || chunk::read(&file, from, until - from))
                    .await
            }
        };
        let bytes = read.as_ref().map(|chunk| chunk.len() as u64).ok();
        place.send(read);
        from += bytes?;
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
            Self::Part(part) => ready!(part.poll_chunk(cx)),
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
            Self::Part(part) => part.left() == 0,
            Self::Chunks(_, left) => *left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |it| it.len() as u64))
            }
            Self::Part(part) => SizeHint::with_exact(part.left()),
            Self::Chunks(_, Some(left)) => SizeHint::with_exact(*left),
            Self::Chunks(_, None) => SizeHint::default(),
        }
    }
}
