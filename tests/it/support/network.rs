//! A test in a network, and with mounts, of its own: it may listen anywhere and answer any name.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::corpus::skipped;
use super::sandbox::program;

/// Names the test that runs in a network of its own.
const ALONE: &str = "MODTAPE_IT_ALONE";

/// Runs `body` of the test of that full name in a network where nothing is but loopback.
///
/// The test's own process cannot move, so the binary runs again, for this one test. Where the system
/// allows no namespaces a line on stderr says that the test was skipped.
pub fn alone(test: &str, body: impl FnOnce()) {
    in_namespaces("-rnm", test, body);
}

/// The same with processes of its own too: none outlives the test, and of root's rights none is lost.
pub fn in_a_world(test: &str, body: impl FnOnce()) {
    // As root without a mapping of users: sshd changes to one that a mapping would not have.
    let flags = match rustix::process::geteuid().is_root() {
        true => "-nmpf",
        false => "-rnmpf",
    };
    in_namespaces(flags, test, body);
}

fn in_namespaces(flags: &str, test: &str, body: impl FnOnce()) {
    if env::var_os(ALONE).is_some_and(|name| name == test) {
        return body();
    }
    let unshare = |program: &std::ffi::OsStr| {
        let mut command = Command::new("unshare");
        command.args([flags, "--", "sh", "-c", SCRIPT]).arg(program);
        command
    };
    let probe = unshare("true".as_ref()).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return skipped(&format!("no network namespaces here: {test}"));
    }
    let this = env::current_exe().expect("a test knows its binary");
    let mut command = unshare(this.as_os_str());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    // Whoever runs this one has chosen it.
    command.arg("--include-ignored");
    let output = command.env(ALONE, test).output().expect("it can be run");
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "no test has that name: {said}");
}

/// Puts these texts in the place of files in /etc, for a test with mounts of its own, and as long as what is
/// returned lives. A file that is not there stays absent.
pub fn mount_etc(files: &[(&str, &str)]) -> TempDir {
    let etc = TempDir::new().expect("a temporary folder");
    for (name, text) in files {
        let (file, onto) = (etc.path().join(name), Path::new("/etc").join(name));
        fs::write(&file, text).expect("our own folder");
        if onto.exists() {
            let mounted = program("mount").arg("--bind").args([&file, &onto]).status();
            assert!(mounted.expect("mount can be run").success(), "{onto:?}");
        }
    }
    etc
}

/// Begins a script of bash that has a second network beside its own, in which `far COMMAND…` runs a command.
pub const FAR: &str = include_str!("far.sh");

/// The first process of a namespace sees its own numbers in /proc.
const SCRIPT: &str = "test $$ != 1 || mount -t proc proc /proc; ip link set lo up && \"$0\" \"$@\"";
