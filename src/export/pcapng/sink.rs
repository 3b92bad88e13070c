//! Blocks of a pcapng file (IETF draft-ietf-opsawg-pcapng), written with `pcap-file`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use pcap_file::pcapng::PcapNgBlock;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::name_resolution::{
    Ipv4Record, Ipv6Record, NameResolutionBlock, Record,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness, PcapError};

use super::frame::{Ends, Interface, Segment, headers, seal};

/// The most octets of one packet that readers take (libpcap's `MAXIMUM_SNAPLEN`).
const SNAPLEN: u32 = 262_144;

/// Units of time: nanoseconds. `pcap-file` knows no other when it writes.
const NANOSECONDS: u8 = 9;

/// Lengths of options and names are 16 bits.
const OPTION_LIMIT: usize = 65_535;

/// How many names one block holds.
const NAMES: usize = 1000;

/// Takes packets in the order of their time.
pub(super) struct Sink<W: Write> {
    writer: PcapNgWriter<W>,
    packet: Vec<u8>,
    /// Nanoseconds since 1970 of the last packet.
    last: u64,
    has_checksums: bool,
    pub(super) packets: u64,
}

impl<W: Write> Sink<W> {
    /// Writes the section's header with `comment`, and the interfaces.
    pub(super) fn new(out: W, tool: &str, comment: &str, has_checksums: bool) -> io::Result<Self> {
        let section = SectionHeaderBlock {
            // The same file on every machine.
            endianness: Endianness::Little,
            options: vec![
                SectionHeaderOption::Comment(text(comment).into_owned().into()),
                SectionHeaderOption::UserApplication(text(tool).into_owned().into()),
            ],
            ..SectionHeaderBlock::default()
        };
        let mut writer = PcapNgWriter::with_section_header(out, section).map_err(told)?;
        for interface in [Interface::Upstream, Interface::Client] {
            let (name, description) = match interface {
                Interface::Upstream => (
                    "upstream",
                    "from modtape to the servers, made from the journal",
                ),
                Interface::Client => (
                    "client",
                    "from the clients to modtape, made from the journal",
                ),
            };
            let block = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: SNAPLEN,
                options: vec![
                    InterfaceDescriptionOption::IfName(name.into()),
                    InterfaceDescriptionOption::IfDescription(description.into()),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            };
            writer.write_block(&block.into_block()).map_err(told)?;
        }
        Ok(Self {
            writer,
            packet: Vec::new(),
            last: 0,
            has_checksums,
            packets: 0,
        })
    }

    /// Writes which names the addresses had.
    pub(super) fn names(&mut self, names: &BTreeSet<(IpAddr, String)>) -> io::Result<()> {
        let names: Vec<_> = names.iter().collect();
        for names in names.chunks(NAMES) {
            let records = names.iter().map(|(address, name)| match address {
                IpAddr::V4(address) => Record::Ipv4(Ipv4Record {
                    ip_addr: Cow::Owned(address.octets().to_vec()),
                    names: vec![name.as_str().into()],
                }),
                IpAddr::V6(address) => Record::Ipv6(Ipv6Record {
                    ip_addr: Cow::Owned(address.octets().to_vec()),
                    names: vec![name.as_str().into()],
                }),
            });
            let block = NameResolutionBlock {
                records: records.collect(),
                options: Vec::new(),
            };
            self.writer.write_block(&block.into_block()).map_err(told)?;
        }
        Ok(())
    }

    /// Writes a packet at `at` nanoseconds since 1970, never before the one that went before.
    /// `payload` adds what is shown of it.
    pub(super) fn packet(
        &mut self,
        at: u64,
        ends: &Ends,
        segment: &Segment,
        comment: Option<&str>,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        self.last = self.last.max(at);
        let length = headers(&mut self.packet, ends, segment);
        payload(&mut self.packet);
        if self.has_checksums && self.packet.len() as u64 == length {
            seal(&mut self.packet);
        }
        // Inbound or outbound, as seen from us (the flags word of section 4.3.1).
        let is_inbound = segment.is_clients == (ends.interface == Interface::Client);
        let mut options = Vec::with_capacity(2);
        options.extend(comment.map(|comment| EnhancedPacketOption::Comment(text(comment))));
        options.push(EnhancedPacketOption::Flags(if is_inbound { 1 } else { 2 }));
        let block = EnhancedPacketBlock {
            interface_id: match ends.interface {
                Interface::Upstream => 0,
                Interface::Client => 1,
            },
            timestamp: Duration::from_nanos(self.last),
            original_len: u32::try_from(length).unwrap_or(u32::MAX),
            data: Cow::Borrowed(&self.packet),
            options,
        };
        self.writer.write_block(&block.into_block()).map_err(told)?;
        self.packets += 1;
        Ok(())
    }

    pub(super) fn into_inner(self) -> W {
        self.writer.into_inner()
    }
}

/// As much of a text as an option can hold.
fn text(text: &str) -> Cow<'_, str> {
    let mut end = text.len().min(OPTION_LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

fn told(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error => io::Error::other(error),
    }
}
