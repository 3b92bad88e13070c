//! What tshark, as it is, makes of a capture: each exchange, each body, and nothing to complain of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use flate2::read::GzDecoder;
use modtape::exchange::{Body, Digest, Fields, Hex, field};
use modtape::recording::{Recording, Row};

use super::sample::{UNKNOWN_CODING, rich};
use super::{LIMIT, export, has, run_command};
use crate::record::{record, recording};
use crate::support::*;

/// What one pass of tshark tells of each packet, an empty text where it has no such field.
const FIELDS: [&str; 11] = [
    "tcp.stream",
    "tcp.flags.reset",
    "http.content_encoding",
    "http.request",
    "http.response",
    "http.request_in",
    "_ws.malformed",
    "tcp.analysis.flags",
    "_ws.expert.severity",
    "frame.number",
    "frame.comment",
];

/// Of tshark's severities: all that it says of a stream that goes as it should.
const NOTE: u64 = 0x0040_0000;

/// What it says of a reset and of a coding that it cannot undo, and of nothing else here.
const WARNING: u64 = 0x0060_0000;

type Packet = BTreeMap<&'static str, String>;

pub(crate) fn tshark(capture: &Path, options: &[&str]) -> Vec<String> {
    let mut tshark = program("tshark");
    let printed = run_command(tshark.arg("-r").arg(capture).args(options));
    printed.lines().map(str::to_owned).collect()
}

fn dissected(capture: &Path) -> Vec<Packet> {
    let fields = FIELDS.iter().flat_map(|field| ["-e", field]);
    let options: Vec<_> = ["-T", "fields"].into_iter().chain(fields).collect();
    let lines = tshark(capture, &options);
    let packet = |line: String| {
        let values: Vec<_> = line.split('\t').collect();
        assert_eq!(values.len(), FIELDS.len(), "{line}");
        let values = values.into_iter().map(str::to_owned);
        FIELDS.into_iter().zip(values).collect()
    };
    lines.into_iter().map(packet).collect()
}

/// What must hold of any capture of any recording.
#[track_caller]
pub(crate) fn assert_reads_well(capture: &Path, recording: &Recording) {
    let packets = dissected(capture);
    let having = |field: &str| {
        packets
            .iter()
            .filter(|packet| !packet[field].is_empty())
            .count()
    };
    let rows = recording.rows();
    let answered = rows.iter().filter(|row| row.status.is_some()).count();
    assert_eq!(having("http.request"), rows.len(), "requests");
    assert_eq!(having("http.response"), answered, "responses");
    for packet in &packets {
        let severities = packet["_ws.expert.severity"].split(',');
        let worst = severities
            .filter_map(|severity| severity.parse::<u64>().ok())
            .max();
        let is_reset = ["1", "True"].contains(&packet["tcp.flags.reset"].as_str());
        let is_unknown = packet["http.content_encoding"] == UNKNOWN_CODING;
        let bound = match is_reset || is_unknown {
            true => WARNING,
            false => NOTE,
        };
        let is_sound =
            packet["_ws.malformed"].is_empty() && packet["tcp.analysis.flags"].is_empty();
        assert!(is_sound && worst.unwrap_or(0) <= bound, "{packet:#?}");
    }
    assert_paired(&packets, answered);
    assert_found(&packets, recording);
    let told = run_command(program("capinfos").arg("-o").arg(capture));
    assert!(told.contains("Strict time order:   True"), "{told}");
    assert_checksums(capture);
}

/// Each answer belongs to the one request of its stream.
fn assert_paired(packets: &[Packet], answered: usize) {
    let stream_of: BTreeMap<_, _> = packets
        .iter()
        .map(|packet| (&packet["frame.number"], &packet["tcp.stream"]))
        .collect();
    let mut requests = BTreeSet::new();
    for packet in packets
        .iter()
        .filter(|packet| !packet["http.response"].is_empty())
    {
        let request = &packet["http.request_in"];
        assert_eq!(
            stream_of.get(request),
            Some(&&packet["tcp.stream"]),
            "{packet:#?}"
        );
        requests.insert(request);
    }
    assert_eq!(requests.len(), answered);
}

/// Trace and span are on the first packet of request and answer, or on what ends it.
fn assert_found(packets: &[Packet], recording: &Recording) {
    let trace = recording.manifest().trace;
    for row in recording.rows() {
        let exchange = recording.exchange(row).expect("it is whole");
        let told = format!(
            "exchange={} trace={trace} span={}",
            row.id, exchange.begin.span
        );
        let found = packets
            .iter()
            .filter(|packet| packet["frame.comment"].contains(&told));
        let streams: Vec<_> = found.map(|packet| &packet["tcp.stream"]).collect();
        // Only what was in flight has a request and nothing else.
        assert_eq!(streams.len(), 2, "{told}");
        assert_eq!(streams[0], streams[1], "{told}");
    }
}

