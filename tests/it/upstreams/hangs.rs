//! A hang at each step on the way to an answer: it is told while it lasts, with whom it waits for,
//! and when `--timeout` or Ctrl-C cuts it off, that is what is told, and not that the client left.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use modtape::proxy::Deadlines;
use modtape::recording::Recording;
use modtape::upstream::Limits;
use rustix::process::Signal;

use super::*;

/// What a client waits for in vain.
struct Hang {
    name: &'static str,
    flags: Vec<String>,
    /// What the stall line says of it.
    told: String,
    /// What the list of what was in flight says of it.
    listed: &'static str,
    /// The address of whoever is silent.
    address: SocketAddr,
    /// False if there was a request.
    is_dial: bool,
    _upstream: Box<dyn Send + Sync>,
}

const FOREVER: Duration = Duration::from_secs(3600);

/// Nobody answers the first packet.
fn blackhole() -> Hang {
    let dead = Blackhole::start();
    let address = dead.addr();
    Hang {
        name: "TCP",
        flags: vec![format!("--connect-to=::{address}")],
        told: format!("{HOST} ({address}) does not answer TCP: no connection for "),
        listed: "connecting",
        address,
        is_dial: true,
        _upstream: Box::new(dead),
    }
}

/// A parent proxy takes the connection, and says nothing to CONNECT.
fn parent() -> Hang {
    let origin = Origin::start(marked());
    let parent = ParentProxy::http(origin.addr()).delay(FOREVER).start();
    let (address, url) = (parent.addr(), parent.url());
    Hang {
        name: "parent proxy",
        flags: vec![format!("--upstream-proxy={url}")],
        told: format!(
            "parent proxy {url} takes connections but does not answer CONNECT {HOST} for "
        ),
        listed: "connecting",
        address,
        is_dial: true,
        _upstream: Box::new((origin, parent)),
    }
}

/// What goes to an origin, trusted or not.
fn hang_of(name: &'static str, origin: Origin, told: &str, listed: &'static str) -> Hang {
    let address = origin.addr();
    let root = origin.root_pem_path().display().to_string();
    let everywhere = format!("--connect-to=::{address}");
    Hang {
        name,
        flags: vec![everywhere, String::from("--upstream-ca"), root],
        told: told.replace("ADDR", &address.to_string()),
        listed,
        address,
        is_dial: listed == "TLS handshake",
        _upstream: Box::new(origin),
    }
}

fn tls() -> Hang {
    let silent = Handshake::any().silent();
    let origin = Origin::builder(marked()).handshake(silent).start();
    let told = format!(
        "{HOST} (ADDR) takes connections but does not answer: TCP done, no TLS handshake for "
    );
    hang_of("TLS", origin, &told, "TLS handshake")
}

fn answer() -> Hang {
    let origin = Origin::builder(marked()).rule(Rule::any().silent()).start();
    let told = format!(
        "{HOST} (ADDR) takes connections but sends nothing: TCP and TLS done, no response header for "
    );
    hang_of("answer", origin, &told, "waiting headers")
}

/// The body stops half-way.
fn body() -> Hang {
    let rule = Rule::any().generated(100_000).stall_after(50_000);
    let origin = Origin::builder(marked()).rule(rule).start();
    let told =
        format!("the response of {HOST} (ADDR) stopped after 50.0 kB of 100 kB: no data for ");
    hang_of("body", origin, &told, "receiving")
}

const URL: &str = "https://proxy.golang.org/a";

fn recording(sandbox: &Sandbox, hang: &Hang, flags: &[&str]) -> std::process::Command {
    let mut modtape = sandbox.modtape(["record", "-o", "one"]);
    if !flags.contains(&"--stall-after") {
        modtape.args(["--stall-after", "100ms"]);
    }
    modtape.args(flags).args(&hang.flags);
    modtape.args(["--", "curl", "-s", URL]);
    modtape
}

