//! A small journal that has every kind of record, for the tests of this room.

#![allow(clippy::unwrap_used, reason = "for tests and fuzz targets only")]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;
use crate::exchange::{
    Abort, Begin, Body, ByteString, ClientSide, Closed, ConnectionId, End, ExchangeId, Hex, MadeBy,
    Mode, Opened, Phase, Stall, Timings,
};

use super::format::{
    Close, Connection, Event, FORMAT_VERSION, Gap, INLINE_LIMIT, JOURNAL, MANIFEST, Open, Record,
    State, Totals,
};
use super::processes::{Holder, Lock, Process, ProcessState, Sample};
use super::reader::body::body_path;
use super::reader::scan::scan;
use super::reader::table::Builder;

/// The body of exchange 2, which lies in `bodies/`.
pub(super) fn large() -> Vec<u8> {
    (0..20_000_u32).flat_map(u32::to_le_bytes).collect()
}

pub(crate) fn body(bytes: &[u8]) -> Body {
    Body {
        sha256: Hex(Sha256::digest(bytes).into()),
        bytes: bytes.len() as u64,
        inline: (bytes.len() <= INLINE_LIMIT).then(|| bytes.into()),
        kept: true,
    }
}

pub(super) fn open() -> Event {
    Event::Open(Open {
        added_by: None,
        format: FORMAT_VERSION,
        recording: "0190c1d2".into(),
        wall: "2026-11-22T04:52:00.000001Z".into(),
        trace: Hex([7; 16]),
        tool: "modtape 0.1.0".into(),
        command: vec!["go".into(), "mod".into(), "tidy".into()],
    })
}

pub(super) fn opened(id: ConnectionId, mode: Mode) -> Event {
    Event::Connection(Connection::Opened(Opened {
        id,
        again: false,
        started_us: Timestamp::from_micros(10 * id),
        mode,
        target: "proxy.golang.org:443".into(),
        client: ClientSide::default(),
        upstream: None,
        dns_us: Some(5),
        connect_us: Some(6),
        tls_us: None,
        tries: Vec::new(),
        error: None,
        reason: None,
    }))
}

pub(super) fn closed(id: ConnectionId) -> Event {
    Event::Connection(Connection::Closed(Closed {
        id,
        from_client_bytes: 100,
        to_client_bytes: 200,
        tunnel: false,
        why: "client closed".into(),
        note: None,
    }))
}

pub(super) fn begin(id: ExchangeId) -> Event {
    Event::Begin(Begin {
        id,
        connection: 1,
        span: Hex([1; 8]),
        method: "GET".into(),
        url: format!("https://proxy.golang.org/example.com/m/@v/v1.{id}.0.info"),
        version: "HTTP/2".into(),
        headers: vec![("user-agent".into(), "Go-http-client/2.0".into())],
    })
}

pub(super) fn end(id: ExchangeId, bytes: &[u8]) -> Event {
    Event::End(End {
        id,
        status: 200,
        reason: None,
        version: "HTTP/2".into(),
        headers: vec![("etag".into(), ByteString(vec![b'"', 0xff, b'"']))],
        trailers: Vec::new(),
        request_body: None,
        body: Some(body(bytes)),
        phases_us: Timings::from_iter([(Phase::Send, 3), (Phase::Wait, 40), (Phase::Receive, 9)]),
        own_us: 4,
        client_wait_us: 1,
        longest_silence_us: None,
        made_by: MadeBy::Origin,
        attempts: Vec::new(),
        notes: Vec::new(),
    })
}

pub(super) fn abort(id: ExchangeId) -> Event {
    Event::Abort(Abort {
        id,
        phase: Phase::Receive,
        why: "upstream closed".into(),
        status: Some(200),
        headers: Vec::new(),
        request_body: None,
        body_bytes: 17,
        longest_silence_us: None,
        phases_us: Timings::from_iter([(Phase::Wait, 40)]),
    })
}

