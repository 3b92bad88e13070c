//! Netlink messages, as far as links, routes and packet filters need them (netlink(7), rtnetlink(7)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// `NLM_F_REQUEST`
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`
pub(super) const ACK: u16 = 0x4;
/// `NLM_F_DUMP`
const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: behind what is there.
pub(super) const APPEND: u16 = 0x800;

/// `NLMSG_ERROR`; with errno 0 it is an acknowledgement.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;

/// The length of `struct nlmsghdr`, bytes.
const HEADER: usize = 16;

/// The kernel answers within the call that sends; this ends a wait for an answer that never comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message under construction: its header, the fixed part of its family, and attributes.
#[derive(Debug, Clone)]
pub(super) struct Message {
    bytes: Vec<u8>,
    flags: u16,
}

impl Message {
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let flags = flags | REQUEST;
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend(fixed);
        Self { bytes, flags }
    }

    /// Adds an attribute.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        attribute(&mut self.bytes, kind, value);
        self
    }

    /// Its bytes; `sequence` is what the answer repeats.
    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// Adds an attribute to the bytes of a message, or to those of another attribute that holds it.
pub(super) fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The attributes in `bytes`, without the flags in their kinds.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A netlink socket. It speaks to the network namespace that it was opened in, whoever holds it.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// `None` is the protocol for links and routes.
    pub(super) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket })
    }

    /// Sends messages as one datagram; an error is the first that the kernel has with any of them.
    pub(super) fn apply(&self, messages: Vec<Message>) -> io::Result<()> {
        let asked = messages.iter().filter(|message| message.flags & ACK != 0);
        let mut left = asked.count();
        let sequences = 1..;
        let bytes = messages.into_iter().zip(sequences);
        let bytes: Vec<u8> = bytes.flat_map(|(one, at)| one.finish(at)).collect();
        send(&self.socket, &bytes, SendFlags::empty())?;
        while left > 0 {
            for (kind, body) in received(&self.receive()?) {
                if kind == ERROR {
                    outcome(body)?;
                    left = left.saturating_sub(1);
                }
            }
        }
        Ok(())
    }

    /// Asks for a list; `each` is called with the kind and the body of each message.
    pub(super) fn list(
        &self,
        kind: u16,
        fixed: &[u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        let message = Message::new(kind, DUMP, fixed).finish(1);
        send(&self.socket, &message, SendFlags::empty())?;
        loop {
            for (kind, body) in received(&self.receive()?) {
                match kind {
                    DONE => return Ok(()),
                    ERROR => return outcome(body),
                    kind => each(kind, body),
                }
            }
        }
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 64 * 1024];
        let (read, _) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
        buffer.truncate(read);
        Ok(buffer)
    }
}

impl From<OwnedFd> for Netlink {
    fn from(socket: OwnedFd) -> Self {
        Self { socket }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The kinds and bodies of the messages in a datagram.
fn received(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?);
        let length = usize::try_from(length).ok()?;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// What a message of the kind [`ERROR`] says.
fn outcome(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let mut bytes = Vec::new();
        attribute(&mut bytes, 1, b"abc");
        attribute(&mut bytes, 0x8002, &7_u32.to_ne_bytes());
        assert_eq!(bytes.len(), 16);
        let read: Vec<_> = attributes(&bytes).collect();
        assert_eq!(read, [(1, &b"abc"[..]), (2, &7_u32.to_ne_bytes()[..])]);
    }

    #[test]
    fn bytes_that_are_cut_anywhere_are_read_as_far_as_they_go() {
        let mut body = Vec::new();
        attribute(&mut body, 3, b"lo\0");
        let whole = Message::new(16, ACK, &[0; 16]).with(3, b"lo\0").finish(9);
        for end in 0..whole.len() {
            assert_eq!(received(&whole[..end]).count(), 0, "{end}");
        }
        assert_eq!(received(&whole).count(), 1);
        for end in 0..body.len() {
            assert!(attributes(&body[..end]).count() <= 1);
        }
        // A length that leads nowhere ends the list.
        assert_eq!(attributes(&[0; 64]).count(), 0);
        assert_eq!(received(&[0; 64]).count(), 0);
    }
}
