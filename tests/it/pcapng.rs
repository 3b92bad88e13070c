//! The packet capture of a recording, read by tshark with no option set, and by `pcap-file`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flate2::read::GzDecoder;
use http::Method;
use modtape::clock::Timestamp;
use modtape::exchange::{Digest, Phase, field};
use modtape::recording::Recording;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::{Block, PcapNgReader};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::record::{record, recording};
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(180);

const HOST: &str = "proxy.golang.org";

/// Whether there is a command, which `tests/run` sees to.
pub fn has(command: &str) -> bool {
    let found = Command::new(command).arg("--version").output().is_ok();
    if !found {
        let message = format!("there is no {command}: tests/run gets it");
        let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!is_ci, "{message}");
        skipped(&message);
    }
    found
}

/// The capture of a recording, made anew with these options.
fn export(dir: &Path, options: &[&str]) -> PathBuf {
    let capture = dir.with_extension("pcapng");
    let mut modtape = Command::new(tested());
    modtape
        .args(["export", "pcapng"])
        .arg(dir)
        .arg("-o")
        .arg(&capture);
    run_command(modtape.args(options));
    capture
}

pub fn run_command(command: &mut Command) -> String {
    let output = command.output().expect("it can be run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// What tshark prints, a line a packet.
pub fn tshark(capture: &Path, options: &[&str]) -> Vec<String> {
    let mut tshark = Command::new("tshark");
    let printed = run_command(tshark.arg("-r").arg(capture).args(options));
    printed.lines().map(str::to_owned).collect()
}

/// How many packets a display filter takes.
pub fn count_of(capture: &Path, filter: &str) -> usize {
    tshark(
        capture,
        &["-Y", filter, "-T", "fields", "-e", "frame.number"],
    )
    .len()
}

/// What must hold of any capture of any recording.
#[track_caller]
fn assert_reads_well(capture: &Path, recording: &Recording) {
    let rows = recording.rows();
    assert_eq!(count_of(capture, "http.request"), rows.len(), "requests");
    let answered = rows.iter().filter(|row| row.status.is_some()).count();
    assert_eq!(count_of(capture, "http.response"), answered, "responses");
    for filter in [
        "_ws.malformed",
        "tcp.analysis.flags",
        "_ws.expert.severity == error",
    ] {
        let found = tshark(capture, &["-Y", filter]);
        assert!(found.is_empty(), "{filter}: {found:#?}");
    }
    let told = run_command(Command::new("capinfos").arg("-o").arg(capture));
    assert!(told.contains("Strict time order:   True"), "{told}");
    for row in rows {
        let span = recording.exchange(row).expect("it is whole").begin.span;
        let filter = format!("frame.comment contains \"{span}\" && http.request");
        // A process for each would take a minute; the first ones stand for all.
        if row.id <= 3 {
            assert_eq!(count_of(capture, &filter), 1, "exchange {}", row.id);
        }
    }
    let trace = recording.manifest().trace;
    let filter = format!("tcp.len > 0 && frame.comment contains \"{trace}\"");
    assert_eq!(
        count_of(capture, &filter),
        rows.len() + answered,
        "comments"
    );
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
    assert_reads_well(&export(recording.dir(), &[]), &recording);

    let capture = export(
        recording.dir(),
        &["--pcap-bodies", "all", "--pcap-checksums"],
    );
    assert_reads_well(&capture, &recording);
    let verified = [
        "-o",
        "tcp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
    ];
    let bad = [
        &verified[..],
        &["-Y", "tcp.checksum.status == 0 || ip.checksum.status == 0"],
    ];
    assert_eq!(tshark(&capture, &bad.concat()), [""; 0]);

    let objects = sandbox.join("objects");
    let target = format!("http,{}", objects.display());
    tshark(&capture, &["-q", "--export-objects", &target]);
    let mut exported = multiset();
    for entry in fs::read_dir(&objects).expect("tshark wrote it") {
        let octets = fs::read(entry.expect("it can be read").path()).expect("a file");
        *exported.entry(sha256(&octets)).or_insert(0) += 1;
    }
    assert_eq!(exported, decoded(&recording));
}

fn multiset() -> BTreeMap<String, usize> {
    BTreeMap::new()
}

fn sha256(octets: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
    let digest: [u8; 32] = digest.as_ref().try_into().expect("32 octets");
    let digest: Digest = modtape::exchange::Hex(digest);
    digest.to_string()
}

/// The digests of all bodies that have octets, content-decoded.
fn decoded(recording: &Recording) -> BTreeMap<String, usize> {
    let mut bodies = multiset();
    for row in recording.rows() {
        let exchange = recording.exchange(row).expect("it is whole");
        let Some(end) = exchange.end() else { continue };
        let Some(body) = end.body.as_ref().filter(|body| body.bytes > 0) else {
            continue;
        };
        let mut octets = Vec::new();
        let mut reader = recording.body(body).expect("it is kept");
        match field(&end.headers, "content-encoding").as_deref() {
            Some("gzip") => drop(std::io::copy(&mut GzDecoder::new(reader), &mut octets)),
            _ => drop(std::io::copy(&mut reader, &mut octets)),
        }
        *bodies.entry(sha256(&octets)).or_insert(0) += 1;
    }
    bodies
}

/// Exchanges of every kind that an origin can make of them.
async fn oddities(alpn: Alpn) -> Recorded {
    let big = 200_000;
    let origin = Origin::builder(Content::files([((HOST, "/"), (200, "text/plain", ""))]))
        .rule(Rule::suffix("/chunked").body("in chunks").chunked())
        .rule(Rule::suffix("/gzip").body(vec![b'z'; big]).gzip())
        .rule(Rule::suffix("/big").generated(3 << 20))
        .rule(Rule::suffix("/middle").generated(65_537))
        .rule(Rule::suffix("/trailer").body("x").trailer("x-sum", "1"))
        .rule(Rule::suffix("/short").generated(100_000).short(70_000))
        .rule(Rule::suffix("/nothing").generated(100_000).short(0))
        .rule(Rule::suffix("/none").status(204).body(""))
        .rule(
            Rule::suffix("/same")
                .status(304)
                .header("content-length", "7")
                .body(""),
        )
        .rule(Rule::suffix("/empty").body(""))
        .rule(Rule::suffix("/gone").reset())
        .rule(Rule::any().body("ok"))
        .start();
    let recorder = Recorder::to(&origin, &[]);
    for path in [
        "/chunked", "/gzip", "/big", "/middle", "/trailer", "/short", "/nothing", "/none", "/same",
        "/empty", "/gone", "/plain",
    ] {
        let hello = recorder.hello(HOST).alpn(alpn);
        let mut session = Client::session(recorder.proxy(), &hello).await;
        let _ = session.get(path).await;
        let mut head = session.request(path);
        *head.method_mut() = Method::HEAD;
        let _ = session.send(head).await;
        drop(session);
    }
    recorder.finish().await
}

#[tokio::test]
async fn whatever_became_of_an_exchange_it_is_shown() {
    if !has("tshark") {
        return;
    }
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let recorded = oddities(alpn).await;
        for options in [
            &[][..],
            &["--pcap-bodies", "all"],
            &["--pcap-bodies", "none"],
        ] {
            let capture = export(recorded.recording.dir(), options);
            assert_reads_well(&capture, &recorded.recording);
        }
    }
}

/// Time, captured octets, length and comment of a packet.
type Packet = (u64, Vec<u8>, u32, Option<String>);

/// The packets of a capture, as far as the file goes.
fn packets(octets: &[u8]) -> Vec<Packet> {
    let Ok(mut reader) = PcapNgReader::new(octets) else {
        return Vec::new();
    };
    let mut packets = Vec::new();
    while let Some(Ok(block)) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block else {
            continue;
        };
        packets.push(told(&packet));
    }
    packets
}

