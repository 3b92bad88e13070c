//! A command in a network namespace: what it finds inside, who answers when it asks for a name, where its
//! connections lead, and what became of its packets.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use anyhow::anyhow;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::not_run;
use crate::child::SpawnError;
use crate::commands::failure::{Advise as _, Failure, WRAPPER_FAILED};
use crate::exchange::{DialFailure, Target};
use crate::gomod::GoProxy;
use crate::netns::{
    AdmitError, Gate, HostPort, Inside, Known, LookingUp, Lookup, Names, Namespace, Resolve,
    Server, System,
};
use crate::proxy::{Context, Destinations, Entrance, Policy, Proxy, Redirection, Responder};
use crate::recording::format::Packets;
use crate::replay::Replay;
use crate::sockets::OwnSockets;
use crate::upstream::Dialer;

/// A namespace that the command is on its way into.
pub(super) struct Entering {
    gate: Gate,
    program: OsString,
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
    /// `folder` is private to the recorder; `goproxy` has the values of GOPROXY that the command may go
    /// by, and `host_ports` what `--host-port` names.
    pub(super) fn prepare(
        folder: &Path,
        command: Vec<OsString>,
        goproxy: &[&str],
        host_ports: &[u16],
    ) -> anyhow::Result<(Self, Vec<OsString>)> {
        let gate = Gate::open(folder).map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => anyhow!("--netns: only Linux has network namespaces"),
            _ => anyhow!(error).context(format!("cannot use {}", folder.display())),
        })?;
        let ports: BTreeSet<u16> = on_loopback(goproxy)
            .chain(host_ports.iter().copied())
            .collect();
        // Without the file the resolver on loopback is asked, as resolv.conf(5) has it.
        let resolvers = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let inside = Inside {
            resolvers: local_resolvers(&resolvers),
            host_ports: ports.into_iter().map(host_port).collect(),
        };
        let program = command.first().cloned().unwrap_or_default();
        let words = gate.words(&inside, command)?;
        Ok((Self { gate, program }, words))
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
        let Self { gate, program } = self;
        let admitted = gate.admit().await;
        let (mut namespace, served) = admitted.map_err(|error| not_admitted(error, &program))?;
        let names = Arc::<Names>::default();
        let server = Server::new(Arc::clone(&names), resolver(context));
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

/// The ports of those GOPROXY entries that are on loopback.
fn on_loopback<'a>(goproxy: &'a [&'a str]) -> impl Iterator<Item = u16> + 'a {
    let urls = goproxy.iter().flat_map(|value| {
        let parsed = GoProxy::parse(value);
        let urls: Vec<String> = parsed.urls().map(str::to_owned).collect();
        urls
    });
    urls.filter_map(|url| {
        let target = Target::of_url(&url)?;
        let is_loopback = target.host() == "localhost"
            || target.host().ends_with(".localhost")
            || target.ip().is_some_and(|ip| ip.is_loopback());
        is_loopback.then_some(target.port())
    })
}

/// A port of the host, as far as something listens there now; both families where nothing does yet.
///
/// A client of `localhost` tries both addresses, and only the one that refuses makes it try the other: so
/// one that leads nowhere must not be accepted in its place.
fn host_port(port: u16) -> HostPort {
    let is_taken = |ip: IpAddr| match StdListener::bind((ip, port)) {
        Ok(_) => false,
        Err(error) => error.kind() == io::ErrorKind::AddrInUse,
    };
    let (v4, v6) = (
        is_taken(Ipv4Addr::LOCALHOST.into()),
        is_taken(Ipv6Addr::LOCALHOST.into()),
    );
    let is_unknown = !v4 && !v6;
    HostPort {
        port,
        v4: v4 || is_unknown,
        v6: v6 || is_unknown,
    }
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
        let name = self.0.name(original.ip());
        let host = name.map_or_else(
            || original.ip().to_string(),
            |name| name.as_ref().to_owned(),
        );
        Target::new(&host, original.port()).map_err(|error| error.to_string())
    }
}

