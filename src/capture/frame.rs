//! The headers of one synthesised packet: Ethernet, IPv4 (RFC 791) or IPv6 (RFC 8200), TCP (RFC
//! 9293).

use std::net::{IpAddr, SocketAddr};

/// This side sends no more data (this and the following flags: RFC 9293 section 3.1).
pub(crate) const FIN: u8 = 0x01;
/// The connection begins.
pub(crate) const SYN: u8 = 0x02;
/// The connection is reset.
pub(crate) const RST: u8 = 0x04;
/// The receiver passes the data on at once.
pub(crate) const PSH: u8 = 0x08;
/// The acknowledgement number is valid.
pub(crate) const ACK: u8 = 0x10;

/// The most bytes of payload in one packet: with all headers below the longest IPv4 packet
/// (65,535).
pub(crate) const SEGMENT: u64 = 60 * 1024;

/// Maximum segment size 65,495 and a window scale of 14 (RFC 9293 section 3.2, RFC 7323 section 2):
/// so windows are 1 GiB, and no reader reports a full one.
const OPTIONS: [u8; 8] = [2, 4, 0xff, 0xd7, 3, 3, 14, 0];

const ETHERNET: usize = 14;
const TCP: u8 = 6;

/// The leg that a packet is shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// Between modtape and the server.
    Upstream,
    /// Between the client and modtape: responses of modtape, and requests that went no further.
    Client,
}

/// The two ends of a connection; both addresses are of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The leg.
    pub(crate) interface: Interface,
    /// The side that opened the connection.
    pub(crate) client: SocketAddr,
    /// The side that accepted it.
    pub(crate) server: SocketAddr,
}

/// The TCP fields of one packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    /// Whether it comes from the client's end.
    pub(crate) is_clients: bool,
    /// TCP's flags.
    pub(crate) flags: u8,
    /// The number of the first byte.
    pub(crate) seq: u32,
    /// The number of the byte that is expected next.
    pub(crate) ack: u32,
    /// Bytes of payload, captured or not; at most [`SEGMENT`].
    pub(crate) bytes: u64,
}

