//! What an HTTP/2 client sends, on its way to hyper: counts the frames that it sends unasked, times what
//! holds up its connection, and keeps back the acknowledgements of our own SETTINGS (`mirror`).
//!
//! h2 has limits of its own: streams that a client resets before they are accepted, streams that it
//! makes us reset or refuse, frames of a request head, empty and small DATA frames. What it lets pass
//! without end is counted here: control frames, of which each makes us work. Those that a client sends
//! for what it was sent (window updates for DATA, a ping for a burst) are free: each frame of a
//! response brings credit. The rest has a budget a second. Looks at the heads of frames only, of both
//! directions; no clock, and no allocation. Whether a frame is right, hyper decides.
//!
//! | counted | attack in `tests/it/http2/floods` that does not end without |
//! |---|---|
//! | RST_STREAM | `cve_2023_44487_reset_a_moment_later` |
//! | SETTINGS, by their size | `cve_2019_9515_settings`, `cve_2020_11080_large_settings` |
//! | PING | `cve_2019_9512_ping` |
//! | PRIORITY | `cve_2019_9513_priority` |
//! | WINDOW_UPDATE | `window_updates` |
//! | unknown types | `unknown_frames` |
//! | the time of a head or a frame's head | `what_holds_up_a_connection_is_given_the_time_of_a_head` |

use std::fmt;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::mirror::Mirror;
use super::watch::Watch;
use crate::clock::Timestamp;
use crate::proxy::io::frames::{FrameFilter, FrameHead, Frames, Part, flag, kind};

/// Control frames that a client may send unasked at any moment.
const BURST: u32 = 1000;

/// Each of them is earned back after so long: 200 a second.
const EACH: Duration = Duration::from_millis(5);

/// Frames that a stream which its client reset counts as: it was a request upstream, and lines in
/// the recording.
const FOR_A_RESET: u32 = 5;

/// SETTINGS of so many bytes count as one frame: ten settings, more than RFC 9113 has.
const FOR_SETTINGS: u32 = 60;

/// Control frames that each HEADERS or DATA frame of ours entitles a client to: a window update
/// for the stream and for the connection, a ping, a reset.
const FOR_A_FRAME: u64 = 4;

/// One more for so many bytes of DATA. Go updates both windows after 4 KiB (golang.org/x/net
/// http2/flow.go, `inflowMinRefresh`); other clients wait for a share of their window.
const FOR_BYTES: u64 = 1024;

/// Credit is kept up to here: 1 GiB that a client was sent and has not read yet.
const CREDIT: u64 = 1 << 20;

/// What a client says first (RFC 9113 section 3.4); hyper checks it.
const PREFACE_BYTES: usize = 24;

/// What h2 resets a stream for whose message is malformed (RFC 9113 section 8.1.1).
const PROTOCOL_ERROR: u32 = 1;

/// The client sent more control frames of this type than the responses to it account for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flood(u8);

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client flooded the connection with ")?;
        match self.0 {
            0..=kind::CONTINUATION => write!(f, "{} frames", kind::name(self.0)),
            _ => f.write_str("frames of unknown types"),
        }
    }
}

impl std::error::Error for Flood {}

/// The frames of one connection, as far as they were seen.
#[derive(Debug)]
pub(crate) struct Http2 {
    reader: FrameFilter,
    client: Client,
    ours: Ours,
    mirror: Mirror,
}

/// What the client sent.
#[derive(Debug)]
struct Client {
    head: Head,
    /// Since when a preface, the head of a frame, or a request head is incomplete.
    incomplete_since: Option<Timestamp>,
    /// When the budget will be whole again.
    whole_at: Timestamp,
    /// What the frames cost that are not paid for yet, and the type of the last of them.
    cost: u32,
    counted: u8,
    credit: u64,
    last_stream: u32,
    /// Streams that the client opened since that was asked.
    opened: u32,
}

/// What is missing of a preface or a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Nothing,
    /// The end of its last frame.
    End,
    /// At least one more frame.
    Frames,
}

/// What hyper sent.
#[derive(Debug, Default)]
struct Ours {
    frames: Frames,
    /// The type of the last frame.
    kind: u8,
    /// CONTINUATION must come next (RFC 9113 section 6.10).
    is_in_head: bool,
    /// The error code of RST_STREAM, as far as it was sent.
    code: u32,
    /// Streams that were reset for a malformed request since that was asked.
    malformed: u32,
}

