//! What stands where a recording is to go: kept until there is something to replace it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{LIMIT, fails, modtape};
use crate::support::{Sandbox, Spawned, run, skipped, tested};

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("paths of tests are text"))
        .collect();
    names.sort();
    names
}

/// A sandbox with the recording `ci`, and its manifest.
fn with_ci() -> (Sandbox, Vec<u8>) {
    let sandbox = Sandbox::new();
    modtape(&sandbox, &["record", "-o", "ci", "--", "true"]).expect_success();
    let manifest = manifest(&sandbox);
    (sandbox, manifest)
}

fn manifest(sandbox: &Sandbox) -> Vec<u8> {
    fs::read(sandbox.join("recordings/ci/recording.json")).expect("there is a manifest")
}

#[test]
fn a_recording_is_replaced_only_by_a_command_that_runs() {
    let (sandbox, old) = with_ci();
    fs::write(sandbox.join("plain"), "words").expect("a file");
    fs::write(sandbox.join("orphan"), "#!/no/such/shell\n").expect("a file");
    let mode = fs::Permissions::from_mode(0o700);
    fs::set_permissions(sandbox.join("orphan"), mode).expect("our own file");
    for (command, code) in [
        ("./no-such", 127),
        ("./orphan", 127),
        ("./plain", 126),
        ("/", 126),
    ] {
        let record = ["record", "-o", "ci", "--force", "--", command];
        fails(&sandbox, &record, code, &[command]);
        assert_eq!(manifest(&sandbox), old, "{command}");
        assert_eq!(names(&sandbox.join("recordings")), [".gitignore", "ci"]);
    }
    modtape(&sandbox, &["record", "-o", "ci", "--force", "--", "true"]).expect_success();
    assert_ne!(manifest(&sandbox), old);
    assert_eq!(names(&sandbox.join("recordings")), [".gitignore", "ci"]);
}

#[test]
fn a_failure_before_the_command_runs_brings_back_what_was_replaced() {
    let (sandbox, old) = with_ci();
    // No folder can be made where other terminals would look for the recorder.
    let mut record = sandbox.modtape(["record", "-o", "ci", "--force", "--", "true"]);
    record.env("XDG_RUNTIME_DIR", "/dev/null");
    record.env("TMPDIR", "/dev/null");
    let output = run(record, LIMIT);
    assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
    assert_eq!(manifest(&sandbox), old);
}

#[test]
fn a_folder_that_is_named_by_its_place_only_is_never_replaced() {
    let (sandbox, old) = with_ci();
    let ci = sandbox.join("recordings/ci");
    for place in [".", "..", "./.", "x/..", "/"] {
        let mut record = sandbox.modtape(["record", "-o", place, "--force", "--", "true"]);
        record.current_dir(&ci);
        let output = run(record, LIMIT);
        assert_eq!(
            output.status.code(),
            Some(125),
            "{place}: {}",
            output.stderr
        );
        let told = format!("-o {place} does not name a folder");
        assert!(output.stderr.contains(&told), "{}", output.stderr);
        assert_eq!(manifest(&sandbox), old, "{place}");
    }
}

#[test]
fn the_old_recording_is_no_second_one_while_the_new_one_is_made() {
    let (sandbox, _) = with_ci();
    let listed = r#""$MODTAPE" recordings list --json"#;
    let command = ["record", "-o", "ci", "--force", "--", "sh", "-c", listed];
    let mut record = sandbox.modtape(command);
    record.env("MODTAPE", tested());
    let output = run(record, LIMIT).expect_success();
    assert_eq!(output.stdout.lines().count(), 1, "{}", output.stdout);
}

#[test]
fn a_recorder_that_was_killed_before_its_command_ran_has_replaced_nothing() {
    let (sandbox, old) = with_ci();
    let recordings = sandbox.join("recordings");
    let record = Spawned::start(sandbox.modtape(["record", "-o", "ci", "--force"]));
    record.wait_for_stderr("end with Ctrl-C");
    record.signal(rustix::process::Signal::KILL);
    record.end();
    assert_eq!(names(&recordings), [".ci.replaced", ".gitignore", "ci"]);
    let again = ["record", "-o", "ci", "--", "true"];
    fails(&sandbox, &again, 125, &["ci exists already"]);
    assert_eq!(manifest(&sandbox), old);
    assert_eq!(names(&recordings), [".gitignore", "ci"]);
}

#[test]
fn a_recording_that_cannot_be_begun_leaves_nothing_and_takes_nothing() {
    let strace = Path::new("/usr/bin/strace");
    if !strace.exists() {
        return skipped("a disk that fails at the start: there is no strace");
    }
    let (sandbox, old) = with_ci();
    // What is renamed first: the manifest, or else what it replaces.
    for (name, flags, nth) in [
        ("new", &[][..], 1),
        ("ci", &["--force"], 1),
        ("ci", &["--force"], 2),
    ] {
        let mut record = sandbox.command(strace);
        let inject = format!("inject=rename:error=ENOSPC:when={nth}");
        record.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=rename",
            "-e",
            &inject,
        ]);
        record.arg(tested()).args(["record", "-o", name]);
        record.args(flags).args(["--", "true"]);
        let output = run(record, LIMIT);
        assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
        assert!(output.stderr.contains("No space left"), "{}", output.stderr);
        assert_eq!(manifest(&sandbox), old, "{name} {nth}");
        assert_eq!(names(&sandbox.join("recordings")), [".gitignore", "ci"]);
    }
}
