//! `modtape report`: what is found, in each form, from any kind of recording.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::formats::keys::{collect, documented, rare};
use crate::record::record;
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(60);

/// A go-like client that asks for these one after another.
fn fetches(paths: &[&str]) -> Vec<String> {
    let modtape = tested().to_string_lossy().into_owned();
    let urls = paths
        .iter()
        .map(|path| format!("https://proxy.golang.org{path}"));
    [modtape, "fetch".into()].into_iter().chain(urls).collect()
}

const MOD: &str = "/rsc.io/quote/@v/v1.5.2.mod";
const ZIP: &str = "/rsc.io/quote/@v/v1.5.2.zip";

fn content() -> Content {
    let host = "proxy.golang.org";
    Content::files([
        ((host, MOD), (200, "text/plain", "module rsc.io/quote\n")),
        ((host, ZIP), (200, "application/zip", "zip")),
    ])
}

fn start(sandbox: &Sandbox, origin: &Origin, flags: &[&str], paths: &[&str]) -> Spawned {
    let command = fetches(paths);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    Spawned::start(record(sandbox, origin, flags, &command))
}

fn report(sandbox: &Sandbox, args: &[&str]) -> Output {
    let args = ["report", "one"].into_iter().chain(args.iter().copied());
    run(sandbox.modtape(args), LIMIT)
}

fn json(sandbox: &Sandbox) -> Value {
    let output = report(sandbox, &["--format", "json"]).expect_success();
    serde_json::from_str(&output.stdout).expect("JSON")
}

/// A recording of a zip that is never answered, ended by this signal.
fn hang(signal: Signal) -> Sandbox {
    let sandbox = Sandbox::new();
    let silent = Rule::suffix(".zip").silent();
    let origin = Origin::builder(content()).rule(silent).start();
    let modtape = start(&sandbox, &origin, &["--stall-after", "300ms"], &[MOD, ZIP]);
    modtape.wait_for_stderr("[MT1");
    modtape.signal(signal);
    drop(modtape.end());
    sandbox
}

#[test]
fn a_hang_that_was_interrupted_is_a_problem_with_its_evidence() {
    let sandbox = hang(Signal::INT);
    let report = json(&sandbox);
    let finding = &report["findings"][0];
    assert_eq!(report["schema"], 1);
    assert_eq!(
        (&finding["severity"], &finding["docs"]),
        (
            &"problem".into(),
            &format!("modtape help {}", finding["code"].as_str().expect("a code")).into()
        )
    );
    let title = finding["title"].as_str().expect("a title");
    assert!(
        title.contains("proxy.golang.org") && title.contains("zip rsc.io/quote v1.5.2"),
        "{title}"
    );
    assert_eq!(
        (
            &finding["evidence"][0]["kind"],
            &finding["evidence"][0]["id"]
        ),
        (&"exchange".into(), &2.into())
    );
    let split = report["split_us"].as_object().expect("an object").values();
    let sum: u64 = split.filter_map(Value::as_u64).sum();
    assert_eq!(Some(sum), report["wall_us"].as_u64());
}

#[test]
fn a_recorder_that_was_killed_in_the_middle_of_a_hang_is_explained_too() {
    let sandbox = hang(Signal::KILL);
    let report = json(&sandbox);
    assert_eq!(
        (&report["closed"], &report["exit_code"]),
        (&false.into(), &Value::Null)
    );
    assert_eq!(report["findings"][0]["severity"], "problem");
    let title = report["findings"][0]["title"].as_str().expect("a title");
    assert!(title.contains("zip rsc.io/quote v1.5.2"), "{title}");
}

