//! A command in a network namespace: what it finds inside, who answers when it asks for a name, where its
//! connections lead, and what became of its packets.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use anyhow::anyhow;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::not_run;
use crate::child::SpawnError;
use crate::clock::Timestamp;
use crate::commands::failure::{Advise as _, Failure, WRAPPER_FAILED};
use crate::exchange::{DialFailure, Target};
use crate::gomod::{DEFAULT_HOSTS, GoProxy};
use crate::netns::{
    AdmitError, Gate, HostPort, Inside, Known, LookingUp, Lookup, Lookups, Names, Namespace,
    Resolve, Server, System,
};
use crate::proxy::{Context, Destinations, Entrance, Policy, Proxy, Redirection, Responder};
use crate::recording::format::Packets;
use crate::replay::Replay;
use crate::sockets::OwnSockets;
use crate::upstream::{Dialer, Exposed, FailedLookup, canonical};

/// A namespace that the command is on its way into.
pub(super) struct Entering {
    gate: Gate,
    program: OsString,
    exposed: Exposed,
}

/// A namespace with the command in it.
pub(super) struct Entered {
    namespace: Namespace,
    /// The task that serves its connections.
    serving: JoinSet<()>,
    /// The tasks that answer for names; they end when this is dropped.
    _names: JoinSet<()>,
}

impl Entering {
    /// Prepares for a command. Returns the words that start it instead of its own.
    ///
    /// `folder` is private to the recorder.
    pub(super) fn prepare(
        folder: &Path,
        command: Vec<OsString>,
        exposed: Exposed,
    ) -> anyhow::Result<(Self, Vec<OsString>)> {
        let gate = Gate::open(folder).map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => anyhow!("--netns: only Linux has network namespaces"),
            _ => anyhow!(error).context(format!("cannot use {}", folder.display())),
        })?;
        let inside = Inside {
            resolvers: local_resolvers(&resolv_conf()),
            host_ports: led_out(&exposed.ports),
            ..Inside::default()
        };
        let program = command.first().cloned().unwrap_or_default();
        let words = gate.words(inside, command)?;
        let entering = Self {
            gate,
            program,
            exposed,
        };
        Ok((entering, words))
    }

    /// Waits until the namespace stands, serves what is in it (`places` clients at once), and starts the
    /// command; then `inside` is set. The failure is why there is none; where none is wanted, this never
    /// returns.
    pub(super) async fn enter(
        entering: Option<Self>,
        context: &Arc<Context>,
        places: usize,
        inside: &OnceLock<Entered>,
    ) -> Option<Failure> {
        let Some(entering) = entering else {
            return std::future::pending().await;
        };
        match entering.start(context, places).await {
            Ok(entered) => {
                // It is set once.
                drop(inside.set(entered));
                None
            }
            Err(failure) => Some(failure),
        }
    }

    async fn start(self, context: &Arc<Context>, places: usize) -> Result<Entered, Failure> {
        let Self {
            gate,
            program,
            exposed,
        } = self;
        let admitted = gate.admit().await;
        let (mut namespace, served) = admitted.map_err(|error| not_admitted(error, &program))?;
        let names = Arc::<Names>::default();
        let server = Server::new(Arc::clone(&names), resolver(context, exposed));
        let mut answering = JoinSet::new();
        for sockets in served.names {
            answering.spawn(Arc::clone(&server).run(sockets));
        }
        let addresses = served.listeners.iter().map(TcpListener::local_addr);
        let addresses: io::Result<Vec<SocketAddr>> = addresses.collect();
        let redirection = Redirection::new(addresses?, OwnSockets::default());
        let redirection = redirection.leading(Arc::new(ByName(names)));
        let entrance = Entrance::Redirected(Arc::new(redirection));
        let (mut serving, mut listeners) = (JoinSet::new(), served.listeners.into_iter());
        if let Some(first) = listeners.next() {
            let proxy = Proxy::new(first, Arc::clone(context), entrance).and_at(listeners);
            serving.spawn(proxy.with_places(places).run());
        }
        let started = namespace.start().await;
        started.map_err(|error| not_admitted(error, &program))?;
        Ok(Entered {
            namespace,
            serving,
            _names: answering,
        })
    }
}

