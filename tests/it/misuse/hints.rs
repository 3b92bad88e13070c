//! What is advised can be pasted: it works as it stands, with the flags that there were.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::LIMIT;
use crate::support::*;

const HOST: &str = "git.corp.example";
const LIST: &str = "/m/@v/list";

/// Any host may be a module's own, so that a tunnel is something that is missing.
const GOPROXY: &str = "https://proxy.golang.org,direct";

/// A folder of recordings that a shell would read as three words.
const TAPES: &str = "my o'wn tapes";

fn origin() -> Origin {
    let list = ((HOST, LIST), (200, "text/plain", "v1.0.0\n"));
    let other = (("other.example", LIST), (200, "text/plain", "v1.1.0\n"));
    Origin::start(Content::files([list, other]))
}

/// `record` with every flag that leads to what is recorded.
fn record(sandbox: &Sandbox, origin: &Origin, command: &[&str]) -> Command {
    let port = origin.addr().port();
    let to = format!("::127.0.0.1:{port}");
    let mut modtape = sandbox.modtape(["--recordings", TAPES, "record", "-o", "one"]);
    modtape.args(["--intercept", HOST, "--upstream-proxy", "none"]);
    modtape.args([
        "--resolve",
        "unused.example:443:192.0.2.1",
        "--connect-to",
        &to,
    ]);
    modtape.arg("--upstream-ca").arg(origin.root_pem_path());
    modtape.arg("--").args(command);
    modtape.env("GOPROXY", GOPROXY);
    modtape
}

/// The words that ask for these URLs.
fn fetch(urls: &[&str]) -> Vec<String> {
    let modtape = tested().to_string_lossy().into_owned();
    let urls = urls.iter().map(|url| format!("https://{url}"));
    [modtape, "fetch".into()].into_iter().chain(urls).collect()
}

fn texts(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Pastes a line into a shell that finds modtape on its PATH.
fn paste(sandbox: &Sandbox, line: &str) -> Output {
    let bin = sandbox.join("bin");
    std::fs::create_dir_all(&bin).expect("a folder");
    let link = bin.join("modtape");
    if !link.exists() {
        symlink(tested(), &link).expect("a new link");
    }
    let mut shell = sandbox.command("/bin/sh");
    shell.env("GOPROXY", GOPROXY);
    shell.env("PATH", search_path(&[&bin])).args(["-c", line]);
    run(shell, LIMIT)
}

/// The one command line that is advised.
#[track_caller]
fn advised(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .match_indices("modtape record ")
        .map(|(at, _)| &stderr[at..])
        .collect();
    let [line] = lines[..] else {
        panic!("not one advice but {}: {stderr}", lines.len());
    };
    let line = line.lines().next().unwrap_or_default();
    line.split('`').next().unwrap_or_default().to_owned()
}

#[test]
fn a_recording_is_completed_by_the_command_that_it_is_said_to_be() {
    let sandbox = Sandbox::new();
    let origin = origin();
    let asks = fetch(&[&format!("{HOST}{LIST}"), &format!("other.example{LIST}")]);
    let output = run(record(&sandbox, &origin, &texts(&asks)), LIMIT).expect_success();
    assert!(
        output.stderr.contains("replay: partial:"),
        "{}",
        output.stderr
    );
    let line = advised(&output.stderr);
    assert!(
        line.contains("--intercept git.corp.example,other.example "),
        "{line}"
    );
    let again = paste(&sandbox, &line).expect_success();
    assert!(
        again.stderr.contains("replay: complete"),
        "{line}: {}",
        again.stderr
    );
    drop(origin);
    let mut replay = sandbox.modtape(["--recordings", TAPES, "replay", "one", "--strict", "--"]);
    replay.args(&asks);
    run(replay, LIMIT).expect_success();
}

#[test]
fn what_a_replay_misses_is_recorded_by_the_command_that_it_shows() {
    let sandbox = Sandbox::new();
    let origin = origin();
    let asks = fetch(&[&format!("{HOST}{LIST}")]);
    run(record(&sandbox, &origin, &texts(&asks)), LIMIT).expect_success();
    let more = fetch(&[&format!("{HOST}{LIST}"), &format!("other.example{LIST}")]);
    let replay = |name: &str| {
        let mut replay = sandbox.modtape(["--recordings", TAPES, "replay", name, "--strict", "--"]);
        replay.args(&more);
        run(replay, LIMIT)
    };
    let output = replay("one");
    let told = output.stderr.rsplit("record what is missing: ").next();
    let line = advised(told.unwrap_or_default());
    paste(&sandbox, &line).expect_success();
    drop(origin);
    replay("one-more").expect_success();
}

#[test]
fn a_secret_in_a_hint_is_a_place_to_fill_in() {
    let sandbox = Sandbox::new();
    let args = [
        "record",
        "-o",
        "one",
        "--upstream-proxy",
        "http://ana:hunter2@127.0.0.1:9",
    ];
    let mut modtape = sandbox.modtape(args);
    modtape.args(["--", "true"]);
    let output = run(modtape, LIMIT).expect_success();
    let line = advised(&output.stderr);
    assert!(
        line.contains("--upstream-proxy 'http://<…>@127.0.0.1:9'"),
        "{line}"
    );
    assert!(!output.stderr.contains("redacted:"), "{}", output.stderr);
    let manifest = std::fs::read_to_string(sandbox.join("recordings/one/recording.json"));
    let manifest = manifest.expect("there is a manifest");
    assert!(
        manifest.contains("--upstream-proxy=") && !manifest.contains("hunter2"),
        "{manifest}"
    );
}

#[test]
fn what_looks_further_means_the_same_recording_in_any_folder() {
    let sandbox = Sandbox::new();
    let long = "line\n".repeat(50);
    let origin = Origin::start(Content::files([((HOST, LIST), (200, "text/plain", long))]));
    let asks = fetch(&[&format!("{HOST}{LIST}")]);
    run(record(&sandbox, &origin, &texts(&asks)), LIMIT).expect_success();
    for (args, before) in [
        (&["show", "1", "one"][..], "the whole body: "),
        (&["show", "99", "one"], "try `"),
        (&["ls", "other"], "try `"),
    ] {
        let mut command = sandbox.modtape(["--recordings", TAPES]);
        command.args(args);
        let output = run(command, LIMIT);
        let said = format!("{}{}", output.stdout, output.stderr);
        let line = said.rsplit(before).next().unwrap_or_default();
        let line = line.split(['`', '\n']).next().unwrap_or_default();
        let pasted = paste(&sandbox, line).expect_success();
        assert!(!pasted.stdout.is_empty(), "{line}");
    }
}

#[test]
fn a_demos_hints_do_not_lead_to_its_origin_which_is_gone() {
    let sandbox = Sandbox::new();
    run(sandbox.modtape(["demo"]), LIMIT).expect_success();
    let mut replay = sandbox.modtape(["replay", "@last", "--"]);
    replay
        .arg(tested())
        .args(["fetch", "https://sum.golang.org/nothing"]);
    let output = run(replay, LIMIT);
    let told = output.stderr.rsplit("record what is missing: ").next();
    let line = advised(told.unwrap_or_default());
    assert!(line.starts_with("modtape record --cold -o demo-"), "{line}");
    assert!(!line.contains("--connect-to"), "{line}");
}
