//! The real go command recorded through the real proxy, and replayed with the origin gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use modtape::recording::{Recording, Row};

use crate::support::*;

/// A guard, no judgement: a cold build of `web` keeps two cores busy for a minute.
const GO_LIMIT: Duration = Duration::from_secs(600);

/// `record` with the flags that lead to `origin` instead of the internet.
pub(crate) fn record(
    sandbox: &Sandbox,
    origin: &Origin,
    flags: &[&str],
    command: &[&str],
) -> Command {
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut modtape = sandbox.modtape(["record", "-o", "one", "--connect-to", &everywhere]);
    modtape.arg("--upstream-ca").arg(origin.root_pem_path());
    modtape.args(flags).arg("--").args(command);
    modtape
}

/// The recording `name` that was made in the project's folder.
pub(crate) fn recording(sandbox: &Sandbox, name: &str) -> Recording {
    let project = sandbox.join("project");
    let folder = if project.is_dir() {
        project
    } else {
        sandbox.path().to_owned()
    };
    Recording::open(&folder.join("recordings").join(name)).expect("the recording opens")
}

/// Exchanges and what the origin served, compared by path, status and digest of the body.
pub(crate) fn assert_same(recording: &Recording, origin: &Origin) {
    let key = |path: &str, status: u16, digest: String| (path.to_owned(), status, digest);
    let mut served: Vec<_> = origin
        .requests()
        .iter()
        .map(|served| {
            let digest = served.body_sha256.clone().unwrap_or_default();
            key(&served.raw_path, served.status.unwrap_or(0), digest)
        })
        .collect();
    let path_of = |row: &Row| {
        let rest = row.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/')
            .map_or("/", |slash| &rest[slash..])
            .to_owned()
    };
    let mut recorded: Vec<_> = recording
        .rows()
        .iter()
        .map(|row| {
            let digest = row
                .body
                .map(|digest| digest.to_string())
                .unwrap_or_default();
            key(&path_of(row), row.status.unwrap_or(0), digest)
        })
        .collect();
    served.sort();
    recorded.sort();
    assert_eq!(recorded, served);
}

fn go_sum(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.join("project/go.sum")).expect("there is a go.sum")
}

fn expected_go_sum(name: &str) -> String {
    let sandbox = Sandbox::new();
    let project = sandbox.project(name).expect("the corpus is there");
    fs::read_to_string(project.join("go.sum")).expect("there is a go.sum")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// Records `go mod tidy` of a corpus project from the heads as they really are.
fn tidied(project: &str, release: &str, alpn: Alpn) -> Option<(Sandbox, Origin, PathBuf)> {
    let content = Content::corpus(project, Sumdb::Heads)?;
    let sandbox = Sandbox::new();
    let go = sandbox.go(release)?;
    sandbox.project_without_sums(project)?;
    let origin = Origin::builder(content).alpn(alpn).start();
    let output = run(
        record(&sandbox, &origin, &["--cold"], &[text(&go), "mod", "tidy"]),
        GO_LIMIT,
    )
    .expect_success();
    eprintln!("{}", output.stderr);
    assert_eq!(output.stdout, "");
    assert_eq!(go_sum(&sandbox), expected_go_sum(project));
    assert_same(&recording(&sandbox, "one"), &origin);
    Some((sandbox, origin, go))
}

#[test]
fn the_oldest_go_writes_the_same_go_sum_and_replays() {
    for alpn in [Alpn::Http1, Alpn::Both] {
        let Some((sandbox, origin, go)) = tidied("hello", "1.19", alpn) else {
            continue;
        };
        drop(origin);
        replay_offline(&sandbox, &go, &["mod", "tidy"]);
        assert_eq!(go_sum(&sandbox), expected_go_sum("hello"));
    }
}

#[test]
fn a_recorded_tidy_of_web_writes_the_same_go_sum_and_replays() {
    let Some((sandbox, origin, go)) = tidied("web", "1.27", Alpn::Both) else {
        return;
    };
    drop(origin);
    replay_offline(&sandbox, &go, &["mod", "tidy"]);
    assert_eq!(go_sum(&sandbox), expected_go_sum("web"));
}

#[test]
fn a_cold_recording_replays_every_time() {
    let Some((sandbox, origin, go)) = tidied("hello", "1.27", Alpn::Both) else {
        return;
    };
    drop(origin);
    for _ in 0..20 {
        replay_offline(&sandbox, &go, &["mod", "tidy"]);
        assert_eq!(go_sum(&sandbox), expected_go_sum("hello"));
    }
}

#[test]
fn a_recorded_build_is_built_again_with_no_network() {
    let project = if is_long() { "web" } else { "hello" };
    let Some(content) = Content::corpus(project, Sumdb::Heads) else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go("1.27") else { return };
    sandbox.project(project).expect("the corpus is there");
    let origin = Origin::start(content);
    let command = [text(&go), "build", "./..."];
    run(record(&sandbox, &origin, &["--cold"], &command), GO_LIMIT).expect_success();
    assert_same(&recording(&sandbox, "one"), &origin);
    drop(origin);
    let sums = go_sum(&sandbox);
    replay_offline(&sandbox, &go, &["build", "./..."]);
    assert_eq!(go_sum(&sandbox), sums);
}

/// Replays with nothing but a loopback interface, where this system lets us take the rest away.
///
/// A tidy begins without its go.sum, so that every checksum is looked up.
fn replay_offline(sandbox: &Sandbox, go: &Path, command: &[&str]) {
    if command == ["mod", "tidy"] {
        fs::write(sandbox.join("project/go.sum"), "").expect("go.sum can be emptied");
    }
    let mut modtape = without_network(sandbox);
    modtape
        .args(["replay", "one", "--strict", "--"])
        .arg(go)
        .args(command);
    let output = run(modtape, GO_LIMIT).expect_success();
    assert!(output.stderr.contains(" 0 missing"), "{}", output.stderr);
}

/// modtape in a network namespace of its own.
fn without_network(sandbox: &Sandbox) -> Command {
    let alone = [
        "-n",
        "--",
        "sh",
        "-c",
        "ip link set lo up && exec \"$0\" \"$@\"",
    ];
    let mut probe = program("unshare");
    probe.args(alone).arg("true");
    if !probe.output().is_ok_and(|output| output.status.success()) {
        skipped("no network namespaces here: the replay keeps the network");
        return sandbox.modtape([]);
    }
    let mut command = sandbox.command("unshare");
    command.args(alone).arg(tested());
    command
}
