//! What a session waits for, asked from outside: `modtape status`, and SIGUSR1.

use std::collections::BTreeSet;

use modtape::recording::Recording;
use rustix::process::Signal;
use serde_json::Value;

use super::formats::keys::{collect, documented};
use super::support::*;

const HOST: &str = "proxy.golang.org";
const LIST: &str = "/rsc.io/quote/@v/list";
const ZIP: &str = "/rsc.io/quote/@v/v1.5.2.zip";

/// An origin that lists a module and never sends its zip, and a recorder whose command asks for both.
struct Stuck {
    sandbox: Sandbox,
    recorder: Spawned,
    _origin: Origin,
}

/// The first words of what keeps it waiting.
fn cause(origin: &Origin) -> String {
    format!(
        "{HOST} ({}) has answered before but not this: no response header for ",
        origin.addr()
    )
}

impl Stuck {
    fn start(flags: &[&str]) -> Self {
        let sandbox = Sandbox::new();
        let (origin, recorder) = Self::recorder(&sandbox, "one", flags);
        let recorder = Spawned::start(recorder);
        origin.wait_for(|log| log.requests.len() == 2, LIMIT);
        if !flags.contains(&"-q") {
            recorder.wait_for_stderr(&cause(&origin));
        }
        Self {
            sandbox,
            recorder,
            _origin: origin,
        }
    }

    fn recorder(sandbox: &Sandbox, name: &str, flags: &[&str]) -> (Origin, std::process::Command) {
        let list = ((HOST, LIST), (200, "text/plain", "v1.5.2\n"));
        let origin = Origin::start(Content::files([list]));
        origin.add_rule(Rule::suffix(ZIP).silent());
        let mut modtape = sandbox.modtape(["record", "-o", name, "--stall-after", "100ms"]);
        modtape
            .args(flags)
            .arg(format!("--connect-to=::{}", origin.addr()));
        modtape.arg("--upstream-ca").arg(origin.root_pem_path());
        modtape.arg("--").arg(tested()).arg("fetch");
        modtape.args([LIST, ZIP].map(|path| format!("https://{HOST}{path}")));
        (origin, modtape)
    }

    fn status(&self, args: &[&str]) -> Output {
        let mut status = self.sandbox.modtape(["status"]);
        status.args(args);
        run(status, LIMIT)
    }
}

/// The names of all values, as docs/formats.md writes them.
fn keys_of(json: &Value) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    collect(&mut keys, "", json);
    keys
}

