//! The way in: what one process does, before anything else runs in it, to become the command in a network
//! namespace of its own.
//!
//! It stays one process, so that signals, process groups, the terminal and the exit code are those of the
//! command. Its first thread is its only one: unshare(2) asks for that.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::{fs, process};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::geteuid;

use super::handover::{GO, MAPPED, Report, send};
use super::refusal::{EntryError, Refusal, Step};
use super::rules::Places;
use super::{Inside, links, rules, users};
use crate::netlink::Netlink;

/// Sockets of the host's own name services. A lookup over one of them would be answered outside, with
/// real addresses, so the command sees a socket that nobody listens on, and asks over DNS instead
/// (nss-resolve, nscd and nss-mdns are all written to be absent).
const NAME_SERVICES: [&str; 5] = [
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/nscd/socket",
    "/var/run/nscd/socket",
    "/run/avahi-daemon/socket",
    "/var/run/avahi-daemon/socket",
];

/// How many connections may wait to be accepted, as for the listener outside.
const BACKLOG: i32 = 1024;

/// Enters a new network namespace, hands its sockets to the recorder at `recorder`, and becomes `command`.
pub(crate) fn enter(
    recorder: &Path,
    inside: &Inside,
    command: &[OsString],
) -> Result<Infallible, EntryError> {
    let mut stream = UnixStream::connect(recorder).map_err(EntryError::NoRecorder)?;
    let hidden: Vec<_> = NAME_SERVICES.into_iter().filter(is_socket).collect();
    let left = separate(inside.maps_all_users, !hidden.is_empty());
    if left == Ok(Left::Unmapped) {
        let process = users::own_number().map_err(EntryError::NoRecorder)?;
        send(&stream, &Report::Unmapped(process), &[]).map_err(EntryError::NoRecorder)?;
        if hear(&mut stream)? != MAPPED {
            return Err(EntryError::Told);
        }
    }
    let set_up = left.and_then(|left| {
        hide(&hidden).map_err(|error| Refusal::of(Step::Mount, &error))?;
        Ok((set_up(inside)?, left))
    });
    let (sockets, left) = match set_up {
        Ok(ready) => ready,
        Err(refusal) => {
            let report = Report::Refused(refusal);
            send(&stream, &report, &[]).map_err(EntryError::NoRecorder)?;
            return Err(EntryError::Told);
        }
    };
    let descriptors: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
    let report = Report::Ready {
        can_leave: left == Left::NetworkOnly,
    };
    send(&stream, &report, &descriptors).map_err(EntryError::NoRecorder)?;
    drop(sockets);
    if hear(&mut stream)? != GO {
        return Err(EntryError::NoRecorder(io::ErrorKind::InvalidData.into()));
    }
    let program = command.first().cloned().unwrap_or_default();
    let error = process::Command::new(program)
        .args(command.iter().skip(1))
        .exec();
    let report = Report::NotExecuted(error.raw_os_error().unwrap_or_default());
    send(&stream, &report, &[]).map_err(EntryError::NoRecorder)?;
    Err(EntryError::Told)
}

/// The recorder's next byte.
fn hear(stream: &mut UnixStream) -> Result<u8, EntryError> {
    let mut answer = [0];
    let heard = stream.read_exact(&mut answer);
    heard.map_err(EntryError::NoRecorder)?;
    Ok(answer[0])
}

/// Which namespaces the process has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// That of the network only: as root of those outside, the command can enter them again.
    NetworkOnly,
    /// That of the users too, and the recorder has yet to map them into the new one.
    Unmapped,
    /// That of the users too; the new one has only the user of the command.
    Alone,
}

/// Leaves the network namespace, and the user namespace with it, since who has rights over what is outside
/// can go back there; and that of the mounts `with_mounts`, where something has to be hidden.
fn separate(maps_all_users: bool, with_mounts: bool) -> Result<Left, Refusal> {
    let mut apart = CloneFlags::CLONE_NEWNET;
    if with_mounts {
        apart |= CloneFlags::CLONE_NEWNS;
    }
    let with_users = apart | CloneFlags::CLONE_NEWUSER;
    if maps_all_users && unshare(with_users).is_ok() {
        return Ok(Left::Unmapped);
    }
    // Root where no further user namespaces are allowed. In a container it may lack CAP_SYS_ADMIN, and then
    // does as others do.
    if geteuid().is_root() && unshare(apart).is_ok() {
        return Ok(Left::NetworkOnly);
    }
    let (user, group) = users::own();
    unshare(with_users).map_err(|errno| Refusal::of(Step::Unshare, &errno.into()))?;
    users::map_own(user, group).map_err(|error| Refusal::of(Step::Map, &error))?;
    Ok(Left::Alone)
}

fn is_socket(path: &&str) -> bool {
    fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

fn hide(sockets: &[&str]) -> io::Result<()> {
    if sockets.is_empty() {
        return Ok(());
    }
    // What is mounted here stays here; what is mounted outside still appears.
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", downstream)?;
    // Two of the paths may be one socket, which then is no socket any more.
    for socket in sockets.iter().filter(|path| is_socket(path)) {
        mount_bind("/dev/null", *socket)?;
    }
    Ok(())
}

/// Something that the recorder is given a descriptor of.
type Handed = Box<dyn std::os::fd::AsFd>;

/// Sets links, routes and the packet filter up; returns the sockets in the order of [`Report::Ready`].
fn set_up(inside: &Inside) -> Result<Vec<Handed>, Refusal> {
    let at = |step: Step| move |error: io::Error| Refusal::of(step, &error);
    let links = Netlink::open(None).map_err(at(Step::Links))?;
    let has_v6 = links::set_up(&links).map_err(at(Step::Links))?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners = at(Step::Listeners);
    let listener = listen(any).map_err(listeners)?;
    let tcp = listen(any).map_err(listeners)?;
    let local = |listener: &TcpListener| listener.local_addr().map_err(at(Step::Listeners));
    let (arrives, asked) = (local(&listener)?.port(), local(&tcp)?.port());
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, asked)).map_err(at(Step::Listeners))?;
    let filter = rules::socket().map_err(at(Step::Filter))?;
    let places = Places {
        listener: arrives,
        names: asked,
        resolvers: &inside.resolvers,
        host_ports: &inside.host_ports,
    };
    rules::set_up(&filter, &places).map_err(at(Step::Filter))?;
    let mut sockets: Vec<Handed> = vec![
        Box::new(listener),
        Box::new(udp),
        Box::new(tcp),
        Box::new(links),
        Box::new(filter),
    ];
    if has_v6 {
        let on = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        sockets.push(Box::new(listen(on(arrives)).map_err(at(Step::Listeners))?));
        let udp = UdpSocket::bind(on(asked)).map_err(at(Step::Listeners))?;
        sockets.push(Box::new(udp));
        sockets.push(Box::new(listen(on(asked)).map_err(at(Step::Listeners))?));
    }
    Ok(sockets)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // Again, for a longer queue than the standard library asks for.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}
