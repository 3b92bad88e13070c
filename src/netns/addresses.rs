//! Synthetic addresses: each name that the command looks up gets one of each family, which stands for it
//! as long as the namespace lives. So the name behind a connection is known, whatever the client says.
//!
//! 198.18.0.0/15 is set aside for benchmarks (RFC 2544), and fd00::/8 for local networks (RFC 4193): of
//! both the command reaches nothing but what was named here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::{Ipv4Net, Ipv6Net};

/// The namespace's own address, which its packets come from: the last but one of the range.
pub(super) const OWN_V4: Ipv4Addr = Ipv4Addr::new(198, 19, 255, 254);

/// The same of IPv6.
pub(super) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd6d, 0x6f64, 0x7461, 0x7065, 0, 0, 0, 1);

/// The address before the first name's.
const BASE_V4: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const BASE_V6: u128 = 0xfd6d_6f64_7461_7065_0000_0001_0000_0000;

/// The ranges that hold them all: 198.18.0.0/15, and the /64 of [`OWN_V6`].
const RANGE_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::from_bits(BASE_V4), 15);
const RANGE_V6: Ipv6Net = Ipv6Net::new_assert(OWN_V6, 64);

/// How many names there can be: the addresses between [`BASE_V4`] and [`OWN_V4`].
const MOST: u32 = u32::from_be_bytes([198, 19, 255, 254]) - BASE_V4 - 1;

/// The two addresses of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Synthetic {
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

/// The names that were given addresses.
#[derive(Debug, Default)]
pub(crate) struct Names {
    // A std Mutex: held for a map operation, never across an await.
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// The first name has the number 1.
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Names {
    /// The addresses of a name, which gets them now if it has none; `None` if no more are left.
    pub(crate) fn addresses(&self, name: &str) -> Option<Synthetic> {
        let mut table = self.table();
        let number = match table.numbers.get(name) {
            Some(number) => *number,
            None => table.add(name)?,
        };
        Some(Synthetic {
            v4: Ipv4Addr::from_bits(BASE_V4 + number),
            v6: Ipv6Addr::from_bits(BASE_V6 + u128::from(number)),
        })
    }

    /// The name that an address stands for.
    pub(crate) fn name(&self, address: IpAddr) -> Option<Arc<str>> {
        let number = match address {
            IpAddr::V4(ip) => ip.to_bits().checked_sub(BASE_V4)?,
            IpAddr::V6(ip) => u32::try_from(ip.to_bits().checked_sub(BASE_V6)?).ok()?,
        };
        let place = usize::try_from(number.checked_sub(1)?).ok()?;
        self.table().names.get(place).cloned()
    }

    /// Whether an address could be a name's.
    pub(crate) fn has_range_of(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => RANGE_V4.contains(&ip),
            IpAddr::V6(ip) => RANGE_V6.contains(&ip),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, name: &str) -> Option<u32> {
        let number = u32::try_from(self.names.len()).ok()? + 1;
        if number > MOST {
            return None;
        }
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_addresses_and_they_lead_back_to_it() {
        let names = Names::default();
        let first = names.addresses("proxy.golang.org").unwrap();
        let other = names.addresses("sum.golang.org").unwrap();
        assert_eq!(names.addresses("proxy.golang.org"), Some(first));
        assert_eq!(first.v4.to_string(), "198.18.0.1");
        assert_eq!(other.v6.to_string(), "fd6d:6f64:7461:7065:0:1:0:2");
        for address in [IpAddr::from(first.v4), first.v6.into()] {
            assert_eq!(names.name(address).as_deref(), Some("proxy.golang.org"));
        }
    }

    #[test]
    fn other_addresses_have_no_name() {
        let names = Names::default();
        names.addresses("a.example");
        for address in [
            "198.18.0.0",
            "198.18.0.2",
            "198.17.255.255",
            "255.255.255.255",
            "0.0.0.0",
            "::",
            "fd6d:6f64:7461:7065::1",
            "fd6d:6f64:7461:7065:0:2:0:1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert_eq!(names.name(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn the_own_address_is_nobodys_name() {
        let names = Names::default();
        for number in 0..MOST {
            assert!(names.addresses(&number.to_string()).is_some());
        }
        assert_eq!(names.addresses("one too many"), None);
        assert_eq!(names.name(OWN_V4.into()), None);
        assert_eq!(names.name(OWN_V6.into()), None);
        let last = IpAddr::from(Ipv4Addr::new(198, 19, 255, 253));
        assert_eq!(names.name(last), Some((MOST - 1).to_string().into()));
    }
}
