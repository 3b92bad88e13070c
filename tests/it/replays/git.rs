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

/// What was not recorded is fetched while a replay runs, with the real git, and is there from then on.
#[test]
fn git_fetches_what_is_missing_through_a_replay_that_records() {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let sandbox = Sandbox::new();
        let root = repositories(&sandbox);
        let origin = Origin::builder(Content::default()).alpn(alpn).start();
        origin.add_rule(Rule::any().git(&root));
        let url = format!("https://{HOST}/r.git");
        let dir = sandbox.path().to_owned();
        let main = "rm -rf d && git clone -q --single-branch --branch main \"$0\" d && git -C d rev-parse main";
        let script = ["sh", "-ec", main, &url];
        let mut command = record(&sandbox, &origin, &["--intercept", HOST], &script);
        sh(&mut command, &dir);
        run(command, LIMIT).expect_success();
        let mut direct = program("git");
        direct.args(["-C", "repositories/r.git", "rev-parse", "main", "other"]);
        sh(&mut direct, &dir);
        let expected = run(direct, LIMIT).expect_success().stdout;
        let filling = |flags: &[&str]| {
            let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
            let mut fill = sandbox.modtape(["replay", "one", "--on-miss", "record", "--strict"]);
            fill.args(["--connect-to", &everywhere, "--upstream-ca"]);
            fill.arg(origin.root_pem_path()).args(flags);
            fill.args(["--", "sh", "-ec", CLONES, &url]);
            sh(&mut fill, &dir);
            run(fill, LIMIT).expect_success()
        };
        let filled = filling(&[]);
        assert!(filled.stdout.starts_with(&expected), "{}", filled.stdout);
        assert!(filled.stderr.contains(" 0 failed"), "{}", filled.stderr);
        assert!(
            !filled.stderr.contains(" 0 fetched and added"),
            "{}",
            filled.stderr
        );
        // Once: objects have their names for ever.
        let asked = |origin: &Origin| {
            let requests = origin.requests();
            requests
                .iter()
                .filter(|served| served.method == "POST")
                .count()
        };
        let before = asked(&origin);
        let again = filling(&[]);
        assert_eq!(again.stdout, filled.stdout);
        let fetches = asked(&origin) - before;
        assert!(
            fetches <= 2,
            "refs may have changed, objects not: {fetches}"
        );
        drop(origin);
        for _ in 0..REPLAYS {
            let mut replay =
                sandbox.modtape(["replay", "one", "--strict", "--", "sh", "-ec", CLONES, &url]);
            sh(&mut replay, &dir);
            let replayed = run(replay, LIMIT).expect_success();
            assert_eq!(replayed.stdout, filled.stdout);
        }
    }
}

/// Records a script with the server, and replays others without it: what each printed, and stderr.
fn replays_of(recorded: &str, replayed: &[(&str, bool)]) -> Vec<Output> {
    let sandbox = Sandbox::new();
    let root = repositories(&sandbox);
    let origin = Origin::builder(Content::default()).start();
    origin.add_rule(Rule::any().git(&root));
    let url = format!("https://{HOST}/r.git");
    let script = ["sh", "-ec", recorded, &url];
    let mut command = record(&sandbox, &origin, &["--intercept", HOST], &script);
    let dir = sandbox.path().to_owned();
    sh(&mut command, &dir);
    run(command, LIMIT).expect_success();
    drop(origin);
    let replayed = replayed.iter().map(|(script, has_git)| {
        let mut replay = sandbox.modtape(["replay", "one", "--", "sh", "-ec", script, &url]);
        sh(&mut replay, &dir);
        // The command finds git by a path of its own.
        replay.env("GIT_IS_AT", search_path(&[]));
        if !has_git {
            let programs = sandbox.join("programs");
            std::fs::create_dir_all(&programs).expect("our own folder");
            let _ = std::os::unix::fs::symlink("/bin/sh", programs.join("sh"));
            replay.env("PATH", programs);
        }
        run(replay, LIMIT)
    });
    replayed.collect()
}

const CLONE: &str = "PATH=${GIT_IS_AT:-$PATH}; rm -rf d; git clone -q \"$0\" d; git -C d log --oneline --all | wc -l";
const SHALLOW: &str = "PATH=${GIT_IS_AT:-$PATH}; rm -rf d; git clone -q --depth 1 --single-branch \"$0\" d; \
    git -C d fsck --strict; git -C d rev-parse HEAD --is-shallow-repository";