fn told(packet: &EnhancedPacketBlock<'_>) -> Packet {
    let comment = packet.options.iter().find_map(|option| match option {
        EnhancedPacketOption::Comment(comment) => Some(comment.to_string()),
        _ => None,
    });
    let at = u64::try_from(packet.timestamp.as_nanos()).expect("a time of this age");
    (at, packet.data.to_vec(), packet.original_len, comment)
}

#[tokio::test]
async fn packets_stand_at_the_times_of_the_journal() {
    let recorded = oddities(Alpn::Http2).await;
    let capture = export(recorded.recording.dir(), &[]);
    let packets = packets(&fs::read(capture).expect("it is written"));
    let wall = OffsetDateTime::parse(&recorded.recording.runs()[0].wall, &Rfc3339);
    let wall = wall.expect("a time").unix_timestamp_nanos();
    let at = |stamp: Timestamp, us: u64| {
        u64::try_from(wall + i128::from(stamp.as_micros() + us) * 1000).expect("a time")
    };
    for row in recorded.recording.rows() {
        let id = format!("exchange={} ", row.id);
        let of = |packet: &&Packet| {
            packet
                .3
                .as_ref()
                .is_some_and(|comment| comment.starts_with(&id))
        };
        let commented: Vec<_> = packets.iter().filter(of).collect();
        let us = |phases: &[Phase]| phases.iter().filter_map(|phase| row.phases[*phase]).sum();
        let before = [Phase::Blocked, Phase::Dns, Phase::Connect, Phase::Tls];
        assert_eq!(commented[0].0, at(row.started, us(&before)), "{row:?}");
        let heard = [&before[..], &[Phase::Send, Phase::Wait]].concat();
        if let Some(answer) = commented.get(1) {
            assert_eq!(answer.0, at(row.started, us(&heard)), "{row:?}");
        }
        // The same ports: the stream from SYN to its end.
        let ports = &commented[0].1[34..38];
        let stream = || {
            packets.iter().filter(|packet| {
                let found = &packet.1[34..38];
                found == ports || (found[..2] == ports[2..] && found[2..] == ports[..2])
            })
        };
        assert_eq!(stream().next().expect("a SYN").0, at(row.started, 0));
        let over = stream().next_back().expect("an end").0;
        assert_eq!(over, at(row.started, row.phases.total_us()), "{row:?}");
    }
}

#[tokio::test]
async fn a_capture_that_is_cut_reads_up_to_the_cut() {
    let recorded = oddities(Alpn::Http1).await;
    let capture = export(recorded.recording.dir(), &[]);
    let whole = fs::read(&capture).expect("it is written");
    let all = packets(&whole);
    assert!(all.len() > 100);
    let cuts = count(200, 1000);
    for number in 0..cuts {
        // Spread over the file, and prime to its blocks' lengths.
        let cut = whole.len() * number / cuts + number % 7;
        let read = packets(&whole[..cut.min(whole.len())]);
        assert_eq!(read[..], all[..read.len()], "cut at {cut}");
        let octets: usize = all[..read.len()].iter().map(|packet| packet.1.len()).sum();
        assert!(octets <= cut, "cut at {cut}");
    }
    if has("tshark") {
        let cut = whole.len() / 2;
        let part = capture.with_extension("cut");
        fs::write(&part, &whole[..cut]).expect("it can be written");
        let output = Command::new("tshark")
            .arg("-r")
            .arg(&part)
            .output()
            .expect("it runs");
        let lines = String::from_utf8_lossy(&output.stdout).lines().count();
        assert_eq!(lines, packets(&whole[..cut]).len());
    }
}
