//! What the kernel tells and is told of sockets whose connections rules of the firewall redirect.
//!
//! modtape's own outgoing sockets, which no rule should redirect back to it, carry a mark, where the system allows one, so that rules can exempt them. Their addresses are
//! known while they are open: a connection that is accepted from one of these is a loop.

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
            shared: Some(Arc::new(Shared { can_mark, open })),
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

    /// Marks a socket that is not connected yet.
    pub(crate) fn mark(&self, socket: &Socket) -> io::Result<()> {
        match self.are_marked() {
            true => kernel::mark(socket),
            false => Ok(()),
        }
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
    use rustix::net::sockopt;

    use super::*;

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
}
