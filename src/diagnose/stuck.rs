//! What keeps requests and dials waiting: from what is in flight at one instant to causes, what the go
//! command will do about each, and the choices that its user has.
//!
//! The stall line and `modtape status` ask while it lasts. The rules of a report find the same codes
//! afterwards, from what is recorded; a test holds both together.

use std::collections::{HashMap, HashSet};

use super::setting::no_proxy;
use crate::exchange::{ConnectionId, ExchangeId, Phase};
use crate::gomod::{Base, Kind};
use crate::words::{count, seconds, size};

/// Something in flight, at one instant.
#[derive(Debug, Clone)]
pub(crate) struct Waiting<'a> {
    /// The exchange; `None` for a dial that no request owns yet.
    pub(crate) id: Option<ExchangeId>,
    /// The client connection.
    pub(crate) connection: ConnectionId,
    /// The host that it waits for.
    pub(crate) host: &'a str,
    /// True if that host is a checksum database, asked without a module proxy between.
    pub(crate) is_sumdb: bool,
    /// What a request asks for.
    pub(crate) kind: Option<Kind>,
    /// True for a request over HTTP/2.
    pub(crate) is_h2: bool,
    /// The phase that it is in.
    pub(crate) phase: Phase,
    /// True while the parent proxy has not answered CONNECT; `phase` is `Connect` then.
    pub(crate) is_asking: bool,
    /// Since when nothing came from the upstream, microseconds.
    pub(crate) silent_us: u64,
    /// False while it waits for the client or for our disk.
    pub(crate) is_upstreams_turn: bool,
    /// Bytes of the body so far.
    pub(crate) bytes: u64,
    /// How many there are in all, if that is known.
    pub(crate) length: Option<u64>,
    /// The address that it is connected to; while it connects, all that were tried.
    pub(crate) address: Option<&'a str>,
    /// How many bytes that were sent more than once its TCP does not acknowledge; 0 if it has
    /// acknowledged all. `None` if that is not known.
    pub(crate) unacknowledged_bytes: Option<u64>,
    /// The parent proxy, without credentials.
    pub(crate) via: Option<&'a str>,
    /// True if there is TLS below the request.
    pub(crate) is_tls: bool,
    /// True if its connection has answered a request before.
    pub(crate) is_reused: bool,
    /// The program that is asked for credentials before it is sent; `phase` is `Blocked` then.
    pub(crate) awaits: Option<&'a str>,
}

/// How long things may take before modtape itself ends them, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// A silence as long is a stall.
    pub(crate) stall_us: u64,
    /// From the name lookup to the parent proxy's answer.
    pub(crate) connect_us: u64,
    /// The TLS handshake.
    pub(crate) tls_us: u64,
    /// `--upstream-idle-timeout`, if there is one.
    pub(crate) idle_us: Option<u64>,
}

impl Default for Limits {
    /// Those of `modtape record` without flags.
    fn default() -> Self {
        Self {
            stall_us: 10_000_000,
            connect_us: 30_000_000,
            tls_us: 9_000_000,
            idle_us: None,
        }
    }
}

/// What keeps some of them waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stuck {
    /// The cause; `modtape help CODE` explains it.
    pub(crate) code: &'static str,
    /// One sentence without a full stop: who, at which step, for how long.
    pub(crate) cause: String,
    /// What the go command will do about it, one sentence without a full stop.
    pub(crate) go: String,
    /// What its user can do, the safest first.
    pub(crate) choices: Vec<String>,
    /// False if what is seen has other explanations, which are rare.
    pub(crate) is_certain: bool,
    /// Who keeps them waiting: a host or a parent proxy.
    pub(crate) whom: String,
    /// Which of them wait for it: indices, the longest silence first.
    pub(crate) members: Vec<usize>,
}

/// What was asked last when nothing came any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// A program's answer to the question for credentials.
    Credentials,
    /// The name lookup.
    Dns,
    /// TCP.
    Tcp,
    /// The parent proxy's answer to CONNECT.
    Tunnel,
    /// The TLS handshake.
    Tls,
    /// The response's head.
    Head,
    /// More of the response's body.
    Body,
    /// Anything at all on a connection that is set up.
    Connection(ConnectionId),
}

