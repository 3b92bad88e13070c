//! A command that tries to get past modtape, by every way that it can think of.

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use serde_json::Value;

use super::*;

/// Tries each way out, and tells which TCP connections it opened. `PORT` is a port of the host that it may
/// reach, `FOREIGN` one that it may not.
const ESCAPES: &str = r#"
import json, os, socket, ssl, struct, sys
opened, told = [], {}

def tcp(host, port, say=b'HELLO\r\n', family=None, protocol=0):
    family = family or (socket.AF_INET6 if ':' in host else socket.AF_INET)
    client = socket.socket(family, socket.SOCK_STREAM, protocol)
    client.settimeout(20)
    try:
        client.connect((host, port))
    except ConnectionResetError:
        pass
    opened.append(f'[{host}]:{port}' if ':' in host else f'{host}:{port}')
    try:
        client.sendall(say)
        return client.recv(100)
    except OSError:
        return b''

def tls(host, port, name):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = socket.create_connection((host, port), 20)
    # The name that it sends is the one that is told.
    opened.append(f'{name or host}:{port}')
    try:
        with context.wrap_socket(client, server_hostname=name) as client:
            client.sendall(b'GET /dns-query HTTP/1.1\r\nHost: x\r\n\r\n')
            client.recv(100)
    except OSError:
        pass

def query(name, kind):
    words = b''.join(bytes([len(word)]) + word.encode() for word in name.split('.'))
    return struct.pack('!6H', 7, 0x100, 1, 0, 0, 0) + words + struct.pack('!BHH', 0, kind, 1)

def udp(host, port, say=b'x'):
    client = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(20)
    try:
        client.connect((host, port))
        client.send(say)
        return client.recv(512)
    except OSError as error:
        return error.errno

# A raw address, in both families and through the other's sockets.
tcp('203.0.113.7', 443)
tcp('2001:db8::7', 443)
tcp('203.0.113.8', 80, b'GET / HTTP/1.1\r\nHost: 203.0.113.8\r\n\r\n')
client = socket.socket(socket.AF_INET6)
client.connect(('::ffff:203.0.113.9', 443))
opened.append('203.0.113.9:443')
client.close()
tls('203.0.113.10', 443, None)
try:
    tcp('203.0.113.11', 22, protocol=262)
except OSError:
    pass
# An address that a name could have, and none has.
tcp('198.18.77.7', 443)
# Resolvers of its own.
over_udp = udp('9.9.9.9', 53, query('proxy.golang.org', 1))
told['v4'] = socket.inet_ntoa(over_udp[-4:])
over_udp = udp('2620:fe::fe', 53, query('proxy.golang.org', 28))
told['v6'] = socket.inet_ntop(socket.AF_INET6, over_udp[-16:])
with socket.create_connection(('8.8.8.8', 53), 20) as client:
    asked = query('proxy.golang.org', 1)
    client.sendall(struct.pack('!H', len(asked)) + asked)
    told['tcp'] = socket.inet_ntoa(client.recv(512)[-4:])
tls('1.1.1.1', 443, 'cloudflare-dns.com')
tls('1.1.1.1', 853, 'one.one.one.one')
# QUIC, and other datagrams.
told['quic'] = [udp('203.0.113.7', 443), udp('2001:db8::7', 443)]
told['ntp'] = udp('203.0.113.7', 123)
told['multicast'] = udp('224.0.0.251', 5353)
# The host's loopback.
told['host'] = tcp('127.0.0.1', int(sys.argv[1]), b'GET / HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n\r\n' % sys.argv[1].encode())[:8].decode()
try:
    tcp('127.0.0.1', int(sys.argv[2]))
    told['foreign'] = 'reached'
except OSError as error:
    told['foreign'] = error.errno
# A socket of the host that has no file.
told['abstract'] = socket.socket(socket.AF_UNIX).connect_ex('\0modtape escapes')
# A daemon: another session, and nobody's child.
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        tcp('203.0.113.12', 9418)
        os.write(write, b'done')
    os._exit(0)
os.close(write)
os.read(read, 4)
opened.append('203.0.113.12:9418')
json.dump({'opened': opened, 'told': told}, open('told.json', 'w'))
"#;

/// The targets of all connections that were recorded, with what became of them.
fn targets(recording: &Recording) -> BTreeSet<String> {
    let dials = recording.connections().flat_map(ConnectionRow::dials);
    dials
        .filter(|opened| {
            let modes = [Mode::Intercept, Mode::Plain, Mode::Tunnel, Mode::Refuse];
            modes.contains(&opened.mode)
        })
        .map(|opened| opened.target.clone())
        .collect()
}