#[test]
fn git_answers_what_no_recorded_answer_fits_and_says_what_was_not_recorded() {
    let other =
        format!("{SHALLOW}; git -C d fetch -q origin other:other; git -C d rev-parse other");
    let outputs = replays_of(
        CLONE,
        &[
            (CLONE, true),
            (SHALLOW, true),
            (&other, true),
            (SHALLOW, false),
        ],
    );
    let [whole, shallow, more, no_git] = &outputs[..] else {
        panic!("there are four")
    };
    assert_eq!(whole.stdout.trim(), "2", "{}", whole.stderr);
    assert!(shallow.stdout.contains("true"), "{}", shallow.stderr);
    assert!(shallow.stderr.contains(" 0 missing"), "{}", shallow.stderr);
    assert_eq!(more.stdout.lines().count(), 3, "{}", more.stderr);
    assert!(!no_git.status.success(), "{}", no_git.stdout);
    let why = "answering it takes git, which is not on the PATH";
    assert!(no_git.stderr.contains(why), "{}", no_git.stderr);
    let [less] = &replays_of(SHALLOW, &[(CLONE, true)])[..] else {
        panic!("there is one")
    };
    assert!(!less.status.success(), "{}", less.stdout);
    assert!(less.stderr.contains("1 missing"), "{}", less.stderr);
    let told =
        "fatal: remote error: modtape: not on recording one: vcs git-upload-pack git.test/r (";
    assert!(less.stderr.contains(told), "{}", less.stderr);
    let why = "what was recorded of the repository lacks it: upload-pack: not our ref";
    assert!(less.stderr.contains(why), "{}", less.stderr);
}

#[test]
fn a_history_that_ends_earlier_than_the_servers_is_not_given_as_whole() {
    let begin = "PATH=${GIT_IS_AT:-$PATH}; rm -rf d; git clone -q --single-branch --branch other";
    let shallow = format!("{begin} --depth 1 \"$0\" d");
    let whole = format!("{begin} \"$0\" d");
    let deeper = format!("{shallow}; git -C d fetch -q --unshallow");
    let again = format!("{shallow}; git -C d fetch -q --depth 1 origin other");
    let replayed = [(&*whole, true), (&deeper, true), (&again, true)];
    let outputs = replays_of(&shallow, &replayed);
    let told =
        "the history before commit 1ccb8ca9a7f32035c27b1bbe683f00822ea0b7f8 was not recorded";
    for output in &outputs[..2] {
        assert!(!output.status.success(), "{}", output.stdout);
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
    assert!(
        outputs[2].stderr.contains(" 0 missing"),
        "{}",
        outputs[2].stderr
    );
}

#[test]
fn gits_dumb_protocol_is_recorded_and_refused_by_name() {
    let sandbox = Sandbox::new();
    let root = repositories(&sandbox);
    let mut served = program("git");
    served.args(["update-server-info"]);
    sh(&mut served, &root.join("r.git"));
    run(served, LIMIT).expect_success();
    let origin = Origin::builder(Content::default()).start();
    let mut folders = vec![root.join("r.git")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path
                .strip_prefix(&root)
                .expect("it is below")
                .display()
                .to_string();
            let bytes = std::fs::read(&path).expect("our own file");
            let is_asked = move |served: &Served| served.path == format!("/{name}");
            let rule = Rule::when(is_asked).header("content-type", "text/plain");
            origin.add_rule(rule.status(200).body(bytes));
        }
    }
    origin.add_rule(Rule::any().status(404));
    let url = format!("https://{HOST}/r.git");
    let script = ["sh", "-ec", CLONE, &url];
    let mut command = record(&sandbox, &origin, &["--intercept", HOST], &script);
    let dir = sandbox.path().to_owned();
    sh(&mut command, &dir);
    let output = run(command, LIMIT).expect_success();
    assert_eq!(output.stdout.trim(), "2", "{}", output.stderr);
    let told = "git.test/r was served in git's dumb protocol";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    drop(origin);
    let mut replay = sandbox.modtape(["replay", "one", "--", "sh", "-ec", CLONE, &url]);
    sh(&mut replay, &dir);
    let output = run(replay, LIMIT);
    assert!(!output.status.success(), "{}", output.stdout);
    let told = "missing: vcs info/refs git.test/r (it was recorded in git's dumb protocol, which is not replayed)";
    assert!(output.stderr.contains(told), "{}", output.stderr);
}
