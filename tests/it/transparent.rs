//! Connections that the kernel redirects: each test in a network of its own, with the rules that
//! `modtape env` prints.

mod captures;
mod clients;
mod passing;
mod rules;
mod session;

use std::fs;
use std::path::Path;

use super::support::{LIMIT, Sandbox, has_program, program, run, skipped};

/// An address of the internet, as far as a test's network has one.
pub(crate) const REMOTE: &str = "192.0.2.1";

/// The same in IPv6.
const REMOTE_6: &str = "2001:db8::1";

/// What a wrapped shell runs first: connections of its user are redirected from then on.
///
/// The shell's parent is modtape.
const REDIRECT: &str = "/proc/$PPID/exe env nft --mode transparent --uid 0 | sh";

/// Gives the test's network the remote addresses, which lead to the test's own listeners.
///
/// False, with a line on stderr, where the rules that the test needs cannot be had.
pub(crate) fn has_rules(test: &str, tool: &str) -> bool {
    if !has_program(tool) {
        skipped(&format!("no {tool} here: {test}"));
        return false;
    }
    sh(&format!(
        "ip address add {REMOTE}/32 dev lo && ip address add {REMOTE_6}/128 dev lo nodad"
    ));
    true
}

/// Has these names lead to these addresses, for all in the test's own mounts.
pub(crate) fn names(sandbox: &Sandbox, names: &[(&str, &str)]) {
    let hosts = sandbox.join("hosts");
    let lines = names.iter().map(|(name, at)| format!("{at} {name}\n"));
    let lines = lines.collect::<String>();
    fs::write(&hosts, format!("127.0.0.1 localhost\n{lines}")).expect("our own folder");
    sh(&format!("mount --bind {} /etc/hosts", text(&hosts)));
}

/// Runs a script of the shell, which has to succeed, and gives what it printed.
#[track_caller]
fn sh(script: &str) -> String {
    let mut shell = program("bash");
    shell.args(["-euc", script]);
    run(shell, LIMIT).expect_success().stdout
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}
