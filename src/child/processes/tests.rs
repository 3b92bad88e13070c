use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::budget::Budget;
use super::look::Looker;
use super::proc::Proc;
use crate::clock::Timestamp;
use crate::recording::processes::{Process, ProcessState, Sample};
use crate::redact::Redactor;

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

fn looker(own: u32) -> Looker {
    let proc = Proc::new(Path::new("/proc"));
    Looker::new(proc, own, Some(NOWHERE), Redactor::off())
}

/// More time than any look takes.
fn plenty() -> Budget {
    Budget::of(Duration::from_secs(60))
}

/// A process that is ended with the value, with all of its group.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Runs a shell's script, once it has said `ready`; the processes that a recorder in this shell's place
/// would see are those that the script starts.
fn running(script: &str) -> Group {
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(shell.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    Group(shell)
}

/// Looks until `is_met`: what a process has begun it may not have come to yet.
fn look_until(group: &Group, is_met: impl Fn(&Sample) -> bool) -> Sample {
    let mut looker = looker(group.0.id());
    for look in 1..100_000 {
        if look % 100 == 0 {
            // One that is seen twice while it begins to run a program is taken for another's.
            looker = self::looker(group.0.id());
        }
        let sample = looker.look(Timestamp::from_micros(look * 1000), &plenty());
        if is_met(&sample) {
            return sample;
        }
    }
    panic!(
        "{:?}",
        looker.look(Timestamp::from_micros(u64::MAX), &plenty())
    );
}

fn named<'a>(sample: &'a Sample, name: &str) -> Option<&'a Process> {
    sample.processes.iter().find(|process| process.name == name)
}

#[cfg(target_os = "linux")]
#[test]
fn a_lock_is_told_with_its_file_and_the_one_that_holds_it() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("lock");
    let held = File::create(&path).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let group = running(&format!(
        "flock '{}' true & echo ready; wait",
        path.display()
    ));
    let waits = |process: &Process| {
        process.name == "flock" && matches!(process.state, ProcessState::WaitingLock { .. })
    };
    let sample = look_until(&group, |sample| sample.processes.iter().any(waits));
    let process = sample.processes.iter().find(|one| waits(one)).unwrap();
    let ProcessState::WaitingLock { lock } = &process.state else {
        unreachable!()
    };
    assert_eq!(lock.path.as_deref(), path.to_str());
    let holder = lock.holder.as_ref().unwrap();
    assert_eq!(holder.pid, std::process::id());
    assert!(!holder.command.is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_peer_is_told_unless_it_is_the_proxy() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; echo ready; read line <&3",
        address.port()
    );
    let group = running(&format!("bash -c '{script}' & wait"));
    let bash = |sample: &Sample| named(sample, "bash").map(|bash| bash.state.clone());
    let expected = ProcessState::WaitsNetwork {
        address: address.to_string(),
        connecting: false,
    };
    look_until(&group, |sample| bash(sample) == Some(expected.clone()));
    let proc = Proc::new(Path::new("/proc"));
    let mut looker = Looker::new(proc, group.0.id(), Some(address), Redactor::off());
    let mut look = |at| bash(&looker.look(Timestamp::from_micros(at), &plenty()));
    look(1000);
    assert_eq!(look(1_000_000), Some(ProcessState::Sleeping));
}

/// The script in a shell whose environment is that of a command below a recorder in its place. A daemon
/// that reads from descriptor 3 ends with the test.
fn below_a_recorder(script: &str) -> Group {
    let script = script.replace('\'', r"'\''");
    running(&format!("MODTAPE_PID=$$ exec sh -c 'exec 3<&0; {script}'"))
}

#[cfg(target_os = "linux")]
#[test]
fn what_left_the_tree_is_known_by_its_environment() {
    let group = below_a_recorder("(setsid cat <&3 >/dev/null 2>&1 &); echo ready; read line");
    let has_left =
        |sample: &Sample| named(sample, "cat").is_some_and(|daemon| daemon.parent != group.0.id());
    let sample = look_until(&group, has_left);
    assert_eq!(named(&sample, "cat").unwrap().keeps_pipe_of, None);
}

