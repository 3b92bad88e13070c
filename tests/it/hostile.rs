//! A recording is hostile input: whatever stands in one, the verbs that read it end in time and in
//! bounded memory, with an exit code that is documented, touch nothing, and show nothing that a
//! terminal obeys.

pub mod forgery;
mod journals;
mod scripts;
mod texts;
mod verbs;

use std::fs;

use forgery::{Craft, bomb, gzip, zeros};
use serde_json::json;
use verbs::{Row, command, fault, judge};

use super::support::{Sandbox, count, run, sha256_hex};

#[test]
fn links_pipes_devices_and_folders_in_place_of_files_are_not_followed() {
    let rows: &[Row] = &[
        ("the journal is a link to a secret", |craft| {
            craft.link("journal.ndjson", "/etc/passwd")
        }),
        ("the journal is an endless device", |craft| {
            craft.link("journal.ndjson", "/dev/zero")
        }),
        ("the journal is a pipe", |craft| {
            craft.pipe("journal.ndjson")
        }),
        ("the journal is a folder", |craft| {
            craft.folder("journal.ndjson")
        }),
        ("the manifest is a link to itself", |craft| {
            craft.link("recording.json", "recording.json")
        }),
        ("the manifest is an endless device", |craft| {
            craft.link("recording.json", "/dev/zero")
        }),
        ("the manifest is a pipe", |craft| {
            craft.pipe("recording.json")
        }),
        ("the manifest is a folder", |craft| {
            craft.folder("recording.json")
        }),
        ("the index is a pipe", |craft| craft.pipe("index")),
        ("the index is an endless device", |craft| {
            craft.link("index", "/dev/zero")
        }),
        ("the bodies are a link to the root", |craft| {
            craft.body(b"x", "gzip").link("bodies", "/")
        }),
        ("the bodies are a file", |craft| {
            let dir = craft.body(b"x", "identity").write();
            fs::remove_dir_all(dir.join("bodies")).unwrap();
            fs::write(dir.join("bodies"), "").unwrap();
            dir
        }),
        ("a body is a pipe", |craft| {
            let craft = craft.body(b"", "identity");
            craft.pipe("bodies/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        }),
        ("a body is an endless device", |craft| {
            let craft = craft.body(b"", "identity");
            let name = "bodies/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            craft.link(name, "/dev/zero")
        }),
    ];
    judge(rows);
}

#[test]
fn digests_that_are_paths_and_sizes_that_lie_lead_nowhere() {
    fn digest(craft: Craft, sha256: &str) -> std::path::PathBuf {
        craft
            .with(
                "end",
                "body",
                json!({"sha256": sha256, "bytes": 5, "inline": null}),
            )
            .write()
    }
    fn bytes(craft: Craft, bytes: serde_json::Value) -> std::path::PathBuf {
        let mut craft = craft.body(b"hello", "identity");
        craft.record("end")["body"]["bytes"] = bytes;
        craft.write()
    }
    let rows: &[Row] = &[
        ("a digest that climbs", |craft| {
            digest(craft, "../../../../../../../../etc/passwd")
        }),
        ("an absolute digest", |craft| digest(craft, "/etc/passwd")),
        ("a digest with NUL", |craft| digest(craft, "ab\0cd")),
        ("a digest of 300 letters", |craft| {
            digest(craft, &"a".repeat(300))
        }),
        ("a digest with a wrong digit", |craft| {
            digest(craft, &"g".repeat(64))
        }),
        ("a digest in upper case", |craft| {
            digest(craft, &"AB".repeat(32))
        }),
        ("a digest of wide digits", |craft| {
            digest(craft, &"０".repeat(64))
        }),
        ("an empty digest", |craft| digest(craft, "")),
        ("a body of 2^64-1 bytes", |craft| {
            bytes(craft, json!(u64::MAX))
        }),
        ("a body of 2^63 bytes", |craft| {
            bytes(craft, json!(1_u64 << 63))
        }),
        ("a body of -1 bytes", |craft| bytes(craft, json!(-1))),
        ("a body of fewer bytes", |craft| bytes(craft, json!(4))),
        ("a sparse body of 100 GB under a wrong digest", |craft| {
            let dir = digest(craft.with("end", "headers", json!([])), &"ab".repeat(32));
            fs::create_dir_all(dir.join("bodies/ab")).unwrap();
            zeros(&dir.join("bodies/ab").join("ab".repeat(32)), 100 << 30);
            dir
        }),
        (
            "a sparse body of 96 MiB that is not the digest's",
            |craft| {
                let dir = craft
                    .with(
                        "end",
                        "body",
                        json!({"sha256": "ab".repeat(32), "bytes": LARGE, "inline": null}),
                    )
                    .write();
                fs::create_dir_all(dir.join("bodies/ab")).unwrap();
                zeros(&dir.join("bodies/ab").join("ab".repeat(32)), LARGE);
                dir
            },
        ),
        ("an inline body that is not the digest's", |craft| {
            let mut craft = craft;
            craft.record("end")["body"]["inline"] = json!("another");
            craft.write()
        }),
    ];
    judge(rows);
}

/// A body larger than the memory that a command may take, bytes.
const LARGE: u64 = 96 << 20;

#[test]
fn a_body_larger_than_memory_is_exported_whole() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.join("bin")).unwrap();
    let mut bytes = vec![0; LARGE.try_into().unwrap()];
    bytes[0] = 0xff;
    let sha256 = sha256_hex(&bytes);
    drop(bytes);
    let dir = Craft::new(&sandbox.join("recordings/hostile"))
        .with(
            "end",
            "body",
            json!({"sha256": sha256, "bytes": LARGE, "inline": null}),
        )
        .with("end", "headers", json!([]))
        .write();
    let body = dir.join("bodies").join(&sha256[..2]);
    fs::create_dir_all(&body).unwrap();
    let body = body.join(&sha256);
    zeros(&body, LARGE);
    fs::File::options()
        .write(true)
        .open(&body)
        .and_then(|file| std::os::unix::fs::FileExt::write_at(&file, &[0xff], 0))
        .unwrap();
    let args = [
        "export",
        "har",
        "hostile",
        "--har-bodies",
        "all",
        "-o",
        "/dev/null",
    ];
    let output = run(
        command(&sandbox, &args),
        std::time::Duration::from_secs(120),
    );
    let output = output.expect_success();
    assert_eq!(output.stderr.trim(), "1 exchange written to /dev/null");
}

#[test]
fn bombs_are_not_decoded_beyond_their_bounds() {
    let rows: &[Row] = &[
        ("a gzip bomb", |craft| {
            craft.body(&bomb(count(8, 40)), "gzip").write()
        }),
        ("a large gzip bomb", |craft| {
            craft.body(&bomb(70), "gzip").write()
        }),
        ("a gzip bomb in a gzip", |craft| {
            craft.body(&gzip(&gzip(&bomb(40))), "gzip, gzip").write()
        }),
        ("a gzip of many empty members", |craft| {
            craft.body(&gzip(b"").repeat(3_000), "gzip").write()
        }),
        ("a gzip that breaks off", |craft| {
            craft.body(&bomb(1)[..900], "gzip").write()
        }),
        ("what says it is deflate", |craft| {
            craft.body(&bomb(40), "deflate").write()
        }),
        ("what says it is br", |craft| {
            craft.body(&bomb(40), "br").write()
        }),
        ("what says it is zstd", |craft| {
            craft.body(&bomb(40), "zstd").write()
        }),
        ("a coding of a thousand words", |craft| {
            craft.body(b"x", &"gzip,".repeat(1_000)).write()
        }),
    ];
    judge(rows);
}

/// Names on the command line: nothing outside is made, every answer is an exit code with a reason.
#[test]
fn names_on_the_command_line_lead_to_a_recording_or_to_an_error() {
    let sandbox = Sandbox::new();
    Craft::new(&sandbox.join("recordings/a\u{1b}[31mb\n\u{202e}")).write();
    fs::create_dir(sandbox.join("bin")).unwrap();
    let long = "x/".repeat(3_000);
    let rows: [(&[&str], i32); 16] = [
        (&["ls", "../x"], 3),
        (&["ls", "../../../../etc"], 3),
        (&["ls", "/etc/passwd"], 3),
        (&["ls", "/dev/zero"], 3),
        (&["ls", ""], 3),
        (&["ls", "-o"], 2),
        (&["ls", "@0"], 3),
        (&["ls", "@last"], 0),
        (&["recordings", "info", "@last"], 0),
        (&["recordings", "list"], 0),
        (&["replay", "@last", "--", "/bin/true"], 0),
        (&["show", "1", "a\u{1b}[2J\r\u{9b}0m"], 3),
        (&["recordings", "info", "a\nb\u{202e}"], 3),
        (&["export", "har", &long], 3),
        (&["replay", "../../etc", "--", "/bin/true"], 125),
        (&["show", "99999999999999999999", "x"], 2),
    ];
    let mut faults = Vec::new();
    for (args, code) in rows {
        let output = run(command(&sandbox, args), std::time::Duration::from_secs(60));
        faults.extend(fault(args, &output).map(|fault| format!("{args:?}: {fault}")));
        if output.status.code() != Some(code) {
            faults.push(format!(
                "{args:?}: {} instead of {code}: {}",
                output.status, output.stderr
            ));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
