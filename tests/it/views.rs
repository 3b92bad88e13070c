//! The commands that only read, run as a user runs them, on recordings made by the real writer.

mod defects;
mod exports;
pub(crate) mod sample;
mod shells;

use std::fs;
use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::support::{Output, Sandbox, run};

const LIMIT: Duration = Duration::from_secs(30);

/// Runs modtape with the recordings of the sandbox.
fn modtape(sandbox: &Sandbox, args: &[&str]) -> Output {
    run(sandbox.modtape(args.iter().copied()), LIMIT)
}

/// What a successful run printed.
#[track_caller]
fn stdout(sandbox: &Sandbox, args: &[&str]) -> String {
    modtape(sandbox, args).expect_success().stdout
}

fn recorded() -> Sandbox {
    let sandbox = Sandbox::new();
    sample::write(&sandbox.join("recordings/tidy-1122-0452"));
    sandbox
}

/// Each line as JSON.
fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

#[test]
fn a_list_has_a_line_for_each_exchange_and_says_what_became_of_it() {
    let expected = "
ID   START    TIME   WAIT    RECV     SIZE  STATUS          HOST              WHAT
#1  +0.120   81 ms  81 ms  0.2 ms     16 B  200             proxy.golang.org  list golang.org/x/net
#2  +0.300  881 ms  81 ms  800 ms  80.0 kB  200             proxy.golang.org  zip golang.org/x/net v0.34.0
#3  +3.214   81 ms  81 ms  0.3 ms     28 B  404→            goproxy.corp      info corp.example/Lib v1.4.0 (then proxy.golang.org)
#4  +3.400  3.41 s  40 ms  3.37 s   4.1 kB  200 aborted     proxy.golang.org  zip golang.org/x/net v0.35.0
#5  +3.600       -      -       -        -  in flight       proxy.golang.org  sumdb-supported
#6  +3.700   81 ms  81 ms  0.3 ms     32 B  502 by modtape  proxy.golang.org  mod golang.org/x/net v0.36.0
6 exchanges, 4.53 s request time
";
    let sandbox = recorded();
    assert_eq!(format!("\n{}", stdout(&sandbox, &["ls"])), expected);
    let ascii = stdout(&sandbox, &["ls", "--ascii"]);
    assert!(ascii.contains("404->") && ascii.is_ascii(), "{ascii}");
}

#[test]
fn the_slowest_come_first_when_asked_for() {
    let sandbox = recorded();
    let list = stdout(&sandbox, &["ls", "--sort", "time", "--top", "2"]);
    let lines: Vec<_> = list.lines().collect();
    assert!(
        lines[1].starts_with("#4") && lines[2].starts_with("#2"),
        "{list}"
    );
    assert_eq!(lines[3], "2 of 6 exchanges, 4.29 s of 4.53 s request time");
    let by_status = stdout(&sandbox, &["ls", "--sort", "status", "--json"]);
    let ids = json_lines(&by_status).into_iter();
    let ids: Vec<_> = ids.map(|line| line["id"].as_u64().unwrap_or(0)).collect();
    assert_eq!(ids, [1, 2, 4, 3, 6, 5]);
}

#[test]
fn a_list_for_programs_has_the_documented_fields() {
    let lines = json_lines(&stdout(&recorded(), &["ls", "@last", "--json"]));
    assert_eq!(lines.len(), 6);
    let fields = lines[0].as_object().expect("an object").keys();
    let fields: Vec<_> = fields.map(String::as_str).collect();
    let mut documented = [
        "id",
        "run",
        "connection",
        "method",
        "url",
        "host",
        "kind",
        "module",
        "version",
        "status",
        "state",
        "made_by",
        "outcome",
        "started_us",
        "phases_us",
        "total_us",
        "own_us",
        "body_bytes",
        "body_sha256",
    ];
    documented.sort_unstable();
    assert_eq!(fields, documented);
    assert_eq!(lines[2]["module"], "corp.example/Lib");
    assert_eq!(lines[3]["state"], "aborted");
    assert_eq!(lines[4]["state"], "in-flight");
    assert_eq!(lines[4]["phases_us"], serde_json::json!({}));
}

#[test]
fn an_exchange_is_shown_with_times_headers_and_a_short_text() {
    let expected = "
#1 GET https://proxy.golang.org/golang.org/x/net/@v/list
  what        list golang.org/x/net
  outcome     200 (HTTP/2)
  started     +0.120 (2026-11-22T04:52:00.120001Z)
  connection  1 to proxy.golang.org:443, intercepted, 142.250.4.141:443, TLS 1.3, h2
  trace       00-07070707070707070707070707070707-0000000000000001-01
Timings  81 ms
  send      <0.1 ms    0%  ▏
  wait        81 ms  100%  ███████████████████████████████████████▉
  receive    0.2 ms    0%  ▏
            <0.1 ms  modtape's own time afterwards, not in the sum
Request headers
  user-agent: Go-http-client/2.0
  accept-encoding: gzip
Response headers
  content-type: text/plain
Body  16 B, text/plain, sha256 5c0fd8b4b0f8e5a9a5b4c1ef2a6ff4a53b7f65b9b0d1a46b1a0cbe5ac0a4c3d1
  v0.33.0
  v0.34.0
";
    let shown = stdout(&recorded(), &["show", "1"]);
    let without_digest = |text: &str| {
        let lines = text.lines();
        let lines = lines.map(|line| line.split("sha256 ").next().unwrap_or(line).to_owned());
        lines.collect::<Vec<_>>()
    };
    assert_eq!(without_digest(&shown), without_digest(&expected[1..]));
}