#[cfg(target_os = "linux")]
#[test]
fn a_daemon_that_keeps_the_pipe_of_a_go_command_open_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let go = temp.path().join("go");
    std::fs::copy("/bin/cat", &go).unwrap();
    let script = format!(
        "echo ready; (setsid cat <&3 2>&1 &) | '{}' /dev/fd/5 5<&0 0</dev/null >/dev/null",
        go.display()
    );
    let group = below_a_recorder(&script);
    let sample = look_until(&group, |sample| {
        named(sample, "cat").is_some_and(|daemon| daemon.keeps_pipe_of.is_some())
    });
    let (daemon, go) = (
        named(&sample, "cat").unwrap(),
        named(&sample, "go").unwrap(),
    );
    assert_eq!(daemon.keeps_pipe_of, Some(go.pid));
    assert_eq!(go.keeps_pipe_of, None);
}

/// What was given to a go command as its standard input is not its own to wait for.
#[cfg(target_os = "linux")]
#[test]
fn a_daemon_that_holds_a_pipe_which_was_given_to_the_go_command_keeps_nothing_open() {
    let temp = tempfile::tempdir().unwrap();
    let go = temp.path().join("go");
    std::fs::copy("/bin/cat", &go).unwrap();
    let script = format!(
        "echo ready; (setsid cat <&3 2>&1 &) | '{}' >/dev/null",
        go.display()
    );
    let group = below_a_recorder(&script);
    let sample = look_until(&group, |sample| {
        let is_idle = |go: &Process| go.state == ProcessState::Sleeping;
        named(sample, "go").is_some_and(is_idle) && named(sample, "cat").is_some()
    });
    assert_eq!(named(&sample, "cat").unwrap().keeps_pipe_of, None);
}

/// As an ssh master is: it has none of our variables, since its title lies over them.
#[cfg(target_os = "linux")]
#[test]
fn a_daemon_that_nothing_but_its_pipe_tells_of_is_found_if_the_go_command_waits_for_it() {
    let temp = tempfile::tempdir().unwrap();
    let go = temp.path().join("go");
    std::fs::copy("/bin/cat", &go).unwrap();
    let go = go.display();
    // Its own pipe, and one that was given to it: as its standard input, or by whoever started modtape.
    let waits = |reads: &str| {
        below_a_recorder(&format!(
            "(env -i setsid cat <&3 2>&1 & echo ready) | {{ read ready; echo $ready >&4; {reads}; }} 4>&1 >/dev/null"
        ))
    };
    let keeps = |sample: &Sample| {
        let go = named(sample, "go").map(|go| go.pid);
        named(sample, "cat").is_some_and(|daemon| daemon.keeps_pipe_of == go)
    };
    let group = waits(&format!("'{go}' /dev/fd/5 5<&0 0</dev/null"));
    look_until(&group, keeps);
    let group = waits(&format!("'{go}'"));
    let sample = look_until(&group, |sample| {
        named(sample, "go").is_some_and(|go| go.state == ProcessState::Sleeping)
    });
    assert!(!keeps(&sample));
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_works_a_stopped_one_and_one_that_waits_for_its_child_are_told_apart() {
    let script = "sh -c 'while :; do :; done' & sh -c 'kill -STOP $$; :' & sh -c 'sleep 600; :' & \
                  echo ready; wait";
    let group = running(script);
    let all = [
        ProcessState::Running,
        ProcessState::Stopped,
        ProcessState::WaitsChild,
        ProcessState::Sleeping,
    ];
    let has = |sample: &Sample, state| {
        let mut processes = sample.processes.iter();
        processes.any(|process| process.state == state)
    };
    look_until(&group, |sample| {
        all.iter().all(|state| has(sample, state.clone()))
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_look_without_time_says_so_and_forgets_nobody() {
    let group = running("sleep 600 & echo ready; wait");
    let mut looker = looker(group.0.id());
    let nothing = looker.look(Timestamp::default(), &Budget::of(Duration::ZERO));
    assert!(
        nothing.is_part && nothing.processes.is_empty(),
        "{nothing:?}"
    );
    let mut looks = (1..100_000).map(|at| looker.look(Timestamp::from_micros(at), &plenty()));
    let found = looks.find(|sample| named(sample, "sleep").is_some());
    assert!(found.is_some_and(|sample| !sample.is_part));
}
