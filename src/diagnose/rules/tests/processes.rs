//! The rules on the command's processes.

use super::*;

/// A go command with this state and CPU time, microseconds.
fn go(state: ProcessState, cpu_us: u64) -> Process {
    process(7, 1, "go mod tidy", state, cpu_us)
}

fn process(pid: u32, parent: u32, command: &str, state: ProcessState, cpu_us: u64) -> Process {
    let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
    Process {
        pid,
        parent,
        name: command[0].clone(),
        command,
        count: 1,
        state,
        file: None,
        keeps_pipe_of: None,
        cpu_permille: 0,
        cpu_us,
        read_bytes: 0,
        written_bytes: 0,
    }
}

/// A look at so many microseconds; one without processes says that nobody looks any more.
fn look(at: u64, processes: &[Process]) -> Sampled {
    let at = Timestamp::from_micros(at);
    let processes = processes.to_vec();
    let sample = Sample {
        processes,
        ..Sample::default()
    };
    Sampled { run: 0, at, sample }
}

/// `go mod tidy`, as a script runs it.
pub(super) fn looked_at_tidy() -> Sampled {
    look(
        0,
        &[process(6, 1, "make tidy", WaitsChild, 0), go(Running, 0)],
    )
}

/// A run of so many microseconds with a request that took no time, looked at thus.
fn looked_at(wall_us: u64, samples: Vec<Sampled>) -> Made {
    let mut made = Made::of(vec![answer(1, ZIP, 0, 0)]);
    made.manifest.wall_us = wall_us;
    made.samples = samples;
    made
}

/// A go command that waits for a lock, and another one that works, by turns.
pub(super) fn waiting_in_turn(n: u64) -> Vec<Process> {
    match n % 2 {
        0 => vec![go(lock(), 0)],
        _ => vec![go(Running, 0)],
    }
}

/// Tools below one another, and a go command above all of them.
pub(super) fn chain_of(processes: u32) -> Vec<Process> {
    let below = (8..processes).map(|pid| Process {
        command: Vec::new(),
        ..process(pid, pid - 1, "compile", Running, 0)
    });
    std::iter::once(go(WaitsChild, 0)).chain(below).collect()
}

fn lock() -> ProcessState {
    let command = vec!["/usr/bin/go".into(), "build".into()];
    let holder = Some(Holder { pid: 4121, command });
    let path = Some("/home/ana/go/pkg/mod/cache/lock".into());
    let lock = Lock { path, holder };
    ProcessState::WaitingLock { lock }
}

fn reads() -> ProcessState {
    let terminal = "/dev/tty".into();
    ProcessState::ReadsTerminal { terminal }
}

use ProcessState::{Running, Sleeping, WaitsChild};

/// A recorder that went on looking after the last request, and another run behind it.
#[test]
fn a_look_behind_the_end_of_its_run_belongs_to_that_end() {
    let mut made = Made::of(vec![
        answer(1, ZIP, 0, S),
        Row {
            run: 1,
            ..answer(2, ZIP, 2 * S, S)
        },
    ]);
    let again = Sampled {
        run: 1,
        ..look(S / 2, &[go(lock(), 0)])
    };
    made.samples = vec![look(60 * S, &[go(lock(), 0)]), again];
    let first = made.first();
    assert_eq!((first.code, first.cost_us), ("MT207", 2 * S));
}

#[test]
fn the_process_that_waited_longest_is_told_with_its_own_time() {
    let ssh = |pid, address: &str| {
        let state = ProcessState::WaitsNetwork {
            address: address.into(),
            connecting: true,
        };
        process(pid, 7, &format!("ssh {address}"), state, 0)
    };
    let to = |at, pid, address| look(at, &[go(WaitsChild, 0), ssh(pid, address)]);
    let works = |at| look(at, &[go(Running, 0)]);
    let made = looked_at(
        12 * S,
        vec![
            to(0, 8, "10.0.0.1:22"),
            works(3 * S),
            to(4 * S, 9, "10.0.0.2:22"),
            works(6 * S),
            to(7 * S, 10, "10.0.0.2:22"),
            works(9 * S),
        ],
    );
    let first = made.first();
    assert_eq!((first.code, first.cost_us), ("MT206", 7 * S));
    assert!(
        first.title.contains("10.0.0.2:22") && first.title.contains("4.00 s"),
        "{}",
        first.title
    );
    assert!(
        first
            .title
            .ends_with(", in 2 parts, and 1 other wait of the same kind took 3.00 s"),
        "{}",
        first.title
    );
}

