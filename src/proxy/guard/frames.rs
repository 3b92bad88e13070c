//! Counts HTTP/2 frames on the client leg, so that no client makes more work than it is given.
//!
//! Whatever a client sends for what it was sent (window updates for DATA, a reset of an answer, a
//! ping for a burst) is free: each answer brings credit. What comes on top of that, frames that
//! make us work and bring nobody anything, has a budget a second, and a request head has one of
//! frames and octets. It sees the octets of both directions, cut anywhere, and looks at the heads
//! of frames only. No I/O, no clock, no allocation; whether a frame is right, hyper decides.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use super::super::io::{Cutter, Start, kind};
use crate::clock::Timestamp;

/// Control frames that a client may send unasked at any moment.
const BURST: u32 = 1000;

/// Each of them is earned back after so long: 200 a second.
const EACH: Duration = Duration::from_millis(5);

/// Frames that a stream which its client reset counts as: it was a request upstream, and lines in
/// the recording.
const FOR_A_RESET: u32 = 5;

/// Frames that a stream which we had to reset counts as: no client that works does this at all.
const FOR_A_FAULT: u32 = 20;

/// SETTINGS of so many octets count as one frame: ten settings, more than RFC 9113 has.
const FOR_SETTINGS: u32 = 60;

/// Control frames that each HEADERS or DATA frame of ours entitles a client to: a window update
/// for the stream and for the connection, a ping, a reset.
const FOR_A_FRAME: u64 = 4;

/// One more for so many octets of DATA. Go updates both windows after 4 KiB (golang.org/x/net
/// http2/flow.go, `inflowMinRefresh`); other clients wait for a share of their window.
const FOR_OCTETS: u64 = 1024;

/// Credit is kept up to here: 1 GiB that a client was sent and has not read yet.
const CREDIT: u64 = 1 << 20;

/// Frames of a request head without END_HEADERS: as many as h2 itself lets pass for 64 KiB.
const HEAD_FRAMES: u32 = 6;

/// Octets of a request head, padding included. A head above 64 KiB gets a 431 up to here.
const HEAD_OCTETS: u64 = 96 * 1024;

/// What a client says first (RFC 9113 section 3.4); hyper checks it.
const PREFACE_OCTETS: usize = 24;

/// What we reset a stream for (RFC 9113 section 7) that its client did wrong.
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const REFUSED_STREAM: u32 = 7;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

/// What a client did too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// More frames of this sort than it was answered.
    Flood(&'static str),
    /// More streams that had to be reset for its own faults (CVE-2025-8671), or refused.
    Resets,
    /// A request head in very many pieces (CVE-2024-27316 and its kin).
    HeadFrames,
    /// A request head without an end.
    HeadOctets,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flood(sort) => write!(f, "the client flooded the connection with {sort}"),
            Self::Resets => f.write_str("the client made modtape reset too many streams"),
            Self::HeadFrames => f.write_str("the client sent a request head in too many frames"),
            Self::HeadOctets => f.write_str("the client sent a request head that is too large"),
        }
    }
}

impl std::error::Error for Excess {}

/// The frames of one connection, as far as they were seen.
#[derive(Debug)]
pub(crate) struct Frames {
    preface_left: usize,
    client: Cutter,
    ours: Cutter,
    /// The frame of ours that is on its way is part of an answer.
    is_answering: bool,
    head: Option<Head>,
    /// Since when a preface, the start of a frame, or a request head is incomplete.
    incomplete_since: Option<Timestamp>,
    /// When the last octets came.
    now: Timestamp,
    /// When the budget will be whole again.
    whole_at: Timestamp,
    credit: u64,
    last_stream: u32,
    /// Streams that we reset for a malformed request since that was asked.
    malformed: u32,
    /// Streams that the client opened since that was asked.
    opened: u32,
    excess: Option<Excess>,
}

