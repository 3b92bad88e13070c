//! `replay --answers`: as it was recorded, or so that any command, subset and order passes.

use std::path::Path;

use super::{LIMIT, ended};
use crate::record::{record, recording};
use crate::support::*;

const RELEASES: [&str; 3] = ["1.21", "1.24", "1.27"];

const UNIFIED: [&str; 2] = ["--answers", "unified"];

const SUMDB: &str = "sum.golang.org";

/// Records a cold command of a corpus project without a go.sum; `None` where a part of that is not here.
fn recorded(sandbox: &Sandbox, release: &str, project: &str, command: &[&str]) -> Option<()> {
    let go = sandbox.go(release)?;
    let content = Content::corpus(project, Sumdb::Heads)?;
    sandbox.project_without_sums(project)?;
    // As the real database's lookups come.
    let origin = Origin::builder(content.supported_is_404())
        .rule(Rule::when(|served| served.path.contains("/lookup/")).gzip())
        .start();
    let words = [&[text(&go)], command].concat();
    run(
        record(sandbox, &origin, &["--cold", "--no-har"], &words),
        LIMIT,
    )
    .expect_success();
    Some(())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// Replays a go command with these flags, its project's go.sum being empty.
fn replay(sandbox: &Sandbox, go: &Path, project: &str, flags: &[&str], command: &[&str]) -> Output {
    sandbox.project_without_sums(project).expect("it is here");
    let words = [
        &["replay", "one", "--strict"],
        flags,
        &["--", text(go)],
        command,
    ]
    .concat();
    let mut replay = sandbox.modtape(words);
    // A go.sum may be written.
    replay.env("GOFLAGS", "-mod=mod");
    run(replay, LIMIT)
}

#[test]
fn every_command_passes_on_what_another_one_downloaded() {
    let toml = "github.com/BurntSushi/toml@v1";
    let uuid = "github.com/google/uuid@latest";
    let commands: [&[&str]; 6] = [
        &["mod", "download", "golang.org/x/sync@v0.3.0"],
        &["mod", "download", uuid, toml],
        &["get", uuid],
        &["list", "-m", "-u", "all"],
        &["list", "-m", "-versions", "golang.org/x/sync"],
        &["mod", "tidy"],
    ];
    let sandbox = Sandbox::new();
    let Some(()) = recorded(&sandbox, "1.24", "hello", &["mod", "download"]) else {
        return;
    };
    for release in RELEASES {
        let Some(go) = sandbox.go(release) else {
            return;
        };
        for command in commands {
            let unified = replay(&sandbox, &go, "hello", &UNIFIED, command);
            assert!(
                unified.status.success(),
                "{release} {command:?}: {}",
                unified.stderr
            );
        }
        for flags in [&["--answers", "faithful"][..], &[]] {
            let recorded = replay(&sandbox, &go, "hello", flags, &["list", "-m", "-u", "all"]);
            let told = "missing: list github.com/google/uuid";
            assert!(
                recorded.stderr.contains(told),
                "{flags:?} {}",
                recorded.stderr
            );
        }
    }
}

#[test]
fn what_was_not_recorded_is_missing_whatever_is_made() {
    let sandbox = Sandbox::new();
    let Some(()) = recorded(&sandbox, "1.27", "hello", &["mod", "download"]) else {
        return;
    };
    let Some(go) = sandbox.go("1.27") else { return };
    for (module, what) in [
        ("rsc.io/quote@latest", "list rsc.io/quote"),
        (
            "github.com/google/uuid@main",
            "info github.com/google/uuid main",
        ),
        (
            "github.com/google/uuid@v1.0.0",
            "info github.com/google/uuid v1.0.0",
        ),
    ] {
        let output = replay(&sandbox, &go, "hello", &UNIFIED, &["get", module]);
        let told = format!("missing: {what}\n");
        assert!(output.stderr.contains(&told), "{}", output.stderr);
    }
}

#[test]
fn a_tree_head_that_only_the_users_go_knows_is_explained_before_the_command_starts() {
    let sandbox = Sandbox::new();
    let Some(()) = recorded(&sandbox, "1.27", "hello", &["mod", "download"]) else {
        return;
    };
    let Some(go) = sandbox.go("1.27") else { return };
    let proxy = corpus_folder("hello").expect("it is here").join("proxy");
    let latest = std::fs::read(proxy.join("sumdb/sum.golang.org/latest")).expect("a head");
    let folder = sandbox.join("gopath/pkg/sumdb/sum.golang.org");
    std::fs::create_dir_all(&folder).expect("our own folder");
    let path = folder.join("latest");
    std::fs::write(&path, latest).expect("our own folder");
    let download = ["mod", "download"];
    let warm = replay(&sandbox, &go, "hello", &["--warm"], &download);
    assert!(!warm.status.success(), "{}", warm.stderr);
    let told = format!(
        "warning: go will not verify anything that is not in go.sum: {} is the head of sum.golang.org with \
         71909756 records, and the newest on recording one has 66",
        path.display()
    );
    assert_eq!(warm.stderr.matches(&told).count(), 1, "{}", warm.stderr);
    let cold = replay(&sandbox, &go, "hello", &[], &download).expect_success();
    assert!(!cold.stderr.contains("will not verify"), "{}", cold.stderr);
    // With the head that the replay itself left there it goes on.
    std::fs::remove_file(&path).expect("our own file");
    for _ in 0..2 {
        let warm = replay(&sandbox, &go, "hello", &["--warm"], &download).expect_success();
        assert!(!warm.stderr.contains("warning"), "{}", warm.stderr);
    }
    assert!(path.is_file());
}

/// The heads of the recorded lookups, and what a client is given for each path.
async fn given(sandbox: &Sandbox, flags: &[&str], host: &str, paths: &[String]) -> Vec<Response> {
    let words = [&["replay", "one"], flags, &["--", "/bin/sh", "-c", TELLS]].concat();
    let (replay, proxy, root) = Spawned::proxy(sandbox.modtape(words), sandbox);
    let mut session = Client::session(proxy, &Hello::new(host, &root)).await;
    let mut answers = Vec::new();
    for path in paths {
        answers.push(session.get(path).await.expect("an answer"));
    }
    drop(session);
    ended(replay).await;
    answers
}

#[tokio::test]
async fn lookups_come_with_one_head_or_with_those_that_they_had() {
    let sandbox = Sandbox::new();
    let Some(()) = recorded(&sandbox, "1.27", "hello", &["mod", "download"]) else {
        return;
    };
    let rows = recording(&sandbox, "one");
    let rows = rows.rows().iter();
    let lookups = rows.filter_map(|row| row.url.split_once(SUMDB)?.1.strip_prefix("/lookup/"));
    let lookups: Vec<_> = lookups.map(|path| format!("/lookup/{path}")).collect();
    let heads = |answers: &[Response]| {
        let head = |answer: &Response| {
            assert_eq!(answer.status, 200, "{}", answer.text());
            let text = answer.text();
            let (_, note) = text.split_once("\n\n").expect("a record and a note");
            note.to_owned()
        };
        let mut heads: Vec<_> = answers.iter().map(head).collect();
        heads.sort();
        heads.dedup();
        heads
    };
    let faithful = given(&sandbox, &["--answers", "faithful"], SUMDB, &lookups).await;
    let recorded = heads(&faithful);
    assert_eq!(recorded.len(), 3, "{recorded:?}");
    for flags in [&["--answers", "unified"][..], &[]] {
        let unified = given(&sandbox, flags, SUMDB, &lookups).await;
        assert_eq!(heads(&unified), recorded[2..], "{flags:?}");
        for (unified, faithful) in unified.iter().zip(&faithful) {
            let record = |answer: &Response| {
                let text = answer.text();
                text.split("\n\n").next().map(str::to_owned)
            };
            assert_eq!(record(unified), record(faithful));
        }
    }
}