impl Entered {
    /// What became of the command's packets so far.
    pub(super) fn packets(&self) -> Option<Packets> {
        let packets = self.namespace.packets();
        packets.map_err(|error| tracing::warn!(target: "modtape::connection", %error, "cannot read counters")).ok()
    }

    /// Waits for the connections, once they were told to end.
    pub(super) async fn end(self) {
        self.serving.join_all().await;
    }
}

fn not_admitted(error: AdmitError, program: &OsStr) -> Failure {
    match error {
        AdmitError::NotExecuted(source) => not_run(SpawnError::of(program, source)),
        AdmitError::Refused(refusal) => {
            let advice = refusal.advice(&system());
            let refused: anyhow::Result<()> = Err(anyhow!(refusal)).help(advice);
            match refused {
                Ok(()) => Failure::new(WRAPPER_FAILED, anyhow!(refusal)),
                Err(error) => Failure::new(WRAPPER_FAILED, error),
            }
        }
        AdmitError::NoReport(_) => Failure::new(WRAPPER_FAILED, anyhow!(error)),
    }
}

/// What the system says of itself, as far as it may refuse a namespace.
fn system() -> System {
    let setting = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
        text.trim().parse().ok()
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let filter = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"));
    System {
        is_root: rustix::process::geteuid().is_root(),
        user_namespaces: setting("user/max_user_namespaces"),
        net_namespaces: setting("user/max_net_namespaces"),
        unprivileged_clone: setting("kernel/unprivileged_userns_clone"),
        apparmor_restricts: setting("kernel/apparmor_restrict_unprivileged_userns"),
        is_filtered: filter.is_some_and(|mode| mode.trim() != "0"),
    }
}

/// What of this machine a command reaches: the entries of its GOPROXY, whose values these may be, and the
/// ports that `--host-port` names.
pub(super) fn exposed(goproxy: &[&str], named: &[u16]) -> Exposed {
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    exposed_by(goproxy, named, &hosts)
}

fn exposed_by(goproxy: &[&str], named: &[u16], hosts: &str) -> Exposed {
    let entries = goproxy.iter().flat_map(|value| {
        let parsed = GoProxy::parse(value);
        let targets: Vec<Target> = parsed.urls().filter_map(Target::of_url).collect();
        targets
    });
    // A name of everybody's that leads to this machine is not what the user meant.
    let entries = entries.filter(|target| !DEFAULT_HOSTS.contains(&target.host()));
    let mut exposed = Exposed {
        ports: named.iter().copied().collect(),
        targets: entries.collect(),
    };
    let on_loopback = exposed.targets.iter().filter(|target| {
        is_localhost(target.host())
            || target.ip().is_some_and(|ip| ip.is_loopback())
            || is_on_loopback(hosts, target.host())
    });
    exposed.ports.extend(on_loopback.map(Target::port));
    exposed
}

/// Whether clients find a name on loopback before they ask a resolver (hosts(5)), such as that of the machine.
fn is_on_loopback(hosts: &str, name: &str) -> bool {
    hosts.lines().any(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        address.is_some_and(|ip| ip.is_loopback())
            && words.any(|known| known.eq_ignore_ascii_case(name))
    })
}

/// The ports of the host, each as far as something listens there now; both families where nothing does yet.
///
/// A client of `localhost` tries both addresses, and only the one that refuses makes it try the other: so
/// one that leads nowhere must not be accepted in its place.
fn led_out(ports: &BTreeSet<u16>) -> Vec<HostPort> {
    if ports.is_empty() {
        return Vec::new();
    }
    // What cannot be read says that nothing listens.
    let [v4, v6] = ["tcp", "tcp6"]
        .map(|table| fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default());
    let listening = listening(&v4, &v6);
    let host_port = |port: u16| {
        let here = listening.iter().filter(|(_, taken)| *taken == port);
        let families: Vec<&IpAddr> = here.map(|(ip, _)| ip).collect();
        let is_unknown = families.is_empty();
        HostPort {
            port,
            v4: is_unknown || families.iter().any(|ip| ip.is_ipv4()),
            v6: is_unknown || families.iter().any(|ip| ip.is_ipv6()),
        }
    };
    ports.iter().copied().map(host_port).collect()
}

