//! Rules of the firewall that redirect connections to a recorder with `--mode transparent`, and those
//! that undo them: text for a POSIX shell, which may run it twice.
//!
//! The names of tables and chains come from whose connections are redirected, so that new rules replace
//! the old ones, and what undoes them is known when the recorder is gone.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::commands::session::running::Redirected;
use crate::shell;
use crate::sockets::MARK;

/// The mark of packets that TPROXY leads to a listener of this machine.
const LOCAL_MARK: u32 = MARK + 1;

/// The routing table for these packets.
const LOCAL_TABLE: u32 = MARK;

/// What sets the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Nft,
    Iptables,
    /// nft with TPROXY, which needs no connection tracking: for clients of other machines only.
    Tproxy,
}

/// The tools by name.
pub(super) const TOOLS: [(&str, Tool); 3] = [
    ("nft", Tool::Nft),
    ("iptables", Tool::Iptables),
    ("tproxy", Tool::Tproxy),
];

/// Whose connections are redirected, and which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// Those of a user.
    pub(super) uid: Option<u32>,
    /// Those of a control group (cgroup v2), by its path below the mount point.
    pub(super) cgroup: Option<String>,
    /// To these ports; empty for all.
    pub(super) ports: Vec<u16>,
}

/// Why there are no rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRules {
    #[error("whose connections? --uid U, --cgroup PATH, or --port P for those of every user")]
    Nobody,
    #[error(
        "modtape runs as user {0} too, and may not mark its connections: rules for that user would \
         redirect modtape's own"
    )]
    OwnUser(u32),
    #[error(
        "TPROXY is for clients of other machines: the recorder needs --listen with another address \
         than loopback, and --from"
    )]
    NoClients,
    #[error("--uid and --cgroup select processes of this machine, which TPROXY does not see")]
    NoProcesses,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// As nft names its addresses.
    const fn nft(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    const fn iptables(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    const fn loopback(self) -> &'static str {
        match self {
            Self::V4 => "127.0.0.0/8",
            Self::V6 => "::1",
        }
    }
}

impl Selection {
    /// The name of the table or chain.
    fn name(&self) -> String {
        match (self.uid, &self.cgroup) {
            (Some(uid), None) => format!("modtape_uid_{uid}"),
            (uid, Some(path)) => {
                let uid = uid.map_or_else(String::new, |uid| uid.to_string());
                let key = crc32c::crc32c(format!("{uid}/{path}").as_bytes());
                format!("modtape_cgroup_{key:08x}")
            }
            (None, None) => String::from("modtape_all"),
        }
    }

    /// In words.
    fn words(&self) -> String {
        let mut words = match (self.uid, &self.cgroup) {
            (Some(uid), None) => format!("the connections of user {uid}"),
            (None, Some(path)) => format!("the connections of the control group {path}"),
            (Some(uid), Some(path)) => {
                format!("the connections of user {uid} in the control group {path}")
            }
            (None, None) => String::from("all connections"),
        };
        if !self.ports.is_empty() {
            let _ = write!(words, " to port {}", self.port_list(", "));
        }
        words
    }

    /// As flags of `modtape env`.
    fn flags(&self) -> String {
        let mut flags = String::from("--mode transparent");
        if let Some(uid) = self.uid {
            let _ = write!(flags, " --uid {uid}");
        }
        if let Some(path) = &self.cgroup {
            let _ = write!(flags, " --cgroup {}", shell::word(path));
        }
        if !self.ports.is_empty() {
            let _ = write!(flags, " --port {}", self.port_list(","));
        }
        flags
    }

    fn port_list(&self, separator: &str) -> String {
        let ports = self.ports.iter().map(u16::to_string);
        ports.collect::<Vec<_>>().join(separator)
    }

    /// What a packet of this machine has to be, for nft.
    fn nft(&self) -> String {
        let mut matches = String::new();
        if let Some(uid) = self.uid {
            let _ = write!(matches, "meta skuid {uid} ");
        }
        if let Some(path) = &self.cgroup {
            let level = path.split('/').count();
            let _ = write!(matches, "socket cgroupv2 level {level} \"{path}\" ");
        }
        matches + &self.nft_ports()
    }

    fn nft_ports(&self) -> String {
        match self.ports.is_empty() {
            true => String::from("meta l4proto tcp"),
            false => format!("tcp dport {{ {} }}", self.port_list(", ")),
        }
    }

