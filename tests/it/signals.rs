//! Signals and `--timeout`: the command hears of them, the exit code tells, the recording is closed,
//! and what was in flight is said.

use std::path::Path;
use std::process::Command;

use modtape::recording::Recording;
use modtape::recording::reader::Status;
use rustix::process::Signal;

use super::support::*;

const HOST: &str = "proxy.golang.org";
const LIST: &str = "/rsc.io/quote/@v/list";
const ZIP: &str = "/rsc.io/quote/@v/v1.5.2.zip";

/// Told on one's stdout, and left; the sleeper would hold the streams open. It is started before the
/// trap is set: a shell's child that has not become `sleep` yet would catch the signal and forget it.
fn traps(signal: &str) -> String {
    format!(
        "sleep 600 & p=$!; trap 'echo got {signal}; kill $p; exit 7' {signal}; echo ready; wait"
    )
}

fn record(sandbox: &Sandbox, flags: &[&str], script: &str) -> Spawned {
    let mut modtape = sandbox.modtape(["record", "-o", "one"]);
    modtape.args(flags).args(["--", "sh", "-c", script]);
    Spawned::start(modtape)
}

fn opened(sandbox: &Sandbox) -> Recording {
    Recording::open(&sandbox.join("recordings/one")).expect("it opens")
}

/// Nothing is left behind, and the recording is whole.
#[track_caller]
fn assert_closed(sandbox: &Sandbox, code: i32) {
    let recording = opened(sandbox);
    assert_eq!(recording.status(), Status::Closed);
    assert!(recording.damage().is_empty() && recording.torn_tail().is_none());
    assert_eq!(recording.manifest().exit_code, Some(code));
    assert!(!sandbox.join("recordings/one/.reserve").exists());
    assert_eq!(left(&sandbox.join("run/modtape")), [""; 0]);
    assert_eq!(left(&sandbox.join("tmp")), [""; 0]);
}

fn left(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.map(|entry| entry.file_name());
    let names = entries.map(|entry| name(entry).expect("it can be listed"));
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_signal_to_modtape_reaches_the_command_as_the_same_signal() {
    for (name, signal) in [
        ("INT", Signal::INT),
        ("TERM", Signal::TERM),
        ("HUP", Signal::HUP),
        ("QUIT", Signal::QUIT),
    ] {
        let sandbox = Sandbox::new();
        let modtape = record(&sandbox, &["--cold"], &traps(name));
        modtape.wait_for_stdout("ready");
        modtape.signal(signal);
        let output = modtape.end();
        assert_eq!(output.stdout, format!("ready\ngot {name}\n"));
        assert_eq!(output.status.code(), Some(7), "{name}: {}", output.stderr);
        assert_closed(&sandbox, 7);
    }
}

#[test]
fn a_command_that_a_signal_ends_is_reported_as_128_and_the_signal() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let sandbox = Sandbox::new();
        let modtape = record(&sandbox, &[], "echo ready; exec sleep 600");
        modtape.wait_for_stdout("ready");
        modtape.signal(signal);
        assert_eq!(modtape.end().status.code(), Some(code));
        assert_closed(&sandbox, code);
    }
}

#[test]
fn a_command_that_was_killed_promises_no_replay() {
    let sandbox = Sandbox::new();
    let modtape = record(&sandbox, &["--cold"], "kill -KILL $$");
    assert_eq!(modtape.end().status.code(), Some(137));
    let recording = opened(&sandbox);
    let reasons = &recording.manifest().replayable.reasons;
    assert!(
        reasons
            .iter()
            .any(|reason| reason.starts_with("a signal ended the command")),
        "{reasons:?}"
    );
}

#[test]
fn a_second_interrupt_ends_a_command_that_ignores_the_first() {
    let sandbox = Sandbox::new();
    let stubborn = "sleep 600 & p=$!; trap 'echo once' INT; echo ready; while :; do wait $p; done";
    let modtape = record(&sandbox, &[], stubborn);
    modtape.wait_for_stdout("ready");
    modtape.signal(Signal::INT);
    modtape.wait_for_stdout("once");
    modtape.signal(Signal::INT);
    let output = modtape.end();
    assert_eq!(output.status.code(), Some(137), "{}", output.stderr);
    assert_eq!(output.stdout, "ready\nonce\n");
    assert_closed(&sandbox, 137);
}

