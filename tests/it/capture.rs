//! The live capture, read by tshark with no option set: what passed on both legs, opened.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pcapng::{has, run_command, tshark};
use crate::support::*;

const HOST: &str = "proxy.golang.org";

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

/// Octets that nothing compresses, and that two streams do not share.
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
}

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
        "tls.record.opaque_type",
        "tls.record.content_type",
        "_ws.malformed",
        "tcp.analysis.flags",
        "_ws.expert.message",
    ];
    let mut options = vec!["-T", "fields"];
    options.extend(fields.iter().flat_map(|field| ["-e", field]));
    let lines = tshark(capture, &options);
    let told = run_command(Command::new("capinfos").arg("-o").arg(capture));
    assert!(told.contains("Strict time order:   True"), "{told}");
    let read = lines.iter().map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        let many = |column: usize| columns[column].split_terminator(',').count();
        let not = |column: usize, word| {
            let values = columns[column].split_terminator(',');
            values.filter(|value| *value != word).count()
        };
        // A TLS 1.3 record whose inside did not show has no other type.
        assert_eq!(many(6).saturating_sub(many(7)), 0, "closed: {line}");
        assert_eq!((columns[8], columns[9]), ("", ""), "{line}");
        Packet {
            leg: columns[0].to_owned(),
            comment: columns[1].to_owned(),
            asked: not(2, "CONNECT") + many(3),
            answered: not(4, "Connection established") + many(5),
        }
    });
    read.collect()
}

/// What TLS made of the alerts of a capture.
fn alerts(capture: &Path) -> Vec<String> {
    tshark(
        capture,
        &[
            "-Y",
            "tls.alert_message.desc",
            "-T",
            "fields",
            "-e",
            "tls.alert_message.desc",
        ],
    )
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
