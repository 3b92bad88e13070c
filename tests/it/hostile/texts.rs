//! Texts that a terminal would obey, in every field that a verb shows.

use serde_json::{Value, json};

use super::forgery::Craft;
use super::verbs::{Row, judge};

/// Clears the screen, sets a title, links, rings, overwrites the line, turns the direction of text.
const HOSTILE: &str = "x\u{1b}[2J\u{1b}]0;title\u{7}\u{1b}]8;;http://evil/\u{1b}\\y\r\u{8}\u{7f}\u{9b}31m\u{202e}z\u{2066}\u{2028}\nerror: forged";

fn hostile() -> Value {
    json!(HOSTILE)
}

#[test]
fn nothing_in_an_exchange_reaches_the_terminal_as_a_command() {
    let rows: &[Row] = &[
        ("method", |craft| {
            craft.with("begin", "method", hostile()).write()
        }),
        ("url", |craft| {
            craft
                .with("begin", "url", json!(format!("https://h/{HOSTILE}")))
                .write()
        }),
        ("url that is no url", |craft| {
            craft.with("begin", "url", hostile()).write()
        }),
        ("host", |craft| {
            craft
                .with("begin", "url", json!(format!("https://{HOSTILE}/x")))
                .write()
        }),
        ("request version", |craft| {
            craft.with("begin", "version", hostile()).write()
        }),
        ("reason", |craft| {
            craft.with("end", "reason", hostile()).write()
        }),
        ("reason of wrong bytes", |craft| {
            craft
                .with("end", "reason", json!({"b64": "//4bWzJKDQo="}))
                .write()
        }),
        ("response version", |craft| {
            craft.with("end", "version", hostile()).write()
        }),
        ("headers", |craft| {
            let headers =
                json!([[HOSTILE, HOSTILE], ["content-type", HOSTILE], ["x", {"b64": "G1syShv/"}]]);
            craft
                .with("end", "headers", headers.clone())
                .with("begin", "headers", headers.clone())
                .with("end", "trailers", headers)
                .write()
        }),
        ("headers that frame otherwise", |craft| {
            let headers = json!([
                ["content-length", "1"],
                ["Content-Length", "99999999999999999999"],
                ["transfer-encoding", "chunked"],
                ["connection", "close, x"],
                ["", ""],
                ["a b", "\0"],
                ["content-encoding", "gzip"],
                ["location", "//"],
                ["set-cookie", "a\r\nb: c"]
            ]);
            craft.with("end", "headers", headers).write()
        }),
        ("attempts", |craft| {
            craft
                .with(
                    "end",
                    "attempts",
                    json!([{"connection": 1, "error": HOSTILE}]),
                )
                .write()
        }),
        ("abort", |craft| {
            let abort = json!({"seq": 0, "t_us": 5, "type": "abort", "id": 1, "where": "receive", "why": HOSTILE,
                "status": 200, "headers": [[HOSTILE, HOSTILE]], "body_bytes": 7, "phases_us": {}});
            exchanged(craft, abort)
        }),
        ("connection", |craft| {
            let side = json!({"addr": HOSTILE, "sni": HOSTILE, "alpn": HOSTILE, "tls": HOSTILE, "via": HOSTILE});
            craft
                .with("connection", "target", hostile())
                .with("connection", "client", side.clone())
                .with("connection", "upstream", side)
                .with("connection", "error", hostile())
                .write()
        }),
        ("a text body", |craft| {
            craft.body(HOSTILE.as_bytes(), "identity").write()
        }),
        ("status 0", |craft| {
            craft.with("end", "status", json!(0)).write()
        }),
        ("status 101", |craft| {
            craft.with("end", "status", json!(101)).write()
        }),
        ("status 65535", |craft| {
            craft.with("end", "status", json!(65535)).write()
        }),
        ("status 304 with a body", |craft| {
            craft.with("end", "status", json!(304)).write()
        }),
    ];
    judge(rows);
}

/// Puts another record in the place of the `end`.
fn exchanged(mut craft: Craft, record: Value) -> std::path::PathBuf {
    *craft.record("end") = record;
    craft.write()
}

#[test]
fn nothing_in_a_manifest_or_an_open_reaches_the_terminal_as_a_command() {
    let rows: &[Row] = &[
        ("every text of the manifest", |craft| {
            let list = json!([HOSTILE, HOSTILE]);
            craft
                .says("id", hostile())
                .says("tool", hostile())
                .says("started", hostile())
                .says("command", list.clone())
                .says("intercepted", list.clone())
                .says("go_version", hostile())
                .says("replayable", json!({"complete": false, "reasons": list}))
                .write()
        }),
        ("every text of the open", |craft| {
            craft
                .with("open", "recording", hostile())
                .with("open", "wall", hostile())
                .with("open", "tool", hostile())
                .with("open", "command", json!([HOSTILE]))
                .write()
        }),
        ("settings", |craft| {
            let env = [
                "GOPROXY",
                "GOSUMDB",
                "GOFLAGS",
                "GOTOOLCHAIN",
                "GOPRIVATE",
                HOSTILE,
            ];
            let env: serde_json::Map<String, Value> = env
                .iter()
                .map(|name| ((*name).to_owned(), hostile()))
                .collect();
            craft.says("go_env", Value::Object(env)).write()
        }),
        ("settings with NUL", |craft| {
            craft
                .says(
                    "go_env",
                    json!({"GOPROXY": "https://h/\0", "GOSUMDB": "\0"}),
                )
                .write()
        }),
        ("a gap", |mut craft| {
            let gap = json!({"seq": 0, "t_us": 9, "type": "gap", "what": HOSTILE, "why": HOSTILE});
            craft.records.push(gap);
            craft.write()
        }),
        ("a byte-order mark before the manifest", |craft| {
            let dir = craft.write();
            let text = std::fs::read_to_string(dir.join("recording.json")).unwrap();
            std::fs::write(dir.join("recording.json"), format!("\u{feff}{text}")).unwrap();
            dir
        }),
        ("a manifest of another program", |craft| {
            craft.says("kind", hostile()).write()
        }),
        ("a manifest from the future", |craft| {
            craft.says("format", json!(u32::MAX)).write()
        }),
        ("an open from the future", |craft| {
            craft.with("open", "format", json!(7)).write()
        }),
        ("a manifest of wrong types", |craft| {
            craft
                .says("command", json!("go"))
                .says("totals", json!([]))
                .write()
        }),
        ("a manifest of 3 MB", |craft| {
            craft
                .says("command", json!(["x".repeat(3_000_000)]))
                .write()
        }),
        ("a manifest of a million words", |craft| {
            craft.says("command", json!(vec![""; 1_000_000])).write()
        }),
        ("a manifest of 100 MB", |craft| {
            let dir = craft.write();
            super::zeros(&dir.join("recording.json"), 100 << 20);
            dir
        }),
        ("nothing redacted, state open", |craft| {
            craft
                .says("redacted", json!(false))
                .says("state", json!("open"))
                .write()
        }),
    ];
    judge(rows);
}
