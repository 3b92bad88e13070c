//! kill -9 at every system call that changes a file, by strace's fault injection.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::audit;
use super::download::{Got, Ledger, Plan, block_on, download};
use super::random::Dice;
use super::recorder::Start;
use crate::support::*;

const PLAN: Plan = Plan {
    requests: 20,
    largest: 60_000,
};

/// What changes files on Linux, as far as we use it.
const CALLS: &str = "write,writev,pwrite64,openat,rename,renameat,renameat2,fsync,fdatasync,\
                     ftruncate,fallocate,mkdir,mkdirat,unlink,unlinkat";

/// Where a session is killed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    /// A thread that is followed alone; `None`: whichever makes the call so often first.
    thread: Option<String>,
    call: String,
    /// How often the thread has made the call by then: strace counts for each thread, from where
    /// it begins to follow.
    number: usize,
}

/// What came of a session.
#[derive(Default)]
struct Ended {
    received: Vec<Got>,
    objections: Vec<String>,
    /// The threads beside the first one.
    threads: Vec<String>,
    was_killed: bool,
}

/// One session to its end, or to where strace kills it; `None` if strace may not attach.
///
/// All of it is followed, or `thread` alone from the first client on.
fn session(origin: &Origin, thread: Option<&str>, strace: &[String]) -> Option<Ended> {
    let start = Start {
        origin,
        flags: &["--durability", "strict"],
        strace: if thread.is_none() { strace } else { &[] },
        recordings: None,
    };
    let sandbox = Sandbox::new();
    let dir = start.recordings(&sandbox).join("one");
    let ledger = Ledger::default();
    let Some(started) = start.start_in(sandbox) else {
        // Killed before it served: there is nothing to owe.
        let was_killed = true;
        return Some(Ended {
            was_killed,
            ..Ended::default()
        });
    };
    let threads = started.threads();
    let follower = match thread {
        Some(name) => Some(started.follow(name, strace)?),
        None => None,
    };
    block_on(download(&started, PLAN, &ledger, |_| {}, |_| {}));
    let left = started.end();
    // It ends with what it follows, and has written its trace by then.
    follower.map(Spawned::end);
    let received = ledger.received();
    Some(Ended {
        objections: audit::objections(&dir, &received),
        received,
        threads,
        was_killed: left.output.status.code().is_none(),
    })
}

/// The calls of a session that change files: by any thread from the start, each as often as the
/// busiest thread makes it, and by each of the other threads alone. The first one makes so many at
/// the start that a count never comes to theirs.
fn points(origin: &Origin) -> Vec<Point> {
    let Some((mut points, threads)) = traced(origin, None) else {
        return Vec::new();
    };
    for thread in threads {
        match traced(origin, Some(&thread)) {
            Some((more, _)) => points.extend(more),
            None => skipped(&format!("kills in {thread} alone: strace may not attach")),
        }
    }
    points.into_iter().collect()
}

/// The points of one session, and the names of its threads.
fn traced(origin: &Origin, thread: Option<&str>) -> Option<(BTreeSet<Point>, Vec<String>)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace");
    let log = trace.to_str().expect("paths of tests are text");
    let options = told(&["-o", log, "-e", &format!("trace={CALLS}")]);
    let ended = session(origin, thread, &options)?;
    assert_eq!(ended.received.len(), PLAN.requests);
    assert_eq!(ended.objections, [""; 0]);
    let text = fs::read_to_string(&trace).expect("strace writes a trace");
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut points = BTreeSet::new();
    for line in text.lines() {
        // A line begins with the thread's number where several are followed.
        let (number, call) = match line.split_once(' ') {
            Some((number, call)) if thread.is_none() => (number, call.trim_start()),
            _ => ("", line),
        };
        let Some((name, arguments)) = call.split_once('(') else {
            continue;
        };
        let count = counts.entry((number, name)).or_default();
        *count += 1;
        // A wake-up of our own is eight bytes; files that are read are no loss.
        let is_a_change = !arguments.contains("O_RDONLY") && !arguments.ends_with("8) = 8");
        if is_a_change {
            points.insert(Point {
                thread: thread.map(str::to_owned),
                call: name.to_owned(),
                number: *count,
            });
        }
    }
    Some((points, ended.threads))
}

fn told(options: &[&str]) -> Vec<String> {
    options.iter().map(|option| (*option).to_owned()).collect()
}

impl Point {
    /// A session that is killed there.
    fn kill(&self, origin: &Origin) -> Option<Ended> {
        let Self { call, number, .. } = self;
        let inject = format!("inject={call}:signal=SIGKILL:when={number}");
        let trace = format!("trace={call}");
        let strace = told(&["-o", "/dev/null", "-e", &trace, "-e", &inject]);
        session(origin, self.thread.as_deref(), &strace)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, number, .. } = self;
        match &self.thread {
            Some(thread) => write!(f, "{call} {number} of {thread}"),
            None => write!(f, "{call} {number}"),
        }
    }
}

#[test]
fn a_kill_at_any_call_that_changes_a_file_loses_nothing_that_a_client_had_whole() {
    if !Path::new("/usr/bin/strace").exists() {
        return skipped("kills at system calls: there is no strace");
    }
    let origin = PLAN.origin();
    let mut points = points(&origin);
    let (all, most) = (points.len(), count(60, usize::MAX));
    let mut dice = Dice::roll("system calls");
    while points.len() > most {
        points.swap_remove(dice.below(points.len() as u64) as usize);
    }
    let next = AtomicUsize::new(0);
    let judged = || {
        let (mut judged, mut killed, mut objections) = (0, 0, Vec::new());
        while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(ended) = point.kill(&origin) else {
                continue;
            };
            judged += ended.received.len();
            killed += usize::from(ended.was_killed);
            let at = |wrong| format!("killed at {point}: {wrong}");
            objections.extend(ended.objections.into_iter().map(at));
        }
        (judged, killed, objections)
    };
    let (first, second) = thread::scope(|scope| {
        let other = scope.spawn(judged);
        (judged(), other.join().expect("it says what is wrong"))
    });
    assert_eq!([first.2, second.2].concat(), [""; 0]);
    let (judged, killed, tried) = (first.0 + second.0, first.1 + second.1, points.len());
    eprintln!(
        "{tried} of {all} points, {killed} reached, {judged} exchanges received whole, 0 lost"
    );
    // How many calls there are differs a little from session to session.
    assert!(killed * 10 >= tried * 8, "{killed} of {tried}");
}
