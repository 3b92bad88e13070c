//! Each resolver of the system, asked by itself: the system's own lookup does not tell which one
//! answered, nor which question went unanswered.
//!
//! Messages are those of RFC 1035 over UDP. An answer that is cut short still tells that the
//! resolver is there, which is all that is asked.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::diagnose::doctor::facts::{DnsAnswer, Query};
use crate::files::read_small;
use crate::tls;

/// Where resolvers stand (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The largest such file that is read, bytes.
const FILE: u64 = 1 << 20;

/// How many resolvers are used (`MAXNS`).
const MOST: usize = 3;

/// How long a resolver may take, if the file does not say: the default of glibc and of Go.
const LIMIT: Duration = Duration::from_secs(5);

/// A resolver is not waited for any longer than this, whatever the file says.
const LONGEST: Duration = Duration::from_secs(9);

/// A UDP answer without EDNS (RFC 1035 section 2.3.4).
const ANSWER: usize = 512;

/// The resolvers of the system, and how names are completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolvers {
    servers: Vec<Server>,
    search: Vec<String>,
    ndots: usize,
    limit: Duration,
}

/// A resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    /// As written: an address, and the scope of a link-local one behind `%`.
    name: String,
    address: SocketAddr,
}

impl Server {
    /// `index` finds the number of an interface.
    fn parse(name: &str, index: impl Fn(&str) -> Option<u32>) -> Option<Self> {
        let address = match name.split_once('%') {
            None => SocketAddr::new(name.parse().ok()?, PORT),
            Some((address, scope)) => {
                let number = scope.parse().ok().or_else(|| index(scope));
                // Without its interface it cannot be reached, which sending to it will tell.
                SocketAddrV6::new(address.parse().ok()?, PORT, 0, number.unwrap_or(0)).into()
            }
        };
        let name = name.to_owned();
        Some(Self { name, address })
    }
}

/// The number of an interface (sysfs of Linux; elsewhere a resolver without a scope is the rule).
fn interface(name: &str) -> Option<u32> {
    if name.contains('/') {
        return None;
    }
    let number = fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?;
    number.trim().parse().ok()
}

impl Resolvers {
    pub(super) fn of_system() -> Self {
        let text = read_small(Path::new(RESOLV_CONF), FILE).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text), interface)
    }

    fn parse(text: &str, index: impl Fn(&str) -> Option<u32>) -> Self {
        let mut resolvers = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            limit: LIMIT,
        };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or(line);
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| Server::parse(word, &index));
                    resolvers.servers.extend(server);
                }
                Some("domain" | "search") => {
                    resolvers.search = words.map(|word| word.trim_matches('.').into()).collect();
                }
                Some("options") => {
                    for (name, number) in words.filter_map(|word| word.split_once(':')) {
                        let Ok(number) = number.parse::<u16>() else {
                            continue;
                        };
                        match name {
                            "ndots" => resolvers.ndots = number.into(),
                            "timeout" => {
                                let limit = Duration::from_secs(number.max(1).into());
                                resolvers.limit = limit.min(LONGEST);
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        resolvers.servers.truncate(MOST);
        if resolvers.servers.is_empty() {
            let local = Ipv4Addr::LOCALHOST;
            resolvers.servers.push(Server {
                name: local.to_string(),
                address: (local, PORT).into(),
            });
        }
        resolvers
    }

    /// The name that is asked first for `name`.
    fn complete(&self, name: &str) -> String {
        let dots = name.matches('.').count();
        match self.search.first() {
            Some(domain) if dots < self.ndots && !domain.is_empty() => format!("{name}.{domain}"),
            _ => name.to_owned(),
        }
    }

    /// Asks each resolver for the addresses of both families, all at once.
    pub(super) async fn ask(&self, name: &str, clock: &Clock) -> Vec<Query> {
        let mut asking = JoinSet::new();
        let name = self.complete(name);
        let questions = self
            .servers
            .iter()
            .flat_map(|server| [(server, false), (server, true)]);
        for (number, (server, is_v6)) in questions.enumerate() {
            let (name, clock, limit) = (name.clone(), *clock, self.limit);
            let Server {
                name: resolver,
                address,
            } = server.clone();
            asking.spawn(async move {
                let begun = clock.now();
                let asked = tokio::time::timeout(limit, ask(address, &name, is_v6)).await;
                let query = Query {
                    resolver,
                    is_v6,
                    took_us: clock.now().micros_since(begun),
                    answer: asked.unwrap_or(DnsAnswer::Silence),
                };
                (number, query)
            });
        }
        let mut queries = asking.join_all().await;
        queries.sort_by_key(|(number, _)| *number);
        queries.into_iter().map(|(_, query)| query).collect()
    }
}

async fn ask(resolver: SocketAddr, name: &str, is_v6: bool) -> DnsAnswer {
    let id = u16::from_be_bytes(tls::random());
    let Some(question) = question(id, name, is_v6) else {
        return DnsAnswer::Failed(String::from("the name is not one of DNS"));
    };
    match exchange(resolver, id, &question, is_v6).await {
        Ok(answer) => answer,
        Err(error) => DnsAnswer::Failed(error.to_string()),
    }
}

async fn exchange(
    resolver: SocketAddr,
    id: u16,
    question: &[u8],
    is_v6: bool,
) -> std::io::Result<DnsAnswer> {
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut buffer = [0; ANSWER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // A late answer to another question is passed over.
        if let Some(answer) = answer(id, &buffer[..length], is_v6) {
            return Ok(answer);
        }
    }
}

/// A standard query with recursion desired (section 4.1).
fn question(id: u16, name: &str, is_v6: bool) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(HEADER + name.len() + 6);
    message.extend(id.to_be_bytes());
    message.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok()?;
        if !(1..=63).contains(&length) {
            return None;
        }
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind(is_v6).to_be_bytes());
    message.extend(IN.to_be_bytes());
    Some(message)
}

