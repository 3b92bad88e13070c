//! What of the host a command reaches: its GOPROXY, and the ports that `--host-port` names. No name leads to
//! anything else there, whatever its resolver says.

use std::net::{IpAddr, SocketAddr, TcpListener};

use tempfile::TempDir;

use super::*;
use crate::support::resolver::{Name, Resolver};

/// An address of this machine that other machines reach.
const OWN: &str = "203.0.113.2";
const RESOLVER: &str = "203.0.113.53";
/// An address of another machine, as far as this one knows.
const ELSEWHERE: &str = "203.0.113.200";

/// A network in which the machine has [`OWN`], and the address of a cloud's metadata.
const ADDRESSES: &str = "
    ip addr add 203.0.113.2/32 dev lo && ip addr add 203.0.113.53/32 dev lo
    ip addr add 169.254.169.254/32 dev lo && ip -6 addr add 2001:db8::2/128 dev lo nodad
    ip route add 203.0.113.200/32 dev lo
";

const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 box.lan box\n";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A resolver, and what `/etc` says; both as long as they are kept.
fn names() -> (Resolver, TempDir) {
    sh(ADDRESSES);
    let resolv = format!("nameserver {RESOLVER}\noptions timeout:2 attempts:1\n");
    let etc = mount_etc(&[
        ("resolv.conf", &resolv),
        ("hosts", HOSTS),
        ("nsswitch.conf", "hosts: files dns\n"),
    ]);
    let resolver = Resolver::at(SocketAddr::new(ip(RESOLVER), 53));
    (resolver, etc)
}

/// A port of the host that nobody may reach, at each of its addresses.
struct Secret(TcpListener);

impl Secret {
    fn open() -> Self {
        let listener = TcpListener::bind("[::]:0").expect("a port");
        let nonblocking = listener.set_nonblocking(true);
        nonblocking.expect("a socket");
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("it is bound").port()
    }

    #[track_caller]
    fn is_untouched(&self, by: &str) {
        let accepted = self.0.accept().map(|(_, peer)| peer);
        assert!(accepted.is_err(), "{by}: {accepted:?}");
    }
}

#[test]
fn no_name_leads_to_a_port_of_the_host() {
    let name = "netns::host::no_name_leads_to_a_port_of_the_host";
    in_a_world(name, || {
        if !has_program("curl") {
            return skipped(&format!("no curl: {name}"));
        }
        let (resolver, _etc) = names();
        for (name, addresses) in [
            ("loopback.example", &["127.0.0.1"][..]),
            ("loopback6.example", &["::1"]),
            ("mapped.example", &["::ffff:127.0.0.1"]),
            ("zero.example", &["0.0.0.0"]),
            ("metadata.example", &["169.254.169.254"]),
            ("own.example", &[OWN]),
            ("own6.example", &["2001:db8::2"]),
            ("mixed.example", &[ELSEWHERE, "127.0.0.1"]),
            ("mixed6.example", &[OWN, "::1"]),
            // As if the whole of it had been taken over.
            ("proxy.golang.org", &["127.0.0.1", "::1"]),
            ("rebinds.example", &[ELSEWHERE]),
        ] {
            let addresses = addresses.iter().map(|text| ip(text));
            resolver.set(name, Name::at(addresses));
        }
        let secret = Secret::open();
        let hosts = [
            "loopback.example",
            "loopback6.example",
            "mapped.example",
            "zero.example",
            "metadata.example",
            "own.example",
            "own6.example",
            "mixed.example",
            "mixed6.example",
            "proxy.golang.org",
            "rebinds.example",
            "localhost",
            "foo.localhost",
            "ip6-localhost",
            "box",
            "box.lan",
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:203.0.113.2]",
            OWN,
            "169.254.169.254",
            "[2001:db8::2]",
        ];
        let script = "getent ahosts rebinds.example | grep -q ^198.18. && echo asked && read go
            for host; do curl -sS -m 20 \"http://$host:$0/\" >>said 2>&1 && echo \"reached $host\"; done; true";
        for user in USERS {
            resolver.set("rebinds.example", Name::at([ip(ELSEWHERE)]));
            let sandbox = Sandbox::new();
            let port = secret.port().to_string();
            let args = [
                "record", "--netns", "-o", "one", "--", "sh", "-c", script, &port,
            ];
            let modtape = user.modtape(&sandbox, &[&args[..], &hosts].concat());
            let mut modtape = Spawned::start(modtape);
            modtape.wait_for_stdout("asked");
            // A name that changes its answer once it is known.
            resolver.set("rebinds.example", Name::at([ip("127.0.0.1")]));
            modtape.type_keys(b"go\n");
            let output = modtape.end().expect_success();
            assert_eq!(output.stdout, "asked\n", "{user:?}: {}", output.stderr);
            secret.is_untouched(&format!("{user:?}"));
            let recording = recorded(&sandbox, "one");
            let opened = recording.connections().flat_map(ConnectionRow::dials);
            let refused: Vec<_> = opened
                .filter(|opened| {
                    opened
                        .error
                        .as_deref()
                        .is_some_and(|why| why.contains("leads to this machine"))
                })
                .map(|opened| opened.target.clone())
                .collect();
            // What is loopback inside stays there; what would go out is refused on the record.
            for host in [
                "metadata.example",
                "own.example",
                "own6.example",
                "mixed.example",
                "rebinds.example",
                OWN,
            ] {
                let target = format!("{host}:{port}");
                assert!(
                    refused.contains(&target),
                    "{user:?}: {target} of {refused:?}"
                );
            }
        }
        // The port is there: the same without a namespace.
        let sandbox = Sandbox::new();
        let mut direct = sandbox.command("curl");
        direct.args([
            "-sm",
            "1",
            &format!("http://own.example:{}/", secret.port()),
        ]);
        run(direct, LIMIT);
        assert!(secret.0.accept().is_ok());
    });
}

