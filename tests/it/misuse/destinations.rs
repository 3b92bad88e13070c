//! Where things go: folders that cannot be written or read, streams, disks that are full.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{LIMIT, fails, modtape};
use crate::support::*;
use crate::views::sample;

/// modtape as somebody to whom the modes of files apply, which they do not to root.
fn unprivileged(sandbox: &Sandbox, args: &[&str]) -> Command {
    if !rustix::process::getuid().is_root() {
        return sandbox.modtape(args.iter().copied());
    }
    let without = "-dac_override,-dac_read_search";
    let mut command = sandbox.command("/usr/bin/setpriv");
    command.args([
        format!("--bounding-set={without}"),
        format!("--inh-caps={without}"),
    ]);
    command.arg(tested()).args(args);
    command
}

/// The folders for recordings that the demo made.
fn made(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.join("tmp")).expect("a folder");
    let paths = entries.flatten().map(|entry| entry.path());
    let is_ours = |path: &PathBuf| path.to_string_lossy().contains("modtape-recordings");
    paths.filter(is_ours).collect()
}

#[test]
fn a_demo_that_cannot_write_here_records_where_nobody_else_can_have_been() {
    let sandbox = Sandbox::new();
    // Somebody else was there before, under the name that can be foreseen.
    let trap = sandbox.join("tmp/modtape-recordings");
    fs::create_dir(&trap).expect("a folder");
    fs::write(sandbox.join("recordings"), "a file").expect("a file");
    for _ in 0..2 {
        let output = modtape(&sandbox, &["demo"]).expect_success();
        let told = output.stderr.contains("cannot write recordings (");
        assert!(told, "{}", output.stderr);
    }
    let found = made(&sandbox);
    assert_eq!(found.len(), 3, "{found:?}");
    for folder in found.iter().filter(|folder| **folder != trap) {
        let mode = fs::metadata(folder)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700, "{}", folder.display());
    }
    assert_eq!(fs::read_dir(&trap).expect("a folder").count(), 0);
}

#[test]
fn a_folder_that_was_named_is_never_replaced_by_another() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.join("file"), "a file").expect("a file");
    let told = ["cannot write file", "help: ", "--recordings"];
    fails_after_talk(&sandbox, &["--recordings", "file", "demo"], &[], &told);
    fails_after_talk(
        &sandbox,
        &["demo"],
        &[("MODTAPE_RECORDINGS", "file")],
        &told,
    );
    let record = ["--recordings", "file", "record", "--", "true"];
    fails(
        &sandbox,
        &record,
        125,
        &["cannot write file/", "help: ", "--recordings"],
    );
    assert!(made(&sandbox).is_empty());
}

#[track_caller]
fn fails_after_talk(sandbox: &Sandbox, args: &[&str], env: &[(&str, &str)], told: &[&str]) {
    let mut command = sandbox.modtape(args.iter().copied());
    command.envs(env.iter().copied());
    let output = run(command, LIMIT);
    assert_eq!(output.status.code(), Some(3), "{}", output.stderr);
    for words in told {
        assert!(output.stderr.contains(words), "{words}: {}", output.stderr);
    }
}

#[test]
fn a_list_tells_what_it_could_not_look_at_and_lists_the_rest() {
    let sandbox = Sandbox::new();
    sample::write(&sandbox.join("recordings/one"));
    let closed = sandbox.join("recordings/closed");
    fs::create_dir(&closed).expect("a folder");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).expect("our own folder");
    for args in [
        &["recordings", "list"][..],
        &["recordings", "list", "--json"],
    ] {
        let output = run(unprivileged(&sandbox, args), LIMIT);
        assert_eq!(output.status.code(), Some(3), "{}", output.stderr);
        assert!(output.stdout.contains("one"), "{}", output.stdout);
        let told = "warning: cannot read recordings/closed: Permission denied";
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("our own folder");
    modtape(&sandbox, &["recordings", "list"]).expect_success();
    fails(
        &sandbox,
        &["ls", "@2"],
        3,
        &["recordings holds 1 recording\n"],
    );
}

