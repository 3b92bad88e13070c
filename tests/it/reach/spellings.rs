//! However a private target is spelled: from other machines it is not reached unless it was named.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::support::{Client, Origin, Recorder, Sandbox, alone, program};
use super::{Canary, SHOWN, TOKEN, status};

/// Spellings of this machine and of what only it can reach; `P` is the canary's port.
const SPELLINGS: [&str; 78] = [
    // This machine.
    "127.0.0.1:P",
    "127.0.0.1.:P",
    "127.0.0.2:P",
    "127.255.255.254:P",
    "127.1:P",
    "127.0.1:P",
    "127.0.0.1..:P",
    "2130706433:P",
    "2130706433.:P",
    "0x7f000001:P",
    "0x7F000001:P",
    "0x7f.0.0.1:P",
    "0x7f.1:P",
    "0x0000007f.0x1:P",
    "0177.0.0.1:P",
    "00000177.0.0.01:P",
    "0177.1:P",
    "017700000001:P",
    "127.0x0.0.01:P",
    "0:P",
    "0.0.0.0:P",
    "0x0:P",
    "00:P",
    "0.0:P",
    "localhost:P",
    "localhost.:P",
    "localhost..:P",
    "LOCALHOST:P",
    "LocalHost.:P",
    "x.localhost:P",
    "localhost.localdomain:P",
    "ip6-localhost:P",
    "[::1]:P",
    "[0:0:0:0:0:0:0:1]:P",
    "[0000::0001]:P",
    "[::]:P",
    "[0::0]:P",
    "[::1%lo]:P",
    "[::1%25lo]:P",
    "[::1%1]:P",
    "[::ffff:127.0.0.1]:P",
    "[::FFFF:7F00:1]:P",
    "[0:0:0:0:0:ffff:127.0.0.1]:P",
    "[::ffff:0.0.0.0]:P",
    "[::ffff:0:7f00:1]:P",
    "[::127.0.0.1]:P",
    "[::7f00:1]:P",
    "[64:ff9b::7f00:1]:P",
    "[64:ff9b:1::7f00:1]:P",
    "[2002:7f00:1::]:P",
    "[2001:0:7f00:1::]:P",
    "[127.0.0.1]:P",
    "[[::1]]:P",
    "::1:P",
    "127\u{3002}0\u{3002}0\u{3002}1:P",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1:P",
    "\u{24db}ocalhost:P",
    "xn--127-ee9a.0.0.1:P",
    "%31%32%37.0.0.1:P",
    "127.0.0.1%00:P",
    "a.example@127.0.0.1:P",
    "a.example:80@127.0.0.1:P",
    "127.0.0.1:P@a.example:P",
    "127.0.0.1 :P",
    "127.0.0.1: P",
    "127.0.0.1:+P",
    "127.0.0.1:0P",
    ":P",
    "127.0.0.1:0",
    // What this machine's network has, a cloud's metadata among it.
    "169.254.169.254:P",
    "0xa9fea9fe:P",
    "[fd00:ec2::254]:P",
    "10.1.2.3:P",
    "192.168.7.7:P",
    "100.100.100.200:P",
    "198.18.0.9:P",
    // An address of this machine that is not private at all.
    "203.0.114.9:P",
    // A name that has a public address and this machine's.
    "mixed.example:P",
];

/// What the machine answers to besides loopback.
const ADDRESSES: [&str; 7] = [
    "169.254.169.254/32",
    "fd00:ec2::254/128",
    "10.1.2.3/32",
    "192.168.7.7/32",
    "100.100.100.200/32",
    "198.18.0.9/32",
    "203.0.114.9/32",
];

const HOSTS: &str = "127.0.0.1 localhost localhost.localdomain intranet.example mixed.example\n\
    203.0.115.1 mixed.example\n::1 ip6-localhost\n";

#[test]
fn no_spelling_of_a_private_target_is_reached_from_other_machines() {
    let name = "reach::spellings::no_spelling_of_a_private_target_is_reached_from_other_machines";
    alone(name, || {
        let sandbox = settle();
        let canary = Canary::at("[::]:0");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let root = Origin::start(Default::default());
            let token = format!("--token={TOKEN}");
            let pem = root.root_pem_path();
            // On loopback the rule does not hold: so many of the spellings do lead here.
            let open = Recorder::trusting(pem, &[]);
            let (reached, _) = tried(&open, &canary).await;
            open.finish().await;
            assert!(
                reached.len() >= 40,
                "only {} lead here: {reached:#?}",
                reached.len()
            );
            for listen in ["--listen=0.0.0.0", "--listen=[::]"] {
                let closed = Recorder::trusting(pem, &[listen, &token]);
                let (reached, unanswered) = tried(&closed, &canary).await;
                closed.finish().await;
                assert!(reached.is_empty(), "{listen}: {reached:#?}");
                assert!(unanswered.is_empty(), "{listen}: {unanswered:#?}");
            }
        });
        drop(sandbox);
    });
}

