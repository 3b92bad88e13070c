//! The packet filter of the namespace, and what it counted: one nftables table, written as nft(8) would
//! (`nft --debug=netlink` shows the same expressions).
//!
//! ```text
//! table inet modtape {
//!   chain count { type filter hook output priority -150
//!     fib daddr type local accept
//!     meta l4proto tcp accept
//!     udp dport 53 accept
//!     udp dport 443 counter name quic accept
//!     meta l4proto udp counter name udp accept
//!     meta l4proto { icmp, icmpv6 } counter name icmp drop
//!     counter name other drop
//!   }
//!   chain redirect { type nat hook output priority -100
//!     RESOLVER udp dport 53 redirect to :NAMES                        (each resolver on loopback)
//!     fib daddr type local tcp dport PORT redirect to :LISTENER       (each port of the host)
//!     fib daddr type local accept
//!     meta l4proto { tcp, udp } th dport 53 redirect to :NAMES
//!     meta l4proto tcp redirect to :LISTENER
//!     meta l4proto udp redirect to :1
//!   }
//! }
//! ```
//!
//! Nothing listens on UDP port 1, so the kernel answers what was redirected there as a host would on
//! which nothing listens: with ICMP port unreachable.

use std::io;
use std::net::IpAddr;

use rustix::net::netlink;

use super::HostPort;
use crate::netlink::{ACK, APPEND, CREATE, Message, Netlink, attribute, attributes};
use crate::recording::format::Packets;

/// Where packets are sent inside.
#[derive(Debug, Clone)]
pub(super) struct Places<'a> {
    /// The port on loopback of the listeners that all TCP reaches.
    pub(super) listener: u16,
    /// The port on loopback of the sockets that DNS reaches.
    pub(super) names: u16,
    /// The resolvers on loopback whose place is taken.
    pub(super) resolvers: &'a [IpAddr],
    /// The ports on loopback that stand for those of the host.
    pub(super) host_ports: &'a [HostPort],
}

