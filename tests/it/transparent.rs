//! Connections that the kernel redirects: each test in a network of its own, with rules of its own.

mod session;

use super::support::{LIMIT, has_program, program, run, skipped};

/// An address of the internet, as far as a test's network has one.
const REMOTE: &str = "192.0.2.1";

/// Gives the test's network a remote address, which leads to the test's own listeners.
///
/// False, with a line on stderr, where the rules that the test needs cannot be had.
fn has_rules(test: &str, tool: &str) -> bool {
    if !has_program(tool) {
        skipped(&format!("no {tool} here: {test}"));
        return false;
    }
    sh("ip address add 192.0.2.1/32 dev lo && ip address add 2001:db8::1/128 dev lo nodad");
    true
}

/// Runs a script of the shell, which has to succeed, and gives what it printed.
#[track_caller]
fn sh(script: &str) -> String {
    let mut shell = program("bash");
    shell.args(["-euc", script]);
    run(shell, LIMIT).expect_success().stdout
}
