//! An import that does not come to its end: nothing of it is a recording, and nothing of it stays.

use std::fs;

use rustix::process::Signal;

use super::*;

/// Entries of 2 MB, which a build without optimisations does not write between two looks.
const ENTRIES: usize = 6;

/// Starts an import into `recordings/one`, and stops it as soon as it is at work.
fn at_work(sandbox: &Sandbox) -> Spawned {
    let mut entry = browser_entry("https://h.example/a");
    entry["response"]["content"]["text"] = "a body\n".repeat(300_000).into();
    let har = json!({"log": {"entries": vec![entry; ENTRIES]}});
    write(sandbox, "a.har", &har);
    let import = ["import", "har", "a.har", "-o", "one"];
    let importing = Spawned::start(sandbox.modtape(import));
    while hidden(sandbox).is_empty() {
        let is_running = Process(importing.id()).is_running();
        assert!(is_running, "it ended before it was at work");
        std::thread::yield_now();
    }
    importing.signal(Signal::STOP);
    importing
}

/// What stands beside the recordings.
fn hidden(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.join("recordings"))
        .into_iter()
        .flatten();
    let names = entries.map(|entry| {
        let name = entry.expect("an entry").file_name();
        name.into_string().expect("text")
    });
    let mut names: Vec<_> = names.filter(|name| name != ".gitignore").collect();
    names.sort();
    names
}

#[test]
fn a_signal_ends_an_import_and_leaves_nothing() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let sandbox = Sandbox::new();
        let importing = at_work(&sandbox);
        importing.signal(signal);
        importing.signal(Signal::CONT);
        let ended = importing.end();
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        let told = "error: stopped by a signal: nothing was written\n";
        assert!(ended.stderr.ends_with(told), "{}", ended.stderr);
        assert_eq!(hidden(&sandbox), [""; 0]);
    }
}

#[test]
fn what_a_killed_import_left_is_no_recording_and_goes_with_the_next() {
    let sandbox = Sandbox::new();
    let importing = at_work(&sandbox);
    importing.signal(Signal::KILL);
    importing.end();
    let left = hidden(&sandbox);
    let is_ours = |name: &String| name.starts_with(".one.") && name.ends_with(".modtape");
    assert!(left.len() == 1 && is_ours(&left[0]), "{left:?}");
    let listed = modtape(&sandbox, &["recordings", "list"]).expect_success();
    assert!(!listed.stdout.contains("one"), "{}", listed.stdout);
    assert_eq!(modtape(&sandbox, &["ls", "@last"]).status.code(), Some(3));
    write(
        &sandbox,
        "b.har",
        &json!({"log": {"entries": [browser_entry("https://h.example/a")]}}),
    );
    modtape(&sandbox, &["import", "har", "b.har", "-o", "one"]).expect_success();
    assert_eq!(hidden(&sandbox), ["one"]);
    assert_eq!(recording(&sandbox, "one").rows().len(), 1);
}
