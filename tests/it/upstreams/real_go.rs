//! The real go command behind a recorder whose upstream fails: it fails as it does without us.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::record::record;

const GO_LIMIT: Duration = Duration::from_secs(120);

/// What became of a run, as far as it may not depend on us: the exit code, and whom go turned to.
#[derive(Debug, PartialEq, Eq)]
struct Fate {
    code: Option<i32>,
    hosts: BTreeSet<String>,
}

fn fate(output: &Output, origin: &Origin) -> Fate {
    let seen = origin.log().connections;
    Fate {
        code: output.status.code(),
        hosts: seen.into_iter().filter_map(|seen| seen.sni).collect(),
    }
}

/// After a comma only what is not there leads on: to `direct`, which no failure of ours may cause.
const GOPROXY: &str = "https://proxy.golang.org,direct";

fn download(go: &Path) -> [&str; 3] {
    [
        go.to_str().expect("paths of tests are text"),
        "mod",
        "download",
    ]
}

/// `go mod download` of hello through a plain proxy: how go fares without us.
fn without_us(origin: &Origin, go: &Path) -> Option<Output> {
    let sandbox = Sandbox::new();
    sandbox.project_without_sums("hello")?;
    let parent = ParentProxy::http(origin.addr()).start();
    let [program, args @ ..] = download(go);
    let mut command = sandbox.command(program);
    command
        .args(args)
        .env("GOPROXY", GOPROXY)
        .env("HTTPS_PROXY", parent.url());
    command.env("SSL_CERT_FILE", origin.root_pem_path());
    Some(run(command, GO_LIMIT))
}

/// The same behind a recorder.
fn recorded(origin: &Origin, go: &Path) -> Option<Output> {
    let sandbox = Sandbox::new();
    sandbox.project_without_sums("hello")?;
    let mut command = record(&sandbox, origin, &["--no-har"], &download(go));
    command.env("GOPROXY", GOPROXY);
    Some(run(command, GO_LIMIT))
}

/// A kind of failure, what our reason must say of it, and an origin that fails so.
type Failing = (&'static str, &'static str, Box<dyn Fn() -> Origin>);

fn origins() -> Option<Vec<Failing>> {
    let content = Content::corpus("hello", Sumdb::Proxy)?;
    let shake = |handshake: Handshake| -> Box<dyn Fn() -> Origin> {
        let content = content.clone();
        Box::new(move || {
            Origin::builder(content.clone())
                .handshake(handshake.clone())
                .start()
        })
    };
    let answer = |rule: Rule| -> Box<dyn Fn() -> Origin> {
        let content = content.clone();
        Box::new(move || Origin::builder(content.clone()).rule(rule.clone()).start())
    };
    let zip = || Rule::suffix(".zip");
    Some(vec![
        (
            "expired",
            "expired",
            shake(Handshake::any().leaf(Leaf::Expired)),
        ),
        (
            "unknown CA",
            "unknown issuer",
            shake(Handshake::any().leaf(Leaf::UnknownCa)),
        ),
        (
            "other host",
            "is not for the name",
            shake(Handshake::any().leaf(Leaf::WrongHost)),
        ),
        (
            "handshake reset",
            "TLS with proxy.golang.org",
            shake(Handshake::any().reset()),
        ),
        (
            "reset",
            "proxy.golang.org reset the connection",
            answer(Rule::suffix(".info").reset()),
        ),
        ("short zip", "", answer(zip().short(100))),
        (
            "broken gateway",
            "",
            answer(zip().status(502).body("bad gateway\n")),
        ),
        (
            "gone",
            "",
            answer(zip().status(410).body("not found: gone\n")),
        ),
        (
            "chunked and gzip",
            "",
            answer(Rule::suffix(".mod").chunked().gzip()),
        ),
    ])
}

#[test]
fn go_fares_with_a_failing_upstream_as_it_does_without_us() {
    let (Some(go), Some(origins)) = (Sandbox::new().go("1.27"), origins()) else {
        return;
    };
    for (kind, reason, origin) in origins {
        let (one, other) = (origin(), origin());
        let (Some(plain), Some(ours)) = (without_us(&one, &go), recorded(&other, &go)) else {
            return;
        };
        let told = format!("{kind}\n{}\n{}", plain.stderr, ours.stderr);
        assert_eq!(fate(&ours, &other), fate(&plain, &one), "{told}");
        if !reason.is_empty() {
            let said = ours.stderr.lines().any(|line| {
                line.contains("modtape: ") && line.contains(reason) && !line.starts_with("modtape")
            });
            assert!(said, "go does not pass our reason on: {told}");
        }
    }
}

#[test]
fn go_shows_why_a_host_cannot_be_reached() {
    let Some(go) = Sandbox::new().go("1.27") else {
        return;
    };
    let sandbox = Sandbox::new();
    if sandbox.project_without_sums("hello").is_none() {
        return;
    }
    let everywhere = format!("--connect-to=::{}", nobody());
    let mut command = sandbox.modtape(["record", "-o", "one", &everywhere, "--"]);
    command.args(download(&go)).env("GOPROXY", GOPROXY);
    let output = run(command, GO_LIMIT);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let said = output.stderr.lines().any(|line| {
        line.starts_with("go: ")
            && line.contains("modtape: cannot connect to")
            && line.contains("Connection refused")
    });
    assert!(said, "{}", output.stderr);
}

#[test]
fn a_silent_upstream_is_told_while_go_waits_and_a_timeout_ends_with_124() {
    let Some(go) = Sandbox::new().go("1.27") else {
        return;
    };
    let Some(content) = Content::corpus("hello", Sumdb::Proxy) else {
        return;
    };
    let sandbox = Sandbox::new();
    sandbox
        .project_without_sums("hello")
        .expect("there is a corpus");
    let silent = Rule::suffix(".zip").silent();
    let origin = Origin::builder(content).rule(silent).start();
    let flags = ["--cold", "--stall-after", "100ms", "--timeout", "3s"];
    let output = run(record(&sandbox, &origin, &flags, &download(&go)), GO_LIMIT);
    assert_eq!(output.status.code(), Some(124), "{}", output.stderr);
    let told = output
        .stderr
        .lines()
        .any(|line| line.starts_with("modtape: still waiting") && line.contains(HOST));
    assert!(told, "{}", output.stderr);
    let recording = crate::record::recording(&sandbox, "one");
    let hanging = recording
        .rows()
        .iter()
        .filter(|row| row.url.ends_with(".zip"));
    assert!(hanging.clone().count() > 0, "{}", output.stderr);
    // What was in flight is listed after the stall, with what it is to the go command.
    let last = output.stderr.rfind("still waiting").unwrap_or_default();
    let list = output.stderr[last..]
        .split_once('\n')
        .map_or("", |(_, rest)| rest);
    assert!(
        list.contains(HOST) && list.contains("zip"),
        "{}",
        output.stderr
    );
}