/// What keeps things in flight waiting, the longest silence first. Empty if nothing has been silent for
/// [`Limits::stall_us`].
pub(crate) fn causes(waiting: &[Waiting<'_>], limits: &Limits) -> Vec<Stuck> {
    let mut silent: Vec<usize> = (0..waiting.len())
        .filter(|index| is_silent(&waiting[*index], limits))
        .collect();
    silent.sort_by_key(|index| std::cmp::Reverse(waiting[*index].silent_us));
    let connections = Connection::all(waiting, limits);
    let mut groups: Vec<((Step, &str), Vec<usize>)> = Vec::new();
    let mut places: HashMap<(Step, &str), usize> = HashMap::new();
    for index in silent {
        let one = &waiting[index];
        let step = step(one, &connections);
        let key = (step, whom(one, step));
        let next = groups.len();
        let place = *places.entry(key).or_insert(next);
        match groups.get_mut(place) {
            Some((_, members)) => members.push(index),
            None => groups.push((key, vec![index])),
        }
    }
    let silent_hosts = silent_hosts(waiting, limits);
    let groups = groups.into_iter();
    groups
        .map(|((step, whom), members)| {
            let mut stuck = Group::new(step, waiting, &members, limits).told(whom);
            if silent_hosts > 1 {
                let hosts = count(silent_hosts as u64, "host");
                let network = format!("first look whether this machine's own network is up: nothing comes from any of {hosts}");
                stuck.choices.insert(0, network);
            }
            stuck.members = members;
            stuck
        })
        .collect()
}

/// Whether a host is a checksum database that is asked without a module proxy between.
pub(crate) fn is_sumdb(host: &str, bases: &[Base]) -> bool {
    let mut sumdbs = bases.iter().filter(|base| base.sumdb.is_some());
    sumdbs.any(|base| base.host == host || base.host_name() == host)
}

fn is_silent(one: &Waiting<'_>, limits: &Limits) -> bool {
    let is_waiting = one.phase != Phase::Blocked || one.awaits.is_some();
    one.is_upstreams_turn && is_waiting && one.silent_us >= limits.stall_us
}

/// True if something came a short time ago, so that its upstream lives.
fn is_moving(one: &Waiting<'_>, limits: &Limits) -> bool {
    one.phase == Phase::Receive && !is_silent(one, limits)
}

/// How many hosts are silent, if something waits for each host that is asked and nothing moves.
fn silent_hosts(waiting: &[Waiting<'_>], limits: &Limits) -> usize {
    let is_waiting = |one: &&Waiting<'_>| one.is_upstreams_turn && one.phase != Phase::Blocked;
    let hosts: HashSet<&str> = waiting
        .iter()
        .filter(is_waiting)
        .map(|one| one.host)
        .collect();
    let all = waiting
        .iter()
        .filter(is_waiting)
        .all(|one| is_silent(one, limits));
    let moves = waiting.iter().any(|one| is_moving(one, limits));
    if all && !moves { hosts.len() } else { 0 }
}

fn step(one: &Waiting<'_>, connections: &HashMap<ConnectionId, Connection>) -> Step {
    match one.phase {
        Phase::Blocked if one.awaits.is_some() => Step::Credentials,
        Phase::Blocked | Phase::Dns => Step::Dns,
        Phase::Connect if one.is_asking => Step::Tunnel,
        Phase::Connect => Step::Tcp,
        Phase::Tls => Step::Tls,
        _ if is_dead(one, connections) => Step::Connection(one.connection),
        Phase::Send | Phase::Wait => Step::Head,
        Phase::Receive => Step::Body,
    }
}

/// What there is to say of all requests of one client connection together.
#[derive(Debug, Default)]
struct Connection {
    /// What was sent is not acknowledged.
    is_lost: bool,
    /// How many of them are silent.
    silent: usize,
    /// The longest silence, microseconds.
    longest_us: u64,
    /// The shortest silence of those that were acknowledged, microseconds.
    arrived_us: Option<u64>,
    /// It carried an answer, or part of one.
    has_carried: bool,
    /// Something came a short time ago.
    is_moving: bool,
}

impl Connection {
    fn all(waiting: &[Waiting<'_>], limits: &Limits) -> HashMap<ConnectionId, Self> {
        let mut all: HashMap<ConnectionId, Self> = HashMap::new();
        for one in waiting.iter().filter(|one| one.id.is_some()) {
            let connection = all.entry(one.connection).or_default();
            connection.is_lost |= one.unacknowledged_bytes > Some(0);
            connection.silent += usize::from(is_silent(one, limits));
            connection.longest_us = connection.longest_us.max(one.silent_us);
            if has_arrived(one) {
                let known = connection.arrived_us.unwrap_or(u64::MAX);
                connection.arrived_us = Some(known.min(one.silent_us));
            }
            connection.has_carried |= one.is_reused || one.phase == Phase::Receive;
            connection.is_moving |= is_moving(one, limits);
        }
        all
    }

    /// A request was sent, and acknowledged, while another was silent already: it lived then.
    fn has_lived(&self) -> bool {
        let arrived_us = self.arrived_us;
        arrived_us.is_some_and(|us| self.longest_us.saturating_sub(us) >= LIVED_US)
    }
}

/// True if the connection of a request is dead: what was sent is not acknowledged. Where TCP cannot be
/// asked, an HTTP/2 connection seems dead that carried answers before, and carries several requests for
/// none of which anything comes.
fn is_dead(one: &Waiting<'_>, connections: &HashMap<ConnectionId, Connection>) -> bool {
    connections.get(&one.connection).is_some_and(|connection| {
        let seems_dead = one.is_h2
            && connection.silent > 1
            && connection.has_carried
            && !connection.is_moving
            && !connection.has_lived();
        connection.is_lost || seems_dead
    })
}

/// True if the server's TCP has acknowledged the request that it does not answer: the connection was
/// alive when it was sent.
fn has_arrived(one: &Waiting<'_>) -> bool {
    let is_asked = matches!(one.phase, Phase::Send | Phase::Wait);
    // The parent proxy would acknowledge it too.
    is_asked && one.unacknowledged_bytes == Some(0) && one.via.is_none()
}

/// Who is waited for at a step: who can be named by it, once for all that wait.
fn whom<'a>(one: &Waiting<'a>, step: Step) -> &'a str {
    match step {
        Step::Credentials => one.awaits.unwrap_or(one.host),
        Step::Dns | Step::Tcp => one.via.unwrap_or(one.host),
        Step::Tunnel | Step::Tls | Step::Head | Step::Body | Step::Connection(_) => one.host,
    }
}

/// Some that wait for the same.
struct Group<'a> {
    step: Step,
    /// The one that waits longest.
    first: &'a Waiting<'a>,
    members: usize,
    limits: &'a Limits,
}

