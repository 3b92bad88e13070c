//! A copy of a live capture for sharing: without secrets, and without anything outside of TLS.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use super::sink::{PACKET, SECRETS, Section, Sink};

/// The first bytes of a block: its type and its length.
const HEAD: usize = 8;

/// The longest block that modtape writes, bytes: a packet with a comment.
const LIMIT: u32 = 1 << 20;

/// The types of a section's header and of an interface's description (sections 4.1 and 4.2).
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;

/// The type of a block of names (section 4.5).
const NAMES: u32 = 4;

/// Why a capture cannot be stripped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StripError {
    /// It cannot be read, or the copy cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not a capture of modtape.
    #[error("byte {at}: {what}")]
    Foreign {
        /// Where.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// A capture as it was copied.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stripped {
    /// How many packets it has.
    pub(crate) packets: u64,
    /// Whether it ends in the middle of a block, as it does where the recorder was killed.
    pub(crate) is_cut: bool,
}

/// Copies the capture `from` to `to`, whose header is `section`.
pub(crate) fn strip(
    mut from: impl Read,
    to: impl Write,
    section: &Section<'_>,
) -> Result<Stripped, StripError> {
    let mut sink = Sink::new(to, section)?;
    let mut at = 0;
    let mut block = Vec::new();
    let mut streams = HashMap::new();
    let is_cut = loop {
        let foreign = |what| StripError::Foreign { at, what };
        match next(&mut from, &mut block)? {
            Next::Over => break false,
            Next::BrokeOff => break true,
            Next::TooLong => return Err(foreign("the length of a block is invalid")),
            Next::Block => {}
        }
        let kind = word(&block, 0);
        if (at == 0) != (kind == SECTION) {
            return Err(foreign("it is not a capture with one section"));
        }
        match kind {
            SECTION if word(&block, 8) != 0x1a2b_3c4d => {
                return Err(foreign("the byte order is not little-endian"));
            }
            SECTION | INTERFACE | SECRETS => {}
            PACKET => {
                let packet = Packet::of(&block).ok_or_else(|| foreign("a packet is malformed"))?;
                if packet.is_open(&mut streams) {
                    sink.copy(&block, true)?;
                } else {
                    sink.copy(&packet.without_payload(), true)?;
                }
            }
            NAMES => sink.copy(&block, false)?,
            // An unknown block may contain secrets.
            _ => return Err(foreign("there is a block that modtape does not write")),
        }
        at += block.len() as u64;
    };
    sink.flush()?;
    Ok(Stripped {
        packets: sink.packets,
        is_cut,
    })
}

enum Next {
    Block,
    Over,
    BrokeOff,
    TooLong,
}

/// Reads one block.
fn next(from: &mut impl Read, block: &mut Vec<u8>) -> io::Result<Next> {
    block.clear();
    let head = from.take(HEAD as u64).read_to_end(block)?;
    if head < HEAD {
        return Ok(if head == 0 {
            Next::Over
        } else {
            Next::BrokeOff
        });
    }
    let length = word(block, 4);
    if !(12..=LIMIT).contains(&length) || !length.is_multiple_of(4) {
        return Ok(Next::TooLong);
    }
    let rest = u64::from(length) - HEAD as u64;
    let read = from.take(rest).read_to_end(block)?;
    if (read as u64) < rest {
        return Ok(Next::BrokeOff);
    }
    if word(block, block.len() - 4) == length {
        Ok(Next::Block)
    } else {
        Ok(Next::TooLong)
    }
}

/// The little-endian word at `at`, which is within `bytes`.
fn word(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    bytes.map_or(0, u32::from_le_bytes)
}

/// A packet that modtape wrote, as an Enhanced Packet Block.
struct Packet<'a> {
    block: &'a [u8],
    /// Bytes of Ethernet, IP and TCP.
    headers: usize,
    /// Captured bytes.
    shown: usize,
}

/// Where the packet itself begins.
const DATA: usize = 28;

/// The protocol of a connection, by what its client has sent. It is TLS from the first ClientHello
/// on, if only the request to a proxy came before it, which may contain a credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Speech {
    #[default]
    Nothing,
    /// The head of a CONNECT that is not complete.
    Connect,
    /// A complete CONNECT, or messages of SOCKS.
    Connected,
    Tls,
    /// Anything else: bytes that look like TLS later may be part of it.
    Clear,
}

impl Speech {
    fn after(self, payload: &[u8]) -> Self {
        let head = |payload: &[u8]| match payload.ends_with(b"\r\n\r\n") {
            true => Self::Connected,
            false => Self::Connect,
        };
        match (self, payload) {
            (Self::Tls, _) | (Self::Nothing | Self::Connected, [22, 3, _, _, _, 1, ..]) => {
                Self::Tls
            }
            (Self::Nothing | Self::Connected, payload) if payload.starts_with(b"CONNECT ") => {
                head(payload)
            }
            (Self::Connect, payload) => head(payload),
            // RFC 1928: the greeting and the request; RFC 1929: name and password.
            (Self::Nothing | Self::Connected, [5, ..]) | (Self::Connected, [1, ..]) => {
                Self::Connected
            }
            _ => Self::Clear,
        }
    }
}

