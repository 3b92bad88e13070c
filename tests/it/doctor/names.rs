//! Names, in a network with resolvers of our own.

use std::fs;
use std::net::UdpSocket;

use super::*;
use crate::support::resolver::{Name, Resolver};

#[test]
fn each_resolver_is_asked_for_each_family() {
    alone(
        "doctor::names::each_resolver_is_asked_for_each_family",
        || {
            let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
            let (hosts, resolv) = (sandbox.join("hosts"), sandbox.join("resolv.conf"));
            fs::write(&hosts, "127.0.0.1 localhost listed.example\n").expect("our own folder");
            let resolvers = |servers: &[&str]| {
                let lines: String = servers
                    .iter()
                    .map(|ip| format!("nameserver {ip}\n"))
                    .collect();
                fs::write(&resolv, lines + "options timeout:1 attempts:1\n")
                    .expect("our own folder");
            };
            resolvers(&["127.0.0.1"]);
            for (from, to) in [(&hosts, "/etc/hosts"), (&resolv, "/etc/resolv.conf")] {
                let mounted = program("mount").args(["--bind", text(from), to]).status();
                assert!(mounted.expect("it can be run").success(), "{to}");
            }
            let resolver = Resolver::at("127.0.0.1:53".parse().expect("an address"));
            let here = || Name::at(["127.0.0.1".parse().expect("an address")]);
            for name in ["well.example", "other.example"] {
                resolver.set(name, here());
            }
            resolver.set("silent.example", here().mute_for_v6());
            resolver.set("broken.example", Name::fails());
            // Bound, so that nobody refuses, and never read.
            let _dead = UdpSocket::bind("127.0.0.9:53").expect("a network of our own");
            let port = origin.addr().port();
            let doctor = |proxy: &str, sumdb: &str| {
                let [proxy, sumdb] = [(PROXY, proxy), (SUMDB, sumdb)]
                    .map(|(host, name)| format!("--connect-to={host}:443:{name}:{port}"));
                let mut doctor = sandbox.modtape(["doctor", "--json", &proxy, &sumdb]);
                doctor.arg("--upstream-ca").arg(origin.root_pem_path());
                Told::by(doctor)
            };
            let told = doctor("well.example", "gone.example");
            told.is("dns", "well.example", "ok", "A 1 address in ");
            let measured = &told.row("dns", "well.example")["measured"];
            assert_eq!(measured["a_addresses"], 1, "{measured}");
            assert_eq!(measured["aaaa_addresses"], 0, "{measured}");
            assert_eq!(measured["resolver"], "127.0.0.1", "{measured}");
            told.is("dns", "gone.example", "broken", "A no such name in ");
            told.is("request", "https://proxy.golang.org", "ok", "of 5");

            let told = doctor("well.example", "broken.example");
            told.is(
                "dns",
                "broken.example",
                "broken",
                "A SERVFAIL, AAAA SERVFAIL from 127.0.0.1",
            );

            let told = doctor("silent.example", "listed.example");
            told.is(
                "dns",
                "silent.example",
                "slow",
                "127.0.0.1 does not answer AAAA within 1.0",
            );
            told.is("request", "https://proxy.golang.org", "ok", "of 5");
            // The system knows it from another source than its resolvers.
            told.is("dns", "listed.example", "ok", "");

            // The system does not ask the second while the first answers.
            resolvers(&["127.0.0.1", "127.0.0.9"]);
            let told = doctor("well.example", "other.example");
            told.is("dns", "well.example", "ok", "A 1 address in ");

            resolvers(&["127.0.0.9", "127.0.0.1"]);
            let told = doctor("well.example", "other.example");
            told.is(
                "dns",
                "well.example",
                "slow",
                "127.0.0.9 does not answer A within 1.0",
            );
            assert_eq!(
                told.row("dns", "well.example")["measured"]["resolver"],
                "127.0.0.1"
            );
        },
    );
}
