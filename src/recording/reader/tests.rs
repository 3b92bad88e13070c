use std::collections::BTreeSet;
use std::io::Read as _;

use proptest::collection::vec;
use proptest::prelude::*;

use super::body::{HELD_BACK, body_path};
use super::scan::{Findings, scan};
use super::*;
use crate::exchange::{Mode, Phase};
use crate::recording::format::{INDEX, MANIFEST};
use crate::recording::sample::{self, large};

fn recording(journal: &[u8], state: State) -> (tempfile::TempDir, Recording) {
    let dir = tempfile::tempdir().unwrap();
    sample::write(dir.path(), journal, state);
    let recording = Recording::open(dir.path()).unwrap();
    (dir, recording)
}

fn read(recording: &Recording, body: &Body) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader = recording.body(body).map_err(io::Error::other)?;
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn a_closed_recording_reads_back_as_it_was_written() {
    let (dir, recording) = recording(&sample::journal(), State::Closed);
    assert_eq!(recording.damage(), []);
    assert_eq!(recording.status(), Status::Closed);
    assert_eq!(
        recording.name(),
        dir.path().file_name().unwrap().to_string_lossy()
    );
    assert_eq!(recording.runs().len(), 1);
    assert_eq!(recording.gaps().len(), 1);
    let states: Vec<_> = recording.rows().iter().map(|row| row.state).collect();
    use RowState::{Aborted, Ended, InFlight};
    assert_eq!(states, [Ended, Ended, Aborted, InFlight]);
    let connection = recording.connection(1).unwrap();
    assert_eq!(connection.opened.as_ref().unwrap().mode, Mode::Intercept);
    assert_eq!(connection.closed.as_ref().unwrap().to_client_bytes, 200);
    let row = &recording.rows()[0];
    assert_eq!(row.phases[Phase::Wait], Some(40));
    assert_eq!((row.status, row.own_us, row.bytes), (Some(200), 4, 31));
}

#[test]
fn every_exchange_is_read_again_whole() {
    let (_dir, recording) = recording(&sample::journal(), State::Closed);
    let mut bodies = Vec::new();
    for row in recording.rows() {
        let exchange = recording.exchange(row).unwrap();
        assert_eq!(Event::Begin(exchange.begin.clone()), sample::begin(row.id));
        assert_eq!(exchange.timings(), row.phases);
        assert_eq!(exchange.status(), row.status);
        if let Some(body) = exchange.end().and_then(|end| end.body.as_ref()) {
            assert_eq!(row.body, Some(body.sha256));
            bodies.push(read(&recording, body).unwrap());
        }
    }
    assert_eq!(
        bodies,
        [b"{\"Version\":\"v1.1.0\"} deadbeef {".to_vec(), large()]
    );
}

#[test]
fn samples_of_the_processes_are_read_again_whole() {
    let dir = tempfile::tempdir().unwrap();
    sample::write(dir.path(), &sample::journal(), State::Closed);
    index::rebuild(dir.path()).unwrap();
    let Event::Sample(expected) = sample::sample() else {
        panic!("it is a sample");
    };
    for recording in [
        Recording::open(dir.path()).unwrap(),
        Recording::open_whole(dir.path()).unwrap(),
    ] {
        let [row] = recording.samples() else {
            panic!("{:?}", recording.samples());
        };
        assert_eq!((row.run, row.at.as_micros()), (0, 1_100_000));
        assert_eq!(recording.sample(row).unwrap(), expected);
        let other = SampleRow {
            line: recording.rows()[0].begin,
            ..*row
        };
        assert!(recording.sample(&other).is_err());
    }
}

#[test]
fn what_is_no_recording_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let why = |error| match error {
        OpenError::NotARecording { why, .. } => why,
        other => panic!("{other:?}"),
    };
    let open = |path: &Path| Recording::open(path).unwrap_err();
    assert!(matches!(
        open(&path.join("absent")),
        OpenError::NotFound { .. }
    ));
    assert!(why(open(path)).contains("neither"));
    std::fs::write(path.join("file"), "").unwrap();
    assert!(why(open(&path.join("file"))).contains("not a folder"));
    std::fs::write(path.join(JOURNAL), "date,amount\n").unwrap();
    assert!(why(open(path)).contains("no record"));
    std::fs::write(path.join(MANIFEST), r#"{"kind":"music","format":1}"#).unwrap();
    assert!(why(open(path)).contains("another program"));
    std::fs::remove_file(path.join(JOURNAL)).unwrap();
    sample::write_manifest(path, State::Open);
    assert!(why(open(path)).contains("no journal"));
}

