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

/// Runs the words behind it under a filter of system calls that denies unshare(2), as Docker's default does.
const DENY_UNSHARE: &str = r#"
import ctypes, os, platform, struct, sys
number = {'x86_64': 272, 'aarch64': 97}[platform.machine()]
def step(code, yes, no, value):
    return struct.pack('HBBI', code, yes, no, value)
# The number of the call; if it is that one, EPERM, else whatever it does.
program = step(0x20, 0, 0, 0) + step(0x15, 0, 1, number) + step(0x06, 0, 0, 0x00050001) + step(0x06, 0, 0, 0x7fff0000)
steps = ctypes.create_string_buffer(program)
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('steps', ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
filtered = Program(4, ctypes.addressof(steps))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(filtered), 0, 0):
    sys.exit('no filter: %s' % os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn a_filter_of_system_calls_is_named() {
    let name = "a_filter_of_system_calls_is_named";
    let is_known = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    if !is_known || !has_namespaces(name) || !has_program("python3") {
        return skipped(&format!("no python3, or another processor: {name}"));
    }
    for user in USERS {
        let sandbox = Sandbox::new();
        let record = ["record", "--netns", "-o", "one", "--", "touch", "ran"];
        let modtape = user.modtape(&sandbox, &[]);
        let words = [modtape.get_program()]
            .into_iter()
            .chain(modtape.get_args());
        let words: Vec<_> = words.map(std::ffi::OsStr::to_owned).collect();
        // setpriv and its flags stay before it.
        let (modtape_itself, before) = words.split_last().expect("a program");
        let words = before.iter().map(|word| word.as_os_str());
        let python = ["python3", "-c", DENY_UNSHARE].map(std::ffi::OsStr::new);
        let words: Vec<_> = words.chain(python).collect();
        let mut modtape = sandbox.command(words[0]);
        modtape.args(&words[1..]).arg(modtape_itself).args(record);
        let output = run(modtape, LIMIT);
        assert_eq!(
            output.status.code(),
            Some(125),
            "{user:?}: {}",
            output.stderr
        );
        for text in [
            "cannot set up a network namespace: unshare",
            "help: a seccomp filter denies it",
        ] {
            assert!(output.stderr.contains(text), "{user:?}: {}", output.stderr);
        }
        assert!(!sandbox.join("ran").exists() && !sandbox.join("recordings/one").exists());
        let left = fs::read_dir(sandbox.join("run/modtape"));
        assert_eq!(left.map_or(0, Iterator::count), 0);
    }
}

#[test]
fn root_without_user_namespaces_is_told_that_nothing_is_proved() {
    let name = "root_without_user_namespaces_is_told_that_nothing_is_proved";
    if !has_namespaces(name) || !rustix::process::geteuid().is_root() {
        return skipped(&format!("not root, or no namespaces: {name}"));
    }
    let sandbox = Sandbox::new();
    User::Unprivileged.modtape(&sandbox, &[]);
    let script =
        "echo 0 >/proc/sys/user/max_user_namespaces; \"$0\" record --netns -o one -- touch ran
        exec \"$0\" recordings info one >&2";
    let output = limited(&sandbox, script);
    assert!(output.status.success(), "{}", output.stderr);
    assert!(sandbox.join("ran").exists());
    let told = output
        .stderr
        .matches("0 packets left; that is no proof: the command was root outside");
    // In the summary, and in what is known of the recording.
    assert_eq!(told.count(), 2, "{}", output.stderr);
}

#[test]
fn a_namespace_is_for_a_command() {
    let sandbox = Sandbox::new();
    for (args, expected) in [
        (&["record", "--netns"][..], "--netns needs a command"),
        (&["replay", "one", "--netns"], "--netns needs a command"),
        (&["record", "--host-port", "80", "--", "true"], "--netns"),
        (
            &["record", "--netns", "--host-port", "0", "--", "true"],
            "--host-port",
        ),
        (
            &["record", "--netns", "--host-port", "65536", "--", "true"],
            "--host-port",
        ),
        (
            &["record", "--netns", "--mode", "gateway", "--", "true"],
            "--netns",
        ),
        (
            &["record", "--netns", "--mode", "transparent", "--", "true"],
            "--netns",
        ),
        (
            &["record", "--netns", "--listen", "127.0.0.1:0", "--", "true"],
            "--listen has no effect with --netns",
        ),
        (
            &["record", "--netns", "--token", "auto", "--", "true"],
            "--token has no effect with --netns",
        ),
        (
            &["record", "--netns", "--from", "10.0.0.0/8", "--", "true"],
            "--from",
        ),
        (
            &[
                "replay",
                "one",
                "--netns",
                "--listen",
                "0.0.0.0:0",
                "--",
                "true",
            ],
            "--listen",
        ),
        (
            &["replay", "one", "--netns", "--mode", "mitm", "--", "true"],
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
