//! What the kernel tells and is told of sockets whose connections rules of the firewall redirect.
//!
//! modtape's own outgoing sockets, which no rule should redirect back to it, carry a mark, where the
//! system allows one, so that rules can exempt them. Their addresses are known while they are open: a
//! connection that is accepted from one of these is a loop. Two modtapes whose rules redirect each
//! other's connections are a loop too: so each socket has a signature that every modtape of the machine
//! can read.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

/// The mark (`SO_MARK`, socket(7)) of modtape's own connections: "mt" in ASCII.
pub(crate) const MARK: u32 = 0x6d74;

/// modtape's open connections to upstreams; cheap to clone. The default follows none.
#[derive(Debug, Clone, Default)]
pub struct OwnSockets {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    can_mark: bool,
    /// Reads the signatures of others, where the kernel tells them.
    signatures: Option<kernel::Signatures>,
    // A std Mutex: held for one look, insertion or removal, never across an await.
    open: Mutex<HashMap<SocketAddr, Arc<AtomicBool>>>,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<AtomicBool>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OwnSockets {
    /// Follows the sockets, and marks them if this process may (CAP_NET_ADMIN, or CAP_NET_RAW since
    /// Linux 5.17).
    pub fn followed() -> Self {
        let probe = Socket::new(Domain::IPV4, Type::STREAM, None);
        let can_mark = probe.is_ok_and(|probe| kernel::mark(&probe).is_ok());
        let open = Mutex::default();
        Self {
            shared: Some(Arc::new(Shared {
                can_mark,
                signatures: kernel::Signatures::open().ok(),
                open,
            })),
        }
    }

    /// Whether the sockets are followed.
    pub(crate) const fn are_followed(&self) -> bool {
        self.shared.is_some()
    }

    /// Whether the sockets carry [`MARK`].
    pub(crate) fn are_marked(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.can_mark)
    }

    /// Marks and signs a socket that is not connected yet.
    pub(crate) fn mark(&self, socket: &Socket) -> io::Result<()> {
        if self.are_followed() {
            // Without it another modtape takes the connection for one like any other.
            let _ = kernel::sign(socket);
        }
        match self.are_marked() {
            true => kernel::mark(socket),
            false => Ok(()),
        }
    }

    /// The user of the modtape that opened a connection which was accepted from `peer` and which was
    /// bound for `to`, if it is one of a modtape in this network namespace that takes redirected
    /// connections too.
    pub(crate) fn user_of_modtape(&self, peer: SocketAddr, to: SocketAddr) -> Option<u32> {
        let signatures = self.shared.as_ref()?.signatures.as_ref()?;
        signatures.signer(canonical(peer), canonical(to))
    }

    /// Follows a socket whose first packet was sent just now: from then on it has an address.
    pub(crate) fn follow(&self, socket: &Socket) -> Option<Followed> {
        let shared = Arc::clone(self.shared.as_ref()?);
        let address = canonical(socket.local_addr().ok()?.as_socket()?);
        let is_redirected = Arc::<AtomicBool>::default();
        shared.open().insert(address, Arc::clone(&is_redirected));
        Some(Followed {
            shared,
            address,
            is_redirected,
        })
    }

    /// Whether the peer of a connection that was accepted is one of these sockets; which then knows it
    /// too.
    pub(crate) fn has(&self, peer: SocketAddr) -> bool {
        let Some(shared) = &self.shared else {
            return false;
        };
        let open = shared.open();
        let own = open.get(&canonical(peer));
        own.inspect(|is_redirected| is_redirected.store(true, Ordering::Relaxed))
            .is_some()
    }
}

/// A socket that is followed until this is dropped.
pub(crate) struct Followed {
    shared: Arc<Shared>,
    address: SocketAddr,
    is_redirected: Arc<AtomicBool>,
}

impl Followed {
    /// Becomes true once the socket turns out to lead back to modtape.
    pub(crate) fn is_redirected(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_redirected)
    }
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Followed({})", self.address)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.shared.open().remove(&self.address);
    }
}

/// A mapped address is IPv4 on the network.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether the kernel can redirect connections to us and tell where they were bound for.
pub(crate) const CAN_BE_REDIRECTED: bool = cfg!(target_os = "linux");

/// Where the client of an accepted connection connected, as connection tracking knows it after REDIRECT.
///
/// It is the socket's own address, or an error, if nothing was redirected or nothing is tracked.
pub(crate) fn tracked_destination(socket: &TcpStream) -> io::Result<SocketAddr> {
    kernel::tracked_destination(socket)
}