#[test]
fn what_the_user_named_is_reached_and_a_name_is_resolved_once() {
    let name = "reach::spellings::what_the_user_named_is_reached_and_a_name_is_resolved_once";
    alone(name, || {
        let sandbox = settle();
        let canary = Canary::at("[::]:0");
        let port = canary.addr.port();
        let dns = Dns::start();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let root = Origin::start(Default::default());
            let resolve = format!("--resolve=given.example:{port}:127.0.0.1");
            let connect = format!("--connect-to=moved.example::127.0.0.1:{port}");
            let flags = [
                "--listen=0.0.0.0",
                &format!("--token={TOKEN}"),
                "--tunnel=intranet.example,10.1.2.3",
                "--intercept=mixed.example",
                &resolve,
                &connect,
            ];
            let recorder = Recorder::trusting(root.root_pem_path(), &flags);
            let mut wrong = Vec::new();
            for (target, expected) in [
                (format!("intranet.example:{port}"), 200),
                (format!("INTRANET.example.:{port}"), 200),
                (format!("mixed.example:{port}"), 200),
                (format!("10.1.2.3:{port}"), 200),
                (format!("[::ffff:10.1.2.3]:{port}"), 502),
                (format!("given.example:{port}"), 200),
                (String::from("given.example:1"), 502),
                (String::from("moved.example:443"), 200),
                (format!("x.intranet.example:{port}"), 502),
                (format!("localhost:{port}"), 502),
            ] {
                let client = Client::open(recorder.proxy()).await;
                let connected = client.connect(&target, &[SHOWN]).await;
                if connected.status != expected {
                    wrong.push(format!("{target}: {}", connected.head));
                }
            }
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
            let (visits, target) = (canary.visits(), format!("rebound.example:{port}"));
            let client = Client::open(recorder.proxy()).await;
            let connected = client.connect(&target, &[SHOWN]).await;
            assert_eq!(connected.status, 502, "{}", connected.head);
            assert_eq!(dns.questions.load(Ordering::SeqCst), 1);
            // The second time the name leads here.
            let client = Client::open(recorder.proxy()).await;
            let connected = client.connect(&target, &[SHOWN]).await;
            assert_eq!(connected.status, 502, "{}", connected.head);
            let told = "127.0.0.1 is loopback, and modtape accepts clients from other machines";
            assert!(connected.reason.contains(told), "{}", connected.reason);
            assert_eq!(dns.questions.load(Ordering::SeqCst), 2);
            assert_eq!(canary.visits(), visits);
            recorder.finish().await;
        });
        drop(sandbox);
    });
}

/// Addresses, a hosts file and a resolver of our own.
fn settle() -> Sandbox {
    let sandbox = Sandbox::new();
    let (hosts, resolv) = (sandbox.join("hosts"), sandbox.join("resolv.conf"));
    std::fs::write(&hosts, HOSTS).expect("our own folder");
    let nameserver = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
    std::fs::write(&resolv, nameserver).expect("our own folder");
    let do_it = |name: &str, args: &[&str]| {
        let done = program(name).args(args).status();
        assert!(done.expect("it can be run").success(), "{name} {args:?}");
    };
    for (from, to) in [(&hosts, "/etc/hosts"), (&resolv, "/etc/resolv.conf")] {
        do_it("mount", &["--bind", &from.to_string_lossy(), to]);
    }
    for address in ADDRESSES {
        do_it("ip", &["address", "add", address, "dev", "lo"]);
    }
    sandbox
}

/// The spellings that led to the canary, each by CONNECT and as a URL; and those that got no answer.
async fn tried(recorder: &Recorder, canary: &Canary) -> (Vec<String>, Vec<String>) {
    let (mut reached, mut unanswered) = (Vec::new(), Vec::new());
    let (name, value) = SHOWN;
    for spelling in SPELLINGS {
        let target = spelling.replace('P', &canary.addr.port().to_string());
        for line in [
            format!("CONNECT {target} HTTP/1.1"),
            format!("GET http://{target}/ HTTP/1.1"),
        ] {
            let visits = canary.visits();
            let head =
                format!("{line}\r\nHost: {target}\r\nConnection: close\r\n{name}: {value}\r\n\r\n");
            let mut client = Client::open(recorder.proxy()).await;
            client.send(head).await.expect("the proxy takes a head");
            let answer = client.read_head().await.unwrap_or_default();
            if canary.visits() > visits || status(&answer) == 200 {
                reached.push(line);
            } else if !(400..600).contains(&status(&answer)) {
                unanswered.push(format!("{line}: {answer}"));
            }
        }
    }
    (reached, unanswered)
}

/// A resolver that knows every name here; only `rebound` is elsewhere when it is asked first.
struct Dns {
    /// How often it was asked for `rebound`.
    questions: Arc<AtomicUsize>,
}

impl Dns {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").expect("a network of our own");
        let questions = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&questions);
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                let answer = answer(&query[..length], &count);
                // Who does not wait for it has gone.
                let _ = socket.send_to(&answer, client);
            }
        });
        Self { questions }
    }
}

/// RFC 1035 section 4: one A record, or none for another type.
fn answer(query: &[u8], count: &AtomicUsize) -> Vec<u8> {
    let name = query[12..].iter().position(|&byte| byte == 0);
    let end = 12 + name.expect("a name ends") + 5;
    let is_a = query[end - 4..end] == [0, 1, 0, 1];
    let records = u8::from(is_a);
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, records, 0, 0, 0, 0]);
    answer.extend(&query[12..end]);
    if is_a {
        let first =
            query[12..].starts_with(b"\x07rebound") && count.fetch_add(1, Ordering::SeqCst) == 0;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(if first {
            [203, 0, 115, 1]
        } else {
            [127, 0, 0, 1]
        });
    }
    answer
}