    /// The same for iptables.
    fn iptables(&self) -> String {
        let mut matches = self.iptables_ports();
        if let Some(uid) = self.uid {
            let _ = write!(matches, " -m owner --uid-owner {uid}");
        }
        if let Some(path) = &self.cgroup {
            let _ = write!(matches, " -m cgroup --path {}", shell::word(path));
        }
        matches
    }

    fn iptables_ports(&self) -> String {
        match self.ports.is_empty() {
            true => String::from("-p tcp"),
            false => format!("-p tcp -m multiport --dports {}", self.port_list(",")),
        }
    }
}

/// Rules that redirect what a selection says to a recorder.
pub(super) struct Rules<'a> {
    recorder: &'a Redirected,
    selection: &'a Selection,
}

impl<'a> Rules<'a> {
    pub(super) fn new(recorder: &'a Redirected, selection: &'a Selection) -> Result<Self, NoRules> {
        let is_local = selection.uid.is_some() || selection.cgroup.is_some();
        if !is_local && selection.ports.is_empty() && recorder.from.is_empty() {
            return Err(NoRules::Nobody);
        }
        match selection.uid {
            Some(uid) if uid == recorder.uid && !recorder.marks => Err(NoRules::OwnUser(uid)),
            _ => Ok(Self {
                recorder,
                selection,
            }),
        }
    }

    /// What a shell has to run, with comments.
    pub(super) fn script(&self, tool: Tool) -> Result<String, NoRules> {
        let commands = match tool {
            Tool::Nft => self.nft(),
            Tool::Iptables => self.iptables(),
            Tool::Tproxy => self.tproxy()?,
        };
        Ok(format!("{}{commands}", self.heading(tool)))
    }

    /// The rules for nft to be run, with those for iptables, and what undoes both, as comments.
    pub(super) fn overview(&self) -> String {
        let commented = |title: &str, commands: String| {
            let commands = commands.lines().map(|line| format!("#   {line}\n"));
            format!("\n# {title}\n{}", commands.collect::<String>())
        };
        let undo = |tool| undo(tool, self.selection);
        [
            format!("{}{}", self.heading(Tool::Nft), self.nft()),
            commented("What undoes it:", undo(Tool::Nft)),
            commented("The same with iptables:", self.iptables()),
            commented("What undoes that:", undo(Tool::Iptables)),
        ]
        .concat()
    }

    fn heading(&self, tool: Tool) -> String {
        let (words, flags) = (self.selection.words(), self.selection.flags());
        let whose = match self.is_local() {
            true => words,
            false => {
                let from = self.recorder.from.iter().map(ToString::to_string);
                format!("{words} from {}", from.collect::<Vec<_>>().join(", "))
            }
        };
        let (name, _) = TOOLS[tool as usize];
        format!(
            "# Redirects {whose} to modtape. For root; it may be run again.\n\
             # modtape env {name} {flags} --unset prints what undoes it.\n"
        )
    }

    /// Whether connections of this machine are redirected, rather than those that pass through it.
    fn is_local(&self) -> bool {
        let Selection { uid, cgroup, .. } = self.selection;
        uid.is_some() || cgroup.is_some() || self.recorder.from.is_empty()
    }

    fn listener(&self, family: Family) -> Option<SocketAddr> {
        let listeners = self.recorder.listeners.iter().copied();
        let mut own = listeners.filter(|listener| Family::of(listener.ip()) == family);
        // A listener on [::] takes IPv4 too where there is no other.
        own.next().or_else(|| {
            let mut any = self.recorder.listeners.iter().copied();
            any.find(|listener| family == Family::V4 && listener.ip().is_unspecified())
        })
    }

    /// The user whose connections are not redirected, since they are modtape's own and have no mark;
    /// `None` where no rule catches them.
    fn own_user(&self) -> Option<u32> {
        let Selection { uid, cgroup, .. } = self.selection;
        let is_anyones = uid.is_none() && cgroup.is_none();
        (is_anyones && !self.recorder.marks).then_some(self.recorder.uid)
    }

    fn nft(&self) -> String {
        let name = self.selection.name();
        let mut text =
            format!("set -e\nnft -f - <<'END'\nadd table inet {name}\ndelete table inet {name}\n");
        let _ = writeln!(text, "table inet {name} {{");
        match self.is_local() {
            true => self.nft_output(&mut text),
            false => self.nft_prerouting(&mut text),
        }
        text + "}\nEND\n"
    }

