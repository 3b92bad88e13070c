//! What passes between the process inside and the recorder outside, over a Unix socket in a folder that
//! only the user can enter: sockets and reports on the way out, a byte at a time on the way in.
//!
//! ```text
//! inside                                  outside
//! leaves the namespaces
//! nobody is mapped yet            ─────→  (where root says who is who, see `users`)
//!                                 ←─────  maps all users: they are mapped
//! sets the namespace up
//! sockets, or why there are none  ─────→
//!                                 ←─────  serves them: go ahead
//! executes the command            ─────→  the end of the stream, or why it could not
//! ```

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// The byte that tells the process inside to execute the command.
pub(super) const GO: u8 = b'g';

/// The byte that tells the process inside that users are mapped, and the one that they cannot be.
pub(super) const MAPPED: u8 = b'm';
pub(super) const NOT_MAPPED: u8 = b'n';

/// How many sockets are handed over at most.
const SOCKETS: usize = 8;

/// The longest report, bytes.
pub(super) const LONGEST: usize = 1024;

/// What the process inside reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// It is in a user namespace that has no users yet, and has this number in /proc.
    Unmapped(u32),
    /// The namespace stands. With it come the sockets: listener, DNS over UDP and TCP, netlink for links
    /// and for the packet filter; then the first three of IPv6, if there is IPv6.
    Ready {
        /// Whether the command has the right to enter other network namespaces.
        can_leave: bool,
    },
    /// It does not.
    Refused(Refusal),
    /// The command could not be executed: errno.
    NotExecuted(i32),
}

/// Sends a report, in one message.
pub(super) fn send(
    stream: &UnixStream,
    report: &Report,
    sockets: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(report)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(
        stream,
        &[IoSlice::new(&bytes)],
        &mut control,
        SendFlags::empty(),
    )?;
    match sent == bytes.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::WriteZero.into()),
    }
}

/// Receives a report; `None` is the end of the stream.
pub(super) fn receive(stream: impl AsFd) -> io::Result<Option<(Report, Vec<OwnedFd>)>> {
    let mut bytes = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received);
        }
    }
    match received.bytes {
        0 => Ok(None),
        length => Ok(Some((serde_json::from_slice(&bytes[..length])?, sockets))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;

    use super::*;
    use crate::netns::refusal::Step;

    #[test]
    fn a_report_comes_with_its_sockets() {
        let (inside, outside) = UnixStream::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        let ready = Report::Ready { can_leave: true };
        send(&inside, &ready, &[file.as_fd(), file.as_fd()]).unwrap();
        let (report, sockets) = receive(&outside).unwrap().unwrap();
        assert_eq!((report, sockets.len()), (ready, 2));
        let mut received = File::from(sockets.into_iter().next().unwrap());
        assert_eq!(received.read(&mut [0]).unwrap(), 0);
        let refused = Report::Refused(Refusal {
            step: Step::Filter,
            errno: 1,
        });
        send(&inside, &refused, &[]).unwrap();
        assert_eq!(receive(&outside).unwrap().unwrap().0, refused);
        drop(inside);
        assert_eq!(receive(&outside).unwrap().map(|it| it.0), None);
    }
}
