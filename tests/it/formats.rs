//! What others read a recording as: the documented keys and nothing else, in little memory.

mod hostile;
pub mod keys;
mod memory;
mod round_trip;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::*;

const LIMIT: Duration = Duration::from_secs(180);

/// What an export of a recording printed.
#[track_caller]
fn exported(sandbox: &Sandbox, format: &str, dir: &Path) -> String {
    let dir = dir.to_str().expect("paths of tests are text");
    let output = run(sandbox.modtape(["export", format, dir]), LIMIT);
    output.expect_success().stdout
}

/// Each line as JSON.
fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}
