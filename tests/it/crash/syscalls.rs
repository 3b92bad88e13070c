//! kill -9 at every system call that changes a file, by strace's fault injection.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::dice::Dice;
use super::download::{Got, Ledger, Plan, block_on, download};
use super::judge;
use super::started::Start;
use crate::support::*;

const PLAN: Plan = Plan {
    requests: 20,
    largest: 60_000,
};

/// What changes files on Linux, as far as we use it.
const CALLS: &str = "write,writev,pwrite64,openat,rename,renameat,renameat2,fsync,fdatasync,\
                     ftruncate,fallocate,mkdir,mkdirat,unlink,unlinkat";

/// A call by name and number; strace counts each call of each thread for itself.
type Point = (String, usize);

/// One session to its end, or to where strace kills it; what the clients had whole.
fn session(origin: &Origin, strace: &[String]) -> (Vec<Got>, Vec<String>) {
    let start = Start {
        origin,
        flags: &["--durability", "strict"],
        strace,
        recordings: None,
    };
    let sandbox = Sandbox::new();
    let dir = start.recordings(&sandbox).join("one");
    let ledger = Ledger::default();
    let Some(started) = start.start_in(sandbox) else {
        // Killed before it served: there is nothing to owe.
        return Default::default();
    };
    block_on(download(&started, PLAN, &ledger, |_| {}, |_| {}));
    let left = started.end();
    let received = ledger.received();
    let objections = judge::objections(&dir, &received);
    drop(left);
    (received, objections)
}

/// The calls of a session that change files, each as often as the busiest thread makes it.
fn points(origin: &Origin) -> Vec<Point> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace");
    let log = trace.to_str().expect("paths of tests are text");
    let (received, objections) =
        session(origin, &told(&["-o", log, "-e", &format!("trace={CALLS}")]));
    assert_eq!((received.len(), objections), (PLAN.requests, Vec::new()));
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut points = BTreeSet::new();
    let text = fs::read_to_string(&trace).expect("strace writes a trace");
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let Some((name, arguments)) = call.trim_start().split_once('(') else {
            continue;
        };
        let count = counts.entry((thread, name)).or_default();
        *count += 1;
        // A wake-up of our own is eight octets; files that are read are no loss.
        let is_a_change = !arguments.contains("O_RDONLY") && !arguments.ends_with("8) = 8");
        if is_a_change {
            points.insert((name.to_owned(), *count));
        }
    }
    points.into_iter().collect()
}

fn told(options: &[&str]) -> Vec<String> {
    options.iter().map(|option| (*option).to_owned()).collect()
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
        let (mut judged, mut objections) = (0, Vec::new());
        while let Some((call, number)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let trace = format!("trace={call}");
            let strace = told(&["-o", "/dev/null", "-e", &trace, "-e", &inject]);
            let (received, wrong) = session(&origin, &strace);
            judged += received.len();
            let at = |wrong| format!("killed at {call} {number}: {wrong}");
            objections.extend(wrong.into_iter().map(at));
        }
        (judged, objections)
    };
    let (first, second) = thread::scope(|scope| {
        let other = scope.spawn(judged);
        (judged(), other.join().expect("it says what is wrong"))
    });
    assert_eq!([first.1, second.1].concat(), [""; 0]);
    let judged = first.0 + second.0;
    eprintln!(
        "{} of {all} points, {judged} exchanges received whole, 0 lost",
        points.len()
    );
}
