//! Networks that fail: names, addresses, parent proxies, TLS, answers.

use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;

use modtape::clock::Clock;
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use super::*;

/// A certificate, and what is said of it.
const CERTIFICATES: [(Leaf, &str, &str); 5] = [
    (Leaf::Expired, "its certificate expired on 2021-01-01", ""),
    (Leaf::NotYetValid, "is not valid before 2090-01-01", ""),
    (Leaf::WrongHost, "but for wrong-host.example", ""),
    (
        Leaf::SelfSigned,
        "is self-signed and not trusted",
        "export SSL_CERT_FILE=FILE",
    ),
    (
        Leaf::UnknownCa,
        "most likely TLS inspection by \"a root that nobody trusts\"",
        "export SSL_CERT_FILE=FILE",
    ),
];

#[test]
fn a_certificate_that_go_would_refuse_is_broken_and_its_issuer_named() {
    for (leaf, said, line) in CERTIFICATES {
        let bad = Handshake::host(PROXY).leaf(leaf);
        let (sandbox, origin) = (
            Sandbox::new(),
            Origin::builder(well()).handshake(bad).start(),
        );
        let Some(doctor) = with_go(to(&sandbox, &origin), &sandbox, "1.27") else {
            return;
        };
        let told = Told::by(doctor);
        told.is("tls", PROXY, "broken", said);
        told.is("tls", SUMDB, "ok", "TLS 1.3");
        assert_eq!(told.code, Some(1), "{leaf:?}");
        assert_eq!(told.advice().0, line, "{leaf:?}");
        assert_eq!(told.rows("tls-post-quantum").len(), 1, "{leaf:?}");
        // Nothing is asked of a server that is not trusted.
        let hosts: Vec<_> = origin
            .requests()
            .into_iter()
            .map(|served| served.host)
            .collect();
        assert!(hosts.iter().all(|host| host == SUMDB), "{hosts:?}");
    }
}

#[test]
fn roots_are_read_as_go_reads_them() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let doctor = |file: &Path| {
        let mut doctor = sandbox.modtape(["doctor", "--json", "--connect-to", &everywhere]);
        doctor.env("SSL_CERT_FILE", file);
        doctor.env("SSL_CERT_DIR", sandbox.join("home"));
        Told::by(doctor)
    };
    let told = doctor(origin.root_pem_path());
    told.is("roots", "certificates", "ok", "go trusts 1 root");
    let row = told.row("tls", PROXY);
    assert_eq!(row["state"], "ok", "{row}");
    assert!(!row["text"].to_string().contains("--upstream-ca"), "{row}");
    let told = doctor(&sandbox.join("gone.pem"));
    told.is(
        "roots",
        "certificates",
        "broken",
        "SSL_CERT_FILE gives none",
    );
    told.is("tls", PROXY, "broken", "unknown issuer");
    assert_eq!(told.advice().0, "unset SSL_CERT_FILE");

    // As go does, a file that is not there is passed over where a folder has the roots.
    let folder = sandbox.join("home/certs");
    std::fs::create_dir(&folder).expect("our own folder");
    std::fs::copy(origin.root_pem_path(), folder.join("root.pem")).expect("our own folder");
    let mut command = sandbox.modtape(["doctor", "--json", "--connect-to", &everywhere]);
    command.env("SSL_CERT_FILE", sandbox.join("gone.pem"));
    command.env("SSL_CERT_DIR", &folder);
    let told = Told::by(command);
    told.is(
        "roots",
        "certificates",
        "ok",
        "go trusts 1 root; SSL_CERT_FILE gives none",
    );
    told.is("roots", "certificates", "ok", "which go passes over");
    told.is("tls", PROXY, "ok", "TLS 1.3");
}

