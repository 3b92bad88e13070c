//! Recordings with something wrong: said once, in the same words everywhere, with advice that works.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{modtape, recorded, sample, stdout};
use crate::support::Sandbox;

/// Where `recorded` puts its recording.
const NAME: &str = "recordings/tidy-1122-0452";

fn claim_complete(dir: &Path) {
    let path = dir.join("recording.json");
    let manifest = fs::read(&path).expect("a manifest");
    let mut manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    manifest["replayable"] = json!({"complete": true, "reasons": []});
    fs::write(path, manifest.to_string()).expect("a writable manifest");
}

/// How many lines of stderr speak of what is wrong.
fn told(stderr: &str) -> usize {
    let words = ["damaged", "incomplete", "unfinished", "warning:", "! "];
    let tells = |line: &&str| words.iter().any(|word| line.contains(word));
    stderr.lines().filter(tells).count()
}

#[test]
fn a_recording_that_was_damaged_since_is_called_complete_no_more() {
    let sandbox = recorded();
    claim_complete(&sandbox.join(NAME));
    let info = stdout(&sandbox, &["recordings", "info"]);
    assert!(
        info.contains("replay       complete for its command\n"),
        "{info}"
    );
    sample::damage(&sandbox.join(NAME));
    let info = stdout(&sandbox, &["recordings", "info"]);
    let since = "replay       partial\n             was complete when closed; damaged since\n";
    assert!(info.contains(since), "{info}");
    let info = stdout(&sandbox, &["recordings", "info", "--json"]);
    let info: Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!(info["replayable"]["complete"], false);
}

#[test]
fn a_replay_says_once_what_is_wrong_with_its_recording() {
    let sandbox = recorded();
    let replay = ["replay", "tidy-1122-0452", "--", "true"];
    let whole = modtape(&sandbox, &replay).expect_success();
    assert_eq!(told(&whole.stderr), 0, "{}", whole.stderr);
    sample::damage(&sandbox.join(NAME));
    let damaged = modtape(&sandbox, &replay).expect_success();
    assert_eq!(told(&damaged.stderr), 1, "{}", damaged.stderr);
    let ls = modtape(&sandbox, &["ls"]).expect_success();
    let words = ls.stderr.lines().find_map(|line| {
        let (_, words) = line.split_once("tidy-1122-0452 is damaged ")?;
        words.split(';').next()
    });
    let words = words.expect("ls says so");
    assert!(damaged.stderr.contains(words), "{}", damaged.stderr);
}

#[test]
fn the_advised_command_line_tells_where_a_recording_is_damaged() {
    let sandbox = Sandbox::new();
    for (dir, flags, name) in [
        ("recordings/ci", &[][..], "ci"),
        ("recordings/@odd & 'quoted", &[], "@last"),
        ("elsewhere/ci", &[], "./elsewhere/ci"),
        ("others/ci", &["--recordings", "others"], "ci"),
    ] {
        sample::write(&sandbox.join(dir));
        sample::damage(&sandbox.join(dir));
        let ls = [flags, &["ls", name]].concat();
        let said = modtape(&sandbox, &ls).expect_success().stderr;
        let advised = said.split('`').nth(1).expect("a command in backticks");
        let advised = advised.strip_prefix("modtape ").expect("one of ours");
        let mut shell = sandbox.command("sh");
        let tested = crate::support::tested();
        shell.env("MODTAPE", tested);
        shell.args(["-c", &format!("\"$MODTAPE\" {advised}")]);
        let info = crate::support::run(shell, super::LIMIT).expect_success();
        let shown = format!("({dir})");
        let is_it = info.stdout.contains(dir) && info.stdout.contains("damage ");
        assert!(is_it, "{advised} {shown}: {}", info.stdout);
    }
}

#[test]
fn an_export_that_lacks_an_exchange_fails_and_writes_the_rest() {
    let sandbox = recorded();
    let bodies = sandbox.join(NAME).join("bodies");
    fs::remove_dir_all(bodies).expect("our own folder");
    let all = ["export", "har", "--har-bodies", "all"];
    for to in [&["-o", "-"][..], &["-o", "a.har"]] {
        let output = modtape(&sandbox, &[&all[..], to].concat());
        assert_eq!(output.status.code(), Some(3), "{}", output.stderr);
        let told = "left out a body of exchange 2";
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
    let har = fs::read(sandbox.join("a.har")).expect("it is written");
    let har: Value = serde_json::from_slice(&har).expect("JSON");
    assert_eq!(har["log"]["entries"].as_array().map(Vec::len), Some(6));
}
