//! A disk that is full: the build goes on, and the recording says what it lacks.

use std::path::{Path, PathBuf};

use modtape::clock::{Clock, Timestamp};
use modtape::exchange::Hex;
use modtape::recording::format::{Event, FORMAT_VERSION, Gap, Open};
use modtape::recording::reader::{Damage, DamageKind, Status};
use modtape::recording::writer::create;
use modtape::recording::{Durability, Journal, Recording};

use super::LIMIT;
use crate::support::*;

/// A small disk, mounted for one test; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None`, with a line on stderr, where that is not allowed.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).expect("a folder");
        let mut mount = program("mount");
        mount.args(["-t", "tmpfs", "-o", "size=512k", "modtape-it"]);
        let mounted = mount.arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        skipped("a full disk: mounting a small one takes root");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = program("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "umount");
    }
}

const HOST: &str = "proxy.golang.org";
const ZIP: &str = "/m/@v/v1.0.0.zip";
const LIST: &str = "/m/@v/list";

fn origin() -> Origin {
    let small = ((HOST, LIST), (200, "text/plain", "v1.0.0\n"));
    let origin = Origin::start(Content::files([small]));
    // Noise does not fit, whatever stands before it.
    origin.add_rule(Rule::suffix(ZIP).generated(4 << 20));
    origin
}

fn record(sandbox: &Sandbox, origin: &Origin, disk: &Disk, flags: &[&str]) -> Output {
    let modtape = tested();
    let modtape = modtape.display();
    let fetch = format!("'{modtape}' fetch https://{HOST}{ZIP} https://{HOST}{LIST} && exit 7");
    let mut record = crate::record::record(sandbox, origin, flags, &["sh", "-c", &fetch]);
    record.env("MODTAPE_RECORDINGS", &disk.0);
    run(record, LIMIT)
}

#[test]
fn a_full_disk_stops_no_build_and_is_told_loudly() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::mount(&sandbox.join("disk")) else {
        return;
    };
    let origin = origin();
    let output = record(&sandbox, &origin, &disk, &[]);
    assert_eq!(output.status.code(), Some(7), "{}", output.stderr);
    assert!(
        output.stderr.contains("! INCOMPLETE: "),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("No space left"), "{}", output.stderr);
    let requests = origin.requests();
    assert!(
        requests.iter().all(|served| served.is_complete),
        "{requests:?}"
    );
    let recording = Recording::open(&disk.0.join("one")).expect("it opens");
    assert!(!recording.gaps().is_empty());
    assert!(!recording.manifest().replayable.complete);
    // What came after the body that did not fit is there.
    let rows = recording.rows();
    assert!(
        rows.iter()
            .any(|row| row.url.ends_with(LIST) && row.body.is_some())
    );
}

#[test]
fn a_full_disk_is_an_error_where_completeness_was_required() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::mount(&sandbox.join("disk")) else {
        return;
    };
    let output = record(&sandbox, &origin(), &disk, &["--require-complete"]);
    assert_eq!(output.status.code(), Some(74), "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains("error: the recording is incomplete: "),
        "{}",
        output.stderr
    );
}