impl<'a> Group<'a> {
    fn new(step: Step, waiting: &'a [Waiting<'a>], members: &[usize], limits: &'a Limits) -> Self {
        Self {
            step,
            first: &waiting[members[0]],
            members: members.len(),
            limits,
        }
    }

    fn told(&self, whom: &str) -> Stuck {
        Stuck {
            code: self.code(),
            cause: self.cause(),
            go: self.go(),
            choices: self.choices(),
            is_certain: match self.step {
                Step::Connection(_) => self.first.unacknowledged_bytes > Some(0),
                _ => !self.may_be_cold(),
            },
            whom: whom.to_owned(),
            members: Vec::new(),
        }
    }

    fn code(&self) -> &'static str {
        match self.step {
            Step::Credentials => "MT208",
            Step::Dns => "MT102",
            Step::Connection(_) => "MT108",
            Step::Tunnel => "MT105",
            _ if self.first.is_sumdb => "MT112",
            Step::Tcp => "MT106",
            Step::Tls => "MT107",
            Step::Head | Step::Body => "MT101",
        }
    }

    /// True if the upstream answers others, and may have to fetch what is asked for first: a module
    /// proxy clones a repository for a minute, and then says 404.
    fn may_be_cold(&self) -> bool {
        let one = self.first;
        self.step == Step::Head
            && one.is_reused
            && may_be_cold(one.kind, one.is_sumdb, one.silent_us)
    }

    fn cause(&self) -> String {
        let one = self.first;
        let (host, lasted) = (one.host, seconds(one.silent_us));
        let through = match one.via {
            Some(via) => format!(" through parent proxy {via}"),
            None => String::new(),
        };
        // If the user named the parent proxy by its address, the name has the address already.
        let named = one.via.unwrap_or(host);
        let address = one.address.filter(|address| !named.ends_with(*address));
        let at = address.map_or_else(String::new, |address| format!(" ({address})"));
        let done = if one.is_tls { "TCP and TLS" } else { "TCP" };
        let although = match has_arrived(one) {
            true => ", although its TCP acknowledges the request",
            false => "",
        };
        match (self.step, one.via) {
            (Step::Credentials, _) => format!(
                "modtape has waited {lasted} for the {}, which is to say what credentials {host} gets",
                one.awaits.unwrap_or_default()
            ),
            (Step::Dns, None) => format!("the name lookup of {host} has no answer for {lasted}"),
            (Step::Dns, Some(via)) => format!(
                "the name lookup of parent proxy {via} has no answer for {lasted}, to reach {host}"
            ),
            (Step::Tcp, None) => {
                format!("{host}{at} does not answer TCP: no connection for {lasted}")
            }
            (Step::Tcp, Some(via)) => format!(
                "parent proxy {via}{at} does not answer TCP: no connection for {lasted}, to reach {host}"
            ),
            (Step::Tunnel, via) => format!(
                "parent proxy {}{at} takes connections but does not answer CONNECT {host} for {lasted}",
                via.unwrap_or_default()
            ),
            (Step::Tls, _) if one.unacknowledged_bytes > Some(0) => format!(
                "{host}{through}{at} takes connections but the ClientHello does not arrive: TCP done, {} not acknowledged for {lasted}",
                size(one.unacknowledged_bytes.unwrap_or(0))
            ),
            (Step::Tls, via) => {
                let although = match (one.unacknowledged_bytes, via) {
                    (Some(0), None) => ", although its TCP acknowledges the ClientHello",
                    _ => "",
                };
                format!(
                    "{host}{through}{at} takes connections but does not answer: TCP done, no TLS handshake for {lasted}{although}"
                )
            }
            (Step::Head, _) if self.may_be_cold() => format!(
                "{host}{through}{at} has answered before but not this: no response header for {lasted}{although}; it may fetch this version from its repository now"
            ),
            (Step::Head, _) if one.is_reused => format!(
                "{host}{through}{at} has answered before but not this: no response header for {lasted}{although}"
            ),
            (Step::Head, _) => format!(
                "{host}{through}{at} takes connections but sends nothing: {done} done, no response header for {lasted}{although}"
            ),
            (Step::Body, _) => {
                let so_far = match one.length {
                    Some(length) => format!("{} of {}", size(one.bytes), size(length)),
                    None => size(one.bytes),
                };
                format!(
                    "the response of {host}{through}{at} stopped after {so_far}: no data for {lasted}"
                )
            }
            (Step::Connection(_), _) => {
                let http = if one.is_h2 { "HTTP/2" } else { "HTTP/1.1" };
                let what = format!("{http} connection to {host}{through}{at}");
                let silent = match self.members {
                    1 => format!("the {what} is silent for {lasted}"),
                    all => format!("all {all} requests on one {what} are silent for {lasted}"),
                };
                match one.unacknowledged_bytes {
                    Some(bytes @ 1..) => format!(
                        "{silent} and does not acknowledge {} that were sent: it is dead",
                        size(bytes)
                    ),
                    _ => format!("{silent}: it seems dead"),
                }
            }
        }
    }

    fn go(&self) -> String {
        let limit = |us: u64| seconds(us);
        let Limits {
            connect_us, tls_us, ..
        } = *self.limits;
        // The checksum database is not an entry of GOPROXY.
        let then = match self.first.is_sumdb {
            true => "then the request fails, and the command with it",
            false => {
                "then the request fails; after a comma in GOPROXY the command ends there, after | it asks the next entry"
            }
        };
        match self.step {
            Step::Credentials => String::from(
                "the go command would wait for ever, modtape 5 minutes: then the request is sent without what it did not say",
            ),
            Step::Dns | Step::Tcp => {
                let limit = limit(connect_us);
                format!("the go command waits 30 s for a connection, modtape {limit}: {then}")
            }
            Step::Tunnel => {
                let limit = limit(connect_us);
                format!(
                    "the go command waits 60 s for the answer to CONNECT, modtape {limit}: {then}"
                )
            }
            Step::Tls => {
                let limit = limit(tls_us);
                format!("the go command waits 10 s for a TLS handshake, modtape {limit}: {then}")
            }
            Step::Connection(_) if self.limits.idle_us.is_none() => String::from(
                "the go command has no timeout for this: a dead connection is noticed by TCP after 3 minutes, or after 15 where data was under way",
            ),
            Step::Head | Step::Body | Step::Connection(_) => match self.limits.idle_us {
                Some(idle_us) => {
                    let limit = limit(idle_us);
                    format!("modtape ends it after {limit} (--upstream-idle-timeout): {then}")
                }
                None => {
                    String::from("the go command has no timeout for this: it will wait for ever")
                }
            },
        }
    }

    fn choices(&self) -> Vec<String> {
        let one = self.first;
        let host = one.host;
        let again = "end it with Ctrl-C and run it again: what was downloaded stays in the module cache (not with --cold)";
        let mut choices: Vec<String> = Vec::new();
        let mut add = |choice: &str| choices.push(choice.to_owned());
        match self.step {
            Step::Credentials => {
                add(
                    "run that program by hand: it may ask for a password or a login, which nobody sees here",
                );
                add("GOAUTH=netrc, if ~/.netrc has what the host wants");
                return choices;
            }
            Step::Dns => {
                let whom = one.via.and_then(host_of).unwrap_or(host);
                add(&format!(
                    "see whether the resolver answers: getent hosts {whom}"
                ));
                if one.via.is_none() {
                    add(&format!(
                        "modtape record --resolve {host}:443:ADDRESS asks no resolver"
                    ));
                }
            }
            Step::Tcp if one.via.is_some() => {
                add("see whether HTTPS_PROXY names the right address and port");
                add(&around(host));
            }
            Step::Tcp => {
                add(&format!(
                    "see whether this network reaches it: curl -sSI -m 10 https://{host}/"
                ));
                add("HTTPS_PROXY, if this network has a proxy for the way out");
            }
            Step::Tunnel => {
                add(&format!(
                    "ask who runs the parent proxy whether it may reach {host}"
                ));
                add(&around(host));
            }
            Step::Tls => {
                add(&format!(
                    "see whether another program gets through: curl -sSI -m 10 https://{host}/"
                ));
                add(
                    "ask who runs the firewall: something takes the connection and drops TLS (modtape's ClientHello fits into one packet, so its size is not the cause)",
                );
            }
            Step::Connection(_) => {
                add(again);
                add(
                    "GODEBUG=http2client=0 for this command, if it happens again: a connection for each request",
                );
            }
            Step::Head if self.may_be_cold() => {
                add(
                    "wait: a module proxy that fetches a version for the first time takes up to a minute",
                );
                add(again);
            }
            Step::Head | Step::Body => add(again),
        }
        if one.is_sumdb {
            add(
                "a GOPROXY that relays the checksum database (goproxy.cn and goproxy.io do): everything stays verified",
            );
            if host == "sum.golang.org" {
                add("GOSUMDB=sum.golang.google.cn: the same database and key at another host");
            }
        } else if matches!(one.kind, Some(Kind::Vcs | Kind::Discovery)) {
            add("a GOPROXY that has the module: without one, its repository is fetched itself");
        } else if matches!(self.step, Step::Dns | Step::Tcp | Step::Tls) && one.via.is_none() {
            add("another GOPROXY entry first, if this one cannot be reached from here");
        }
        let is_endless = matches!(self.step, Step::Head | Step::Body | Step::Connection(_));
        if is_endless && self.limits.idle_us.is_none() {
            add(
                "modtape record --upstream-idle-timeout 20s: turns the silence into an error, after which | in GOPROXY asks the next entry",
            );
        }
        choices
    }
}

