//! Every key of NDJSON and every column of CSV is documented, and every documented one is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;
use crate::hostile::forgery::Craft;
use crate::pcapng::sample::rich;

/// The first words in backticks of a section's table, in order.
pub fn documented(section: &str) -> Vec<String> {
    rows(section).iter().map(|row| name(row)).collect()
}

/// Those of them that stand only where something rare happened.
pub fn rare(section: &str) -> BTreeSet<String> {
    let rows = rows(section).into_iter();
    let rare = rows.filter(|row| row.contains("| rare:"));
    rare.map(|row| name(&row)).collect()
}

fn name(row: &str) -> String {
    row.split('`').next().unwrap_or_default().to_owned()
}

fn rows(section: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md");
    let text = fs::read_to_string(path).expect("it is a part of the project");
    let begin = format!("\n## {section}\n");
    let (_, text) = text.split_once(&begin).expect("it has that section");
    let text = text.split("\n## ").next().unwrap_or_default();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(str::to_owned).collect()
}

/// Names of all values: `a.b`, and in a list of objects `a[].b`.
pub fn collect(keys: &mut BTreeSet<String>, name: &str, value: &Value) {
    match value {
        Value::Object(object) if !is_one(name, object.contains_key("b64")) => {
            for (key, value) in object {
                let dot = if name.is_empty() { "" } else { "." };
                collect(keys, &format!("{name}{dot}{key}"), value);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) && !is_one(name, false) => {
            for value in list {
                collect(keys, &format!("{name}[]"), value);
            }
        }
        _ => drop(keys.insert(name.to_owned())),
    }
}

/// What is documented as one: bytes that are no text, fields of a message, phases as above.
fn is_one(name: &str, is_bytes: bool) -> bool {
    let ends = |end: &&str| name.ends_with(end);
    is_bytes || ["headers", "trailers", ".phases_us"].iter().any(ends)
}

#[tokio::test]
async fn every_key_is_documented_and_every_documented_one_is_there() {
    let rich = rich().await;
    let sandbox = Sandbox::new();
    let sample = sandbox.join("recordings/one");
    let to = sample.clone();
    let written = tokio::task::spawn_blocking(move || crate::views::sample::write(&to));
    written.await.expect("no panic");
    let mut found = BTreeSet::new();
    for dir in [rich.recorded.recording.dir(), &sample] {
        for line in json_lines(&exported(&sandbox, "ndjson", dir)) {
            assert_eq!(line["schema"], 1);
            collect(&mut found, "", &line);
        }
    }
    // Null stands for an object that is not there.
    let has_keys = |key: &String| {
        let below = format!("{key}.");
        found.iter().any(|other| other.starts_with(&below))
    };
    let found: BTreeSet<_> = found.iter().filter(|key| !has_keys(key)).cloned().collect();
    let documented: BTreeSet<_> = documented("NDJSON").into_iter().collect();
    let unknown: Vec<_> = found.difference(&documented).collect();
    assert!(unknown.is_empty(), "not documented: {unknown:#?}");
    let rare = rare("NDJSON");
    let gone: Vec<_> = documented.difference(&found).collect();
    let gone = gone.into_iter().filter(|key| !rare.contains(*key));
    assert_eq!(
        gone.collect::<Vec<_>>(),
        [""; 0],
        "documented, but not there"
    );
}

#[test]
fn the_columns_are_the_documented_ones_in_that_order() {
    let sandbox = Sandbox::new();
    let sample = sandbox.join("recordings/one");
    crate::views::sample::write(&sample);
    let csv = exported(&sandbox, "csv", &sample);
    let columns: Vec<_> = csv.lines().next().unwrap_or_default().split(',').collect();
    assert_eq!(columns, documented("CSV"));
}

/// The exchanges of a HAR by id.
fn entries(har: &str) -> Vec<Value> {
    let mut har: Value = serde_json::from_str(har).expect("a HAR");
    let entries = har["log"]["entries"].take();
    serde_json::from_value(entries).expect("a list")
}

#[test]
fn an_outcome_has_one_name_in_every_format_and_in_filters() {
    let sandbox = Sandbox::new();
    let dir = sandbox.join("recordings/one");
    crate::views::sample::write(&dir);
    let ndjson = json_lines(&exported(&sandbox, "ndjson", &dir));
    let names: Vec<_> = ndjson.iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(
        names,
        ["ok", "ok", "fallthrough", "aborted", "in-flight", "modtape"]
    );
    let said = |args: &[&str]| {
        run(sandbox.modtape(args.iter().copied()), LIMIT)
            .expect_success()
            .stdout
    };
    let listed = json_lines(&said(&["ls", "one", "--json"]));
    let listed: Vec<_> = listed.iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(listed, names, "ls --json");
    let har: Vec<_> = entries(&exported(&sandbox, "har", &dir));
    let har: Vec<_> = har
        .iter()
        .map(|entry| entry["_modtape"]["outcome"].clone())
        .collect();
    assert_eq!(har, names, "HAR");
    let csv = exported(&sandbox, "csv", &dir);
    for (line, record) in ndjson.iter().zip(csv.lines().skip(1)) {
        let (id, name) = (
            line["id"].to_string(),
            line["outcome"].as_str().unwrap_or_default(),
        );
        assert_eq!(record.split(',').nth(12), Some(name), "CSV: {record}");
        let shown: Value =
            serde_json::from_str(&said(&["show", &id, "one", "--json"])).expect("JSON");
        assert_eq!(shown["outcome"], name, "show --json");
        let filter = format!("outcome:{name}");
        let found = json_lines(&said(&["ls", "one", "--json", "-f", &filter]));
        assert!(
            found.iter().any(|found| found["id"] == line["id"]),
            "{filter}"
        );
    }
    // And an import of the HAR takes them for what they are.
    let to = sandbox.join("recordings/two");
    let path = sandbox.join("one.har");
    fs::write(&path, exported(&sandbox, "har", &dir)).expect("our own folder");
    let from = path.to_str().expect("paths of tests are text");
    said(&["import", "har", from, "-o", to.to_str().expect("the same")]);
    let again = json_lines(&said(&["ls", "two", "--json"]));
    let states = |lines: &[Value]| -> Vec<Value> {
        lines.iter().map(|line| line["state"].clone()).collect()
    };
    assert_eq!(states(&again), states(&ndjson));
}

#[test]
fn a_time_has_the_same_width_in_every_format() {
    const WALL: &str = "2026-11-22T04:52:00Z";
    let sandbox = Sandbox::new();
    let mut craft = Craft::new(&sandbox.join("recordings/one"))
        .says("started", WALL.into())
        .with("open", "wall", WALL.into())
        .with("begin", "t_us", 120_000.into());
    craft.record("end")["t_us"] = 220_000.into();
    let dir = craft.write();
    let said = |args: &[&str]| {
        run(sandbox.modtape(args.iter().copied()), LIMIT)
            .expect_success()
            .stdout
    };
    let json = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
    let (began, started) = ("2026-11-22T04:52:00.000000Z", "2026-11-22T04:52:00.120000Z");
    assert_eq!(
        json(said(&["show", "1", "one", "--json"]))["started"],
        started
    );
    assert_eq!(json(exported(&sandbox, "ndjson", &dir))["started"], started);
    let csv = exported(&sandbox, "csv", &dir);
    assert_eq!(
        csv.lines().nth(1).and_then(|line| line.split(',').nth(3)),
        Some(started)
    );
    let har = json(exported(&sandbox, "har", &dir));
    assert_eq!(har["log"]["entries"][0]["startedDateTime"], started);
    assert_eq!(har["log"]["pages"][0]["startedDateTime"], began);
    assert_eq!(
        json(said(&["recordings", "info", "one", "--json"]))["started"],
        began
    );
    assert_eq!(
        json(said(&["recordings", "list", "--json"]))["started"],
        began
    );
}
