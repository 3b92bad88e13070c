//! The way to a server: names, addresses of both families, proxies in between, certificates.

use std::net::SocketAddr;
use std::time::Duration;

use super::resolver::Name;
use super::run::Run;
use super::world::{ELSEWHERE_V6, INTERNET, World, https};
use crate::support::*;

fn download(world: &World) -> Run<'_> {
    Run::go(world, &["mod", "download"]).in_other_words()
}

#[test]
fn a_resolver_that_is_slow() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        for name in ["proxy.golang.org", "sum.golang.org"] {
            world.name(
                name,
                Name::at([INTERNET]).delay(Duration::from_millis(1200)),
            );
        }
        let Some(both) = download(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(both.plain.took > Duration::from_millis(2400));
        both.recorded.first("MT102", "slow", &["golang.org", "1.2"]);
    });
}

#[test]
fn a_resolver_that_is_mute_for_ipv6() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        world.name("proxy.golang.org", Name::at([INTERNET]).mute_for_v6());
        let Some(both) = download(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(both.plain.took > Duration::from_secs(2));
        both.recorded.first("MT102", "slow", &["proxy.golang.org"]);
    });
}

#[test]
fn a_resolver_that_fails() {
    World::stage(|world| {
        world.name("proxy.golang.org", Name::fails());
        let Some(both) = download(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("server misbehaving"));
        both.recorded
            .first("MT102", "problem", &["proxy.golang.org"]);
    });
}

#[test]
fn a_name_that_does_not_exist() {
    World::stage(|world| {
        let Some(both) = download(world)
            .env("GOPROXY", "https://goproxy.crop")
            .both()
        else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("no such host"));
        both.recorded.first("MT102", "problem", &["goproxy.crop"]);
    });
}

/// SYNs by IPv6 vanish; those by IPv4 are answered at once.
#[test]
fn ipv6_that_leads_nowhere() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        // Closed after each answer: each request dials.
        let once = Handshake::host("proxy.golang.org")
            .alpn(Alpn::Http1)
            .goaway_after(1);
        let _internet = internet.handshake(once).start();
        let _hole = Blackhole::at(https(ELSEWHERE_V6));
        world.name("proxy.golang.org", Name::at([ELSEWHERE_V6, INTERNET]));
        let run = download(world);
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(
            both.plain.took > Duration::from_millis(900),
            "{:?}",
            both.plain.took
        );
        both.recorded
            .first("MT103", "slow", &["proxy.golang.org", "2001:db8::14"]);
        let command = both.recorded.quoted("sysctl ");
        let mut words = command.split(' ');
        let mut sysctl = program(words.next().expect("a program"));
        if !sysctl
            .args(words)
            .status()
            .is_ok_and(|status| status.success())
        {
            return skipped("the kernel's settings cannot be changed here (sysctl)");
        }
        run.recorded().expect("go is there").is_mended("MT103");
    });
}

/// IPv6 and IPv4 both lead to a server that takes its time: neither is to blame.
#[test]
fn a_slow_server_with_both_families() {
    World::stage(|world| {
        let (Some(internet), Some(content)) = (
            world.internet("hello"),
            Content::corpus("hello", Sumdb::Proxy),
        ) else {
            return;
        };
        let slow = Rule::suffix("uuid/@v/v1.3.1.zip").delay(Duration::from_millis(2000));
        let _internet = internet.rule(slow.clone()).start();
        let _v6 = world.server(ELSEWHERE_V6, content).rule(slow).start();
        world.name("proxy.golang.org", Name::at([ELSEWHERE_V6, INTERNET]));
        let run = download(world).env("GOPROXY", "https://proxy.golang.org");
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(both.plain.took > Duration::from_millis(2000));
        both.recorded.first(
            "MT121",
            "slow",
            &["proxy.golang.org", "github.com/google/uuid"],
        );
        assert!(!both.recorded.codes().contains(&"MT103".to_owned()));
    });
}

/// TCP by IPv6 comes up and carries nothing: go does not fall back.
#[test]
fn ipv6_that_carries_nothing() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let silent = world.server(ELSEWHERE_V6, Content::default());
        let silent = silent.handshake(Handshake::any().silent()).start();
        world.name("proxy.golang.org", Name::at([ELSEWHERE_V6, INTERNET]));
        let connected = || drop(silent.wait_for(|log| !log.connections.is_empty(), LIMIT));
        let names = ["proxy.golang.org", "2001:db8::14", "IPv6"];
        download(world).hangs(connected, "MT107", &names);
    });
}

