//! The packet capture of a recording, read by tshark with no option set, and by `pcap-file`.

pub(crate) mod sample;
mod times;
mod truncation;
pub(crate) mod tshark;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::{Block, PcapNgReader};

use crate::support::*;

const LIMIT: Duration = Duration::from_secs(180);

/// Whether there is a command, which `tests/run` sees to.
pub fn has(command: &str) -> bool {
    let found = program(command).arg("--version").output().is_ok();
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
    let mut modtape = program(tested());
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

/// A packet, as `pcap-file` reads it.
#[derive(Debug, PartialEq, Eq)]
struct Packet {
    /// Nanoseconds since 1970.
    at: u64,
    bytes: Vec<u8>,
    /// With what is not in the file.
    length: u32,
    comment: Option<String>,
}

impl Packet {
    fn of(packet: &EnhancedPacketBlock<'_>) -> Self {
        let comment = packet.options.iter().find_map(|option| match option {
            EnhancedPacketOption::Comment(comment) => Some(comment.to_string()),
            _ => None,
        });
        Self {
            at: u64::try_from(packet.timestamp.as_nanos()).expect("a time of this age"),
            bytes: packet.data.to_vec(),
            length: packet.original_len,
            comment,
        }
    }

    fn is_v6(&self) -> bool {
        self.bytes[12..14] == [0x86, 0xdd]
    }

    /// Addresses and ports of both ends, whoever sent it.
    fn stream(&self) -> [Vec<u8>; 2] {
        let (addresses, ports) = if self.is_v6() {
            (22..54, 54)
        } else {
            (26..34, 34)
        };
        let (from, to) = self.bytes[addresses.clone()].split_at(addresses.len() / 2);
        let port = |at: usize| &self.bytes[at..at + 2];
        let mut ends = [[from, port(ports)].concat(), [to, port(ports + 2)].concat()];
        ends.sort();
        ends
    }

    fn has_payload(&self) -> bool {
        let tcp = if self.is_v6() { 54 } else { 34 };
        let words = self.bytes[tcp + 12] >> 4;
        self.length as usize > tcp + usize::from(words) * 4
    }
}

/// The packets of a capture, as far as the file goes.
fn packets(bytes: &[u8]) -> Vec<Packet> {
    let Ok(mut reader) = PcapNgReader::new(bytes) else {
        return Vec::new();
    };
    let mut packets = Vec::new();
    while let Some(Ok(block)) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block {
            packets.push(Packet::of(&packet));
        }
    }
    packets
}
