//! A network of the test's own, with everything in it that the go command asks: names, addresses,
//! servers, a CA that is trusted.

use std::any;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};

use tempfile::{NamedTempFile, TempDir};

use super::resolver::{Name, Resolver};
use crate::support::*;

/// The module proxy, the checksum database and whatever else is not staged.
pub(super) const INTERNET: IpAddr = v4(10);
/// An address of its own for the host that a scenario is about.
pub(super) const ELSEWHERE: IpAddr = v4(20);
/// The same by IPv6. Not an address for private use (ULA): Go would try IPv4 first.
pub(super) const ELSEWHERE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 20));
/// Nobody listens there, and the kernel says so.
pub(super) const REFUSING: IpAddr = v4(30);

const RESOLVER: IpAddr = v4(53);

/// The hosts that go asks by default, and where their answers may lead.
const DEFAULT: [&str; 4] = [
    "proxy.golang.org",
    "sum.golang.org",
    "storage.googleapis.com",
    "goproxy.cn",
];

const fn v4(last: u8) -> IpAddr {
    // RFC 5737: for documentation, so no machine has it.
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, last))
}

/// Port 443 there.
pub(super) fn https(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 443)
}

/// A network, its resolver and its CA.
pub(super) struct World {
    /// Signs the certificates of its servers.
    pub(super) root: TestRoot,
    /// A file with its certificate.
    pub(super) root_pem: NamedTempFile,
    resolver: Resolver,
    _etc: TempDir,
}

impl World {
    /// Runs a test in a world of its own; the test's name is that of the closure's function. Where
    /// namespaces or the corpus are missing, a line on stderr says that it was skipped.
    pub(super) fn stage<F: FnOnce(&Self)>(body: F) {
        let name = any::type_name::<F>().trim_end_matches("::{{closure}}");
        let (_, name) = name.split_once("::").expect("a path in this crate");
        in_a_world(name, || body(&Self::new()));
    }

    fn new() -> Self {
        let tell = |args: &str| {
            let output = program("ip").args(args.split(' ')).output();
            let output = output.expect("ip can be run");
            assert!(output.status.success(), "ip {args}: {output:?}");
        };
        // The whole network is this machine.
        tell(&format!("address add {}/24 dev lo", v4(1)));
        tell(&format!("address add {ELSEWHERE_V6}/128 dev lo nodad"));
        // As in a real one, so that a large ClientHello takes two segments.
        tell("link set lo mtu 1500");
        let resolv = format!("nameserver {RESOLVER}\noptions timeout:2 attempts:1\n");
        let etc = mount_etc(&[
            ("resolv.conf", &resolv),
            ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
            ("nsswitch.conf", "hosts: files dns\n"),
        ]);
        let root = TestRoot::new();
        let mut root_pem = NamedTempFile::with_suffix(".pem").expect("a temporary file");
        let written = root_pem.write_all(root.pem().as_bytes());
        written.expect("the file takes the certificate");
        let world = Self {
            resolver: Resolver::at(SocketAddr::new(RESOLVER, 53)),
            root,
            root_pem,
            _etc: etc,
        };
        for name in DEFAULT {
            world.name(name, Name::at([INTERNET]));
        }
        world
    }

    /// Makes a name known to the resolver, or another thing of it.
    pub(super) fn name(&self, name: &str, known: Name) {
        self.resolver.set(name, known);
    }

    /// A server at port 443 of this address, whose certificates are trusted.
    pub(super) fn server(&self, ip: IpAddr, content: Content) -> OriginBuilder {
        Origin::builder(content).root(&self.root).at(https(ip))
    }

    /// A server for all default names, with a corpus.
    pub(super) fn internet(&self, corpus: &str) -> Option<OriginBuilder> {
        let content = Content::corpus(corpus, Sumdb::Proxy)?.supported_is_404();
        Some(self.server(INTERNET, content))
    }

    /// Drops all further packets of the connections to this server that are open, both ways.
    pub(super) fn drop_connections(server: SocketAddr) {
        let table = fs::read_to_string("/proc/net/tcp").expect("Linux has it");
        let port = format!(":{:04X}", server.port());
        // proc(5): number, local address, remote address, state, of which 01 is "established".
        let of_server = table.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
            let client = remote.rsplit_once(':')?.1;
            let is_open = local.ends_with(&port) && state == "01";
            is_open.then(|| u16::from_str_radix(client, 16).expect("a port"))
        });
        let lost = |port| format!("tcp dport {port} drop\ntcp sport {port} drop\n");
        let rules: String = of_server.map(lost).collect();
        assert!(filter(&rules), "there was a filter before");
    }

    /// The same with module proxies that serve the checksum database too.
    pub(super) fn mirror(&self, corpus: &str) -> Option<OriginBuilder> {
        let content = Content::corpus(corpus, Sumdb::Proxy)?;
        Some(self.server(INTERNET, content))
    }

    /// Adds rules to the kernel's packet filter, in a chain that sees what arrives; whether there is
    /// one. Without it a line on stderr says that the test was skipped.
    pub(super) fn filter(&self, rules: &str) -> bool {
        filter(rules)
    }

    /// A command that trusts this world's CA, in an environment that holds little else.
    pub(super) fn trusting(&self, mut command: Command) -> Command {
        command.env("SSL_CERT_FILE", self.root_pem.path());
        command.env("GIT_SSL_CAINFO", self.root_pem.path());
        command
    }
}

fn filter(rules: &str) -> bool {
    let table = format!(
        "add table inet lab\n\
             add chain inet lab arriving {{ type filter hook input priority 0; }}\n{}",
        rules
            .lines()
            .map(|rule| format!("add rule inet lab arriving {rule}\n"))
            .collect::<String>()
    );
    let mut nft = program("nft");
    nft.args(["-f", "-"]).stdin(Stdio::piped());
    let filtered = nft.spawn().and_then(|mut child| {
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        stdin.write_all(table.as_bytes())?;
        drop(stdin);
        child.wait()
    });
    let is_there = filtered.is_ok_and(|status| status.success());
    if !is_there {
        skipped("no packet filter here (nft)");
    }
    is_there
}
