//! The frames of an HTTP/2 upstream on their way to h2: what h2 does not tell of them, and what it
//! does not bear.
//!
//! h2 names no frame when it ends a connection for one, so the types of the last are kept. It ends a
//! connection for a hundred empty DATA frames, counted over its whole life, as a flood; go's client
//! takes any number, and here they cost only the client that asked this upstream: they are left out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::frames::{FrameFilter, FrameHead, Part, flag, kind};
use super::tap::Marks;
use super::write_through::write_through;
use crate::proxy::stream_limit::{UNLIMITED, UpstreamLimit};
use crate::tls;

/// A setting: its identifier and its value (RFC 9113 section 6.5.1), bytes.
const SETTING: usize = 6;

/// SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 section 6.5.2).
const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];

/// Stands between an upstream and h2.
#[derive(Debug)]
pub(crate) struct UpstreamFrames<IO> {
    io: IO,
    filter: FrameFilter,
    marks: Arc<Marks>,
    settings: Settings,
}

impl<IO> UpstreamFrames<IO> {
    pub(crate) fn new(io: IO, marks: Arc<Marks>, limit: UpstreamLimit) -> Self {
        Self {
            io,
            filter: FrameFilter::default(),
            marks,
            settings: Settings::new(limit),
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for UpstreamFrames<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            io,
            filter,
            marks,
            settings,
        } = self.get_mut();
        let outcome = filter.poll_read(io, cx, buf, |part| match part {
            Part::Head(head) => {
                marks.saw_frame(head.kind);
                settings.begin(head);
                !is_empty_data(head)
            }
            Part::Payload(bytes) => {
                settings.read(bytes);
                true
            }
        });
        // h2 keeps the text of an error alone.
        outcome.map_err(tls::readable)
    }
}

write_through!(UpstreamFrames);

fn is_empty_data(head: FrameHead) -> bool {
    head.kind == kind::DATA
        && head.length == 0
        && head.flags & (flag::END_STREAM | flag::PADDED) == 0
}

/// Finds the stream limit among the settings of an upstream.
#[derive(Debug)]
struct Settings {
    limit: UpstreamLimit,
    /// None of its SETTINGS frames has come yet.
    is_first: bool,
    /// Bytes of the present SETTINGS frame that are still to come.
    missing: usize,
    /// The limit that the present frame names.
    named: Option<u32>,
    /// The setting that is being read.
    setting: [u8; SETTING],
    have: usize,
}

impl Settings {
    const fn new(limit: UpstreamLimit) -> Self {
        Self {
            limit,
            is_first: true,
            missing: 0,
            named: None,
            setting: [0; SETTING],
            have: 0,
        }
    }

    fn begin(&mut self, head: FrameHead) {
        (self.missing, self.have, self.named) = (0, 0, None);
        if head.kind == kind::SETTINGS && !head.has(flag::ACK) {
            self.missing = head.length as usize;
            self.end_if_whole();
        }
    }

    fn read(&mut self, payload: &[u8]) {
        if self.missing == 0 {
            return;
        }
        for byte in payload {
            self.setting[self.have] = *byte;
            self.have += 1;
            if self.have == SETTING {
                self.have = 0;
                let [a, b, value @ ..] = self.setting;
                if [a, b] == MAX_CONCURRENT_STREAMS {
                    self.named = Some(u32::from_be_bytes(value));
                }
            }
        }
        self.missing = self.missing.saturating_sub(payload.len());
        self.end_if_whole();
    }

