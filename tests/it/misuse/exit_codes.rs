//! How a command ends, and modtape with it: every exit code, and streams that take nothing.

use std::fs;

use super::{LIMIT, fails, modtape};
use crate::record::record;
use crate::support::{Content, Origin, Output, Sandbox, run, tested};

/// A shell script in which `$MODTAPE` is the one that is tested.
fn shell(sandbox: &Sandbox, script: &str) -> Output {
    let mut shell = sandbox.command("sh");
    shell.env("MODTAPE", tested());
    shell.args(["-c", script]);
    run(shell, LIMIT)
}

#[test]
fn a_command_that_cannot_be_run_says_which_way_and_leaves_no_recording() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.join("plain"), "words").expect("a file");
    fs::write(sandbox.join("orphan"), "#!/no/such/shell\n").expect("a file");
    let executable = shell(&sandbox, "chmod 700 orphan");
    executable.expect_success();
    for (command, code, told) in [
        ("no-such-command", 127, "no-such-command: command not found"),
        (
            "./no-such-command",
            127,
            "./no-such-command: command not found",
        ),
        ("./orphan", 127, "./orphan: its interpreter was not found"),
        ("./plain", 126, "./plain: cannot be run"),
        ("/", 126, "/: cannot be run"),
    ] {
        fails(
            &sandbox,
            &["record", "-o", "one", "--", command],
            code,
            &[told],
        );
        assert!(!sandbox.join("recordings/one").exists(), "{command}");
    }
}

