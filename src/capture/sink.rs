//! Blocks of a pcapng file (IETF draft-ietf-opsawg-pcapng).
//!
//! `pcap-file` writes most of them. Packets are written here, since there are millions of them, and
//! secrets, which `pcap-file` does not support.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, IoSlice, Write};
use std::net::IpAddr;

use bytes::Bytes;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::name_resolution::{
    Ipv4Record, Ipv6Record, NameResolutionBlock, Record,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};

use super::frame::{Ends, Interface, Segment, headers, seal};

/// The type of an Enhanced Packet Block (section 4.3).
pub(super) const PACKET: u32 = 6;

/// The type of a Decryption Secrets Block (section 4.7).
pub(super) const SECRETS: u32 = 10;

/// Secrets in the NSS key log format (section 4.7, "TLSK").
const TLS_KEY_LOG: u32 = 0x544c_534b;

/// The most bytes of one packet that readers take (libpcap's `MAXIMUM_SNAPLEN`).
const SNAPLEN: u32 = 262_144;

/// Units of time: nanoseconds.
const NANOSECONDS: u8 = 9;

/// Lengths of options and names are 16 bits.
const OPTION_LIMIT: usize = 65_535;

/// The codes of a comment, of the flags word and of the end (sections 3.5 and 4.3).
const COMMENT: u16 = 1;
const FLAGS: u16 = 2;
const END: u16 = 0;

/// How many names one block holds.
const NAMES: usize = 1000;

/// The size of the buffer, bytes.
const BUFFER: usize = 256 * 1024;

/// The header of a file.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    /// The program that makes it.
    pub(crate) tool: &'a str,
    /// A comment about the whole file.
    pub(crate) comment: &'a str,
    /// Where the packets come from: `made from the journal`.
    pub(crate) origin: &'a str,
}

/// The origin of packets that were captured while they passed.
pub(crate) const LIVE: &str = "as it passed";

/// Writes packets in the order of their time, through a buffer that [`flush`](Self::flush) empties.
pub(crate) struct Sink<W: Write> {
    out: W,
    /// Bytes of whole blocks that were written.
    whole: u64,
    blocks: PcapNgWriter<Vec<u8>>,
    /// Payloads that are not copied, each with its position in `blocks`.
    shared: Vec<(usize, Bytes)>,
    shared_bytes: usize,
    /// Nanoseconds since 1970 of the last packet.
    last: u64,
    /// Packets in total.
    pub(crate) packets: u64,
    /// Packets that were written to `out`.
    pub(super) written: u64,
}

impl<W: Write> Sink<W> {
    /// Adds the section header and the interfaces.
    pub(crate) fn new(out: W, section: &Section<'_>) -> io::Result<Self> {
        let header = SectionHeaderBlock {
            // The same byte order on every machine.
            endianness: Endianness::Little,
            options: vec![
                SectionHeaderOption::Comment(text(section.comment).into_owned().into()),
                SectionHeaderOption::UserApplication(text(section.tool).into_owned().into()),
            ],
            ..SectionHeaderBlock::default()
        };
        let blocks = PcapNgWriter::with_section_header(Vec::new(), header).map_err(io_error)?;
        let mut sink = Self {
            out,
            whole: 0,
            blocks,
            shared: Vec::new(),
            shared_bytes: 0,
            last: 0,
            packets: 0,
            written: 0,
        };
        for interface in [Interface::Upstream, Interface::Client] {
            let (name, leg) = match interface {
                Interface::Upstream => ("upstream", "from modtape to the servers"),
                Interface::Client => ("client", "from the clients to modtape"),
            };
            let description = format!("{leg}, {}", section.origin);
            let block = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: SNAPLEN,
                options: vec![
                    InterfaceDescriptionOption::IfName(name.into()),
                    InterfaceDescriptionOption::IfDescription(description.into()),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            };
            sink.blocks
                .write_block(&block.into_block())
                .map_err(io_error)?;
        }
        Ok(sink)
    }

