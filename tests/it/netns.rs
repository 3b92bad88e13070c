//! A command in a network namespace of its own: what it reaches, what it cannot, and what is recorded.

pub(crate) mod build;
mod command;
mod daemons;
mod escapes;
mod host;
mod names;
mod refusals;
mod root;
mod terminal;
mod vcs;

use std::path::PathBuf;
use std::process::Command;

use modtape::exchange::{DialFailure, Mode};
use modtape::recording::Recording;
use modtape::recording::reader::ConnectionRow;

use serde_json::Value;

use super::support::*;

/// Whether namespaces can be had here; else a line on stderr says that the test was skipped.
pub(crate) fn has_namespaces(test: &str) -> bool {
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
pub(crate) enum User {
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
    pub(crate) fn modtape(self, sandbox: &Sandbox, args: &[&str]) -> Command {
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
pub(crate) fn to(origin: &Origin, sandbox: &Sandbox) -> [String; 2] {
    let root = sandbox.join("upstream.pem");
    std::fs::copy(origin.root_pem_path(), &root).expect("our own folder");
    [
        format!("--connect-to=::{}", origin.addr()),
        format!("--upstream-ca={}", root.display()),
    ]
}

/// Counts what leaves for anywhere but loopback, where any address leads out; what passes between modtape and
/// an origin at 192.0.2.254 by itself.
const COUNTER: &str = "
    ip addr add 192.0.2.254/32 dev lo && ip -6 addr add 2001:db8::fe/128 dev lo nodad
    ip route add default dev lo src 192.0.2.254 && ip -6 route add default dev lo src 2001:db8::fe
    nft add table inet outside
    nft add counter inet outside modtape && nft add counter inet outside other
    nft 'add chain inet outside out { type filter hook output priority 0; }'
    nft add rule inet outside out ip daddr 127.0.0.0/8 accept
    nft add rule inet outside out ip6 daddr ::1 accept
    nft add rule inet outside out ip daddr 192.0.2.254 counter name modtape accept
    nft add rule inet outside out counter name other
";

/// How many packets that counter of [`COUNTER`] has seen.
fn passed(counter: &str) -> u64 {
    let mut list = program("nft");
    list.args(["-j", "list", "counter", "inet", "outside", counter]);
    let listed = run(list, LIMIT).expect_success().stdout;
    let listed: Value = serde_json::from_str(&listed).expect("nft speaks JSON");
    let mut objects = listed["nftables"].as_array().expect("a list").iter();
    let counter = objects.find_map(|object| object["counter"]["packets"].as_u64());
    counter.expect("our counter")
}

/// Runs a script that must succeed.
fn sh(script: &str) {
    let mut shell = program("sh");
    shell.args(["-euc", script]);
    run(shell, LIMIT).expect_success();
}

fn recorded(sandbox: &Sandbox, name: &str) -> Recording {
    let dir: PathBuf = sandbox.join("recordings").join(name);
    let recording = Recording::open_whole(&dir);
    let recording = recording.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(recording.damage(), []);
    recording
}
