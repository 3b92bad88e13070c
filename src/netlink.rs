//! Netlink messages, as far as links, routes, packet filters and the sockets of others need them
//! (netlink(7), rtnetlink(7), sock_diag(7)).

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType,
    recvfrom, send, socket_with,
};

use crate::clock::{Clock, Timestamp};

/// `NLM_F_REQUEST`
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`
pub(crate) const ACK: u16 = 0x4;
/// `NLM_F_DUMP`
const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: behind what is there.
pub(crate) const APPEND: u16 = 0x800;

/// `NLMSG_ERROR`; with errno 0 it is an acknowledgement.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;

/// The length of `struct nlmsghdr`, bytes.
const HEADER: usize = 16;

/// The kernel answers within the call that sends; this ends a wait for an answer that never comes, however
/// many others come meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message under construction: its header, the fixed part of its family, and attributes.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    flags: u16,
}

impl Message {
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let flags = flags | REQUEST;
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend(fixed);
        Self { bytes, flags }
    }

    /// Adds an attribute.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
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
pub(crate) fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The attributes in `bytes`, without the flags in their kinds.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
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
pub(crate) struct Netlink {
    socket: OwnedFd,
    /// The sequence number of the next message: an answer repeats that of its question.
    next: AtomicU32,
}

/// A message that was received.
struct Received<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Netlink {
    /// `None` is the protocol for links and routes.
    pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
        Ok(Self::from(socket))
    }

    /// Sends messages as one datagram, and receives every answer; an error is the first that the kernel has
    /// with any of them.
    pub(crate) fn apply(&self, messages: Vec<Message>) -> io::Result<()> {
        let sequences = self.sequences(messages.len());
        let asks = |message: &Message| message.flags & ACK != 0;
        let numbered = messages.iter().zip(sequences.clone());
        let mut waits: Vec<u32> = numbered
            .filter_map(|(message, sequence)| asks(message).then_some(sequence))
            .collect();
        let bytes = messages.into_iter().zip(sequences.clone());
        let bytes: Vec<u8> = bytes.flat_map(|(one, at)| one.finish(at)).collect();
        send(&self.socket, &bytes, SendFlags::empty())?;
        let patience = Patience::start();
        let mut whole = Ok(());
        while !waits.is_empty() {
            for Received {
                kind,
                sequence,
                body,
            } in received(&self.receive(&patience)?)
            {
                if kind != ERROR || !sequences.contains(&sequence) {
                    continue;
                }
                let outcome = outcome(body);
                match waits.iter().position(|waiting| *waiting == sequence) {
                    Some(place) => drop(waits.swap_remove(place)),
                    // An error with the edge of a batch, which asks for no answer, is the answer to all.
                    None if outcome.is_err() => waits.clear(),
                    None => {}
                }
                whole = whole.and(outcome);
            }
        }
        whole
    }

    /// Asks for a list; `each` is called with the kind and the body of each message.
    pub(crate) fn list(
        &self,
        kind: u16,
        fixed: &[u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        let sequence = self.sequences(1).start;
        let message = Message::new(kind, DUMP, fixed).finish(sequence);
        send(&self.socket, &message, SendFlags::empty())?;
        let patience = Patience::start();
        loop {
            let datagram = self.receive(&patience)?;
            for part in received(&datagram).filter(|part| part.sequence == sequence) {
                match part.kind {
                    DONE => return Ok(()),
                    ERROR => return outcome(part.body),
                    kind => each(kind, part.body),
                }
            }
        }
    }

    /// Asks for one thing, and gives the body of the answer.
    pub(crate) fn ask(&self, kind: u16, fixed: &[u8]) -> io::Result<Vec<u8>> {
        let sequence = self.sequences(1).start;
        let message = Message::new(kind, 0, fixed).finish(sequence);
        send(&self.socket, &message, SendFlags::empty())?;
        let patience = Patience::start();
        loop {
            let datagram = self.receive(&patience)?;
            let mut answers = received(&datagram).filter(|part| part.sequence == sequence);
            if let Some(answer) = answers.next() {
                return match answer.kind {
                    ERROR => outcome(answer.body).map(|()| Vec::new()),
                    _ => Ok(answer.body.to_vec()),
                };
            }
        }
    }

    /// The numbers of so many messages.
    fn sequences(&self, count: usize) -> Range<u32> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        first..first.saturating_add(count)
    }

    /// The next datagram from the kernel: whoever may, can send others to this socket.
    fn receive(&self, patience: &Patience) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let left = patience.left().ok_or(io::ErrorKind::TimedOut)?;
            set_socket_timeout(&self.socket, Timeout::Recv, Some(left))?;
            let (read, _, from) = recvfrom(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            if from.is_some_and(|from| is_kernel(&from)) {
                buffer.truncate(read);
                return Ok(buffer);
            }
        }
    }
}

/// Until when an answer is waited for.
struct Patience {
    clock: Clock,
    until: Timestamp,
}

impl Patience {
    fn start() -> Self {
        let clock = Clock::start();
        let until = clock.now() + PATIENCE;
        Self { clock, until }
    }

    /// What is left of it, if anything is: a timeout of zero would be none.
    fn left(&self) -> Option<Duration> {
        let left = self.until.since(self.clock.now());
        (!left.is_zero()).then_some(left)
    }
}

fn is_kernel(from: &SocketAddrAny) -> bool {
    let from = SocketAddrNetlink::try_from(from.clone());
    from.is_ok_and(|from| from.pid() == 0)
}

impl From<OwnedFd> for Netlink {
    fn from(socket: OwnedFd) -> Self {
        let next = AtomicU32::new(1);
        Self { socket, next }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The messages in a datagram.
fn received(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?);
        let length = usize::try_from(length).ok()?;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let sequence = u32::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Received {
            kind,
            sequence,
            body,
        })
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
    fn an_error_with_several_messages_leaves_no_answer_behind() {
        let netlink = Netlink::open(None).unwrap();
        // RTM_NEWADDR for an interface that no machine has.
        let nowhere = Message::new(20, ACK | CREATE, &[2, 32, 0, 0, 255, 255, 255, 127])
            .with(2, &[192, 0, 2, 1]);
        netlink.apply(vec![nowhere.clone(), nowhere]).unwrap_err();
        let mut links = 0;
        // RTM_GETLINK, whose answers are RTM_NEWLINK.
        netlink
            .list(18, &[0; 16], |kind, _| links += u32::from(kind == 16))
            .unwrap();
        assert!(links >= 1);
    }

    #[test]
    fn what_another_process_sends_is_no_answer() {
        assert!(is_kernel(&SocketAddrNetlink::new(0, 0).into()));
        assert!(!is_kernel(&SocketAddrNetlink::new(7, 0).into()));
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