    fn nft_output(&self, text: &mut String) {
        let matches = self.selection.nft();
        // Also where this recorder may not mark its own: another may, whose rules lead here.
        let mut own = format!("    meta mark {MARK:#x} return comment \"modtape's own\"\n");
        if let Some(uid) = self.own_user() {
            let _ = writeln!(own, "    meta skuid {uid} return comment \"modtape's own\"");
        }
        let chain = |kind: &str, rules: String| {
            format!(
                "  chain {kind} {{\n    type {kind} hook output priority {}; policy accept;\n{own}{rules}  }}\n",
                match kind {
                    "nat" => "-100",
                    _ => "filter",
                }
            )
        };
        let mut nat = String::new();
        let mut filter = String::new();
        for family in Family::ALL {
            let (ip, loopback) = (family.nft(), family.loopback());
            let rest = format!("{ip} daddr != {loopback} {matches}");
            match self.listener(family) {
                Some(listener) => {
                    let to = nft_target(family, listener);
                    let _ = writeln!(nat, "    {rest} {to}");
                }
                // Clients then use the other family.
                None => {
                    let _ = writeln!(filter, "    {rest} reject with tcp reset");
                }
            }
        }
        text.push_str(&chain("nat", nat));
        if !filter.is_empty() {
            text.push_str(&chain("filter", filter));
        }
    }

    fn nft_prerouting(&self, text: &mut String) {
        let ports = self.selection.nft_ports();
        let mut rules = String::new();
        for (from, listener) in self.clients() {
            let family = Family::of(from.addr());
            let to = nft_target(family, listener);
            let ip = family.nft();
            let _ = writeln!(
                rules,
                "    {ip} saddr {from} fib daddr type != local {ports} {to}"
            );
        }
        let _ = write!(
            text,
            "  chain nat {{\n    type nat hook prerouting priority dstnat; policy accept;\n{rules}  }}\n"
        );
    }

    /// The networks of the clients, each with the listener for it.
    fn clients(&self) -> impl Iterator<Item = (IpNet, SocketAddr)> {
        self.recorder
            .from
            .iter()
            .filter_map(|from| Some((*from, self.listener(Family::of(from.addr()))?)))
    }

    fn tproxy(&self) -> Result<String, NoRules> {
        if self.selection.uid.is_some() || self.selection.cgroup.is_some() {
            return Err(NoRules::NoProcesses);
        }
        if self.recorder.from.is_empty() {
            return Err(NoRules::NoClients);
        }
        let name = self.selection.name();
        let ports = self.selection.nft_ports();
        let mut text =
            format!("nft -f - <<'END'\nadd table inet {name}\ndelete table inet {name}\n");
        let _ = write!(
            text,
            "table inet {name} {{\n  chain prerouting {{\n    \
             type filter hook prerouting priority mangle; policy accept;\n"
        );
        let mut families = Vec::new();
        for (from, listener) in self.clients() {
            let family = Family::of(from.addr());
            let ip = family.nft();
            let to = match listener.ip().is_unspecified() {
                true => format!(":{}", listener.port()),
                false => listener.to_string(),
            };
            let _ = writeln!(
                text,
                "    {ip} saddr {from} fib daddr type != local {ports} \
                 meta mark set {LOCAL_MARK:#x} tproxy {ip} to {to} accept"
            );
            if !families.contains(&family) {
                families.push(family);
            }
        }
        text.push_str("  }\n}\nEND\n");
        for family in families {
            text.push_str(&undo_route(family));
            let (flag, all) = route(family);
            let _ = writeln!(
                text,
                "ip {flag} rule add fwmark {LOCAL_MARK:#x} lookup {LOCAL_TABLE}\n\
                 ip {flag} route replace local {all} dev lo table {LOCAL_TABLE}"
            );
        }
        Ok(text)
    }

    fn iptables(&self) -> String {
        let chain = self.selection.name().to_uppercase();
        // An earlier script may have set rules in tables and hooks that this one does not need.
        let mut text = format!("set -e\n{}", undo(Tool::Iptables, self.selection));
        match self.is_local() {
            true => {
                for family in Family::ALL {
                    self.iptables_output(family, &chain, &mut text);
                }
            }
            false => {
                for family in Family::ALL {
                    self.iptables_prerouting(family, &chain, &mut text);
                }
            }
        }
        text
    }