/// The addresses of loopback that something listens at, and their ports, by the tables of sockets in
/// proc(5). A listener at `[::]` takes IPv4 too, unless it was told not to, which the tables do not say.
fn listening(tcp: &str, tcp6: &str) -> Vec<(IpAddr, u16)> {
    let sockets = tcp.lines().chain(tcp6.lines());
    let listeners = sockets.filter_map(|socket| {
        let mut words = socket.split_ascii_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        // TCP_LISTEN
        (words.nth(1)? == "0A").then_some((address_in_proc(address)?, port))
    });
    let on_loopback = listeners.flat_map(|(ip, port)| {
        let also = (ip == IpAddr::from(Ipv6Addr::UNSPECIFIED)).then(|| Ipv4Addr::LOCALHOST.into());
        let all = [Some(canonical(ip)), also].into_iter().flatten();
        all.map(move |ip| (ip, port))
    });
    on_loopback.filter(|(ip, _)| ip.is_loopback()).collect()
}

/// An address as words of 32 bits, each in hexadecimal digits and the byte order of this machine.
fn address_in_proc(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = text.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let octets: [u8; 16] = words.as_flattened().try_into().ok()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// Without the file the resolver on loopback is asked, as resolv.conf(5) has it.
fn resolv_conf() -> String {
    fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
}

/// The resolvers on loopback that a client asks (resolv.conf(5)).
fn local_resolvers(resolv_conf: &str) -> Vec<IpAddr> {
    let named = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_resolver = words.next() == Some("nameserver");
        let address = words.next().filter(|_| is_resolver)?;
        let address = address.split('%').next()?;
        address.parse::<IpAddr>().ok()
    });
    let mut named: Vec<IpAddr> = named.collect();
    if named.is_empty() {
        named = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    named.retain(IpAddr::is_loopback);
    named.sort_unstable();
    named.dedup();
    named
}

/// A connection to a synthetic address leads to its name, any other to its address.
struct ByName(Arc<Names>);

impl Destinations for ByName {
    fn of(&self, original: SocketAddr) -> Result<Target, String> {
        let ip = original.ip();
        let host = match self.0.name(ip) {
            Some(name) => name.as_ref().to_owned(),
            None if Names::has_range_of(ip) => return Err(format!("no name has the address {ip}")),
            None => ip.to_string(),
        };
        Target::new(&host, original.port()).map_err(|error| error.to_string())
    }
}

/// Who says what becomes of a name.
fn resolver(context: &Arc<Context>, exposed: Exposed) -> Arc<dyn Resolve> {
    match &context.responder {
        Responder::Upstream(dialer) => Arc::new(Asked(Lookups::of(Arc::new(Outside {
            dialer: dialer.clone().capturing(None),
            failures: Arc::new(Failures {
                context: Arc::downgrade(context),
                search: search_list(&resolv_conf()),
            }),
            exposed: Arc::new(
                exposed
                    .targets
                    .iter()
                    .map(|target| target.host().to_owned())
                    .collect(),
            ),
        })))),
        Responder::Replay(replay) => Arc::new(Recorded::new(replay, &context.policy)),
        Responder::Fill(_) => Arc::new(Anything),
    }
}

/// A name that never leads out (RFC 6761 section 6.3).
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

const LOOPBACK: Lookup = Lookup::Loopback(Known {
    v4: Some(Ipv4Addr::LOCALHOST),
    v6: Some(Ipv6Addr::LOCALHOST),
});

/// A recorder asks whom the command would have asked.
struct Asked(Lookups);

/// The system's resolver, or nobody where the name is resolved elsewhere.
struct Outside {
    dialer: Dialer,
    failures: Arc<Failures>,
    /// The names of this machine that the user named: they lead out, also where they lead to loopback.
    exposed: Arc<BTreeSet<String>>,
}

impl Resolve for Asked {
    fn look_up(&self, name: String) -> LookingUp {
        match is_localhost(&name) {
            true => Box::pin(std::future::ready(LOOPBACK)),
            false => self.0.look_up(name),
        }
    }
}

