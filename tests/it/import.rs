//! HARs become recordings: ours come back as they were, those of others can be read and replayed.

mod interruption;
mod oddities;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use modtape::exchange::field;
use serde_json::{Value, json};

use crate::har::{script, tool};
use crate::record::{record, recording};
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(180);

fn modtape(sandbox: &Sandbox, args: &[&str]) -> Output {
    run(sandbox.modtape(args.iter().copied()), LIMIT)
}

/// Records a cold `go mod tidy` of `hello` into `one` and exports `a.har` with all bodies.
fn tidied(sandbox: &Sandbox, rule: Option<Rule>) -> Option<PathBuf> {
    let content = Content::corpus("hello", Sumdb::Heads)?;
    let go = sandbox.go("1.27")?;
    sandbox.project_without_sums("hello")?;
    let origin = Origin::builder(content);
    let origin = match rule {
        Some(rule) => origin.rule(rule).start(),
        None => origin.start(),
    };
    let command = [go.to_str().expect("paths of tests are text"), "mod", "tidy"];
    run(
        record(sandbox, &origin, &["--cold", "--no-har"], &command),
        LIMIT,
    )
    .expect_success();
    export(sandbox, "one", "a.har");
    Some(go)
}

fn export(sandbox: &Sandbox, name: &str, to: &str) {
    let export = ["export", "har", name, "--har-bodies", "all", "-o", to];
    modtape(sandbox, &export).expect_success();
}

fn read(sandbox: &Sandbox, name: &str) -> Value {
    let har = fs::read(sandbox.join("project").join(name)).expect("it was written");
    serde_json::from_slice(&har).expect("JSON")
}

fn write(sandbox: &Sandbox, name: &str, har: &Value) {
    fs::write(sandbox.join(name), har.to_string()).expect("a file");
}

/// Replays a tidy, from an empty go.sum, with nothing but the recording.
fn assert_replays(sandbox: &Sandbox, go: &Path, name: &str) {
    let sums = sandbox.join("project/go.sum");
    let expected = fs::read_to_string(&sums).expect("there is a go.sum");
    fs::write(&sums, "").expect("go.sum can be emptied");
    let mut replay = sandbox.modtape(["replay", name, "--strict", "--"]);
    replay.arg(go).args(["mod", "tidy"]);
    let output = run(replay, LIMIT).expect_success();
    assert!(output.stderr.contains(" 0 missing"), "{}", output.stderr);
    assert_eq!(fs::read_to_string(&sums).expect("it is there"), expected);
}

#[test]
fn an_export_comes_back_as_it_was_and_replays() {
    let sandbox = Sandbox::new();
    let Some(go) = tidied(&sandbox, None) else {
        return;
    };
    let imported = modtape(&sandbox, &["import", "har", "a.har", "-o", "two"]).expect_success();
    let (one, two) = (recording(&sandbox, "one"), recording(&sandbox, "two"));
    let told = format!(
        "{} exchanges imported as two; see it with `modtape ls recordings/two`\n",
        one.rows().len()
    );
    assert_eq!(imported.stderr, told);
    assert!(two.damage().is_empty() && two.manifest().redacted);
    assert_eq!(one.manifest().id, two.manifest().id);
    export(&sandbox, "two", "b.har");
    let (before, after) = (read(&sandbox, "a.har"), read(&sandbox, "b.har"));
    assert_eq!(before["log"]["pages"], after["log"]["pages"]);
    let [before, after] = [before, after].map(|mut har| har["log"]["entries"].take());
    let entries = |har: &Value| har.as_array().expect("entries").clone();
    assert_eq!(entries(&before).len(), one.rows().len());
    for (before, after) in entries(&before).iter().zip(entries(&after)) {
        assert_eq!(*before, after);
    }
    assert_eq!(before, after);
    assert_replays(&sandbox, &go, "two");
}

#[test]
fn bodies_that_a_har_has_decoded_stand_decoded_and_replay() {
    let sandbox = Sandbox::new();
    let Some(go) = tidied(&sandbox, Some(Rule::suffix(".mod").gzip())) else {
        return;
    };
    let imported = modtape(&sandbox, &["import", "har", "a.har", "-o", "two"]).expect_success();
    let told = "the body is the decoded content, as the HAR has it, without its content-encoding";
    assert!(imported.stderr.contains(told), "{}", imported.stderr);
    let two = recording(&sandbox, "two");
    let coded = two.rows().iter().filter(|row| {
        let exchange = two.exchange(row).expect("it is whole");
        exchange
            .end()
            .is_some_and(|end| field(&end.headers, "content-encoding").is_some())
    });
    assert_eq!(coded.count(), 0);
    assert_replays(&sandbox, &go, "two");
}

