//! The real go command recorded through the real proxy, and replayed with the origin gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use modtape::recording::{Recording, Row};

use crate::support::*;

const GO_LIMIT: Duration = Duration::from_secs(120);

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
fn a_recorded_tidy_of_hello_writes_the_same_go_sum() {
    for release in ["1.19", "1.21", "1.24", "1.27"] {
        for alpn in [Alpn::Both, Alpn::Http1] {
            let Some((sandbox, origin, go)) = tidied("hello", release, alpn) else {
                continue;
            };
            drop(origin);
            replayed(&sandbox, &go);
        }
    }
}

fn replayed(sandbox: &Sandbox, go: &Path) {
    fs::write(sandbox.join("project/go.sum"), "").expect("go.sum can be emptied");
    let before = go_sum(sandbox);
    let modtape = sandbox.modtape(["replay", "one", "--strict", "--", text(go), "mod", "tidy"]);
    let output = run(modtape, GO_LIMIT).expect_success();
    assert_ne!(go_sum(sandbox), before);
    assert!(output.stderr.contains(" 0 missing"), "{}", output.stderr);
}