/// A cold `go mod tidy` of a real project.
fn tidied(sandbox: &Sandbox) -> Option<Recording> {
    let project = if is_long() { "web" } else { "hello" };
    let content = Content::corpus(project, Sumdb::Heads)?;
    let go = sandbox.go("1.27")?;
    sandbox.project_without_sums(project)?;
    let origin = Origin::start(content);
    let command = [go.to_str().expect("paths of tests are text"), "mod", "tidy"];
    run(
        record(sandbox, &origin, &["--cold", "--no-har"], &command),
        LIMIT,
    )
    .expect_success();
    Some(recording(sandbox, "one"))
}

#[test]
fn tshark_reads_each_exchange_of_a_real_recording() {
    if !has("tshark") {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(recording) = tidied(&sandbox) else {
        return;
    };
    assert_reads_well(&recording.dir().join("capture.pcapng"), &recording);
    let all = ["--pcap-bodies", "all"];
    let capture = export(recording.dir(), &all);
    assert_reads_well(&capture, &recording);
    assert_eq!(objects(&capture, &sandbox), decoded(&recording));
}

#[tokio::test]
async fn whatever_became_of_an_exchange_it_is_shown() {
    if !has("tshark") {
        return;
    }
    let rich = rich().await;
    let recording = &rich.recorded.recording;
    assert_reads_well(&recording.dir().join("capture.pcapng"), recording);
    let none = export(recording.dir(), &["--pcap-bodies", "none"]);
    assert_reads_well(&none, recording);
    let all = ["--pcap-bodies", "all"];
    let capture = export(recording.dir(), &all);
    assert_reads_well(&capture, recording);
    assert_eq!(objects(&capture, &Sandbox::new()), decoded(recording));
    // Each answer with trailers shows them, HTTP/2's too.
    let trailers = tshark(
        &capture,
        &["-Y", "http.chunked_trailer_part contains \"x-sum: 1\""],
    );
    let has_some = |row: &&Row| {
        let exchange = recording.exchange(row).expect("it is whole");
        row.method == "GET" && exchange.end().is_some_and(|end| !end.trailers.is_empty())
    };
    let expected = recording.rows().iter().filter(has_some).count();
    assert_eq!(trailers.len(), expected);
    assert_ne!(expected, 0);
    let trace = recording.manifest().trace;
    let filter = format!("http.request && frame.comment contains \"{trace}\"");
    let found = tshark(&capture, &["-Y", &filter]);
    assert_eq!(found.len(), recording.rows().len());
    let tunnel = "tcp.flags.syn == 1 && frame.comment contains \"a tunnel\"";
    assert_eq!(tshark(&capture, &["-Y", tunnel]).len(), 1);
}

/// No checksum is wrong: those of packets that are cut cannot be verified, all others are right.
#[track_caller]
pub(crate) fn assert_checksums(capture: &Path) {
    let options = [
        "-o",
        "tcp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
        "-Y",
        "tcp.checksum.status == 0 || ip.checksum.status == 0",
    ];
    assert_eq!(tshark(capture, &options), [""; 0]);
    let verified = [&options[..4], &["-Y", "tcp.checksum.status == 1"]].concat();
    assert_ne!(tshark(capture, &verified), [""; 0]);
}

/// The digests of what tshark takes for bodies.
fn objects(capture: &Path, sandbox: &Sandbox) -> BTreeMap<String, usize> {
    let objects = sandbox.join("objects");
    let target = format!("http,{}", objects.display());
    tshark(capture, &["-q", "--export-objects", &target]);
    let entries = fs::read_dir(&objects).expect("tshark wrote it");
    let bodies = entries.map(|entry| {
        let bytes = fs::read(entry.expect("it can be read").path()).expect("a file");
        sha256(&bytes)
    });
    counted(bodies)
}

fn counted(digests: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for digest in digests {
        *counted.entry(digest).or_insert(0) += 1;
    }
    counted
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let digest: Digest = Hex(digest.as_ref().try_into().expect("32 bytes"));
    digest.to_string()
}

/// The digests of all bodies that have bytes, content-decoded.
fn decoded(recording: &Recording) -> BTreeMap<String, usize> {
    let mut bodies = Vec::new();
    for row in recording.rows() {
        let exchange = recording.exchange(row).expect("it is whole");
        let Some(end) = exchange.end() else { continue };
        bodies.extend(bytes(
            recording,
            &exchange.begin.headers,
            end.request_body.as_ref(),
        ));
        bodies.extend(bytes(recording, &end.headers, end.body.as_ref()));
    }
    counted(bodies.iter().map(|bytes| sha256(bytes)))
}

fn bytes(recording: &Recording, headers: &Fields, body: Option<&Body>) -> Option<Vec<u8>> {
    let body = body.filter(|body| body.bytes > 0)?;
    let mut bytes = Vec::new();
    let mut reader = recording.body(body).expect("it is kept");
    match field(headers, "content-encoding").as_deref() {
        // tshark has no object of what it cannot undo.
        Some(UNKNOWN_CODING) => return None,
        Some("gzip") => std::io::copy(&mut GzDecoder::new(reader), &mut bytes),
        _ => std::io::copy(&mut reader, &mut bytes),
    }
    .expect("it is whole");
    Some(bytes)
}
