//! How many connections each client has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections of one address at once, unless another number is asked for.
const MOST: u32 = 256;

/// The connections of all clients, by address.
#[derive(Debug)]
pub(super) struct Clients {
    most: Option<u32>,
    // A std Mutex: held for one look at the map, never across an await.
    at: Mutex<HashMap<IpAddr, Client>>,
}

#[derive(Debug, Default)]
struct Client {
    connections: u32,
    /// Whether it was said that it has too many.
    is_told: bool,
}

/// A place for one connection, which it gives back when it ends.
#[derive(Debug)]
pub(super) struct Admitted {
    clients: Arc<Clients>,
    address: IpAddr,
}

impl Clients {
    /// Lets each address have `most` connections; `None` gives 256 to those of other machines, and any number to
    /// this one, where a proxy in front may stand for all clients.
    pub(super) fn new(most: Option<u32>) -> Arc<Self> {
        let at = Mutex::default();
        Arc::new(Self { most, at })
    }

    /// Takes a place for another connection; `None` if there is none.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let address = network(address);
        let most = match self.most {
            Some(most) => most,
            None if address.is_loopback() => u32::MAX,
            None => MOST,
        };
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let client = at.entry(address).or_default();
        if client.connections >= most {
            if !std::mem::replace(&mut client.is_told, true) {
                tracing::warn!(
                    target: "modtape::serve",
                    "{address} has {most} connections: more are refused (--client-connections)"
                );
            }
            return None;
        }
        client.connections += 1;
        let clients = Arc::clone(self);
        Some(Admitted { clients, address })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let at = self.clients.at.lock();
        let mut at = at.unwrap_or_else(PoisonError::into_inner);
        let Some(client) = at.get_mut(&self.address) else {
            return;
        };
        client.connections -= 1;
        if client.connections == 0 {
            at.remove(&self.address);
        }
    }
}

/// What one client has: an IPv4 address, or the 64 bits of IPv6 that a network gives to one machine.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_places_and_gives_them_back() {
        let clients = Clients::new(Some(2));
        let [a, other] = ["192.0.2.1", "192.0.2.2"].map(ip);
        let held: Vec<_> = (0..2).map(|_| clients.admit(a).unwrap()).collect();
        assert!(clients.admit(ip("::ffff:192.0.2.1")).is_none());
        assert!(clients.admit(other).is_some());
        drop(held);
        assert!(clients.admit(a).is_some());
        assert!(clients.at.lock().unwrap().is_empty());
        // Whoever has a network of IPv6 has one address.
        let _held = ["2001:db8::1", "2001:db8::2"].map(|text| clients.admit(ip(text)).unwrap());
        assert!(clients.admit(ip("2001:db8::3")).is_none());
        assert!(clients.admit(ip("2001:db8:0:1::3")).is_some());
    }

    #[test]
    fn this_machine_has_as_many_as_it_likes_unless_a_number_is_given() {
        let clients = Clients::new(None);
        for (address, is_bounded) in [("127.0.0.1", false), ("::1", false), ("192.0.2.1", true)] {
            let held: Vec<_> = (0..MOST)
                .map(|_| clients.admit(ip(address)).unwrap())
                .collect();
            assert_eq!(
                clients.admit(ip(address)).is_none(),
                is_bounded,
                "{address}"
            );
            drop(held);
        }
        let clients = Clients::new(Some(1));
        let _held = clients.admit(ip("::1")).unwrap();
        assert!(clients.admit(ip("::1")).is_none());
    }
}