impl<'a> Packet<'a> {
    fn of(block: &'a [u8]) -> Option<Self> {
        let shown = usize::try_from(word(block, 20)).ok()?;
        let data = block.get(DATA..DATA.checked_add(shown)?)?;
        let tcp = match data.get(12..14)? {
            // Without IP options, as ours are.
            [0x08, 0x00] if *data.get(14)? == 0x45 => 14 + 20,
            [0x86, 0xdd] => 14 + 40,
            _ => return None,
        };
        let words = usize::from(*data.get(tcp + 12)? >> 4);
        if words < 5 {
            return None;
        }
        let headers = tcp + words * 4;
        (headers <= shown).then_some(Self {
            block,
            headers,
            shown,
        })
    }

    fn data(&self) -> &'a [u8] {
        &self.block[DATA..DATA + self.shown]
    }

    /// Whether it may be copied: it is inside TLS, or has no payload.
    fn is_open(&self, streams: &mut HashMap<Vec<u8>, Speech>) -> bool {
        let data = self.data();
        let payload = &data[self.headers..];
        let is_v4 = data[12] == 0x08;
        let addresses = if is_v4 { 26 } else { 22 };
        let tcp = if is_v4 { 34 } else { 54 };
        let half = (tcp - addresses) / 2;
        let (from, to) = data[addresses..tcp].split_at(half);
        let ports = &data[tcp..tcp + 4];
        let (from, to) = ([from, &ports[..2]].concat(), [to, &ports[2..]].concat());
        // The same key for both directions of a connection.
        let (low, high) = if from < to { (from, to) } else { (to, from) };
        let key = [&self.block[8..12], &low, &high].concat();
        if data[tcp + 13] & super::frame::SYN != 0 {
            streams.remove(&key);
        }
        // By the Ethernet address of the client (`frame::ethernet`).
        let is_clients = data[11] == 1;
        if payload.is_empty() {
            return true;
        }
        let speech = streams.entry(key).or_default();
        if is_clients {
            *speech = speech.after(payload);
        }
        *speech == Speech::Tls
    }

    /// The same packet, cut to its headers, which have the true length.
    fn without_payload(&self) -> Vec<u8> {
        let options = DATA + self.shown.next_multiple_of(4);
        let options = self.block.get(options..self.block.len() - 4);
        let mut block = self.block[..DATA + self.headers].to_vec();
        block.resize(DATA + self.headers.next_multiple_of(4), 0);
        block.extend(options.unwrap_or_default());
        let shown = u32::try_from(self.headers).unwrap_or(0);
        block[20..24].copy_from_slice(&shown.to_le_bytes());
        let length = u32::try_from(block.len() + 4).unwrap_or(0);
        block[4..8].copy_from_slice(&length.to_le_bytes());
        block.extend(length.to_le_bytes());
        block
    }
}

/// A check for any bytes; see the fuzz target `capture`.
#[cfg(any(test, fuzzing))]
pub mod check {
    use super::super::sink::LIVE;
    use super::*;

    /// A copy has no secrets, and a copy of the copy is the same.
    pub fn check(bytes: &[u8]) {
        let section = Section {
            tool: "tool",
            comment: "comment",
            origin: LIVE,
        };
        let mut once = Vec::new();
        let Ok(Stripped { packets, .. }) = strip(bytes, &mut once, &section) else {
            return;
        };
        let mut twice = Vec::new();
        let again = strip(&once[..], &mut twice, &section);
        let whole = Stripped {
            packets,
            is_cut: false,
        };
        assert!(again.is_ok_and(|again| again == whole));
        assert!(once == twice);
        let mut rest = &once[..];
        let mut block = Vec::new();
        while let Ok(Next::Block) = next(&mut rest, &mut block) {
            assert_ne!(word(&block, 0), SECRETS);
        }
        assert!(rest.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::Speech::{Clear, Connect, Connected, Nothing, Tls};

    #[test]
    fn a_connection_speaks_tls_from_the_first_hello_on_and_not_where_other_words_came_first() {
        let hello = &[22, 3, 1, 0, 5, 1, 0][..];
        let rows: [(&[&[u8]], _); 9] = [
            (&[hello], Tls),
            (&[hello, b"GET / HTTP/1.1\r\n\r\n"], Tls),
            (&[b"CONNECT a:1 HTTP/1.1\r\n\r\n", hello], Tls),
            (&[b"CONNECT a:1 HT", b"TP/1.1\r\n\r\n", hello], Tls),
            (&[b"CONNECT a:1 HT", hello], Connect),
            (&[b"CONNECT a:1 HTTP/1.1\r\n\r\n"], Connected),
            (&[&[5, 1, 2], &[1, 1, b'u'], &[5, 1, 0, 3], hello], Tls),
            (&[b"POST / HTTP/1.1\r\n\r\n", hello], Clear),
            (&[b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"GET", hello], Clear),
        ];
        for (payloads, expected) in rows {
            let after = |speech: super::Speech, payload: &&[u8]| speech.after(payload);
            assert_eq!(
                payloads.iter().fold(Nothing, after),
                expected,
                "{payloads:?}"
            );
        }
    }

    #[test]
    fn any_bytes_are_stripped_or_refused() {
        crate::hostile::twin("capture", 1_000, super::check::check);
    }
}