    fn iptables_output(&self, family: Family, chain: &str, text: &mut String) {
        let matches = self.selection.iptables();
        let listener = self.listener(family);
        let table = match listener {
            Some(_) => "nat",
            None => "filter",
        };
        let tool = format!("{} -w -t {table}", family.iptables());
        let mut rules = vec![format!("-m mark --mark {MARK:#x} -j RETURN")];
        if let Some(uid) = self.own_user() {
            rules.push(format!("-m owner --uid-owner {uid} -j RETURN"));
        }
        rules.push(format!("-d {} -j RETURN", family.loopback()));
        rules.push(match listener {
            Some(listener) => format!("{matches} {}", iptables_target(listener)),
            None => format!("{matches} -j REJECT --reject-with tcp-reset"),
        });
        iptables_chain(&tool, "OUTPUT", chain, &rules, text);
    }

    fn iptables_prerouting(&self, family: Family, chain: &str, text: &mut String) {
        let ports = self.selection.iptables_ports();
        let clients = self.clients();
        let clients = clients.filter(|(from, _)| Family::of(from.addr()) == family);
        let rules: Vec<_> = clients
            .map(|(from, listener)| {
                let to = iptables_target(listener);
                format!("-s {from} {ports} -m addrtype ! --dst-type LOCAL {to}")
            })
            .collect();
        if !rules.is_empty() {
            let tool = format!("{} -w -t nat", family.iptables());
            iptables_chain(&tool, "PREROUTING", chain, &rules, text);
        }
    }
}

/// A chain with these rules, and a jump to it.
fn iptables_chain(tool: &str, hook: &str, chain: &str, rules: &[String], text: &mut String) {
    let _ = writeln!(text, "{tool} -N {chain} 2>/dev/null || {tool} -F {chain}");
    for rule in rules {
        let _ = writeln!(text, "{tool} -A {chain} {rule}");
    }
    let _ = writeln!(
        text,
        "{tool} -C {hook} -j {chain} 2>/dev/null || {tool} -A {hook} -j {chain}"
    );
}

/// Where nft sends a packet. REDIRECT leads to loopback, or to the address of the interface that it
/// came in by.
fn nft_target(family: Family, listener: SocketAddr) -> String {
    let (ip, port) = (listener.ip(), listener.port());
    match ip.is_unspecified() || ip.is_loopback() {
        true => format!("redirect to :{port}"),
        false => format!("dnat {} to {listener}", family.nft()),
    }
}

fn iptables_target(listener: SocketAddr) -> String {
    let (ip, port) = (listener.ip(), listener.port());
    match ip.is_unspecified() || ip.is_loopback() {
        true => format!("-j REDIRECT --to-ports {port}"),
        false => format!("-j DNAT --to-destination {listener}"),
    }
}

/// The family's flag of ip(8), and all of its addresses.
const fn route(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::V4 => ("-4", "0.0.0.0/0"),
        Family::V6 => ("-6", "::/0"),
    }
}

fn undo_route(family: Family) -> String {
    let (flag, all) = route(family);
    format!(
        "ip {flag} rule del fwmark {LOCAL_MARK:#x} lookup {LOCAL_TABLE} 2>/dev/null || true\n\
         ip {flag} route del local {all} dev lo table {LOCAL_TABLE} 2>/dev/null || true\n"
    )
}

/// What undoes the rules for a selection, also where there are none.
pub(super) fn undo(tool: Tool, selection: &Selection) -> String {
    let name = selection.name();
    let table = format!("nft 'add table inet {name}; delete table inet {name}'\n");
    match tool {
        Tool::Nft => table,
        Tool::Tproxy => Family::ALL
            .into_iter()
            .fold(table, |text, family| text + &undo_route(family)),
        Tool::Iptables => {
            let chain = name.to_uppercase();
            let mut text = String::new();
            for tool in ["iptables", "ip6tables"] {
                for (table, hook) in [
                    ("nat", "OUTPUT"),
                    ("nat", "PREROUTING"),
                    ("filter", "OUTPUT"),
                ] {
                    let _ = writeln!(
                        text,
                        "{tool} -w -t {table} -D {hook} -j {chain} 2>/dev/null || true"
                    );
                }
                for table in ["nat", "filter"] {
                    let _ = writeln!(
                        text,
                        "{tool} -w -t {table} -F {chain} 2>/dev/null && {tool} -w -t {table} -X {chain} || true"
                    );
                }
            }
            text
        }
    }
}