impl Resolve for Outside {
    fn look_up(&self, name: String) -> LookingUp {
        let (dialer, exposed) = (self.dialer.clone(), Arc::clone(&self.exposed));
        let failures = Arc::clone(&self.failures);
        Box::pin(async move { ask(&dialer, &name, exposed.contains(&name), &failures).await })
    }
}

/// Records the lookups that failed.
struct Failures {
    // The journal ends with its last sender, and a lookup goes on after the session.
    context: Weak<Context>,
    /// The domains that resolvers try names with (resolv.conf(5)).
    search: Vec<String>,
}

impl Failures {
    /// Records one, unless a resolver may have made the name up from one of the command's.
    fn record(&self, started: Option<Timestamp>, target: &Target, failed: FailedLookup) {
        let Some((context, started)) = self.context.upgrade().zip(started) else {
            return;
        };
        let name = target.host();
        let is_known = context.policy.intercepted().any(|host| host == name);
        if is_known || is_whole(name, &self.search) {
            context.lookup_failed(started, target, failed);
        }
    }
}

/// Whether a name is that of a host with its domain, which is none of the `search` list.
fn is_whole(name: &str, search: &[String]) -> bool {
    let is_tried = |domain: &String| {
        let rest = name.strip_suffix(&**domain);
        rest.is_some_and(|rest| rest.ends_with('.'))
    };
    name.contains('.') && !search.iter().any(is_tried)
}

async fn ask(dialer: &Dialer, name: &str, leads_out: bool, failures: &Failures) -> Lookup {
    let Ok(target) = Target::new(name, 443) else {
        return Lookup::NotFound;
    };
    let started = failures.context.upgrade().map(|it| it.clock.now());
    match dialer.host_addresses(&target).await {
        Ok(None) => Lookup::Found { v4: true, v6: true },
        Ok(Some(addresses)) if leads_out => found(&addresses),
        Ok(Some(addresses)) => of_addresses(&addresses),
        Err(failed) => {
            let lookup = match failed.reason {
                DialFailure::DnsNotFound => Lookup::NotFound,
                _ => Lookup::Failed,
            };
            failures.record(started, &target, failed);
            lookup
        }
    }
}

fn of_addresses(addresses: &[IpAddr]) -> Lookup {
    let local = addresses.iter().map(|address| canonical(*address));
    let local: Vec<IpAddr> = local.filter(IpAddr::is_loopback).collect();
    // Where only some are, connections are refused.
    if !addresses.is_empty() && local.len() == addresses.len() {
        let mut known = Known::default();
        for address in local {
            match address {
                IpAddr::V4(ip) => known.v4 = Some(ip),
                IpAddr::V6(ip) => known.v6 = Some(ip),
            }
        }
        return Lookup::Loopback(known);
    }
    found(addresses)
}

fn found(addresses: &[IpAddr]) -> Lookup {
    Lookup::Found {
        v4: addresses.iter().any(IpAddr::is_ipv4),
        v6: addresses.iter().any(IpAddr::is_ipv6),
    }
}

/// A replay knows the hosts of its recording.
struct Recorded {
    hosts: BTreeSet<String>,
    replay: Arc<Replay>,
    misses: Mutex<Misses>,
}

/// Names that a replay does not know.
#[derive(Default)]
struct Misses {
    /// The domains that resolvers try names with (resolv.conf(5)).
    search: Vec<String>,
    /// Names that were counted, and what they are without such a domain: the resolver looks one name up
    /// several times.
    tried: BTreeSet<String>,
}

impl Misses {
    fn of(search: Vec<String>) -> Self {
        Self {
            search,
            tried: BTreeSet::new(),
        }
    }

    /// Whether a name that is not among the `hosts` counts.
    fn counts(&mut self, name: &str, hosts: &BTreeSet<String>) -> bool {
        let without = self.search.iter().filter_map(|domain| {
            let rest = name.strip_suffix(&**domain)?.strip_suffix('.')?;
            Some(rest.to_owned())
        });
        let mut meant: Vec<String> = without.collect();
        meant.push(name.to_owned());
        let is_known = |name: &String| hosts.contains(name) || self.tried.contains(name);
        let counts = !meant.iter().any(is_known);
        if self.tried.len() < MOST_MISSES {
            self.tried.extend(meant);
        }
        counts
    }
}