#[test]
fn what_is_being_recorded_is_said_to_be_and_by_whom() {
    let sandbox = Sandbox::new();
    let recorder = Spawned::start(sandbox.modtape(["record", "-o", "one"]));
    recorder.wait_for_stderr("modtape env");
    let info = modtape(&sandbox, &["recordings", "info", "one"]).expect_success();
    let pid = recorder.id();
    let told = format!("status       being recorded by pid {pid}\n");
    assert!(info.stdout.contains(&told), "{}", info.stdout);
    assert!(
        !info.stdout.contains("did not end in order"),
        "{}",
        info.stdout
    );
    let json = modtape(&sandbox, &["recordings", "info", "one", "--json"]).expect_success();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("it is JSON");
    assert_eq!(json["status"], "recording");
    assert_eq!(json["recorder_pid"], pid);
    recorder.signal(rustix::process::Signal::INT);
    recorder.end().expect_success();
    let info = modtape(&sandbox, &["recordings", "info", "one"]).expect_success();
    assert!(
        info.stdout.contains("status       closed\n"),
        "{}",
        info.stdout
    );
}

#[test]
fn a_log_that_cannot_be_written_is_said_once_and_stops_nothing() {
    let sandbox = Sandbox::new();
    let list = (
        ("proxy.golang.org", "/m/@v/list"),
        (200, "text/plain", "v1.0.0\n"),
    );
    let origin = Origin::start(Content::files([list]));
    let url = "https://proxy.golang.org/m/@v/list";
    let modtape = tested();
    let fetch = [&*modtape.to_string_lossy(), "fetch", url, url, url].map(str::to_owned);
    let fetch: Vec<&str> = fetch.iter().map(String::as_str).collect();
    let flags = ["--log-file", "/dev/full"];
    let output = run(
        crate::record::record(&sandbox, &origin, &flags, &fetch),
        LIMIT,
    );
    let output = output.expect_success();
    let told = output
        .stderr
        .matches("warning: cannot write the log /dev/full: ");
    assert_eq!(told.count(), 1, "{}", output.stderr);
    assert_eq!(crate::record::recording(&sandbox, "one").rows().len(), 3);
}

#[test]
fn an_open_stream_is_written_to_where_it_is() {
    let sandbox = Sandbox::new();
    sample::write(&sandbox.join("recordings/one"));
    let whole = modtape(&sandbox, &["export", "csv", "one"])
        .expect_success()
        .stdout;
    for path in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let file = sandbox.join("out");
        fs::write(&file, "old\n").expect("a file");
        let before = fs::metadata(&file).expect("it is there");
        let out = fs::File::options()
            .append(true)
            .open(&file)
            .expect("it is there");
        let mut export = sandbox.modtape(["export", "csv", "one", "-o", path]);
        export
            .stdout(out)
            .stderr(Stdio::null())
            .stdin(Stdio::null());
        assert!(export.status().expect("modtape runs").success(), "{path}");
        let written = fs::read_to_string(&file).expect("text");
        assert_eq!(written, format!("old\n{whole}"), "{path}");
        let after = fs::metadata(&file).expect("it is there");
        let inode = std::os::unix::fs::MetadataExt::ino;
        assert_eq!(inode(&before), inode(&after), "{path}");
    }
}

#[test]
fn time_that_is_over_is_124_with_or_without_a_command() {
    let sandbox = Sandbox::new();
    for args in [
        &["record", "-o", "one", "--timeout", "50ms"][..],
        &["replay", "one", "--timeout", "50ms"],
    ] {
        let output = modtape(&sandbox, args);
        assert_eq!(
            output.status.code(),
            Some(124),
            "{args:?}: {}",
            output.stderr
        );
    }
    let help = modtape(&sandbox, &["record", "--help"])
        .expect_success()
        .stdout;
    assert!(help.contains("a recorder without one"), "{help}");
}