/// What to set where a host can be reached without the parent proxy.
fn around(host: &str) -> String {
    format!(
        "add {host} to NO_PROXY, if it can be reached without that proxy: {}",
        no_proxy(host)
    )
}

/// A connection that acknowledges something so long after the others fell silent was not lost when they
/// did, microseconds.
pub(super) const LIVED_US: u64 = 1_000_000;

/// How long a module proxy may take to fetch a version for the first time, microseconds.
const COLD_US: u64 = 75_000_000;

/// True if a host that answers others may have to fetch what a request of this kind asks for first: a
/// module proxy from its repository, or from the checksum database, unless it is that itself.
pub(super) fn may_be_cold(kind: Option<Kind>, is_sumdb: bool, silent_us: u64) -> bool {
    let is_made = match kind {
        Some(Kind::Info | Kind::Mod | Kind::Zip | Kind::List | Kind::Latest) => true,
        Some(Kind::Lookup) => !is_sumdb,
        _ => false,
    };
    is_made && silent_us < COLD_US
}

/// The host of a parent proxy's URL.
pub(super) fn host_of(via: &str) -> Option<&str> {
    let authority = via.split_once("://").map_or(via, |(_, rest)| rest);
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUM: &str = "sum.golang.org";
    const PROXY: &str = "proxy.golang.org";

    /// A request for a zip from a module proxy, on a connection of its own, silent for 34 s.
    fn waiting(phase: Phase) -> Waiting<'static> {
        Waiting {
            id: (phase >= Phase::Send).then_some(1),
            connection: 1,
            host: PROXY,
            is_sumdb: false,
            kind: Some(Kind::Vcs),
            is_h2: true,
            phase,
            is_asking: false,
            silent_us: 34_900_000,
            is_upstreams_turn: true,
            bytes: 0,
            length: None,
            address: None,
            unacknowledged_bytes: None,
            via: None,
            is_tls: true,
            awaits: None,
            is_reused: false,
        }
    }

    fn only(waiting: &[Waiting<'_>]) -> Stuck {
        let mut causes = causes(waiting, &Limits::default());
        assert_eq!(causes.len(), 1, "{causes:?}");
        causes.remove(0)
    }

    #[test]
    fn a_cause_names_who_is_silent_and_the_step() {
        let named = Some("http://proxy.corp:3128");
        let literal = Some("http://10.0.0.1:3128");
        let at = Some("142.250.4.141:443");
        let parent = Some("10.0.0.1:3128");
        for (phase, via, address, is_asking, code, expected) in [
            (
                Phase::Dns,
                None,
                None,
                false,
                "MT102",
                "the name lookup of proxy.golang.org has no answer for 34 s",
            ),
            (
                Phase::Connect,
                None,
                None,
                false,
                "MT106",
                "proxy.golang.org does not answer TCP: no connection for 34 s",
            ),
            (
                Phase::Connect,
                None,
                Some("192.0.2.1:443, [2001:db8::1]:443"),
                false,
                "MT106",
                "proxy.golang.org (192.0.2.1:443, [2001:db8::1]:443) does not answer TCP: no connection for 34 s",
            ),
            (
                Phase::Tls,
                None,
                at,
                false,
                "MT107",
                "proxy.golang.org (142.250.4.141:443) takes connections but does not answer: TCP done, no TLS handshake for 34 s",
            ),
            (
                Phase::Wait,
                None,
                at,
                false,
                "MT101",
                "proxy.golang.org (142.250.4.141:443) takes connections but sends nothing: TCP and TLS done, no response header for 34 s",
            ),
            (
                Phase::Dns,
                named,
                None,
                false,
                "MT102",
                "the name lookup of parent proxy http://proxy.corp:3128 has no answer for 34 s, to reach proxy.golang.org",
            ),
            (
                Phase::Connect,
                named,
                parent,
                false,
                "MT106",
                "parent proxy http://proxy.corp:3128 (10.0.0.1:3128) does not answer TCP: no connection for 34 s, to reach proxy.golang.org",
            ),
            (
                Phase::Connect,
                literal,
                parent,
                true,
                "MT105",
                "parent proxy http://10.0.0.1:3128 takes connections but does not answer CONNECT proxy.golang.org for 34 s",
            ),
            (
                Phase::Tls,
                literal,
                parent,
                false,
                "MT107",
                "proxy.golang.org through parent proxy http://10.0.0.1:3128 takes connections but does not answer: TCP done, no TLS handshake for 34 s",
            ),
        ] {
            let stuck = only(&[Waiting {
                via,
                address,
                is_asking,
                ..waiting(phase)
            }]);
            assert_eq!((stuck.code, &*stuck.cause), (code, expected));
            assert!(stuck.is_certain);
            let is_endless = phase >= Phase::Send;
            assert_eq!(stuck.go.contains("for ever"), is_endless, "{}", stuck.go);
        }
    }

    #[test]
    fn a_body_that_stops_says_how_much_of_it_came() {
        let body = Waiting {
            bytes: 1_200_000,
            length: Some(4_000_000),
            ..waiting(Phase::Receive)
        };
        let cause = only(std::slice::from_ref(&body)).cause;
        let expected =
            "the response of proxy.golang.org stopped after 1.2 MB of 4.0 MB: no data for 34 s";
        assert_eq!(cause, expected);
        let open = Waiting {
            length: None,
            ..body
        };
        let cause = only(&[open]).cause;
        assert!(cause.contains(" after 1.2 MB: "), "{cause}");
    }

    #[test]
    fn one_silent_request_is_no_dead_connection_and_all_of_them_are() {
        let streams = |moving: bool| -> Vec<Waiting<'static>> {
            let stream = |id: u64| Waiting {
                id: Some(id),
                is_reused: true,
                ..waiting(Phase::Wait)
            };
            let last = Waiting {
                id: Some(7),
                silent_us: if moving { 200_000 } else { 34_000_000 },
                ..waiting(Phase::Receive)
            };
            (1..7).map(stream).chain([last]).collect()
        };
        let dead = only(&streams(false));
        assert_eq!((dead.code, dead.members.len()), ("MT108", 7));
        assert!(dead.cause.starts_with(
            "all 7 requests on one HTTP/2 connection to proxy.golang.org are silent for 34 s"
        ));
        let slow = only(&streams(true));
        assert_eq!((slow.code, slow.members.len()), ("MT101", 6));
        // A connection that never carried an answer tells nothing of its own.
        let mut fresh = streams(false);
        fresh.pop();
        fresh.iter_mut().for_each(|one| one.is_reused = false);
        assert_eq!(only(&fresh).code, "MT101");
    }

    #[test]
    fn what_tcp_acknowledges_tells_a_dead_connection_from_a_silent_server() {
        let two = |unacknowledged_bytes, via, later_us| {
            let first = Waiting {
                is_reused: true,
                unacknowledged_bytes,
                via,
                ..waiting(Phase::Wait)
            };
            let later = |id, silent_us| Waiting {
                id: Some(id),
                silent_us,
                ..first.clone()
            };
            let causes = [first.silent_us, first.silent_us - later_us].map(|us| later(us, us));
            only(&causes)
        };
        for (unacknowledged_bytes, via, later_us, code, is_certain) in [
            (None, None, 2_000_000, "MT108", false),
            (Some(120), None, 0, "MT108", true),
            (Some(0), None, 2_000_000, "MT101", true),
            // It may have died before the answer to both.
            (Some(0), None, 0, "MT108", false),
            // It is the parent proxy whose TCP answers.
            (Some(0), Some("http://p:1"), 2_000_000, "MT108", false),
        ] {
            let stuck = two(unacknowledged_bytes, via, later_us);
            assert_eq!(
                (stuck.code, stuck.is_certain),
                (code, is_certain),
                "{stuck:?}"
            );
        }
        let one = |phase, is_h2, unacknowledged_bytes| {
            only(&[Waiting {
                is_h2,
                unacknowledged_bytes: Some(unacknowledged_bytes),
                ..waiting(phase)
            }])
        };
        for (phase, is_h2, unacknowledged_bytes, code, expected) in [
            (
                Phase::Wait,
                false,
                120,
                "MT108",
                "the HTTP/1.1 connection to proxy.golang.org is silent for 34 s and does not acknowledge 120 B that were sent: it is dead",
            ),
            (
                Phase::Wait,
                true,
                0,
                "MT101",
                "proxy.golang.org takes connections but sends nothing: TCP and TLS done, no response header for 34 s, although its TCP acknowledges the request",
            ),
            (
                Phase::Tls,
                false,
                0,
                "MT107",
                "proxy.golang.org takes connections but does not answer: TCP done, no TLS handshake for 34 s, although its TCP acknowledges the ClientHello",
            ),
            (
                Phase::Tls,
                false,
                1_500,
                "MT107",
                "proxy.golang.org takes connections but the ClientHello does not arrive: TCP done, 1.5 kB not acknowledged for 34 s",
            ),
        ] {
            let stuck = one(phase, is_h2, unacknowledged_bytes);
            assert_eq!((stuck.code, &*stuck.cause), (code, expected));
        }
        // What came before the silence was acknowledged in any case.
        let body = one(Phase::Receive, true, 0).cause;
        assert!(!body.contains("acknowledge"), "{body}");
    }

    #[test]
    fn a_module_proxy_may_fetch_a_version_for_a_minute() {
        let asked = |kind, silent_s: u64, is_reused| {
            only(&[Waiting {
                kind: Some(kind),
                silent_us: silent_s * 1_000_000,
                is_reused,
                ..waiting(Phase::Wait)
            }])
        };
        let cold = asked(Kind::Info, 20, true);
        assert_eq!((cold.code, cold.is_certain), ("MT101", false));
        assert!(
            cold.cause
                .ends_with("; it may fetch this version from its repository now")
        );
        for (kind, silent_s, is_reused) in [
            (Kind::Info, 80, true),
            (Kind::Tile, 20, true),
            (Kind::Info, 20, false),
        ] {
            let stuck = asked(kind, silent_s, is_reused);
            assert!(stuck.is_certain, "{stuck:?}");
            assert!(!stuck.cause.contains("it may fetch"), "{stuck:?}");
        }
    }

    #[test]
    fn a_checksum_database_has_choices_of_its_own_and_none_is_unsafe() {
        let sumdb = Waiting {
            host: SUM,
            is_sumdb: true,
            kind: Some(Kind::Lookup),
            ..waiting(Phase::Wait)
        };
        let stuck = only(std::slice::from_ref(&sumdb));
        assert_eq!(stuck.code, "MT112");
        let choices = stuck.choices.join("\n");
        assert!(
            choices.contains("GOSUMDB=sum.golang.google.cn"),
            "{choices}"
        );
        for phase in Phase::ALL.into_iter().skip(1) {
            for is_sumdb in [false, true] {
                let all = only(&[Waiting {
                    is_sumdb,
                    ..waiting(phase)
                }]);
                assert!(!all.choices.is_empty(), "{phase}");
                let text = all.choices.join("\n");
                let unsafe_words = ["GOSUMDB=off", "GONOSUMDB", "GOINSECURE", "-insecure"];
                assert!(
                    !unsafe_words.iter().any(|word| text.contains(word)),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn where_no_host_answers_the_own_network_comes_first() {
        let both = [
            waiting(Phase::Wait),
            Waiting {
                host: SUM,
                connection: 2,
                ..waiting(Phase::Receive)
            },
        ];
        let told = causes(&both, &Limits::default());
        assert_eq!(told.len(), 2);
        for stuck in &told {
            assert!(stuck.choices[0].contains("any of 2 hosts"), "{stuck:?}");
        }
        let mut one_moves = both.to_vec();
        one_moves[1].silent_us = 1_000;
        assert!(!only(&one_moves).choices[0].contains("this machine's own network"));
    }

    #[test]
    fn what_waits_for_us_or_for_a_short_time_is_not_stuck() {
        let paused = Waiting {
            is_upstreams_turn: false,
            ..waiting(Phase::Receive)
        };
        let young = Waiting {
            silent_us: 9_999_999,
            ..waiting(Phase::Wait)
        };
        let blocked = waiting(Phase::Blocked);
        assert_eq!(causes(&[paused, young, blocked], &Limits::default()), []);
    }

    #[test]
    fn a_timeout_of_ours_ends_the_wait() {
        let limits = Limits {
            idle_us: Some(20_000_000),
            ..Limits::default()
        };
        let stuck = causes(&[waiting(Phase::Wait)], &limits).remove(0);
        assert!(stuck.go.contains("after 20 s"), "{}", stuck.go);
        let choices = stuck.choices.join("\n");
        assert!(!choices.contains("--upstream-idle-timeout"), "{choices}");
    }

    fn any_waiting() -> impl Strategy<Value = Waiting<'static>> {
        let host = proptest::sample::select(vec![SUM, PROXY, "", "a:1"]);
        let via = proptest::option::of(proptest::sample::select(vec![
            "",
            "http://:",
            "socks5://p:1",
        ]));
        let flags = any::<[bool; 6]>();
        let kind = proptest::option::of(proptest::sample::select(Kind::ALL.to_vec()));
        let numbers = (any::<Option<u64>>(), 0..4_u64, any::<u64>(), any::<u64>());
        (host, via, flags, kind, numbers, 0..7_usize).prop_map(
            |(host, via, flags, kind, (id, connection, silent_us, bytes), phase)| Waiting {
                id,
                connection,
                host,
                is_sumdb: flags[0],
                kind,
                is_h2: flags[1],
                phase: Phase::ALL[phase],
                is_asking: flags[2],
                silent_us,
                is_upstreams_turn: flags[3],
                bytes,
                length: id,
                address: via,
                unacknowledged_bytes: id,
                via,
                is_tls: flags[4],
                awaits: None,
                is_reused: flags[5],
            },
        )
    }

    proptest! {
        #[test]
        fn each_that_is_silent_has_one_cause(all in proptest::collection::vec(any_waiting(), 0..12)) {
            let limits = Limits::default();
            let mut told: Vec<usize> = Vec::new();
            for stuck in causes(&all, &limits) {
                prop_assert!(!stuck.members.is_empty());
                prop_assert!(!stuck.cause.is_empty() && !stuck.go.is_empty());
                told.extend(&stuck.members);
            }
            told.sort_unstable();
            let silent: Vec<usize> =
                (0..all.len()).filter(|one| is_silent(&all[*one], &limits)).collect();
            prop_assert_eq!(told, silent);
        }
    }
}