/// The domains that a resolver tries names with, by resolv.conf(5): the last line that names some counts.
fn search_list(resolv_conf: &str) -> Vec<String> {
    let mut lists = resolv_conf.lines().rev().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_list = words
            .next()
            .is_some_and(|word| ["search", "domain"].contains(&word));
        is_list.then(|| words.map(|word| word.trim_matches('.').to_ascii_lowercase()))
    });
    let domains = lists.next().into_iter().flatten();
    domains.filter(|domain| !domain.is_empty()).collect()
}

impl Recorded {
    fn new(replay: &Arc<Replay>, policy: &Policy) -> Self {
        let mut hosts = replay.tunnelled();
        hosts.extend(policy.intercepted().cloned());
        Self {
            hosts,
            replay: Arc::clone(replay),
            misses: Mutex::new(Misses::of(search_list(&resolv_conf()))),
        }
    }

    fn of(&self, name: &str) -> Lookup {
        if is_localhost(name) {
            return LOOPBACK;
        }
        if self.hosts.contains(name) {
            return Lookup::Found { v4: true, v6: true };
        }
        if Target::new(name, 443).is_err() {
            return Lookup::NotFound;
        }
        let mut misses = self.misses.lock().unwrap_or_else(PoisonError::into_inner);
        if misses.counts(name, &self.hosts) {
            let why = format!(
                "{name} is not on recording {}",
                self.replay.recording().name()
            );
            self.replay.refused_name(name, &why);
        }
        Lookup::NotFound
    }
}

/// How many names are remembered; each further one counts whenever it is looked up.
const MOST_MISSES: usize = 10_000;

impl Resolve for Recorded {
    fn look_up(&self, name: String) -> LookingUp {
        Box::pin(std::future::ready(self.of(&name)))
    }
}

/// A replay that asks the network finds out when it connects.
struct Anything;

