//! `/proc/PID/net/tcp`, `tcp6`, `udp` and `udp6` (proc_pid_net(5)): the peers of sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A socket that has, or wants, a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) inode: u64,
    pub(super) peer: SocketAddr,
    /// True while the SYN is not answered.
    pub(super) is_connecting: bool,
}

/// `TCP_ESTABLISHED` of the kernel, which UDP uses for a socket with a peer.
const ESTABLISHED: &str = "01";
/// `TCP_SYN_SENT`.
const SYN_SENT: &str = "02";

/// The sockets of a table that are connected or connect.
pub(super) fn connected(table: &str) -> impl Iterator<Item = Socket> {
    table.lines().skip(1).filter_map(|line| {
        // sl local_address rem_address st queues timer retransmits uid timeout inode
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let state = *fields.get(3)?;
        if ![ESTABLISHED, SYN_SENT].contains(&state) {
            return None;
        }
        Some(Socket {
            inode: fields.get(9)?.parse().ok()?,
            peer: address(fields.get(2)?)?,
            is_connecting: state == SYN_SENT,
        })
    })
}

/// `0100007F:01BB`: 32-bit words as they lie in memory, and the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = ip.as_bytes().chunks_exact(8).map(|word| {
        let word = std::str::from_utf8(word).ok()?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    });
    let words: Vec<[u8; 4]> = words.collect::<Option<_>>()?;
    let ip = match &words[..] {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn socket(line: &str) -> Option<(u64, String, bool)> {
        let table = format!("{HEAD}{line}\n");
        let socket = connected(&table).next()?;
        Some((socket.inode, socket.peer.to_string(), socket.is_connecting))
    }

    #[test]
    fn peers_are_read_in_both_families() {
        let v4 = "   0: 0100007F:8C2A 0700000A:01BB 02 00000000:00000000 00:00000000 00000000     0        0 99 1 0";
        assert_eq!(socket(v4), Some((99, "10.0.0.7:443".into(), true)));
        let v6 = "   1: 00000000000000000000000000000000:8C2A B80D0120000000000000000001000000:0016 01 0:0 0:0 0 0 0 7 1";
        assert_eq!(socket(v6), Some((7, "[2001:db8::1]:22".into(), false)));
        let mapped = "   1: 0:0 0000000000000000FFFF00000100007F:0050 01 0:0 0:0 0 0 0 8 1";
        assert_eq!(socket(mapped), Some((8, "127.0.0.1:80".into(), false)));
    }

    #[test]
    fn listeners_and_half_lines_are_none() {
        let listens = "   0: 0100007F:0035 00000000:0000 0A 0:0 0:0 0 0 0 99 1";
        assert_eq!(socket(listens), None);
        assert_eq!(socket("   0: 0100007F:0035 00000000"), None);
        assert_eq!(socket("   0: 0:0 0700:01BB 01 0:0 0:0 0 0 0 9 1"), None);
    }
}
