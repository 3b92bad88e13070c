//! Which addresses are not public: a machine's own, a local network's, reserved ones.
//!
//! From IANA's special-purpose registries (RFC 6890). IPv6 addresses outside of the global unicast
//! range count as not public too. Never resolves, never dials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// A range of addresses.
struct Range<N> {
    net: N,
    /// Its purpose, in words that follow "is".
    purpose: &'static str,
}

const fn v4(address: Ipv4Addr, prefix: u8, purpose: &'static str) -> Range<Ipv4Net> {
    let net = Ipv4Net::new_assert(address, prefix);
    Range { net, purpose }
}

const fn v6(address: Ipv6Addr, prefix: u8, purpose: &'static str) -> Range<Ipv6Net> {
    let net = Ipv6Net::new_assert(address, prefix);
    Range { net, purpose }
}

/// IANA IPv4 Special-Purpose Address Registry; multicast (RFC 5771); the address under which
/// Azure's host answers each of its guests.
const V4: [Range<Ipv4Net>; 16] = [
    v4(Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    v4(Ipv4Addr::new(10, 0, 0, 0), 8, "a private network"),
    v4(Ipv4Addr::new(100, 64, 0, 0), 10, "a carrier's network"),
    v4(Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    // 169.254.169.254 answers with a cloud machine's credentials.
    v4(Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    v4(Ipv4Addr::new(172, 16, 0, 0), 12, "a private network"),
    v4(Ipv4Addr::new(192, 0, 0, 0), 24, "reserved for protocols"),
    v4(Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    v4(Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    v4(Ipv4Addr::new(192, 168, 0, 0), 16, "a private network"),
    v4(Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    v4(Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    v4(Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    v4(Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's host"),
    v4(Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    // Includes 255.255.255.255.
    v4(Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// IANA IPv6 Special-Purpose Address Registry, as far as it lies in [`GLOBAL`].
const V6: [Range<Ipv6Net>; 3] = [
    // Includes Teredo (RFC 4380).
    v6(
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        23,
        "reserved for protocols",
    ),
    v6(
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "for documentation",
    ),
    v6(
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "for documentation",
    ),
];

/// Ranges outside of [`GLOBAL`] that have a well-known purpose.
const V6_NAMED: [Range<Ipv6Net>; 5] = [
    v6(Ipv6Addr::LOCALHOST, 128, "loopback"),
    v6(Ipv6Addr::UNSPECIFIED, 128, "this machine"),
    v6(
        Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
        7,
        "a private network",
    ),
    v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    v6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// Global unicast, as IANA assigns it today (RFC 4291 section 2.5.4).
const GLOBAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// The purposes of networks that several machines share.
pub(super) const NETWORKS: [&str; 2] = ["a private network", "a carrier's network"];

/// The purpose of `ip`, in words that follow "is"; `None` if it is public.
pub(super) fn purpose(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => purpose_v4(ip),
        IpAddr::V6(ip) => match inside(ip) {
            Some(inside) => purpose_v4(inside),
            None => purpose_v6(ip),
        },
    }
}

fn purpose_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let found = V4.iter().find(|range| range.net.contains(&ip));
    found.map(|range| range.purpose)
}

fn purpose_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let is_global = GLOBAL.contains(&ip);
    let ranges = if is_global { &V6[..] } else { &V6_NAMED };
    let found = ranges.iter().find(|range| range.net.contains(&ip));
    match found {
        Some(range) => Some(range.purpose),
        None if is_global => None,
        None => Some("reserved"),
    }
}

/// The IPv4 address that is embedded in an IPv6 address for a translator or the kernel.
///
/// Mapped (RFC 4291 section 2.5.5.2), translated (RFC 2765), NAT64 (RFC 6052 section 2.1), 6to4
/// (RFC 3056) and ISATAP (RFC 5214). A NAT64 under a network's own prefix cannot be told from other
/// addresses of that network.
pub(super) fn inside(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => from(high, low),
        [0x2002, high, low, ..] => from(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each range's first and last address, the neighbours outside, and every way to wrap one.
    #[test]
    fn what_is_public_and_what_is_not() {
        let mut wrong = Vec::new();
        for (ip, expected) in [
            ("0.0.0.0", "this network"),
            ("0.255.255.255", "this network"),
            ("1.0.0.0", ""),
            ("1.1.1.1", ""),
            ("9.255.255.255", ""),
            ("10.0.0.0", "a private network"),
            ("10.255.255.255", "a private network"),
            ("11.0.0.0", ""),
            ("100.63.255.255", ""),
            ("100.64.0.0", "a carrier's network"),
            ("100.100.100.200", "a carrier's network"),
            ("100.127.255.255", "a carrier's network"),
            ("100.128.0.0", ""),
            ("126.255.255.255", ""),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("128.0.0.0", ""),
            ("168.63.129.15", ""),
            ("168.63.129.16", "a cloud's host"),
            ("169.253.255.255", ""),
            ("169.254.169.254", "link-local"),
            ("169.255.0.0", ""),
            ("172.15.255.255", ""),
            ("172.16.0.0", "a private network"),
            ("172.31.255.255", "a private network"),
            ("172.32.0.0", ""),
            ("192.0.0.192", "reserved for protocols"),
            ("192.0.1.0", ""),
            ("192.0.2.1", "for documentation"),
            ("192.88.99.1", "a 6to4 relay"),
            ("192.167.255.255", ""),
            ("192.168.0.0", "a private network"),
            ("192.168.255.255", "a private network"),
            ("192.169.0.0", ""),
            ("198.17.255.255", ""),
            ("198.18.0.0", "for benchmarks"),
            ("198.19.255.255", "for benchmarks"),
            ("198.20.0.0", ""),
            ("198.51.100.7", "for documentation"),
            ("203.0.113.7", "for documentation"),
            ("223.255.255.255", ""),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.0", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "this machine"),
            ("::1", "loopback"),
            ("::2", "reserved"),
            ("::127.0.0.1", "reserved"),
            ("::8.8.8.8", "reserved"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.1.2.3", "a private network"),
            ("::ffff:8.8.8.8", ""),
            ("::ffff:0:169.254.169.254", "link-local"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("64:ff9b::808:808", ""),
            ("64:ff9b:1::808:808", "reserved"),
            ("100::1", "reserved"),
            ("1fff:ffff::", "reserved"),
            ("2000::", ""),
            ("2001::1", "reserved for protocols"),
            ("2001:1ff:ffff::", "reserved for protocols"),
            ("2001:200::", ""),
            ("2001:db8::1", "for documentation"),
            ("2001:db9::1", ""),
            ("2002:7f00:1::1", "loopback"),
            ("2002:c0a8:101::1", "a private network"),
            ("2002:808:808::1", ""),
            ("2606:4700::1111", ""),
            ("2606:4700::5efe:a00:1", "a private network"),
            ("2606:4700::200:5efe:a00:1", "a private network"),
            ("2606:4700::5efe:808:808", ""),
            ("3ffe:ffff::", ""),
            ("3fff::1", "for documentation"),
            ("3fff:fff::1", "for documentation"),
            ("3fff:1000::1", ""),
            ("4000::", "reserved"),
            ("5f00::1", "reserved"),
            ("fc00::1", "a private network"),
            ("fd00:ec2::254", "a private network"),
            ("fe80::1", "link-local"),
            ("fec0::1", "reserved"),
            ("ff02::1", "multicast"),
        ] {
            let found = purpose(ip.parse().unwrap()).unwrap_or_default();
            if found != expected {
                wrong.push(format!("{ip}: {found:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
