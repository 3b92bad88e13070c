//! What a command leaves running, or what is left of it: its connections end with the recorder, and it gets no
//! others.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use rustix::process::Signal;

use super::*;

/// Starts a daemon, as daemon(3) does, which holds a connection; ends once that stands. The daemon tells, when
/// asked to, what became of it, and of what it tries then.
const DAEMON: &str = r#"
import os, socket, sys
os.mkfifo('go'); os.mkfifo('told')
read, write = os.pipe()
if os.fork() != 0:
    os.close(write)
    sys.exit(0 if os.read(read, 1) == b'y' else 1)
os.setsid()
if os.fork() != 0:
    os._exit(0)
null = os.open('/dev/null', os.O_RDWR)
for stream in (0, 1, 2):
    os.dup2(null, stream)
held = socket.create_connection(('203.0.113.12', 9418), 20)
held.sendall(b'HELLO')
held.recv(2)
os.write(write, b'y')
os.close(write)

def attempt(family, kind, place):
    client = socket.socket(family, kind)
    client.settimeout(20)
    try:
        client.connect(place)
        client.send(b'x')
        client.recv(1)
        return 'answered'
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))

import errno
open('go').read()
told = []
try:
    told.append('ended' if held.recv(1) == b'' else 'more')
except ConnectionError:
    told.append('ended')
except OSError as error:
    told.append(str(error))
told.append(attempt(socket.AF_INET, socket.SOCK_STREAM, ('203.0.113.7', 443)))
told.append(attempt(socket.AF_INET6, socket.SOCK_STREAM, ('2001:db8::7', 443)))
told.append(attempt(socket.AF_INET, socket.SOCK_STREAM, ('9.9.9.9', 53)))
told.append(attempt(socket.AF_INET, socket.SOCK_DGRAM, ('9.9.9.9', 53)))
told.append(attempt(socket.AF_INET, socket.SOCK_DGRAM, ('203.0.113.7', 443)))
try:
    socket.getaddrinfo('proxy.golang.org', 443)
    told.append('resolved')
except OSError:
    told.append('not resolved')
open('told', 'w').write(' '.join(told))
"#;

/// How the recorder leaves the daemon alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The command has ended.
    Command,
    /// Somebody killed the recorder, and the command goes on.
    Killed,
}

#[test]
fn what_outlives_the_recorder_is_cut_off() {
    let name = "netns::daemons::what_outlives_the_recorder_is_cut_off";
    in_a_world(name, || {
        if !has_program("nft") || !has_program("python3") {
            return skipped(&format!("no nft or python3: {name}"));
        }
        sh(COUNTER);
        for end in [End::Command, End::Killed] {
            for user in USERS {
                is_cut_off(user, end);
            }
        }
    });
}

fn is_cut_off(user: User, end: End) {
    let sandbox = Sandbox::new();
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("it is bound").port();
    let everywhere = format!("--connect-to=::127.0.0.1:{port}");
    std::fs::write(sandbox.join("daemon.py"), DAEMON).expect("our own folder");
    let serving = std::thread::spawn(move || {
        let (mut connection, _) = server.accept().expect("the daemon connects");
        let mut heard = [0; 5];
        connection.read_exact(&mut heard).expect("it speaks");
        connection.write_all(b"ok").expect("it listens");
        // Until it ends, in order or not.
        let _ = connection.read_to_end(&mut Vec::new());
        (server, heard)
    });
    let script = "python3 daemon.py && echo started && exec $0";
    let then = match end {
        End::Command => "true",
        End::Killed => "sleep 600",
    };
    let flags = ["record", "--netns", "-o", "one", &everywhere];
    let args = [&flags[..], &["--", "sh", "-c", script, then]].concat();
    let modtape = Spawned::start(user.modtape(&sandbox, &args));
    modtape.wait_for_stdout("started");
    let running = match end {
        End::Command => {
            modtape.end().expect_success();
            None
        }
        End::Killed => {
            modtape.signal(Signal::KILL);
            Some(modtape)
        }
    };
    let (server, heard) = serving.join().expect("it served");
    assert_eq!(&heard, b"HELLO");
    let mut ask = sandbox.command("sh");
    ask.args(["-c", "echo go >go && cat told"]);
    let told = run(ask, LIMIT).expect_success().stdout;
    let refused = ["ECONNREFUSED"; 5].join(" ");
    assert_eq!(
        told,
        format!("ended {refused} not resolved"),
        "{user:?} {end:?}"
    );
    assert_eq!(passed("other"), 0, "{user:?} {end:?}");
    // Nobody else came.
    server.set_nonblocking(true).expect("a socket");
    assert!(server.accept().is_err());
    drop(running);
    let recording = Recording::open(&sandbox.join("recordings/one"));
    let recording = recording.unwrap_or_else(|error| panic!("{error}"));
    let dials = recording.connections().flat_map(ConnectionRow::dials);
    let targets: Vec<_> = dials.map(|opened| &*opened.target).collect();
    assert_eq!(targets, ["203.0.113.12:9418"], "{user:?} {end:?}");
    if end == End::Command {
        let packets = recording.manifest().packets.expect("they are counted");
        assert_eq!(packets.left, 0);
    }
}
