//! Which targets may be dialled: never our own listeners; and if clients on other machines can
//! connect, no address that only this machine or its network can reach, unless the user named it.
//!
//! A name is resolved once, each of its addresses is checked, and exactly those addresses are
//! dialled. If one of them is refused, the name is refused.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::private;
use crate::exchange::Target;

/// Which targets may be dialled.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    own: Vec<SocketAddr>,
    /// The targets that the user named, if the rule against private targets applies.
    named: Option<Named>,
    /// Private networks are no private targets.
    spares_networks: bool,
    /// Of this machine only this; `None` for all.
    exposed: Option<Exposed>,
}

/// What of this machine is reached by a client whose own loopback is another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Exposed {
    /// Ports, whatever the name or address of this machine.
    pub(crate) ports: BTreeSet<u16>,
    /// Targets that the user named: these and no other spelling.
    pub(crate) targets: BTreeSet<Target>,
}

/// Targets that the user named: these may be private.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    /// Hosts, on any port.
    pub(crate) hosts: BTreeSet<String>,
    /// Hosts, on this port only.
    pub(crate) targets: BTreeSet<Target>,
}

/// Why an address or a name is not dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Barred {
    /// It is one of our own listeners.
    Own,
    /// It is not public: the address or name, and its purpose.
    Private { what: String, is: &'static str },
    /// It is a port of this machine that the client may not reach.
    Host,
}

impl Reach {
    /// All targets except `own`, our listeners: dialling these would be a loop.
    pub fn all_but(own: Vec<SocketAddr>) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Private targets only if they are `named`: for listeners that other machines can connect to.
    #[must_use]
    pub(crate) fn public_or(self, named: Named) -> Self {
        Self {
            named: Some(named),
            ..self
        }
    }

    /// Private networks too: for clients whose connections went there before they were redirected.
    #[must_use]
    pub(crate) fn or_of_networks(self) -> Self {
        Self {
            spares_networks: true,
            ..self
        }
    }

    /// Of this machine only what is exposed: for clients with a loopback of their own. `None` for all.
    #[must_use]
    pub(crate) fn of_this_machine(self, exposed: Option<Exposed>) -> Self {
        Self { exposed, ..self }
    }

    /// True if the rule against private targets applies to `target`.
    pub(super) fn is_bound(&self, target: &Target) -> bool {
        self.named.as_ref().is_some_and(|named| {
            !named.hosts.contains(target.host()) && !named.targets.contains(target)
        })
    }

    /// Checks an address that would be dialled; `bound` is the result of [`Self::is_bound`].
    pub(super) fn check(&self, address: SocketAddr, bound: bool) -> Result<(), Barred> {
        let plain = canonical(address.ip());
        if self
            .own
            .iter()
            .any(|own| is_at(*own, plain, address.port()))
        {
            return Err(Barred::Own);
        }
        let is = match bound {
            true => private::purpose(address.ip())
                .filter(|is| !self.spares_networks || !private::NETWORKS.contains(is))
                .or_else(|| own_address(plain)),
            false => None,
        };
        is.map_or(Ok(()), |is| {
            let what = address.ip().to_string();
            Err(Barred::Private { what, is })
        })
    }

    /// Checks an address of `target` that the user did not choose.
    pub(super) fn check_host(&self, address: SocketAddr, target: &Target) -> Result<(), Barred> {
        let Some(exposed) = &self.exposed else {
            return Ok(());
        };
        let is_exposed =
            exposed.ports.contains(&address.port()) || exposed.targets.contains(target);
        let ip = canonical(address.ip());
        match is_exposed || !(ip.is_loopback() || own_address(ip).is_some()) {
            true => Ok(()),
            false => Err(Barred::Host),
        }
    }

    /// The same of a target that a parent proxy would resolve, by its spelling.
    pub(super) fn check_host_spelling(&self, target: &Target) -> Result<(), Barred> {
        let localhost = is_localhost(target.host()).then(|| Ipv4Addr::LOCALHOST.into());
        let ip = target.ip().or(localhost);
        ip.map_or(Ok(()), |ip| {
            self.check_host(SocketAddr::new(ip, target.port()), target)
        })
    }

    /// Checks a target that a parent proxy would resolve, by its spelling only: the addresses of a
    /// name are known to the parent alone.
    pub(super) fn check_spelling(&self, target: &Target, bound: bool) -> Result<(), Barred> {
        let host = target.host();
        if let Some(ip) = target.ip() {
            return self.check(SocketAddr::new(ip, target.port()), bound);
        }
        if is_localhost(host) {
            let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            for ip in loopback {
                self.check(SocketAddr::new(ip, target.port()), bound)?;
            }
        }
        match local_name(host).filter(|_| bound) {
            None => Ok(()),
            Some(is) => Err(Barred::Private {
                what: host.to_owned(),
                is,
            }),
        }
    }
}