/// A middlebox drops packets beyond some size: go's ClientHello with a post-quantum key share is lost,
/// and that of modtape, which is smaller, is not.
#[test]
#[ignore = "takes the 10 s that go waits for a handshake; in tests/long"]
fn a_large_client_hello_that_is_lost() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let large = format!("ip daddr {INTERNET} tcp dport 443 meta length > 1000 drop");
        if !world.filter(&large) {
            return;
        }
        let run = Run::go(world, &["mod", "download"]);
        let Some(plain) = run.plain() else { return };
        assert_eq!(plain.code, 1);
        assert!(plain.stderr.contains("TLS handshake timeout"));
        let recorded = run.recorded().expect("go is there");
        assert_eq!(recorded.code, 0, "{}", recorded.stderr);
        // The way out that go itself has.
        let small = run.env("GODEBUG", "tlsmlkem=0").plain();
        assert_eq!(small.expect("go is there").code, 0);
    });
}

/// No ClientHello is answered, small or large.
#[test]
fn a_handshake_that_is_silent() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let silent = internet.handshake(Handshake::any().silent()).start();
        let connected = || drop(silent.wait_for(|log| !log.connections.is_empty(), LIMIT));
        download(world).hangs(connected, "MT107", &["proxy.golang.org"]);
    });
}

/// The certificate of proxy.golang.org is of this kind; go's words hold `says`.
fn certificate(world: &World, leaf: Leaf, says: &str, names: &[&str]) {
    let Some(internet) = world.internet("hello") else {
        return;
    };
    let shown = Handshake::host("proxy.golang.org").leaf(leaf);
    let _internet = internet.handshake(shown).start();
    let Some(both) = download(world).both() else {
        return;
    };
    assert_eq!(both.plain.code, 1);
    assert!(both.plain.stderr.contains(says), "{}", both.plain.stderr);
    both.recorded.first("MT104", "problem", names);
}

#[test]
fn a_certificate_of_an_authority_that_nobody_knows() {
    World::stage(|world| {
        let names = ["proxy.golang.org", "a root that nobody trusts"];
        let says = "signed by unknown authority";
        certificate(world, Leaf::UnknownCa, says, &names);
    });
}

#[test]
fn a_certificate_that_has_expired() {
    World::stage(|world| {
        let names = ["proxy.golang.org", "expired"];
        certificate(world, Leaf::Expired, "has expired", &names);
    });
}

#[test]
fn a_certificate_for_another_host() {
    World::stage(|world| {
        let names = ["proxy.golang.org", "wrong-host.example"];
        certificate(world, Leaf::WrongHost, "not proxy.golang.org", &names);
    });
}

/// All goes through a parent proxy that refuses.
fn parent(
    world: &World,
    proxy: impl FnOnce(SocketAddr) -> ParentProxyBuilder,
    says: &str,
    names: &[&str],
) {
    let Some(internet) = world.internet("hello") else {
        return;
    };
    let internet = internet.start();
    let proxy = proxy(internet.addr()).start();
    let run = download(world).env("HTTPS_PROXY", &proxy.url());
    let Some(both) = run.both() else { return };
    assert_eq!(both.plain.code, 1);
    assert!(both.plain.stderr.contains(says), "{}", both.plain.stderr);
    both.recorded.first("MT105", "problem", names);
    if both.recorded.hint().contains("HTTPS_PROXY=") {
        let (name, value) = both.recorded.hinted();
        let mine = [("USER", "ada"), ("PASSWORD", "secret")];
        let filled = mine
            .iter()
            .fold(value, |value, (what, mine)| value.replace(what, mine));
        let at = proxy.url().replace("http://", "");
        let filled = filled.replace("HOST:PORT", &at);
        run.recorded_with(&name, &filled).is_mended("MT105");
    }
}

#[test]
fn a_parent_proxy_that_wants_credentials() {
    World::stage(|world| {
        let wants = |to| ParentProxy::http(to).credentials("ada", "secret");
        parent(world, wants, "Proxy Authentication Required", &["407"]);
    });
}

#[test]
fn a_parent_proxy_that_forbids() {
    World::stage(|world| {
        let forbids = |to| ParentProxy::http(to).refuse(403, "Forbidden by policy");
        let names = ["403", "Forbidden by policy"];
        parent(world, forbids, "Forbidden by policy", &names);
    });
}
