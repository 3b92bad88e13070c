use super::body::{HELD_BACK, body_path};
use std::io::Read as _;

use super::*;
use crate::exchange::{Mode, Phase};
use crate::recording::format::MANIFEST;
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
    let text = r#"{"seq":13,"t_us":0,"type":"open","format":2,"clock":"tai"}"#;
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
    let close = lines[11].len();
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
    lines.extend(sample::lines(13, sample::events()));
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
