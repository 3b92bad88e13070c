//! Synthetic exchanges: every kind of outcome, body and name that an export has to carry, and a
//! recording that is made of them.

use std::io::{self, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

use super::har::Har;
use super::source::{Bodies, Format as _, Losses, Source};
use crate::clock::Timestamp;
use crate::exchange::{
    Abort, Attempt, Begin, ByteString, ClientSide, End, Ending, Exchange, ExchangeId, Fields, Hex,
    MadeBy, Mode, Opened, Phase, Timings, UpstreamSide,
};
use crate::recording::Recording;
use crate::recording::format::{
    Close, Connection, Event, FORMAT_VERSION, INLINE_LIMIT, JOURNAL, MANIFEST, Manifest, Open,
    Record, RunMode, State, Totals,
};
use crate::recording::reader::body::body_path;
pub(super) use crate::recording::sample::body;

pub(super) const PROXY: &str = "https://proxy.golang.org";

pub(super) fn open(command: &[&str]) -> Open {
    Open {
        added_by: None,
        format: FORMAT_VERSION,
        recording: "r-1".into(),
        wall: "2026-11-22T23:59:59.999000Z".into(),
        trace: Hex([0xab; 16]),
        tool: "modtape 0.1.0".into(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
    }
}

pub(super) fn manifest() -> Manifest {
    Manifest {
        state: State::Closed,
        command: vec!["go".into()],
        mode: Some(RunMode::Mitm),
        exit_code: Some(0),
        ..Manifest::begun(
            "modtape 0.1.0",
            "r-1".into(),
            "2026-11-22T23:59:59.999000Z".into(),
            Hex([0xab; 16]),
        )
    }
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn fields(pairs: &[(&str, &str)]) -> Fields {
    let field = |(name, value): &(&str, &str)| ((*name).to_owned(), ByteString::from(*value));
    pairs.iter().map(field).collect()
}

/// An exchange of a recording in the making.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) exchange: Exchange,
    /// The run that it belongs to: 0 or 1.
    pub(super) run: u32,
    /// The client connection that it came on, if its line is recorded.
    pub(super) connection: Option<Opened>,
    /// What of its bodies lies in files.
    files: Vec<Vec<u8>>,
    /// A module path that no URL can have.
    module: Option<String>,
}

/// A request for `url` over HTTP/2 that is still in flight, on a direct connection.
pub(super) fn in_flight(id: ExchangeId, url: &str) -> Sample {
    let begin = Begin {
        id,
        connection: 3,
        span: Hex(id.to_be_bytes()),
        method: "GET".into(),
        url: url.into(),
        version: "HTTP/2".into(),
        headers: fields(&[
            ("user-agent", "Go-http-client/2.0"),
            ("accept-encoding", "gzip"),
        ]),
    };
    Sample {
        exchange: Exchange {
            started: Timestamp::from_micros(1000 * id + 1),
            begin,
            ending: Ending::InFlight,
        },
        run: 0,
        connection: Some(connection("[2001:db8::17]:443")),
        files: Vec::new(),
        module: None,
    }
}

pub(super) fn connection(upstream: &str) -> Opened {
    Opened {
        id: 3,
        again: false,
        started_us: Timestamp::default(),
        mode: Mode::Intercept,
        target: "proxy.golang.org:443".into(),
        client: ClientSide::default(),
        upstream: Some(UpstreamSide {
            addr: Some(upstream.into()),
            ..UpstreamSide::default()
        }),
        dns_us: None,
        connect_us: None,
        tls_us: None,
        tries: Vec::new(),
        error: None,
        reason: None,
    }
}

/// The same, answered with these bytes.
pub(super) fn answered(id: ExchangeId, url: &str, status: u16, bytes: &[u8]) -> Sample {
    let mut item = in_flight(id, url);
    item.exchange.ending = Ending::Ended(End {
        id,
        status,
        reason: None,
        version: "HTTP/2".into(),
        headers: fields(&[("content-type", "text/plain; charset=utf-8")]),
        trailers: Fields::new(),
        request_body: None,
        body: Some(body(bytes)),
        phases_us: Timings::from_iter([
            (Phase::Send, 20),
            (Phase::Wait, 80_500),
            (Phase::Receive, 1_000),
        ]),
        own_us: 41,
        client_wait_us: 0,
        longest_silence_us: None,
        made_by: MadeBy::Origin,
        attempts: Vec::new(),
        notes: Vec::new(),
    });
    item.files.push(bytes.to_vec());
    item
}

pub(super) fn aborted(id: ExchangeId, url: &str, phase: Phase, status: Option<u16>) -> Sample {
    let mut item = in_flight(id, url);
    item.exchange.ending = Ending::Aborted(Abort {
        id,
        phase,
        why: "the upstream ended the connection: \"reset\"".into(),
        status,
        headers: status.map_or_else(Fields::new, |_| fields(&[("content-length", "9000")])),
        request_body: None,
        body_bytes: status.map_or(0, |_| 4096),
        longest_silence_us: status.map(|_| 5_000_000),
        phases_us: Timings::from_iter([(Phase::Send, 3), (phase, 7_000)]),
    });
    item
}

impl Sample {
    /// Changes the end of an exchange that has one.
    pub(super) fn with(mut self, change: impl FnOnce(&mut End)) -> Self {
        let Ending::Ended(end) = &mut self.exchange.ending else {
            panic!("only what has ended can be changed");
        };
        change(end);
        self
    }

    /// Gives it a module path that no URL can have.
    pub(super) fn module(mut self, module: &str) -> Self {
        self.module = Some(module.to_owned());
        self
    }

    /// Its bodies lie in files, of which none is there.
    pub(super) fn lost(self) -> Self {
        let mut this = self.with(|end| end.body.iter_mut().for_each(|body| body.inline = None));
        this.files.clear();
        this
    }

    /// Only the digest of its body was kept.
    pub(super) fn not_kept(self) -> Self {
        self.lost()
            .with(|end| end.body.iter_mut().for_each(|body| body.kept = false))
    }

    pub(super) fn with_begin(mut self, change: impl FnOnce(&mut Begin)) -> Self {
        change(&mut self.exchange.begin);
        self
    }

    pub(super) fn content_encoding(self, coding: &str) -> Self {
        self.with(|end| end.headers.push(("content-encoding".into(), coding.into())))
    }

    pub(super) fn header(self, name: &str, value: impl Into<ByteString>) -> Self {
        self.with(|end| end.headers.push((name.into(), value.into())))
    }

    pub(super) fn post(self, bytes: &[u8]) -> Self {
        let mut this = self.with(|end| end.request_body = Some(body(bytes)));
        this.exchange.begin.method = "POST".into();
        this.files.push(bytes.to_vec());
        this
    }
}

/// Every odd case once, sorted by start; ids count from 1.
pub(super) fn samples() -> Vec<Sample> {
    let mut samples = [responses(), codings(), failures(), requests()].concat();
    for (number, sample) in (1..).zip(&mut samples) {
        let exchange = &mut sample.exchange;
        exchange.begin.id = number;
        exchange.begin.span = Hex(number.to_be_bytes());
        exchange.started = Timestamp::from_micros(1000 * number);
        match &mut exchange.ending {
            Ending::InFlight => {}
            Ending::Ended(end) => end.id = number,
            Ending::Aborted(abort) => abort.id = number,
        }
    }
    // The last ones belong to a second run, whose stamps begin at its own `open`.
    let count = samples.len();
    samples[count - 3..]
        .iter_mut()
        .for_each(|sample| sample.run = 1);
    samples
}

fn responses() -> Vec<Sample> {
    let url = |path: &str| format!("{PROXY}/{path}");
    let first = Timings::from_iter(Phase::ALL.map(|phase| (phase, 1_000 + phase as u64)));
    let zip: Vec<u8> = (0..=255).cycle().take(2_000).collect();
    let large: Vec<u8> = (0..=255).cycle().take(100 * 1024).collect();
    vec![
        answered(0, &url("rsc.io/quote/@v/list"), 200, b"v1.0.0\n")
            .with(|end| end.phases_us = first),
        answered(0, &url("rsc.io/quote/@v/v1.0.0.zip"), 200, &zip),
        answered(0, &url("rsc.io/quote/@v/v1.1.0.zip"), 200, &large),
        answered(
            0,
            &url("rsc.io/none/@v/list"),
            404,
            b"not found: rsc.io/none",
        ),
        answered(0, &url("rsc.io/gone/@v/list"), 410, b""),
        answered(0, &url("rsc.io/same/@v/list"), 304, b"").with(|end| end.body = None),
        answered(0, &url("rsc.io/head/@v/list"), 200, b"")
            .content_encoding("gzip")
            .with(|end| end.body = None)
            .with_begin(|begin| begin.method = "HEAD".into()),
        answered(0, &url("old"), 200, b"h1")
            .with(|end| {
                end.version = "HTTP/1.1".into();
                end.reason = Some("Sure".into());
            })
            .with_begin(|begin| begin.version = "HTTP/1.1".into()),
        answered(0, &url("latin"), 200, b"caf\xe9").header("x-name", &b"caf\xe9"[..]),
        answered(0, &url("moved"), 302, b"")
            .header("location", "/elsewhere?a=1")
            .header("set-cookie", "sid=redacted:12ab; Path=/; Secure"),
        answered(0, &url("untyped"), 200, b"?").with(|end| end.headers.clear()),
    ]
}

fn codings() -> Vec<Sample> {
    let list = b"v1.0.0\nv1.1.0\n".repeat(40);
    let bomb = gzip(&vec![b'a'; (1 << 20) + 1]);
    let url = |path: &str| format!("https://sum.golang.org/{path}");
    let coded = |path: &str, bytes: &[u8], coding: &str| {
        answered(0, &url(path), 200, bytes).content_encoding(coding)
    };
    vec![
        coded("gzip", &gzip(&list), "gzip"),
        coded("gzip-binary", &gzip(&[0xff; 300]), "gzip"),
        coded("bomb", &bomb, "gzip"),
        coded("not-gzip", b"plainly not", "gzip"),
        coded("empty", b"", "gzip"),
        coded("br", b"\x0b\x01\x80abc\x03", "br"),
    ]
}

fn failures() -> Vec<Sample> {
    let url = |path: &str| format!("https://[2001:db8::5]:8443/{path}");
    let not_kept = answered(0, &url("not-kept"), 200, b"x").not_kept();
    let missing = answered(0, &url("missing"), 200, b"y").lost();
    let mut unconnected = in_flight(0, &url("unconnected"));
    unconnected.connection = None;
    vec![
        in_flight(0, &url("in-flight")),
        aborted(0, &url("no-head"), Phase::Wait, None),
        aborted(0, &url("cut"), Phase::Receive, Some(200)),
        answered(0, &url("refused"), 502, b"cannot resolve proxy.example").with(|end| {
            end.made_by = MadeBy::Modtape;
            end.phases_us = Timings::default();
            end.notes.push("an odd answer".into());
            end.attempts.push(Attempt {
                connection: 2,
                error: "GOAWAY".into(),
            });
        }),
        not_kept,
        missing,
        unconnected,
    ]
}

fn requests() -> Vec<Sample> {
    let hostile = answered(
        0,
        &format!("{PROXY}/%3Cscript%3E/@v/list"),
        200,
        b"\"]}}</script>\0\x1b[2J",
    )
    .module("</script><img src=x onerror=alert(1)>\u{2028}\u{202e}\"]}}\0`id`$(id)';");
    let mut proxied = answered(0, &format!("{PROXY}/via?a=1&b&c=x+y&d=%FF&=e"), 200, b"ok");
    proxied.exchange.begin.connection = 4;
    proxied.connection = Some(connection("192.0.2.1:3128"));
    for upstream in proxied
        .connection
        .iter_mut()
        .filter_map(|opened| opened.upstream.as_mut())
    {
        upstream.via = Some("http://redacted:77aa@parent.example:3128".into());
    }
    let git = "http://git.example/r.git/git-upload-pack";
    vec![
        hostile,
        proxied,
        answered(0, git, 200, b"0008NAK\n").post(b"0032want 0a53\n"),
        answered(0, git, 200, b"PACK\0\0\0\x02").post(b"PACK\xff\xfe"),
        answered(0, git, 401, b"").with_begin(|begin| {
            let secret = fields(&[
                ("authorization", "Basic redacted:0c1d"),
                ("cookie", "a=b; c=d"),
            ]);
            begin.headers.extend(secret);
        }),
    ]
}

/// A recording of two runs that has these exchanges.
pub(super) fn recording(samples: &[Sample]) -> (TempDir, Recording) {
    let opens = [open(&["go", "mod", "tidy"]), open(&[])];
    recording_of(samples, &opens)
}

pub(super) fn recording_of(samples: &[Sample], opens: &[Open]) -> (TempDir, Recording) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Vec::new();
    let mut seq = 0;
    let mut write = |t_us, event| {
        seq += 1;
        let record = Record { seq, t_us, event };
        journal.extend(record.to_line());
    };
    for (run, open) in (0..).zip(opens) {
        write(Timestamp::default(), Event::Open(open.clone()));
        let mut connections = Vec::new();
        for sample in samples.iter().filter(|sample| sample.run == run) {
            let Exchange {
                started,
                begin,
                ending,
            } = sample.exchange.clone();
            let id = begin.connection;
            if let Some(opened) = sample
                .connection
                .clone()
                .filter(|_| !connections.contains(&id))
            {
                connections.push(id);
                let opened = Connection::Opened(Opened { id, ..opened });
                write(started, Event::Connection(opened));
            }
            write(started, Event::Begin(begin));
            match ending {
                Ending::InFlight => {}
                Ending::Ended(end) => write(started, Event::End(end)),
                Ending::Aborted(abort) => write(started, Event::Abort(abort)),
            }
            for bytes in sample
                .files
                .iter()
                .filter(|bytes| bytes.len() > INLINE_LIMIT)
            {
                write_body(dir.path(), bytes);
            }
        }
        let close = Close {
            totals: Totals::default(),
            exit_code: Some(0),
        };
        write(Timestamp::default(), Event::Close(close));
    }
    std::fs::write(dir.path().join(JOURNAL), journal).unwrap();
    let manifest = serde_json::to_vec(&manifest()).unwrap();
    std::fs::write(dir.path().join(MANIFEST), manifest).unwrap();
    let recording = Recording::open(dir.path()).unwrap();
    assert_eq!(recording.damage(), []);
    (dir, recording)
}

fn write_body(dir: &Path, bytes: &[u8]) {
    let path = body_path(dir, body(bytes).sha256);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// These exchanges as a HAR of two runs, and what is not in there.
pub(super) fn har_and_losses(samples: &[Sample], bodies: Bodies) -> (Vec<u8>, Losses) {
    let (_dir, recording) = recording(samples);
    let source = Source::of(&recording);
    let mut out = Vec::new();
    let written = write_har(samples, &source, bodies, &mut out).unwrap();
    let har: Value = serde_json::from_slice(&out).unwrap();
    let entries = har["log"]["entries"].as_array().unwrap();
    assert_eq!(written, entries.len() as u64);
    (out, source.into_losses())
}

pub(super) fn write_har(
    samples: &[Sample],
    source: &Source<'_>,
    bodies: Bodies,
    out: &mut Vec<u8>,
) -> io::Result<u64> {
    let mut har = Har::begin(out, source, bodies)?;
    for row in source.recording().rows() {
        let mut item = source.item(row).map_err(io::Error::other)?;
        let of_row = |sample: &&Sample| sample.run == row.run && sample.exchange.begin.id == row.id;
        let module = samples
            .iter()
            .find(of_row)
            .and_then(|sample| sample.module.clone());
        let route = &mut item.listed.route;
        route.module = module.or_else(|| route.module.take());
        har.push(&item)?;
    }
    Box::new(har).finish()
}

/// These exchanges as a HAR of two runs.
pub(super) fn har(samples: &[Sample], bodies: Bodies) -> Vec<u8> {
    har_and_losses(samples, bodies).0
}

/// The entry of one exchange, as a consumer reads it.
pub(super) fn entry(sample: Sample, bodies: Bodies) -> Value {
    let mut log: Value = serde_json::from_slice(&har(&[sample], bodies)).unwrap();
    log["log"]["entries"][0].take()
}