/// `NFNL_SUBSYS_NFTABLES`
const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`
const BEGIN: u16 = 0x10;
/// `NFNL_MSG_BATCH_END`
const END: u16 = 0x11;

/// `NFT_MSG_NEWTABLE`, and so on.
const NEW_TABLE: u16 = 0;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_OBJECT: u16 = 18;
const GET_OBJECT: u16 = 19;

/// `NFPROTO_INET`, and the families that it covers.
const FAMILY: u8 = 1;
const V4: u8 = 2;
const V6: u8 = 10;

const TABLE: &str = "modtape";
const COUNT: &str = "count";
const REDIRECT: &str = "redirect";
const QUIC: &str = "quic";
const UDP: &str = "udp";
const ICMP: &str = "icmp";
const OTHER: &str = "other";

/// Protocol numbers.
const TCP_NUMBER: u8 = 6;
const UDP_NUMBER: u8 = 17;
const ICMP_NUMBER: u8 = 1;
const ICMP6_NUMBER: u8 = 58;

/// Ports.
const DNS_PORT: u16 = 53;
const HTTPS_PORT: u16 = 443;
const NOBODYS_PORT: u16 = 1;

/// Sets the table up, whole or not at all.
pub(super) fn set_up(netlink: &Netlink, places: &Places<'_>) -> io::Result<()> {
    netlink.apply(batch(places))
}

/// What could not pass so far.
pub(super) fn blocked(netlink: &Netlink) -> io::Result<Packets> {
    let mut blocked = Packets::default();
    netlink.list(SUBSYSTEM << 8 | GET_OBJECT, &family(), |_, body| {
        let Some((name, packets)) = counter(body.get(4..).unwrap_or_default()) else {
            return;
        };
        match name {
            QUIC => blocked.quic = packets,
            UDP => blocked.udp = packets,
            ICMP => blocked.icmp = packets,
            OTHER => blocked.other = packets,
            _ => {}
        }
    })?;
    Ok(blocked)
}

/// The name and the packets of a counter object.
fn counter(object: &[u8]) -> Option<(&str, u64)> {
    let find = |bytes, wanted| {
        let mut found = attributes(bytes).filter(move |(kind, _)| *kind == wanted);
        found.next().map(|(_, value)| value)
    };
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let table = text(find(object, 1)?)?.trim_end_matches('\0');
    let name = text(find(object, 2)?)?.trim_end_matches('\0');
    // NFTA_OBJ_DATA, in it NFTA_COUNTER_PACKETS.
    let packets = find(find(object, 4)?, 2)?;
    let packets = u64::from_be_bytes(*packets.first_chunk()?);
    (table == TABLE).then_some((name, packets))
}

fn batch(places: &Places<'_>) -> Vec<Message> {
    let edge = |kind| Message::new(kind, 0, &[0, 0, 0, SUBSYSTEM as u8]);
    let mut batch = vec![edge(BEGIN), message(NEW_TABLE).with(1, &string(TABLE))];
    batch.extend([QUIC, UDP, ICMP, OTHER].map(new_counter));
    // After connection tracking (-200), before addresses are changed (-100).
    batch.push(chain(COUNT, "filter", -150));
    batch.extend(counting().map(|rule| rule.into_message(COUNT)));
    batch.push(chain(REDIRECT, "nat", -100));
    let redirecting = redirecting(places).into_iter();
    batch.extend(redirecting.map(|rule| rule.into_message(REDIRECT)));
    batch.push(edge(END));
    batch
}

fn counting() -> [Rule; 8] {
    let rule = Rule::default;
    [
        rule().local().accept(),
        rule().protocol(TCP_NUMBER).accept(),
        rule().port(UDP_NUMBER, DNS_PORT).accept(),
        rule().port(UDP_NUMBER, HTTPS_PORT).count(QUIC).accept(),
        rule().protocol(UDP_NUMBER).count(UDP).accept(),
        rule().protocol(ICMP_NUMBER).count(ICMP).drop(),
        rule().protocol(ICMP6_NUMBER).count(ICMP).drop(),
        rule().count(OTHER).drop(),
    ]
}

fn redirecting(places: &Places<'_>) -> Vec<Rule> {
    let rule = Rule::default;
    let mut rules = Vec::new();
    for resolver in places.resolvers {
        for protocol in [UDP_NUMBER, TCP_NUMBER] {
            let asked = rule().address(*resolver).port(protocol, DNS_PORT);
            rules.push(asked.redirect(places.names));
        }
    }
    for HostPort { port, v4, v6 } in places.host_ports {
        for family in [v4.then_some(V4), v6.then_some(V6)].into_iter().flatten() {
            let asked = rule().family(family).local().port(TCP_NUMBER, *port);
            rules.push(asked.redirect(places.listener));
        }
    }
    rules.push(rule().local().accept());
    for protocol in [UDP_NUMBER, TCP_NUMBER] {
        rules.push(rule().port(protocol, DNS_PORT).redirect(places.names));
    }
    rules.push(rule().protocol(TCP_NUMBER).redirect(places.listener));
    rules.push(rule().protocol(UDP_NUMBER).redirect(NOBODYS_PORT));
    rules
}

/// `struct nfgenmsg`
const fn family() -> [u8; 4] {
    [FAMILY, 0, 0, 0]
}

fn message(kind: u16) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, CREATE | APPEND | ACK, &family())
}

fn chain(name: &str, kind: &str, priority: i32) -> Message {
    let mut hook = Vec::new();
    // NFTA_HOOK_HOOKNUM (NF_INET_LOCAL_OUT) and NFTA_HOOK_PRIORITY.
    attribute(&mut hook, 1, &3_u32.to_be_bytes());
    attribute(&mut hook, 2, &priority.to_be_bytes());
    let chain = message(NEW_CHAIN).with(1, &string(TABLE));
    chain
        .with(3, &string(name))
        .with(4, &hook)
        .with(7, &string(kind))
}

fn new_counter(name: &str) -> Message {
    // NFTA_OBJ_TYPE: NFT_OBJECT_COUNTER.
    let object = message(NEW_OBJECT).with(1, &string(TABLE));
    object
        .with(2, &string(name))
        .with(3, &1_u32.to_be_bytes())
        .with(4, &[])
}

/// A rule under construction: its expressions, in order. Each reads or writes register 1.
#[derive(Debug, Default)]
struct Rule {
    expressions: Vec<u8>,
}

/// `NFT_REG_1`, and the register of verdicts.
const REGISTER: [u8; 4] = 1_u32.to_be_bytes();
const VERDICT: [u8; 4] = 0_u32.to_be_bytes();

impl Rule {
    fn expression(mut self, name: &str, parts: &[(u16, &[u8])]) -> Self {
        let (mut data, mut expression) = (Vec::new(), Vec::new());
        for (kind, value) in parts {
            attribute(&mut data, *kind, value);
        }
        attribute(&mut expression, 1, &string(name));
        attribute(&mut expression, 2, &data);
        attribute(&mut self.expressions, 1, &expression);
        self
    }

    /// Goes on if the register holds `value`.
    fn equals(self, value: &[u8]) -> Self {
        let mut data = Vec::new();
        attribute(&mut data, 1, value);
        self.expression(
            "cmp",
            &[(1, &REGISTER), (2, &0_u32.to_be_bytes()), (3, &data)],
        )
    }

    fn meta(self, key: u32, value: u8) -> Self {
        let load = [(1, &REGISTER[..]), (2, &key.to_be_bytes()[..])];
        self.expression("meta", &load).equals(&[value])
    }

    /// `base`: 1 is the network header, 2 the transport header.
    fn payload(self, base: u32, offset: u32, value: &[u8]) -> Self {
        let length = u32::try_from(value.len()).unwrap_or_default();
        let load = [(2, base), (3, offset), (4, length)].map(|(kind, n)| (kind, n.to_be_bytes()));
        let [base, offset, length] = &load;
        let parts = [base, offset, length].map(|(kind, n)| (*kind, &n[..]));
        let [base, offset, length] = parts;
        self.expression("payload", &[(1, &REGISTER), base, offset, length])
            .equals(value)
    }

    /// Packets of this family.
    fn family(self, family: u8) -> Self {
        // NFT_META_NFPROTO
        self.meta(15, family)
    }

    /// Packets of this protocol.
    fn protocol(self, protocol: u8) -> Self {
        // NFT_META_L4PROTO
        self.meta(16, protocol)
    }

    /// Packets of this protocol to this port.
    fn port(self, protocol: u8, port: u16) -> Self {
        self.protocol(protocol).payload(2, 2, &port.to_be_bytes())
    }

    /// Packets to this address.
    fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(ip) => self.family(V4).payload(1, 16, &ip.octets()),
            IpAddr::V6(ip) => self.family(V6).payload(1, 24, &ip.octets()),
        }
    }

    /// Packets to an address of the namespace itself.
    fn local(self) -> Self {
        // NFT_FIB_RESULT_ADDRTYPE of the destination is RTN_LOCAL.
        let load = [(2, 3_u32), (3, 2)].map(|(kind, n)| (kind, n.to_be_bytes()));
        let [result, flags] = &load;
        let load = [
            (1, &REGISTER[..]),
            (result.0, &result.1),
            (flags.0, &flags.1),
        ];
        self.expression("fib", &load).equals(&2_u32.to_ne_bytes())
    }

    fn count(self, counter: &str) -> Self {
        let object = [(1, &1_u32.to_be_bytes()[..]), (2, &string(counter))];
        self.expression("objref", &object)
    }

    fn verdict(self, code: u32) -> Self {
        let (mut verdict, mut data) = (Vec::new(), Vec::new());
        attribute(&mut verdict, 1, &code.to_be_bytes());
        attribute(&mut data, 2, &verdict);
        self.expression("immediate", &[(1, &VERDICT), (2, &data)])
    }

    fn accept(self) -> Self {
        self.verdict(1)
    }

    fn drop(self) -> Self {
        self.verdict(0)
    }

    /// To this port on loopback.
    fn redirect(self, port: u16) -> Self {
        let mut data = Vec::new();
        attribute(&mut data, 1, &port.to_be_bytes());
        let loaded = self.expression("immediate", &[(1, &REGISTER), (2, &data)]);
        // NFTA_REDIR_REG_PROTO_MIN, and NF_NAT_RANGE_PROTO_SPECIFIED.
        loaded.expression("redir", &[(1, &REGISTER), (3, &2_u32.to_be_bytes())])
    }

    fn into_message(self, chain: &str) -> Message {
        let rule = message(NEW_RULE).with(1, &string(TABLE));
        rule.with(2, &string(chain)).with(4, &self.expressions)
    }
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// The netlink socket for this table.
pub(super) fn socket() -> io::Result<Netlink> {
    Netlink::open(Some(netlink::NETFILTER))
}