impl Http2 {
    pub(crate) fn new(watch: &Watch) -> Self {
        Self {
            reader: FrameFilter::new(Frames::behind(PREFACE_BYTES)),
            client: Client {
                head: Head::End,
                incomplete_since: None,
                whole_at: Timestamp::default(),
                cost: 0,
                counted: 0,
                credit: 0,
                last_stream: 0,
                opened: 0,
            },
            ours: Ours::default(),
            mirror: Mirror::new(watch.stream_limit.clone()),
        }
    }

    /// Reads what hyper is to see of the client's frames: all but the acknowledgements of ours.
    pub(crate) fn poll_read<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            reader,
            client,
            mirror,
            ..
        } = self;
        let outcome = reader.poll_read(io, cx, buf, |part| {
            let Part::Head(head) = part else {
                return true;
            };
            client.end_frame();
            // An invalid one is hyper's to refuse.
            let is_valid = (head.length, head.stream) == (0, 0) && client.head == Head::Nothing;
            let is_ack = head.kind == kind::SETTINGS && head.has(flag::ACK);
            if is_ack && is_valid && mirror.is_acknowledged() {
                return false;
            }
            client.count(head);
            true
        });
        if outcome.is_pending() {
            mirror.listen(cx);
        }
        outcome
    }

    /// True if the head of a frame is there in part, which nobody was given.
    pub(crate) const fn holds(&self) -> bool {
        self.reader.holds()
    }

    /// Judges what was read until `now`.
    pub(crate) fn received(&mut self, now: Timestamp) -> Result<(), Flood> {
        if self.client.head == Head::End && !self.reader.is_in_payload() {
            self.client.end_frame();
        }
        if self.client.head == Head::Nothing && !self.reader.holds() {
            self.client.incomplete_since = None;
        } else {
            self.client.incomplete_since.get_or_insert(now);
        }
        self.client.pay(now)
    }

    /// Counts what hyper sent, and says whether any of it is part of a response.
    pub(crate) fn sent(&mut self, mut bytes: &[u8]) -> bool {
        let ours = &mut self.ours;
        let mut responds = false;
        while let Some(part) = ours.frames.next(&mut bytes) {
            match part {
                Part::Head(head) => {
                    ours.begin(head);
                    let earned = match head.kind {
                        kind::DATA => FOR_A_FRAME + u64::from(head.length) / FOR_BYTES,
                        kind::HEADERS => FOR_A_FRAME,
                        _ => 0,
                    };
                    self.client.credit = (self.client.credit + earned).min(CREDIT);
                    if head.kind == kind::SETTINGS && !head.has(flag::ACK) {
                        self.mirror.saw_settings();
                    }
                }
                Part::Payload(payload) => ours.go_on(payload),
            }
            responds |= matches!(ours.kind, kind::DATA | kind::HEADERS);
        }
        responds
    }

    /// Writes what is left of a SETTINGS frame that tells the client its upstream's stream limit; if
    /// `may_begin`, and if we stand between two frames of hyper's, a new one too.
    pub(crate) fn poll_mirror<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        may_begin: bool,
    ) -> Poll<io::Result<()>> {
        let may_begin = may_begin && self.ours.is_between();
        self.mirror.poll_write(io, cx, may_begin)
    }

    /// How many streams the client opened since this was asked last.
    pub(crate) const fn take_opened(&mut self) -> u32 {
        std::mem::replace(&mut self.client.opened, 0)
    }

    /// How many streams we reset for a malformed message since this was asked last: h2 does so, and
    /// shows us nothing of them.
    pub(crate) const fn take_malformed(&mut self) -> u32 {
        std::mem::replace(&mut self.ours.malformed, 0)
    }

    /// Since when the client owes the rest of something that holds up the whole connection.
    pub(crate) const fn incomplete_since(&self) -> Option<Timestamp> {
        self.client.incomplete_since
    }

    /// A GOAWAY frame of `ENHANCE_YOUR_CALM` (RFC 9113 section 6.8), if we stand between two frames.
    pub(crate) fn goaway(&self) -> Option<[u8; 17]> {
        if !self.ours.is_between() || !self.mirror.is_whole() {
            return None;
        }
        let mut frame = *b"\0\0\x08\x07\0\0\0\0\0....\0\0\0\x0b";
        frame[9..13].copy_from_slice(&self.client.last_stream.to_be_bytes());
        Some(frame)
    }
}

impl Client {
    /// A frame is whole: the time of what comes next begins, but for a head of which frames are
    /// missing.
    const fn end_frame(&mut self) {
        if !matches!(self.head, Head::Frames) {
            self.head = Head::Nothing;
            self.incomplete_since = None;
        }
    }

