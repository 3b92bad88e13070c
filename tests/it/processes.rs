//! What the command's processes wait for, with the real go command: a lock, a prompt of ssh's; it is
//! said before anybody ends it, and the report says the same. What is not ours to judge is no finding.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use modtape::recording::Recording;
use modtape::recording::processes::{ProcessState, Sample};
use modtape::recording::reader::Status;
use rustix::fs::FlockOperation;
use rustix::process::Signal;
use serde_json::Value;

use super::support::*;

const VERSION: &str = "1.27";

/// A module that needs another one, in `project/`.
fn project(sandbox: &Sandbox) {
    let project = sandbox.join("project");
    fs::create_dir_all(&project).expect("our own folder");
    let go_mod = "module x.example\n\ngo 1.21\n\nrequire a.example/m v1.0.0\n";
    fs::write(project.join("go.mod"), go_mod).expect("our own folder");
    let main = "package main\n\nimport _ \"a.example/m\"\n\nfunc main() {}\n";
    fs::write(project.join("main.go"), main).expect("our own folder");
}

fn record(sandbox: &Sandbox, flags: &[&str], go: &Path, args: &[&str]) -> Command {
    let mut modtape = sandbox.modtape(["record", "-o", "one", "--stall-after", "1s"]);
    modtape.args(flags).arg("--").arg(go).args(args);
    modtape
}

fn samples(sandbox: &Sandbox) -> Vec<Sample> {
    let recording = Recording::open(&recorded(sandbox)).expect("it opens");
    let rows = recording.samples().iter();
    rows.map(|row| recording.sample(row).expect("it can be read"))
        .collect()
}

fn recorded(sandbox: &Sandbox) -> PathBuf {
    let project = sandbox.join("project/recordings/one");
    match project.exists() {
        true => project,
        false => sandbox.join("recordings/one"),
    }
}

fn findings(sandbox: &Sandbox) -> Vec<Value> {
    let dir = recorded(sandbox);
    let dir = dir.to_str().expect("our own name");
    let report = sandbox.modtape(["report", dir, "--format", "json"]);
    let report = run(report, LIMIT).expect_success();
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    report["findings"].as_array().expect("a list").clone()
}

/// Whether processes can be looked at here.
fn is_linux() -> bool {
    let is_linux = Path::new("/proc/self/stat").exists();
    if !is_linux {
        skipped("processes: there is no /proc");
    }
    is_linux
}

#[test]
fn a_lock_is_told_while_it_lasts_and_by_the_recording_of_a_killed_recorder() {
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go(VERSION).filter(|_| is_linux()) else {
        return;
    };
    project(&sandbox);
    let lock = sandbox.join("modcache/cache/download/a.example/m/@v/v1.0.0.lock");
    fs::create_dir_all(lock.parent().expect("it has one")).expect("our own folder");
    let held = File::create(&lock).expect("our own folder");
    rustix::fs::flock(&held, FlockOperation::LockExclusive).expect("nobody holds it");

    let modtape = Spawned::start(record(&sandbox, &[], &go, &["mod", "tidy"]));
    let told = modtape.wait_for_stderr("[MT207]\n");
    let holder = format!("(pid {})", std::process::id());
    let expected = ["go mod tidy has waited ", &lock.to_string_lossy(), &holder];
    for part in expected {
        assert!(told.contains(part), "no {part} in:\n{told}");
    }
    let status = run(sandbox.modtape(["status"]), LIMIT).expect_success();
    assert!(status.stdout.contains("[MT207]"), "{}", status.stdout);

    modtape.signal(Signal::KILL);
    drop(modtape);
    let recording = Recording::open(&recorded(&sandbox)).expect("it opens");
    assert_eq!(recording.status(), Status::Unfinished);
    assert!(recording.damage().is_empty());
    let samples = samples(&sandbox);
    let waits = samples.iter().flat_map(|sample| &sample.processes);
    let mut waits = waits.filter_map(|process| match &process.state {
        ProcessState::WaitingLock { lock } => Some((process, lock)),
        _ => None,
    });
    let (process, wanted) = waits.next().expect("it waited");
    assert_eq!(
        (&*process.name, &process.command[1..]),
        ("go", &["mod".to_owned(), "tidy".to_owned()][..])
    );
    assert_eq!(wanted.path.as_deref(), lock.to_str());
    let findings = findings(&sandbox);
    let first = &findings[0];
    assert_eq!(
        (&first["code"], &first["severity"]),
        (&"MT207".into(), &"problem".into())
    );
    assert_eq!(first["evidence"][0]["kind"], "sample");
    let hint = first["hint"].as_str().unwrap_or_default();
    assert!(
        hint.contains(&format!("-p {}", std::process::id())),
        "{hint}"
    );
}

