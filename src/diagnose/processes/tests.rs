use super::*;
use crate::recording::processes::Holder;

/// A process: number, parent, command line.
fn process(pid: u32, parent: u32, command: &str, state: ProcessState) -> Process {
    let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
    Process {
        pid,
        parent,
        name: file_name(&command[0]).to_owned(),
        command,
        count: 1,
        state,
        file: None,
        keeps_pipe_of: None,
        cpu_permille: 0,
        cpu_us: 0,
        read_bytes: 0,
        written_bytes: 0,
    }
}

fn tool(pid: u32, parent: u32, name: &str, count: u32) -> Process {
    Process {
        command: Vec::new(),
        count,
        ..process(pid, parent, name, ProcessState::Running)
    }
}

fn sample(processes: &[Process]) -> Sample {
    let processes = processes.to_vec();
    Sample {
        processes,
        ..Sample::default()
    }
}

fn reads() -> ProcessState {
    ProcessState::ReadsTerminal {
        terminal: "/dev/tty".into(),
    }
}

fn waits(path: &str, holder: Option<(u32, &str)>) -> ProcessState {
    let holder = holder.map(|(pid, command)| Holder {
        pid,
        command: command.split(' ').map(str::to_owned).collect(),
    });
    let path = Some(path.to_owned());
    let lock = Lock { path, holder };
    ProcessState::WaitingLock { lock }
}

fn peer(address: &str, connecting: bool) -> ProcessState {
    let address = address.into();
    ProcessState::WaitsNetwork {
        address,
        connecting,
    }
}

/// What one look says, and the code of it.
#[track_caller]
fn says(processes: &[Process], expected: &str, code: Option<&str>) {
    let sample = sample(processes);
    let activity = Activity::of(&sample).unwrap();
    assert_eq!((&*activity.now(), activity.code()), (expected, code));
}

use ProcessState::{Running, Sleeping, Stopped, WaitsChild};

#[test]
fn nothing_is_said_of_nothing() {
    assert_eq!(Activity::of(&sample(&[])), None);
}

#[test]
fn a_lock_is_told_with_its_holder_unless_that_works_for_this_command() {
    let path = "/home/ana/go/pkg/mod/cache/lock";
    let other = waits(path, Some((4121, "/usr/bin/go build ./...")));
    says(
        &[process(7, 1, "go mod tidy", other)],
        "go mod tidy waits for the module cache lock /home/ana/go/pkg/mod/cache/lock, which go build (pid 4121) holds",
        Some("MT207"),
    );
    says(
        &[process(7, 1, "go vet ./...", waits("/srv/app.lock", None))],
        "go vet waits for the lock of /srv/app.lock, which a process that cannot be seen from here holds",
        Some("MT207"),
    );
    let own = waits(path, Some((8, "go build")));
    says(
        &[
            process(7, 1, "go mod tidy", own),
            process(8, 1, "go build", Running),
        ],
        "go build works",
        None,
    );
}

#[test]
fn what_ssh_and_gits_helpers_ask_is_told_and_what_shells_and_programs_read_is_not() {
    let git = |state| process(8, 7, "git fetch -f origin", state);
    let go = || process(7, 1, "go mod download", WaitsChild);
    let ssh = "ssh -o SendEnv=GIT_PROTOCOL -p 2222 git@git.corp.example git-upload-pack '/lib'";
    says(
        &[go(), git(WaitsChild), process(9, 8, ssh, reads())],
        "ssh to git@git.corp.example (pid 9) waits for an answer on the terminal (/dev/tty): it asks for a passphrase, a password, or whether to trust a host's key",
        Some("MT208"),
    );
    // GIT_SSH_COMMAND goes through a shell.
    let shell = process(10, 8, "sh -c ssh", WaitsChild);
    let below = process(9, 10, ssh, reads());
    let through = [go(), git(WaitsChild), shell, below];
    assert_eq!(
        Activity::of(&sample(&through)).unwrap().code(),
        Some("MT208")
    );
    says(
        &[go(), git(reads())],
        "git fetch (pid 8) waits for an answer on the terminal (/dev/tty)",
        Some("MT208"),
    );
    for own in [
        [
            process(7, 1, "sh", reads()),
            process(8, 7, "sleep 9", Sleeping),
        ],
        // An editor or a pager of git's, without a go command.
        [
            process(7, 1, "git commit", WaitsChild),
            process(8, 7, "true", Sleeping),
        ],
        [go(), process(8, 7, "/tmp/go-build1/b001/exe/ask", reads())],
    ] {
        assert_eq!(Activity::of(&sample(&own)).unwrap().code(), None, "{own:?}");
    }
    let commits = [process(7, 1, "git log", reads())];
    assert_eq!(Activity::of(&sample(&commits)).unwrap().code(), None);
}

#[test]
fn a_helper_of_gits_that_gives_no_answer_is_told() {
    let helper = [
        process(7, 1, "go get corp.example/lib", WaitsChild),
        process(8, 7, "git ls-remote -q origin", WaitsChild),
        process(
            9,
            8,
            "/usr/lib/git-core/git-remote-https origin https://corp.example/lib",
            WaitsChild,
        ),
        process(10, 9, "/bin/sh -c corp-login get", WaitsChild),
        process(11, 10, "corp-login get", Sleeping),
    ];
    says(
        &helper,
        "git waits for its helper corp-login (pid 11)",
        Some("MT208"),
    );
    let window = process(11, 10, "/usr/lib/ssh/ssh-askpass Password:", Sleeping);
    let window = [&helper[..4], &[window]].concat();
    says(
        &window,
        "ssh-askpass (pid 11) waits for an answer in a window",
        Some("MT208"),
    );
    // Another child of git's works for it.
    let filter = process(10, 8, "git-lfs filter-process", Sleeping);
    let filter = [&helper[..2], &[filter]].concat();
    assert_eq!(Activity::of(&sample(&filter)).unwrap().code(), None);
}

