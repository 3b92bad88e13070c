//! Sandboxes: what children inherit, how they are stopped, what remains.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::*;

#[test]
fn a_child_inherits_nothing() {
    let sandbox = Sandbox::new();
    let output = run(sandbox.command("/usr/bin/env"), LIMIT).expect_success();
    let mut names: Vec<_> = output
        .stdout
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    let mut expected: Vec<_> = sandbox.env().into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn a_child_that_runs_too_long_is_killed_with_its_children_and_quoted() {
    let sandbox = Sandbox::new();
    let mut fifo = sandbox.command("/usr/bin/mkfifo");
    fifo.arg("alive");
    run(fifo, LIMIT).expect_success();
    let (sender, receiver) = mpsc::channel();
    let path = sandbox.join("alive");
    // Reading ends when the last process that holds the other end has.
    thread::spawn(move || sender.send(fs::read(path)));
    let mut command = sandbox.command("/bin/sh");
    command.args(["-c", "echo before; sleep 1000 > alive & wait"]);
    let ran = catch_unwind(AssertUnwindSafe(|| run(command, Duration::from_secs(1))));
    let panic = ran.expect_err("it runs too long");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("before"), "{message}");
    let read = receiver
        .recv_timeout(LIMIT)
        .expect("the child's child has ended");
    assert!(read.expect("a fifo can be read").is_empty());
}

#[test]
fn a_read_only_module_cache_does_not_remain() {
    let sandbox = Sandbox::new();
    let module = sandbox.join("modcache/example.com@v1.0.0");
    fs::create_dir(&module).expect("a folder");
    fs::write(module.join("go.mod"), "module example.com\n").expect("a file");
    fs::set_permissions(&module, Permissions::from_mode(0o555)).expect("our own folder");
    let path = sandbox.path().to_owned();
    drop(sandbox);
    assert!(!path.exists());
}

#[test]
fn modtape_of_this_build_runs() {
    run(Sandbox::new().modtape(["--version"]), LIMIT).expect_success();
}

#[test]
fn a_project_is_a_copy_whose_sums_can_be_emptied() {
    let sandbox = Sandbox::new();
    let Some(project) = sandbox.project("hello") else {
        return;
    };
    assert!(!fs::read(project.join("go.sum")).expect("a file").is_empty());
    sandbox
        .project_without_sums("hello")
        .expect("the corpus is there");
    assert!(fs::read(project.join("go.sum")).expect("a file").is_empty());
}