#[test]
fn a_healthy_run_has_no_finding_and_passes_every_gate() {
    let sandbox = Sandbox::new();
    let origin = Origin::start(content());
    let modtape = start(&sandbox, &origin, &[], &[MOD, ZIP]);
    let output = modtape.end().expect_success();
    assert!(!output.stderr.contains("[MT"), "{}", output.stderr);
    let gates = ["--fail-on", "problem,slow,stall,total>10m,MT101"];
    let text = report(&sandbox, &gates).expect_success().stdout;
    assert!(text.contains("nothing is wrong: 2 requests in "), "{text}");
    let report = json(&sandbox);
    let mut findings = report["findings"].as_array().expect("a list").iter();
    // The zip is none, which nobody minded.
    assert!(
        findings.all(|finding| finding["severity"] == "note"),
        "{report:#}"
    );
    let markdown = self::report(&sandbox, &["--format", "markdown"]).expect_success();
    assert!(
        markdown.stdout.starts_with("### modtape: one"),
        "{}",
        markdown.stdout
    );
}

#[test]
fn a_gate_that_is_hit_exits_with_1_and_a_code_that_does_not_exist_with_2() {
    let sandbox = hang(Signal::INT);
    for (gate, code) in [
        ("problem", 1),
        ("stall", 1),
        ("total>1ms", 1),
        ("MT131", 0),
        ("total>1h", 0),
        ("MT999", 2),
        ("MT", 2),
        ("problems", 2),
        ("Problem", 1),
        ("MT131,stall", 1),
        ("131", 0),
        ("total", 2),
        ("total>fast", 2),
    ] {
        let output = report(&sandbox, &["--fail-on", gate]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{gate}: {}",
            output.stderr
        );
        let is_told = code == 0 || output.stderr.contains("--fail-on");
        assert!(is_told, "{gate}: {}", output.stderr);
    }
}

#[test]
fn in_github_actions_each_cause_is_an_annotation() {
    let sandbox = hang(Signal::INT);
    let mut modtape =
        sandbox.modtape(["report", "one", "--format", "markdown", "-o", "summary.md"]);
    modtape.env("GITHUB_ACTIONS", "true");
    let output = run(modtape, LIMIT).expect_success();
    assert_eq!(
        output.stderr.matches("::warning title=modtape MT").count(),
        1,
        "{}",
        output.stderr
    );
    let written = std::fs::read_to_string(sandbox.join("summary.md")).expect("it was written");
    assert!(written.contains("| finding |"), "{written}");
}

#[test]
fn of_an_imported_har_is_said_what_it_can_know() {
    let sandbox = hang(Signal::INT);
    let export = sandbox.modtape(["export", "har", "one", "-o", "a.har"]);
    run(export, LIMIT).expect_success();
    let import = sandbox.modtape(["import", "har", "a.har", "-o", "two"]);
    run(import, LIMIT).expect_success();
    let two = sandbox.modtape(["report", "two", "--format", "json"]);
    let output = run(two, LIMIT).expect_success();
    let report: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(report["requests"], 2);
    for finding in report["findings"].as_array().expect("a list") {
        // A HAR has neither the number of processors nor the command's processes.
        let code = finding["code"].as_str().expect("a code");
        assert!(!code.starts_with("MT20"), "{report:#}");
    }
}

/// A key without the names of hosts and parts in it, which documentation cannot list.
fn general(key: &str) -> String {
    for part in ["split_us", "idle_us", "answered"] {
        if key.starts_with(&format!("{part}.")) {
            return part.to_owned();
        }
    }
    match (key.strip_prefix("hosts."), key.rsplit_once('.')) {
        (Some(_), Some((_, last))) => format!("hosts.NAME.{last}"),
        _ => key.to_owned(),
    }
}