/// Who says what becomes of a name.
fn resolver(context: &Context) -> Arc<dyn Resolve> {
    match &context.responder {
        Responder::Upstream(dialer) => Arc::new(Asked {
            dialer: dialer.clone(),
            under_way: Mutex::default(),
        }),
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

/// The lookups that are under way: a client asks for both families of a name at once, and one lookup
/// answers for both.
type UnderWay = Mutex<HashMap<String, Weak<OnceCell<Lookup>>>>;

/// A recorder asks whom the command would have asked.
struct Asked {
    dialer: Dialer,
    under_way: UnderWay,
}

impl Resolve for Asked {
    fn look_up(&self, name: String) -> LookingUp {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let running = under_way.get(&name).and_then(Weak::upgrade);
        let cell = running.unwrap_or_default();
        under_way.retain(|_, cell| cell.strong_count() > 0);
        under_way.insert(name.clone(), Arc::downgrade(&cell));
        drop(under_way);
        let dialer = self.dialer.clone();
        Box::pin(async move {
            let found = cell
                .get_or_init(|| async { ask(&dialer, &name).await })
                .await;
            found.clone()
        })
    }
}

async fn ask(dialer: &Dialer, name: &str) -> Lookup {
    let Ok(target) = Target::new(name, 443) else {
        return Lookup::NotFound;
    };
    if is_localhost(name) {
        return LOOPBACK;
    }
    match dialer.host_addresses(&target).await {
        Ok(None) => Lookup::Found { v4: true, v6: true },
        Ok(Some(addresses)) => of_addresses(&addresses),
        Err(DialFailure::DnsNotFound) => Lookup::NotFound,
        Err(_) => Lookup::Failed,
    }
}

fn of_addresses(addresses: &[IpAddr]) -> Lookup {
    if !addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback) {
        let mut known = Known::default();
        for address in addresses {
            match address {
                IpAddr::V4(ip) => known.v4 = Some(*ip),
                IpAddr::V6(ip) => known.v6 = Some(*ip),
            }
        }
        return Lookup::Loopback(known);
    }
    Lookup::Found {
        v4: addresses.iter().any(IpAddr::is_ipv4),
        v6: addresses.iter().any(IpAddr::is_ipv6),
    }
}

/// A replay knows the hosts of its recording.
struct Recorded {
    hosts: BTreeSet<String>,
    replay: Arc<Replay>,
    /// Names that it does not know, each told once.
    missed: Mutex<BTreeSet<String>>,
}

impl Recorded {
    fn new(replay: &Arc<Replay>, policy: &Policy) -> Self {
        let mut hosts = replay.tunnelled();
        hosts.extend(policy.intercepted().cloned());
        Self {
            hosts,
            replay: Arc::clone(replay),
            missed: Mutex::default(),
        }
    }

    fn of(&self, name: &str) -> Lookup {
        if is_localhost(name) {
            return LOOPBACK;
        }
        if self.hosts.contains(name) {
            return Lookup::Found { v4: true, v6: true };
        }
        let Ok(target) = Target::new(name, 443) else {
            return Lookup::NotFound;
        };
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        // The resolver tries such a name once more with each domain of its list (resolv.conf(5)).
        let is_tried_again = missed.iter().any(|other| {
            let rest = name.strip_prefix(&**other);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        if !is_tried_again && missed.len() < MISSED {
            missed.insert(name.to_owned());
            let why = format!(
                "{name} is not on recording {}",
                self.replay.recording().name()
            );
            self.replay.refused(&target, &why);
        }
        Lookup::NotFound
    }
}

/// How many names that a replay does not know are told.
const MISSED: usize = 1_000;

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
    fn a_goproxy_on_loopback_is_led_out() {
        let ports: Vec<u16> = on_loopback(&[
            "http://localhost:3000,https://proxy.golang.org|http://127.0.0.1:4000/x,direct",
            "http://[::1]:5000",
            "https://goproxy.localhost",
            "",
        ])
        .collect();
        assert_eq!(ports, [3000, 4000, 5000, 443]);
    }

    #[test]
    fn a_port_of_the_host_is_led_to_the_family_that_listens() {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = host_port(port);
        assert_eq!((found.v4, found.v6), (true, false));
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
    }
}
