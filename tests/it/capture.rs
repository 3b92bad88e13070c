//! The live capture, read by tshark with no option set: what passed on both legs, opened.

mod truncation;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pcapng::tshark::{assert_checksums, tshark};
use crate::pcapng::{has, run_command};
use crate::support::*;

const HOST: &str = "proxy.golang.org";

const LIMIT: Duration = Duration::from_secs(60);

const LEGS: [&str; 2] = ["client", "upstream"];

fn live(recorded: &Recorded) -> PathBuf {
    recorded.recording.dir().join("capture-tls.pcapng")
}

/// A file with a gzip stream, one with more than a packet takes, an empty one, and no file.
const PATHS: [&str; 4] = [
    "/example.com/m/@v/list",
    "/example.com/m/@v/v1.0.0.zip",
    "/example.com/m/@v/v1.0.0.info",
    "/example.com/m/@v/v9.9.9.info",
];

fn content() -> Content {
    let file = |path, body| ((HOST, path), (200, "application/octet-stream", body));
    Content::files([
        file(PATHS[0], b"v1.0.0\n".to_vec()),
        file(PATHS[1], noise(3_000_000)),
        file(PATHS[2], Vec::new()),
    ])
}

/// Bytes that nothing compresses, and that two streams do not share.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..length).map(next).collect()
}

/// A packet as tshark tells it.
struct Packet {
    leg: String,
    comment: String,
    /// Requests, without a CONNECT, and responses.
    asked: usize,
    answered: usize,
    /// Types of handshake messages.
    handshakes: Vec<String>,
}

/// `PI_ERROR` of Wireshark's epan/proto.h.
const EXPERT_ERROR: &str = "8388608";

/// Reads a capture once, and holds against it what must hold of any.
#[track_caller]
fn read(capture: &Path) -> Vec<Packet> {
    let fields = [
        "frame.interface_name",
        "frame.comment",
        "http.request.method",
        "http2.headers.method",
        "http.response.phrase",
        "http2.headers.status",
        "tls.record.length",
        "tls.record.content_type",
        "_ws.malformed",
        "tcp.analysis.flags",
        "_ws.expert.severity",
        "tls.handshake.type",
    ];
    let mut options = vec!["-T", "fields"];
    options.extend(fields.iter().flat_map(|field| ["-e", field]));
    let lines = tshark(capture, &options);
    let told = run_command(program("capinfos").arg("-o").arg(capture));
    assert!(told.contains("Strict time order:   True"), "{told}");
    assert_checksums(capture);
    let read = lines.iter().map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        let many = |column: usize| columns[column].split_terminator(',').count();
        let not = |column: usize, word| {
            let values = columns[column].split_terminator(',');
            values.filter(|value| *value != word).count()
        };
        // Of a TLS 1.3 record whose inside did not show, tshark knows no type.
        assert_eq!(many(6), many(7), "closed: {line}");
        assert_eq!((columns[8], columns[9]), ("", ""), "{line}");
        assert!(!columns[10].contains(EXPERT_ERROR), "{line}");
        Packet {
            leg: columns[0].to_owned(),
            comment: columns[1].to_owned(),
            asked: not(2, "CONNECT") + many(3),
            answered: not(4, "Connection established") + many(5),
            handshakes: columns[11].split(',').map(str::to_owned).collect(),
        }
    });
    read.collect()
}

#[tokio::test]
async fn every_record_of_each_version_and_protocol_opens() {
    if !has("tshark") {
        return;
    }
    for tls in [Tls::V12, Tls::V13] {
        for alpn in [Alpn::Http1, Alpn::Http2] {
            let origin = Origin::builder(content()).tls(tls).alpn(alpn).start();
            let recorder = Recorder::to(&origin, &["--pcap=tls"]);
            // The second connection resumes upstream.
            for _ in 0..2 {
                let mut session = recorder.session(HOST).await;
                for path in PATHS {
                    session.get(path).await.expect("an answer");
                }
            }
            let recorded = recorder.finish().await;
            let exchanges = recorded.exchanges();
            assert_eq!(exchanges.len(), 2 * PATHS.len());
            let capture = live(&recorded);
            let packets = read(&capture);
            for leg in LEGS {
                let of_leg = || packets.iter().filter(|packet| packet.leg == leg);
                let asked: usize = of_leg().map(|packet| packet.asked).sum();
                let answered: usize = of_leg().map(|packet| packet.answered).sum();
                assert_eq!((asked, answered), (8, 8), "{tls:?} {alpn:?} {leg}");
                // Finished (20) is encrypted in either version, and both sides of both connections
                // send one; who resumes sends no Certificate (11), which the second one upstream does.
                let of_type = |kind: &str| {
                    let all = of_leg().flat_map(|packet| &packet.handshakes);
                    all.filter(|found| *found == kind).count()
                };
                let certificates = if leg == "upstream" { 1 } else { 2 };
                assert_eq!(
                    (of_type("20"), of_type("11")),
                    (4, certificates),
                    "{tls:?} {alpn:?} {leg}"
                );
                // Each exchange is named on the packet of its request.
                for exchange in &exchanges {
                    let span = exchange.begin.span.to_string();
                    let named = of_leg().filter(|packet| packet.comment.contains(&span));
                    let asked: Vec<_> = named.map(|packet| packet.asked).collect();
                    assert_eq!(asked, [1], "{tls:?} {alpn:?} {leg}: {}", exchange.begin.id);
                }
            }
            let mode = fs::metadata(&capture).expect("it is there").permissions();
            assert_eq!(mode.mode() & 0o777, 0o600);
        }
    }
}