/// The address that the kernel connects to: an unspecified address is loopback, a mapped one is
/// IPv4.
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    let ip = match ip {
        IpAddr::V6(ip) => private::inside(ip).map_or(IpAddr::V6(ip), IpAddr::V4),
        IpAddr::V4(_) => ip,
    };
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => ip,
    }
}

/// True if a listener that is bound to `own` is reached at that canonical address.
fn is_at(own: SocketAddr, ip: IpAddr, port: u16) -> bool {
    let is_ours = || ip.is_loopback() || own_address(ip).is_some();
    own.port() == port
        && match own.ip() {
            // On Linux a listener on [::] accepts IPv4 too.
            IpAddr::V6(own) if own.is_unspecified() => is_ours(),
            IpAddr::V4(own) if own.is_unspecified() => ip.is_ipv4() && is_ours(),
            own => canonical(own) == ip,
        }
}

/// `this machine` if `ip` is one of its addresses, or may be, else `None`.
fn own_address(ip: IpAddr) -> Option<&'static str> {
    (whose(ip) != Whose::Others).then_some("this machine")
}

/// Whether `ip` is known to be an address of this machine.
pub(crate) fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || whose(ip) == Whose::Ours
}

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Others,
    /// It could not be found out.
    Unknown,
}

/// Only a local address can be bound, unless the system allows any (`ip_nonlocal_bind`): then an
/// address that no machine has can be bound too, and the routes are asked.
fn whose(ip: IpAddr) -> Whose {
    let nobodys: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let bind = |ip: IpAddr| UdpSocket::bind((ip, 0)).map(drop);
    match (bind(ip), bind(nobodys)) {
        (Err(error), _) => of_failed_bind(&error),
        (Ok(()), Err(_)) => Whose::Ours,
        (Ok(()), Ok(())) => routes::whose(ip),
    }
}

/// A lack of descriptors or memory, for example, says nothing of the address.
fn of_failed_bind(error: &io::Error) -> Whose {
    let has_no_family = error.raw_os_error() == Some(NO_FAMILY);
    match error.kind() == io::ErrorKind::AddrNotAvailable || has_no_family {
        true => Whose::Others,
        false => Whose::Unknown,
    }
}

/// `EAFNOSUPPORT`: this machine has no address of the family.
const NO_FAMILY: i32 = match () {
    #[cfg(unix)]
    () => rustix::io::Errno::AFNOSUPPORT.raw_os_error(),
    #[cfg(not(unix))]
    () => 10047,
};

#[cfg(target_os = "linux")]
mod routes {
    //! Where the kernel sends packets for an address (rtnetlink(7)).

    use std::io;
    use std::net::IpAddr;

    use super::Whose;
    use crate::netlink::{Netlink, attribute};

    /// `RTM_GETROUTE`
    const GET_ROUTE: u16 = 26;
    /// `RTA_DST`
    const DESTINATION: u16 = 1;
    /// `RTN_LOCAL`
    const LOCAL: u8 = 2;
    /// The length of `struct rtmsg`, bytes.
    const FIXED: usize = 12;
    /// Where its `rtm_type` is.
    const TYPE: usize = 7;

    pub(super) fn whose(ip: IpAddr) -> Whose {
        match kind(ip) {
            Ok(Some(LOCAL)) => Whose::Ours,
            Ok(Some(_)) => Whose::Others,
            Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => Whose::Others,
            Ok(None) | Err(_) => Whose::Unknown,
        }
    }

    /// The type of the route to `ip`.
    fn kind(ip: IpAddr) -> io::Result<Option<u8>> {
        // AF_INET and AF_INET6.
        let (family, octets) = match ip {
            IpAddr::V4(ip) => (2, ip.octets().to_vec()),
            IpAddr::V6(ip) => (10, ip.octets().to_vec()),
        };
        let mut question = vec![0; FIXED];
        question[0] = family;
        question[1] = u8::try_from(octets.len() * 8).unwrap_or(u8::MAX);
        attribute(&mut question, DESTINATION, &octets);
        let answer = Netlink::open(None)?.ask(GET_ROUTE, &question)?;
        Ok(answer.get(TYPE).copied())
    }
}

#[cfg(not(target_os = "linux"))]
mod routes {
    use std::net::IpAddr;