#[test]
fn where_no_setting_helps_it_is_said_whom_to_ask() {
    let sandbox = Sandbox::new();
    let (_held, closed) = nobody();
    let to = format!("::{closed}");
    let mut command = sandbox.modtape(["doctor", "--connect-to", &to]);
    command
        .env("GOPROXY", "https://goproxy.corp.example")
        .env("GOSUMDB", "off");
    let Some(command) = with_go(command, &sandbox, "1.27") else {
        return;
    };
    let output = run(command, LIMIT);
    assert_eq!(output.status.code(), Some(1));
    let end = output.stdout.lines().rev().take(2).collect::<Vec<_>>();
    assert_eq!(end[1], "no setting of Go helps against that");
    let next = "next: connect the VPN, if one leads there; else ask who runs this network to let this machine connect to goproxy.corp.example:443 by TCP: send the row above";
    assert!(end[0].starts_with(next), "{}", output.stdout);
}

#[test]
fn a_large_client_hello_that_is_lost_is_told_from_a_server_that_is_silent() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let middlebox = Middlebox::start(origin.addr());
    let everywhere = format!("::127.0.0.1:{}", middlebox.addr().port());
    for (release, godebug, state, line) in [
        ("1.27", "", "broken", "export GODEBUG=tlsmlkem=0"),
        (
            "1.27",
            "netdns=go",
            "broken",
            "export GODEBUG=netdns=go,tlsmlkem=0",
        ),
        ("1.27", "tlsmlkem=0", "ok", ""),
        ("1.21", "", "ok", ""),
    ] {
        let mut doctor = sandbox.modtape(["doctor", "--json", "--connect-to", &everywhere]);
        doctor.arg("--upstream-ca").arg(origin.root_pem_path());
        doctor.env("GODEBUG", godebug);
        let Some(doctor) = with_go(doctor, &sandbox, release) else {
            continue;
        };
        let told = Told::by(doctor);
        told.is("tls", PROXY, "ok", "TLS 1.3");
        told.is("tls-post-quantum", PROXY, state, "bytes is lost: ");
        assert_eq!(told.advice().0, line, "{release} {godebug}");
    }
}

#[test]
fn http_1_alone_costs_time() {
    let origin = Origin::builder(well()).alpn(Alpn::Http1).start();
    let told = Told::by(to(&Sandbox::new(), &origin));
    told.is("http", PROXY, "slow", "HTTP/1.1 only");
    told.is("request", "https://proxy.golang.org", "ok", "of 5");
}

#[test]
fn what_a_parent_proxy_does_is_its_own_row() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let through = |url: &str| {
        let mut doctor = sandbox.modtape(["doctor", "--json", "--upstream-ca"]);
        doctor.arg(origin.root_pem_path()).env("HTTPS_PROXY", url);
        Told::by(doctor)
    };
    let parent = ParentProxy::http(origin.addr()).start();
    let told = through(&parent.url());
    told.is("parent-proxy", &parent.url(), "ok", "opens a tunnel to ");
    told.is("tls", PROXY, "ok", "TLS 1.3");
    let mut targets = parent.targets();
    targets.sort();
    targets.dedup();
    assert_eq!(targets, ["proxy.golang.org:443", "sum.golang.org:443"]);

    let parent = ParentProxy::http(origin.addr())
        .credentials("ana", "right")
        .start();
    let wrong = parent.url().replace("://", "://ana:hunter2@");
    let told = through(&wrong);
    told.is("parent-proxy", &parent.url(), "broken", "answered 407");
    let line = parent.url().replace("://", "://USER:PASSWORD@");
    assert_eq!(told.advice().0, format!("export HTTPS_PROXY={line}"));
    let said = told.json.to_string();
    assert!(!said.contains("hunter2"), "{said}");

    let parent = ParentProxy::http(origin.addr());
    let parent = parent
        .refuse_target("sum.golang.org:443", 403, "Forbidden")
        .start();
    let told = through(&parent.url());
    told.is(
        "parent-proxy",
        &parent.url(),
        "broken",
        "answered 403 Forbidden",
    );
    told.is("request", "https://proxy.golang.org", "ok", "of 5");
    assert_eq!(told.advice().0, "export NO_PROXY=sum.golang.org");

    let (_held, closed) = nobody();
    let url = format!("http://{closed}");
    let told = through(&url);
    told.is("tcp4", &url, "broken", "refused");
    assert_eq!(told.advice().0, "unset HTTPS_PROXY https_proxy");
    through("https://proxy.invalid").is("parent-proxy", "HTTPS_PROXY", "ok", "not tested");
}