/// Lets a listener accept what TPROXY leads to it, if this process may (CAP_NET_ADMIN); REDIRECT needs
/// no such thing.
pub(crate) fn accept_foreign(listener: &Socket, is_v6: bool) -> io::Result<()> {
    kernel::accept_foreign(listener, is_v6)
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::net::IpAddr;

    use rustix::net::{AddressFamily, netlink, sockopt};

    use super::*;
    use crate::netlink::{Netlink, attributes};

    /// Signs a socket: these options of IP mean nothing to a TCP socket that connects, show on no
    /// network, need no right, and no program has a reason to set all of them so.
    pub(super) fn sign(socket: &Socket) -> io::Result<()> {
        match socket.domain()? {
            Domain::IPV6 => socket.set_freebind_v6(true)?,
            _ => socket.set_freebind_v4(true)?,
        }
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_all_v4(false)
    }

    /// Reads the signatures of sockets (sock_diag(7)).
    #[derive(Debug)]
    pub(super) struct Signatures(Netlink);

    /// `SOCK_DIAG_BY_FAMILY`
    const BY_FAMILY: u16 = 20;
    /// `INET_DIAG_SOCKOPT`, since Linux 5.14
    const SOCKOPT: u16 = 22;
    /// The length of `struct inet_diag_msg`, bytes, and where the user is in there.
    const ANSWER: usize = 72;
    const USER: usize = 64;
    /// `IPPROTO_TCP`
    const TCP: u8 = 6;

    /// Of `struct inet_diag_sockopt`, in which the first bit is the lowest where the machine's bytes are
    /// little-endian.
    const FREEBIND: u8 = 1 << 2;
    const MULTICAST_LOOP: u8 = 1 << 4;
    const MULTICAST_ALL: u8 = 1 << 6;

    impl Signatures {
        pub(super) fn open() -> io::Result<Self> {
            Ok(Self(Netlink::open(Some(netlink::SOCK_DIAG))?))
        }

        /// The user of the socket between these addresses, if it is signed.
        pub(super) fn signer(&self, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
            let answer = self.0.ask(BY_FAMILY, &question(local, remote)).ok()?;
            let (fixed, rest) = answer.split_at_checked(ANSWER)?;
            let mut options = attributes(rest).filter(|(kind, _)| *kind == SOCKOPT);
            let options = *options.next()?.1.first()?;
            let options = match cfg!(target_endian = "big") {
                true => options.reverse_bits(),
                false => options,
            };
            let signature = options & (FREEBIND | MULTICAST_LOOP | MULTICAST_ALL);
            let user = u32::from_ne_bytes(*fixed.get(USER..)?.first_chunk()?);
            (signature == FREEBIND).then_some(user)
        }
    }

    /// `struct inet_diag_req_v2`
    fn question(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
        let family = match local {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let family = u8::try_from(family.as_raw()).unwrap_or_default();
        // No extensions, a byte of padding, and a socket in any state.
        let mut question = vec![family, TCP, 0, 0, 0xff, 0xff, 0xff, 0xff];
        question.extend(local.port().to_be_bytes());
        question.extend(remote.port().to_be_bytes());
        for ip in [local.ip(), remote.ip()] {
            let mut bytes = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            bytes.resize(16, 0);
            question.extend(bytes);
        }
        // Any interface, and no cookie.
        question.extend([0; 4]);
        question.extend([0xff; 8]);
        question
    }

    pub(super) fn mark(socket: &Socket) -> io::Result<()> {
        socket.set_mark(MARK)
    }

    pub(super) fn tracked_destination(socket: &TcpStream) -> io::Result<SocketAddr> {
        match canonical(socket.local_addr()?) {
            SocketAddr::V4(_) => Ok(sockopt::ip_original_dst(socket)?.into()),
            SocketAddr::V6(_) => {
                let to = sockopt::ipv6_original_dst(socket)?;
                Ok(SocketAddr::new((*to.ip()).into(), to.port()))
            }
        }
    }

    pub(super) fn accept_foreign(listener: &Socket, is_v6: bool) -> io::Result<()> {
        listener.set_ip_transparent_v4(true)?;
        match is_v6 {
            true => listener.set_ip_transparent_v6(true),
            false => Ok(()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::*;

    #[derive(Debug)]
    pub(super) struct Signatures;

    impl Signatures {
        pub(super) fn open() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn signer(&self, _: SocketAddr, _: SocketAddr) -> Option<u32> {
            None
        }
    }

    pub(super) fn sign(_: &Socket) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn mark(_: &Socket) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn tracked_destination(_: &TcpStream) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn accept_foreign(_: &Socket, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_is_known_while_it_is_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = OwnSockets::followed();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        own.mark(&socket).unwrap();
        socket
            .connect(&listener.local_addr().unwrap().into())
            .unwrap();
        let followed = own.follow(&socket).unwrap();
        let (_, peer) = listener.accept().unwrap();
        let is_redirected = followed.is_redirected();
        assert!(!is_redirected.load(Ordering::Relaxed));
        assert!(own.has(peer) && is_redirected.load(Ordering::Relaxed));
        let mapped = match peer {
            SocketAddr::V4(peer) => (peer.ip().to_ipv6_mapped(), peer.port()),
            SocketAddr::V6(_) => panic!("the listener has an IPv4 address"),
        };
        assert!(own.has(mapped.into()));
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!own.has(other.local_addr().unwrap()));
        drop(followed);
        assert!(!own.has(peer));
        assert!(!OwnSockets::default().has(peer));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_modtape_knows_the_sockets_of_another_and_no_others() {
        let (one, another) = (OwnSockets::followed(), OwnSockets::followed());
        let user = rustix::process::geteuid().as_raw();
        for (address, domain) in [("127.0.0.1:0", Domain::IPV4), ("[::1]:0", Domain::IPV6)] {
            let listener = TcpListener::bind(address).unwrap();
            let to = listener.local_addr().unwrap();
            let socket = Socket::new(domain, Type::STREAM, None).unwrap();
            one.mark(&socket).unwrap();
            socket.connect(&to.into()).unwrap();
            let (_accepted, peer) = listener.accept().unwrap();
            assert_eq!(another.user_of_modtape(peer, to), Some(user), "{address}");
            assert_eq!(OwnSockets::default().user_of_modtape(peer, to), None);
            let other = TcpStream::connect(to).unwrap();
            let other = other.local_addr().unwrap();
            assert_eq!(another.user_of_modtape(other, to), None);
        }
    }
}
