//! HTTP/2 as bytes: frames that no library would send, and the frames that come back.
//!
//! It checks nothing: whatever a test builds is written as it stands. Header blocks are written
//! without compression ([`block`]), so that any byte can stand in any name or value.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What a client says first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 section 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags; `ACK` and `END_STREAM` share a bit.
pub mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// Identifiers of settings (RFC 9113 section 6.5.2).
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`], or any other byte.
    pub kind: u8,
    /// Any of [`flag`].
    pub flags: u8,
    /// With its reserved bit, if that is set.
    pub stream: u32,
    /// What follows the nine bytes of the head.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Any frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self {
            kind,
            flags,
            stream,
            payload,
        }
    }

    /// `SETTINGS` with these pairs.
    pub fn settings(pairs: &[(u16, u32)]) -> Self {
        let bytes =
            |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let payload: Vec<u8> = pairs.iter().flat_map(bytes).collect();
        Self::new(kind::SETTINGS, 0, 0, payload)
    }

    /// The answer to `SETTINGS`.
    pub fn settings_ack() -> Self {
        Self::new(kind::SETTINGS, flag::ACK, 0, [])
    }

    /// A whole header block in one frame.
    pub fn headers(stream: u32, fields: &[(&[u8], &[u8])], ends: bool) -> Self {
        let end = if ends { flag::END_STREAM } else { 0 };
        Self::new(
            kind::HEADERS,
            flag::END_HEADERS | end,
            stream,
            block(fields),
        )
    }

    /// `DATA` without padding.
    pub fn data(stream: u32, bytes: &[u8], ends: bool) -> Self {
        let flags = if ends { flag::END_STREAM } else { 0 };
        Self::new(kind::DATA, flags, stream, bytes)
    }

    /// `RST_STREAM` with a code of RFC 9113 section 7.
    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// `PING`.
    pub fn ping(bytes: [u8; 8]) -> Self {
        Self::new(kind::PING, 0, 0, bytes)
    }

    /// `WINDOW_UPDATE`; stream 0 is the connection.
    pub fn window_update(stream: u32, bytes: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, 0, stream, bytes.to_be_bytes())
    }

    /// `GOAWAY` with a code and no words.
    pub fn goaway(last_stream: u32, code: u32) -> Self {
        let payload = [last_stream.to_be_bytes(), code.to_be_bytes()].concat();
        Self::new(kind::GOAWAY, 0, 0, payload)
    }

    /// Whether the frame carries all of these flags.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// The frame as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a payload fits 24 bits");
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// Takes the first frame off `bytes`, if it is there as a whole.
    pub fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let head = bytes.first_chunk::<9>()?;
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = bytes.get(9..9 + length)?.to_vec();
        bytes.drain(..9 + length);
        Some(Self::new(kind, flags, u32::from_be_bytes(stream), payload))
    }

    /// Reads one frame; `None` where the peer ended between two frames.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut head = [0; 9];
        if stream.read(&mut head[..1]).await? == 0 {
            return Ok(None);
        }
        stream.read_exact(&mut head[1..]).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        Ok(Some(Self::new(
            kind,
            flags,
            u32::from_be_bytes(id),
            payload,
        )))
    }
}

/// All frames as bytes, in order.
pub fn encode(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::encode).collect()
}

/// Says the preface and these settings, as a client does first.
pub async fn greet(
    stream: &mut (impl AsyncWrite + Unpin),
    settings: &[(u16, u32)],
) -> io::Result<()> {
    let bytes = [PREFACE, &Frame::settings(settings).encode()].concat();
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// A header block of literals that are never indexed and never compressed (RFC 7541 section 6.2.2).
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            integer(text.len(), 7, &mut bytes);
            bytes.extend_from_slice(text);
        }
    }
    bytes
}

/// The pseudo-header fields of a GET, without `authority` if it is empty.
pub fn get<'a>(authority: &'a str, path: &'a str) -> Vec<(&'a [u8], &'a [u8])> {
    let fields: [(&str, &str); 4] = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    fields
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect()
}

/// An integer with a prefix of `bits`, the bits before it zero (RFC 7541 section 5.1).
pub fn integer(value: usize, bits: u32, bytes: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if value < most {
        bytes.push(value as u8);
        return;
    }
    bytes.push(most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(rest as u8 | 128);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}