/// A silence of exchange `id` since `since_us`, recorded when it had lasted so long.
pub(super) fn stall(id: ExchangeId, since_us: u64, silent_us: u64) -> Event {
    Event::Stall(Stall {
        id: Some(id),
        connection: 1,
        host: "proxy.golang.org".into(),
        target: None,
        phase: Phase::Receive,
        is_asking: false,
        since_us: Timestamp::from_micros(since_us),
        silent_us,
        is_over: false,
        body_bytes: 17,
        length: Some(80_000),
        address: Some("192.0.2.1:443".into()),
        unacknowledged_bytes: Some(0),
        via: None,
    })
}

pub(super) fn sample() -> Event {
    let process = |pid, name: &str, state| Process {
        pid,
        parent: 4120,
        name: name.into(),
        command: Vec::new(),
        count: 1,
        state,
        file: None,
        keeps_pipe_of: None,
        cpu_permille: 0,
        cpu_us: 0,
        read_bytes: 0,
        written_bytes: 0,
    };
    let holder = Some(Holder {
        pid: 77,
        command: vec!["go".into(), "build".into()],
    });
    let path = Some("/home/ana/go/pkg/mod/cache/lock".into());
    let lock = Lock { path, holder };
    let ssh = ProcessState::WaitsNetwork {
        address: "192.0.2.7:22".into(),
        connecting: true,
    };
    let zip = Some("/home/ana/go/pkg/mod/cache/download/a/@v/v1.0.0.zip".into());
    Event::Sample(Sample {
        processes: vec![
            Process {
                command: vec!["go".into(), "mod".into(), "tidy".into()],
                file: zip,
                cpu_permille: 1900,
                cpu_us: 4_000_000,
                read_bytes: 70_000,
                written_bytes: 1_000_000,
                ..process(4121, "go", ProcessState::WaitingLock { lock })
            },
            Process {
                keeps_pipe_of: Some(4121),
                ..process(4122, "ssh", ssh)
            },
            Process {
                count: 4,
                ..process(4123, "compile", ProcessState::Running)
            },
        ],
        more: 1,
        is_part: true,
    })
}

pub(super) fn close() -> Event {
    Event::Close(Close {
        totals: Totals::default(),
        exit_code: Some(0),
    })
}

/// Every kind of record: four exchanges, of which 1 and 2 ended, 3 was aborted, 4 is in flight.
pub(super) fn events() -> Vec<Event> {
    EVENTS.clone()
}

/// Made once: the digest of the large body takes its time, and some tests ask thousands of times.
static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| {
    let gap = Event::Gap(Gap {
        what: "body of exchange 9".into(),
        why: "no space left on device".into(),
    });
    vec![
        open(),
        opened(1, Mode::Intercept),
        begin(1),
        end(1, b"{\"Version\":\"v1.1.0\"} deadbeef {"),
        begin(2),
        end(2, &large()),
        begin(3),
        abort(3),
        gap,
        begin(4),
        sample(),
        closed(1),
        close(),
    ]
});

/// Where the large body lies in a recording.
static LARGE_PATH: LazyLock<PathBuf> =
    LazyLock::new(|| body_path(Path::new(""), body(&large()).sha256));

/// The lines of `events`, numbered from `seq`, a tenth of a second apart.
pub(super) fn lines(seq: u64, events: Vec<Event>) -> Vec<Vec<u8>> {
    let record = |(seq, event)| Record {
        seq,
        t_us: Timestamp::from_micros(seq * 100_000),
        event,
    };
    let numbered = (seq..).zip(events).map(record);
    numbered.map(|record| record.to_line()).collect()
}

pub(crate) fn journal() -> Vec<u8> {
    lines(1, events()).concat()
}

/// Writes a recording as a recorder would leave it: `journal`, its bodies and a manifest.
pub(crate) fn write(dir: &Path, journal: &[u8], state: State) {
    std::fs::write(dir.join(JOURNAL), journal).unwrap();
    let path = dir.join(&*LARGE_PATH);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, large()).unwrap();
    write_manifest(dir, state);
}

pub(super) fn write_manifest(dir: &Path, state: State) {
    let mut builder = Builder::default();
    let findings = scan(&journal()[..], |span, record| builder.take(span, record)).unwrap();
    let mut manifest = builder.finish_with(findings).manifest().unwrap();
    manifest.state = state;
    manifest.redacted = true;
    let json = serde_json::to_vec_pretty(&manifest).unwrap();
    std::fs::write(dir.join(MANIFEST), json).unwrap();
}