    /// Later frames leave the limit as it is if they do not name it.
    fn end_if_whole(&mut self) {
        if self.missing == 0 {
            let unnamed = std::mem::take(&mut self.is_first).then_some(UNLIMITED);
            if let Some(streams) = self.named.or(unnamed) {
                self.limit.set(streams);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::super::pieces::Pieces;
    use super::*;
    use crate::clock::Clock;
    use crate::proxy::stream_limit::{MOST, StreamLimit};

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    fn filtered(pieces: Vec<Vec<u8>>) -> UpstreamFrames<Pieces> {
        let marks = Marks::new(Clock::start());
        UpstreamFrames::new(
            Pieces::new(pieces),
            marks,
            Arc::<StreamLimit>::default().of_upstream(),
        )
    }

    async fn passed(pieces: Vec<Vec<u8>>, room: usize) -> Vec<u8> {
        let mut filter = filtered(pieces);
        let mut passed = Vec::new();
        let mut buffer = vec![0; room];
        loop {
            match filter.read(&mut buffer).await.unwrap() {
                0 => return passed,
                bytes => passed.extend_from_slice(&buffer[..bytes]),
            }
        }
    }

    #[tokio::test]
    async fn empty_data_alone_is_left_out_however_the_frames_are_cut() {
        let empty = frame(kind::DATA, 0, b"");
        let whole = [
            frame(kind::SETTINGS, 0, b""),
            frame(kind::HEADERS, 4, b"a head"),
            frame(kind::DATA, 0, b"a body with \0\0\0\0\0\0\0\0\0 in it"),
            frame(kind::DATA, flag::PADDED, b"\0"),
            frame(kind::DATA, flag::END_STREAM, b""),
        ];
        let sent = whole.join(&[&empty[..]; 3].concat()[..]);
        let sent = [&empty[..], &sent, &empty].concat();
        let expected = whole.concat();
        for room in [1, 8, 63, 64, 4096] {
            assert_eq!(passed(vec![sent.clone()], room).await, expected, "{room}");
            for at in 0..=sent.len() {
                let (before, after) = sent.split_at(at);
                let pieces = vec![before.to_vec(), Vec::new(), after.to_vec()];
                assert_eq!(passed(pieces, room).await, expected, "{room}, cut at {at}");
            }
            let pieces = sent.chunks(1).map(<[u8]>::to_vec).collect();
            assert_eq!(passed(pieces, room).await, expected, "{room}, in bytes");
        }
    }

    #[tokio::test]
    async fn an_end_within_a_frame_is_passed_on() {
        let sent = frame(kind::DATA, 0, b"body");
        for bytes in 0..sent.len() {
            assert_eq!(
                passed(vec![sent[..bytes].to_vec()], 4096).await,
                sent[..bytes]
            );
        }
    }

    #[tokio::test]
    async fn the_last_frames_are_named() {
        let sent = [
            frame(kind::SETTINGS, 0, b""),
            frame(kind::DATA, 0, b""),
            frame(kind::GOAWAY, 0, b"........"),
        ];
        let mut filter = filtered(sent.into());
        while filter.read(&mut [0; 4096]).await.unwrap() > 0 {}
        assert_eq!(filter.marks.last_frames(), "SETTINGS, DATA, GOAWAY");
    }

    #[tokio::test]
    async fn the_limit_changes_once_a_settings_frame_is_whole() {
        let sent = frame(kind::SETTINGS, 0, b"\0\x03\0\0\0\x03");
        for at in 0..sent.len() {
            let mut filter = filtered(vec![sent[..at].to_vec()]);
            let limit = Arc::<StreamLimit>::default();
            filter.settings.limit = limit.of_upstream();
            limit.set(5);
            filter.read_to_end(&mut Vec::new()).await.unwrap();
            assert_eq!(limit.get(), 5, "cut at {at}");
        }
    }

    /// The stream limit after these frames, where they are cut at each place.
    #[tokio::test]
    async fn the_stream_limit_is_that_of_the_last_settings_that_name_it() {
        let other = b"\0\x04\0\0\x03\0";
        let limit = |value: u8| [&other[..], b"\0\x03\0\0\0", &[value], other].concat();
        let settings = |payload: &[u8]| frame(kind::SETTINGS, 0, payload);
        let rows = [
            ("none", vec![settings(b"")], MOST),
            ("others", vec![settings(other)], MOST),
            ("a limit", vec![settings(&limit(3))], 3),
            ("nought", vec![settings(&limit(0))], 0),
            (
                "more than we take",
                vec![settings(b"\0\x03\xff\0\0\0")],
                MOST,
            ),
            ("twice", vec![settings(&[limit(3), limit(7)].concat())], 7),
            ("later", vec![settings(other), settings(&limit(9))], 9),
            ("kept", vec![settings(&limit(3)), settings(other)], 3),
            (
                "another frame",
                vec![settings(&limit(3)), frame(kind::DATA, 0, &limit(7))],
                3,
            ),
            (
                "an acknowledgement",
                vec![
                    settings(&limit(3)),
                    frame(kind::SETTINGS, flag::ACK, &limit(7)),
                ],
                3,
            ),
            (
                "part of a setting",
                vec![settings(&limit(3)[..10]), settings(&limit(7)[10..])],
                MOST,
            ),
        ];
        for (name, frames, expected) in rows {
            let sent = frames.concat();
            for at in 0..=sent.len() {
                let (before, after) = sent.split_at(at);
                let mut filter = filtered(vec![before.to_vec(), Vec::new(), after.to_vec()]);
                let limit = Arc::<StreamLimit>::default();
                filter.settings.limit = limit.of_upstream();
                // As an upstream connection before this one had it.
                limit.set(5);
                filter.read_to_end(&mut Vec::new()).await.unwrap();
                assert_eq!(limit.get(), expected, "{name}, cut at {at}");
            }
        }
    }
}