#[test]
fn another_version_is_named_by_manifest_and_by_journal() {
    let dir = tempfile::tempdir().unwrap();
    sample::write(dir.path(), &sample::journal(), State::Closed);
    let found = || match Recording::open(dir.path()).unwrap_err() {
        OpenError::Version { found, .. } => found,
        other => panic!("{other:?}"),
    };
    let text = r#"{"seq":14,"t_us":0,"type":"open","format":2,"clock":"tai"}"#;
    let line = format!("{:08x} {text}\n", crc32c::crc32c(text.as_bytes()));
    let journal = [sample::journal(), line.into_bytes()].concat();
    std::fs::write(dir.path().join(JOURNAL), journal).unwrap();
    assert_eq!(found(), 2);
    let manifest = r#"{"kind":"modtape recording","format":3}"#;
    std::fs::write(dir.path().join(MANIFEST), manifest).unwrap();
    assert_eq!(found(), 3);
}

#[test]
fn without_its_manifest_a_recording_opens_by_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    for manifest in [None, Some("{\"kind\":\"modtape rec")] {
        sample::write(dir.path(), &sample::journal(), State::Closed);
        std::fs::remove_file(dir.path().join(MANIFEST)).unwrap();
        if let Some(text) = manifest {
            std::fs::write(dir.path().join(MANIFEST), text).unwrap();
        }
        let recording = Recording::open(dir.path()).unwrap();
        assert_eq!(recording.damage()[0].kind, DamageKind::Manifest);
        assert_eq!(recording.status(), Status::Closed);
        assert_eq!(recording.manifest().intercepted, ["proxy.golang.org"]);
        assert!(!recording.manifest().redacted && !recording.manifest().replayable.complete);
    }
    std::fs::write(dir.path().join(JOURNAL), "").unwrap();
    let error = Recording::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Manifest { .. }), "{error:?}");
}

#[test]
fn without_its_open_a_journal_keeps_its_rows() {
    let lines = sample::lines(1, sample::events());
    let (_dir, recording) = recording(&lines[1..].concat(), State::Closed);
    assert_eq!(recording.rows().len(), 4);
    assert_eq!(recording.runs()[0].recording, "0190c1d2");
    let kinds: Vec<_> = recording
        .damage()
        .iter()
        .map(|damage| &damage.kind)
        .collect();
    assert_eq!(
        kinds,
        [&DamageKind::NoOpen, &DamageKind::Missing { from: 1, to: 1 }]
    );
}

#[test]
fn the_lock_tells_a_recorder_at_work_from_a_killed_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut events = sample::events();
    events.pop();
    sample::write(dir.path(), &sample::lines(1, events).concat(), State::Open);
    let status = || Recording::open(dir.path()).unwrap().status();
    assert_eq!(status(), Status::Unfinished);
    let recorder = File::open(dir.path().join(JOURNAL)).unwrap();
    rustix::fs::flock(&recorder, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(status(), Status::Recording);
    drop(recorder);
    assert_eq!(status(), Status::Unfinished);
}

#[test]
fn a_journal_that_was_closed_is_so_whatever_an_older_manifest_says() {
    let (_dir, recording) = recording(&sample::journal(), State::Open);
    assert_eq!(recording.status(), Status::Closed);
    assert_eq!(recording.manifest().exit_code, Some(0));
}

#[test]
fn a_reader_leaves_no_lock_behind() {
    let (dir, _recording) = recording(&sample::journal(), State::Open);
    let recorder = File::open(dir.path().join(JOURNAL)).unwrap();
    rustix::fs::flock(&recorder, FlockOperation::NonBlockingLockExclusive).unwrap();
}