#[test]
fn a_disk_that_fills_up_with_small_answers_closes_the_recording_all_the_same() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::mount(&sandbox.join("disk")) else {
        return;
    };
    let origin = origin();
    origin.add_rule(Rule::suffix(LIST).generated(15 << 10));
    let modtape = tested();
    let modtape = modtape.display();
    let urls = format!("https://{HOST}{LIST} ").repeat(60);
    let fetch = format!("'{modtape}' fetch {urls} && exit 7");
    let mut record = crate::record::record(&sandbox, &origin, &[], &["sh", "-c", &fetch]);
    record.env("MODTAPE_RECORDINGS", &disk.0);
    let output = run(record, LIMIT);
    assert_eq!(output.status.code(), Some(7), "{}", output.stderr);
    assert!(
        output.stderr.contains("! INCOMPLETE: "),
        "{}",
        output.stderr
    );
    assert_eq!(origin.requests().len(), 60);
    let recording = Recording::open(&disk.0.join("one")).expect("it opens");
    let gap = recording.gaps().first().expect("lines are lost");
    assert!(gap.lost_lines().is_some_and(|lost| lost > 0), "{gap:?}");
    assert!(gap.what.contains(" since "), "{gap:?}");
    // Nobody killed it: its manifest found room as well.
    assert_eq!(recording.status(), Status::Closed);
    assert_eq!(recording.manifest().exit_code, Some(7));
    let mut ls = sandbox.modtape(["ls", "one"]);
    ls.env("MODTAPE_RECORDINGS", &disk.0);
    let listed = run(ls, LIMIT).expect_success();
    let told = "one is incomplete: not recorded: ";
    assert!(listed.stderr.contains(told), "{}", listed.stderr);
    assert!(listed.stderr.contains("No space left"), "{}", listed.stderr);
}

#[test]
fn who_wants_to_hear_of_errors_only_hears_of_a_full_disk() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::mount(&sandbox.join("disk")) else {
        return;
    };
    let output = record(&sandbox, &origin(), &disk, &["--quiet"]);
    assert_eq!(output.status.code(), Some(7), "{}", output.stderr);
    let told = "warning: the recording is incomplete: ";
    assert!(output.stderr.starts_with(told), "{}", output.stderr);
    assert!(output.stderr.contains("No space left"), "{}", output.stderr);
}

/// More than the disk has.
const TOO_LONG: usize = 600 << 10;

#[tokio::test]
async fn a_line_that_finds_no_room_takes_no_other_line_with_it() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::mount(&sandbox.join("disk")) else {
        return;
    };
    let dir = disk.0.join("one");
    let folder = create(&dir, false).expect("there is room for a folder");
    let journal = Journal::start(folder, Clock::start(), Durability::Process, true);
    let (recorder, journal) = journal.expect("there is room for a journal");
    let at = Timestamp::from_micros(7);
    recorder.note(at, &Event::Open(open()));
    // All of them wait for the journal's owner, which writes them at once.
    for number in 0..60 {
        let why = match number {
            20 | 21 | 40 => "x".repeat(TOO_LONG),
            _ => String::new(),
        };
        let what = format!("line {number}");
        recorder.note(at, &Event::Gap(Gap { what, why }));
    }
    drop(recorder);
    journal.run().await;
    let recording = Recording::open_whole(&dir).expect("it opens");
    let told = |gap: &Gap| gap.what.starts_with("line ");
    let (kept, lost): (Vec<&Gap>, Vec<&Gap>) = recording.gaps().iter().partition(|gap| told(gap));
    let expected = (0..60).filter(|number| ![20, 21, 40].contains(number));
    let expected: Vec<_> = expected.map(|number| format!("line {number}")).collect();
    let kept: Vec<_> = kept.iter().map(|gap| gap.what.clone()).collect();
    assert_eq!(kept, expected);
    let counts = lost.iter().filter_map(|gap| gap.lost_lines());
    assert_eq!(counts.sum::<u64>(), 3, "{lost:?}");
    assert!(
        lost.iter().all(|gap| gap.why.contains("No space left")),
        "{lost:?}"
    );
    let is_missing = |damage: &&Damage| matches!(damage.kind, DamageKind::Missing { .. });
    let missing = recording.damage().iter().find(is_missing);
    assert_eq!(missing, None, "the gaps account for all numbers");
}

fn open() -> Open {
    Open {
        added_by: None,
        format: FORMAT_VERSION,
        recording: "0190c1d2".into(),
        wall: "2026-11-22T04:52:00.000000Z".into(),
        trace: Hex([7; 16]),
        tool: "modtape".into(),
        command: Vec::new(),
    }
}
