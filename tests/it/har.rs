//! The HAR of a real recording, read by the tools that people use.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use modtape::recording::Recording;

use crate::record::{record, recording};
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(180);

/// Records `go mod tidy` and gives the HAR that holds all bodies.
fn recorded(sandbox: &Sandbox) -> Option<PathBuf> {
    let project = if is_long() { "web" } else { "hello" };
    let content = Content::corpus(project, Sumdb::Heads)?;
    let go = sandbox.go("1.27")?;
    sandbox.project_without_sums(project)?;
    let origin = Origin::start(content);
    let command = [go.to_str().expect("paths of tests are text"), "mod", "tidy"];
    let flags = ["--cold", "--har-bodies", "all"];
    run(record(sandbox, &origin, &flags, &command), LIMIT).expect_success();
    Some(sandbox.join("project/recordings/one/session.har"))
}

pub(crate) fn tool(variable: &str) -> Option<OsString> {
    let found = std::env::var_os(variable).filter(|path| !path.is_empty());
    if found.is_none() {
        let message = format!("{variable} is not set: tests/run sets it");
        let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!is_ci, "{message}");
        skipped(&message);
    }
    found
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/har")
        .join(name)
}

#[test]
fn mitmproxy_and_haralyzer_read_every_entry_and_every_body() {
    let sandbox = Sandbox::new();
    let Some(har) = recorded(&sandbox) else {
        return;
    };
    assert_read_whole(&har, &recording(&sandbox, "one"));
}

/// mitmproxy and haralyzer read each exchange of the recording out of this HAR, with its whole body.
pub(crate) fn assert_read_whole(har: &Path, recording: &Recording) {
    let Some(python) = tool("MODTAPE_HAR_PY") else {
        return;
    };
    let mut check = program(python);
    check.arg(script("check.py")).arg("--bodies").arg(har);
    let output = run(check, LIMIT).expect_success();

    let mut expected: BTreeMap<(String, u16), Vec<String>> = BTreeMap::new();
    for row in recording.rows() {
        let key = (row.url.clone(), row.status.unwrap_or(0));
        let digest = row
            .body
            .map_or_else(String::new, |digest| digest.to_string());
        expected.entry(key).or_default().push(digest);
    }
    let mut entries = 0;
    for line in output.stdout.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let url = entry["url"].as_str().unwrap_or_default().to_owned();
        let status = u16::try_from(entry["status"].as_u64().unwrap_or(0)).unwrap_or(0);
        let digest = entry["sha256"].as_str().unwrap_or_default();
        let recorded = expected.get(&(url, status)).expect(line);
        assert!(
            recorded.iter().any(|known| known == digest),
            "{line}: {recorded:?}"
        );
        entries += 1;
    }
    assert_eq!(entries, recording.rows().len());
}

#[test]
fn har_validator_and_har_to_k6_accept_it() {
    let sandbox = Sandbox::new();
    let Some(har) = recorded(&sandbox) else {
        return;
    };
    assert_valid(&har);
}

/// har-validator and har-to-k6 take this HAR.
pub(crate) fn assert_valid(har: &Path) {
    let Some(modules) = tool("MODTAPE_HAR_JS") else {
        return;
    };
    let mut check = program("node");
    check
        .env("MODTAPE_HAR_JS", Path::new(&modules).join("node_modules"))
        .arg(script("check.js"))
        .arg(har);
    run(check, LIMIT).expect_success();
}