#[test]
fn a_body_comes_out_as_it_was_received() {
    let sandbox = recorded();
    let mut command = sandbox.modtape(["show", "2", "--body"]);
    let output = command.output().expect("modtape runs");
    assert_eq!(output.stdout, sample::zip());
    let written = modtape(&sandbox, &["show", "#2", "--body", "-o", "x.zip"]).expect_success();
    assert_eq!(written.stdout, "");
    assert_eq!(
        fs::read(sandbox.join("x.zip")).expect("a file"),
        sample::zip()
    );
}

#[test]
fn what_is_not_whole_is_never_given_as_a_body() {
    let sandbox = recorded();
    for (id, why) in [
        ("4", "aborted"),
        ("5", "no recorded end"),
        ("99", "no exchange 99"),
    ] {
        let failed = modtape(&sandbox, &["show", id, "--body"]);
        assert_eq!(failed.status.code(), Some(3), "{id}");
        assert_eq!(failed.stdout, "");
        assert!(failed.stderr.starts_with("error: "), "{}", failed.stderr);
        assert!(failed.stderr.contains(why), "{}", failed.stderr);
    }
    let bodies = sandbox.join("recordings/tidy-1122-0452/bodies");
    let folder = fs::read_dir(bodies).expect("bodies").next().expect("one");
    let folder = folder.expect("a folder").path();
    let body = fs::read_dir(folder).expect("a folder").next().expect("one");
    let path = body.expect("a file").path();
    let mut altered = sample::zip();
    altered[7] ^= 1;
    fs::write(path, altered).expect("a writable file");
    let failed = modtape(&sandbox, &["show", "2", "--body"]);
    assert_eq!(failed.status.code(), Some(3));
    assert_eq!(failed.stdout, "");
    assert!(failed.stderr.contains("was altered"), "{}", failed.stderr);
}

