//! Synthetic exchanges: every kind of outcome, body and name that an export has to carry.
//!
//! The unit tests beside the formats look at them one by one; the consumers below `tests/har` read
//! them as one file.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::har::{self, HarError};
use super::source::{Bodies, Content, Item, Page, What};
use crate::clock::Timestamp;
use crate::exchange::{
    Abort, Attempt, Begin, Body, ClientSide, End, Exchange, ExchangeId, Fields, Hex, MadeBy, Mode,
    Octets, Opened, Outcome, Phase, Timings, UpstreamSide,
};
use crate::filter::Fate;
use crate::recording::format::{
    FORMAT_VERSION, INLINE_LIMIT, MANIFEST_KIND, Manifest, Open, Replayable, State, Totals,
};

pub(super) const PROXY: &str = "https://proxy.golang.org";

pub(super) fn open(command: &[&str]) -> Open {
    Open {
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
        kind: MANIFEST_KIND.into(),
        format: FORMAT_VERSION,
        id: "r-1".into(),
        tool: "modtape 0.1.0".into(),
        state: State::Closed,
        started: "2026-11-22T23:59:59.999000Z".into(),
        command: vec!["go".into()],
        options: Vec::new(),
        trace: Hex([0xab; 16]),
        go_env: std::collections::BTreeMap::new(),
        go_version: None,
        intercepted: Vec::new(),
        intercept_all: false,
        redacted: true,
        wall_us: 0,
        totals: Totals::default(),
        replayable: Replayable::default(),
        exit_code: Some(0),
    }
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn fields(pairs: &[(&str, &str)]) -> Fields {
    let field = |(name, value): &(&str, &str)| ((*name).to_owned(), Octets::from(*value));
    pairs.iter().map(field).collect()
}

/// A request for `url` over HTTP/2 that is still in flight, on a direct connection.
pub(super) fn in_flight(id: ExchangeId, url: &str) -> Item {
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
    Item {
        exchange: Exchange {
            started: Timestamp::from_micros(1000 * id + 1),
            begin,
            outcome: Outcome::InFlight,
        },
        run: 0,
        connection: Some(connection("[2001:db8::17]:443")),
        what: What::default(),
        fate: Fate::InFlight,
        request_body: Content::LeftOut,
        body: Content::LeftOut,
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
    }
}

/// The same, answered with these octets.
pub(super) fn answered(id: ExchangeId, url: &str, status: u16, octets: &[u8]) -> Item {
    let mut item = in_flight(id, url);
    item.fate = if status < 400 { Fate::Ok } else { Fate::Error };
    item.exchange.outcome = Outcome::Ended(End {
        id,
        status,
        reason: None,
        version: "HTTP/2".into(),
        headers: fields(&[("content-type", "text/plain; charset=utf-8")]),
        trailers: Fields::new(),
        request_body: None,
        body: Some(body(octets)),
        phases_us: Timings::from_iter([
            (Phase::Send, 20),
            (Phase::Wait, 80_500),
            (Phase::Receive, 1_000),
        ]),
        own_us: 41,
        client_wait_us: 0,
        made_by: MadeBy::Origin,
        attempts: Vec::new(),
        notes: Vec::new(),
    });
    item.body = Content::Octets(octets.to_vec());
    item
}

pub(super) fn body(octets: &[u8]) -> Body {
    Body {
        sha256: Hex(Sha256::digest(octets).into()),
        bytes: octets.len() as u64,
        inline: (octets.len() <= INLINE_LIMIT).then(|| octets.into()),
        kept: true,
    }
}

pub(super) fn aborted(id: ExchangeId, url: &str, phase: Phase, status: Option<u16>) -> Item {
    let mut item = in_flight(id, url);
    item.fate = Fate::Aborted;
    item.exchange.outcome = Outcome::Aborted(Abort {
        id,
        phase,
        why: "the upstream ended the connection: \"reset\"".into(),
        status,
        headers: status.map_or_else(Fields::new, |_| fields(&[("content-length", "9000")])),
        request_body: None,
        body_bytes: status.map_or(0, |_| 4096),
        phases_us: Timings::from_iter([(Phase::Send, 3), (phase, 7_000)]),
    });
    item
}

impl Item {
    /// Changes the end of an exchange that has one.
    pub(super) fn with(mut self, change: impl FnOnce(&mut End)) -> Self {
        let Outcome::Ended(end) = &mut self.exchange.outcome else {
            panic!("only what has ended can be changed");
        };
        change(end);
        self
    }

    pub(super) fn with_begin(mut self, change: impl FnOnce(&mut Begin)) -> Self {
        change(&mut self.exchange.begin);
        self
    }

    pub(super) fn content_encoding(self, coding: &str) -> Self {
        self.with(|end| end.headers.push(("content-encoding".into(), coding.into())))
    }

    pub(super) fn header(self, name: &str, value: impl Into<Octets>) -> Self {
        self.with(|end| end.headers.push((name.into(), value.into())))
    }

    pub(super) fn post(self, octets: &[u8]) -> Self {
        let mut this = self.with(|end| end.request_body = Some(body(octets)));
        this.exchange.begin.method = "POST".into();
        this.request_body = Content::Octets(octets.to_vec());
        this
    }
}

/// Every odd case once, sorted by start; ids count from 1.
pub(super) fn items() -> Vec<Item> {
    let mut items = [responses(), codings(), failures(), requests()].concat();
    for (id, item) in (1..).zip(&mut items) {
        item.exchange.begin.id = id;
        item.exchange.begin.span = Hex(id.to_be_bytes());
        item.exchange.started = Timestamp::from_micros(1000 * id);
    }
    // The last ones belong to a second run, whose stamps begin at its own `open`.
    let count = items.len();
    items[count - 3..].iter_mut().for_each(|item| item.run = 1);
    items
}

fn responses() -> Vec<Item> {
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

fn codings() -> Vec<Item> {
    let list = b"v1.0.0\nv1.1.0\n".repeat(40);
    let bomb = gzip(&vec![b'a'; (1 << 20) + 1]);
    let url = |path: &str| format!("https://sum.golang.org/{path}");
    let coded = |path: &str, octets: &[u8], coding: &str| {
        answered(0, &url(path), 200, octets).content_encoding(coding)
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

fn failures() -> Vec<Item> {
    let url = |path: &str| format!("https://[2001:db8::5]:8443/{path}");
    let mut not_kept = answered(0, &url("not-kept"), 200, b"x").with(|end| {
        end.body
            .iter_mut()
            .for_each(|body| (body.kept, body.inline) = (false, None));
    });
    not_kept.body = Content::NotKept;
    let mut missing = answered(0, &url("missing"), 200, b"y");
    missing.body = Content::Missing("no such file".into());
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

fn requests() -> Vec<Item> {
    let mut hostile = answered(
        0,
        &format!("{PROXY}/%3Cscript%3E/@v/list"),
        200,
        b"\"]}}</script>\0\x1b[2J",
    );
    hostile.what = What {
        kind: Some("list".into()),
        module: Some("</script><img src=x onerror=alert(1)>\u{2028}\u{202e}\"]}}\0".into()),
        version: Some("`id`$(id)';".into()),
    };
    let mut proxied = answered(0, &format!("{PROXY}/via?a=1&b&c=x+y&d=%FF&=e"), 200, b"ok");
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

/// These exchanges as a HAR of two runs.
pub(super) fn har(items: Vec<Item>, bodies: Bodies) -> Vec<u8> {
    let count = items.len() as u64;
    let (out, written) = try_har(items, bodies).unwrap();
    assert_eq!(written, count);
    out
}

/// The same, and how many entries it has, or why there is none.
pub(super) fn try_har(
    items: Vec<Item>,
    bodies: Bodies,
) -> Result<(Vec<u8>, u64), HarError<std::convert::Infallible>> {
    let (manifest, first, second) = (manifest(), open(&["go", "mod", "tidy"]), open(&[]));
    let pages = [&first, &second].map(|open| Page {
        manifest: &manifest,
        open,
    });
    let mut out = Vec::new();
    let written = har::write(&mut out, &pages, items.into_iter().map(Ok), bodies)?;
    Ok((out, written))
}

/// The entry of one exchange, as a consumer reads it.
pub(super) fn entry(item: Item, bodies: Bodies) -> Value {
    let mut log: Value = serde_json::from_slice(&har(vec![item], bodies)).unwrap();
    log["log"]["entries"][0].take()
}
