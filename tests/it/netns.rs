//! A command in a network namespace of its own: what it reaches, what it cannot, and what is recorded.

mod build;
mod command;
mod escapes;
mod refusals;

use std::path::PathBuf;
use std::process::Command;

use modtape::recording::Recording;

use super::support::*;

/// Whether namespaces can be had here; else a line on stderr says that the test was skipped.
fn has_namespaces(test: &str) -> bool {
    let mut probe = program("unshare");
    probe.args(["-rn", "true"]);
    let has = has_program("unshare") && run(probe, LIMIT).status.success();
    if !has {
        skipped(&format!("no network namespaces here: {test}"));
    }
    has
}

/// Somebody who is not root.
const NOBODY: u32 = 65534;

/// Who runs modtape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    /// Whoever runs the tests.
    Own,
    /// Somebody without rights; where the tests are not run by root this is the same.
    Unprivileged,
}

/// All users that a test can be.
const USERS: [User; 2] = [User::Own, User::Unprivileged];

impl User {
    /// Whether this user differs from the one that runs the tests.
    fn is_other(self) -> bool {
        self == Self::Unprivileged && rustix::process::geteuid().is_root()
    }

    /// The modtape that is tested, run by this user in a sandbox that is theirs.
    fn modtape(self, sandbox: &Sandbox, args: &[&str]) -> Command {
        if !self.is_other() {
            return sandbox.modtape(args.iter().copied());
        }
        let copy = sandbox.join("modtape");
        if !copy.exists() {
            std::fs::copy(tested(), &copy).expect("our own folder");
        }
        // What was copied may be for reading only.
        let script = "chmod -R u+rwX \"$0\" && chown -R \"$1:$1\" \"$0\"";
        let mut give = program("sh");
        give.args(["-c", script]).arg(sandbox.path());
        run(
            {
                give.arg(NOBODY.to_string());
                give
            },
            LIMIT,
        )
        .expect_success();
        let mut command = sandbox.command("setpriv");
        let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
        command.args(ids).args(["--clear-groups", "--"]);
        command.arg(copy).args(args);
        command
    }
}

/// The flags that lead every name to `origin`, whose root is copied to where each user can read it.
fn to(origin: &Origin, sandbox: &Sandbox) -> [String; 2] {
    let root = sandbox.join("upstream.pem");
    std::fs::copy(origin.root_pem_path(), &root).expect("our own folder");
    let port = origin.addr().port();
    [
        format!("--connect-to=::127.0.0.1:{port}"),
        format!("--upstream-ca={}", root.display()),
    ]
}

fn recorded(sandbox: &Sandbox, name: &str) -> Recording {
    let dir: PathBuf = sandbox.join("recordings").join(name);
    let recording = Recording::open_whole(&dir);
    let recording = recording.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(recording.damage(), []);
    recording
}