#[test]
fn a_closed_recording_that_was_cut_short_is_damaged() {
    let journal = sample::journal();
    let lines = sample::lines(1, sample::events());
    let close = lines[12].len();
    for (cut, state, damages) in [
        (close, State::Closed, 1),
        (5, State::Closed, 2),
        (close, State::Open, 0),
        (5, State::Open, 0),
    ] {
        let (_dir, recording) = recording(&journal[..journal.len() - cut], state);
        assert_eq!(recording.damage().len(), damages, "{cut} {state:?}");
        assert_eq!(recording.torn_tail().is_some(), damages == 0 && cut == 5);
    }
}

#[test]
fn runs_have_their_own_exchanges_and_connections() {
    let mut lines = sample::lines(1, sample::events());
    lines.extend(sample::lines(14, sample::events()));
    let (_dir, recording) = recording(&lines.concat(), State::Closed);
    assert_eq!(recording.damage(), []);
    let rows: Vec<_> = recording
        .rows()
        .iter()
        .map(|row| (row.run, row.id))
        .collect();
    assert_eq!(
        rows,
        [
            (0, 1),
            (0, 2),
            (0, 3),
            (0, 4),
            (1, 1),
            (1, 2),
            (1, 3),
            (1, 4)
        ]
    );
    assert_eq!(recording.connections().count(), 2);
    assert_ne!(recording.connection_in(0, 1), recording.connection_in(1, 1));
    assert_eq!(recording.connection(1), recording.connection_in(1, 1));
}

#[test]
fn an_exchange_that_begins_or_ends_twice_counts_once() {
    let twice = [
        sample::begin(1),
        sample::end(1, b""),
        sample::abort(1),
        sample::begin(1),
    ];
    let events = [vec![sample::open(), sample::abort(8)], twice.to_vec()].concat();
    let (_dir, recording) = recording(&sample::lines(1, events).concat(), State::Open);
    assert_eq!(recording.rows().len(), 1);
    assert_eq!(recording.rows()[0].state, RowState::Ended);
    let kinds: Vec<_> = recording
        .damage()
        .iter()
        .map(|damage| &damage.kind)
        .collect();
    let repeated = &DamageKind::RepeatedExchange { id: 1 };
    assert_eq!(kinds, [&DamageKind::Orphan { id: 8 }, repeated, repeated]);
}

#[test]
fn a_row_of_another_recording_is_refused() {
    let (_dir, recording) = recording(&sample::journal(), State::Closed);
    let mut row = recording.rows()[0].clone();
    row.begin = recording.rows()[1].begin;
    assert!(matches!(
        recording.exchange(&row),
        Err(ReadError::Another { .. })
    ));
    row.begin.len -= 1;
    assert!(matches!(
        recording.exchange(&row),
        Err(ReadError::Damaged { .. })
    ));
    row.begin = Span {
        offset: u64::MAX,
        len: u64::MAX,
    };
    assert!(recording.exchange(&row).is_err());
    row.begin = Span {
        offset: 1 << 40,
        len: 100,
    };
    assert!(matches!(
        recording.exchange(&row),
        Err(ReadError::Unreadable { .. })
    ));
}

#[test]
fn a_body_that_is_not_what_was_recorded_gives_no_byte() {
    let (dir, recording) = recording(&sample::journal(), State::Closed);
    let body = sample::body(&large());
    let path = body_path(dir.path(), body.sha256);
    let error = || recording.body(&body).unwrap_err();
    let mut altered = large();
    altered[4000] ^= 1;
    std::fs::write(&path, &altered).unwrap();
    assert!(matches!(error(), BodyError::Mismatch { .. }));
    std::fs::write(&path, &altered[1..]).unwrap();
    assert!(matches!(error(), BodyError::WrongSize { .. }));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(error(), BodyError::Missing { .. }));
    std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
    assert!(matches!(error(), BodyError::Unreadable { .. }));
    let mut inline = sample::body(b"module example.com/m\n");
    inline.inline = Some("module example.com/n\n".into());
    assert!(matches!(
        recording.body(&inline),
        Err(BodyError::Mismatch { .. })
    ));
    (inline.inline, inline.kept) = (None, false);
    assert!(matches!(
        recording.body(&inline),
        Err(BodyError::NotKept(_))
    ));
}