    use super::Whose;

    /// No system but Linux lets every address be bound.
    pub(super) fn whose(_: IpAddr) -> Whose {
        Whose::Unknown
    }
}

fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// The kind of a name that never leads to the internet, if it is one.
fn local_name(host: &str) -> Option<&'static str> {
    let last = host.rsplit('.').next().unwrap_or(host);
    if is_localhost(host) {
        return Some("this machine");
    }
    // WHATWG URL, "ends in a number checker": inet_aton(3) takes these for addresses.
    let is_hex = |text: &str| text.bytes().all(|c| c.is_ascii_hexdigit());
    let is_number = last.bytes().all(|c| c.is_ascii_digit());
    if is_number || last.strip_prefix("0x").is_some_and(is_hex) {
        return Some("an address in disguise");
    }
    if LOCAL_SUFFIXES.contains(&last) || host.ends_with(".home.arpa") {
        return Some("a name of a local network");
    }
    (!host.contains('.')).then_some("a name without a domain")
}

/// Top-level names that are reserved for local networks: RFC 6762 section 3 and appendix G, ICANN's
/// resolution 2024.07.29.06 (`internal`), and a custom of Linux distributions.
const LOCAL_SUFFIXES: [&str; 9] = [
    "corp",
    "home",
    "internal",
    "intranet",
    "lan",
    "local",
    "localdomain",
    "onion",
    "private",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reach: &Reach, address: &str, bound: bool) -> &'static str {
        match reach.check(address.parse().unwrap(), bound) {
            Ok(()) => "",
            Err(Barred::Own) => "ours",
            Err(Barred::Private { is, .. }) => is,
            Err(Barred::Host) => "of the host",
        }
    }

    #[test]
    fn a_bind_that_failed_for_want_of_something_says_nothing_of_the_address() {
        let of = |kind: io::ErrorKind| of_failed_bind(&kind.into());
        assert_eq!(of(io::ErrorKind::AddrNotAvailable), Whose::Others);
        let no_family = io::Error::from_raw_os_error(NO_FAMILY);
        assert_eq!(of_failed_bind(&no_family), Whose::Others);
        assert_eq!(of(io::ErrorKind::OutOfMemory), Whose::Unknown);
        assert_eq!(of(io::ErrorKind::PermissionDenied), Whose::Unknown);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_routes_know_the_addresses_of_this_machine() {
        for (ip, expected) in [
            ("127.0.0.1", Whose::Ours),
            ("127.9.9.9", Whose::Ours),
            ("192.0.2.1", Whose::Others),
        ] {
            assert_eq!(routes::whose(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    #[test]
    fn our_own_listeners_are_known_under_every_address() {
        let mut wrong = Vec::new();
        for (own, address, expected) in [
            ("127.0.0.1:9", "127.0.0.1:9", "ours"),
            ("127.0.0.1:9", "127.0.0.1:10", ""),
            ("127.0.0.1:9", "127.0.0.2:9", ""),
            ("127.0.0.1:9", "0.0.0.0:9", "ours"),
            ("127.0.0.1:9", "[::ffff:127.0.0.1]:9", "ours"),
            ("127.0.0.1:9", "[::ffff:0.0.0.0]:9", "ours"),
            ("127.0.0.1:9", "[::1]:9", ""),
            ("[::1]:9", "[::1]:9", "ours"),
            ("[::1]:9", "[::]:9", "ours"),
            ("[::1]:9", "127.0.0.1:9", ""),
            ("[::ffff:127.0.0.1]:9", "127.0.0.1:9", "ours"),
            ("0.0.0.0:9", "127.0.0.1:9", "ours"),
            ("0.0.0.0:9", "127.8.9.1:9", "ours"),
            ("0.0.0.0:9", "8.8.8.8:9", ""),
            ("[::]:9", "127.0.0.1:9", "ours"),
            ("[::]:9", "[::1]:9", "ours"),
            ("[::]:9", "[::1]:10", ""),
        ] {
            let reach = Reach::all_but(vec![own.parse().unwrap()]);
            let found = check(&reach, address, false);
            if found != expected {
                wrong.push(format!("{own}, {address}: {found:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn private_is_what_the_user_did_not_name() {
        let named = Named {
            hosts: [String::from("goproxy.corp")].into(),
            targets: ["localhost:8081".parse().unwrap()].into(),
        };
        let reach = Reach::all_but(Vec::new()).public_or(named);
        for (target, bound) in [
            ("goproxy.corp:443", false),
            ("GoProxy.Corp.:8443", false),
            ("x.goproxy.corp:443", true),
            ("localhost:8081", false),
            ("localhost:22", true),
            ("a.example:443", true),
        ] {
            let target = target.parse().unwrap();
            assert_eq!(reach.is_bound(&target), bound, "{target}");
            assert!(!Reach::default().is_bound(&target), "{target}");
        }
        assert_eq!(check(&reach, "10.0.0.1:443", true), "a private network");
        assert_eq!(check(&reach, "10.0.0.1:443", false), "");
        assert_eq!(check(&reach, "8.8.8.8:443", true), "");
    }

    #[test]
    fn a_redirected_client_reaches_private_networks_but_not_this_machine() {
        let reach = Reach::all_but(Vec::new()).public_or(Named::default());
        let reach = reach.or_of_networks();
        for (address, expected) in [
            ("10.0.0.1:443", ""),
            ("[fd00::1]:443", ""),
            ("100.64.0.1:443", ""),
            ("127.0.0.1:443", "loopback"),
            ("169.254.169.254:80", "link-local"),
            ("[::ffff:127.0.0.1]:443", "loopback"),
            ("0.0.0.0:443", "this network"),
        ] {
            assert_eq!(check(&reach, address, true), expected, "{address}");
        }
    }

    #[test]
    fn of_this_machine_only_what_is_exposed_is_reached_however_it_is_spelled() {
        let reach = Reach::default().of_this_machine(Some(Exposed {
            ports: [3000].into(),
            targets: ["goproxy.lan:22".parse().unwrap()].into(),
        }));
        let target = |text: &str| text.parse::<Target>().unwrap();
        let hostile = target("a.example:22");
        for (ip, is_own) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("0.0.0.0", true),
            ("::", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:0.0.0.0", true),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            let at = |port| SocketAddr::new(ip.parse().unwrap(), port);
            let [other, open] = [22, 3000].map(|port| reach.check_host(at(port), &hostile));
            assert_eq!((other.is_err(), open), (is_own, Ok(())), "{ip}");
            let named = reach.check_host(at(22), &target("goproxy.lan:22"));
            assert_eq!(named, Ok(()), "{ip}");
            let everything = Reach::default().check_host(at(22), &hostile);
            assert_eq!(everything, Ok(()));
        }
        for (spelled, is_barred) in [
            ("localhost:22", true),
            ("x.localhost:22", true),
            ("[::1]:22", true),
            ("localhost:3000", false),
            ("a.example:22", false),
            ("goproxy.lan:22", false),
        ] {
            let found = reach.check_host_spelling(&target(spelled));
            assert_eq!(found.is_err(), is_barred, "{spelled}");
        }
    }

    #[test]
    fn a_parent_proxy_is_not_asked_for_what_is_local_by_its_spelling() {
        let reach = Reach::all_but(vec!["127.0.0.1:9".parse().unwrap()]);
        let reach = reach.public_or(Named::default());
        let mut wrong = Vec::new();
        for (target, expected) in [
            ("proxy.golang.org:443", ""),
            ("8.8.8.8:443", ""),
            ("[2606:4700::1111]:443", ""),
            ("0xbadge.example:443", ""),
            ("127.0.0.1:443", "loopback"),
            ("127.0.0.1:9", "ours"),
            ("localhost:9", "ours"),
            ("localhost:443", "loopback"),
            ("x.LocalHost.:443", "loopback"),
            ("[::ffff:7f00:1]:443", "loopback"),
            ("2130706433:443", "an address in disguise"),
            ("0177.0.0.1:443", "an address in disguise"),
            ("0x7f.1:443", "an address in disguise"),
            ("127.0.0.0x1:443", "an address in disguise"),
            ("127.1:443", "an address in disguise"),
            ("127.0.0.01:443", "an address in disguise"),
            ("printer.local:443", "a name of a local network"),
            ("metadata.google.internal:80", "a name of a local network"),
            ("nas.home.arpa:80", "a name of a local network"),
            ("kubernetes:443", "a name without a domain"),
        ] {
            let found = match reach.check_spelling(&target.parse().unwrap(), true) {
                Ok(()) => "",
                Err(Barred::Own) => "ours",
                Err(Barred::Private { is, .. }) => is,
                Err(Barred::Host) => "of the host",
            };
            if found != expected {
                wrong.push(format!("{target}: {found:?}, not {expected:?}"));
            }
            let free = reach.check_spelling(&target.parse().unwrap(), false);
            if free.is_err() != (expected == "ours") {
                wrong.push(format!("{target}: {free:?} where it is named"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