/// Why what hung ended, as the recording has it.
fn why(sandbox: &Sandbox, hang: &Hang) -> String {
    let recording = Recording::open(&sandbox.join("recordings/one")).expect("it opens");
    if hang.is_dial {
        let row = recording.connection(1).expect("there was a connection");
        let opened = row.opened.as_ref().expect("it is told");
        return opened.error.clone().unwrap_or_default();
    }
    let exchanges = exchanges(&recording);
    let Some(Ending::Aborted(abort)) = exchanges.first().map(|exchange| &exchange.ending) else {
        panic!("{}: {exchanges:?}", hang.name)
    };
    abort.why.clone()
}

/// What is wrong with what was said of a hang.
fn complaints(sandbox: &Sandbox, hang: &Hang, by: &str, stderr: &str) -> Vec<String> {
    let has = |what: &str| stderr.lines().any(|line| line.contains(what));
    let mut wrong = Vec::new();
    if !has("still waiting: ") || !has(&hang.told) {
        wrong.push(format!("no stall of {:?}", hang.told));
    }
    let in_list = |line: &str| line.starts_with("  ") && line.contains(hang.listed);
    if !stderr
        .lines()
        .any(|line| in_list(line) && line.contains(HOST))
    {
        wrong.push(format!("nothing in flight is {:?}", hang.listed));
    }
    let cut = format!("cut off by {by}");
    let why = why(sandbox, hang);
    if !why.starts_with(&cut) {
        wrong.push(format!("recorded as {why:?}, not {cut:?}"));
    }
    if stderr.contains("gave up") || stderr.contains("went away") {
        wrong.push(String::from("the client is blamed"));
    }
    if hang.is_dial {
        let time = |line: &str| {
            line.starts_with("  connecting (DNS+TCP+TLS)")
                && line.contains(&hang.address.to_string())
        };
        if !stderr.lines().any(time) {
            wrong.push(format!("no time of {}", hang.address));
        }
        let is_finding = |line: &str| line.starts_with("problem: ") && line.contains(HOST);
        if !stderr.lines().any(is_finding) {
            wrong.push(String::from("no reason"));
        }
    }
    let of = |what| format!("{}: {what}", hang.name);
    let mut wrong: Vec<_> = wrong.into_iter().map(of).collect();
    if !wrong.is_empty() {
        wrong.push(stderr.to_owned());
    }
    wrong
}

