//! Where the system does not allow namespaces, modtape says which switch that is, and leaves nothing.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use super::*;

/// Runs modtape by `script`, as root of a user namespace whose limits it may change, and in which all users
/// are themselves.
fn limited(sandbox: &Sandbox, script: &str) -> Output {
    let mut unshare = sandbox.command("unshare");
    // Only what is executed as a root that is mapped has root's rights.
    let mapped = "echo ready; read -r go; exec sh -euc \"$1\" \"$0\"";
    unshare.args(["--user", "sh", "-euc", mapped]);
    unshare.arg(sandbox.join("modtape")).arg(script);
    unshare.stdin(Stdio::piped()).stdout(Stdio::piped());
    unshare.stderr(Stdio::piped());
    let mut child = unshare.spawn().expect("unshare can be run");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut ready = String::new();
    stdout.read_line(&mut ready).expect("text");
    assert_eq!(ready, "ready\n");
    for map in ["uid_map", "gid_map"] {
        let path = format!("/proc/{}/{map}", child.id());
        fs::write(path, "0 0 65536").expect("root maps whom it wants");
    }
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"\n").expect("it reads a line");
    let ended = child.wait_with_output().expect("it ends");
    Output {
        status: ended.status,
        stdout: String::new(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

#[test]
fn the_switch_of_the_system_is_named_and_nothing_is_left() {
    let name = "the_switch_of_the_system_is_named_and_nothing_is_left";
    if !has_namespaces(name) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return skipped(&format!("not root: {name}"));
    }
    let record = "record --netns -o one -- touch ran";
    let nobody = format!("setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups");
    for (limit, who, expected) in [
        ("max_net_namespaces", "", "user.max_net_namespaces"),
        ("max_net_namespaces", &nobody[..], "user.max_net_namespaces"),
        ("max_user_namespaces", &nobody, "user.max_user_namespaces"),
    ] {
        let sandbox = Sandbox::new();
        // A copy that everybody can run, in a folder of theirs.
        User::Unprivileged.modtape(&sandbox, &[]);
        let script = format!("echo 0 > /proc/sys/user/{limit}; exec {who} \"$0\" {record}");
        let output = limited(&sandbox, &script);
        assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
        let said = output.stderr;
        assert!(
            said.contains("cannot set up a network namespace: unshare"),
            "{said}"
        );
        assert!(
            said.contains("help: `sudo sysctl ") && said.contains(expected),
            "{said}"
        );
        assert!(!sandbox.join("ran").exists());
        assert!(!sandbox.join("recordings/one").exists());
        // Where its own folder was, which depends on whose the sandbox is.
        for folder in ["run/modtape", "tmp/modtape-0"] {
            let left = fs::read_dir(sandbox.join(folder));
            assert_eq!(left.map_or(0, Iterator::count), 0, "{folder}");
        }
    }
}

#[test]
fn a_namespace_is_for_a_command() {
    let sandbox = Sandbox::new();
    for (args, expected) in [
        (&["record", "--netns"][..], "--netns needs a command"),
        (&["record", "--host-port", "80", "--", "true"], "--netns"),
        (
            &["record", "--netns", "--mode", "gateway", "--", "true"],
            "--netns",
        ),
    ] {
        let output = run(sandbox.modtape(args.iter().copied()), LIMIT);
        assert_eq!(
            output.status.code(),
            Some(125),
            "{args:?}: {}",
            output.stderr
        );
        assert!(
            output.stderr.contains(expected),
            "{args:?}: {}",
            output.stderr
        );
    }
}