/// The answer in a message; `None` if it does not belong to the question.
fn answer(id: u16, message: &[u8], is_v6: bool) -> Option<DnsAnswer> {
    let number = |at: usize| {
        Some(u16::from_be_bytes([
            *message.get(at)?,
            *message.get(at + 1)?,
        ]))
    };
    let is_answer = message.get(2)? & 0x80 != 0;
    if number(0)? != id || !is_answer {
        return None;
    }
    match message.get(3)? & 0x0f {
        0 => {}
        3 => return Some(DnsAnswer::NoName),
        code => return Some(DnsAnswer::Error(code)),
    }
    let damaged = || DnsAnswer::Failed(String::from("its answer is damaged"));
    let count = addresses(message, number(4)?, number(6)?, kind(is_v6));
    Some(count.map_or_else(damaged, DnsAnswer::Addresses))
}

/// How many records of that kind are among the answers.
fn addresses(message: &[u8], questions: u16, answers: u16, wanted: u16) -> Option<usize> {
    let is_cut = message.get(2)? & 0x02 != 0;
    let mut at = HEADER;
    for _ in 0..questions {
        at = behind_name(message, at)? + 4;
    }
    let mut count = 0;
    for _ in 0..answers {
        let Some(record) = behind_name(message, at).and_then(|end| message.get(end..end + 10))
        else {
            return is_cut.then_some(count);
        };
        count += usize::from(record[..2] == wanted.to_be_bytes());
        let length = usize::from(u16::from_be_bytes([record[8], record[9]]));
        at = behind_name(message, at)? + 10 + length;
    }
    Some(count)
}

/// Where a name ends (section 4.1.4): behind its root label, or behind a pointer.
fn behind_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

const fn kind(is_v6: bool) -> u16 {
    if is_v6 { AAAA } else { A }
}

/// The port of DNS.
const PORT: u16 = 53;

/// The header of a message, bytes.
const HEADER: usize = 12;