#[test]
fn every_key_is_documented_and_every_documented_one_is_there() {
    let hang = hang(Signal::INT);
    let sample = Sandbox::new();
    crate::views::sample::write(&sample.join("recordings/one"));
    let mut found = BTreeSet::new();
    for sandbox in [&hang, &sample] {
        collect(&mut found, "", &json(sandbox));
    }
    let found: BTreeSet<String> = found.iter().map(|key| general(key)).collect();
    // An empty list stands for what could be in it.
    let has_keys = |key: &String| {
        let below = format!("{key}[].");
        found.iter().any(|other| other.starts_with(&below))
    };
    let found: BTreeSet<_> = found.iter().filter(|key| !has_keys(key)).cloned().collect();
    let documented: BTreeSet<_> = documented("Report").into_iter().collect();
    let unknown: Vec<_> = found.difference(&documented).collect();
    assert!(unknown.is_empty(), "not documented: {unknown:#?}");
    let rare = rare("Report");
    let gone = documented.difference(&found);
    let gone: Vec<_> = gone.filter(|key| !rare.contains(*key)).collect();
    assert!(gone.is_empty(), "documented, but not there: {gone:#?}");
}

#[test]
fn every_code_has_a_page() {
    let sandbox = Sandbox::new();
    let list = run(sandbox.modtape(["help", "findings"]), LIMIT)
        .expect_success()
        .stdout;
    let codes = list.lines().filter_map(|line| line.trim().split_once("  "));
    let codes: Vec<_> = codes.filter(|(code, _)| code.starts_with("MT")).collect();
    assert!(codes.len() > 30, "{list}");
    for (code, name) in codes {
        let page = run(sandbox.modtape(["help", &code.to_lowercase()]), LIMIT).expect_success();
        assert!(
            page.stdout.starts_with(&format!("{code}: {}", name.trim())),
            "{}",
            page.stdout
        );
    }
    for (word, told) in [
        ("MT999", "no finding with the code MT999"),
        ("MT999", "`modtape help findings` lists the codes"),
        ("mt10", "did you mean MT101 ("),
        ("silence", "no help on silence"),
        ("reprot", "did you mean `modtape help report`?"),
        ("lock", "did you mean MT207 ("),
    ] {
        let output = run(sandbox.modtape(["help", word]), LIMIT);
        assert_eq!(output.status.code(), Some(2), "{word}");
        assert!(output.stderr.contains(told), "{word}: {}", output.stderr);
    }
    for word in ["101", "[MT101]"] {
        let page = run(sandbox.modtape(["help", word]), LIMIT).expect_success();
        assert!(page.stdout.starts_with("MT101: "), "{word}");
    }
}

#[test]
fn the_order_of_the_journals_lines_changes_no_finding() {
    let sandbox = hang(Signal::INT);
    let before = json(&sandbox);
    let folder = sandbox.join("recordings/one");
    let journal = std::fs::read_to_string(folder.join("journal.ndjson")).expect("it is there");
    let lines: Vec<&str> = journal.split_inclusive('\n').collect();
    // The first line says to which run the others belong, the last that it ended; lines of one
    // exchange or connection keep their order.
    let (first, rest) = lines.split_first().expect("there are lines");
    let (last, rest) = rest.split_last().expect("there are lines");
    let of_one = |line: &&str| {
        let record: Value = serde_json::from_str(&line[9..]).expect("JSON");
        let is_connection = record["type"] == "connection";
        (is_connection, std::cmp::Reverse(record["id"].as_u64()))
    };
    let mut rest = rest.to_vec();
    rest.sort_by_key(of_one);
    let shuffled = [&[*first], &rest[..], &[*last]].concat().concat();
    assert_ne!(shuffled, journal);
    std::fs::write(folder.join("journal.ndjson"), shuffled).expect("our own folder");
    std::fs::remove_file(folder.join("index")).expect("it is there");
    assert_eq!(json(&sandbox)["findings"], before["findings"]);
}

#[test]
fn a_request_whose_end_was_lost_is_said_once_and_does_not_count_as_waiting() {
    let sandbox = Sandbox::new();
    crate::views::sample::write(&sandbox.join("recordings/one"));
    let found = json(&sandbox);
    assert_eq!(found["lost"], 1);
    let text = report(&sandbox, &[]).expect_success().stdout;
    assert_eq!(
        text.matches("1 request whose end is lost").count(),
        1,
        "{text}"
    );
    let findings = found["findings"].to_string();
    assert!(!findings.contains("\"MT101\""), "{findings}");
}
