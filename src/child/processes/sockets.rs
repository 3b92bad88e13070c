//! `/proc/PID/net/tcp`, `tcp6`, `udp` and `udp6` (proc_pid_net(5)): the peers of sockets.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
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

/// How much is read of a table, bytes: a hundred thousand sockets are 15 MB.
const TABLE: u64 = 32 << 20;

/// The ends of a TCP connection of modtape's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    /// Ours.
    pub(crate) local: SocketAddr,
    /// That of the peer.
    pub(crate) peer: SocketAddr,
}

/// How many bytes of each connection the peer's TCP does not acknowledge although they were sent more
/// than once; 0 if it has acknowledged all. A connection in between, or that is not there, has none.
///
/// Reads the tables of modtape's own network, which may take long where there are many connections: not
/// for a thread that has something else to do. Without a `/proc` nothing is known.
pub(crate) fn unacknowledged(wanted: &HashSet<Ends>) -> HashMap<Ends, u64> {
    let mut found = HashMap::new();
    for path in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        if let Ok(table) = File::open(path) {
            look_up(wanted, BufReader::new(table.take(TABLE)), &mut found);
        }
    }
    found
}

/// Reads a table once, for all connections that are wanted.
fn look_up(wanted: &HashSet<Ends>, mut table: impl BufRead, found: &mut HashMap<Ends, u64>) {
    let mut line = String::new();
    // What is no text is no table.
    while found.len() < wanted.len() && table.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(7).collect();
        if let Some((ends, bytes)) = connection(&fields)
            && wanted.contains(&ends)
            && let Some(bytes) = bytes
        {
            found.insert(ends, bytes);
        }
        line.clear();
    }
}

/// The ends of a line's connection, and how much of it is unacknowledged, if that can be told.
fn connection(fields: &[&str]) -> Option<(Ends, Option<u64>)> {
    let ends = Ends {
        local: address(fields.get(1)?)?,
        peer: address(fields.get(2)?)?,
    };
    Some((ends, queued(fields)))
}

fn queued(fields: &[&str]) -> Option<u64> {
    let (unacknowledged, _) = fields.get(4)?.split_once(':')?;
    let bytes = u64::from_str_radix(unacknowledged, 16).ok()?;
    // Another timer waits for the peer's window to open: the peer lives.
    let is_resent = fields.get(5)?.starts_with(RETRANSMISSION);
    let times = u32::from_str_radix(fields.get(6)?, 16).ok()?;
    (bytes == 0 || (is_resent && times > 0)).then_some(bytes)
}

/// The timer that sends again what is not acknowledged.
const RETRANSMISSION: &str = "01:";

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
    fn what_was_sent_again_in_vain_is_not_acknowledged() {
        let [local, peer] = ["127.0.0.1:35882", "10.0.0.7:443"].map(|end| end.parse().unwrap());
        let unacknowledged = |sent: &str| {
            let line = format!("   0: 0100007F:8C2A 0700000A:01BB 01 {sent} 0 0 99 1 0\n");
            let (there, back) = (
                Ends { local, peer },
                Ends {
                    local: peer,
                    peer: local,
                },
            );
            let mut found = HashMap::new();
            let table = format!("{HEAD}{line}{HEAD}");
            look_up(&[there, back].into(), table.as_bytes(), &mut found);
            assert_eq!(found.get(&back), None);
            found.get(&there).copied()
        };
        for (sent, expected) in [
            ("00000064:00000000 01:00000017 00000003", Some(100)),
            ("00000000:00000000 00:00000000 00000000", Some(0)),
            // On its way still, and held back by the peer's window.
            ("00000064:00000000 01:00000017 00000000", None),
            ("00000064:00000000 04:00000017 00000002", None),
            ("x:0 01:0 0", None),
            ("", None),
        ] {
            assert_eq!(unacknowledged(sent), expected, "{sent}");
        }
    }

    #[test]
    fn listeners_and_half_lines_are_none() {
        let listens = "   0: 0100007F:0035 00000000:0000 0A 0:0 0:0 0 0 0 99 1";
        assert_eq!(socket(listens), None);
        assert_eq!(socket("   0: 0100007F:0035 00000000"), None);
        assert_eq!(socket("   0: 0:0 0700:01BB 01 0:0 0:0 0 0 0 9 1"), None);
    }
}
