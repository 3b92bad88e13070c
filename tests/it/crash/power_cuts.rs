//! Power cuts: what `--durability strict` and `group` promise, on disks that honour a flush.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::audit;
use super::block_device::{Disk, Told, now};
use super::download::{Got, Ledger, Plan, block_on, download};
use super::random::Dice;
use super::recorder::Start;
use crate::support::*;

const PLAN: Plan = Plan {
    requests: 30,
    largest: 100_000,
};

/// What each answer takes, where a download is to last longer than what `group` may be behind.
const SLOW: Duration = Duration::from_millis(100);

/// A response that a client received whole, and how far the disk's log was by then.
struct Acknowledged {
    got: Got,
    log: usize,
    at: Instant,
}

/// A recording on a disk that remembers.
struct Recorded {
    disk: Disk,
    told: Vec<(Instant, Told)>,
    acknowledged: Vec<Acknowledged>,
}

fn record(
    sandbox: &Sandbox,
    durability: &str,
    strace: &[String],
    origin: &Origin,
) -> Option<Recorded> {
    let disk = Disk::mount(sandbox.path())?;
    let start = Start {
        origin,
        flags: &["--no-har", "--durability", durability],
        strace,
        recordings: Some(&disk.dir),
    };
    let started = start.start().expect("it serves");
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let (log, list) = (disk.log.clone(), Arc::clone(&acknowledged));
    let each_end = move |got: &Got| {
        let (log, got) = (log.len(), got.clone());
        let at = now();
        let acknowledged = Acknowledged { got, log, at };
        list.lock()
            .expect("no panic while locked")
            .push(acknowledged);
    };
    let ledger = Ledger::default();
    block_on(download(&started, PLAN, &ledger, |_| {}, each_end));
    assert_eq!(ledger.received().len(), PLAN.requests);
    started.end().output.expect_success();
    let told = disk.log.all();
    let list = std::mem::take(&mut *acknowledged.lock().expect("no panic while locked"));
    Some(Recorded {
        disk,
        told,
        acknowledged: list,
    })
}

impl Recorded {
    /// What is wrong with a recording after a cut after `until` entries: what of `owed` is missing,
    /// and what passes for whole that is not.
    fn objections(&self, until: usize, owed: &[Got], dice: &mut Dice) -> Vec<String> {
        let image = self.disk.after_cut(&self.told, until, dice);
        image.look(|dir| {
            let dir = dir.join("one");
            let mut wrong = audit::impostors(&dir, |path| PLAN.sha256(path));
            if !owed.is_empty() {
                wrong.extend(audit::objections(&dir, owed));
            }
            let cut = format!("cut after {until} of {}", self.told.len());
            wrong
                .into_iter()
                .map(|wrong| format!("{cut}: {wrong}"))
                .collect()
        })
    }

    /// What clients had whole before the cut.
    fn received_before(&self, until: usize) -> Vec<Got> {
        let before = self.acknowledged.iter().filter(|got| got.log <= until);
        before
            .map(|acknowledged| acknowledged.got.clone())
            .collect()
    }
}

#[test]
fn strict_loses_nothing_that_a_client_had_whole_when_the_power_was_cut() {
    let sandbox = Sandbox::new();
    let Some(recorded) = record(&sandbox, "strict", &[], &PLAN.origin()) else {
        return;
    };
    let (mut dice, cuts) = (Dice::roll("power, strict"), count(34, 250));
    let mut objections = Vec::new();
    let mut owed_in_all = 0;
    for _ in 0..cuts {
        let until = dice.below(recorded.told.len() as u64 + 1) as usize;
        let owed = recorded.received_before(until);
        owed_in_all += owed.len();
        objections.extend(recorded.objections(until, &owed, &mut dice));
    }
    assert_eq!(objections, [""; 0]);
    let told = recorded.told.len();
    eprintln!("{cuts} cuts in {told} writes and flushes, {owed_in_all} exchanges owed, 0 lost");
}

#[test]
fn group_loses_no_more_than_the_last_moments_before_the_power_was_cut() {
    let sandbox = Sandbox::new();
    let origin = PLAN.origin_that_takes(SLOW);
    let Some(recorded) = record(&sandbox, "group", &[], &origin) else {
        return;
    };
    let behind = recorded.may_be_behind();
    let (mut dice, cuts) = (Dice::roll("power, group"), count(16, 100));
    let (mut objections, mut owed_in_all) = (Vec::new(), 0);
    for _ in 0..cuts {
        let until = 1 + dice.below(recorded.told.len() as u64) as usize;
        let (cut, _) = recorded.told[until - 1];
        let before = recorded.acknowledged.iter();
        let before = before.filter(|got| got.log <= until && got.at + behind < cut);
        let owed: Vec<Got> = before.map(|got| got.got.clone()).collect();
        owed_in_all += owed.len();
        objections.extend(recorded.objections(until, &owed, &mut dice));
    }
    // Who ends in order has nothing left to sync, however slow the machine was.
    let owed = recorded.received_before(recorded.told.len());
    assert_eq!(owed.len(), PLAN.requests);
    objections.extend(recorded.objections(recorded.told.len(), &owed, &mut dice));
    assert_eq!(objections, [""; 0]);
    eprintln!("{cuts} cuts, {owed_in_all} exchanges owed after {behind:?}, 0 lost");
}

impl Recorded {
    /// `group` promises to be at most 50 ms behind; what the disk and a loaded machine take on top
    /// shows in the time between flushes.
    fn may_be_behind(&self) -> Duration {
        let flushes = self.told.iter().filter_map(|(at, told)| match told {
            Told::Flush => Some(*at),
            Told::Write(..) => None,
        });
        let flushes: Vec<Instant> = flushes.collect();
        let first = self.acknowledged.iter().map(|got| got.at).min();
        let recorded = flushes.windows(2).filter(|pair| Some(pair[0]) >= first);
        let longest = recorded.map(|pair| pair[1] - pair[0]).max();
        Duration::from_millis(250).max(3 * longest.unwrap_or_default())
    }
}

#[test]
fn a_disk_that_is_never_flushed_loses_what_strict_promised_so_the_cuts_can_tell() {
    let sandbox = Sandbox::new();
    // As eatmydata does: the recorder takes it for synced, the disk was never told.
    let calls = "fsync,fdatasync";
    let strace = ["-o", "/dev/null", "-e", &format!("trace={calls}")];
    let inject = format!("inject={calls}:retval=0");
    let strace: Vec<String> = strace
        .into_iter()
        .chain(["-e", &inject])
        .map(str::to_owned)
        .collect();
    let Some(recorded) = record(&sandbox, "strict", &strace, &PLAN.origin()) else {
        return;
    };
    let until = recorded.told.len();
    let owed = recorded.received_before(until);
    assert_eq!(owed.len(), PLAN.requests);
    let objections = recorded.objections(until, &owed, &mut Dice::of(1));
    assert!(!objections.is_empty());
}