#[test]
fn parts_of_an_exchange_are_shown_alone() {
    let sandbox = recorded();
    let curl = stdout(&sandbox, &["show", "1", "--curl"]);
    assert_eq!(
        curl,
        "curl -sS --http2 --resolve proxy.golang.org:443:142.250.4.141 \
         'https://proxy.golang.org/golang.org/x/net/@v/list'\n"
    );
    let headers = stdout(&sandbox, &["show", "1", "--headers"]);
    assert!(headers.starts_with("Request headers\n"), "{headers}");
    assert!(!headers.contains("Timings"), "{headers}");
    let json = stdout(&sandbox, &["show", "4", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["abort"]["where"], "receive");
    assert_eq!(json["request"]["url"], json["url"]);
    assert_eq!(json["response"], Value::Null);
}

#[test]
fn a_har_holds_every_exchange_whatever_state_the_recording_is_in() {
    let sandbox = recorded();
    let entries = |text: &str| {
        let har: Value = serde_json::from_str(text).expect("a HAR");
        har["log"]["entries"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(entries(&stdout(&sandbox, &["export", "har"])), 6);
    let written = modtape(&sandbox, &["export", "har", "-o", "a.har"]).expect_success();
    assert_eq!(written.stdout, "");
    assert_eq!(written.stderr, "6 exchanges written to a.har\n");
    let har = fs::read_to_string(sandbox.join("a.har")).expect("a file");
    assert_eq!(entries(&har), 6);

    sample::damage(&sandbox.join("recordings/tidy-1122-0452"));
    let damaged = modtape(&sandbox, &["export", "har"]).expect_success();
    assert!((3..=6).contains(&entries(&damaged.stdout)));
    assert!(
        damaged.stderr.contains("is damaged in"),
        "{}",
        damaged.stderr
    );
    assert!(
        damaged.stderr.contains("not recorded: lines"),
        "{}",
        damaged.stderr
    );
}

#[test]
fn a_recording_is_told_about() {
    let sandbox = recorded();
    let list = stdout(&sandbox, &["recordings", "list"]);
    let expected = "
NAME            STARTED              STATUS    TOOK  RECORDED              COMMAND
tidy-1122-0452  2026-11-22T04:52:00  closed  5.00 s  6 exchanges, 84.2 kB  go mod tidy
";
    assert_eq!(format!("\n{list}"), expected);
    let path = stdout(&sandbox, &["recordings", "path", "@last"]);
    assert_eq!(path, "recordings/tidy-1122-0452\n");
    assert_eq!(stdout(&sandbox, &["recordings", "path"]), "recordings\n");
    let info = stdout(&sandbox, &["recordings", "info"]);
    for line in [
        "status       closed\n",
        "exchanges    6, 2 without a complete response, 1 answered by modtape itself\n",
        "replay       partial\n",
        "             1 exchange was aborted: record again\n",
        "hosts        proxy.golang.org  5 exchanges, 84.1 kB\n",
        "made by      modtape 0.1.0, go1.27.3, format 1\n",
    ] {
        assert!(info.contains(line), "{line}{info}");
    }
    sample::damage(&sandbox.join("recordings/tidy-1122-0452"));
    let info = stdout(&sandbox, &["recordings", "info", "--json"]);
    let info: Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!(info["status"], "closed");
    assert!(info["damage"][0]["offset"].is_u64(), "{info}");
}

#[test]
fn who_has_no_recordings_is_told_what_to_try() {
    let sandbox = Sandbox::new();
    let failed = modtape(&sandbox, &["ls"]);
    assert_eq!(failed.status.code(), Some(3));
    assert_eq!(
        failed.stderr,
        "error: there is no @last: recordings holds 0 recordings\nhelp: try `modtape demo`\n"
    );
    let none = modtape(&sandbox, &["recordings", "list", "--json"]).expect_success();
    assert_eq!(none.stdout, "");
    let wrong = modtape(&sandbox, &["ls", "--sort", "colour"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn nothing_in_a_recording_commands_the_terminal() {
    let hostile = "a\u{1b}[2J\u{1b}]0;x\u{7}\r\n\u{9b}31m\u{202e}b'";
    let sandbox = Sandbox::new();
    sample::write_hostile(&sandbox.join("recordings/\u{1b}[31m"), hostile);
    let commands = [
        &["ls"][..],
        &["ls", "--json"],
        &["show", "1"],
        &["show", "1", "--json"],
        &["show", "1", "--curl"],
        &["show", "2"],
        &["show", "2", "--body"],
        &["show", "2", "--curl"],
        &["export", "har", "-o", "a.har"],
        &["recordings", "list"],
        &["recordings", "list", "--json"],
        &["recordings", "info"],
        &["recordings", "info", "--json"],
        &["ls", "\u{1b}[31n"],
        &["ls", "./\u{1b}[31m/bodies"],
    ];
    for args in commands {
        let output = modtape(&sandbox, args);
        let is_harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        for text in [&output.stdout, &output.stderr] {
            assert!(!text.contains(is_harmful), "{args:?}: {text:?}");
            assert!(!text.contains("\nb'"), "{args:?}: {text:?}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let sandbox = recorded();
    let commands = [
        &["ls"][..],
        &["show", "2", "--body"],
        &["export", "har", "--har-bodies", "all"],
        &["man"],
        &["completions", "zsh"],
        &["version"],
    ];
    for args in commands {
        let mut command = sandbox.modtape(args.iter().copied());
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.stdout(writer).stderr(Stdio::piped());
        let mut child = command.spawn().expect("modtape runs");
        drop(command);
        let mut stderr = String::new();
        let pipe = child.stderr.as_mut().expect("a pipe");
        pipe.read_to_string(&mut stderr).expect("text");
        let status = child.wait().expect("a child can be waited for");
        assert!(status.success(), "{args:?}: {status} {stderr}");
        assert_eq!(stderr, "", "{args:?}");
    }
}

#[test]
fn the_command_line_describes_itself() {
    let sandbox = Sandbox::new();
    let version = stdout(&sandbox, &["version", "--json"]);
    assert_eq!(json_lines(&version)[0]["recording_format"], 1);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(stdout(&sandbox, &["completions", shell]).contains("recordings"));
    }
    for (topic, words) in [
        ("filter", "KiB"),
        ("exit-codes", "124"),
        ("environment", "NO_PROXY"),
    ] {
        assert!(
            stdout(&sandbox, &["help", topic]).contains(words),
            "{topic}"
        );
    }
    let help = stdout(&sandbox, &["help", "recordings", "info"]);
    assert_eq!(help, stdout(&sandbox, &["recordings", "info", "--help"]));
    let unknown = modtape(&sandbox, &["help", "filters"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", unknown.stderr);
    assert!(
        unknown
            .stderr
            .contains("did you mean `modtape help filter`?"),
        "{}",
        unknown.stderr
    );
    let unknown = modtape(&sandbox, &["help", "cheese"]);
    assert!(unknown.stderr.contains("exit-codes"), "{}", unknown.stderr);
    stdout(&sandbox, &["man", "--dir", "man"]);
    let page = fs::read_to_string(sandbox.join("man/modtape-ls.1")).expect("a page");
    assert!(page.contains("List the exchanges of a recording"), "{page}");
}