/// An address where nobody listens, and its socket, which keeps it from others.
fn nobody() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("loopback has a port");
    let at = socket.local_addr().ok().and_then(|at| at.as_socket());
    (socket, at.expect("it is bound").to_string())
}

#[test]
fn answers_are_judged_as_go_would_take_them() {
    let list = "https://proxy.golang.org|https://mirror.goproxy.cn,direct";
    for (rule, check, state, said, line) in [
        (
            Rule::suffix(SMALL).status(503).body("out of order\n"),
            "request",
            "broken",
            "503: out of order",
            "",
        ),
        (
            Rule::suffix(SMALL).status(401),
            "request",
            "broken",
            "go has no credentials",
            "(umask 077; ${EDITOR:-vi} ~/.netrc)",
        ),
        (
            Rule::suffix(SMALL).status(410),
            "request",
            "ok",
            "the next entry is asked",
            "",
        ),
        (
            Rule::suffix(SMALL).redirect("https://elsewhere.example/x"),
            "request",
            "ok",
            "redirects to elsewhere.example, which was not asked",
            "",
        ),
        (
            Rule::suffix(SMALL)
                .delay(Duration::from_millis(550))
                .times(6),
            "request",
            "slow",
            "first byte p50 ",
            "",
        ),
        (
            Rule::suffix("/supported").status(200),
            "sumdb-supported",
            "ok",
            "relays the checksum database",
            "",
        ),
        (
            Rule::suffix("/supported").status(500),
            "sumdb-supported",
            "broken",
            "500 in ",
            "",
        ),
        (
            Rule::any().header("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            "clock",
            "broken",
            " ahead of ",
            "",
        ),
        (
            Rule::suffix(SMALL).hang_up(),
            "request",
            "broken",
            "the connection; no answer",
            "export GOPROXY=https://mirror.goproxy.cn,direct",
        ),
    ] {
        let (sandbox, origin) = (Sandbox::new(), Origin::builder(well()).rule(rule).start());
        let mut doctor = to(&sandbox, &origin);
        doctor.env("GOPROXY", list);
        let Some(doctor) = with_go(doctor, &sandbox, "1.27") else {
            return;
        };
        let told = Told::by(doctor);
        let subject = match check {
            "clock" => "this machine",
            _ => "https://proxy.golang.org",
        };
        told.is(check, subject, state, said);
        let told_line = told.advice().0.replace(text(&sandbox.join("home")), "~");
        assert_eq!(told_line, line, "{said}: {:#}", told.json);
        let named = [PROXY, SUMDB, "mirror.goproxy.cn"];
        let asked = origin.requests();
        assert!(
            asked.iter().all(|served| named.contains(&&*served.host)),
            "{asked:#?}"
        );
    }
}

#[test]
fn a_checksum_database_that_a_proxy_relays_need_not_be_reached() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    origin.add_rule(Rule::suffix("/supported").status(200));
    let to_proxy = format!("{PROXY}:443:127.0.0.1:{}", origin.addr().port());
    let (_held, closed) = nobody();
    let elsewhere = format!("::{closed}");
    let mut doctor = sandbox.modtape(["doctor", "--json", "--connect-to", &to_proxy]);
    doctor.args(["--connect-to", &elsewhere, "--upstream-ca"]);
    doctor.arg(origin.root_pem_path());
    let Some(doctor) = with_go(doctor, &sandbox, "1.27") else {
        return;
    };
    let told = Told::by(doctor);
    told.is(
        "tcp4",
        SUMDB,
        "ok",
        "not needed: a module proxy relays the database",
    );
    assert_eq!((told.code, told.advice().0), (Some(0), String::new()));
}

