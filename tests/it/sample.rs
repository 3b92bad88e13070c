//! The sample recording in `recordings/hello`: how it is made, and that it still answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::record::record;
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(120);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/hello")
}

/// Makes the sample anew: `MODTAPE_SAMPLE=make cargo test --test it sample::make -- --ignored`.
#[test]
#[ignore = "writes into the source tree"]
fn make() {
    // The long run takes the ignored tests too, beside others that read the sample.
    if std::env::var_os("MODTAPE_SAMPLE").is_none_or(|wish| wish != "make") {
        return skipped("a new sample: nobody asked for one");
    }
    let content = Content::corpus("hello", Sumdb::Heads).expect("the corpus is there");
    let sandbox = Sandbox::new();
    let go = sandbox.go("1.27").expect("there is a go");
    let project = sandbox
        .project_without_sums("hello")
        .expect("the corpus is there");
    let origin = Origin::start(content.supported_is_404());
    let mut modtape = record(
        &sandbox,
        &origin,
        &["--cold", "--no-har"],
        &["go", "mod", "download"],
    );
    modtape.env(
        "PATH",
        search_path(&[go.parent().expect("go lies in a folder")]),
    );
    run(modtape, LIMIT).expect_success();
    let made = project.join("recordings/one");
    let to = folder();
    let _ = fs::remove_dir_all(to.join("bodies"));
    copy(&made, &to);
    let _ = fs::remove_file(to.join("index"));
}

/// What its README promises, with the oldest and the newest go.
#[test]
fn any_go_replays_it() {
    for release in ["1.19", "1.27"] {
        let sandbox = Sandbox::new();
        let Some(go) = sandbox.go(release) else {
            continue;
        };
        let project = sandbox.join("project");
        copy(&folder().join("project"), &project);
        let sample = folder();
        let mut modtape = sandbox.modtape(["replay"]);
        modtape
            .arg(sample)
            .args(["--strict", "--"])
            .arg(go)
            .args(["mod", "download"]);
        let output = run(modtape, LIMIT).expect_success();
        assert!(output.stderr.contains(" 0 missing"), "{}", output.stderr);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}
