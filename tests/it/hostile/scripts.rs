//! The script that `export curl` makes of a hostile recording, run by the shells that `/bin/sh` may be:
//! it runs curl with the words that were recorded, and nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::super::support::{LIMIT, Output, Sandbox, run, search_path, skipped};
use super::forgery::{Craft, URL};
use super::verbs::command;

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash"], &["busybox", "sh"]];

/// Tells what it is asked, the number of its arguments first, and answers nothing.
const CURL: &str = r#"#!/bin/sh
printf '%s\0' "$#" "$@" >>"$ASKED"
"#;

/// Runs a script with curl in place of the real one; the arguments of each call.
///
/// All that it needs lies below `run`, where the judge does not look; its own folder is the sandbox's.
pub fn asked(sandbox: &Sandbox, shell: &[&str], script: &str) -> (Output, Vec<Vec<String>>) {
    let (bin, log) = (sandbox.join("run/curl"), sandbox.join("run/asked"));
    fs::create_dir_all(&bin).expect("our own folder");
    fs::write(bin.join("curl"), CURL).expect("our own folder");
    fs::set_permissions(bin.join("curl"), Permissions::from_mode(0o700)).expect("our own file");
    fs::write(sandbox.join("run/ask.sh"), script).expect("our own folder");
    fs::write(&log, "").expect("our own folder");
    let mut command = sandbox.command(shell[0]);
    command.args(&shell[1..]).arg("run/ask.sh");
    command.current_dir(sandbox.path());
    command.env("PATH", search_path(&[&bin])).env("ASKED", &log);
    let output = run(command, LIMIT);
    let log = fs::read_to_string(&log).expect("curl wrote it");
    let mut words = log.split_terminator('\0').map(str::to_owned);
    let mut calls = Vec::new();
    while let Some(count) = words.next() {
        let count = count.parse().expect("its number of arguments");
        calls.push(words.by_ref().take(count).collect());
    }
    (output, calls)
}

/// The shells that are there.
pub fn shells() -> impl Iterator<Item = &'static [&'static str]> {
    SHELLS.into_iter().filter(|shell| {
        let there = ["/usr/bin", "/bin"].map(|dir| format!("{dir}/{}", shell[0]));
        let is_there = there.iter().any(|path| fs::exists(path).unwrap_or(false));
        if !is_there {
            skipped(&format!("scripts: there is no {}", shell[0]));
        }
        is_there
    })
}

#[test]
fn an_exported_script_runs_curl_with_what_was_recorded_and_nothing_else() {
    // What a shell is given as it is, then what no shell and no terminal is given.
    let printable = [
        "it's; touch pwned #",
        r"\'; touch pwned #",
        r"$'\'; touch pwned #'",
        r#""; touch pwned #"#,
        "$(touch pwned)`touch pwned`${IFS}$HOME",
        "*?[a]{b,c}~ !! &|<>()",
        "a  b\\",
        "’é",
    ];
    let unprintable = [
        "\u{1b}'; touch pwned #",
        "\n'; touch pwned #",
        "\r\ntouch pwned",
        "\0'; touch pwned #",
        "\u{9b}'; touch pwned #",
    ];
    let mut headers: Vec<_> = printable.iter().map(|value| json!(["x", value])).collect();
    headers.extend(unprintable.iter().map(|value| json!(["y", value])));
    headers.push(json!(["z", {"b64": "/ycgO3RvdWNoIHB3bmVk"}]));
    headers.push(json!(["@/etc/passwd", "w"]));
    headers.push(json!(["w\ntouch pwned\n#", "w"]));
    let method = "G'E\"$(touch pwned)`touch pwned`;T";
    let url = "https://h/a'b\"$(touch pwned)`touch pwned`;&|<>*?~#{x}[y]é\\";
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.join("bin")).expect("a folder");
    let dir = Craft::new(&sandbox.join("recordings/hostile"))
        .with("begin", "headers", json!(headers))
        .with("begin", "method", json!(method))
        .with("begin", "url", json!(url))
        .says("id", json!("\ntouch pwned\n"))
        .with("open", "recording", json!("\ntouch pwned\n"))
        .says("started", json!("\ntouch pwned\n"))
        .write();
    let exported = run(command(&sandbox, &["export", "curl", "hostile"]), LIMIT).expect_success();
    let before: Vec<_> = names(&sandbox);
    for shell in shells() {
        let (output, calls) = asked(&sandbox, shell, &exported.stdout);
        assert_eq!(output.stderr, "", "{shell:?}");
        assert_eq!(names(&sandbox), before, "{shell:?}");
        let [call] = &calls[..] else {
            panic!("{shell:?}: {calls:?}");
        };
        let of = |option: &str| -> Vec<&str> {
            let pairs = call.iter().zip(call.iter().skip(1));
            let values = pairs.filter(|(word, _)| *word == option);
            values.map(|(_, value)| &value[..]).collect()
        };
        let expected = printable.map(|value| format!("x: {value}"));
        assert_eq!(of("-H"), expected, "{shell:?}");
        assert_eq!(of("-X"), [method], "{shell:?}");
        assert_eq!(call.last().map(|word| &word[..]), Some(url), "{shell:?}");
    }
    let counted = "warning: left out 6 header fields with control characters";
    assert!(exported.stderr.contains(counted), "{}", exported.stderr);
    // What cannot be asked at all is a comment.
    for (key, value) in [
        ("url", "https://h/\n'; touch pwned #"),
        ("method", "\u{1b}'; touch pwned #"),
    ] {
        fs::remove_dir_all(&dir).expect("our own folder");
        Craft::new(&dir)
            .with("begin", "url", json!(URL))
            .with("begin", key, json!(value))
            .write();
        let exported = run(command(&sandbox, &["export", "curl", "hostile"]), LIMIT);
        assert_eq!(exported.status.code(), Some(3), "{}", exported.stderr);
        for shell in shells() {
            let (_, calls) = asked(&sandbox, shell, &exported.stdout);
            assert_eq!(
                (calls.len(), names(&sandbox)),
                (0, before.clone()),
                "{shell:?}"
            );
        }
    }
}

fn names(sandbox: &Sandbox) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(sandbox.path()).expect("our own folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    names
}