    /// Adds the names of addresses.
    pub(crate) fn names(&mut self, names: &BTreeSet<(IpAddr, String)>) -> io::Result<()> {
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
            self.blocks
                .write_block(&block.into_block())
                .map_err(io_error)?;
        }
        self.spill()
    }

    /// Adds TLS secrets, lines in the NSS key log format. Readers that read the file once need them
    /// before the packets that they decrypt.
    pub(crate) fn secrets(&mut self, lines: &str) -> io::Result<()> {
        let out = self.blocks.get_mut();
        let start = begin(out, SECRETS);
        let length = u32::try_from(lines.len()).map_err(io::Error::other)?;
        out.extend(TLS_KEY_LOG.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(lines.as_bytes());
        pad(out, lines.len());
        end(out, start, 0)?;
        self.spill()
    }

    /// Adds a packet at `at` nanoseconds since 1970, or at the time of the packet before if that is
    /// later. `payload` appends captured bytes, and returns further ones that are not copied.
    pub(crate) fn packet(
        &mut self,
        at: u64,
        ends: &Ends,
        segment: &Segment,
        comment: Option<&str>,
        payload: impl FnOnce(&mut Vec<u8>) -> Bytes,
    ) -> io::Result<()> {
        self.last = self.last.max(at);
        let out = self.blocks.get_mut();
        let start = begin(out, PACKET);
        let interface = match ends.interface {
            Interface::Upstream => 0_u32,
            Interface::Client => 1,
        };
        out.extend(interface.to_le_bytes());
        // The upper word of the time comes first, whatever the order of bytes.
        out.extend(low(self.last >> 32));
        out.extend(low(self.last));
        let lengths = out.len();
        out.extend([0; 8]);
        let data = out.len();
        let length = headers(out, ends, segment);
        let shared = payload(out);
        seal(&mut out[data..], &shared, length);
        let shown = out.len() - data + shared.len();
        let shared_bytes = shared.len();
        if shared_bytes > 0 {
            self.shared.push((out.len(), shared));
            self.shared_bytes += shared_bytes;
        }
        out[lengths..lengths + 4].copy_from_slice(&low(shown as u64));
        out[lengths + 4..lengths + 8].copy_from_slice(&low(length));
        pad(out, shown);
        if let Some(comment) = comment {
            option(out, COMMENT, text(comment).as_bytes());
        }
        // Inbound or outbound, as seen from modtape (the flags word of section 4.3.1).
        let is_inbound = segment.is_clients == (ends.interface == Interface::Client);
        option(out, FLAGS, &low(if is_inbound { 1 } else { 2 }));
        option(out, END, &[]);
        end(out, start, shared_bytes)?;
        self.packets += 1;
        self.spill()
    }

    /// Adds a block without a change.
    pub(super) fn copy(&mut self, block: &[u8], is_packet: bool) -> io::Result<()> {
        self.blocks.get_mut().extend_from_slice(block);
        self.packets += u64::from(is_packet);
        self.spill()
    }

    /// Writes the buffer.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.write()?;
        self.out.flush()
    }

    /// How many bytes of the output are whole blocks: after an error it may have more.
    pub(super) const fn whole(&self) -> u64 {
        self.whole
    }

    /// The output.
    pub(super) fn into_inner(self) -> W {
        self.out
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.blocks.get_ref().len() + self.shared_bytes < BUFFER {
            return Ok(());
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        let blocks = self.blocks.get_mut();
        let total = blocks.len() + self.shared_bytes;
        let mut slices = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut from = 0;
        for (at, bytes) in &self.shared {
            slices.extend([IoSlice::new(&blocks[from..*at]), IoSlice::new(bytes)]);
            from = *at;
        }
        slices.push(IoSlice::new(&blocks[from..]));
        let written = write_all(&mut self.out, &mut slices);
        blocks.clear();
        self.shared.clear();
        self.shared_bytes = 0;
        written?;
        self.whole += total as u64;
        self.written = self.packets;
        Ok(())
    }
}

/// `write_all_vectored` of the standard library, which is not stable.
fn write_all(out: &mut impl Write, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Skips empty slices at the beginning.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match out.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Begins a block, and returns its position for [`end`], which writes its length.
fn begin(out: &mut Vec<u8>, kind: u32) -> usize {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    start
}

/// Ends the block that began at `start`; `shared_bytes` are not copied.
fn end(out: &mut Vec<u8>, start: usize, shared_bytes: usize) -> io::Result<()> {
    let length = out.len() - start + shared_bytes + 4;
    let length = u32::try_from(length).map_err(io::Error::other)?;
    out.extend(length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend(code.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(value);
    pad(out, value.len());
}

/// Blocks and options end at multiples of four bytes.
fn pad(out: &mut Vec<u8>, length: usize) {
    out.extend(std::iter::repeat_n(0, length.next_multiple_of(4) - length));
}

/// The lower 32 bits, little endian.
fn low(number: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = number.to_le_bytes();
    [a, b, c, d]
}

/// A text, cut to the longest that an option can hold.
fn text(text: &str) -> Cow<'_, str> {
    let mut end = text.len().min(OPTION_LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error => io::Error::other(error),
    }
}