fn each(judge: impl Fn(&Sandbox, &Hang) -> Vec<String> + Sync) {
    let hangs = [blackhole(), parent(), tls(), answer(), body()];
    let wrong: Vec<String> = thread::scope(|scope| {
        let judges = hangs.each_ref().map(|hang| {
            let judge = &judge;
            scope.spawn(move || judge(&Sandbox::new(), hang))
        });
        let judged = judges.into_iter();
        judged
            .flat_map(|judge| judge.join().expect("no panic"))
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_timeout_that_ends_a_hang_says_so_and_where_it_hung() {
    each(|sandbox, hang| {
        let flags = ["--timeout", "3s"];
        let output = run(recording(sandbox, hang, &flags), LIMIT);
        assert_eq!(output.status.code(), Some(124), "{}", output.stderr);
        complaints(sandbox, hang, "--timeout 3s", &output.stderr)
    });
}

#[test]
fn a_ctrl_c_in_a_hang_says_so_and_where_it_hung() {
    each(|sandbox, hang| {
        let modtape = Spawned::start(recording(sandbox, hang, &[]));
        modtape.wait_for_stderr(&hang.told);
        modtape.signal(Signal::INT);
        let output = modtape.end();
        complaints(sandbox, hang, "Ctrl-C", &output.stderr)
    });
}

/// The code at the end of the stall line.
fn code_of(stderr: &str) -> Option<&str> {
    let line = stderr
        .lines()
        .find(|line| line.contains("still waiting: "))?;
    line.rsplit_once('[')?.1.strip_suffix(']')
}

#[test]
fn what_is_told_in_a_hang_is_what_a_report_tells_after_it() {
    each(|sandbox, hang| {
        // A report passes over what is shorter.
        let modtape = recording(sandbox, hang, &["--stall-after", "1s"]);
        let modtape = Spawned::start(modtape);
        let stderr = modtape.wait_for_stderr(&hang.told);
        modtape.signal(Signal::KILL);
        modtape.end();
        let report = sandbox.modtape(["report", "one", "--format", "json"]);
        let report = run(report, LIMIT).expect_success().stdout;
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        let found = report["findings"][0]["code"].as_str();
        // Afterwards the settings make it the more specific cause: a comma keeps go from falling back.
        let is_comma = (code_of(&stderr), found) == (Some("MT106"), Some("MT111"));
        if is_comma || code_of(&stderr).is_some_and(|told| found == Some(told)) {
            return Vec::new();
        }
        vec![format!("{}: {found:?} in {report}\n{stderr}", hang.name)]
    });
}

#[test]
fn a_recorder_that_is_killed_in_a_hang_leaves_on_record_what_hung() {
    each(|sandbox, hang| {
        let modtape = Spawned::start(recording(sandbox, hang, &[]));
        modtape.wait_for_stderr(&hang.told);
        modtape.signal(Signal::KILL);
        modtape.end();
        let recording = Recording::open(&sandbox.join("recordings/one")).expect("it opens");
        let [stalled] = recording.stalls() else {
            return vec![format!("{}: {:?}", hang.name, recording.stalls())];
        };
        let stall = &stalled.stall;
        let is_dial = stall.id.is_none();
        let target = is_dial.then(|| format!("{HOST}:443"));
        let mut wrong = Vec::new();
        if (is_dial, stall.connection) != (hang.is_dial, 1) || stall.target != target {
            wrong.push(format!("{}: of another: {stall:?}", hang.name));
        }
        if stall.address != Some(hang.address.to_string()) || stall.silent_us < 100_000 {
            wrong.push(format!("{}: {stall:?}", hang.name));
        }
        let ls = run(sandbox.modtape(["ls", "one"]), LIMIT).expect_success();
        let is_listed = ls.stdout.contains("in flight");
        if is_listed == hang.is_dial {
            wrong.push(format!("{}: {}", hang.name, ls.stdout));
        }
        if !hang.is_dial {
            let shown = run(sandbox.modtape(["show", "1", "one"]), LIMIT).expect_success();
            let silence = shown.stdout.lines().find(|line| line.contains("silence "));
            if !silence.is_some_and(|line| line.contains("not over")) {
                wrong.push(format!("{}: {}", hang.name, shown.stdout));
            }
        }
        wrong
    });
}

#[test]
fn a_plain_dial_that_hangs_is_told_afterwards_too() {
    for signal in [Signal::KILL, Signal::INT] {
        let (sandbox, dead) = (Sandbox::new(), Blackhole::start());
        let everywhere = format!("--connect-to=::{}", dead.addr());
        let mut modtape = sandbox.modtape(["record", "-o", "one", "--stall-after", "1s"]);
        modtape.arg(everywhere);
        modtape.args(["--", "curl", "-s", "http://plain.example/a"]);
        let modtape = Spawned::start(modtape);
        modtape.wait_for_stderr("plain.example");
        modtape.signal(signal);
        modtape.end();
        let report = sandbox.modtape(["report", "one", "--format", "json"]);
        let report = run(report, LIMIT).expect_success().stdout;
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        let first = &report["findings"][0];
        assert_eq!(first["code"], "MT106", "{signal:?}: {report}");
        let title = first["title"].as_str().unwrap_or_default();
        let address = dead.addr().to_string();
        assert!(
            title.starts_with("plain.example cannot be reached"),
            "{title}"
        );
        assert!(title.contains(&address), "{title}");
    }
}

#[test]
fn a_resolver_that_does_not_answer_is_told_while_a_name_is_looked_up() {
    let name =
        "upstreams::hangs::a_resolver_that_does_not_answer_is_told_while_a_name_is_looked_up";
    alone(name, || {
        let _silent = UdpSocket::bind("127.0.0.1:53").expect("a network of our own");
        let sandbox = Sandbox::new();
        let resolv = sandbox.join("resolv.conf");
        let nameserver = "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n";
        std::fs::write(&resolv, nameserver).expect("our own folder");
        let mount = program("mount")
            .arg("--bind")
            .arg(&resolv)
            .arg("/etc/resolv.conf")
            .status();
        assert!(mount.is_ok_and(|status| status.success()));
        let flags = [
            "record",
            "-o",
            "one",
            "--stall-after",
            "1s",
            "--",
            "curl",
            "-s",
            URL,
        ];
        let modtape = Spawned::start(sandbox.modtape(flags));
        let stderr = modtape.wait_for_stderr("[MT102]");
        let told =
            format!("still waiting: the name lookup of {HOST} has no answer for 1 s [MT102]");
        assert!(stderr.contains(&told), "{stderr}");
        let status = run(sandbox.modtape(["status"]), LIMIT)
            .expect_success()
            .stdout;
        assert!(status.contains("resolving"), "{status}");
        assert!(
            status.contains(&format!(
                "  - see whether the resolver answers: getent hosts {HOST}"
            )),
            "{status}"
        );
    });
}

#[test]
fn a_silence_inside_a_body_that_went_on_leaves_its_trace() {
    let pause = Duration::from_millis(1_500);
    let rule = Rule::any().generated(20_000).trickle(10_000, pause);
    let origin = Origin::builder(marked()).rule(rule).start();
    let hang = hang_of("trickle", origin, "", "receiving");
    let sandbox = Sandbox::new();
    let output = run(recording(&sandbox, &hang, &[]), LIMIT).expect_success();
    assert!(
        output
            .stderr
            .contains(" stopped after 10.0 kB of 20.0 kB: no data for "),
        "{}",
        output.stderr
    );
    let recording = Recording::open(&sandbox.join("recordings/one")).expect("it opens");
    let exchanges = exchanges(&recording);
    let end = exchanges[0].end().expect("a whole answer");
    // A busy machine may send later, and never sooner.
    let silent_us = end.longest_silence_us.expect("it was a long one");
    assert!(silent_us >= 1_400_000, "{silent_us}");
    let [stalled] = recording.stalls() else {
        panic!("{:?}", recording.stalls())
    };
    let stall = &stalled.stall;
    assert_eq!(
        (stall.id, stall.phase, stall.is_over),
        (Some(1), Phase::Receive, true)
    );
    assert_eq!((stall.silent_us, stall.body_bytes), (silent_us, 10_000));
    let shown = run(sandbox.modtape(["show", "1", "one"]), LIMIT)
        .expect_success()
        .stdout;
    for part in [
        " in phase receive since ",
        ", then something came",
        "the longest silence of the upstream",
    ] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
}

/// Packets to this port are lost from now on; whether they are.
fn lose_packets_to(port: u16) -> bool {
    let rules = format!(
        "add table inet lost; add chain inet lost arriving {{ type filter hook input priority 0; }}; \
         add rule inet lost arriving tcp dport {port} drop"
    );
    let nft = program("nft").arg(rules).status();
    nft.is_ok_and(|status| status.success())
}

#[test]
fn a_connection_whose_packets_are_lost_is_dead_and_no_silent_server() {
    let name = "upstreams::hangs::a_connection_whose_packets_are_lost_is_dead_and_no_silent_server";
    alone(name, || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let silent = Rule::suffix("/b").silent();
            let origin = Origin::builder(marked()).rule(silent).start();
            let sandbox = Sandbox::new();
            let mut modtape = sandbox.modtape(["record", "-o", "one", "--stall-after", "1s"]);
            modtape.arg(format!("--connect-to=::{}", origin.addr()));
            modtape.arg("--upstream-ca").arg(origin.root_pem_path());
            modtape.args(["--", "/bin/sh", "-c", TELLS]);
            let (modtape, proxy, root) = Spawned::proxy(modtape, &sandbox);
            for (asked, told, code) in [
                ("/b", "although its TCP acknowledges the request", "MT101"),
                ("/a", "that were sent: it is dead", "MT108"),
            ] {
                let hello = Hello::new(HOST, &root).alpn(Alpn::Http2);
                let mut session = Client::session(proxy, &hello).await;
                session.get("/a").await.expect("an answer");
                if code == "MT108" && !lose_packets_to(origin.addr().port()) {
                    return skipped("no packet filter here (nft)");
                }
                let request = session.request(asked);
                let mut waits = tokio::task::JoinSet::new();
                waits.spawn(async move { session.start(request).await.is_ok() });
                let said = tokio::task::block_in_place(|| modtape.wait_for_stderr(told));
                assert!(
                    said.contains(&format!("{told} ({asked}) [{code}]")),
                    "{said}"
                );
                let status = || run(sandbox.modtape(["status"]), LIMIT).expect_success();
                let status = tokio::task::block_in_place(status).stdout;
                assert!(status.contains(&format!("{told} [{code}]")), "{status}");
                waits.shutdown().await;
            }
        });
    });
}

