//! Facts in, rows and advice out.

use super::facts::*;
use super::*;
use crate::recording::caches::Forbidden;

fn setting(name: &'static str, value: &str) -> Setting {
    Setting {
        name,
        value: value.to_owned(),
        origin: Origin::Default,
    }
}

/// A host that answers everything in 20 ms.
fn host(name: &str, role: Role) -> Host {
    let shaken = |hello_bytes| Handshake {
        took_us: 20_000,
        hello_bytes,
        version: Some("TLS 1.3"),
        alpn: Some("h2"),
        certificate: Some(Certificate {
            issuer: Some(String::from("WR2")),
            issuer_organisation: Some(String::from("Google Trust Services")),
            expires: Some(String::from("2027-01-31")),
            valid_s: Some(5_000_000),
            verdict: Verdict::Trusted,
            is_trusted_by_go: true,
        }),
        ..Handshake::default()
    };
    let query = |is_v6| Query {
        resolver: String::from("192.0.2.53"),
        is_v6,
        took_us: 5_000,
        answer: DnsAnswer::Addresses(2),
    };
    let tcp = |is_v6| Tcp {
        is_v6,
        addresses: 2,
        took_us: 10_000,
        error: None,
    };
    let asked = |path: &str, status| Asked {
        path: path.to_owned(),
        first_byte_us: vec![20_000; 5],
        status: Some(status),
        skew_s: Some(0),
        ..Asked::default()
    };
    let is_proxy = role != Role::Sumdb;
    Host {
        name: name.to_owned(),
        via: None,
        lookup: Some(Lookup {
            name: name.to_owned(),
            took_us: 6_000,
            error: None,
            queries: vec![query(false), query(true)],
        }),
        tcp: vec![tcp(false), tcp(true)],
        dial: Outcome::Took(10_000),
        small: Some(shaken(240)),
        large: Some(shaken(1_480)),
        places: vec![Place {
            role,
            url: format!("https://{name}"),
            has_credentials: false,
            request: Some(asked("/x", 200)),
            supported: is_proxy.then(|| asked("/sumdb/sum.golang.org/supported", 404)),
        }],
    }
}

/// A machine on which all is well, with go 1.27.
fn well() -> Facts {
    Facts {
        go: Go {
            version: Some(String::from("go1.27.3")),
            missing: None,
            settings: vec![
                setting("GOPROXY", "https://proxy.golang.org,direct"),
                setting("GOSUMDB", "sum.golang.org"),
                setting("GOPRIVATE", ""),
                setting("GOMODCACHE", "/home/ana/go/pkg/mod"),
                setting("GODEBUG", ""),
                setting("NO_PROXY", ""),
            ],
        },
        way_in: WayIn {
            mode: "mitm",
            why: String::from("go trusts a root of this run"),
        },
        hosts: vec![
            host("proxy.golang.org", Role::Proxy(0)),
            host("sum.golang.org", Role::Sumdb),
        ],
        roots: Roots {
            count: 145,
            ..Roots::default()
        },
        cache: Cache {
            path: Some(String::from("/home/ana/go/pkg/mod")),
            looked_at: String::from("/home/ana/go/pkg/mod"),
            exists: true,
            elsewhere: Some(String::from("/home/ana/.cache/gomodcache")),
            free_bytes: Some(40_000_000_000),
            file_system: Some(String::from("ext4")),
            locks: Some(Vec::new()),
            ..Cache::default()
        },
        ..Facts::default()
    }
}

/// A change of the facts, the check that it shows in, its state, words of its text, and the line
/// that is advised.
struct Case {
    name: &'static str,
    change: fn(&mut Facts),
    check: &'static str,
    state: State,
    text: &'static str,
    line: &'static str,
}

fn case(
    name: &'static str,
    change: fn(&mut Facts),
    (check, state, text): (&'static str, State, &'static str),
    line: &'static str,
) -> Case {
    Case {
        name,
        change,
        check,
        state,
        text,
        line,
    }
}

fn set(facts: &mut Facts, name: &'static str, value: &str) {
    facts.go.settings.retain(|setting| setting.name != name);
    facts.go.settings.push(setting(name, value));
}

/// The proxy's request.
fn request(facts: &mut Facts) -> &mut Asked {
    facts.hosts[0].places[0].request.as_mut().unwrap()
}

fn small(facts: &mut Facts) -> &mut Handshake {
    facts.hosts[0].small.as_mut().unwrap()
}

/// A host that no step gets through to.
fn unreachable(host: &mut Host, step: Step, text: &str) {
    host.dial = Outcome::Failed(Failure {
        step,
        text: text.to_owned(),
        after_us: 10_000_000,
    });
    (host.small, host.large) = (None, None);
    for place in &mut host.places {
        (place.request, place.supported) = (None, None);
    }
}