/// The table and what is told below it.
#[track_caller]
fn assert_told(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    let heading = lines.first().copied().unwrap_or_default();
    for part in [
        "one  recording ",
        "  pid ",
        " fetch ",
        "1 in flight, 1 done",
    ] {
        assert!(heading.contains(part), "no {part:?} in {text}");
    }
    let row = lines
        .iter()
        .find(|line| line.trim_start().starts_with("#2 "));
    let row = row.unwrap_or_else(|| panic!("no request in {text}"));
    for part in ["waiting headers", HOST, "zip rsc.io/quote v1.5.2"] {
        assert!(row.contains(part), "no {part:?} in {text}");
    }
    for part in [
        "has answered before but not this: no response header for ",
        "[MT101]",
        "The go command has no timeout for this: it will wait for ever. Choices:",
        "\n  - wait: ",
        "\n  - modtape record --upstream-idle-timeout 20s: ",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn another_process_is_told_what_a_recorder_waits_for_and_what_can_be_done() {
    let stuck = Stuck::start(&[]);
    for args in [
        &[][..],
        &["--recording", "one"],
        &["--recording", "recordings/one"],
    ] {
        assert_told(&stuck.status(args).expect_success().stdout);
    }
    let json = stuck.status(&["--json"]).expect_success().stdout;
    assert_eq!(json.lines().count(), 1);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let told = [
        &json["schema"],
        &json["verb"],
        &json["source"],
        &json["pid"],
    ];
    let pid = Value::from(stuck.recorder.id());
    assert_eq!(
        told,
        [&Value::from(1), &"record".into(), &"session".into(), &pid]
    );
    let entry = &json["in_flight"][0];
    assert_eq!((&entry["id"], &entry["phase"]), (&2.into(), &"wait".into()));
    assert!(entry["silent_us"].as_u64() >= Some(100_000), "{json}");
    assert!(
        !json["doing"]
            .as_str()
            .unwrap_or_default()
            .contains(" has ran "),
        "{json}"
    );
    let documented = BTreeSet::from_iter(documented("Status"));
    assert_eq!(keys_of(&json), documented);
    let cause = &json["stuck"][0];
    assert_eq!(
        (&cause["code"], &cause["waiting"][0]),
        (&"MT101".into(), &0.into())
    );
}

#[test]
fn a_signal_asks_for_the_same_also_where_only_errors_are_wanted() {
    for flags in [&[][..], &["-q"]] {
        let stuck = Stuck::start(flags);
        if flags.is_empty() {
            assert!(
                !stuck
                    .recorder
                    .wait_for_stderr("still waiting")
                    .contains("Choices:")
            );
        }
        // Until it has been silent for long.
        let watch = stuck.sandbox.modtape(["status", "--watch", "--json"]);
        Spawned::start(watch).wait_for_stdout("MT101");
        stuck.recorder.signal(Signal::USR1);
        let stderr = stuck
            .recorder
            .wait_for_stderr("--upstream-idle-timeout 20s: ");
        let at = stderr
            .find("one  recording ")
            .expect("it begins with the name");
        assert_told(&stderr[at..]);
        // It goes on.
        stuck.recorder.signal(Signal::INT);
        let code = stuck.recorder.end().status.code();
        assert_eq!(code, Some(130));
    }
}

#[test]
fn a_recorder_that_cannot_be_asked_is_found_by_its_journal() {
    let stuck = Stuck::start(&[]);
    let mut elsewhere = stuck.sandbox.modtape(["status"]);
    let other = stuck.sandbox.join("other");
    std::fs::create_dir(&other).expect("a folder");
    elsewhere.env("XDG_RUNTIME_DIR", other);
    let stdout = run(elsewhere, LIMIT).expect_success().stdout;
    let note = "\nfrom the journal, written ";
    assert!(stdout.contains(note), "{stdout}");
    let stdout = stdout.replacen("one  recording ", "one  recording  pid ", 1);
    assert_told(&stdout);
    // The folder itself is gone.
    std::fs::remove_dir_all(stuck.sandbox.join("run/modtape")).expect("it is there");
    let stdout = stuck
        .status(&["--recording", "one"])
        .expect_success()
        .stdout;
    assert!(
        stdout.contains(note) && stdout.contains("[MT101]"),
        "{stdout}"
    );
}

#[test]
fn without_a_session_there_is_an_error_and_what_was_killed_is_none() {
    let sandbox = Sandbox::new();
    let status = |args: &[&str]| {
        let mut status = sandbox.modtape(["status"]);
        status.args(args);
        let output = run(status, LIMIT);
        assert_eq!(output.stdout, "");
        (output.status.code(), output.stderr)
    };
    let (code, stderr) = status(&[]);
    assert_eq!(code, Some(3));
    assert!(
        stderr.starts_with("error: nothing is recorded or replayed now\nhelp: "),
        "{stderr}"
    );
    let stuck = Stuck::start(&[]);
    stuck.recorder.signal(Signal::KILL);
    stuck.recorder.end();
    let mut killed = stuck.sandbox.modtape(["status", "--json"]);
    killed.arg("--watch");
    assert_eq!(run(killed, LIMIT).status.code(), Some(3));
    let mut named = stuck.sandbox.modtape(["status", "--recording", "one"]);
    named.arg("--json");
    let output = run(named, LIMIT);
    assert_eq!(output.status.code(), Some(3));
    let expected = "error: one is not recorded any more: its recorder is gone, and wrote last ";
    assert!(output.stderr.starts_with(expected), "{}", output.stderr);
    let help = "\nhelp: `modtape report recordings/one` explains it as far as it got\n";
    assert!(output.stderr.ends_with(help), "{}", output.stderr);
    let any = run(stuck.sandbox.modtape(["status"]), LIMIT);
    let told = "recordings/one was left unfinished: its recorder is gone";
    assert!(any.stderr.contains(told), "{}", any.stderr);
    let dir = stuck.sandbox.join("recordings/one");
    let recording = Recording::open(&dir).expect("it opens");
    assert_eq!(recording.stalls().len(), 1);
    let journal = std::fs::read_to_string(dir.join("journal.ndjson")).expect("text");
    let stall = journal
        .lines()
        .find(|line| line.contains(r#""type":"stall""#));
    let stall = serde_json::from_str(&stall.expect("it is on record")[9..]).expect("JSON");
    let mut keys = keys_of(&stall);
    keys.retain(|key| !["seq", "t_us", "type"].contains(&key.as_str()));
    let documented = BTreeSet::from_iter(documented("Journal"));
    assert!(keys.is_subset(&documented), "{keys:?}");
}

#[test]
fn each_of_several_sessions_is_told_and_a_watch_ends_with_them() {
    let sandbox = Sandbox::new();
    let (origins, recorders): (Vec<_>, Vec<_>) = ["one", "two"]
        .map(|name| {
            let (origin, recorder) = Stuck::recorder(&sandbox, name, &[]);
            (origin, Spawned::start(recorder))
        })
        .into_iter()
        .unzip();
    for (origin, recorder) in origins.iter().zip(&recorders) {
        recorder.wait_for_stderr(&cause(origin));
    }
    let both = run(sandbox.modtape(["status"]), LIMIT)
        .expect_success()
        .stdout;
    let headings = both.lines().filter(|line| line.contains("  recording "));
    assert_eq!(headings.count(), 2, "{both}");
    let watch = Spawned::start(sandbox.modtape(["status", "--watch", "--json"]));
    watch.wait_for_stdout("\"recording\":\"one\"");
    for recorder in recorders {
        recorder.signal(Signal::INT);
        recorder.end();
    }
    let output = watch.end().expect_success();
    for name in ["one", "two"] {
        let told = format!("\"recording\":\"{name}\"");
        assert!(output.stdout.contains(&told), "{}", output.stdout);
    }
    assert_eq!(
        output.stderr,
        "modtape: nothing is recorded or replayed any more\n"
    );
}

#[test]
fn a_typing_error_is_told_with_what_was_meant() {
    let stuck = Stuck::start(&[]);
    for (args, code, told) in [
        (&["--recording", "onne"][..], 3, "did you mean one?"),
        (
            &["--recording", "./nowhere"],
            3,
            "there is no folder ./nowhere",
        ),
        (&["--wach"], 2, "'--watch'"),
        (&["--jso"], 2, "'--json'"),
        (&["--recordin=one"], 2, "'--recording"),
        (&["one"], 2, "`modtape status --recording one`"),
    ] {
        let output = stuck.status(args);
        assert_eq!(output.status.code(), Some(code), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn a_replay_is_told_too() {
    let stuck = Stuck::start(&[]);
    stuck.recorder.signal(Signal::INT);
    stuck.recorder.end();
    let replay = stuck.sandbox.modtape([
        "replay",
        "one",
        "--",
        "sh",
        "-c",
        "echo ready; exec sleep 600",
    ]);
    let replay = Spawned::start(replay);
    replay.wait_for_stdout("ready");
    let mut status = stuck.sandbox.modtape(["status"]);
    status.args(["--recording", "one"]);
    let stdout = run(status, LIMIT).expect_success().stdout;
    assert!(stdout.starts_with("recordings/one  replaying "), "{stdout}");
    assert!(
        stdout.contains("  sh -c 'echo ready; exec sleep 600'   0 in flight, 0 done"),
        "{stdout}"
    );
}
