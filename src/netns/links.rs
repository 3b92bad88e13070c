//! The interface of the namespace: loopback, with an address of its own in each family, and a default
//! route to nowhere else (rtnetlink(7)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::addresses::{OWN_V4, OWN_V6};
use crate::netlink::{ACK, CREATE, Message, Netlink, attributes};

/// `RTM_NEWLINK`
const NEW_LINK: u16 = 16;
/// `RTM_GETLINK`
const GET_LINK: u16 = 18;
/// `RTM_NEWADDR`
const NEW_ADDRESS: u16 = 20;
/// `RTM_NEWROUTE`
const NEW_ROUTE: u16 = 24;

/// `IFA_ADDRESS`
const ADDRESS: u16 = 1;
/// `IFA_LOCAL`
const LOCAL: u16 = 2;
/// `IFA_F_NODAD`: the address can be used at once.
const NO_DETECTION: u8 = 2;

/// `RTA_OIF`
const INTERFACE: u16 = 4;
/// `RTA_PREFSRC`
const SOURCE: u16 = 7;
/// `RT_TABLE_MAIN`
const MAIN: u8 = 254;
/// `RTPROT_STATIC`
const STATIC: u8 = 4;
/// `RT_SCOPE_LINK`
const LINK: u8 = 253;
/// `RTN_UNICAST`
const UNICAST: u8 = 1;

/// `IFLA_STATS64`
const STATS: u16 = 23;
/// `IFF_UP`
const UP: u32 = 1;

/// The index of the loopback interface, which each network namespace has from the start.
const LOOPBACK: u32 = 1;

const INET: u8 = 2;
const INET6: u8 = 10;

/// Brings loopback up, and sends all packets there; returns whether there is IPv6.
pub(super) fn set_up(netlink: &Netlink) -> io::Result<bool> {
    netlink.apply(vec![up()])?;
    netlink.apply(vec![address(OWN_V4.into())])?;
    netlink.apply(vec![default_route(OWN_V4.into())])?;
    // Without IPv6 in this kernel, or with `net.ipv6.conf.default.disable_ipv6`, nothing that speaks it
    // can leave either.
    let v6 = [address(OWN_V6.into()), default_route(OWN_V6.into())];
    Ok(netlink.apply(v6.into()).is_ok())
}

/// How many packets were sent by the interfaces of the namespace other than loopback. There are none
/// unless the command, as root, made one.
pub(super) fn packets_left(netlink: &Netlink) -> io::Result<u64> {
    let mut left: u64 = 0;
    netlink.list(GET_LINK, &link(0, 0), |kind, body| {
        let index = body.get(4..).and_then(<[u8]>::first_chunk);
        let is_other = index.is_some_and(|index| u32::from_ne_bytes(*index) != LOOPBACK);
        if kind == NEW_LINK && is_other {
            left += sent(body.get(16..).unwrap_or_default());
        }
    })?;
    Ok(left)
}

/// The second field of `struct rtnl_link_stats64`.
fn sent(link: &[u8]) -> u64 {
    let mut stats = attributes(link).filter(|(kind, _)| *kind == STATS);
    let sent = stats
        .next()
        .and_then(|(_, stats)| stats.get(8..)?.first_chunk());
    sent.map_or(0, |sent| u64::from_ne_bytes(*sent))
}

fn up() -> Message {
    Message::new(NEW_LINK, ACK, &link(LOOPBACK, UP))
}

/// `struct ifinfomsg`
fn link(index: u32, flags: u32) -> Vec<u8> {
    let mut fixed = vec![0; 4];
    fixed.extend(index.to_ne_bytes());
    fixed.extend(flags.to_ne_bytes());
    fixed.extend(flags.to_ne_bytes());
    fixed
}

fn address(ip: IpAddr) -> Message {
    let (family, bits, octets) = parts(ip);
    let mut fixed = vec![family, bits, NO_DETECTION, 0];
    fixed.extend(LOOPBACK.to_ne_bytes());
    Message::new(NEW_ADDRESS, ACK | CREATE, &fixed)
        .with(ADDRESS, &octets)
        .with(LOCAL, &octets)
}

fn default_route(source: IpAddr) -> Message {
    let (family, _, octets) = parts(source);
    let scope = if family == INET { LINK } else { 0 };
    let mut fixed = vec![family, 0, 0, 0, MAIN, STATIC, scope, UNICAST];
    fixed.extend(0_u32.to_ne_bytes());
    Message::new(NEW_ROUTE, ACK | CREATE, &fixed)
        .with(INTERFACE, &LOOPBACK.to_ne_bytes())
        .with(SOURCE, &octets)
}

/// The family of an address, its length in bits, and its octets.
fn parts(ip: IpAddr) -> (u8, u8, Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => (INET, Ipv4Addr::BITS as u8, ip.octets().into()),
        IpAddr::V6(ip) => (INET6, Ipv6Addr::BITS as u8, ip.octets().into()),
    }
}