fn distrusted(facts: &mut Facts, verdict: Verdict, error: &str) {
    let shaken = small(facts);
    shaken.error = Some(error.to_owned());
    let certificate = shaken.certificate.as_mut().unwrap();
    certificate.verdict = verdict;
    certificate.issuer = Some(String::from("Corp Proxy CA"));
    certificate.issuer_organisation = None;
    facts.hosts[0].large = None;
    facts.hosts[0].places[0].request = None;
    facts.hosts[0].places[0].supported = None;
}

#[test]
fn a_machine_that_is_well_has_no_fault() {
    let report = report(&well());
    assert!(
        report.rows.iter().all(|row| row.state == State::Ok),
        "{report:#?}"
    );
    assert_eq!(report.advice, None);
    let checks: Vec<_> = report.rows.iter().map(|row| row.check).collect();
    let of_hosts = [
        "dns",
        "tcp4",
        "tcp6",
        "tls",
        "tls-post-quantum",
        "http",
        "request",
    ];
    let expected = [
        &["go", "setting", "setting", "mode", "roots"][..],
        &of_hosts,
        &["sumdb-supported"],
        &of_hosts,
        &["clock", "module-cache", "space", "file-system", "locks"],
    ]
    .concat();
    assert_eq!(checks, expected);
}