#[test]
fn what_was_ignored_before_modtape_is_ignored_in_the_command_too() {
    let sandbox = Sandbox::new();
    let script = r#"trap '' HUP INT; exec "$0" record -- grep SigIgn /proc/self/status"#;
    let mut shell = sandbox.command("sh");
    shell.args(["-c", script]).arg(tested());
    let Some(output) = on_linux(shell) else {
        return;
    };
    let mask = output.stdout.trim_start_matches("SigIgn:").trim();
    let mask = u64::from_str_radix(mask, 16).expect("a mask in hexadecimal digits");
    assert_eq!(mask & 0b111, 0b011, "HUP and INT, not QUIT");
}

fn on_linux(command: Command) -> Option<Output> {
    if Path::new("/proc/self/status").exists() {
        return Some(Spawned::start(command).end().expect_success());
    }
    skipped("ignored signals: there is no /proc");
    None
}

/// A Ctrl-C as it is typed.
const CTRL_C: &[u8] = b"\x03";

#[test]
fn ctrl_c_on_a_terminal_reaches_the_command_once() {
    // With its streams redirected it is the terminal's command still.
    for streams in ["", "</dev/null 2>err"] {
        let sandbox = Sandbox::new();
        // The sleeper is born deaf: dash makes it so only after the fork, which may come too late.
        let counts = r#"trap "" INT; sleep 600 & p=$!
            trap "echo interrupted" INT; trap "exit 7" HUP
            echo "pid $PPID"; while kill -0 $p; do wait $p; done"#;
        let record = format!(r#"exec "$MODTAPE" record -o one -- sh -c '{counts}' {streams}"#);
        let Some(mut terminal) = Spawned::on_a_terminal(&sandbox, &record) else {
            return;
        };
        let heard = terminal.wait_for_stdout("\n");
        let pid = heard
            .lines()
            .find_map(|line| line.trim().strip_prefix("pid "));
        let pid = pid
            .unwrap_or_else(|| panic!("no number in {heard:?}"))
            .to_owned();
        terminal.type_keys(CTRL_C);
        terminal.wait_for_stdout("interrupted");
        // A second one of ours would have been sent by now, and stand before this.
        let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a number"), Signal::HUP).expect("it runs");
        let output = terminal.end();
        let lines = output.stdout.lines();
        let interrupts = lines.filter(|line| line.trim_end().ends_with("interrupted"));
        assert_eq!(interrupts.count(), 1, "{}", output.stdout);
        assert_eq!(output.status.code(), Some(7), "{}", output.stdout);
        assert_closed(&sandbox, 7);
    }
}

#[test]
fn ctrl_c_on_a_terminal_that_ends_the_command_exits_130() {
    let sandbox = Sandbox::new();
    let record = r#"exec "$MODTAPE" record -o one -- sh -c "echo ready; exec sleep 600""#;
    let Some(mut terminal) = Spawned::on_a_terminal(&sandbox, record) else {
        return;
    };
    terminal.wait_for_stdout("ready");
    terminal.type_keys(CTRL_C);
    assert_eq!(terminal.end().status.code(), Some(130));
    assert_closed(&sandbox, 130);
}

#[test]
fn the_command_finds_the_terminal_on_all_three_streams() {
    let sandbox = Sandbox::new();
    let record = r#"exec "$MODTAPE" -q record -- sh -c "test -t 0 && test -t 1 && test -t 2""#;
    let Some(terminal) = Spawned::on_a_terminal(&sandbox, record) else {
        return;
    };
    let output = terminal.end();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), ""));
}

#[test]
fn timeout_ends_the_command_and_all_below_it_and_exits_124() {
    let sandbox = Sandbox::new();
    let modtape = record(
        &sandbox,
        &["--timeout", "300ms"],
        "sleep 600 & sleep 600 & wait",
    );
    // Both sleepers hold the streams that end here.
    let output = modtape.end();
    assert_eq!(output.status.code(), Some(124), "{}", output.stderr);
    assert_closed(&sandbox, 124);
}

#[test]
fn a_command_that_is_faster_than_timeout_keeps_its_exit_code() {
    let sandbox = Sandbox::new();
    let modtape = record(&sandbox, &["--timeout", "1h"], "exit 3");
    assert_eq!(modtape.end().status.code(), Some(3));
}

