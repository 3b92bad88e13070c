//! Trust, both ways: whom we believe, who believes us, and what our keys can be used for.
//!
//! Every table reports all of its failing rows at once.

mod chain_table;
mod chains;
mod hellos;
mod keys;
mod leafs;
mod panics;
mod pinned;
mod pki;
mod raw_hello;
mod suites;

use crate::support::*;

const HOST: &str = "proxy.golang.org";

/// Fails with every line, if there is one.
#[track_caller]
fn assert_none(failures: &[String]) {
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
