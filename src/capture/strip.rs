//! A live capture without what must not be shared: no secrets, and nothing that is not inside TLS.

use std::collections::HashSet;
use std::io::{self, Read, Write};

use super::sink::{PACKET, SECRETS, Section, Sink};

/// The first octets of a block: its type and its length.
const HEAD: usize = 8;

/// The longest block that a capture of ours has, octets: a packet with a comment.
const LIMIT: u32 = 1 << 20;

/// The types of a section's header and of an interface's description (sections 4.1 and 4.2).
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;

/// Why a capture cannot be stripped.
#[derive(Debug, thiserror::Error)]
pub enum StripError {
    /// It cannot be read, or the copy not written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is none that this program wrote.
    #[error("octet {at}: {what}")]
    Foreign {
        /// Where.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// Copies a capture from `from`, and returns how many packets it has and whether it broke off in the
/// middle of a block, as it does where the recorder was killed.
pub fn strip(
    mut from: impl Read,
    to: impl Write,
    (tool, comment): (&str, &str),
) -> Result<(u64, bool), StripError> {
    let section = Section {
        tool,
        comment,
        origin: "as it passed",
        has_checksums: false,
    };
    let mut sink = Sink::new(to, &section)?;
    let mut at = 0;
    let mut block = Vec::new();
    let mut opened = HashSet::new();
    let broke_off = loop {
        let foreign = |what| StripError::Foreign { at, what };
        match next(&mut from, &mut block)? {
            Next::Over => break false,
            Next::BrokeOff => break true,
            Next::TooLong => return Err(foreign("the length of a block cannot be")),
            Next::Block => {}
        }
        let kind = word(&block, 0);
        if (at == 0) != (kind == SECTION) {
            return Err(foreign("this is no capture of one section"));
        }
        match kind {
            SECTION if word(&block, 8) != 0x1a2b_3c4d => {
                return Err(foreign("octets are in another order"));
            }
            SECTION | INTERFACE | SECRETS => {}
            PACKET => {
                let packet = Packet::of(&block).ok_or_else(|| foreign("a packet is malformed"))?;
                if packet.is_open(&mut opened) {
                    sink.copy(&block, true)?;
                } else {
                    sink.copy(&packet.without_payload(), true)?;
                }
            }
            _ => sink.copy(&block, false)?,
        }
        at += block.len() as u64;
    };
    sink.flush()?;
    Ok((sink.packets, broke_off))
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

/// The little-endian word at `at`, which is within `octets`.
fn word(octets: &[u8], at: usize) -> u32 {
    let octets = octets.get(at..at + 4).and_then(|word| word.try_into().ok());
    octets.map_or(0, u32::from_le_bytes)
}

/// A packet of ours, as an Enhanced Packet Block.
struct Packet<'a> {
    block: &'a [u8],
    /// Octets of Ethernet, IP and TCP.
    headers: usize,
    /// Octets shown.
    shown: usize,
}

/// Where the packet itself begins.
const DATA: usize = 28;

impl<'a> Packet<'a> {
    fn of(block: &'a [u8]) -> Option<Self> {
        let shown = usize::try_from(word(block, 20)).ok()?;
        let data = block.get(DATA..DATA.checked_add(shown)?)?;
        let tcp = match data.get(12..14)? {
            [0x08, 0x00] => 14 + 20,
            [0x86, 0xdd] => 14 + 40,
            _ => return None,
        };
        let headers = tcp + usize::from(*data.get(tcp + 12)? >> 4) * 4;
        (headers <= shown).then_some(Self {
            block,
            headers,
            shown,
        })
    }

    fn data(&self) -> &'a [u8] {
        &self.block[DATA..DATA + self.shown]
    }

    /// Whether its octets may be seen: they are inside TLS, or there are none. A connection speaks
    /// TLS from the first ClientHello on; what went before it, as a CONNECT, may hold a credential.
    fn is_open(&self, opened: &mut HashSet<Vec<u8>>) -> bool {
        let data = self.data();
        let payload = &data[self.headers..];
        let is_v4 = data[12] == 0x08;
        let addresses = if is_v4 { 26 } else { 22 };
        let tcp = if is_v4 { 34 } else { 54 };
        let half = (tcp - addresses) / 2;
        let (from, to) = data[addresses..tcp].split_at(half);
        let ports = &data[tcp..tcp + 4];
        let (from, to) = ([from, &ports[..2]].concat(), [to, &ports[2..]].concat());
        // One connection, whichever side speaks.
        let (low, high) = if from < to { (from, to) } else { (to, from) };
        let key = [&self.block[8..12], &low, &high].concat();
        let is_syn = data[tcp + 13] & super::frame::SYN != 0;
        if is_syn {
            opened.remove(&key);
        }
        // By the address of the client's side (`frame::ethernet`).
        let is_clients = data[11] == 1;
        let is_hello = is_clients && matches!(payload, [22, 3, _, _, _, 1, ..]);
        if is_hello && !opened.contains(&key) {
            opened.insert(key);
            return true;
        }
        payload.is_empty() || opened.contains(&key)
    }

    /// The same packet, cut to its headers, which tell the true length.
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

/// Holds for any octets whatever; see the fuzz target `capture`.
#[cfg(any(test, fuzzing))]
pub mod check {
    use super::*;

    /// What is stripped of any octets holds no secrets, and stripping it again changes nothing.
    pub fn check(octets: &[u8]) {
        let words = ("tool", "comment");
        let mut once = Vec::new();
        let Ok((packets, _)) = strip(octets, &mut once, words) else {
            return;
        };
        let mut twice = Vec::new();
        let again = strip(&once[..], &mut twice, words);
        assert!(matches!(again, Ok((again, false)) if again == packets));
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
    #[test]
    fn any_octets_are_stripped_or_refused() {
        crate::hostile::twin("capture", 1_000, super::check::check);
    }
}