#[test]
fn a_stopped_git_is_told_and_a_stopped_program_is_not() {
    let go = || process(7, 1, "go get x", WaitsChild);
    let git = [go(), process(8, 7, "git fetch", Stopped)];
    assert_eq!(Activity::of(&sample(&git)).unwrap().code(), Some("MT208"));
    let program = [go(), process(8, 7, "/tmp/x", Stopped)];
    assert_eq!(Activity::of(&sample(&program)).unwrap().code(), None);
}

#[test]
fn a_leftover_master_is_told_with_the_go_that_waits() {
    let master = Process {
        command: vec!["ssh: /home/ana/.ssh/m [mux]".into()],
        keeps_pipe_of: Some(7),
        ..process(99, 1, "ssh", Sleeping)
    };
    says(
        &[process(7, 1, "go mod tidy", Sleeping), master],
        "go mod tidy waits for the end of a pipe that ssh (pid 99), which is left over, keeps open",
        Some("MT209"),
    );
}

#[test]
fn peers_of_git_and_ssh_are_told_and_those_of_programs_are_not() {
    let go = |state| process(7, 1, "go mod tidy", state);
    let ssh = |state| process(9, 7, "ssh git.corp.example", state);
    says(
        &[go(WaitsChild), ssh(peer("10.0.0.7:22", true))],
        "ssh to git.corp.example waits for a connection to 10.0.0.7:22",
        Some("MT206"),
    );
    let remote = "/usr/lib/git-core/git-remote-https origin";
    says(
        &[
            go(WaitsChild),
            process(9, 7, remote, peer("10.0.0.7:443", false)),
        ],
        "git-remote-https waits for 10.0.0.7:443",
        Some("MT206"),
    );
    let program = process(
        9,
        7,
        "/tmp/go-build1/b001/exe/server",
        peer("10.0.0.7:5432", false),
    );
    says(
        &[go(WaitsChild), program],
        "the program server (pid 9) runs",
        None,
    );
    // It keeps its connections while the compiler runs.
    says(
        &[go(peer("10.0.0.7:443", false)), tool(9, 7, "compile", 2)],
        "go mod tidy compiles (2 compile)",
        None,
    );
}

#[test]
fn work_has_a_name_and_no_code() {
    let go = |state| process(7, 1, "go test ./...", state);
    let tools = [tool(8, 7, "compile", 3), tool(9, 7, "link", 1)];
    says(
        &[&[go(Running)][..], &tools].concat(),
        "go test compiles (3 compile, link)",
        None,
    );
    says(
        &[
            go(WaitsChild),
            process(8, 7, "/tmp/go-build1/b001/web.test -test.v", Running),
        ],
        "the test web.test (pid 8) runs",
        None,
    );
    // A program may run git and ssh itself.
    says(
        &[
            go(WaitsChild),
            process(8, 7, "/tmp/go-build1/b001/exe/x", WaitsChild),
            process(9, 8, "git fetch", peer("10.0.0.7:443", false)),
        ],
        "the program x (pid 8) runs",
        None,
    );
    let unpacks = |file: &str| Process {
        file: Some(file.into()),
        ..go(Running)
    };
    let zip = "/home/ana/go/pkg/mod/cache/download/github.com/!burnt!sushi/toml/@v/v1.0.0.zip";
    says(
        &[unpacks(zip)],
        "go test unpacks and hashes github.com/BurntSushi/toml v1.0.0",
        None,
    );
    let source = "/home/ana/go/pkg/mod/golang.org/x/net@v0.34.0/http2/h2.go";
    says(
        &[unpacks(source)],
        "go test unpacks and hashes golang.org/x/net v0.34.0",
        None,
    );
    says(&[go(Running)], "go test works", None);
}

#[test]
fn a_wait_for_a_disk_tells_a_local_one_from_a_server() {
    let go = |channel: &str| {
        let channel = channel.into();
        process(7, 1, "go mod tidy", ProcessState::WaitsDisk { channel })
    };
    says(
        &[go("rpc_wait_bit_killable")],
        "go mod tidy waits for a network file system (rpc_wait_bit_killable)",
        Some("MT206"),
    );
    says(
        &[go("fanotify_handle_event")],
        "go mod tidy waits for a program that checks files, such as a virus scanner (fanotify_handle_event)",
        Some("MT206"),
    );
    says(&[go("")], "go mod tidy waits for a disk", Some("MT206"));
}

#[test]
fn a_wait_is_told_in_three_tenses() {
    let sample = sample(&[process(7, 1, "go mod tidy", waits("/x/cache/lock", None))]);
    let activity = Activity::of(&sample).unwrap();
    let lasting = activity.lasting(12_400_000);
    assert!(
        lasting.starts_with("go mod tidy has waited 12 s for the module"),
        "{lasting}"
    );
    let past = activity.past(12_400_000);
    assert!(
        past.starts_with("go mod tidy waited 12.4 s for the module"),
        "{past}"
    );
    let stuck = activity.stuck(12_400_000).unwrap();
    assert_eq!((stuck.code, stuck.cause), ("MT207", lasting));
}

#[test]
fn parents_in_a_circle_are_no_trouble() {
    let circle = [
        process(1, 2, "git fetch", Sleeping),
        process(2, 1, "git fetch", Sleeping),
        process(3, 3, "sh", Sleeping),
    ];
    assert!(Activity::of(&sample(&circle)).is_some());
}
