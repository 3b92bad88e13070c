//! The sockets that clients connect to.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, anyhow};
use rustix::net::sockopt;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

use crate::cli::RunArgs;
use crate::commands::failure::Advise as _;
use crate::sockets::{self, CAN_BE_REDIRECTED};

/// How many connections may wait to be accepted. The kernel ignores further ones, which try again
/// after a second: go opens ten at once, and a build runs go many times.
const BACKLOG: u32 = 1024;

/// Bound sockets; none with `--netns`, where clients connect inside.
pub(super) struct Listeners(Vec<TcpListener>);

impl Listeners {
    /// Binds each address of `--listen`.
    pub(super) fn bind(run: &RunArgs) -> anyhow::Result<Self> {
        if run.mode.is_transparent() && !CAN_BE_REDIRECTED {
            return Err(anyhow!("--mode transparent needs a Linux kernel"));
        }
        let mut bound = Vec::new();
        for address in run.listen.iter().filter(|_| !run.netns) {
            let shared = Shared {
                is_redirected: run.mode.is_transparent(),
                is_v6_only: run.listen.len() > 1,
            };
            let listener = listen(*address, shared)
                .with_context(|| format!("cannot listen on {address}"))
                .help(format!("--listen {} picks a free port", of_ip(*address)))?;
            bound.push(listener);
        }
        Ok(Self(bound))
    }

    /// Where clients connect.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let all = self.0.iter();
        all.filter_map(|listener| listener.local_addr().ok())
            .collect()
    }
}

impl IntoIterator for Listeners {
    type Item = TcpListener;
    type IntoIter = std::vec::IntoIter<TcpListener>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What a listener shares with others.
#[derive(Debug, Clone, Copy)]
struct Shared {
    /// The kernel redirects connections to it.
    is_redirected: bool,
    /// Another one takes IPv4.
    is_v6_only: bool,
}

fn listen(address: SocketAddr, shared: Shared) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As TcpListener::bind does: a port can be used again although old connections linger.
    socket.set_reuseaddr(true)?;
    if shared.is_v6_only && address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if shared.is_redirected {
        // Without it TPROXY leads nowhere, and REDIRECT works.
        let _ = sockets::accept_foreign(&SockRef::from(&socket), address.is_ipv6());
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The address alone, as `--listen` takes it.
fn of_ip(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("'[{ip}]'"),
    }
}