/// A request head of which something is missing.
#[derive(Debug)]
struct Head {
    frames: u32,
    octets: u64,
    /// END_HEADERS was seen: it ends with the frame.
    is_last: bool,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self {
            preface_left: PREFACE_OCTETS,
            client: Cutter::default(),
            ours: Cutter::default(),
            is_answering: false,
            head: None,
            incomplete_since: None,
            now: Timestamp::default(),
            whole_at: Timestamp::default(),
            credit: 0,
            last_stream: 0,
            malformed: 0,
            opened: 0,
            excess: None,
        }
    }

    /// Counts what the client sent; an excess is found once and stays.
    pub(crate) fn received(&mut self, octets: &[u8], now: Timestamp) -> Result<(), Excess> {
        self.now = now;
        let preface = octets.len().min(self.preface_left);
        self.preface_left -= preface;
        let mut rest = &octets[preface..];
        while let (None, Some(start)) = (self.excess, self.client.next(&mut rest)) {
            self.end_head();
            self.excess = self.count(start);
        }
        if self.client.is_between() && self.preface_left == 0 {
            self.end_head();
        }
        let is_incomplete =
            self.head.is_some() || self.client.is_starting() || self.preface_left > 0;
        if is_incomplete {
            self.incomplete_since.get_or_insert(now);
        } else {
            self.incomplete_since = None;
        }
        self.excess.map_or(Ok(()), Err)
    }

    /// Counts what we sent, and says whether any of it is part of an answer. An excess of resets
    /// shows at the next octets of the client.
    pub(crate) fn sent(&mut self, mut octets: &[u8]) -> bool {
        let mut answers = self.is_answering && !octets.is_empty();
        while let Some(start) = self.ours.next(&mut octets) {
            self.is_answering = matches!(start.kind, kind::DATA | kind::HEADERS);
            answers |= self.is_answering;
            let earned = match start.kind {
                kind::DATA => FOR_A_FRAME + u64::from(start.length) / FOR_OCTETS,
                kind::HEADERS => FOR_A_FRAME,
                _ => 0,
            };
            self.credit = (self.credit + earned).min(CREDIT);
            self.malformed += u32::from(start.reset() == Some(PROTOCOL_ERROR));
            // A client may open more streams than it may before it has read how many it may.
            let cost = match start.reset() {
                Some(PROTOCOL_ERROR | FLOW_CONTROL_ERROR | STREAM_CLOSED) => FOR_A_FAULT,
                Some(REFUSED_STREAM) => 1,
                _ => continue,
            };
            if !self.afford(cost) {
                self.excess = self.excess.or(Some(Excess::Resets));
            }
        }
        self.is_answering &= !self.ours.is_between();
        answers
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

    /// The frame before is there: the time of what comes next begins, but for a head that goes on.
    fn end_head(&mut self) {
        if self.head.as_ref().is_none_or(|head| head.is_last) {
            self.head = None;
            self.incomplete_since = None;
        }
    }

    fn count(&mut self, start: Start) -> Option<Excess> {
        let flood = |sort| Some(Excess::Flood(sort));
        let excess = match start.kind {
            kind::HEADERS | kind::CONTINUATION => return self.count_head(start),
            kind::DATA if start.flags & END_STREAM == 0 && is_empty(start) => {
                flood("empty DATA frames")
            }
            kind::DATA => return None,
            kind::PRIORITY => flood("PRIORITY frames"),
            kind::RST_STREAM => flood("RST_STREAM frames"),
            kind::SETTINGS => flood("SETTINGS frames"),
            kind::PING => flood("PING frames"),
            kind::WINDOW_UPDATE => flood("WINDOW_UPDATE frames"),
            kind::GOAWAY => flood("GOAWAY frames"),
            _ => flood("frames of unknown types"),
        };
        if self.credit > 0 {
            self.credit -= 1;
            return None;
        }
        let cost = match start.kind {
            kind::RST_STREAM => FOR_A_RESET,
            kind::SETTINGS => 1 + start.length / FOR_SETTINGS,
            _ => 1,
        };
        if self.afford(cost) { None } else { excess }
    }

    fn count_head(&mut self, start: Start) -> Option<Excess> {
        if start.kind == kind::HEADERS {
            self.opened += u32::from(start.stream > self.last_stream);
            self.last_stream = self.last_stream.max(start.stream);
            self.head = None;
        }
        let (frames, octets) = self
            .head
            .as_ref()
            .map_or((0, 0), |head| (head.frames, head.octets));
        let head = Head {
            frames: frames + 1,
            octets: octets + u64::from(start.length),
            is_last: start.flags & END_HEADERS != 0,
        };
        let excess = if head.frames > HEAD_FRAMES && !head.is_last {
            Some(Excess::HeadFrames)
        } else {
            (head.octets > HEAD_OCTETS).then_some(Excess::HeadOctets)
        };
        self.head = Some(head);
        excess
    }

    /// Takes so many frames from the budget; false if they are not there.
    fn afford(&mut self, frames: u32) -> bool {
        self.whole_at = self.whole_at.max(self.now) + EACH * frames;
        self.whole_at.since(self.now) <= EACH * BURST
    }
}

/// Whether a DATA frame holds nothing but padding.
const fn is_empty(start: Start) -> bool {
    let padding = match start.flags & PADDED {
        0 => 0,
        _ => 1 + start.payload[0] as u32,
    };
    start.length <= padding
}