#[test]
fn a_lock_costs_what_it_was_waited_for_and_is_a_problem_if_that_never_ended() {
    let waits = |us: u64| {
        looked_at(
            20 * S,
            vec![look(0, &[go(lock(), 0)]), look(us, &[go(Running, 0)])],
        )
    };
    assert_eq!(waits(900_000).codes(), [""; 0]);
    assert_eq!(waits(3 * S).codes(), ["MT207"]);
    let first = waits(3 * S).first();
    assert_eq!((first.severity, first.cost_us), (Severity::Slow, 3 * S));
    assert_eq!(
        first.title,
        "go mod tidy waited 3.00 s for the module cache lock /home/ana/go/pkg/mod/cache/lock, which go build (pid 4121) holds"
    );
    assert!(first.hint.is_some_and(|hint| hint.contains("-p 4121")));
    let forever = looked_at(9 * S, vec![look(S / 2, &[go(lock(), 0)])]).exit(130);
    let first = forever.first();
    assert_eq!((first.severity, first.cost_us), (Severity::Problem, 9 * S));
}

#[test]
fn what_a_request_covers_is_not_the_processes() {
    let mut made = looked_at(10 * S, vec![look(S, &[go(lock(), 0)])]);
    made.rows = vec![answer(1, ZIP, 0, 10 * S)];
    assert!(!made.codes().contains(&"MT207"));
    // Only what lies beside it.
    made.manifest.wall_us = 15 * S;
    let findings = made.findings();
    let lock = findings.iter().find(|finding| finding.code == "MT207");
    assert_eq!(lock.map(|finding| finding.cost_us), Some(5 * S));
}

#[test]
fn nothing_is_known_of_the_time_in_which_nobody_looked() {
    let pause = look(2 * S, &[]);
    let made = looked_at(30 * S, vec![look(0, &[go(lock(), 0)]), pause]);
    let cost: u64 = made.findings().iter().map(|finding| finding.cost_us).sum();
    assert_eq!(cost, 2 * S);
    // The first look comes a moment after the last request.
    let mut late = looked_at(10 * S, vec![look(2 * S + 400_000, &[go(lock(), 0)])]);
    late.rows = vec![answer(1, ZIP, 0, 2 * S)];
    assert_eq!(late.first().cost_us, 8 * S);
    late.samples = vec![look(5 * S, &[go(lock(), 0)])];
    assert_eq!(late.first().cost_us, 5 * S);
}

#[test]
fn a_prompt_that_is_answered_soon_is_none() {
    let ssh = |state| {
        [
            go(WaitsChild, 0),
            process(8, 7, "git fetch origin", WaitsChild, 0),
            process(9, 8, "ssh git@git.corp.example", state, 0),
        ]
    };
    let asks = |us| {
        looked_at(
            20 * S,
            vec![look(0, &ssh(reads())), look(us, &ssh(Running))],
        )
    };
    assert_eq!(asks(1_900_000).codes(), [""; 0]);
    assert_eq!(asks(5 * S).codes(), ["MT208"]);
    let hint = asks(5 * S).first().hint.unwrap_or_default();
    assert!(hint.contains("ssh -T git@git.corp.example"), "{hint}");
    let forever = looked_at(20 * S, vec![look(0, &ssh(reads()))]).exit(124);
    assert_eq!(forever.first().severity, Severity::Problem);
    assert_eq!(forever.first().confidence, Confidence::Certain);
}

#[test]
fn a_leftover_master_is_a_finding() {
    let master = Process {
        keeps_pipe_of: Some(7),
        ..process(99, 1, "ssh", Sleeping, 0)
    };
    let made = looked_at(20 * S, vec![look(0, &[go(Sleeping, 0), master])]).exit(130);
    let first = made.first();
    assert_eq!((first.code, first.severity), ("MT209", Severity::Problem));
    assert!(
        first
            .hint
            .is_some_and(|hint| hint.contains("ControlMaster=no"))
    );
}

#[test]
fn work_and_unpacking_are_notes_unless_they_use_no_cpu() {
    let unpacks = |cpu_us| Process {
        file: Some("/home/ana/go/pkg/mod/golang.org/x/net@v0.34.0/a.go".into()),
        ..go(Running, cpu_us)
    };
    let made = |cpu_us| {
        looked_at(
            10 * S,
            vec![look(0, &[unpacks(0)]), look(10 * S, &[unpacks(cpu_us)])],
        )
    };
    let busy = made(19 * S).findings();
    let [note] = &busy[..] else {
        panic!("{busy:#?}")
    };
    assert_eq!((note.code, note.severity), ("MT210", Severity::Note));
    assert_eq!(
        note.title,
        "go mod tidy unpacked and hashed zips for 10.0 s (190 % CPU)"
    );
    let slow = made(S / 2).findings();
    let told: Vec<_> = slow
        .iter()
        .map(|found| (found.code, found.severity))
        .collect();
    assert_eq!(told, [("MT210", Severity::Slow)]);
    let works = looked_at(
        10 * S,
        vec![
            look(0, &[go(Running, 0)]),
            look(10 * S, &[go(Running, 9 * S)]),
        ],
    );
    let works = works.findings();
    let codes: Vec<_> = works
        .iter()
        .map(|note| (note.code, note.severity))
        .collect();
    assert_eq!(codes, [("MT206", Severity::Note)]);
}

