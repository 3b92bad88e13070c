//! Exports of a line an exchange, and what `--filter` leaves of them.

use serde_json::Value;

use super::{json_lines, modtape, recorded, stdout};
use crate::record::record;
use crate::support::*;

fn ids(text: &str) -> Vec<u64> {
    let lines = json_lines(text).into_iter();
    lines.map(|line| line["id"].as_u64().unwrap_or(0)).collect()
}

#[test]
fn a_filter_picks_the_same_in_every_command() {
    let sandbox = recorded();
    for (filter, expected) in [
        ("kind:zip", &[2, 4][..]),
        ("-kind:zip status:>=400", &[3, 6]),
        ("aborted", &[4]),
        ("outcome:in-flight,modtape", &[5, 6]),
        ("fallthrough", &[3]),
        ("time:>500ms", &[2, 4]),
        ("receive:>80%", &[2, 4]),
        ("host:goproxy.corp", &[3]),
        ("module:golang.org/x/* version:v0.34.0", &[2]),
        ("v0.36", &[6]),
        ("status:none", &[5]),
    ] {
        assert_eq!(
            ids(&stdout(&sandbox, &["ls", "--json", "-f", filter])),
            expected,
            "{filter}"
        );
        let lines = stdout(&sandbox, &["export", "ndjson", "-f", filter]);
        assert_eq!(ids(&lines), expected, "{filter}");
        let har: Value = serde_json::from_str(&stdout(&sandbox, &["export", "har", "-f", filter]))
            .expect("a HAR");
        let entries = har["log"]["entries"].as_array().map_or(0, Vec::len);
        assert_eq!(entries, expected.len(), "{filter}");
    }
    let footer = stdout(&sandbox, &["ls", "-f", "-kind:zip"]);
    assert!(footer.contains("4 of 6 exchanges"), "{footer}");
    let wrong = modtape(&sandbox, &["ls", "-f", "kind:zipp"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stderr.contains("column 6") && wrong.stderr.contains("did you mean zip?"));
}

#[test]
fn no_export_takes_the_place_of_what_it_reads() {
    let sandbox = recorded();
    let dir = sandbox.join("recordings/tidy-1122-0452");
    let before = std::fs::read(dir.join("journal.ndjson")).expect("a journal");
    for name in ["journal.ndjson", "recording.json", "new.csv", "bodies/x"] {
        let path = dir.join(name).display().to_string();
        let refused = modtape(&sandbox, &["export", "csv", "-o", &path]);
        assert_eq!(refused.status.code(), Some(2), "{name}: {}", refused.stderr);
        assert!(
            refused.stderr.contains("is part of the recording"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(
        std::fs::read(dir.join("journal.ndjson")).expect("a journal"),
        before
    );
    let har = dir.join("session.har").display().to_string();
    modtape(&sandbox, &["export", "har", "-o", &har]).expect_success();
}

#[test]
fn each_line_is_what_show_says() {
    let sandbox = recorded();
    let lines = json_lines(&stdout(&sandbox, &["export", "ndjson"]));
    assert_eq!(lines.len(), 6);
    for line in lines {
        let id = line["id"].to_string();
        let shown = stdout(&sandbox, &["show", &id, "--json"]);
        assert_eq!(line, serde_json::from_str::<Value>(&shown).expect("JSON"));
    }
}

/// Reads a CSV as Python does: a JSON object a line.
const READ: &str = "
import csv, json, sys
for row in csv.DictReader(sys.stdin, strict=True):
    print(json.dumps(row))
";

#[test]
fn a_table_reads_in_python_as_it_is() {
    let sandbox = recorded();
    let csv = stdout(&sandbox, &["export", "csv"]);
    std::fs::write(sandbox.join("a.csv"), &csv).expect("it can be written");
    let mut python = program("python3");
    python
        .args(["-c", READ])
        .stdin(std::fs::File::open(sandbox.join("a.csv")).expect("a file"));
    let output = python.output().expect("python3 runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rows = json_lines(&String::from_utf8_lossy(&output.stdout));
    let lines = json_lines(&stdout(&sandbox, &["export", "ndjson"]));
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(&lines) {
        for name in ["url", "method", "host", "kind", "outcome", "traceparent"] {
            assert_eq!(row[name], line[name], "{name}");
        }
        for name in ["id", "total_us", "body_bytes"] {
            assert_eq!(row[name], line[name].to_string(), "{name}");
        }
        let wait = line["phases_us"]["wait"].as_u64().map(|us| us.to_string());
        assert_eq!(row["wait_us"], wait.unwrap_or_default());
    }
}

#[test]
fn the_script_asks_the_same_again_and_gets_the_same() {
    let sandbox = Sandbox::new();
    let host = "proxy.golang.org";
    let content = Content::files([
        ((host, "/a.b/c/@v/list"), (200, "text/plain", "v1.0.0\n")),
        (
            (host, "/a.b/c/@v/v1.0.0.mod"),
            (200, "text/plain", "module a.b/c\n"),
        ),
    ]);
    let origin = Origin::start(content);
    let ask = "for p in list v1.0.0.mod v9.9.9.info; do
        curl -sS -o /dev/null https://proxy.golang.org/a.b/c/@v/$p; done";
    let limit = std::time::Duration::from_secs(60);
    run(record(&sandbox, &origin, &[], &["sh", "-c", ask]), limit).expect_success();
    let script = stdout(&sandbox, &["export", "curl", "one"]);
    std::fs::write(sandbox.join("ask.sh"), &script).expect("it can be written");
    std::fs::copy(origin.root_pem_path(), sandbox.join("root.pem")).expect("our own folder");
    let again = || {
        let mut sh = sandbox.command("sh");
        sh.arg(sandbox.join("ask.sh"));
        // A shell splits it at spaces, which a folder's name may have.
        sh.env("MODTAPE_CURL", "--cacert root.pem");
        run(sh, limit)
    };
    let same = again().expect_success();
    assert_eq!(
        same.stdout,
        "#1 200 as before\n#2 200 as before\n#3 404 as before\n"
    );
    let other = script.replace("ask 2 200 ", "ask 2 200 0");
    std::fs::write(sandbox.join("ask.sh"), other).expect("it can be written");
    let differs = again();
    assert_eq!(differs.status.code(), Some(1));
    assert!(
        differs.stdout.contains("#2 200, but the body is another"),
        "{}",
        differs.stdout
    );
}
