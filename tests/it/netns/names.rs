//! However a program looks a name up, modtape answers: by any of the system's settings, and by libraries of its
//! own.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::support::resolver::{Name, Resolver};

/// Prints the addresses of a name, as glibc finds them for programs that ask for both families.
const GLIBC: &str = "getent ahosts proxy.golang.org | cut -d' ' -f1 | sort -u";

/// The addresses that a name gets first.
const SYNTHETIC: &str = "198.18.0.1\n";

#[test]
fn names_are_answered_whatever_the_system_asks() {
    let name = "netns::names::names_are_answered_whatever_the_system_asks";
    in_a_world(name, || {
        // systemd-resolved's, another one of this machine, one elsewhere.
        let places = ["127.0.0.53:53", "127.0.0.1:53", "203.0.113.53:53"];
        sh("ip addr add 203.0.113.53/32 dev lo");
        let place = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let resolvers = places.map(|text| Resolver::at(place(text)));
        for resolver in &resolvers {
            let real = [[203, 0, 113, 200].into()];
            resolver.set("proxy.golang.org", Name::at(real));
            resolver.set("short.corp.example", Name::at(real));
        }
        let search = "search corp.example lan\noptions edns0 trust-ad\n";
        for (resolv, nsswitch) in [
            (
                "nameserver 127.0.0.53\n",
                "resolve [!UNAVAIL=return] files myhostname dns",
            ),
            (
                "nameserver 203.0.113.53\n",
                "files mdns4_minimal [NOTFOUND=return] dns mdns4",
            ),
            (
                "nameserver 203.0.113.53\nnameserver 127.0.0.53\noptions rotate\n",
                "files dns",
            ),
            // glibc then asks 127.0.0.1.
            ("", "dns"),
        ] {
            let _etc = mount_etc(&[
                ("resolv.conf", &format!("{resolv}{search}")),
                ("nsswitch.conf", &format!("hosts: {nsswitch}\n")),
                ("hosts", "127.0.0.1 localhost\n"),
            ]);
            for user in USERS {
                let sandbox = Sandbox::new();
                let script = format!(
                    "{GLIBC}; getent hosts short | cut -d' ' -f1; getent hosts none || echo none"
                );
                let args = ["record", "--netns", "-o", "one", "--", "sh", "-c", &script];
                let output = run(user.modtape(&sandbox, &args), LIMIT).expect_success();
                let expected = format!("{SYNTHETIC}198.18.0.2\nnone\n");
                assert_eq!(
                    output.stdout, expected,
                    "{user:?} {resolv:?} {nsswitch}: {}",
                    output.stderr
                );
                let packets = recorded(&sandbox, "one")
                    .manifest()
                    .packets
                    .expect("counted");
                assert_eq!(packets, Default::default(), "{resolv:?} {nsswitch}");
            }
            sh("umount /etc/resolv.conf /etc/nsswitch.conf /etc/hosts");
        }
    });
}

