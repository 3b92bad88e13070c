//! What is left of a capture whose recorder was killed, or that was cut.

use std::fs;

use pcap_file::pcapng::PcapNgReader;
use rustix::process::{Pid, Signal, kill_process};

use super::{HOST, PATHS, content};
use crate::pcapng::has;
use crate::support::*;

#[tokio::test]
async fn what_a_killed_recorder_leaves_reads_up_to_its_last_whole_packet() {
    let origin = Origin::start(content());
    let recorder = Recorder::to(&origin, &["--pcap=tls"]);
    let mut session = recorder.session(HOST).await;
    for path in PATHS {
        session.get(path).await.expect("an answer");
    }
    let capture = recorder.folder().join("recordings/one/capture-tls.pcapng");
    // A kill loses what the writer has not come to; by then it has come to a good part of both legs.
    let written = || fs::metadata(&capture).expect("it is there").len();
    for _ in 0..10_000 {
        if written() > 3_000_000 {
            break;
        }
        session.get(PATHS[0]).await.expect("an answer");
    }
    let pid = i32::try_from(recorder.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), Signal::KILL).expect("it runs");
    session.closed().await;
    let bytes = fs::read(&capture).expect("it is there");
    assert!(
        bytes.len() > 3_000_000,
        "a good part of both legs: {}",
        bytes.len()
    );
    let ends = block_ends(&bytes);
    let mut state = 0x2545_f491_u32;
    for _ in 0..1000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Where blocks of all kinds lie; a cut of megabytes takes its time.
        let cut = state as usize % 100_000;
        let whole = ends.iter().filter(|end| **end <= cut).count();
        // The section's header is read at once.
        assert_eq!(
            blocks(&bytes[..cut]),
            whole.saturating_sub(1),
            "cut at {cut}"
        );
    }
    if !has("tshark") {
        return;
    }
    let told = program("tshark").arg("-r").arg(&capture).output();
    let listed = String::from_utf8_lossy(&told.expect("it can be run").stdout)
        .lines()
        .count();
    let packets = packets(&bytes);
    assert_eq!(listed, packets);
}

/// Where each whole block ends.
fn block_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(length) = bytes.get(at + 4..at + 8) {
        at += u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        if at <= bytes.len() {
            ends.push(at);
        }
    }
    ends
}

/// How many blocks `pcap-file` reads behind the section's header.
fn blocks(bytes: &[u8]) -> usize {
    let Ok(mut reader) = PcapNgReader::new(bytes) else {
        return 0;
    };
    let mut blocks = 0;
    while let Some(Ok(_)) = reader.next_block() {
        blocks += 1;
    }
    blocks
}

/// How many whole packets there are: the last one may be cut.
fn packets(bytes: &[u8]) -> usize {
    let ends = block_ends(bytes);
    let starts = [0].into_iter().chain(ends.iter().copied());
    let kinds = starts
        .zip(&ends)
        .filter_map(|(at, _)| bytes.get(at..at + 4));
    kinds.filter(|kind| *kind == [6, 0, 0, 0]).count()
}
