//! What holds for whatever a client says first: for fuzz targets and their twins in the tests.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

pub use super::guard::check::requests;
use super::session::opening::{ConnectHead, Opening, OpeningError, read, read_hello};
use crate::exchange::Target;

/// A CONNECT head and its target: one reading, however the bytes arrive; what follows the head is
/// kept, and a target is written back as the same target.
pub fn connect_head(bytes: &[u8]) {
    let [whole, pieces] =
        [bytes.len().max(1), 1].map(|size| told(now(read(&mut Pieces { bytes, size }))));
    assert_eq!(whole, pieces);
    if let Ok(text) = std::str::from_utf8(bytes) {
        target(text);
    }
    let words = bytes.split(|byte| byte.is_ascii_whitespace());
    words
        .filter_map(|word| std::str::from_utf8(word).ok())
        .for_each(target);
    let mut unread = bytes;
    if let Ok(Opening::Connect(ConnectHead { rest, .. })) = now(read(&mut unread)) {
        let read = &bytes[..bytes.len() - unread.len()];
        assert!(read.ends_with(&rest) && read.starts_with(b"CONNECT "));
        let head = &read[..read.len() - rest.len()];
        assert!(
            head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n"),
            "{head:?}"
        );
    }
}

fn target(text: &str) {
    let Ok(target) = text.parse::<Target>() else {
        return;
    };
    let written = target.to_string();
    assert_eq!(written.parse::<Target>().as_ref(), Ok(&target));
    let host = target.host();
    assert!((1..=253).contains(&host.len()) && !host.bytes().any(|c| c.is_ascii_uppercase()));
    let is_known = |c: u8| c.is_ascii_alphanumeric() || b"-._:".contains(&c);
    assert!(host.bytes().all(is_known), "{host:?}");
    assert_eq!(
        host.contains(':'),
        target.ip().is_some_and(|ip| ip.is_ipv6())
    );
}

/// Comparable, and without what depends on how many bytes came at once.
fn told(opening: Result<Opening, OpeningError>) -> String {
    match opening {
        Ok(Opening::Connect(ConnectHead { target, .. })) => format!("CONNECT {target}"),
        Ok(Opening::Request { .. }) => "request".into(),
        Ok(Opening::Tls) => "tls".into(),
        // Which of the two limits is hit first depends on the pieces.
        Err(OpeningError::TooLong | OpeningError::Io(_)) => "no end".into(),
        Err(error) => format!("{error:?}"),
    }
}

/// A ClientHello: one reading, however the bytes arrive, and none of them lost.
pub fn hello(bytes: &[u8]) {
    let at_once = Bytes::copy_from_slice(bytes);
    let readings = [
        (bytes.len().max(1), Bytes::new()),
        (7, Bytes::new()),
        (1, at_once.slice(..bytes.len() / 2)),
    ];
    let told = readings.map(|(size, rest)| {
        let mut pieces = Pieces {
            bytes: &bytes[rest.len()..],
            size,
        };
        match now(read_hello(&mut pieces, rest)) {
            Ok(hello) => {
                let given = bytes.len() - pieces.bytes.len();
                assert_eq!(hello.read, bytes[..given]);
                if let Some(asked) = &hello.client_hello {
                    let name = asked.server_name.as_deref().unwrap_or_default();
                    assert!(
                        name.bytes()
                            .all(|c| c.is_ascii_graphic() && !c.is_ascii_uppercase()),
                        "{name:?}"
                    );
                    assert!(!name.contains(['/', '@', ':', '\\']), "{name:?}");
                }
                format!("{:?}", hello.client_hello)
            }
            Err(error) => format!("{error:?}"),
        }
    });
    // Behind the limit it matters how many bytes came at once.
    if bytes.len() < 64 << 10 {
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0], told[2]);
    }
}

/// Gives so many bytes at a time, and is never pending.
struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = self.size.min(self.bytes.len()).min(buffer.remaining());
        let (piece, rest) = self.bytes.split_at(size);
        buffer.put_slice(piece);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}

/// The outcome of what never waits.
fn now<T>(task: impl Future<Output = T>) -> T {
    match pin!(task).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits though all bytes are there"),
    }
}

#[cfg(test)]
mod tests {
    use crate::hostile::twin;

    #[test]
    fn any_connect_head_is_read_the_same_however_it_arrives() {
        twin("connect_target", 1_000, super::connect_head);
    }

    #[test]
    fn any_client_hello_is_read_the_same_however_it_arrives() {
        twin("hello_peek", 400, super::hello);
    }
}