#[test]
fn a_timeout_is_one_line_to_who_wants_to_hear_of_errors_only() {
    let (sandbox, hang) = (Sandbox::new(), answer());
    let output = run(
        recording(&sandbox, &hang, &["--timeout", "2s", "-q"]),
        LIMIT,
    );
    assert_eq!(output.status.code(), Some(124), "{}", output.stderr);
    let expected = "warning: ended by --timeout 2s, with 1 request in flight\n";
    assert_eq!(output.stderr, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_the_upstreams_handshake_ends_it() {
    let silent = Handshake::any().silent();
    let origin = Origin::builder(marked()).handshake(silent).start();
    // Nothing but the client's end may end the handshake.
    let limits = Limits {
        connect: FOREVER,
        tls: FOREVER,
    };
    let upstream = (origin.addr(), origin.root());
    let mut inside = Inside::start(HOST, upstream, Deadlines::default(), limits).await;
    let client = Client::open(inside.proxy).await;
    let mut client = client.connect(&format!("{HOST}:443"), &[]).await.client;
    let hello = inside.hello(HOST).bytes();
    client.send(hello).await.expect("the tunnel takes it");
    let is_waiting = |log: &Log| log.connections.iter().any(|seen| seen.sni.is_some());
    origin.wait_for(is_waiting, LIMIT);
    drop(client);
    origin.wait_for(|log| log.connections[0].is_closed, LIMIT);
    let recording = inside.finish().await;
    let row = recording.connection(1).expect("it is on record");
    let opened = row.opened.as_ref().expect("it is told");
    let error = opened.error.as_deref().unwrap_or_default();
    let expected = format!("the client gave up while {HOST} was shaking hands");
    assert!(error.starts_with(&expected), "{opened:?}");
    assert!(
        opened.tls_us.is_some() && opened.is_the_clients(),
        "{opened:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_still_being_made_when_the_command_ended_is_no_failure() {
    let silent = Handshake::host("sum.golang.org").silent();
    let origin = Origin::builder(marked()).handshake(silent).start();
    let recorder = Recorder::to(&origin, &[]);
    let mut session = session(&recorder, Alpn::Http1).await;
    session.get("/a").await.expect("an answer");
    let client = Client::open(recorder.proxy()).await;
    let mut client = client.connect("sum.golang.org:443", &[]).await.client;
    let hello = recorder.hello("sum.golang.org").bytes();
    client.send(hello).await.expect("the tunnel takes it");
    let is_waiting = |log: &Log| {
        let mut named = log
            .connections
            .iter()
            .filter_map(|seen| seen.sni.as_deref());
        named.any(|name| name == "sum.golang.org")
    };
    origin.wait_for(is_waiting, LIMIT);
    drop(session);
    let recorded = recorder.finish().await;
    let said = &recorded.output.stderr;
    assert!(
        !said.contains("failed") && !said.contains("stopped"),
        "{said}"
    );
    drop(client);
}