impl Resolve for Anything {
    fn look_up(&self, name: String) -> LookingUp {
        Box::pin(std::future::ready(match Target::new(&name, 443) {
            Ok(_) if is_localhost(&name) => LOOPBACK,
            Ok(_) => Lookup::Found { v4: true, v6: true },
            Err(_) => Lookup::NotFound,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_resolvers_on_loopback_lose_their_place() {
        let ips = |text: &str| {
            let found = local_resolvers(text);
            found
                .iter()
                .map(IpAddr::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let text = "# nameserver 127.0.0.9\nsearch lan\nnameserver 127.0.0.53\n\tnameserver ::1\nnameserver 9.9.9.9\n";
        assert_eq!(ips(text), "127.0.0.53 ::1");
        assert_eq!(ips("nameserver 9.9.9.9\nnameserver fe80::1%eth0\n"), "");
        assert_eq!(ips(""), "127.0.0.1 ::1");
    }

    #[test]
    fn a_name_with_a_domain_of_the_search_list_is_the_same_miss() {
        let search = search_list("domain old\nsearch Svc.Cluster.Local. lan\n");
        assert_eq!(search, ["svc.cluster.local", "lan"]);
        let hosts = [String::from("proxy.golang.org")].into();
        let mut misses = Misses::of(search);
        for (name, counts) in [
            // Names with few dots are tried with each domain first.
            ("proxy.golang.org.svc.cluster.local", false),
            ("git.lan", true),
            ("git", false),
            ("goproxy", true),
            ("goproxy.lan", false),
            ("goproxy.cn", true),
            ("goproxy.cn", false),
            ("goproxy.cn.svc.cluster.local", false),
            ("goproxy.plan", true),
        ] {
            assert_eq!(misses.counts(name, &hosts), counts, "{name}");
        }
    }

    #[test]
    fn a_goproxy_on_this_machine_is_led_out() {
        let goproxy = [
            "http://localhost:3000,https://proxy.golang.org|http://127.0.0.1:4000/x,direct",
            "http://[::1]:5000,http://goproxy.lan:6000",
            "https://goproxy.localhost,http://box:7000",
            "",
        ];
        let hosts = "# ::1 goproxy.lan\n192.0.2.1 goproxy.lan\n127.0.1.1\tBox.lan Box # ours\n";
        let exposed = exposed_by(&goproxy, &[22], hosts);
        let ports: Vec<u16> = exposed.ports.into_iter().collect();
        assert_eq!(ports, [22, 443, 3000, 4000, 5000, 7000]);
        let is_named = |target: &str| exposed.targets.contains(&target.parse().unwrap());
        assert!(is_named("goproxy.lan:6000") && !is_named("proxy.golang.org:443"));
    }

    #[test]
    fn a_port_of_the_host_is_led_to_the_family_that_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = led_out(&[port].into());
        assert_eq!((found[0].v4, found[0].v6), (true, false));
    }

    #[test]
    fn listeners_of_loopback_are_read_from_the_tables_of_the_kernel() {
        let word = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
        let line = |address: &str, port: u16, state: &str| {
            format!("   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:0")
        };
        let v6 = |words: [[u8; 4]; 4]| words.map(word).concat();
        let (zero, last) = ([0; 4], [0, 0, 0, 1]);
        let tcp = [
            "  sl  local_address rem_address   st tx_queue",
            &line(&word([127, 0, 0, 1]), 1, "0A"),
            &line(&word([127, 0, 0, 1]), 2, "01"),
            &line(&word([0, 0, 0, 0]), 3, "0A"),
            &line(&word([192, 0, 2, 1]), 4, "0A"),
            "cut",
        ];
        let mapped = v6([zero, zero, [0, 0, 255, 255], [127, 0, 0, 1]]);
        let tcp6 = [
            line(&v6([zero, zero, zero, last]), 5, "0A"),
            line(&v6([zero; 4]), 6, "0A"),
            line(&mapped, 7, "0A"),
        ];
        let found = listening(&tcp.join("\n"), &tcp6.join("\n"));
        let mut found: Vec<_> = found
            .into_iter()
            .map(|(ip, port)| format!("{port} {ip}"))
            .collect();
        found.sort();
        let expected = [
            "1 127.0.0.1",
            "3 127.0.0.1",
            "5 ::1",
            "6 127.0.0.1",
            "6 ::1",
            "7 127.0.0.1",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_address_without_a_name_leads_nowhere() {
        let names = Arc::<Names>::default();
        names.addresses("a.example");
        let by_name = ByName(names);
        for (original, expected) in [
            ("198.18.0.1:443", "a.example:443"),
            ("[fd6d:6f64:7461:7065:0:1:0:1]:80", "a.example:80"),
            ("192.0.2.1:443", "192.0.2.1:443"),
            ("127.0.0.1:3000", "127.0.0.1:3000"),
        ] {
            let target = by_name.of(original.parse().unwrap()).unwrap();
            assert_eq!(target.to_string(), expected);
        }
        for original in [
            "198.18.0.2:443",
            "198.19.255.255:443",
            "[fd6d:6f64:7461:7065::9]:443",
        ] {
            let why = by_name.of(original.parse().unwrap()).unwrap_err();
            assert!(why.starts_with("no name has the address"), "{why}");
        }
    }

    #[test]
    fn families_are_those_of_the_addresses_and_loopback_stays() {
        let of = |text: &[&str]| {
            let ips: Vec<IpAddr> = text.iter().map(|ip| ip.parse().unwrap()).collect();
            of_addresses(&ips)
        };
        assert_eq!(
            of(&["192.0.2.1"]),
            Lookup::Found {
                v4: true,
                v6: false
            }
        );
        assert_eq!(
            of(&["2001:db8::1", "192.0.2.1"]),
            Lookup::Found { v4: true, v6: true }
        );
        let Lookup::Loopback(known) = of(&["127.0.0.1"]) else {
            panic!()
        };
        assert_eq!((known.v4, known.v6), (Some(Ipv4Addr::LOCALHOST), None));
        for local in [&["0.0.0.0", "::"][..], &["::ffff:127.0.0.1"]] {
            assert!(matches!(of(local), Lookup::Loopback(_)), "{local:?}");
        }
        let mixed = of(&["127.0.0.1", "192.0.2.1"]);
        assert!(matches!(mixed, Lookup::Found { .. }));
    }
}
