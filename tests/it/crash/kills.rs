//! kill -9 at any moment of a download.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::audit;
use super::download::{Got, Ledger, Plan, block_on, download};
use super::random::Dice;
use super::recorder::{Left, Start};
use crate::support::*;

const PLAN: Plan = Plan {
    requests: 48,
    largest: 200_000,
};

/// Kills a recorder when its clients have received so many bytes.
fn killed_after(bytes: u64, origin: &Origin) -> (Left, Vec<Got>) {
    let start = Start {
        origin,
        flags: &[],
        strace: &[],
        recordings: None,
    };
    let started = start.start().expect("it serves");
    let (ledger, kill) = (Ledger::default(), started.killer());
    let each_chunk = move |so_far| {
        if so_far >= bytes {
            kill();
        }
    };
    block_on(download(&started, PLAN, &ledger, each_chunk, |_| {}));
    (started.end(), ledger.received())
}

#[test]
fn what_a_client_had_whole_when_the_recorder_was_killed_is_there_and_verifies() {
    let kills = count(100, 500);
    let mut dice = Dice::roll("kills");
    let moments: Vec<u64> = (0..kills).map(|_| dice.below(PLAN.all_bytes())).collect();
    let (next, origin) = (AtomicUsize::new(0), PLAN.origin());
    let judged = || {
        let (mut judged, mut objections) = (0, Vec::new());
        while let Some(&bytes) = moments.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (ended, received) = killed_after(bytes, &origin);
            assert_eq!(ended.output.status.code(), None, "{}", ended.output.stderr);
            for objection in audit::objections(&ended.dir, &received) {
                objections.push(format!("killed after {bytes} bytes: {objection}"));
            }
            judged += received.len();
        }
        (judged, objections)
    };
    let (first, second) = thread::scope(|scope| {
        let other = scope.spawn(judged);
        (judged(), other.join().expect("it says what is wrong"))
    });
    assert_eq!([first.1, second.1].concat(), [""; 0]);
    eprintln!(
        "{kills} kills, {} exchanges received whole, 0 lost",
        first.0 + second.0
    );
}

#[test]
fn the_judge_objects_where_something_is_lost() {
    let origin = PLAN.origin();
    let (ended, received) = killed_after(PLAN.all_bytes() / 2, &origin);
    assert_eq!(audit::objections(&ended.dir, &received), [""; 0]);
    let large = received.iter().find(|got| got.bytes > 16 * 1024);
    let small = received.iter().find(|got| got.bytes < 16 * 1024);
    for got in [large, small] {
        for (how, copy) in audit::spoiled(&ended.dir, got.expect("half of all came")) {
            let objections = audit::objections(copy.path(), &received);
            assert!(
                !objections.is_empty(),
                "{}: {how}",
                got.map_or("", |got| &got.path)
            );
        }
    }
    let never = Got {
        path: "/never".into(),
        bytes: 0,
        sha256: String::new(),
    };
    assert_eq!(audit::objections(&ended.dir, &[never]).len(), 2);
}
