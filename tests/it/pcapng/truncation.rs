//! A capture that ends anywhere, as a full disk or a broken copy leaves it.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;

use super::sample::rich;
use super::{export, has, packets};
use crate::support::*;

/// How many places are tried, and how many of them with tshark, where the short run has fewer.
const CUTS: usize = 1000;
const BY_TSHARK: usize = 60;

/// Type of a block that holds a packet (draft-ietf-opsawg-pcapng section 4.3).
const ENHANCED_PACKET: u32 = 6;

/// Where each packet's block ends: read with nothing but the lengths of the blocks.
fn ends(capture: &[u8]) -> Vec<usize> {
    let word = |at: usize| {
        let bytes = capture[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes)
    };
    let (mut at, mut ends) = (0, Vec::new());
    while at < capture.len() {
        let length = word(at + 4) as usize;
        assert_eq!(word(at + length - 4) as usize, length, "a block at {at}");
        if word(at) == ENHANCED_PACKET {
            ends.push(at + length);
        }
        at += length;
    }
    ends
}

/// The same places in every run.
fn cut(number: usize, length: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    number.hash(&mut hasher);
    usize::try_from(hasher.finish() % (length as u64 + 1)).expect("it is in the file")
}

fn listed(part: &Path) -> usize {
    let mut tshark = program("tshark");
    let fields = ["-n", "-T", "fields", "-e", "frame.number"];
    let output = tshark.arg("-r").arg(part).args(fields).output();
    let output = output.expect("it runs");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

#[tokio::test]
async fn a_capture_that_is_cut_anywhere_reads_up_to_the_cut() {
    let rich = rich().await;
    let capture = export(rich.recorded.recording.dir(), &[]);
    let whole = fs::read(&capture).expect("it is written");
    let (all, ends) = (packets(&whole), ends(&whole));
    assert!(all.len() > 500 && all.len() == ends.len(), "{}", all.len());
    let (has_tshark, by_tshark) = (has("tshark"), count(BY_TSHARK, CUTS));
    let part = capture.with_extension("cut");
    let header = u32::from_le_bytes(whole[4..8].try_into().expect("four bytes")) as usize;
    for number in 0..CUTS {
        let cut = cut(number, whole.len());
        let expected = ends.partition_point(|end| *end <= cut);
        assert_eq!(packets(&whole[..cut]), all[..expected], "cut at {cut}");
        // Without its whole header it is taken for a file of another kind.
        if has_tshark && number < by_tshark && cut >= header {
            fs::write(&part, &whole[..cut]).expect("it can be written");
            assert_eq!(listed(&part), expected, "tshark, cut at {cut}");
        }
    }
}