    /// Counts a frame.
    fn count(&mut self, head: FrameHead) {
        let cost = match head.kind {
            kind::DATA => return,
            kind::HEADERS | kind::CONTINUATION => {
                self.opened += u32::from(head.stream > self.last_stream);
                self.last_stream = self.last_stream.max(head.stream);
                self.head = match head.has(flag::END_HEADERS) {
                    false => Head::Frames,
                    true => Head::End,
                };
                return;
            }
            kind::RST_STREAM => FOR_A_RESET,
            kind::SETTINGS => 1 + head.length / FOR_SETTINGS,
            _ => 1,
        };
        if self.credit > 0 {
            self.credit -= 1;
        } else {
            self.cost = self.cost.saturating_add(cost);
            self.counted = head.kind;
        }
    }

    /// Takes what was counted off the budget.
    fn pay(&mut self, now: Timestamp) -> Result<(), Flood> {
        let cost = std::mem::take(&mut self.cost);
        if cost == 0 {
            return Ok(());
        }
        self.whole_at = self.whole_at.max(now) + EACH * cost;
        match self.whole_at.since(now) <= EACH * BURST {
            true => Ok(()),
            false => Err(Flood(self.counted)),
        }
    }
}

impl Ours {
    fn begin(&mut self, head: FrameHead) {
        self.kind = head.kind;
        self.code = 0;
        let has_fields = matches!(
            head.kind,
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION
        );
        self.is_in_head = has_fields && !head.has(flag::END_HEADERS);
    }

    fn go_on(&mut self, payload: &[u8]) {
        if self.kind != kind::RST_STREAM {
            return;
        }
        self.code = payload
            .iter()
            .fold(self.code, |code, byte| code << 8 | u32::from(*byte));
        let is_whole = !self.frames.is_in_payload();
        self.malformed += u32::from(is_whole && self.code == PROTOCOL_ERROR);
    }

    /// True where another frame may stand.
    const fn is_between(&self) -> bool {
        self.frames.is_between() && !self.is_in_head
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::proxy::io::pieces::Pieces;
    use crate::tls::Protocol;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let stream = [0, 0, 0, u8::from(kind != kind::SETTINGS)];
        [&length[1..], &[kind, flags], &stream, payload].concat()
    }

    fn new() -> Http2 {
        Http2::new(&Watch::new(Protocol::H2, at(0)))
    }

    fn greeted() -> Http2 {
        let mut frames = new();
        receive(&mut frames, PREFACE, at(0)).unwrap();
        frames
    }

    /// The client sends that.
    fn receive(frames: &mut Http2, bytes: &[u8], now: Timestamp) -> Result<(), Flood> {
        let mut client = Pieces::new([bytes, b""]);
        let mut cx = Context::from_waker(Waker::noop());
        let mut room = [0; 4096];
        while let Poll::Ready(read) =
            frames.poll_read(&mut client, &mut cx, &mut ReadBuf::new(&mut room))
        {
            read.unwrap();
        }
        frames.received(now)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + Duration::from_secs(seconds)
    }

    /// How many of these the client may send at that moment, 5,000 at most.
    fn allowed(frames: &mut Http2, bytes: &[u8], now: Timestamp) -> usize {
        let may = |_: &usize| receive(frames, bytes, now).is_ok();
        (0..5000).take_while(may).count()
    }

    #[test]
    fn what_nobody_asked_for_has_a_burst_and_a_rate() {
        let rows = [
            ("PRIORITY frames", frame(kind::PRIORITY, 0, b"\0\0\0\0.")),
            (
                "RST_STREAM frames",
                frame(kind::RST_STREAM, 0, b"\0\0\0\x08"),
            ),
            ("SETTINGS frames", frame(kind::SETTINGS, 0, b"")),
            ("SETTINGS frames", frame(kind::SETTINGS, 1, b"")),
            ("PING frames", frame(kind::PING, 0, b"12345678")),
            ("PING frames", frame(kind::PING, 1, b"12345678")),
            (
                "WINDOW_UPDATE frames",
                frame(kind::WINDOW_UPDATE, 0, b"\0\0\0\x01"),
            ),
            ("GOAWAY frames", frame(kind::GOAWAY, 0, b"\0\0\0\0\0\0\0\0")),
            ("frames of unknown types", frame(0xfe, 0, &[0; 16_384])),
        ];
        for (sort, bytes) in rows {
            // A reset is a request that was made for nothing: it counts five times.
            let burst = if sort.starts_with("RST") { 200 } else { 1000 };
            let mut frames = greeted();
            assert_eq!(allowed(&mut frames, &bytes, at(0)), burst, "{sort}");
            let flood = receive(&mut frames, &bytes, at(0)).unwrap_err().to_string();
            assert!(flood.ends_with(sort), "{flood}");
            let mut frames = greeted();
            for second in 0..100 {
                for _ in 0..burst / 5 {
                    receive(&mut frames, &bytes, at(second)).unwrap();
                }
            }
            assert_eq!(allowed(&mut frames, &bytes, at(100)), burst, "{sort}");
        }
    }