/// The bytes of a file that hold `needle`, for what must not be there.
fn holds(file: &Path, needle: &[u8]) -> bool {
    let bytes = fs::read(file).expect("it is there");
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn without_secrets(recorded: &Recorded) -> PathBuf {
    let dir = recorded.recording.dir();
    let copy = dir.with_extension("shared.pcapng");
    let mut modtape = program(tested());
    let modtape = modtape.args(["export", "pcapng", "--no-secrets", "-o"]);
    run_command(modtape.arg(&copy).arg(dir));
    copy
}

#[tokio::test]
async fn a_copy_without_secrets_opens_with_the_key_log_alone() {
    if !has("tshark") {
        return;
    }
    let origin = Origin::start(content());
    let keys = tempfile::tempdir().expect("a folder");
    let keys = keys.path().join("keys.log");
    let flag = format!("--keylog={}", keys.display());
    let recorder = Recorder::to(
        &origin,
        &[
            "--pcap=both",
            "--token=s3cr3t-t0ken-0123456789-abcdef",
            &flag,
        ],
    );
    let proxy = recorder.proxy();
    let credential = "bW9kdGFwZTpzM2NyM3QtdDBrZW4tMDEyMzQ1Njc4OS1hYmNkZWY=";
    let shown = format!("Basic {credential}");
    let fields = [("Proxy-Authorization", &shown[..])];
    let client = Client::open(proxy).await;
    let connected = client.connect(&format!("{HOST}:443"), &fields).await;
    let client = connected.client.handshake(&recorder.hello(HOST)).await;
    let session = client.expect("a handshake").into_session().await;
    let answer = session.expect("a session").get(PATHS[0]).await;
    assert_eq!(answer.expect("an answer").status, 200);
    let recorded = recorder.finish().await;

    let shared = without_secrets(&recorded);
    let asked = |options: &[&str]| {
        let filter = "http2.headers.method || http.request";
        tshark(&shared, &[&["-Y", filter], options].concat()).len()
    };
    assert_eq!(asked(&[]), 0, "nothing opens it");
    let log = format!("tls.keylog_file:{}", keys.display());
    assert_eq!(asked(&["-o", &log]), 2, "one request on two legs");
    assert!(holds(&live(&recorded), credential.as_bytes()));
    assert!(!holds(&shared, credential.as_bytes()));
    assert!(!holds(&shared, b"CLIENT_HANDSHAKE_TRAFFIC_SECRET"));
    assert!(!holds(
        &recorded.recording.dir().join("capture.pcapng"),
        b"TRAFFIC_SECRET"
    ));
    let mode = fs::metadata(&keys).expect("it was made").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert!(
        recorded.output.stderr.contains("contains TLS secrets"),
        "{}",
        recorded.output.stderr
    );
}

#[tokio::test]
async fn a_handshake_that_fails_shows_its_alert() {
    if !has("tshark") {
        return;
    }
    let origin = Origin::start(content());
    let recorder = Recorder::to(&origin, &["--pcap=tls"]);
    // It trusts the origin's root, and not ours.
    let stranger = Hello::new(HOST, origin.root_pem_path());
    assert!(
        Client::try_session(recorder.proxy(), &stranger)
            .await
            .is_none()
    );
    // Whoever comes later is answered later: then the alert was read.
    let mut session = recorder.session(HOST).await;
    session.get(PATHS[0]).await.expect("an answer");
    drop(session);
    let recorded = recorder.finish().await;
    let first = recorded.recording.connections().next();
    let closed = first.and_then(|row| row.closed.as_ref());
    let why = closed.map_or("it is not over", |closed| &closed.why);
    assert!(why.contains("alert unknown_ca"), "{why}");
    let capture = live(&recorded);
    read(&capture);
    let field = "tls.alert_message.desc";
    let alerts = tshark(&capture, &["-Y", field, "-T", "fields", "-e", field]);
    // unknown_ca, RFC 8446 section 6.
    assert!(alerts.iter().any(|alert| alert == "48"), "{alerts:?}");
}

#[tokio::test]
async fn of_a_tunnel_only_the_lengths_are_kept() {
    let origin = Origin::start(content());
    let recorder = Recorder::to(&origin, &["--pcap=tls", "--tunnel=private.example"]);
    let stream = Client::open(recorder.proxy()).await;
    let connected = stream.connect("private.example:443", &[]).await;
    let mut client = connected.client;
    let asked = b"GET /secret-of-the-tunnel HTTP/1.1\r\nHost: private.example\r\n\
                  Connection: close\r\n\r\n";
    client.send(asked).await.expect("it takes it");
    let (answer, _) = client.read_to_end().await;
    assert!(answer.starts_with(b"HTTP/1.1 "));
    drop(client);
    // Who does not wait for the tunnel, and who asks for one that is not TLS.
    for host in ["private.example", HOST] {
        let mut client = Client::open(recorder.proxy()).await;
        let connect = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client
            .send([connect.as_bytes(), asked].concat())
            .await
            .expect("it takes it");
        let (said, _) = client.read_to_end().await;
        assert!(said.starts_with(b"HTTP/1.1 200 "), "{host}");
    }
    let recorded = recorder.finish().await;
    let capture = live(&recorded);
    assert!(!holds(&capture, b"secret-of-the-tunnel"));
    if !has("tshark") {
        return;
    }
    let lengths = tshark(
        &capture,
        &[
            "-Y",
            "tcp.len > 0 && frame.interface_name == \"upstream\"",
            "-T",
            "fields",
            "-e",
            "tcp.len",
        ],
    );
    let total: usize = lengths
        .iter()
        .map(|length| length.parse::<usize>().expect("a number"))
        .sum();
    assert_eq!(total, 3 * (asked.len() + answer.len()));
}

#[test]
fn a_key_log_that_others_may_read_is_refused_where_it_was_asked_for() {
    let sandbox = Sandbox::new();
    let keys = sandbox.join("keys.log");
    fs::write(&keys, "").expect("our own folder");
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(&keys, mode).expect("our own file");
    let flag = format!("--keylog={}", keys.display());
    let refused = run(sandbox.modtape(["record", &flag, "--", "true"]), LIMIT);
    assert_eq!(refused.status.code(), Some(125));
    assert!(
        refused.stderr.contains("others may read it: chmod 600"),
        "{}",
        refused.stderr
    );
    let mut warned = sandbox.modtape(["record", "--", "true"]);
    warned.env("SSLKEYLOGFILE", &keys);
    let warned = run(warned, LIMIT).expect_success();
    assert!(
        warned.stderr.contains("warning: SSLKEYLOGFILE: "),
        "{}",
        warned.stderr
    );
}

#[test]
fn what_the_go_command_fetches_opens_on_both_legs() {
    if !has("tshark") {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let Some(go) = sandbox.go("1.27") else {
        return;
    };
    sandbox
        .project_without_sums("hello")
        .expect("our own folder");
    let origin = Origin::start(content);
    let command = [go.to_str().expect("paths of tests are text"), "mod", "tidy"];
    let flags = ["--cold", "--no-har", "--pcap=tls"];
    run(
        crate::record::record(&sandbox, &origin, &flags, &command),
        LIMIT,
    )
    .expect_success();
    let recording = crate::record::recording(&sandbox, "one");
    let packets = read(&recording.dir().join("capture-tls.pcapng"));
    for leg in LEGS {
        let of_leg = || packets.iter().filter(|packet| packet.leg == leg);
        let asked: usize = of_leg().map(|packet| packet.asked).sum();
        let answered: usize = of_leg().map(|packet| packet.answered).sum();
        let exchanges = recording.rows().len();
        assert_eq!((asked, answered), (exchanges, exchanges), "{leg}");
        for row in recording.rows() {
            let span = recording
                .exchange(row)
                .expect("it is whole")
                .begin
                .span
                .to_string();
            let named = of_leg().filter(|packet| packet.comment.contains(&span));
            assert_eq!(named.count(), 1, "{leg}: {}", row.id);
        }
    }
}
