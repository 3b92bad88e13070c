//! Which addresses and ports a stream is shown with: the server's real address, and a 4-tuple that no
//! other stream has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::capture::frame::{Ends, Interface};
use crate::exchange::Opened;

/// The first port that is given to a client: below lie those that name a service.
const FIRST_PORT: u16 = 1024;

/// How many ports a client's address has to give.
const PORTS: u32 = 65_536 - FIRST_PORT as u32;

/// Where every reader expects plain HTTP: on 443 it would look for TLS.
const HTTP: u16 = 80;

/// Stands for an address that the recording does not have (RFC 5737).
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Counts the ports that were given out.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    given: HashMap<(IpAddr, SocketAddr), u32>,
}

impl Addresses {
    /// The ends of an exchange: upstream, or between the client and us.
    pub(super) fn of_exchange(&mut self, dial: Option<&Opened>, interface: Interface) -> Ends {
        let (client, server) = match interface {
            Interface::Upstream => upstream(dial),
            Interface::Client => {
                let client = dial.and_then(|dial| address(&dial.client.addr));
                let client = client.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |client| client.ip());
                (client, loopback_like(client))
            }
        };
        self.ends(interface, client, SocketAddr::new(server, HTTP))
    }

    /// The ends of a connection whose bytes are not shown, on its real port.
    pub(super) fn of_connection(&mut self, dial: &Opened) -> Ends {
        let (client, server) = upstream(Some(dial));
        let upstream = dial.upstream.as_ref();
        let real = upstream.and_then(|upstream| address(upstream.addr.as_deref()?));
        let port = real.map_or(443, |real| real.port());
        self.ends(Interface::Upstream, client, SocketAddr::new(server, port))
    }

    fn ends(&mut self, interface: Interface, client: IpAddr, server: SocketAddr) -> Ends {
        // Once all its ports are used, a client has further addresses, which nobody else has.
        let mut others = 0;
        let mut from = client;
        loop {
            let given = self.given.entry((from, server)).or_default();
            if *given < PORTS {
                let port = FIRST_PORT + u16::try_from(*given).unwrap_or(0);
                *given += 1;
                return Ends {
                    interface,
                    client: SocketAddr::new(from, port),
                    server,
                };
            }
            from = other(server.ip(), others);
            others += 1;
        }
    }
}

/// Our address and the server's, of one family.
fn upstream(dial: Option<&Opened>) -> (IpAddr, IpAddr) {
    let upstream = dial.and_then(|dial| dial.upstream.as_ref());
    let ip = |text: &Option<String>| Some(address(text.as_deref()?)?.ip().to_canonical());
    let server = upstream.and_then(|upstream| ip(&upstream.addr));
    let server = server.unwrap_or(UNKNOWN);
    let ours = upstream.and_then(|upstream| ip(&upstream.local_addr));
    let ours = ours.filter(|ours| ours.is_ipv4() == server.is_ipv4());
    (ours.unwrap_or_else(|| loopback_like(server)), server)
}

fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

fn loopback_like(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Address `number` of those that are kept for measuring and for documents (RFC 2544, RFC 3849).
fn other(server: IpAddr, number: u32) -> IpAddr {
    match server {
        IpAddr::V4(_) => Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 1)) + number).into(),
        IpAddr::V6(_) => {
            let first = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
            Ipv6Addr::from(first + u128::from(number)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::super::sample;
    use super::*;

    #[test]
    fn no_four_tuple_repeats_though_ports_run_out() {
        let mut addresses = Addresses::default();
        let dial = sample::connection("[2001:db8::17]:443");
        let mut seen = HashSet::new();
        for _ in 0..200_000 {
            let ends = addresses.of_exchange(Some(&dial), Interface::Upstream);
            assert!(seen.insert((ends.client, ends.server)), "{ends:?}");
            assert!(ends.client.is_ipv6() && ends.client.port() >= FIRST_PORT);
        }
    }

    #[test]
    fn the_server_stands_with_its_real_address() {
        let mut addresses = Addresses::default();
        let dial = sample::connection("142.250.4.141:443");
        let ends = addresses.of_exchange(Some(&dial), Interface::Upstream);
        assert_eq!(ends.server, "142.250.4.141:80".parse().unwrap());
        let tunnel = addresses.of_connection(&dial);
        assert_eq!(tunnel.server, "142.250.4.141:443".parse().unwrap());
        let lost = addresses.of_exchange(None, Interface::Upstream);
        assert_eq!(lost.server, "192.0.2.1:80".parse().unwrap());
        let ours = addresses.of_exchange(Some(&dial), Interface::Client);
        assert_eq!(ours.server, "127.0.0.1:80".parse().unwrap());
    }
}