    #[test]
    fn data_and_heads_cost_nothing() {
        let rows = [
            frame(kind::DATA, 0, b"x"),
            frame(kind::HEADERS, flag::END_HEADERS, b"\x82"),
        ];
        for bytes in rows {
            assert_eq!(allowed(&mut greeted(), &bytes, at(0)), 5000);
        }
    }

    /// 5 GB in a moment, with clients' habits: bytes of DATA, window updates for them.
    #[test]
    fn a_download_may_be_updated_for_as_often_as_clients_do() {
        let update = frame(kind::WINDOW_UPDATE, 0, b"\0\0\x10\0");
        let rows = [
            ("go: both windows, each 4 KiB", 16_384, 8),
            ("small windows: both for each frame", 4096, 2),
            ("an update of both for each frame of any size", 1, 2),
            ("half of 64 KiB, both", 32_768, 2),
        ];
        for (habit, size, updates) in rows {
            let mut frames = greeted();
            let data = frame(kind::DATA, 0, &vec![0; size]);
            for _ in 0..(5_000_000_000 / size).min(40_000) {
                frames.sent(&data);
                for _ in 0..updates {
                    receive(&mut frames, &update, at(0)).expect(habit);
                }
            }
        }
    }

    /// What it is, the bytes of each second, and the second that it is timed from.
    type Row<'a> = (&'a str, &'a [&'a [u8]], Option<u64>);

    #[test]
    fn what_holds_up_the_connection_is_timed_from_its_first_byte() {
        let begin = frame(kind::HEADERS, 0, b"\x82");
        let go_on = frame(kind::CONTINUATION, 0, b"\x84");
        let last = frame(kind::CONTINUATION, flag::END_HEADERS, b"\x86");
        let whole = frame(kind::HEADERS, flag::END_HEADERS, b"\x82\x84\x86");
        let data = frame(kind::DATA, 0, b"abcdefgh");
        let rows: [Row<'_>; 10] = [
            ("nothing", &[], None),
            ("a preface", &[&PREFACE[..5], &PREFACE[5..7]], Some(0)),
            ("a whole preface", &[PREFACE], None),
            (
                "a frame's head",
                &[PREFACE, &data[..4], &data[4..8]],
                Some(1),
            ),
            ("a body's frame", &[PREFACE, &data[..14]], None),
            ("a head", &[PREFACE, &begin, &go_on, &go_on], Some(1)),
            (
                "a head's frame",
                &[PREFACE, &whole[..10], &whole[10..11]],
                Some(1),
            ),
            (
                "a head's last frame",
                &[PREFACE, &begin, &last[..9]],
                Some(1),
            ),
            ("a whole head", &[PREFACE, &begin, &last], None),
            (
                "a head and more",
                &[PREFACE, &[&whole[..], &data[..13]].concat()],
                None,
            ),
        ];
        for (what, pieces, expected) in rows {
            let mut frames = new();
            for (second, piece) in (0..).zip(pieces) {
                receive(&mut frames, piece, at(second)).unwrap();
            }
            assert_eq!(frames.incomplete_since(), expected.map(at), "{what}");
        }
    }

    #[test]
    fn large_settings_count_by_their_bytes() {
        let large = frame(kind::SETTINGS, 0, &[0; 16_200]);
        assert_eq!(allowed(&mut greeted(), &large, at(0)), 3);
    }

    #[test]
    fn a_goaway_stands_between_two_frames_of_ours() {
        let mut frames = greeted();
        let goaway = frames.goaway().unwrap();
        assert_eq!(&goaway, b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b");
        let data = frame(kind::DATA, 0, b"abcdefgh");
        frames.sent(&data[..12]);
        assert_eq!(frames.goaway(), None);
        frames.sent(&data[12..]);
        assert!(frames.goaway().is_some());
    }
}