#[test]
fn a_large_body_never_ends_clean_unless_it_is_right() {
    let (dir, recording) = recording(&sample::journal(), State::Closed);
    let mut bytes = vec![b'z'; WHOLE_LIMIT as usize + 100_000];
    let body = sample::body(&bytes);
    let path = body_path(dir.path(), body.sha256);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(read(&recording, &body).unwrap(), bytes);
    bytes[10] = b'y';
    std::fs::write(&path, &bytes).unwrap();
    let mut given = Vec::new();
    let mut reader = recording.body(&body).unwrap();
    let error = reader.read_to_end(&mut given).unwrap_err();
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<BodyError>());
    assert!(
        matches!(inner, Some(BodyError::Mismatch { .. })),
        "{error:?}"
    );
    assert_eq!(given.len() as u64, body.bytes - HELD_BACK);
    assert!(
        reader.read(&mut [0; 9]).is_err(),
        "asked again it must not end clean"
    );
}

#[test]
fn lines_that_the_recorder_says_it_lost_are_a_gap_and_no_damage() {
    let lost = |what: &str| {
        let (what, why) = (what.into(), "no space left on device".into());
        Event::Gap(Gap { what, why })
    };
    for (what, gaps, damages) in [("2 journal lines since 0.100 s", 1, 0), ("body of 4", 2, 1)] {
        let mut lines = sample::lines(1, vec![sample::open()]);
        lines.extend(sample::lines(4, vec![lost(what), sample::close()]));
        let (_dir, recording) = recording(&lines.concat(), State::Closed);
        assert_eq!(recording.gaps().len(), gaps);
        assert_eq!(recording.damage().len(), damages);
    }
}

// Whatever the bytes: a recording or a named error, and no more lost than was touched.

fn lines() -> Vec<Vec<u8>> {
    sample::lines(1, sample::events())
}

fn scanned(journal: &[u8]) -> (Vec<Record>, Findings) {
    let mut records = Vec::new();
    let findings = scan(journal, |span: Span, record| {
        assert!(span.end() <= journal.len() as u64);
        records.push(record);
    });
    (records, findings.unwrap())
}

/// Opens by journal and, where there is one, by index; reads all that can be read.
fn read_all(dir: &Path) {
    for opened in [Recording::open(dir), Recording::open_whole(dir)] {
        let Ok(recording) = opened else { continue };
        for row in recording.rows() {
            let Ok(exchange) = recording.exchange(row) else {
                continue;
            };
            if let Some(body) = exchange.end().and_then(|end| end.body.as_ref()) {
                let _ = recording.body(body).map(io::read_to_string);
            }
        }
        let _ = (recording.name(), recording.connection(1));
    }
}

fn write(journal: &[u8], manifest: Option<&[u8]>, index: Option<&[u8]>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    sample::write(dir.path(), journal, State::Open);
    if let Some(manifest) = manifest {
        std::fs::write(dir.path().join(MANIFEST), manifest).unwrap();
    }
    if let Some(index) = index {
        std::fs::write(dir.path().join(INDEX), index).unwrap();
    }
    dir
}

/// What hostile journals are made of: whole lines, parts of lines, what looks like one, and noise.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(lines());
    let part = (
        line.clone(),
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
    );
    let verified = vec(any::<u8>(), 0..60).prop_map(|noise| {
        let text = [b"{", &noise[..], b"}"].concat();
        let crc = format!("{:08x} ", crc32c::crc32c(&text));
        [crc.as_bytes(), &text, b"\n"].concat()
    });
    prop_oneof![
        4 => line,
        4 => part.prop_map(|(line, a, b)| {
            let (a, b) = (a.index(line.len()), b.index(line.len()));
            line[a.min(b)..a.max(b)].to_vec()
        }),
        1 => verified,
        1 => "[0-9a-f]{8} \\{[\"\\{\\[:,a]{0,9}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..40),
    ]
}

/// A change of one place; the place is taken modulo the length.
#[derive(Debug, Clone)]
enum Change {
    Flip(usize, u8),
    Insert(usize, u8),
    Remove(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        any::<usize>().prop_map(Change::Remove),
    ]
}