#[test]
fn what_mitmproxy_writes_is_read_with_every_body_and_replays() {
    let sandbox = Sandbox::new();
    let Some(python) = tool("MODTAPE_HAR_PY") else {
        return;
    };
    let Some(go) = tidied(&sandbox, None) else {
        return;
    };
    let mut rewrite = program(python);
    rewrite
        .current_dir(sandbox.join("project"))
        .arg(script("rewrite.py"));
    run(
        {
            rewrite.args(["a.har", "b.har"]);
            rewrite
        },
        LIMIT,
    )
    .expect_success();
    modtape(&sandbox, &["import", "har", "b.har", "-o", "two"]).expect_success();
    let bodies = |name: &str| {
        let recording = recording(&sandbox, name);
        let rows = recording.rows().iter();
        let bodies = rows.map(|row| (row.url.clone(), (row.status, row.body)));
        bodies.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(bodies("one"), bodies("two"));
    assert_replays(&sandbox, &go, "two");
}

fn browser_entry(url: &str) -> Value {
    json!({
        "startedDateTime": "2026-11-22T12:52:00.5+08:00",
        "request": {
            "method": "GET", "url": url, "httpVersion": "h2",
            "headers": [{"name": "Authorization", "value": "Bearer 0123456789abcdef"}]
        },
        "response": {
            "status": 200, "httpVersion": "h2", "headers": [{"name": "set-cookie", "value": "sid=abcdef0123456789"}],
            "content": {"size": 2, "text": "ok"}
        },
        "timings": {"blocked": -1, "send": 0.1, "wait": 2, "receive": 0.4}
    })
}

#[test]
fn secrets_of_others_are_redacted_unless_that_was_asked_for() {
    let sandbox = Sandbox::new();
    let url = "https://user:hunter22@h.example/a?access_token=0123456789abcdef";
    write(
        &sandbox,
        "a.har",
        &json!({"log": {"entries": [browser_entry(url)]}}),
    );
    modtape(&sandbox, &["import", "har", "a.har", "-o", "hidden"]).expect_success();
    let shown = modtape(
        &sandbox,
        &["import", "har", "a.har", "-o", "shown", "--no-redact"],
    );
    assert!(
        shown
            .expect_success()
            .stderr
            .contains("will hold secrets in clear text")
    );
    for (name, is_redacted) in [("hidden", true), ("shown", false)] {
        let recording = recording(&sandbox, name);
        assert_eq!(recording.manifest().redacted, is_redacted);
        let journal = fs::read_to_string(recording.dir().join("journal.ndjson")).expect("text");
        for secret in ["hunter22", "0123456789abcdef", "abcdef0123456789"] {
            assert_eq!(journal.contains(secret), !is_redacted, "{name}: {secret}");
        }
    }
    let listed = modtape(&sandbox, &["ls", "hidden"]).expect_success();
    assert!(listed.stdout.contains("2.5 ms"), "{}", listed.stdout);
}

#[test]
fn an_import_is_a_new_recording_or_none() {
    let sandbox = Sandbox::new();
    let har = |urls: &[&str]| {
        let entries: Vec<_> = urls.iter().map(|url| browser_entry(url)).collect();
        json!({"log": {"entries": entries}})
    };
    write(&sandbox, "a.har", &har(&["https://h.example/a"]));
    write(
        &sandbox,
        "b.har",
        &har(&["https://h.example/a", "https://h.example/b"]),
    );
    fs::write(sandbox.join("half.har"), "{\"log\":{\"entries\":[{").expect("a file");
    let table: [(&str, &str); 4] = [
        (
            "half.har",
            "error: cannot import half.har: not a whole HAR file: it ends before the end of its first",
        ),
        ("none.har", "error: cannot import none.har: No such file"),
        (".", "error: cannot import .: not a regular file\n"),
        (
            "/dev/null",
            "error: cannot import /dev/null: not a regular file\n",
        ),
    ];
    for (file, told) in table {
        let failed = modtape(&sandbox, &["import", "har", file]);
        assert_eq!(failed.status.code(), Some(3), "{file}");
        assert!(failed.stderr.starts_with(told), "{file}: {}", failed.stderr);
        assert!(!sandbox.join("recordings").exists(), "{file}");
    }
    modtape(&sandbox, &["import", "har", "a.har"]).expect_success();
    let name = modtape(&sandbox, &["recordings", "list"])
        .expect_success()
        .stdout;
    assert!(name.contains("har-"), "{name}");
    let import = ["import", "har", "b.har", "-o", "one"];
    modtape(&sandbox, &["import", "har", "a.har", "-o", "one"]).expect_success();
    let taken = modtape(&sandbox, &import);
    assert!(
        taken
            .stderr
            .contains("recordings/one exists already\nhelp: --force replaces it"),
        "{}",
        taken.stderr
    );
    assert_eq!(recording(&sandbox, "one").rows().len(), 1);
    modtape(&sandbox, &[&import[..], &["--force"]].concat()).expect_success();
    assert_eq!(recording(&sandbox, "one").rows().len(), 2);
}

#[test]
fn memory_does_not_grow_with_the_number_of_entries() {
    let peak = |entries: usize| {
        let sandbox = Sandbox::new();
        let mut entry = browser_entry("https://h.example/a");
        entry["response"]["content"]["text"] = "a body\n".repeat(300_000).into();
        write(
            &sandbox,
            "a.har",
            &json!({"log": {"entries": vec![entry; entries]}}),
        );
        let spawned = Spawned::start(sandbox.modtape(["import", "har", "a.har", "-o", "one"]));
        let peak = Process(spawned.id()).watch_peak();
        spawned.end().expect_success();
        assert_eq!(recording(&sandbox, "one").rows().len(), entries);
        peak.recv().expect("it has ended")
    };
    let (few, many) = (peak(3), peak(count(12, 100)));
    eprintln!("peak RSS {few} KiB, {many} KiB");
    assert!(many < few + (8 << 10), "{few} KiB, {many} KiB");
}

/// How large a hostile entry is, bytes.
fn hostile_bytes() -> usize {
    count(8, 40) << 20
}

/// A HAR that is so large by this, over and over.
fn filled(around: (&str, &str), part: &str) -> String {
    let parts = part.repeat(hostile_bytes() / part.len());
    let parts = parts.trim_end_matches(',');
    format!(
        "{{\"log\":{{\"entries\":[{}{parts}{}]}}}}",
        around.0, around.1
    )
}

#[test]
fn a_hostile_file_takes_no_more_memory_than_a_few_times_its_largest_entry() {
    let request = "{\"request\":{\"method\":\"GET\",\"url\":\"http://h/\",\"headers\":[";
    let response =
        "{\"request\":{\"method\":\"GET\",\"url\":\"http://h/\"},\"response\":{\"status\":200,";
    let content = format!("{response}\"content\":{{\"text\":\"");
    let table = [
        ("fields", filled((request, "]}}"), "[\"\",\"\"],")),
        ("objects", filled((request, "]}}"), "{\"name\":\"\"},")),
        ("escapes", filled((&content, "\"}}}"), "\\u0001")),
        ("text", filled((&content, "\"}}}"), "x")),
        ("deep", filled(("", ""), "[")),
        (
            "attempts",
            filled(("{\"_modtape\":{\"attempts\":[", "]}}"), "{},"),
        ),
        ("entries", filled(("", ""), "{},")),
        (
            "keys",
            filled(("{", "\"z\":0}"), "\"a\":0,").replace(",]", "]"),
        ),
    ];
    let bound = (24 << 10) + 4 * (hostile_bytes() as u64 >> 10);
    let mut failing = Vec::new();
    for (what, har) in table {
        let sandbox = Sandbox::new();
        fs::write(sandbox.join("a.har"), har).expect("a file");
        let import = ["import", "har", "a.har", "-o", "one"];
        let spawned = Spawned::start(sandbox.modtape(import));
        let peak = Process(spawned.id()).watch_peak();
        let ended = spawned.end();
        let peak = peak.recv().expect("it has ended");
        let code = ended.status.code();
        eprintln!("{what}: exit code {code:?}, peak RSS {} MiB", peak >> 10);
        let is_sound = peak < bound && matches!(code, Some(0 | 3));
        if !is_sound || ended.stderr.contains("panicked") {
            failing.push((what, code, peak));
        }
    }
    assert!(failing.is_empty(), "{failing:?}");
}
