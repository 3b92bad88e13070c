//! Counts the frames that an HTTP/2 client sends unasked, and times what holds up its connection.
//!
//! h2 has limits of its own: streams that a client resets before they are accepted, streams that it
//! makes us reset or refuse, frames of a request head, empty and small DATA frames. What it lets pass
//! without end is counted here: control frames, of which each makes us work. Those that a client sends
//! for what it was sent (window updates for DATA, a ping for a burst) are free: each frame of a
//! response brings credit. The rest has a budget a second. Looks at the heads of frames only, of both
//! directions; no I/O, no clock, no allocation. Whether a frame is right, hyper decides.
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

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::proxy::io::{Cutter, Start, kind};

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

const END_HEADERS: u8 = 0x4;

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
    preface_left: usize,
    client: Cutter,
    ours: Cutter,
    /// The frame of ours that is on its way is part of a response.
    is_responding: bool,
    head: Head,
    /// Since when a preface, the start of a frame, or a request head is incomplete.
    incomplete_since: Option<Timestamp>,
    /// When the budget will be whole again.
    whole_at: Timestamp,
    credit: u64,
    last_stream: u32,
    /// Streams that we reset for a malformed request since that was asked.
    malformed: u32,
    /// Streams that the client opened since that was asked.
    opened: u32,
}

/// What is missing of a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Nothing,
    /// The end of its last frame.
    End,
    /// At least one more frame.
    Frames,
}

impl Http2 {
    pub(crate) fn new() -> Self {
        Self {
            preface_left: PREFACE_BYTES,
            client: Cutter::default(),
            ours: Cutter::default(),
            is_responding: false,
            head: Head::Nothing,
            incomplete_since: None,
            whole_at: Timestamp::default(),
            credit: 0,
            last_stream: 0,
            malformed: 0,
            opened: 0,
        }
    }

    /// Counts what the client sent.
    pub(crate) fn received(&mut self, bytes: &[u8], now: Timestamp) -> Result<(), Flood> {
        let preface = bytes.len().min(self.preface_left);
        self.preface_left -= preface;
        let mut rest = &bytes[preface..];
        while let Some(start) = self.client.next(&mut rest) {
            self.end_frame();
            self.count(start, now)?;
        }
        if self.client.is_between() && self.preface_left == 0 {
            self.end_frame();
        }
        let is_incomplete =
            self.head != Head::Nothing || self.client.is_starting() || self.preface_left > 0;
        if is_incomplete {
            self.incomplete_since.get_or_insert(now);
        } else {
            self.incomplete_since = None;
        }
        Ok(())
    }

    /// Counts what we sent, and says whether any of it is part of a response.
    pub(crate) fn sent(&mut self, mut bytes: &[u8]) -> bool {
        let mut responds = self.is_responding && !bytes.is_empty();
        while let Some(start) = self.ours.next(&mut bytes) {
            self.is_responding = matches!(start.kind, kind::DATA | kind::HEADERS);
            responds |= self.is_responding;
            let earned = match start.kind {
                kind::DATA => FOR_A_FRAME + u64::from(start.length) / FOR_BYTES,
                kind::HEADERS => FOR_A_FRAME,
                _ => 0,
            };
            self.credit = (self.credit + earned).min(CREDIT);
            self.malformed += u32::from(start.reset() == Some(PROTOCOL_ERROR));
        }
        self.is_responding &= !self.ours.is_between();
        responds
    }

    /// How many streams the client opened since this was asked last.
    pub(crate) const fn take_opened(&mut self) -> u32 {
        std::mem::replace(&mut self.opened, 0)
    }

    /// How many streams we reset for a malformed message since this was asked last: h2 does so, and
    /// shows us nothing of them.
    pub(crate) const fn take_malformed(&mut self) -> u32 {
        std::mem::replace(&mut self.malformed, 0)
    }

    /// Since when the client owes the rest of something that holds up the whole connection.
    pub(crate) const fn incomplete_since(&self) -> Option<Timestamp> {
        self.incomplete_since
    }

    /// A GOAWAY frame of `ENHANCE_YOUR_CALM` (RFC 9113 section 6.8), if we stand between two frames
    /// of ours.
    pub(crate) fn goaway(&self) -> Option<[u8; 17]> {
        if !self.ours.is_between() {
            return None;
        }
        let mut frame = *b"\0\0\x08\x07\0\0\0\0\0....\0\0\0\x0b";
        frame[9..13].copy_from_slice(&self.last_stream.to_be_bytes());
        Some(frame)
    }

    /// A frame of the client's is whole: the time of what comes next begins, but for a head of which
    /// frames are missing.
    fn end_frame(&mut self) {
        if self.head != Head::Frames {
            self.head = Head::Nothing;
            self.incomplete_since = None;
        }
    }

    fn count(&mut self, start: Start, now: Timestamp) -> Result<(), Flood> {
        let cost = match start.kind {
            kind::DATA => return Ok(()),
            kind::HEADERS | kind::CONTINUATION => {
                self.opened += u32::from(start.stream > self.last_stream);
                self.last_stream = self.last_stream.max(start.stream);
                self.head = match start.flags & END_HEADERS {
                    0 => Head::Frames,
                    _ => Head::End,
                };
                return Ok(());
            }
            kind::RST_STREAM => FOR_A_RESET,
            kind::SETTINGS => 1 + start.length / FOR_SETTINGS,
            _ => 1,
        };
        if self.credit > 0 {
            self.credit -= 1;
            return Ok(());
        }
        self.whole_at = self.whole_at.max(now) + EACH * cost;
        match self.whole_at.since(now) <= EACH * BURST {
            true => Ok(()),
            false => Err(Flood(start.kind)),
        }
    }
}
