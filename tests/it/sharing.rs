//! `modtape push` and `modtape pull`: a recording goes through an object store and replays on another machine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::serving::store::Bucket;
use crate::support::*;

/// A guard, no judgement.
const LIMIT: Duration = Duration::from_secs(120);

const PLACE: &str = "s3://team/recordings";

fn modtape(sandbox: &Sandbox, bucket: &Bucket, words: &[&str]) -> Output {
    let mut command = sandbox.modtape(words.iter().copied());
    bucket.env(&mut command);
    run(command, LIMIT)
}

/// Records `go mod tidy` of a project as `name`; its go.sum is what it was then.
fn record(sandbox: &Sandbox, go: &Path, name: &str) {
    let origin = Origin::start(Content::corpus("hello", Sumdb::Heads).expect("it is there"));
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut command = sandbox.modtape(["record", "-o", name, "--connect-to", &everywhere]);
    command.arg("--upstream-ca").arg(origin.root_pem_path());
    command.arg("--").arg(go).args(["mod", "tidy"]);
    run(command, LIMIT).expect_success();
}

fn summary(output: &Output) -> serde_json::Value {
    serde_json::from_str(&output.stdout).expect("JSON")
}

#[test]
fn a_recording_is_pushed_twice_pulled_and_replayed_elsewhere() {
    for bucket in Bucket::each() {
        goes_there_and_replays(&bucket);
    }
}

fn goes_there_and_replays(bucket: &Bucket) {
    let (here, there) = (Sandbox::new(), Sandbox::new());
    let (Some(go), Some(project)) = (here.go("1.27"), here.project_without_sums("hello")) else {
        return;
    };
    record(&here, &go, "one");
    let expected = fs::read_to_string(project.join("go.sum")).expect("there is a go.sum");
    let first = modtape(&here, bucket, &["push", "one", PLACE, "--json"]).expect_success();
    let first = summary(&first);
    assert_eq!(first["files"], first["files_sent"]);
    assert_eq!(first["url"], format!("{PLACE}/one"));
    // The name may stand at the end; all is there, but for nothing.
    let again = modtape(
        &here,
        bucket,
        &["push", "one", &format!("{PLACE}/one"), "--json"],
    );
    let again = summary(&again.expect_success());
    assert_eq!(
        (&again["files_sent"], &again["bytes_sent"]),
        (&0.into(), &0.into())
    );
    // Another recording of the same project sends little.
    fs::write(project.join("go.sum"), "").expect("our own folder");
    here.forget_modules();
    record(&here, &go, "two");
    let second =
        summary(&modtape(&here, bucket, &["push", "two", PLACE, "--json"]).expect_success());
    let share = second["bytes_sent"].as_u64().zip(second["bytes"].as_u64());
    let (sent, all) = share.expect("numbers");
    assert!(sent * 2 < all, "{second}");

    let there_project = there.project_without_sums("hello").expect("it is there");
    let url = format!("{PLACE}/one");
    let pulled = modtape(&there, bucket, &["pull", &url]).expect_success();
    assert!(
        pulled.stderr.contains("one pulled from"),
        "{}",
        pulled.stderr
    );
    modtape(
        &there,
        bucket,
        &["pull", "two", "--from", PLACE, "-o", "second"],
    )
    .expect_success();
    assert!(there.join("project/recordings/second").is_dir());
    for file in ["journal.ndjson", "recording.json"] {
        let of = |sandbox: &Sandbox| fs::read(sandbox.join("project/recordings/one").join(file));
        assert_eq!(
            of(&there).expect("it is there"),
            of(&here).expect("it is there")
        );
    }
    let mut replay = there.modtape(["replay", "one", "--strict", "--"]);
    replay.arg(&go).args(["mod", "tidy"]);
    run(replay, LIMIT).expect_success();
    let sums = fs::read_to_string(there_project.join("go.sum")).expect("there is a go.sum");
    assert_eq!(sums, expected);
    // It is there now.
    let refused = modtape(&there, bucket, &["pull", &url]);
    assert_ne!(refused.status.code(), Some(0));
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    modtape(&there, bucket, &["pull", &url, "--force"]).expect_success();
}

#[test]
fn half_a_push_is_no_recording_and_what_is_damaged_is_not_pulled() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let (here, there) = (Sandbox::new(), Sandbox::new());
    let (Some(go), Some(_)) = (here.go("1.27"), here.project_without_sums("hello")) else {
        return;
    };
    record(&here, &go, "one");
    let url = format!("{PLACE}/one");
    let absent = modtape(&there, &bucket, &["pull", &url]);
    assert!(
        absent.stderr.contains("there is no recording"),
        "{}",
        absent.stderr
    );
    modtape(&here, &bucket, &["push", "one", PLACE]).expect_success();
    let body = bucket
        .keys()
        .into_iter()
        .find(|key| key.contains("/bodies/"));
    let body = body.expect("there are bodies");
    let whole = bucket.get(&body);
    let mut spoilt = whole.clone();
    *spoilt.last_mut().expect("a byte") ^= 1;
    bucket.put(&body, &spoilt);
    let refused = modtape(&there, &bucket, &["pull", &url]);
    assert_eq!(refused.status.code(), Some(3), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("it was altered"),
        "{}",
        refused.stderr
    );
    // Nothing is left of it.
    let left = fs::read_dir(there.join("recordings")).map_or(0, |left| {
        left.flatten()
            .filter(|it| it.file_name() != ".gitignore")
            .count()
    });
    assert_eq!(left, 0);
    modtape(&here, &bucket, &["push", "one", PLACE, "--force"]).expect_success();
    assert!(bucket.get(&body) == whole);
    modtape(&there, &bucket, &["pull", &url]).expect_success();
    // Another recording does not take its name by accident.
    fs::write(here.join("project/go.sum"), "").expect("our own folder");
    here.forget_modules();
    let recordings = here.join("project/recordings");
    fs::rename(recordings.join("one"), recordings.join("old")).expect("our own folder");
    record(&here, &go, "one");
    let taken = modtape(&here, &bucket, &["push", "one", PLACE]);
    assert_eq!(taken.status.code(), Some(3), "{}", taken.stderr);
    assert!(
        taken.stderr.contains("another recording"),
        "{}",
        taken.stderr
    );
    for (words, told) in [
        (["push", "one", "s3://"], "names a bucket"),
        (["push", "one", "http://a/b"], "an object store is s3://"),
        (["pull", "one", "--json"], "--from"),
        (["pull", "s3://team", "--json"], "ends with no name"),
    ] {
        let output = modtape(&here, &bucket, &words);
        assert_eq!(output.status.code(), Some(2), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
}