const A: u16 = 1;
const AAAA: u16 = 28;
const IN: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_as_the_system_reads_it() {
        let text = "# nameserver 192.0.2.9\nnameserver 192.0.2.1 ; first\nnameserver 2001:db8::1\n\
                    nameserver nonsense\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n\
                    search corp.example. example\noptions rotate ndots:2 timeout:1 x:y\n";
        let parse = |text| Resolvers::parse(text, |name| (name == "eth0").then_some(7));
        let addresses = |resolvers: &Resolvers| -> Vec<String> {
            let servers = resolvers.servers.iter();
            servers.map(|server| server.address.to_string()).collect()
        };
        let resolvers = parse(text);
        let servers = ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"];
        assert_eq!(addresses(&resolvers), servers);
        assert_eq!(resolvers.complete("goproxy"), "goproxy.corp.example");
        assert_eq!(resolvers.complete("a.b"), "a.b.corp.example");
        assert_eq!(resolvers.complete("a.b.c"), "a.b.c");
        assert_eq!(resolvers.limit, Duration::from_secs(1));
        // A router that announces itself by its link-local address has a scope.
        let scoped = parse(
            "nameserver fe80::1%eth0\nnameserver fe80::2%3\nnameserver fe80::3%gone\n\
             nameserver 192.0.2.1%eth0\n",
        );
        let servers = ["[fe80::1%7]:53", "[fe80::2%3]:53", "[fe80::3]:53"];
        assert_eq!(addresses(&scoped), servers);
        assert_eq!(scoped.servers[0].name, "fe80::1%eth0");
        let nothing = parse("");
        assert_eq!(addresses(&nothing), ["127.0.0.1:53"]);
        assert_eq!(nothing.complete("goproxy"), "goproxy");
    }

    /// An answer with a CNAME and two addresses, its names as pointers.
    fn reply(id: u16, flags: [u8; 2], kinds: &[u16]) -> Vec<u8> {
        let mut message = question(id, "a.example", false).unwrap();
        message[2..4].copy_from_slice(&flags);
        message[7] = kinds.len() as u8;
        for kind in kinds {
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        }
        message
    }

    #[test]
    fn the_addresses_of_an_answer_are_counted() {
        const CNAME: u16 = 5;
        let ok = [0x81, 0x80];
        let whole = reply(7, ok, &[CNAME, A, A, AAAA]);
        assert_eq!(answer(7, &whole, false), Some(DnsAnswer::Addresses(2)));
        assert_eq!(answer(7, &whole, true), Some(DnsAnswer::Addresses(1)));
        assert_eq!(answer(8, &whole, false), None, "another question's");
        assert_eq!(
            answer(7, &reply(7, [0x01, 0x00], &[]), false),
            None,
            "a question"
        );
        let none = reply(7, [0x81, 0x83], &[]);
        assert_eq!(answer(7, &none, false), Some(DnsAnswer::NoName));
        let failed = reply(7, [0x81, 0x82], &[]);
        assert_eq!(answer(7, &failed, false), Some(DnsAnswer::Error(2)));
        let cut = reply(7, [0x83, 0x80], &[A, A]);
        assert_eq!(
            answer(7, &cut[..cut.len() - 20], false),
            Some(DnsAnswer::Addresses(1))
        );
    }

    proptest::proptest! {
        #[test]
        fn an_answer_that_was_damaged_on_the_way_is_no_panic(
            kinds in proptest::collection::vec(proptest::num::u16::ANY, 0..6),
            damage in proptest::collection::vec((0..120_usize, proptest::num::u8::ANY), 0..8),
            length in 0..120_usize,
        ) {
            let mut message = reply(7, [0x81, 0x80], &kinds);
            for (at, byte) in damage {
                // The id and the bit of an answer stay: without them nothing is parsed.
                if let Some(here) = message.get_mut(3 + at) {
                    *here = byte;
                }
            }
            message.truncate(length.max(4));
            if let Some(DnsAnswer::Addresses(count)) = answer(7, &message, false) {
                proptest::prop_assert!(count <= message.len() / 10);
            }
        }

        #[test]
        fn no_message_is_too_odd(message in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _ = answer(0, &message, false);
        }
    }

    #[test]
    fn a_damaged_answer_is_no_panic() {
        let whole = reply(7, [0x81, 0x80], &[A, A]);
        for end in 0..whole.len() {
            let _ = answer(7, &whole[..end], false);
        }
        assert!(question(7, &"x".repeat(64), false).is_none());
        assert!(question(7, "a..b", false).is_none());
    }
}
