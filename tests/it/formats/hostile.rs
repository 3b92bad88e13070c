//! Values that would be more than values to a spreadsheet or a shell.

use std::fs;

use serde_json::json;

use super::*;
use crate::hostile::forgery::Craft;
use crate::pcapng::sample::HOST;

/// What a spreadsheet, a shell, a terminal or a parser takes for its own.
const HOSTILE: [&str; 16] = [
    "=HYPERLINK(\"http://evil.example\",\"x\")",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "\nx",
    "'quoted",
    "''twice",
    "a,b;c\td",
    "say \"hi\", \"\"",
    "two\nlines\r\nand \"three\"",
    "\u{feff}=1+1",
    " \u{200b}@SUM(A1)",
    "＝1+1",
    "\u{1b}[2J\u{202e}",
];

/// Reads a CSV as Python does: a JSON object a line.
const READ: &str = "
import csv, json, sys
for row in csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8'), strict=True):
    print(json.dumps(row))
";

/// A spreadsheet asks for a formula where a cell begins so.
fn is_run(cell: &str) -> bool {
    let seen = cell.trim_start_matches(['\u{feff}', '\u{200b}', ' ']);
    seen.starts_with(['=', '+', '-', '@', '＝', '\t', '\r', '\n'])
}

#[test]
fn a_table_gives_every_value_back_and_nothing_in_it_runs() {
    for value in HOSTILE {
        let sandbox = Sandbox::new();
        let dir = sandbox.join("recordings/one");
        crate::views::sample::write_hostile(&dir, value);
        let csv = exported(&sandbox, "csv", &dir);
        fs::write(sandbox.join("a.csv"), csv).expect("it can be written");
        let mut python = program("python3");
        python.args(["-c", READ]).arg(sandbox.join("a.csv"));
        let rows = json_lines(&run(python, LIMIT).expect_success().stdout);
        let lines = json_lines(&exported(&sandbox, "ndjson", &dir));
        assert_eq!(rows.len(), lines.len());
        let mut met = 0;
        for (row, line) in rows.iter().zip(&lines) {
            let told = [
                ("method", &line["method"]),
                ("url", &line["url"]),
                ("host", &line["host"]),
                ("why", &line["abort"]["why"]),
            ];
            for (column, expected) in told {
                let cell = row[column].as_str().expect("a cell");
                assert!(!is_run(cell), "{column}: {cell:?}");
                let back = cell.strip_prefix('\'').unwrap_or(cell);
                assert_eq!(back, expected.as_str().unwrap_or_default(), "{column}");
                met += usize::from(back == value);
            }
        }
        assert!(met >= 2, "{value:?} is nowhere");
    }
}

/// Paths and field values that a shell would do something with.
const SPOKEN: [(&str, &str); 8] = [
    ("/a'b", "it's"),
    ("/$(id)", "$(id) `id`"),
    ("/\\id", "\\"),
    ("/a;b&c|d", "a; b & c | d > e < f"),
    ("/*?x=[a-z]{1,2}", "* ? [a] {b,c} ~"),
    ("/~!x", "!x \"double\" 'single'"),
    ("/%27%22%00?q=%24%28id%29&r='", "%s %n \\n"),
    ("/-o", "-o @/etc/passwd #"),
];

#[tokio::test]
async fn the_script_asks_exactly_what_was_asked_whatever_a_shell_would_make_of_it() {
    let rules = SPOKEN.into_iter().map(|(path, value)| {
        let is_it = move |served: &Served| {
            let told = served.headers.get("x-spoken").map(|value| value.as_bytes());
            served.raw_path == path && told == Some(value.as_bytes())
        };
        Rule::when(is_it)
            .status(200)
            .body(format!("{path} {value}"))
    });
    let origin = Origin::builder(Content::default());
    let origin = rules.fold(origin, OriginBuilder::rule).start();
    let recorder = Recorder::to(&origin, &[]);
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let hello = recorder.hello(HOST).alpn(alpn);
        let mut session = Client::session(recorder.proxy(), &hello).await;
        for (path, value) in SPOKEN {
            let mut request = session.request(path);
            let value = value.parse().expect("a value");
            request.headers_mut().insert("x-spoken", value);
            let answer = session.send(request).await.expect("an answer");
            assert!(answer.is_whole_ok(), "{path}: {answer:?}");
        }
    }
    let recorded = recorder.finish().await;
    let sandbox = Sandbox::new();
    let script = exported(&sandbox, "curl", recorded.recording.dir());
    fs::write(sandbox.join("ask.sh"), script).expect("it can be written");
    for shell in ["sh", "bash"] {
        let mut sh = sandbox.command(shell);
        let trusted = format!("--cacert {}", origin.root_pem_path().display());
        sh.arg(sandbox.join("ask.sh")).env("MODTAPE_CURL", trusted);
        let same = run(sh, LIMIT).expect_success();
        let expected: String = (1..=2 * SPOKEN.len())
            .map(|id| format!("#{id} 200 as before\n"))
            .collect();
        assert_eq!(same.stdout, expected, "{shell}: {}", same.stderr);
    }
}

#[test]
fn what_one_command_takes_for_a_record_every_other_takes_for_one() {
    for index in [false, true] {
        let sandbox = Sandbox::new();
        let mut craft = Craft::new(&sandbox.join("recordings/one"));
        // Nothing says in which phase it broke off.
        *craft.record("end") =
            json!({"type": "abort", "t_us": 9, "id": 1, "why": "reset", "phases_us": {}});
        let dir = craft.write();
        if index {
            modtape::recording::reader::index::rebuild(&dir).expect("our own folder");
        }
        let said = |args: &[&str]| run(sandbox.modtape(args.iter().copied()), LIMIT).stdout;
        let json = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
        let in_flight = [
            said(&["ls", "one", "--json"]),
            said(&["show", "1", "one", "--json"]),
            exported(&sandbox, "ndjson", &dir),
        ];
        for text in in_flight {
            assert_eq!(json(text)["state"], "in-flight");
        }
        let info = json(said(&["recordings", "info", "one", "--json"]));
        let what = info["damage"][0]["what"].to_string();
        assert!(what.contains("unknown or incomplete record"), "{info}");
    }
}