/// Appends the headers of a packet, and returns the length of the packet on the network.
pub(crate) fn headers(out: &mut Vec<u8>, ends: &Ends, segment: &Segment) -> u64 {
    let first = out.len();
    let (from, to) = if segment.is_clients {
        (ends.client, ends.server)
    } else {
        (ends.server, ends.client)
    };
    let options: &[u8] = if segment.flags & SYN == 0 {
        &[]
    } else {
        &OPTIONS
    };
    let tcp_bytes = 20 + options.len() as u64 + segment.bytes;
    ethernet(out, ends.interface, segment.is_clients, from.is_ipv4());
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let start = out.len();
            out.extend([0x45, 0]);
            out.extend(short(20 + tcp_bytes));
            // No identification, do not fragment, 64 hops, and the checksum that follows.
            out.extend([0, 0, 0x40, 0, 64, TCP, 0, 0]);
            out.extend(from.octets());
            out.extend(to.octets());
            let sum = checksum(&[&out[start..]]);
            out[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
        }
        (from, to) => {
            out.extend([0x60, 0, 0, 0]);
            out.extend(short(tcp_bytes));
            out.extend([TCP, 64]);
            out.extend(six(from));
            out.extend(six(to));
        }
    }
    out.extend(from.port().to_be_bytes());
    out.extend(to.port().to_be_bytes());
    out.extend(segment.seq.to_be_bytes());
    out.extend(segment.ack.to_be_bytes());
    let words = (20 + options.len() as u8) / 4;
    // The greatest window; the checksum is `seal`'s; no urgent pointer.
    out.extend([words << 4, segment.flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(options);
    (out.len() - first) as u64 + segment.bytes
}

/// Writes TCP's checksum into `packet`. `rest` is the payload that follows it, and `length` the
/// length of the whole packet on the network.
///
/// Bytes that are not captured count as zeros: a reader of a cut packet has no others.
pub(crate) fn seal(packet: &mut [u8], rest: &[u8], length: u64) {
    let is_v4 = packet[12..ETHERNET] == [0x08, 0];
    let (addresses, tcp) = if is_v4 {
        (ETHERNET + 12..ETHERNET + 20, ETHERNET + 20)
    } else {
        (ETHERNET + 8..ETHERNET + 40, ETHERNET + 40)
    };
    let bytes = u32::try_from(length).unwrap_or(u32::MAX);
    let bytes = bytes.saturating_sub(tcp as u32).to_be_bytes();
    let protocol = [0, 0, 0, TCP];
    let sum = checksum(&[&packet[addresses], &bytes, &protocol, &packet[tcp..], rest]);
    packet[tcp + 16..tcp + 18].copy_from_slice(&sum.to_be_bytes());
}

/// Locally administered addresses, different for each leg and side.
fn ethernet(out: &mut Vec<u8>, interface: Interface, is_clients: bool, is_v4: bool) {
    let leg = interface as u8;
    let (client, server) = ([2, 0, leg, 0, 0, 1], [2, 0, leg, 0, 0, 2]);
    let (to, from) = if is_clients {
        (server, client)
    } else {
        (client, server)
    };
    out.extend(to);
    out.extend(from);
    out.extend(if is_v4 { [0x08, 0x00] } else { [0x86, 0xdd] });
}

fn six(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn short(length: u64) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// The internet checksum of `parts` in a row (RFC 1071).
fn checksum(parts: &[&[u8]]) -> u16 {
    let (mut sum, mut is_odd) = (0, false);
    for part in parts {
        let part_sum = sum_of(part);
        // RFC 1071 section 2 (B): the bytes of a part that begins at an odd offset are swapped.
        sum += u32::from(if is_odd {
            part_sum.swap_bytes()
        } else {
            part_sum
        });
        is_odd ^= part.len() % 2 == 1;
    }
    !u16::from_be(fold(u64::from(sum)))
}

/// The sum of 16-bit words in the order of this machine, which section 2 (B) allows; four bytes at
/// a time, so that the compiler vectorises the loop.
fn sum_of(bytes: &[u8]) -> u16 {
    let mut words = bytes.chunks_exact(4);
    let mut sum: u64 = 0;
    for word in &mut words {
        sum += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut last = [0; 4];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    fold(sum + u64::from(u32::from_ne_bytes(last)))
}

/// Adds carries until 16 bits are left.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(client: &str, server: &str, payload: &[u8]) -> Vec<u8> {
        let ends = Ends {
            interface: Interface::Upstream,
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
        };
        let segment = Segment {
            is_clients: true,
            flags: PSH | ACK,
            seq: 1,
            ack: 1,
            bytes: payload.len() as u64,
        };
        let mut out = Vec::new();
        let length = headers(&mut out, &ends, &segment);
        out.extend(payload);
        assert_eq!(length, out.len() as u64);
        out
    }

    #[test]
    fn the_checksum_is_rfc_1071s() {
        // The example of RFC 1071 section 3.
        assert_eq!(
            checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]),
            !0xddf2
        );
        assert_eq!(checksum(&[&[0x12, 0x34], &[0x56]]), !(0x1234 + 0x5600));
    }

    #[test]
    fn both_families_say_their_lengths_and_verify() {
        let four = packet("10.0.0.1:1024", "10.0.0.2:80", b"GET");
        assert_eq!(four.len(), 14 + 20 + 20 + 3);
        assert_eq!(checksum(&[&four[14..34]]), 0, "the IPv4 header");
        let mut six = packet("[2001:db8::1]:1024", "[2001:db8::2]:80", b"GET");
        assert_eq!(six.len(), 14 + 40 + 20 + 3);
        assert_eq!(six[18..20], [0, 23]);
        let length = six.len() as u64;
        seal(&mut six, &[], length);
        let pseudo = [0, 0, 0, 23, 0, 0, 0, TCP];
        assert_eq!(checksum(&[&six[22..54], &pseudo, &six[54..]]), 0);
    }

    #[test]
    fn a_packet_in_pieces_has_the_checksum_of_the_whole() {
        for (client, server) in [
            ("10.0.0.1:1024", "10.0.0.2:80"),
            ("[2001:db8::1]:1024", "[2001:db8::2]:80"),
        ] {
            let mut whole = packet(client, server, b"GET / HTTP/1.1\r\n\r\n");
            let length = whole.len() as u64;
            let headers = whole.len() - 18;
            for shown in headers..=whole.len() {
                let (begin, rest) = whole.split_at(shown);
                let (mut begin, rest) = (begin.to_vec(), rest.to_vec());
                seal(&mut begin, &rest, length);
                seal(&mut whole, &[], length);
                assert_eq!(begin[..headers], whole[..headers], "{shown}");
            }
            let mut cut = whole[..headers].to_vec();
            let mut zeros = cut.clone();
            zeros.resize(whole.len(), 0);
            seal(&mut cut, &[], length);
            seal(&mut zeros, &[], length);
            assert_eq!(cut, zeros[..headers]);
        }
    }

    #[test]
    fn the_largest_segment_fits_with_all_headers() {
        assert!(SEGMENT + 20 + 20 + OPTIONS.len() as u64 <= u64::from(u16::MAX));
    }
}
