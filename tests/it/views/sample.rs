//! Recordings for the commands that only read: every outcome once, through the real writer.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use modtape::clock::{Clock, Timestamp};
use modtape::exchange::{
    Abort, Begin, Body, ByteString, ClientSide, End, ExchangeId, Fields, Hex, MadeBy, Mode, Opened,
    Phase, Timings, UpstreamSide,
};
use modtape::recording::format::{
    Close, Connection, Event, FORMAT_VERSION, Gap, MANIFEST_KIND, Manifest, Open, Replayable,
    RunMode, State, Totals,
};
use modtape::recording::{Durability, Journal, Recorder};
use modtape::recording::{manifest::write_manifest, writer::create};

const PROXY: &str = "https://proxy.golang.org";
const WALL: &str = "2026-11-22T04:52:00.000001Z";
const TRACE: [u8; 16] = [7; 16];

/// What stands in a recording besides its `open` and `close`: stamps in microseconds, and events.
type Events = Vec<(u64, Event)>;

/// The large body of exchange 2.
pub(super) fn zip() -> Vec<u8> {
    (0..20_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// Every outcome once, closed in order.
pub(crate) fn write(dir: &Path) {
    let record = async |recorder: &Recorder| {
        for (at, event) in everything(store(recorder, &zip()).await) {
            recorder.write(Timestamp::from_micros(at), &event).await;
        }
    };
    write_with(dir, State::Closed, record);
}

/// One exchange whose every text tries to command the terminal.
pub(crate) fn write_hostile(dir: &Path, hostile: &str) {
    let events = vec![
        (5, opened(1, &format!("{hostile}:443"))),
        (10, begin(1, "GET", &format!("https://h.example/{hostile}"))),
        (
            90,
            end(1, 200, inline(hostile.as_bytes()), &[(hostile, hostile)]),
        ),
        (
            100,
            begin(2, hostile, &format!("https://{hostile}/x/@v/list")),
        ),
        (110, abort(2, hostile)),
        (
            120,
            Event::Gap(Gap {
                what: hostile.into(),
                why: hostile.into(),
            }),
        ),
    ];
    write_with(dir, State::Open, async |recorder: &Recorder| {
        for (at, event) in &events {
            recorder.write(Timestamp::from_micros(*at), event).await;
        }
    });
    let mut manifest = manifest(State::Open);
    manifest.command = vec![hostile.into()];
    manifest.tool = hostile.into();
    write_manifest(dir, &manifest).expect("a manifest can be written");
}

/// Turns one bit in the middle of the journal.
pub(super) fn damage(dir: &Path) {
    let path = dir.join("journal.ndjson");
    let mut journal = fs::read(&path).expect("a journal");
    let middle = journal.len() / 2;
    journal[middle] ^= 1;
    fs::write(path, journal).expect("a writable journal");
    // What was known at close hides what happened since.
    let _ = fs::remove_file(dir.join("index"));
}

fn write_with(dir: &Path, state: State, record: impl AsyncFnOnce(&Recorder)) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(async {
        let folder = create(dir, false).expect("a new folder");
        let (recorder, journal) = Journal::start(folder, Clock::start(), Durability::Process, true)
            .expect("a journal can be written");
        let write = async {
            let open = Open {
                added_by: None,
                format: FORMAT_VERSION,
                recording: "0190c1d2".into(),
                wall: WALL.into(),
                trace: Hex(TRACE),
                tool: "modtape 0.1.0".into(),
                command: manifest(state).command,
            };
            recorder
                .write(Timestamp::default(), &Event::Open(open))
                .await;
            record(&recorder).await;
            if state == State::Closed {
                let close = Close {
                    totals: recorder.totals(),
                    exit_code: Some(0),
                };
                let at = Timestamp::from_micros(5_000_000);
                recorder.write(at, &Event::Close(close)).await;
            }
            let mut manifest = manifest(state);
            manifest.totals = recorder.totals();
            write_manifest(dir, &manifest).expect("a manifest can be written");
            drop(recorder);
        };
        tokio::join!(journal.run(), write);
    });
}

fn manifest(state: State) -> Manifest {
    let proxies = "https://goproxy.corp,https://proxy.golang.org,direct";
    Manifest {
        kind: MANIFEST_KIND.into(),
        format: FORMAT_VERSION,
        id: "0190c1d2".into(),
        tool: "modtape 0.1.0".into(),
        state,
        started: WALL.into(),
        command: ["go", "mod", "tidy"].map(String::from).into(),
        options: Vec::new(),
        mode: Some(RunMode::Mitm),
        trace: Hex(TRACE),
        go_env: BTreeMap::from([("GOPROXY".into(), proxies.into())]),
        exported: None,
        go_version: Some("go1.27.3".into()),
        processors: None,
        intercepted: vec!["proxy.golang.org".into()],
        intercept_all: false,
        redacted: true,
        wall_us: 5_000_000,
        totals: Totals::default(),
        replayable: Replayable {
            complete: false,
            reasons: vec!["1 exchange was aborted: record again".into()],
            faults: Vec::new(),
            unchecked: false,
        },
        exit_code: Some(0),
        conflicts: Vec::new(),
        direct: Vec::new(),
        packets: None,
        caches: None,
        span: None,
    }
}

/// Six exchanges; the body of the second is `zip`.
fn everything(zip: Body) -> Events {
    let net = |file: &str| format!("{PROXY}/golang.org/x/net/@v/{file}");
    let info = "/corp.example/!lib/@v/v1.4.0.info";
    let mut by_modtape = end(6, 502, inline(b"cannot resolve proxy.golang.org\n"), &[]);
    if let Event::End(end) = &mut by_modtape {
        end.made_by = MadeBy::Modtape;
    }
    vec![
        (100, opened(1, "proxy.golang.org:443")),
        (120_000, begin(1, "GET", &net("list"))),
        (
            210_000,
            end(
                1,
                200,
                inline(b"v0.33.0\nv0.34.0\n"),
                &[("content-type", "text/plain")],
            ),
        ),
        (300_000, begin(2, "GET", &net("v0.34.0.zip"))),
        (
            400_000,
            end(2, 200, Some(zip), &[("content-type", "application/zip")]),
        ),
        (
            3_214_000,
            begin(3, "GET", &format!("https://goproxy.corp{info}")),
        ),
        (
            3_300_000,
            end(3, 404, inline(b"not found: corp.example/Lib\n"), &[]),
        ),
        (3_400_000, begin(4, "GET", &net("v0.35.0.zip"))),
        (3_500_000, abort(4, "the upstream ended the connection")),
        (
            3_600_000,
            begin(5, "GET", &format!("{PROXY}/sumdb/sum.golang.org/supported")),
        ),
        (3_700_000, begin(6, "GET", &net("v0.36.0.mod"))),
        (3_800_000, by_modtape),
    ]
}

async fn store(recorder: &Recorder, bytes: &[u8]) -> Body {
    let mut sink = recorder.bodies().sink();
    std::future::poll_fn(|cx| sink.poll_ready(cx)).await;
    sink.push(&Bytes::copy_from_slice(bytes));
    sink.finish().await.expect("a body can be kept")
}

fn inline(bytes: &[u8]) -> Option<Body> {
    use sha2::{Digest as _, Sha256};
    Some(Body {
        sha256: Hex(Sha256::digest(bytes).into()),
        bytes: bytes.len() as u64,
        inline: Some(bytes.into()),
        kept: true,
    })
}

fn opened(id: u64, target: &str) -> Event {
    Event::Connection(Connection::Opened(Opened {
        id,
        again: false,
        started_us: Timestamp::from_micros(80),
        mode: Mode::Intercept,
        target: target.into(),
        client: ClientSide::default(),
        upstream: Some(UpstreamSide {
            addr: Some("142.250.4.141:443".into()),
            tls: Some("TLS 1.3".into()),
            alpn: Some("h2".into()),
            issuer: Some("WR2 (Google Trust Services)".into()),
            ..UpstreamSide::default()
        }),
        dns_us: None,
        connect_us: None,
        tls_us: None,
        tries: Vec::new(),
        error: None,
        reason: None,
    }))
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let field = |(name, value): &(&str, &str)| ((*name).to_owned(), ByteString::from(*value));
    pairs.iter().map(field).collect()
}

fn begin(id: ExchangeId, method: &str, url: &str) -> Event {
    Event::Begin(Begin {
        id,
        connection: 1,
        span: Hex(id.to_be_bytes()),
        method: method.into(),
        url: url.into(),
        version: "HTTP/2".into(),
        headers: fields(&[
            ("user-agent", "Go-http-client/2.0"),
            ("accept-encoding", "gzip"),
        ]),
    })
}

fn end(id: ExchangeId, status: u16, body: Option<Body>, headers: &[(&str, &str)]) -> Event {
    let receive = body.as_ref().map_or(0, |body| body.bytes * 10);
    Event::End(End {
        id,
        status,
        reason: None,
        version: "HTTP/2".into(),
        headers: fields(headers),
        trailers: Fields::new(),
        request_body: None,
        body,
        phases_us: Timings::from_iter([
            (Phase::Send, 20),
            (Phase::Wait, 80_500),
            (Phase::Receive, receive),
        ]),
        own_us: 41,
        client_wait_us: 0,
        longest_silence_us: None,
        made_by: MadeBy::Origin,
        attempts: Vec::new(),
        notes: Vec::new(),
    })
}

fn abort(id: ExchangeId, why: &str) -> Event {
    Event::Abort(Abort {
        id,
        phase: Phase::Receive,
        why: why.into(),
        status: Some(200),
        headers: Fields::new(),
        request_body: None,
        body_bytes: 4_096,
        longest_silence_us: Some(3_000_000),
        phases_us: Timings::from_iter([(Phase::Wait, 40_000), (Phase::Receive, 3_371_000)]),
    })
}