#[test]
fn each_fault_shows_in_its_row_with_what_would_help() {
    use State::{Broken, Ok, Slow};
    let cases = [
        case(
            "no go",
            |facts| facts.go.missing = Some(String::from("there is no go command on the PATH")),
            ("go", Broken, "no go command"),
            "",
        ),
        case(
            "GOPROXY has no entry",
            |facts| set(facts, "GOPROXY", ","),
            ("setting", Broken, "no entries"),
            "",
        ),
        case(
            "GOPROXY has another scheme",
            |facts| set(facts, "GOPROXY", "ftp://a.example"),
            (
                "setting",
                Broken,
                "\"ftp://a.example\" has a scheme that go does not support",
            ),
            "",
        ),
        case(
            "GOPROXY is a word",
            |facts| set(facts, "GOPROXY", "goproxy"),
            (
                "setting",
                Broken,
                "\"goproxy\" is neither a URL nor `direct`",
            ),
            "",
        ),
        case(
            "GOPROXY is off",
            |facts| set(facts, "GOPROXY", "off"),
            ("setting", Broken, "off: go downloads nothing"),
            "",
        ),
        case(
            "GOSUMDB has no key",
            |facts| set(facts, "GOSUMDB", "sums.corp"),
            ("setting", Broken, "no key"),
            "",
        ),
        case(
            "GOPRIVATE has a scheme",
            |facts| set(facts, "GOPRIVATE", "https://git.corp.example,*.b.example"),
            (
                "setting",
                Broken,
                "\"https://git.corp.example\" has a scheme",
            ),
            "go env -w GOPRIVATE='git.corp.example,*.b.example'",
        ),
        case(
            "GOPRIVATE from the environment",
            |facts| {
                set(facts, "GOPRIVATE", " git.corp.example");
                let setting = facts.go.settings.last_mut().unwrap();
                setting.origin = Origin::Environment(String::from("GOPRIVATE"));
            },
            ("setting", Broken, "a space"),
            "export GOPRIVATE=git.corp.example",
        ),
        case(
            "no roots",
            |facts| facts.roots.count = 0,
            ("roots", Broken, "no root"),
            "export SSL_CERT_FILE=FILE",
        ),
        case(
            "SSL_CERT_FILE is not there, and folders are",
            |facts| facts.roots.file_error = Some(String::from("No such file")),
            (
                "roots",
                Ok,
                "SSL_CERT_FILE gives none (No such file), which go passes over",
            ),
            "",
        ),
        case(
            "SSL_CERT_FILE is not there, nor folders",
            |facts| {
                facts.roots.file_error = Some(String::from("No such file"));
                facts.roots.count = 0;
            },
            ("roots", Broken, "No such file"),
            "unset SSL_CERT_FILE",
        ),
        case(
            "SSL_CERT_FILE is not there, and its root is missed",
            |facts| {
                facts.roots.file_error = Some(String::from("No such file"));
                distrusted(facts, Verdict::UnknownIssuer, "unknown issuer");
            },
            ("tls", Broken, "unknown issuer"),
            "export SSL_CERT_FILE=FILE",
        ),
        case(
            "no such name",
            |facts| {
                let text = "cannot resolve proxy.golang.org";
                unreachable(&mut facts.hosts[0], Step::Lookup, text);
                facts.hosts[0].tcp.clear();
                let lookup = facts.hosts[0].lookup.as_mut().unwrap();
                lookup.error = Some(String::from(text));
                for query in &mut lookup.queries {
                    query.answer = DnsAnswer::NoName;
                }
            },
            (
                "dns",
                Broken,
                "A no such name in 5.0 ms, AAAA no such name in 5.0 ms from 192.0.2.53",
            ),
            "go env -w GOPROXY=https://goproxy.cn,direct",
        ),
        case(
            "AAAA is not answered",
            |facts| {
                let query = &mut facts.hosts[0].lookup.as_mut().unwrap().queries[1];
                query.answer = DnsAnswer::Silence;
                query.took_us = 5_000_000;
            },
            ("dns", Slow, "192.0.2.53 does not answer AAAA within 5.00 s"),
            "",
        ),
        case(
            "the second resolver is silent",
            |facts| {
                let lookup = facts.hosts[0].lookup.as_mut().unwrap();
                let mut second = lookup.queries[0].clone();
                second.resolver = String::from("192.0.2.54");
                second.answer = DnsAnswer::Silence;
                lookup.queries.push(second);
            },
            ("dns", Ok, "from 192.0.2.53"),
            "",
        ),
        case(
            "the first resolver is silent",
            |facts| {
                let lookup = facts.hosts[0].lookup.as_mut().unwrap();
                let mut first = lookup.queries[0].clone();
                first.resolver = String::from("192.0.2.52");
                first.answer = DnsAnswer::Silence;
                lookup.queries.insert(0, first);
            },
            ("dns", Slow, "192.0.2.52 does not answer A within"),
            "",
        ),
        case(
            "a slow lookup",
            |facts| facts.hosts[0].lookup.as_mut().unwrap().took_us = 800_000,
            ("dns", Slow, "800 ms"),
            "",
        ),
        case(
            "IPv6 is dead",
            |facts| {
                let tcp = &mut facts.hosts[0].tcp[1];
                tcp.error = Some(String::from("[2001:db8::1]:443: no answer"));
                tcp.took_us = 10_000_000;
            },
            ("tcp6", Slow, "IPv6 does not answer"),
            "",
        ),
        case(
            "no IPv6 here",
            |facts| {
                let tcp = &mut facts.hosts[0].tcp[1];
                tcp.error = Some(String::from("[2001:db8::1]:443: Network is unreachable"));
                tcp.took_us = 90;
            },
            ("tcp6", Ok, "IPv6 is not used"),
            "",
        ),
        case(
            "no TCP",
            |facts| {
                unreachable(&mut facts.hosts[0], Step::Tcp, "no connection");
                for tcp in &mut facts.hosts[0].tcp {
                    tcp.error = Some(String::from("no answer"));
                    tcp.took_us = 10_000_000;
                }
            },
            ("tcp4", Broken, "no answer (10.0 s)"),
            "go env -w GOPROXY=https://goproxy.cn,direct",
        ),
        case(
            "a slow TCP",
            |facts| facts.hosts[0].tcp[0].took_us = 600_000,
            ("tcp4", Slow, "600 ms"),
            "",
        ),
        case(
            "the parent proxy wants credentials",
            |facts| {
                let step = Step::Parent {
                    is_unauthorized: true,
                };
                unreachable(&mut facts.hosts[0], step, "answered 407");
                facts.hosts[0].via = Some(String::from("http://proxy.corp:3128"));
            },
            ("parent-proxy", Broken, "answered 407"),
            "export HTTPS_PROXY=http://USER:PASSWORD@proxy.corp:3128",
        ),
        case(
            "the parent proxy refuses one host",
            |facts| {
                let step = Step::Parent {
                    is_unauthorized: false,
                };
                unreachable(&mut facts.hosts[1], step, "answered 403");
                for host in &mut facts.hosts {
                    host.via = Some(String::from("http://proxy.corp:3128"));
                }
            },
            ("parent-proxy", Broken, "answered 403"),
            "export NO_PROXY=sum.golang.org",
        ),
        case(
            "the parent proxy is dead",
            |facts| {
                for host in &mut facts.hosts {
                    unreachable(host, Step::Tcp, "no connection");
                    host.via = Some(String::from("http://proxy.corp:3128"));
                    host.tcp[0].error = Some(String::from("refused"));
                    host.tcp.truncate(1);
                }
            },
            ("tcp4", Broken, "refused"),
            "unset HTTPS_PROXY https_proxy",
        ),
        case(
            "the parent proxy is one that we do not speak",
            |facts| {
                for host in &mut facts.hosts {
                    unreachable(host, Step::Untested, "scheme https");
                }
            },
            ("parent-proxy", Ok, "not tested"),
            "",
        ),
        case(
            "inspection with an unknown issuer",
            |facts| distrusted(facts, Verdict::UnknownIssuer, "unknown issuer"),
            (
                "tls",
                Broken,
                "most likely TLS inspection by \"Corp Proxy CA\"",
            ),
            "export SSL_CERT_FILE=FILE",
        ),
        case(
            "inspection that is trusted",
            |facts| {
                let certificate = small(facts).certificate.as_mut().unwrap();
                certificate.issuer = Some(String::from("Corp Proxy CA"));
                certificate.issuer_organisation = Some(String::from("Corp"));
            },
            (
                "tls",
                Ok,
                "TLS inspection by \"Corp Proxy CA\", which is trusted",
            ),
            "",
        ),
        case(
            "expired",
            |facts| distrusted(facts, Verdict::Expired, "its certificate expired"),
            ("tls", Broken, "its certificate expired"),
            "",
        ),
        case(
            "expires soon",
            |facts| small(facts).certificate.as_mut().unwrap().valid_s = Some(3_600),
            ("tls", Slow, "which is soon"),
            "",
        ),
        case(
            "slow TLS",
            |facts| small(facts).took_us = 2_000_000,
            ("tls", Slow, "TLS 1.3 in 2.00 s"),
            "",
        ),
        case(
            "the large ClientHello is lost",
            |facts| {
                let large = facts.hosts[0].large.as_mut().unwrap();
                large.error = Some(String::from("no answer"));
                large.took_us = 10_000_000;
            },
            (
                "tls-post-quantum",
                Broken,
                "a ClientHello of 1480 bytes is lost: no answer",
            ),
            "export GODEBUG=tlsmlkem=0",
        ),
        case(
            "the large ClientHello is lost, with settings",
            |facts| {
                set(facts, "GODEBUG", "netdns=go");
                facts.hosts[0].large.as_mut().unwrap().error = Some(String::from("reset"));
            },
            ("tls-post-quantum", Broken, "reset"),
            "export GODEBUG=netdns=go,tlsmlkem=0",
        ),
        case(
            "the large ClientHello is lost, and go sends a small one",
            |facts| {
                facts.go.version = Some(String::from("go1.23.4"));
                facts.hosts[0].large.as_mut().unwrap().error = Some(String::from("reset"));
            },
            ("tls-post-quantum", Ok, "this go sends a small one"),
            "",
        ),
        case(
            "HTTP/1.1",
            |facts| small(facts).alpn = Some("http/1.1"),
            ("http", Slow, "HTTP/1.1 only"),
            "",
        ),
        case(
            "HTTP/2 is switched off",
            |facts| set(facts, "GODEBUG", "http2client=0,netdns=go"),
            ("http", Slow, "GODEBUG=http2client=0 keeps go from it"),
            "export GODEBUG=netdns=go",
        ),
        case(
            "no answer",
            |facts| {
                let asked = request(facts);
                asked.first_byte_us.clear();
                asked.status = None;
                asked.error = Some(String::from("no answer within 10.9 s"));
            },
            ("request", Broken, "no answer within 10.9 s"),
            "go env -w GOPROXY=https://goproxy.cn,direct",
        ),
        case(
            "slow answers",
            |facts| request(facts).first_byte_us = vec![700_000, 20_000, 900_000, 800_000, 20_000],
            ("request", Slow, "first byte p50 700 ms, max 900 ms of 5"),
            "",
        ),
        case(
            "401",
            |facts| request(facts).status = Some(401),
            ("request", Broken, "401, and go has no credentials"),
            "(umask 077; ${EDITOR:-vi} ~/.netrc)",
        ),
        case(
            "401 with credentials",
            |facts| {
                request(facts).status = Some(401);
                facts.hosts[0].places[0].has_credentials = true;
            },
            ("request", Broken, "401: the credentials are refused"),
            "",
        ),
        case(
            "a proxy without that module",
            |facts| request(facts).status = Some(404),
            ("request", Ok, "the next entry is asked"),
            "",
        ),
        case(
            "503",
            |facts| request(facts).status = Some(503),
            ("request", Broken, "503"),
            "go env -w GOPROXY='https://proxy.golang.org|direct'",
        ),
        case(
            "supported fails",
            |facts| facts.hosts[0].places[0].supported.as_mut().unwrap().status = Some(500),
            ("sumdb-supported", Broken, "500 in 20 ms"),
            "",
        ),
        case(
            "the checksum database is dead",
            |facts| unreachable(&mut facts.hosts[1], Step::Tcp, "no connection"),
            ("request", Ok, "first byte"),
            "go env -w GOSUMDB=sum.golang.google.cn",
        ),
        case(
            "the clock is behind",
            |facts| {
                for host in &mut facts.hosts {
                    host.places[0].request.as_mut().unwrap().skew_s = Some(7_200);
                }
            },
            ("clock", Broken, "2h00m behind"),
            "",
        ),
        case(
            "one server's clock is wrong",
            |facts| request(facts).skew_s = Some(-7_200),
            ("clock", Ok, "0 s from sum.golang.org's"),
            "",
        ),
        case(
            "a stored answer is all that there is",
            |facts| {
                request(facts).skew_s = Some(-7_200);
                facts.hosts[1].places[0].request.as_mut().unwrap().skew_s = None;
            },
            ("clock", Ok, "may be that of a stored answer"),
            "",
        ),
        case(
            "the cache cannot be written",
            |facts| facts.cache.write_error = Some(String::from("Permission denied")),
            (
                "module-cache",
                Broken,
                "cannot be written: Permission denied",
            ),
            "go env -w GOMODCACHE=/home/ana/.cache/gomodcache",
        ),
        case(
            "the disk is full",
            |facts| facts.cache.free_bytes = Some(50_000_000),
            ("space", Broken, "50 MB free"),
            "go clean -modcache",
        ),
        case(
            "the disk is nearly full",
            |facts| facts.cache.free_bytes = Some(500_000_000),
            ("space", Slow, "500 MB free"),
            "",
        ),
        case(
            "a network's file system",
            |facts| {
                facts.cache.file_system = Some(String::from("nfs4"));
                facts.cache.is_remote = true;
            },
            ("file-system", Slow, "nfs4, over a network"),
            "go env -w GOMODCACHE=/home/ana/.cache/gomodcache",
        ),
        case(
            "a lock",
            |facts| {
                facts.cache.locks = Some(vec![Lock {
                    file: String::from("cache/lock"),
                    pid: 4121,
                    command: String::from("go build ./..."),
                }]);
            },
            (
                "locks",
                Slow,
                "cache/lock is held by pid 4121 (go build ./...)",
            ),
            "",
        ),
        case(
            "netrc with a port",
            |facts| {
                facts.netrc = NetrcFile {
                    path: Some(String::from("/home/ana/.netrc")),
                    exists: true,
                    mistakes: vec![MachineMistake {
                        machine: String::from("proxy.golang.org:443"),
                        expected: String::from("proxy.golang.org"),
                    }],
                    ..NetrcFile::default()
                };
                request(facts).status = Some(401);
            },
            ("netrc", Broken, "go looks for `machine proxy.golang.org`"),
            "sed -i 's|machine proxy.golang.org:443 |machine proxy.golang.org |' /home/ana/.netrc",
        ),
        case(
            "netrc whose machine stands behind default",
            |facts| {
                facts.netrc = NetrcFile {
                    path: Some(String::from("/home/ana/.netrc")),
                    exists: true,
                    has_default: true,
                    unread: vec![String::from("proxy.golang.org")],
                    ..NetrcFile::default()
                };
                request(facts).status = Some(401);
            },
            ("netrc", Broken, "never reached"),
            "${EDITOR:-vi} /home/ana/.netrc",
        ),
        case(
            "a list with another separator",
            |facts| set(facts, "GOPROXY", "https://proxy.golang.org;direct"),
            ("setting", Broken, "another separator"),
            "go env -w GOPROXY=https://proxy.golang.org,direct",
        ),
        case(
            "an empty entry",
            |facts| set(facts, "GOPROXY", "https://proxy.golang.org,,direct"),
            ("setting", Ok, "is empty: go passes it over"),
            "",
        ),
        case(
            "a part of the module cache that root owns",
            |facts| {
                facts.cache.forbidden = Some(Forbidden {
                    path: String::from("/home/ana/go/pkg/mod/cache/download/rsc.io"),
                    owner: 0,
                    is_own: false,
                });
            },
            (
                "module-cache",
                Broken,
                "belongs to root, as `sudo go` leaves it",
            ),
            r#"sudo chown -R "$(id -u):$(id -g)" /home/ana/go/pkg/mod"#,
        ),
        case(
            "a module cache of another user's",
            |facts| {
                facts.cache.write_error = Some(String::from("Permission denied"));
                facts.cache.forbidden = Some(Forbidden {
                    path: String::from("/home/ana/go/pkg/mod"),
                    owner: 1001,
                    is_own: false,
                });
            },
            ("module-cache", Broken, "cannot be written"),
            "go env -w GOMODCACHE=/home/ana/.cache/gomodcache",
        ),
        case(
            "a part of the module cache whose mode forbids it",
            |facts| {
                facts.cache.forbidden = Some(Forbidden {
                    path: String::from("/home/ana/go/pkg/mod/cache"),
                    owner: 1000,
                    is_own: true,
                });
            },
            ("module-cache", Broken, "its mode does not allow it"),
            "chmod u+rwX /home/ana/go/pkg/mod/cache",
        ),
        case(
            "netrc that others can read",
            |facts| {
                facts.netrc = NetrcFile {
                    path: Some(String::from("/home/ana/.netrc")),
                    exists: true,
                    machines: 1,
                    is_open: true,
                    ..NetrcFile::default()
                };
            },
            ("netrc", Ok, "1 machine, and others can read it"),
            "",
        ),
        case(
            "a folder that is not there",
            |facts| {
                facts.folders = vec![Folder {
                    url: String::from("file:///srv"),
                    error: Some(String::from("No such file")),
                }];
            },
            ("folder", Broken, "No such file"),
            "",
        ),
    ];
    let mut wrong = Vec::new();
    for case in cases {
        let mut facts = well();
        (case.change)(&mut facts);
        let report = report(&facts);
        let is_it = |row: &&Row| {
            row.check == case.check && row.state == case.state && row.text.contains(case.text)
        };
        if !report.rows.iter().any(|row| is_it(&row)) {
            let rows: Vec<_> = report
                .rows
                .iter()
                .filter(|row| row.check == case.check)
                .collect();
            wrong.push(format!("{}: {rows:#?}", case.name));
        }
        let line = report.advice.as_ref().map_or("", |advice| &advice.command);
        if line != case.line {
            wrong.push(format!("{}: {:?}", case.name, report.advice));
        }
        if report.advice.is_some_and(|advice| advice.reason.is_empty()) {
            wrong.push(format!("{}: no reason", case.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A second proxy behind the first.
fn with_mirror(facts: &mut Facts, list: &str) {
    set(facts, "GOPROXY", list);
    facts.hosts.insert(1, host("goproxy.cn", Role::Proxy(1)));
}

fn line(facts: &Facts) -> String {
    report(facts)
        .advice
        .map_or_else(String::new, |advice| advice.command)
}

#[test]
fn a_dead_entry_goes_and_a_slow_one_goes_behind() {
    let mut facts = well();
    with_mirror(
        &mut facts,
        "https://proxy.golang.org|https://goproxy.cn,direct",
    );
    assert_eq!(line(&facts), "");
    request(&mut facts).first_byte_us = vec![900_000; 5];
    let swapped = "go env -w GOPROXY='https://goproxy.cn|https://proxy.golang.org,direct'";
    assert_eq!(line(&facts), swapped);
    // The second entry has not what the first has.
    facts.hosts[1].places[0].request.as_mut().unwrap().status = Some(404);
    assert_eq!(line(&facts), "");
    unreachable(&mut facts.hosts[0], Step::Tcp, "no connection");
    assert_eq!(line(&facts), "go env -w GOPROXY=https://goproxy.cn,direct");
    let reason = report(&facts).advice.unwrap().reason;
    assert!(reason.contains("each request waits for it"), "{reason}");
}

#[test]
fn a_database_that_a_proxy_relays_need_not_be_reached() {
    let mut facts = well();
    unreachable(&mut facts.hosts[1], Step::Tcp, "no connection");
    facts.hosts[1].tcp[0].error = Some(String::from("no answer"));
    facts.hosts[1].tcp[1].error = Some(String::from("no answer"));
    assert!(report(&facts).is_broken());
    facts.hosts[0].places[0].supported.as_mut().unwrap().status = Some(200);
    let judged = report(&facts);
    assert!(!judged.is_broken(), "{judged:#?}");
    assert_eq!(judged.advice, None);
    let said = "a module proxy relays the database";
    assert!(
        judged.rows.iter().any(|row| row.text.contains(said)),
        "{judged:#?}"
    );
    // With a URL of its own in GOSUMDB go asks no proxy for it.
    set(&mut facts, "GOSUMDB", "sum.golang.org https://sums.corp");
    assert!(report(&facts).is_broken());
}

#[test]
fn no_setting_helps_a_machine_without_a_network() {
    let mut facts = well();
    for host in &mut facts.hosts {
        unreachable(host, Step::Lookup, "cannot resolve");
    }
    assert_eq!(line(&facts), "");
    // Names that are resolved and lead nowhere are another matter.
    for host in &mut facts.hosts {
        unreachable(host, Step::Tcp, "no connection");
    }
    assert_eq!(line(&facts), "go env -w GOPROXY=https://goproxy.cn,direct");
}

#[test]
fn two_hosts_behind_one_parent_proxy_share_its_rows() {
    let mut facts = well();
    for host in &mut facts.hosts {
        host.via = Some(String::from("http://proxy.corp:3128"));
        host.lookup.as_mut().unwrap().name = String::from("proxy.corp");
    }
    facts.hosts[1].tcp[0].took_us = 700_000;
    let rows = report(&facts).rows;
    let of = |check: &str| {
        rows.iter()
            .filter(|row| row.check == check)
            .collect::<Vec<_>>()
    };
    assert_eq!((of("dns").len(), of("tcp4").len()), (1, 1));
    assert_eq!(of("tcp4")[0].state, State::Slow);
    assert_eq!(of("parent-proxy").len(), 1);
}

/// What is broken and no setting mends always leads on.
#[test]
fn where_no_setting_helps_the_next_step_is_named() {
    fn corp(facts: &mut Facts) -> &mut Host {
        &mut facts.hosts[0]
    }
    let leads = |name: &str, change: fn(&mut Facts), said: &str| {
        let mut facts = well();
        set(&mut facts, "GOPROXY", "https://goproxy.corp");
        set(&mut facts, "GOSUMDB", "off");
        facts.hosts = vec![host("goproxy.corp", Role::Proxy(0))];
        change(&mut facts);
        let report = report(&facts);
        let is_dead_end = !report.is_broken() || report.advice.is_some();
        assert!(!is_dead_end, "{name}: {report:#?}");
        let next = report.next.unwrap_or_default();
        assert!(next.contains(said), "{name}: {next}");
    };
    leads(
        "no go",
        |facts| facts.go.missing = Some(String::from("gone")),
        "https://go.dev/dl/",
    );
    leads(
        "off",
        |facts| set(facts, "GOPROXY", "off"),
        "`go env -u GOPROXY`",
    );
    leads(
        "key",
        |facts| set(facts, "GOSUMDB", "sums.corp"),
        "NAME+HASH+KEY",
    );
    leads(
        "offline",
        |facts| {
            unreachable(corp(facts), Step::Lookup, "cannot resolve");
            corp(facts).lookup.as_mut().unwrap().error = Some(String::from("gone"));
        },
        "no name can be looked up",
    );
    leads(
        "tcp",
        |facts| {
            unreachable(corp(facts), Step::Tcp, "no connection");
            corp(facts)
                .tcp
                .iter_mut()
                .for_each(|tcp| tcp.error = Some(String::from("dead")));
        },
        "connect to goproxy.corp:443 by TCP",
    );
    leads(
        "expired",
        |facts| distrusted(facts, Verdict::Expired, "it has expired"),
        "the clock of this machine",
    );
    leads(
        "another name",
        |facts| distrusted(facts, Verdict::WrongName, "it is not for the name"),
        "getent hosts goproxy.corp",
    );
    leads(
        "silent",
        |facts| {
            let small = small(facts);
            (small.error, small.certificate) = (Some(String::from("nothing")), None);
            (corp(facts).large, corp(facts).places[0].request) = (None, None);
        },
        "this network's firewall",
    );
    leads(
        "500",
        |facts| request(facts).status = Some(500),
        "curl -sSi https://goproxy.corp/x",
    );
    leads(
        "clock",
        |facts| {
            for host in &mut facts.hosts {
                host.places[0].request.as_mut().unwrap().skew_s = Some(9_999);
            }
        },
        "set-ntp",
    );
    leads(
        "netrc",
        |facts| {
            facts.netrc = NetrcFile {
                path: Some(String::from("/home/ana/.netrc")),
                exists: true,
                error: Some(String::from("it is a pipe, not a file")),
                ..NetrcFile::default()
            };
        },
        "mend the line in /home/ana/.netrc",
    );
    assert_eq!(report(&well()).next, None);
}

#[test]
fn an_exception_from_the_proxy_is_added_to_those_that_there_are() {
    let refused = |origin| {
        let mut facts = well();
        let host = &mut facts.hosts[0];
        host.via = Some(String::from("http://proxy.corp:3128"));
        let is_unauthorized = false;
        unreachable(host, Step::Parent { is_unauthorized }, "answered 403");
        facts
            .go
            .settings
            .retain(|setting| setting.name != "NO_PROXY");
        facts.go.settings.push(Setting {
            name: "NO_PROXY",
            value: String::from("a.example"),
            origin,
        });
        line(&facts)
    };
    let spelled = |name: &str| refused(Origin::Environment(name.to_owned()));
    let list = "a.example,proxy.golang.org";
    assert_eq!(spelled("NO_PROXY"), format!("export NO_PROXY={list}"));
    assert_eq!(spelled("no_proxy"), format!("export no_proxy={list}"));
}

#[test]
fn no_advice_weakens_the_checks() {
    let mut facts = well();
    distrusted(&mut facts, Verdict::UnknownIssuer, "unknown issuer");
    unreachable(&mut facts.hosts[1], Step::Tcp, "no connection");
    let told = format!("{:?}", report(&facts));
    for weak in ["GOSUMDB=off", "GOINSECURE", "-insecure", "GONOSUMDB"] {
        assert!(!told.contains(weak), "{told}");
    }
}

/// Two entries, of which one is a company's own.
fn with_own(list: &str, own: usize) -> Facts {
    let mut facts = well();
    set(&mut facts, "GOPROXY", list);
    let other = host("goproxy.cn", Role::Proxy(1 - own));
    let own = host("goproxy.corp.example", Role::Proxy(own));
    facts.hosts = vec![own, other, host("sum.golang.org", Role::Sumdb)];
    facts
}

#[test]
fn no_advice_tells_private_modules_to_a_public_host() {
    const OWN: &str = "https://goproxy.corp.example";
    for separator in [',', '|'] {
        let list = format!("{OWN}{separator}https://goproxy.cn,direct");
        // Slow.
        let mut facts = with_own(&list, 0);
        request(&mut facts).first_byte_us = vec![900_000; 5];
        assert_eq!(line(&facts), "", "{list}");
        // An error, which a comma ends the search at.
        let mut facts = with_own(&list, 0);
        request(&mut facts).status = Some(503);
        assert_eq!(line(&facts), "", "{list}");
        let next = report(&facts).next.unwrap_or_default();
        assert!(next.contains("ask who runs goproxy.corp.example"), "{next}");
        // The VPN is off, and the database is out of reach as well.
        let mut facts = with_own(&list, 0);
        unreachable(&mut facts.hosts[0], Step::Tcp, "no connection");
        facts.hosts[0].tcp[0].error = Some(String::from("no answer"));
        facts.hosts[0].tcp.truncate(1);
        unreachable(&mut facts.hosts[2], Step::Tcp, "no connection");
        assert_eq!(line(&facts), "", "{list}");
        let next = report(&facts).next.unwrap_or_default();
        assert!(next.starts_with("connect the VPN"), "{next}");
    }
    for list in [format!("{OWN},direct"), OWN.to_owned()] {
        let mut facts = with_own(&list, 0);
        facts.hosts.remove(1);
        unreachable(&mut facts.hosts[0], Step::Tcp, "no connection");
        assert_eq!(line(&facts), "", "{list}");
    }
    // One that is asked behind a public one is not moved before it.
    let mut facts = with_own(&format!("https://goproxy.cn|{OWN}"), 1);
    facts.hosts[1].places[0]
        .request
        .as_mut()
        .unwrap()
        .first_byte_us = vec![900_000; 5];
    assert_eq!(line(&facts), "");
    // A public one that is dead goes, whatever stands behind it.
    unreachable(&mut facts.hosts[1], Step::Tcp, "no connection");
    assert_eq!(line(&facts), format!("go env -w GOPROXY={OWN}"));
}

#[test]
fn another_place_for_the_module_cache_is_one_that_nobody_else_can_make() {
    let mut facts = well();
    facts.cache.elsewhere = None;
    facts.cache.write_error = Some(String::from("Read-only file system"));
    let expected = r#"go env -w GOMODCACHE="$(mktemp -d /var/tmp/gomodcache.XXXXXXXXXX)""#;
    assert_eq!(line(&facts), expected);
}

#[test]
fn a_database_that_go_never_asks_need_not_be_reached() {
    let is_broken = |change: fn(&mut Facts)| {
        let mut facts = well();
        let dead = facts.hosts.last_mut().unwrap();
        unreachable(dead, Step::Tcp, "no connection");
        dead.tcp
            .iter_mut()
            .for_each(|tcp| tcp.error = Some(String::from("no answer")));
        change(&mut facts);
        let report = report(&facts);
        let mut rows = report.rows.iter();
        rows.any(|row| row.subject == "sum.golang.org" && row.state == State::Broken)
    };
    assert!(is_broken(|_| {}));
    assert!(is_broken(|facts| set(facts, "GONOSUMDB", "*.corp.example")));
    assert!(!is_broken(|facts| set(facts, "GONOSUMDB", "a.example,*")));
    assert!(!is_broken(|facts| {
        set(facts, "GOPROXY", "off");
        facts.hosts.remove(0);
    }));
    // A dead entry, and one that relays the database behind it.
    fn relayed(facts: &mut Facts, list: &str) {
        with_mirror(facts, list);
        unreachable(&mut facts.hosts[0], Step::Tcp, "no connection");
        facts.hosts[1].places[0].supported.as_mut().unwrap().status = Some(200);
    }
    assert!(!is_broken(|facts| {
        relayed(facts, "https://proxy.golang.org|https://goproxy.cn")
    }));
    assert!(is_broken(|facts| {
        relayed(facts, "https://proxy.golang.org,https://goproxy.cn")
    }));
}

#[test]
fn a_proxy_that_may_not_serve_one_module_is_no_broken_one() {
    let mut facts = well();
    request(&mut facts).status = Some(403);
    assert!(report(&facts).is_broken());
    facts.hosts[0].places[0].supported.as_mut().unwrap().status = Some(200);
    let report = report(&facts);
    assert!(!report.is_broken(), "{report:#?}");
    let said = "does not serve golang.org/x/text";
    assert!(report.rows.iter().any(|row| row.text.contains(said)));
}

#[test]
fn a_name_that_was_never_looked_up_says_nothing_of_the_resolvers() {
    let next = |is_looked_up: bool| {
        let mut facts = well();
        set(&mut facts, "GOPROXY", "https://goproxy.corp.example");
        let mut own = host("goproxy.corp.example", Role::Proxy(0));
        unreachable(&mut own, Step::Lookup, "cannot resolve");
        own.lookup.as_mut().unwrap().error = Some(String::from("gone"));
        facts.hosts[0] = own;
        if !is_looked_up {
            facts.hosts[1].lookup = None;
        }
        report(&facts).next.unwrap_or_default()
    };
    assert!(next(true).starts_with("other names can be looked up"));
    assert!(next(false).starts_with("check the spelling"));
}