#[test]
fn what_is_not_ours_to_judge_is_no_finding_however_long_it_takes() {
    let tool = Process {
        command: Vec::new(),
        ..process(8, 7, "compile", Running, 0)
    };
    let program = |state| process(8, 7, "/tmp/go-build1/b001/exe/server", state, 0);
    let tests = process(8, 7, "/tmp/go-build1/b001/web.test", Sleeping, 0);
    for child in [
        tool,
        program(Running),
        program(Sleeping),
        program(reads()),
        tests,
    ] {
        for code in [0, 1, 130] {
            let made = looked_at(3600 * S, vec![look(0, &[go(WaitsChild, 0), child.clone()])]);
            let findings = made.exit(code).findings();
            assert!(findings.is_empty(), "{child:?}: {findings:#?}");
        }
    }
    let shell = [process(7, 1, "sh", Sleeping, 0)];
    assert!(
        looked_at(3600 * S, vec![look(0, &shell)])
            .exit(130)
            .findings()
            .is_empty()
    );
}

#[test]
fn a_go_command_that_waits_for_nobody_knows_what_is_a_problem_only_if_it_was_ended() {
    let idle = |code| looked_at(30 * S, vec![look(0, &[go(Sleeping, 0)])]).exit(code);
    assert_eq!(idle(0).codes(), [""; 0]);
    assert_eq!(idle(130).codes(), ["MT206"]);
    assert_eq!(idle(130).first().confidence, Confidence::Likely);
    assert_eq!(
        looked_at(4 * S, vec![look(0, &[go(Sleeping, 0)])])
            .exit(130)
            .codes(),
        [""; 0]
    );
}

#[test]
fn ssh_without_a_connection_and_a_server_of_files_are_told() {
    let ssh = process(
        9,
        7,
        "ssh git.corp.example",
        ProcessState::WaitsNetwork {
            address: "10.0.0.7:22".into(),
            connecting: true,
        },
        0,
    );
    let made = looked_at(30 * S, vec![look(0, &[go(WaitsChild, 0), ssh])]).exit(1);
    let first = made.first();
    assert_eq!((first.code, first.severity), ("MT206", Severity::Problem));
    assert!(first.title.contains("10.0.0.7:22"), "{}", first.title);
    let channel = "rpc_wait_bit_killable".into();
    let disk = [go(ProcessState::WaitsDisk { channel }, 0)];
    let first = looked_at(30 * S, vec![look(0, &disk), look(9 * S, &[go(Running, 0)])]).first();
    assert_eq!((first.code, first.severity), ("MT206", Severity::Slow));
    assert_eq!(first.cost_us, 9 * S);
}

/// Any look, of processes that may be the go command, git, ssh, a tool, or anything.
pub(super) fn any_sampled() -> impl Strategy<Value = Sampled> {
    let states = prop::sample::select(vec![
        Running,
        Sleeping,
        WaitsChild,
        ProcessState::Stopped,
        lock(),
        reads(),
        ProcessState::WaitsNetwork {
            address: "10.0.0.7:22".into(),
            connecting: false,
        },
        ProcessState::WaitsDisk {
            channel: String::new(),
        },
    ]);
    let commands = vec![
        "go mod tidy",
        "git fetch",
        "ssh h",
        "sh",
        "x get",
        "\n",
        "ssh-askpass",
    ];
    let process = (
        (0..9_u32, 0..9_u32),
        prop::sample::select(commands),
        states,
        any::<u64>(),
        (any::<bool>(), prop::option::of(0..9_u32)),
    );
    let process = process.prop_map(|((pid, parent), command, state, cpu_us, (is_tool, pipe))| {
        let process = super::processes::process(pid, parent, command, state, cpu_us);
        Process {
            command: if is_tool { Vec::new() } else { process.command },
            keeps_pipe_of: pipe,
            ..process
        }
    });
    let processes = prop::collection::vec(process, 0..6);
    (0..90 * S, processes).prop_map(|(at, processes)| look(at, &processes))
}