#[test]
fn each_way_out_ends_at_modtape_and_no_packet_passes_it() {
    let name = "netns::escapes::each_way_out_ends_at_modtape_and_no_packet_passes_it";
    in_a_world(name, || {
        if !has_program("nft") || !has_program("python3") {
            return skipped(&format!("no nft or python3: {name}"));
        }
        sh(COUNTER);
        let abstract_name = SocketAddr::from_abstract_name("modtape escapes");
        let abstract_socket = UnixListener::bind_addr(&abstract_name.expect("a name"));
        let _abstract_socket = abstract_socket.expect("nobody has that name");
        for user in USERS {
            let sandbox = Sandbox::new();
            let content = Content::files([(("127.0.0.1", "/"), (200, "text/plain", "out"))]);
            let at = std::net::SocketAddr::from(([192, 0, 2, 254], 0));
            let origin = Origin::builder(content).at(at).start();
            let foreign = Origin::start(Content::default());
            let ports = [&origin, &foreign].map(|origin| origin.addr().port().to_string());
            let [everywhere, root] = to(&origin, &sandbox);
            fs::write(sandbox.join("escapes.py"), ESCAPES).expect("our own folder");
            let script = "NO_PROXY=* no_proxy=* curl -sS https://proxy.golang.org/a -o /dev/null; \
                exec python3 escapes.py \"$0\" \"$1\"";
            let command = ["--", "sh", "-c", script, &ports[0], &ports[1]];
            let flags = ["--host-port", &ports[0], &everywhere, &root];
            let args = [&["record", "--netns", "-o", "one"][..], &flags, &command].concat();
            let output = run(user.modtape(&sandbox, &args), LIMIT).expect_success();
            let told = fs::read_to_string(sandbox.join("told.json")).expect("it ran to its end");
            let told: Value = serde_json::from_str(&told).expect("JSON");
            let recording = recorded(&sandbox, "one");
            let recorded = targets(&recording);
            for opened in told["opened"].as_array().expect("a list") {
                let opened = opened.as_str().expect("text");
                assert!(
                    recorded.contains(opened),
                    "{user:?}: {opened} of {recorded:?}"
                );
            }
            let told = &told["told"];
            assert_eq!(told["v4"], told["tcp"]);
            assert!(
                told["v4"]
                    .as_str()
                    .is_some_and(|ip| ip.starts_with("198.18.")),
                "{told}"
            );
            assert!(
                told["v6"].as_str().is_some_and(|ip| ip.starts_with("fd")),
                "{told}"
            );
            // ECONNREFUSED
            assert_eq!(told["quic"], serde_json::json!([111, 111]));
            assert_eq!((&told["ntp"], &told["foreign"]), (&111.into(), &111.into()));
            assert_eq!(told["host"], "HTTP/1.1");
            assert_eq!(told["abstract"], 111);
            let asked: Vec<_> = recording.rows().iter().map(|row| row.url.clone()).collect();
            assert!(
                asked.contains(&String::from("https://proxy.golang.org/a")),
                "{asked:?}"
            );
            let packets = recording.manifest().packets.expect("they are counted");
            assert_eq!((packets.left, packets.quic), (0, 2), "{packets:?}");
            assert_eq!((packets.udp, packets.other), (2, 0), "{packets:?}");
            assert_eq!(
                (foreign.connections(), passed("other")),
                (0, 0),
                "{}",
                output.stderr
            );
            let sent = passed("modtape");
            assert!(sent > 0, "modtape's own are not counted");

            // In a replay nothing is dialled at all.
            fs::remove_file(sandbox.join("told.json")).expect("it was there");
            let before = origin.connections();
            let args = [
                &["replay", "one", "--netns", "--host-port", &ports[0]][..],
                &command,
            ]
            .concat();
            let output = run(user.modtape(&sandbox, &args), LIMIT).expect_success();
            assert!(
                output.stderr.contains("0 packets left"),
                "{}",
                output.stderr
            );
            assert!(sandbox.join("told.json").exists(), "{}", output.stderr);
            assert_eq!(origin.connections(), before);
            assert_eq!((passed("modtape"), passed("other")), (sent, 0));
        }
        // The counter counts: the same without a namespace.
        let sandbox = Sandbox::new();
        fs::write(sandbox.join("escapes.py"), ESCAPES).expect("our own folder");
        let mut direct = sandbox.command("sh");
        direct.args(["-c", "timeout 5 python3 escapes.py 1 2"]);
        run(direct, LIMIT);
        assert!(passed("other") > 0);
    });
}

#[test]
fn name_services_of_the_host_are_not_asked() {
    let name = "netns::escapes::name_services_of_the_host_are_not_asked";
    in_a_world(name, || {
        if !has_program("python3") {
            return skipped(&format!("no python3: {name}"));
        }
        // A /run of the test's own, in its own mounts.
        sh("mount -t tmpfs none /run && mkdir -p /run/nscd /run/systemd/resolve /run/avahi-daemon");
        let sockets = [
            "/run/nscd/socket",
            "/run/systemd/resolve/io.systemd.Resolve",
            "/run/avahi-daemon/socket",
        ];
        let listeners = sockets.map(|socket| {
            let listener = UnixListener::bind(socket).expect("our own folder");
            let everybody = fs::Permissions::from_mode(0o777);
            fs::set_permissions(socket, everybody).expect("our own socket");
            listener
        });
        let script = "python3 -c 'import socket, sys; \
            print([socket.socket(socket.AF_UNIX).connect_ex(path) for path in sys.argv[1:]])' \"$@\"; \
            test -e /run/nscd";
        let command = [&["sh", "-c", script, "sh"][..], &sockets].concat();
        for user in USERS {
            let sandbox = Sandbox::new();
            let mut direct = sandbox.command(command[0]);
            direct.args(&command[1..]);
            assert_eq!(run(direct, LIMIT).expect_success().stdout, "[0, 0, 0]\n");
            let args = [&["record", "--netns", "-o", "one", "--"][..], &command].concat();
            let output = run(user.modtape(&sandbox, &args), LIMIT).expect_success();
            // ECONNREFUSED: nobody listens.
            assert_eq!(output.stdout, "[111, 111, 111]\n", "{user:?}");
        }
        drop(listeners);
    });
}
