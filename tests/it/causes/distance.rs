//! A host that is far away: packets to it and from it take their time, whatever is in them.

use std::net::{IpAddr, Ipv4Addr};

use super::world::INTERNET;
use crate::support::*;

/// Leads to [`INTERNET`](super::world::INTERNET), the long way.
pub(super) const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10));

/// The network that leads there; without it, dropped.
pub(super) struct Distance {
    _carrier: Spawned,
}

impl Distance {
    /// Packets take so many milliseconds each way. `None`, with a line on stderr, where there is no
    /// TUN device or no Python.
    pub(super) fn of(millis: u32) -> Option<Self> {
        let mut python = program("python3");
        python.args(["-c", CARRY, &millis.to_string(), &INTERNET.to_string()]);
        let carrier = Spawned::start(python);
        match carrier.wait_for_stdout("\n").trim() {
            "ready" => Some(Self { _carrier: carrier }),
            why => {
                skipped(&format!("no network device of one's own here: {why}"));
                None
            }
        }
    }
}

/// Carries packets between a TUN device and the server, each after a delay.
///
/// The kernel has the server at an address of this machine, so that the client asks for another one,
/// and the server sees another client: one whose address makes up for the difference, so that all
/// checksums stay right.
const CARRY: &str = r#"
import fcntl, heapq, os, select, socket, struct, subprocess, sys, time
delay, server = float(sys.argv[1]) / 1000, socket.inet_aton(sys.argv[2])
client, far = socket.inet_aton("198.51.100.1"), socket.inet_aton("198.51.100.10")
words = lambda address: struct.unpack("!HH", address)
other = struct.pack("!HH", *(a + b - c for a, b, c in zip(words(client), words(far), words(server))))
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000
try:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"far", IFF_TUN | IFF_NO_PI))
except OSError as error:
    sys.exit(print(error))
for line in ["address add 198.51.100.1/24 dev far", "link set far up",
             "route add " + socket.inet_ntoa(other) + "/32 dev far"]:
    subprocess.run(["ip", *line.split()], check=True)
print("ready", flush=True)
due, number = [], 0
while True:
    wait = max(0, due[0][0] - time.monotonic()) if due else None
    if select.select([tun], [], [], wait)[0]:
        packet = os.read(tun, 65536)
        addresses = packet[12:20]
        if packet[0] >> 4 == 4 and addresses == client + far:
            packet = packet[:12] + other + server + packet[20:]
        elif packet[0] >> 4 == 4 and addresses == server + other:
            packet = packet[:12] + far + client + packet[20:]
        else:
            continue
        number += 1
        heapq.heappush(due, (time.monotonic() + delay, number, packet))
    while due and due[0][0] <= time.monotonic():
        os.write(tun, heapq.heappop(due)[2])
"#;