#[test]
fn without_a_network_every_name_fails_and_no_setting_helps() {
    // No label of a name is longer than 63 bytes (RFC 1035 section 2.3.4): no resolver asks anyone.
    let nowhere = format!("{}.invalid", "x".repeat(64));
    let sandbox = Sandbox::new();
    let everywhere = format!("::{nowhere}:443");
    let doctor = sandbox.modtape(["doctor", "--json", "--connect-to", &everywhere]);
    let Some(doctor) = with_go(doctor, &sandbox, "1.27") else {
        return;
    };
    let told = Told::by(doctor);
    told.is("dns", &nowhere, "broken", "cannot resolve ");
    assert_eq!((told.code, told.advice().0), (Some(1), String::new()));
    for check in ["tcp4", "tcp6", "tls", "http", "request"] {
        assert!(told.rows(check).is_empty(), "{check}");
    }
}

/// One run for all that is silent, since each silence lasts as long as a dial may.
#[test]
fn silence_of_every_kind_ends_the_run_within_12_seconds() {
    const ENOUGH: Duration = Duration::from_secs(12);
    let sandbox = Sandbox::new();
    let origin = Origin::start(well());
    origin.add_handshake(Handshake::host("hello.goproxy.cn").silent());
    origin.add_rule(Rule::host("answer.goproxy.cn").silent());
    let port = origin.addr().port();
    let dead = Blackhole::start();
    let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
    let dead_v6 = Blackhole::at(v6);
    let mut doctor = to(&sandbox, &origin);
    // The first that matches counts: these stand behind the one of `to`, which matches all.
    let mut flags = vec![String::from("doctor"), String::from("--json")];
    for (host, at) in [
        ("tcp.goproxy.cn", dead.addr().to_string()),
        (SUMDB, dead.addr().to_string()),
        ("v6.goproxy.cn", format!("both.example:{port}")),
        ("", format!("127.0.0.1:{port}")),
    ] {
        let from = if host.is_empty() {
            String::from(":")
        } else {
            format!("{host}:443")
        };
        flags.extend([String::from("--connect-to"), format!("{from}:{at}")]);
    }
    let both = format!("both.example:{port}:[::1],127.0.0.1");
    flags.extend([String::from("--resolve"), both]);
    doctor = {
        let mut silent = sandbox.modtape(flags.iter().map(String::as_str));
        silent.args(doctor.get_args().skip_while(|arg| *arg != "--upstream-ca"));
        silent
    };
    let list = "https://tcp.goproxy.cn|https://hello.goproxy.cn|https://answer.goproxy.cn|https://v6.goproxy.cn";
    doctor.env("GOPROXY", list);
    let clock = Clock::start();
    let told = Told::by(doctor);
    let took = Duration::from_micros(clock.now().micros_since(Default::default()));
    assert!(took < ENOUGH, "{took:?}");
    told.is("tcp4", "tcp.goproxy.cn", "broken", "no answer");
    told.is("tcp4", SUMDB, "broken", "no answer");
    told.is("tls", "hello.goproxy.cn", "broken", "no answer within 9s");
    told.is(
        "request",
        "https://answer.goproxy.cn",
        "broken",
        "no answer within 9.",
    );
    told.is("tcp6", "v6.goproxy.cn", "slow", "IPv6 does not answer");
    told.is("tcp4", "v6.goproxy.cn", "ok", "IPv4 connects in ");
    let (line, reason) = told.advice();
    assert!(
        line.starts_with("export GOPROXY='https://hello.goproxy.cn|"),
        "{line}"
    );
    assert!(
        reason.contains("each request waits for it first"),
        "{reason}"
    );
    drop(dead_v6);
}

#[test]
fn ctrl_c_ends_it_at_once() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    origin.add_rule(Rule::any().silent());
    let doctor = Spawned::start(to(&sandbox, &origin));
    origin.wait_for(|log| log.requests.len() == 2, LIMIT);
    doctor.signal(Signal::INT);
    let output = doctor.end();
    assert_eq!(
        output.status.signal(),
        Some(Signal::INT.as_raw()),
        "{output:?}"
    );
    assert_eq!(output.stdout, "");
}
