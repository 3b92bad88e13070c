//! git over HTTP/2, recorded and replayed: its requests have bodies, and some want credentials.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::LIMIT;
use crate::record::record;
use crate::support::*;

const HOST: &str = "git.test";

/// How often each recording is replayed.
const REPLAYS: usize = 10;

/// Runs a script in an environment that no configuration of this machine reaches.
pub(super) fn sh(command: &mut Command, dir: &Path) {
    command
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
    for name in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{name}_NAME"), "Ada")
            .env(format!("GIT_{name}_EMAIL"), "ada@git.test")
            .env(format!("GIT_{name}_DATE"), "2026-11-22T04:52:00Z");
    }
}

/// A folder of repositories: `r.git` with two branches, one of some hundred kB.
fn repositories(sandbox: &Sandbox) -> PathBuf {
    let root = sandbox.join("repositories");
    std::fs::create_dir(&root).expect("our own folder");
    let noise: String = (0..20_000_u32)
        .map(|n| format!("{:08x}\n", n.wrapping_mul(2_654_435_761)))
        .collect();
    std::fs::write(root.join("noise"), noise).expect("our own folder");
    let script = "git init -q -b main w && cd w && cp ../noise . && git add noise && git commit -qm one \
        && git checkout -qb other && echo more >noise && git commit -qam two && git checkout -q main \
        && cd .. && git clone -q --bare w r.git";
    let mut made = program("sh");
    made.args(["-ec", script]);
    sh(&mut made, &root);
    run(made, LIMIT).expect_success();
    root
}

/// Clones one branch, fetches the other, and tells what came.
const CLONES: &str = "rm -rf d && git clone -q --single-branch --branch main \"$0\" d && cd d \
    && git fetch -q origin other:other && git rev-parse main other && git fsck --strict && sha256sum noise";

/// Records a script that is given `recorded` as its URL, and replays it with `replayed`.
fn the_same_each_time(rules: &[Rule], recorded: &str, replayed: &str) {
    let sandbox = Sandbox::new();
    let root = repositories(&sandbox);
    let origin = Origin::builder(Content::default())
        .alpn(Alpn::Http2)
        .start();
    rules.iter().for_each(|rule| origin.add_rule(rule.clone()));
    origin.add_rule(Rule::any().git(&root));
    let script = ["sh", "-ec", CLONES, recorded];
    let mut command = record(&sandbox, &origin, &["--intercept", HOST], &script);
    let dir = sandbox.path().to_owned();
    sh(&mut command, &dir);
    let expected = run(command, LIMIT).expect_success();
    assert_eq!(expected.stdout.lines().count(), 3, "{}", expected.stdout);
    let requests = origin.requests();
    assert!(
        requests.iter().any(|served| served.method == "POST"),
        "{requests:?}"
    );
    assert!(
        requests
            .iter()
            .all(|served| served.version == http::Version::HTTP_2)
    );
    drop(origin);
    for number in 0..REPLAYS {
        let mut replay = sandbox.modtape([
            "replay", "one", "--strict", "--", "sh", "-ec", CLONES, replayed,
        ]);
        sh(&mut replay, &dir);
        let output = run(replay, LIMIT);
        assert!(
            output.status.success(),
            "replay {number}: {}",
            output.stderr
        );
        assert_eq!(output.stdout, expected.stdout, "replay {number}");
        assert!(
            output.stderr.contains(" 0 missing"),
            "replay {number}: {}",
            output.stderr
        );
    }
}

#[test]
fn git_clones_and_fetches_over_http2_from_a_recording_each_time() {
    let url = format!("https://{HOST}/r.git");
    the_same_each_time(&[], &url, &url);
}

#[test]
fn what_git_got_with_credentials_is_given_without_them() {
    let wants = Rule::when(|served| !served.headers.contains_key("authorization"))
        .status(401)
        .header("www-authenticate", "Basic realm=\"git\"");
    let with = format!("https://ada:s3cret@{HOST}/r.git");
    the_same_each_time(&[wants], &with, &format!("https://{HOST}/r.git"));
}