#[test]
fn the_exit_code_is_the_commands_own() {
    let sandbox = Sandbox::new();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 2", 2),
        ("exit 3", 3),
        ("exit 42", 42),
        ("exit 125", 125),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let output = modtape(&sandbox, &["record", "--", "sh", "-c", script]);
        assert_eq!(output.status.code(), Some(code), "{script}");
        assert!(
            output.stderr.contains("modtape: no requests"),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn that_go_cannot_be_asked_is_said_once_and_only_where_it_matters() {
    let sandbox = Sandbox::new();
    let origin = Origin::start(Content::default());
    fs::create_dir(sandbox.join("bin")).expect("a folder");
    fs::write(sandbox.join("go"), "#!/bin/sh\necho no >&2; exit 2\n").expect("a file");
    shell(&sandbox, "chmod 700 go").expect_success();
    // Where the line stands among all lines, if it does.
    let said = |command: &[&str]| {
        let mut modtape = record(&sandbox, &origin, &["--force"], command);
        modtape.env("PATH", sandbox.join("bin"));
        let output = run(modtape, LIMIT);
        let is_it = |line: &&str| line.contains("using Go's default GOPROXY and GOSUMDB");
        let lines: Vec<_> = output.stderr.lines().collect();
        let count = lines.iter().filter(|line| is_it(line)).count();
        assert!(count < 2, "{}", output.stderr);
        match () {
            () if count == 0 => "nowhere",
            () if lines.first().is_some_and(is_it) => "first",
            () => lines
                .last()
                .filter(|line| is_it(line))
                .map_or("within", |_| "last"),
        }
    };
    let url = "https://proxy.golang.org/m/@v/list";
    let curl = "/usr/bin/curl";
    assert_eq!(said(&["/bin/sh", "-c", "echo done"]), "nowhere");
    assert_eq!(said(&[curl, "-s", url]), "nowhere");
    // Some Go program, wherever it came from.
    assert_eq!(said(&[curl, "-s", "-A", "Go-http-client/2.0", url]), "last");
    assert_eq!(said(&["./go", "version"]), "first");
    // Whoever comes through such a recorder is yet to come.
    let mut open = sandbox.modtape(["record", "--timeout", "100ms"]);
    open.env("PATH", sandbox.join("bin"));
    let output = run(open, LIMIT);
    let told =
        "modtape: there is no go command on the PATH; using Go's default GOPROXY and GOSUMDB";
    assert_eq!(
        output.stderr.lines().next(),
        Some(told),
        "{}",
        output.stderr
    );
}

#[test]
fn a_module_cache_that_may_have_had_all_is_named() {
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go("1.27") else { return };
    let go = go.to_str().expect("paths of tests are text");
    let output = modtape(&sandbox, &["record", "--", go, "version"]).expect_success();
    let cache = sandbox.join("modcache");
    let told = format!("the module cache ({}) most likely had all", cache.display());
    assert!(output.stderr.contains(&told), "{}", output.stderr);
}

#[test]
fn streams_that_take_nothing_change_no_exit_code_and_cause_no_panic() {
    let sandbox = Sandbox::new();
    for (script, code) in [
        (r#""$MODTAPE" record -o a -- sh -c 'exit 5' 2>/dev/full"#, 5),
        (r#""$MODTAPE" record -o b -- sh -c 'exit 5' 2>&-"#, 5),
        (r#""$MODTAPE" record -o c -- sh -c 'exit 5' >&-"#, 5),
        (
            r#""$MODTAPE" record -o d -- sh -c 'exit 5' <&- >&- 2>&-"#,
            5,
        ),
        (r#""$MODTAPE" record -o e -- sh -c 'exit 5' >/dev/full"#, 5),
        (r#""$MODTAPE" ls a >/dev/full"#, 3),
        (r#""$MODTAPE" ls a 2>/dev/full | true"#, 0),
        (r#""$MODTAPE" ls nowhere 2>/dev/full"#, 3),
        (r#""$MODTAPE" --help >/dev/full"#, 0),
        (r#""$MODTAPE" --hlp 2>&-"#, 2),
    ] {
        let output = shell(&sandbox, script);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{script}: {}",
            output.stderr
        );
        assert!(
            !output.stderr.contains("panicked"),
            "{script}: {}",
            output.stderr
        );
    }
}

#[test]
fn a_timeout_beyond_all_time_is_none() {
    let sandbox = Sandbox::new();
    let record = ["record", "--timeout", "9999999999999999999s"];
    let command = [&record[..], &["--", "sh", "-c", "exit 5"]].concat();
    let output = modtape(&sandbox, &command);
    assert_eq!(output.status.code(), Some(5), "{}", output.stderr);
}

#[test]
fn a_recording_of_a_command_that_was_ended_promises_no_replay() {
    let sandbox = Sandbox::new();
    let record = ["record", "-o", "one", "--cold", "--timeout", "100ms"];
    let command = [&record[..], &["--", "sleep", "60"]].concat();
    let output = modtape(&sandbox, &command);
    assert_eq!(output.status.code(), Some(124), "{}", output.stderr);
    let info = modtape(&sandbox, &["recordings", "info", "one"]).expect_success();
    let told = "--timeout ended the command";
    assert!(info.stdout.contains(told), "{}", info.stdout);
}

#[test]
fn a_recording_without_what_could_not_be_reached_promises_no_replay() {
    // Bound, but nobody listens: whoever connects is refused.
    let closed = tokio::net::TcpSocket::new_v4().expect("a socket");
    let any = ([127, 0, 0, 1], 0).into();
    closed.bind(any).expect("loopback has a port");
    let port = closed.local_addr().expect("it is bound").port();
    let sandbox = Sandbox::new();
    let fetch = r#""$MODTAPE" fetch https://proxy.golang.org/m/@v/list; exit 0"#;
    let nowhere = format!("::127.0.0.1:{port}");
    let mut record = sandbox.modtape(["record", "-o", "one", "--cold"]);
    record.args(["--connect-to", &nowhere, "--", "sh", "-c", fetch]);
    record.env("MODTAPE", tested());
    run(record, LIMIT).expect_success();
    let info = modtape(&sandbox, &["recordings", "info", "one"]).expect_success();
    let told = "nothing was asked of proxy.golang.org: cannot connect to";
    assert!(info.stdout.contains(told), "{}", info.stdout);
}