#[test]
fn gos_own_resolver_and_the_systems_lead_to_modtape() {
    let name = "gos_own_resolver_and_the_systems_lead_to_modtape";
    if !has_namespaces(name) {
        return;
    }
    let host = "proxy.golang.org";
    let files = [
        ("/rsc.io/quote/@v/list", "v1.5.2\n"),
        ("/rsc.io/quote/@v/v1.5.2.info", r#"{"Version":"v1.5.2"}"#),
        ("/rsc.io/quote/@v/v1.5.2.mod", "module rsc.io/quote\n"),
    ];
    let files = files.map(|(path, text)| ((host, path), (200, "text/plain", text)));
    for release in ["1.21", "1.27"] {
        for resolver in ["go", "cgo"] {
            let sandbox = Sandbox::new();
            let Some(go) = sandbox.go(release) else {
                continue;
            };
            let go = go.to_str().expect("paths of tests are text");
            let origin = Origin::start(Content::files(files));
            let [everywhere, root] = to(&origin, &sandbox);
            let flags = ["record", "--netns", "-o", "one", &everywhere, &root];
            let command = ["--", go, "list", "-m", "-versions", "rsc.io/quote"];
            let mut modtape = sandbox.modtape([&flags[..], &command].concat());
            modtape.env("GOSUMDB", "off");
            modtape.env("GODEBUG", format!("netdns={resolver}+2"));
            let output = run(modtape, LIMIT).expect_success();
            assert_eq!(
                output.stdout, "rsc.io/quote v1.5.2\n",
                "{release} {resolver}"
            );
            let said = format!("hostLookupOrder({host}) = ");
            assert!(
                output.stderr.contains(&said),
                "{release} {resolver}: {}",
                output.stderr
            );
            let recording = recorded(&sandbox, "one");
            let asked: Vec<_> = recording.rows().iter().map(|row| &*row.url).collect();
            assert_eq!(asked[0], "https://proxy.golang.org/rsc.io/quote/@v/list");
        }
    }
}

#[test]
fn a_name_in_etc_hosts_is_known_by_what_its_client_says() {
    let name = "netns::names::a_name_in_etc_hosts_is_known_by_what_its_client_says";
    in_a_world(name, || {
        if !has_program("curl") {
            return skipped(&format!("no curl: {name}"));
        }
        let _etc = mount_etc(&[(
            "hosts",
            "127.0.0.1 localhost\n203.0.113.200 fixed.example\n",
        )]);
        for user in USERS {
            let sandbox = Sandbox::new();
            let file = (("fixed.example", "/a"), (200, "text/plain", "a"));
            let origin = Origin::start(Content::files([file]));
            let [everywhere, root] = to(&origin, &sandbox);
            let flags = [
                "record",
                "--netns",
                "-o",
                "one",
                "--intercept",
                "fixed.example",
            ];
            let script = "curl -sSf https://fixed.example/a http://fixed.example/a";
            let command = [&*everywhere, &root, "--", "sh", "-c", script];
            let args = [&flags[..], &command].concat();
            let output = run(user.modtape(&sandbox, &args), LIMIT).expect_success();
            assert_eq!(output.stdout, "aa", "{user:?}");
            let recording = recorded(&sandbox, "one");
            let asked: Vec<_> = recording.rows().iter().map(|row| &*row.url).collect();
            assert_eq!(asked, ["https://fixed.example/a", "http://fixed.example/a"]);
        }
    });
}

#[test]
fn a_slow_resolver_is_seen_in_the_phase_of_each_dial() {
    let name = "netns::names::a_slow_resolver_is_seen_in_the_phase_of_each_dial";
    in_a_world(name, || {
        if !has_program("curl") {
            return skipped(&format!("no curl: {name}"));
        }
        sh("ip addr add 203.0.113.53/32 dev lo");
        let _etc = mount_etc(&[
            ("resolv.conf", "nameserver 203.0.113.53\n"),
            ("nsswitch.conf", "hosts: dns\n"),
        ]);
        let resolver = Resolver::at("203.0.113.53:53".parse().expect("an address"));
        let delay = Duration::from_millis(150);
        let own = Name::at([[203, 0, 113, 53].into()]);
        resolver.set("slow.example", own.delay(delay));
        let file = (("slow.example", "/a"), (200, "text/plain", "a"));
        let at = SocketAddr::from(([203, 0, 113, 53], 0));
        let origin = Origin::builder(Content::files([file])).at(at).start();
        let (port, sandbox) = (origin.addr().port().to_string(), Sandbox::new());
        let script = "for n in 1 2; do curl -sSf http://slow.example:$0/a; done";
        let flags = ["record", "--netns", "--host-port", &port, "-o", "one"];
        let command = [
            "--intercept",
            "slow.example",
            "--",
            "sh",
            "-c",
            script,
            &port,
        ];
        let args = [&flags[..], &command].concat();
        let output = run(sandbox.modtape(args), LIMIT).expect_success();
        assert_eq!(output.stdout, "aa", "{}", output.stderr);
        let recording = recorded(&sandbox, "one");
        let dials = recording.connections().flat_map(ConnectionRow::dials);
        let dns: Vec<_> = dials.map(|dial| dial.dns_us).collect();
        let is_slow = |dns: &Option<u64>| dns.is_some_and(|us| us >= delay.as_micros() as u64);
        assert!(dns.len() == 2 && dns.iter().all(is_slow), "{dns:?}");
    });
}

/// What a resolver makes of a name by its own list of domains is not what the command asked for.
#[test]
fn a_lookup_that_fails_is_a_dial_that_failed() {
    let name = "netns::names::a_lookup_that_fails_is_a_dial_that_failed";
    in_a_world(name, || {
        sh("ip addr add 203.0.113.53/32 dev lo");
        let resolver = Resolver::at("203.0.113.53:53".parse().expect("an address"));
        resolver.set("there.example", Name::at([[203, 0, 113, 200].into()]));
        let _etc = mount_etc(&[
            (
                "resolv.conf",
                "nameserver 203.0.113.53\nsearch svc.cluster lan\noptions ndots:5\n",
            ),
            ("nsswitch.conf", "hosts: dns\n"),
        ]);
        for user in USERS {
            let sandbox = Sandbox::new();
            let script = "getent hosts there.example gone.example gone; exit 1";
            let args = ["record", "--netns", "-o", "one", "--", "sh", "-c", script];
            let output = run(user.modtape(&sandbox, &args), LIMIT);
            assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
            let told = "problem: gone.example cannot be looked up: Name or service not known";
            assert!(output.stderr.contains(told), "{user:?}: {}", output.stderr);
            let recording = recorded(&sandbox, "one");
            let dials: Vec<_> = recording
                .connections()
                .flat_map(ConnectionRow::dials)
                .collect();
            assert!(!dials.is_empty());
            for dial in dials {
                assert_eq!(
                    (&*dial.target, dial.mode, dial.reason),
                    (
                        "gone.example:443",
                        Mode::Refuse,
                        Some(DialFailure::DnsNotFound)
                    )
                );
                assert!(dial.dns_us.is_some() && dial.connect_us.is_none());
            }
        }
    });
}