#[test]
fn of_the_host_a_goproxy_and_named_ports_are_reached() {
    let name = "netns::host::of_the_host_a_goproxy_and_named_ports_are_reached";
    in_a_world(name, || {
        if !has_program("curl") {
            return skipped(&format!("no curl: {name}"));
        }
        let (resolver, _etc) = names();
        resolver.set("goproxy.lan", Name::at([ip(OWN)]));
        resolver.set("loops.lan", Name::at([ip("127.0.0.1")]));
        resolver.set("hostile.example", Name::at([ip(OWN)]));
        let paths = ["localhost", "box", "goproxy.lan", "loops.lan"];
        let files = paths.map(|host| ((host, "/"), (200, "text/plain", host)));
        let origin = |at: &str| {
            let builder = Origin::builder(Content::files(files));
            builder.at(SocketAddr::new(ip(at), 0)).start()
        };
        let (local, boxed, own, looped, named) = (
            origin("127.0.0.1"),
            origin("127.0.1.1"),
            origin(OWN),
            origin("127.0.0.1"),
            origin("127.0.0.1"),
        );
        let url = |host: &str, origin: &Origin| format!("http://{host}:{}/", origin.addr().port());
        let goproxy = [
            url("localhost", &local),
            url("box", &boxed),
            url("goproxy.lan", &own),
            url("loops.lan", &looped),
        ];
        let open = [&goproxy[..], &[url("localhost", &named)]].concat();
        // Another name, and another spelling, of what only its own name leads to.
        let shut = [url("hostile.example", &own), url(OWN, &own)];
        let script =
            "for url; do curl -sfS -m 20 \"$url\" 2>>said && echo \" at $url\"; done; true";
        for user in USERS {
            let sandbox = Sandbox::new();
            let port = named.addr().port().to_string();
            let mut args = vec!["record", "--netns", "--host-port", &port, "-o", "one"];
            args.extend(["--intercept", "localhost,box,goproxy.lan,loops.lan", "--"]);
            args.extend(["sh", "-c", script, "sh"]);
            args.extend(open.iter().chain(&shut).map(String::as_str));
            let mut modtape = user.modtape(&sandbox, &args);
            modtape.env("GOPROXY", goproxy.join(","));
            let output = run(modtape, LIMIT).expect_success();
            let reached = open.iter().zip(paths.iter().chain(&["localhost"]));
            let reached: String = reached
                .map(|(url, host)| format!("{host} at {url}\n"))
                .collect();
            assert_eq!(output.stdout, reached, "{user:?}: {}", output.stderr);
            let asked: Vec<_> = recorded(&sandbox, "one")
                .rows()
                .iter()
                .map(|row| row.url.clone())
                .collect();
            for url in &open {
                assert!(
                    asked.iter().any(|asked| asked.starts_with(url.as_str())),
                    "{url} of {asked:?}"
                );
            }
        }
    });
}