/// An ssh that knows no host, and that reaches a real sshd without a network.
fn ssh(sandbox: &Sandbox) -> Option<()> {
    let keygen = ["-q", "-t", "ed25519", "-N", "", "-f"];
    let key = sandbox.join("hostkey");
    let made = program("ssh-keygen").args(keygen).arg(&key).output();
    let sshd = Path::new("/usr/sbin/sshd");
    // sshd wants its folder for the separation of privileges, which only root can make.
    let is_ready = sshd.exists() && Path::new("/run/sshd").is_dir();
    if !is_ready || !made.is_ok_and(|made| made.status.success()) {
        skipped("prompts of ssh: there is no sshd that can be run");
        return None;
    }
    let sshd_config = sandbox.join("sshd_config");
    let text = format!("HostKey {}\nUsePAM no\nStrictModes no\n", key.display());
    fs::write(&sshd_config, text).expect("our own folder");
    let text = format!(
        "Host *\n ProxyCommand {} -i -f {}\n UserKnownHostsFile {}\n GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking ask\n",
        sshd.display(),
        sshd_config.display(),
        sandbox.join("known").display()
    );
    fs::write(sandbox.join("ssh_config"), text).expect("our own folder");
    let text = "[url \"ssh://git@git.test/\"]\n\tinsteadOf = https://git.test/\n";
    fs::write(sandbox.join("home/.gitconfig"), text).expect("our own folder");
    Some(())
}

#[test]
fn what_ssh_asks_on_the_terminal_is_told_while_it_asks() {
    let sandbox = Sandbox::new();
    let go = sandbox.go(VERSION).filter(|_| is_linux());
    let (Some(go), Some(())) = (go, ssh(&sandbox)) else {
        return;
    };
    if !Path::new("/usr/bin/script").exists() {
        skipped("terminals: there is no script(1) of util-linux");
        return;
    }
    fs::create_dir_all(sandbox.join("project")).expect("our own folder");
    let go_mod = sandbox.join("project/go.mod");
    fs::write(go_mod, "module x.example\n\ngo 1.21\n").expect("our own folder");
    let line =
        r#"exec "$MODTAPE" record -o one --stall-after 3s -- "$GO" get git.test/team/lib.git"#;
    let mut script = sandbox.command("script");
    script.args(["-qec", line, "/dev/null"]);
    let command = format!("ssh -F {}", sandbox.join("ssh_config").display());
    script
        .env("MODTAPE", tested())
        .env("GO", &go)
        .env("SHELL", "/bin/sh");
    script.env("GOPROXY", "direct").env("GOSUMDB", "off");
    script.env("GIT_SSH_COMMAND", command);
    let mut terminal = Spawned::start(script);
    let told = terminal.wait_for_stdout("[MT208]");
    let told = told.split("still waiting:").nth(1).unwrap_or_default();
    for part in ["ssh to git@git.test", "on the terminal (/dev/tty)"] {
        assert!(told.contains(part), "no {part} in:\n{told}");
    }
    // Ctrl-C.
    terminal.type_keys(b"\x03");
    let told = terminal.wait_for_stdout("modtape report");
    assert!(!told.contains("module cache"), "{told}");
    drop(terminal);
    let findings = findings(&sandbox);
    let asks = findings.iter().find(|finding| finding["code"] == "MT208");
    let asks = asks.unwrap_or_else(|| panic!("{findings:#?}"));
    let hint = asks["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("ssh -T git@git.test"), "{hint}");
}

#[test]
fn a_program_that_runs_long_and_a_compiler_at_work_are_no_finding() {
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go(VERSION).filter(|_| is_linux()) else {
        return;
    };
    let project = sandbox.join("project");
    fs::create_dir_all(&project).expect("our own folder");
    fs::write(project.join("go.mod"), "module x.example\n\ngo 1.21\n").expect("our own folder");
    // It reads from a pipe until the test has seen what is said of it.
    let main = "package main\n\nimport \"os\"\n\nfunc main() {\n\tprintln(\"runs\")\n\tos.Stdin.Read(make([]byte, 1))\n}\n";
    fs::write(project.join("main.go"), main).expect("our own folder");
    let mut modtape = Spawned::start(record(&sandbox, &[], &go, &["run", "."]));
    modtape.wait_for_stderr("runs\n");
    let ask = |_| {
        let status = run(sandbox.modtape(["status", "--json"]), LIMIT).expect_success();
        let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
        status["doing"].as_str().map(str::to_owned)
    };
    let doing = (0..1000).find_map(|n| ask(n).filter(|doing| doing.contains("program")));
    let doing = doing.expect("the program runs");
    assert!(doing.starts_with("the program x.example (pid "), "{doing}");
    modtape.type_keys(b"\n");
    let output = modtape.end().expect_success();
    assert!(
        !output.stderr.contains("still waiting"),
        "{}",
        output.stderr
    );
    let findings = findings(&sandbox);
    let causes = findings
        .iter()
        .filter(|finding| finding["severity"] != "note");
    assert_eq!(causes.count(), 0, "{findings:#?}");
}