/// The journal with one change, and the number of the line that it touched.
fn changed(lines: &mut [Vec<u8>], change: &Change) -> u64 {
    let (Change::Flip(at, _) | Change::Insert(at, _) | Change::Remove(at)) = change;
    let len: usize = lines.iter().map(Vec::len).sum();
    let mut at = at % len;
    let mut number = 0;
    while at >= lines[number].len() {
        at -= lines[number].len();
        number += 1;
    }
    match change {
        Change::Flip(_, bit) => lines[number][at] ^= 1 << bit,
        Change::Insert(_, byte) => lines[number].insert(at, *byte),
        Change::Remove(_) => drop(lines[number].remove(at)),
    }
    number as u64 + 1
}

#[test]
fn a_cut_at_every_byte_loses_only_the_line_that_it_cuts() {
    let journal = sample::journal();
    let ends: Vec<usize> = lines()
        .iter()
        .scan(0, |end, line| {
            *end += line.len();
            Some(*end)
        })
        .collect();
    let (whole, _) = scanned(&journal);
    for cut in 0..journal.len() {
        let (records, findings) = scanned(&journal[..cut]);
        // A line that lacks nothing but its line feed is whole.
        let expected = ends.iter().filter(|end| **end <= cut + 1).count();
        assert_eq!(records, whole[..expected], "cut at {cut}");
        assert_eq!(findings.damage, [], "cut at {cut}");
        let torn = !ends.contains(&cut) && !ends.contains(&(cut + 1)) && cut > 0;
        assert_eq!(findings.tail.is_some(), torn, "cut at {cut}");
    }
}

#[test]
fn a_flip_at_every_byte_is_noticed_and_loses_only_the_line_that_it_hits() {
    let (whole, _) = scanned(&sample::journal());
    for at in 0..sample::journal().len() {
        let mut lines = lines();
        let hit = changed(&mut lines, &Change::Flip(at, (at % 8) as u8));
        let (records, findings) = scanned(&lines.concat());
        assert!(
            !findings.damage.is_empty() || findings.tail.is_some(),
            "byte {at}"
        );
        let kept = |record: &&Record| record.seq != hit || records.contains(record);
        assert!(records.iter().eq(whole.iter().filter(kept)), "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_open_or_name_their_error(
        journal in vec(any::<u8>(), 0..400),
        manifest in prop::option::of(vec(any::<u8>(), 0..100)),
        index in prop::option::of(vec(any::<u8>(), 0..100)),
    ) {
        read_all(write(&journal, manifest.as_deref(), index.as_deref()).path());
    }

    #[test]
    fn pieces_of_journals_open_or_name_their_error(pieces in vec(piece(), 0..24)) {
        let journal = pieces.concat();
        let (records, findings) = scanned(&journal);
        let known = sample::events();
        for record in &records {
            prop_assert!(known.contains(&record.event), "made up: {record:?}");
        }
        let numbers: BTreeSet<u64> = records.iter().map(|record| record.seq).collect();
        prop_assert_eq!(numbers.len(), records.len());
        prop_assert_eq!(findings.bytes, journal.len() as u64);
        read_all(write(&journal, None, Some(&journal)).path());
        read_all(write(&journal, Some(b"{"), None).path());
    }

    #[test]
    fn changes_lose_no_line_that_they_do_not_touch(changes in vec(change(), 1..6)) {
        let mut lines = lines();
        let touched: BTreeSet<u64> =
            changes.iter().map(|change| changed(&mut lines, change)).collect();
        let (records, _) = scanned(&lines.concat());
        let (whole, _) = scanned(&sample::journal());
        for record in &whole {
            let kept = records.contains(record);
            prop_assert!(kept || touched.contains(&record.seq), "{} is lost", record.seq);
        }
        prop_assert!(records.iter().all(|record| whole.contains(record)));
    }

    #[test]
    fn what_a_row_tells_is_what_its_exchange_tells(changes in vec(change(), 0..3)) {
        let mut lines = lines();
        for change in &changes {
            changed(&mut lines, change);
        }
        let dir = write(&lines.concat(), None, None);
        let Ok(recording) = Recording::open(dir.path()) else { return Ok(()) };
        for row in recording.rows() {
            let exchange = recording.exchange(row).unwrap();
            prop_assert_eq!(&row.url, &exchange.begin.url);
            prop_assert_eq!(row.status, exchange.status());
            prop_assert_eq!(row.phases, exchange.timings());
            prop_assert_eq!(row.bytes, exchange.body_bytes());
            prop_assert_eq!(row.started, exchange.started);
        }
    }
}