/// An origin that answers everything but the zip, and a command that asks for both.
fn stuck(sandbox: &Sandbox, flags: &[&str]) -> (Origin, Spawned) {
    let list = ((HOST, LIST), (200, "text/plain", "v1.5.2\n"));
    let origin = Origin::start(Content::files([list]));
    origin.add_rule(Rule::suffix(ZIP).silent());
    let modtape = tested();
    let urls = [
        format!("https://{HOST}{LIST}"),
        format!("https://{HOST}{ZIP}"),
    ];
    let modtape = modtape.to_str().expect("paths of tests are text");
    let fetch = [modtape, "fetch", &urls[0], &urls[1]];
    let spawned = Spawned::start(super::record::record(sandbox, &origin, flags, &fetch));
    if flags.is_empty() {
        origin.wait_for(|log| log.requests.len() == 2, LIMIT);
    }
    (origin, spawned)
}

/// The request in flight stands above the summary, with all that tells which one it is.
#[track_caller]
fn assert_told(output: &Output, when: &str) {
    let stderr = &output.stderr;
    let told = format!("modtape: 1 request was still in flight {when}:\n");
    let at = stderr
        .find(&told)
        .unwrap_or_else(|| panic!("no {told:?} in {stderr}"));
    let mut lines = stderr[at..].lines().skip(1);
    let entry = lines.next().unwrap_or_default();
    let age_and_host = format!("s  {HOST}");
    for part in [
        "#2",
        "waiting headers",
        &age_and_host,
        "zip rsc.io/quote v1.5.2",
    ] {
        assert!(entry.contains(part), "{part:?} is missing: {entry}");
    }
    let summary = lines.next().unwrap_or_default();
    assert!(summary.starts_with("modtape: 2 requests in "), "{stderr}");
}

#[test]
fn what_is_in_flight_at_a_signal_is_told_above_the_summary() {
    for (signal, when, code) in [
        (Signal::INT, "at the interrupt", 130),
        (Signal::TERM, "at the termination signal", 143),
        (Signal::HUP, "at the termination signal", 129),
    ] {
        let sandbox = Sandbox::new();
        let (_origin, modtape) = stuck(&sandbox, &[]);
        modtape.signal(signal);
        let output = modtape.end();
        assert_eq!(output.status.code(), Some(code), "{}", output.stderr);
        assert_told(&output, when);
        assert_closed(&sandbox, code);
        assert_eq!(opened(&sandbox).rows().len(), 2);
    }
}

#[test]
fn what_is_in_flight_when_the_time_is_over_is_told() {
    let sandbox = Sandbox::new();
    // Long enough to ask, however busy the machine is; the origin never answers.
    let (origin, modtape) = stuck(&sandbox, &["--timeout", "3s"]);
    let output = modtape.end();
    assert_eq!(output.status.code(), Some(124), "{}", output.stderr);
    assert_eq!(origin.requests().len(), 2, "{}", output.stderr);
    assert_told(&output, "when --timeout expired");
    assert_closed(&sandbox, 124);
}

#[test]
fn a_recorder_that_is_killed_leaves_everything_that_the_client_had_whole() {
    let sandbox = Sandbox::new();
    let (origin, modtape) = stuck(&sandbox, &[]);
    modtape.signal(Signal::KILL);
    let output = modtape.end();
    assert_eq!(output.status.code(), None);
    let recording = opened(&sandbox);
    assert_eq!(recording.status(), Status::Unfinished);
    assert!(recording.damage().is_empty(), "{:?}", recording.damage());
    let [list, zip] = recording.rows() else {
        panic!("{:?}", recording.rows());
    };
    // The client asked for the zip when it had the list.
    let served = origin.requests().remove(0);
    assert_eq!(
        list.body.map(|digest| digest.to_string()),
        served.body_sha256
    );
    assert_eq!((list.status, zip.end), (Some(200), None));
    can_be_replaced(&sandbox);
}

/// What a killed recorder left behind is in nobody's way.
fn can_be_replaced(sandbox: &Sandbox) {
    let replace = sandbox.modtape(["record", "--force", "-o", "one", "--", "true"]);
    run(replace, LIMIT).expect_success();
    assert_closed(sandbox, 0);
}
