//! How a redirected connection begins, and what becomes of it.

use std::fs;
use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use modtape::exchange::Mode;
use modtape::proxy::Deadlines;
use modtape::recording::Recording;
use modtape::recording::reader::ConnectionRow;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::support::resolver::{Name, Resolver};
use super::super::support::*;
use super::{REDIRECT, REMOTE, has_rules, names, sh, text};

const HOST: &str = "proxy.golang.org";

/// Redirects what goes to the remote address, but for marked connections, to this port.
fn redirect(to: SocketAddr) {
    let port = to.port();
    sh(&format!(
        "nft add table ip test
         nft 'add chain ip test output {{ type nat hook output priority -100; }}'
         nft add rule ip test output meta mark 0x6d74 return
         nft add rule ip test output ip daddr {REMOTE} meta l4proto tcp redirect to :{port}"
    ));
}

pub(super) fn here(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test);
}

#[test]
fn a_listed_host_is_intercepted_at_the_address_that_the_kernel_knows() {
    let name = "transparent::session::\
        a_listed_host_is_intercepted_at_the_address_that_the_kernel_knows";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        let content = Content::files([((HOST, "/a"), (200, "text/plain", "from there"))]);
        let at = format!("{REMOTE}:443").parse().expect("an address");
        let origin = Origin::builder(content).at(at).start();
        here(async {
            let mut inside =
                Inside::redirected(HOST, (at, origin.root()), Deadlines::default()).await;
            redirect(inside.proxy);
            let client = Client::open(at).await;
            let client = client
                .handshake(&inside.hello(HOST))
                .await
                .expect("a leaf of ours");
            let mut session = client.into_session().await.expect("HTTP");
            let response = session.get("/a").await.expect("a response");
            assert_eq!(response.body, b"from there");
            drop(session);
            let recording = inside.finish().await;
            let rows = recording.rows();
            assert_eq!(rows.len(), 1);
            assert_eq!(rows[0].url, format!("https://{HOST}/a"));
            let opened: Vec<_> = recording
                .connections()
                .flat_map(ConnectionRow::dials)
                .collect();
            assert_eq!(opened.len(), 1, "{opened:#?}");
            assert_eq!(opened[0].mode, Mode::Intercept);
            assert_eq!(opened[0].target, format!("{HOST}:443"));
            assert!(notes(&recording).is_empty());
            let upstream = opened[0].upstream.as_ref().expect("it was dialled");
            assert_eq!(upstream.addr.as_deref(), Some("192.0.2.1:443"));
        });
    });
}

/// What is said of the names that clients sent.
fn notes(recording: &Recording) -> Vec<&str> {
    let closed = recording
        .connections()
        .filter_map(|row| row.closed.as_ref());
    closed.filter_map(|closed| closed.note.as_deref()).collect()
}

#[test]
fn no_request_waits_for_a_resolver_that_is_asked_about_its_name() {
    let name = "transparent::session::no_request_waits_for_a_resolver_that_is_asked_about_its_name";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        // What it is asked waits in its queue.
        let resolver = UdpSocket::bind("127.0.0.1:53").expect("a network of our own");
        let sandbox = Sandbox::new();
        let resolv = sandbox.join("resolv.conf");
        let nameserver = "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n";
        fs::write(&resolv, nameserver).expect("our own folder");
        sh(&format!("mount --bind {} /etc/resolv.conf", text(&resolv)));
        let content = Content::files([((HOST, "/a"), (200, "text/plain", "from there"))]);
        let origin = Origin::builder(content).at(https()).start();
        // The test says where the host leads at another port, and not at this one.
        let other = SocketAddr::new(https().ip(), 1);
        here(async {
            let deadlines = Deadlines {
                name_lookup: LIMIT,
                ..Deadlines::default()
            };
            let mut inside = Inside::redirected(HOST, (other, origin.root()), deadlines).await;
            redirect(inside.proxy);
            for _ in 0..3 {
                let client = Client::open(https()).await;
                let client = client
                    .handshake(&inside.hello(HOST))
                    .await
                    .expect("a leaf of ours");
                let mut session = client.into_session().await.expect("HTTP");
                let response = session.get("/a").await.expect("a response");
                assert_eq!(response.body, b"from there");
            }
            let known = Name::at([[192, 0, 2, 77].into()]);
            let _resolver = Resolver::on(resolver, [(HOST, known)]);
            let recording = inside.finish().await;
            let note = format!(
                "modtape's resolver says that {HOST} leads to 192.0.2.77, and not to {REMOTE}, to which the client connected"
            );
            assert_eq!(notes(&recording), [&note[..]; 3]);
        });
    });
}

#[test]
fn a_server_that_speaks_first_is_relayed_at_once() {
    let name = "transparent::session::a_server_that_speaks_first_is_relayed_at_once";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        here(async {
            let server = TcpListener::bind((REMOTE, 22))
                .await
                .expect("our own network");
            let root = TestRoot::new();
            let at = server.local_addr().expect("it is bound");
            let mut inside = Inside::redirected(HOST, (at, &root), Deadlines::default()).await;
            redirect(inside.proxy);
            let serving = async {
                let (mut stream, _) = server.accept().await.expect("a client");
                stream.write_all(b"220 hello\r\n").await.expect("a reader");
                let mut said = String::new();
                stream.read_to_string(&mut said).await.expect("text");
                assert_eq!(said, "QUIT\r\n");
                stream.write_all(b"221 bye\r\n").await.expect("a reader");
            };
            let asking = async {
                let mut stream = TcpStream::connect(at).await.expect("it listens");
                let mut banner = [0; 11];
                stream.read_exact(&mut banner).await.expect("a banner");
                assert_eq!(&banner, b"220 hello\r\n");
                stream.write_all(b"QUIT\r\n").await.expect("a reader");
                stream.shutdown().await.expect("it is open");
                let mut said = String::new();
                stream.read_to_string(&mut said).await.expect("text");
                assert_eq!(said, "221 bye\r\n");
            };
            within(async { tokio::join!(serving, asking) }).await;
            let recording = inside.finish().await;
            let opened: Vec<_> = recording
                .connections()
                .flat_map(ConnectionRow::dials)
                .collect();
            assert_eq!(opened.len(), 1, "{opened:#?}");
            assert_eq!(
                (opened[0].mode, &opened[0].target[..]),
                (Mode::Tunnel, "192.0.2.1:22")
            );
        });
    });
}

/// A recorder to which all connections of this user are redirected, but for its own.
fn recorder(root: &Path, flags: &[&str]) -> Recorder {
    scripted(root, flags, SCRIPT)
}

fn scripted(root: &Path, flags: &[&str], script: &'static str) -> Recorder {
    let wrapping = Wrapping {
        script: Some(script),
        ..Wrapping::default()
    };
    let flags = [&["--mode", "transparent"][..], flags].concat();
    Recorder::wrapped(root, &flags, &wrapping)
}

/// Tells the remote address in place of a proxy's.
const SCRIPT: &str = r#"/proc/$PPID/exe env nft --mode transparent --uid 0 | sh
    echo http://192.0.2.1:443; echo "$SSL_CERT_FILE"; exec cat >/dev/null"#;

/// Forgets to exempt modtape's own connections.
const LOOPING: &str = r#"/proc/$PPID/exe env nft --mode transparent --uid 0 | grep -v own | sh
    echo http://192.0.2.1:443; echo "$SSL_CERT_FILE"; exec cat >/dev/null"#;

/// Redirects nothing, and tells where modtape listens.
const DIRECT: &str = r#"rules=$(/proc/$PPID/exe env nft --mode transparent --uid 0)
    port=${rules##*redirect to :}; echo "http://127.0.0.1:${port%%[!0-9]*}"
    echo "$SSL_CERT_FILE"; exec cat >/dev/null"#;

/// An origin at the remote address, for any host, with `/a`.
fn origin() -> Origin {
    origin_with(|builder| builder)
}

pub(super) fn origin_with(set: impl FnOnce(OriginBuilder) -> OriginBuilder) -> Origin {
    let content = Content::files([((HOST, "/a"), (200, "text/plain", "from there"))]);
    set(Origin::builder(content).at(https())).start()
}

pub(super) fn https() -> SocketAddr {
    format!("{REMOTE}:443").parse().expect("an address")
}

#[test]
fn a_name_that_leads_elsewhere_is_said_and_vouches_for_nothing() {
    let name = "transparent::session::a_name_that_leads_elsewhere_is_said_and_vouches_for_nothing";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        let origin = origin();
        let flags = [format!("--resolve={HOST}:443:192.0.2.77")];
        let flags = flags.each_ref().map(String::as_str);
        here(async {
            let recorder = recorder(origin.root_pem_path(), &flags);
            let client = Client::open(https()).await;
            let client = client
                .handshake(&recorder.hello(HOST))
                .await
                .expect("a leaf of ours");
            let mut session = client.into_session().await.expect("HTTP");
            // Whoever has the certificate of that name may answer for it.
            assert_eq!(
                session.get("/a").await.expect("a response").body,
                b"from there"
            );
            drop(session);
            origin.add_handshake(Handshake::any().leaf(Leaf::WrongHost));
            let client = Client::open(https()).await;
            let client = client
                .handshake(&recorder.hello(HOST))
                .await
                .expect("a leaf of ours");
            let mut session = client.into_session().await.expect("HTTP");
            let refused = session.get("/a").await.expect("a response");
            assert_eq!(refused.status, 502);
            drop(session);
            let recorded = recorder.finish().await;
            let dials = recorded.opened();
            assert_eq!(dials.len(), 2, "{dials:#?}");
            for dial in dials {
                assert_eq!(dial.target, format!("{HOST}:443"));
                let tried = &dial.tries[0];
                assert_eq!(tried.addr, "192.0.2.1:443");
            }
            let note = "modtape's resolver says that proxy.golang.org leads to 192.0.2.77, and not to 192.0.2.1, to which the client connected";
            assert_eq!(notes(&recorded.recording), [note; 2]);
        });
    });
}

#[test]
fn a_loop_ends_within_one_hop_and_says_what_is_missing() {
    let name = "transparent::session::a_loop_ends_within_one_hop_and_says_what_is_missing";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        let origin = origin();
        here(async {
            let recorder = scripted(origin.root_pem_path(), &[], LOOPING);
            let client = Client::open(https()).await;
            let client = client
                .handshake(&recorder.hello(HOST))
                .await
                .expect("a leaf of ours");
            let mut session = client.into_session().await.expect("HTTP");
            let refused = session.get("/a").await.expect("a response");
            let text = String::from_utf8_lossy(&refused.body).into_owned();
            assert_eq!(refused.status, 502);
            assert!(text.contains("was redirected back to modtape"), "{text}");
            drop(session);
            let recorded = recorder.finish().await;
            let dials = recorded.opened();
            let modes: Vec<_> = dials.iter().map(|dial| dial.mode).collect();
            assert_eq!(modes, [Mode::Intercept, Mode::Refuse], "{dials:#?}");
            let error = dials[1].error.as_deref().unwrap_or_default();
            assert_eq!(
                error,
                "modtape's own connection to 192.0.2.1:443 was redirected back to it"
            );
        });
        assert_eq!(origin.connections(), 0);
    });
}

#[test]
fn who_connects_directly_is_told_that_nothing_redirected_it() {
    let name = "transparent::session::who_connects_directly_is_told_that_nothing_redirected_it";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        let origin = origin();
        here(async {
            let recorder = scripted(origin.root_pem_path(), &[], DIRECT);
            let own = recorder.proxy();
            let told = "nothing redirected this connection";
            let refused = Client::open(own)
                .await
                .connect("proxy.golang.org:443", &[])
                .await;
            assert_eq!(refused.status, 400);
            assert!(refused.reason.contains(told), "{}", refused.reason);
            let mut plain = Client::open(own).await;
            plain
                .send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .await
                .expect("it listens");
            let (answer, _) = plain.read_to_end().await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.contains(told), "{answer}");
            let client = Client::open(own).await;
            let refused = client.handshake(&recorder.hello(HOST)).await.err();
            let refused = refused.expect("no leaf").to_string();
            assert!(refused.contains("AccessDenied"), "{refused}");
            let recorded = recorder.finish().await;
            for dial in recorded.opened() {
                assert_eq!(dial.mode, Mode::Refuse);
                assert!(dial.error.is_some_and(|error| error.contains(told)));
            }
        });
        assert_eq!(origin.connections(), 0);
    });
}

#[test]
fn five_hundred_connections_at_once_are_each_recorded() {
    let name = "transparent::session::five_hundred_connections_at_once_are_each_recorded";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        let origin = origin();
        here(async {
            let recorder = recorder(origin.root_pem_path(), &[]);
            let hello = recorder.hello(HOST);
            let mut asking = tokio::task::JoinSet::new();
            for _ in 0..500 {
                let hello = hello.clone();
                asking.spawn(async move {
                    let client = Client::open(https()).await;
                    let client = client.handshake(&hello).await.expect("a leaf of ours");
                    let mut session = client.into_session().await.expect("HTTP");
                    session.get("/a").await.expect("a response").body
                });
            }
            let bodies = asking.join_all().await;
            assert!(bodies.iter().all(|body| body == b"from there"));
            let recorded = recorder.finish().await;
            assert_eq!(recorded.exchanges().len(), 500);
            let dials = recorded.opened();
            assert_eq!(dials.len(), 500);
            assert!(
                dials
                    .iter()
                    .all(|dial| dial.mode == Mode::Intercept && dial.error.is_none())
            );
        });
        assert_eq!(origin.connections(), 500);
    });
}

#[test]
fn an_address_that_refuses_is_told_to_listed_hosts_and_resets_all_others() {
    let name = "transparent::session::an_address_that_refuses_is_told_to_listed_hosts_and_resets_all_others";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        let root = TestRoot::new();
        let sandbox = Sandbox::new();
        let pem = sandbox.join("root.pem");
        fs::write(&pem, root.pem()).expect("our own folder");
        here(async {
            let recorder = recorder(&pem, &[]);
            let client = Client::open(https()).await;
            let client = client
                .handshake(&recorder.hello(HOST))
                .await
                .expect("a leaf of ours");
            let mut session = client.into_session().await.expect("HTTP");
            let refused = session.get("/a").await.expect("a response");
            let text = String::from_utf8_lossy(&refused.body).into_owned();
            assert_eq!(refused.status, 502);
            assert!(text.contains("cannot connect to 192.0.2.1:443"), "{text}");
            drop(session);
            let client = Client::open(https()).await;
            let reset = client
                .handshake(&recorder.hello("other.example"))
                .await
                .err();
            let reset = reset.expect("nobody is there");
            assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset, "{reset}");
            let recorded = recorder.finish().await;
            let dials = recorded.opened();
            let found: Vec<_> = dials
                .iter()
                .map(|dial| (dial.mode, dial.client.sni.as_deref()))
                .collect();
            let expected = [
                (Mode::Intercept, Some(HOST)),
                (Mode::Refuse, Some("other.example")),
            ];
            assert_eq!(found, expected, "{dials:#?}");
        });
    });
}

#[test]
fn a_replay_answers_what_is_recorded_and_refuses_the_rest_by_name() {
    let name =
        "transparent::session::a_replay_answers_what_is_recorded_and_refuses_the_rest_by_name";
    alone(name, || {
        if !has_rules(name, "nft") {
            return;
        }
        let sandbox = Sandbox::new();
        names(&sandbox, &[(HOST, REMOTE), ("other.example", REMOTE)]);
        let origin = origin();
        let root = text(origin.root_pem_path()).to_owned();
        let script = format!(
            "{REDIRECT}; for host in {HOST} other.example; do
                 code=0; curl -sS -o /dev/null -w '%{{http_code}}' https://$host/a 2>/dev/null || code=$?; echo \" $code\"
             done"
        );
        let asked = |verb: &[&str]| {
            let mut modtape = sandbox.modtape(verb.iter().copied());
            modtape.args(["--mode", "transparent", "--", "sh", "-euc", &script]);
            run(modtape, LIMIT).expect_success()
        };
        let recorded = asked(&["record", "-o", "one", "--upstream-ca", &root]);
        assert_eq!(recorded.stdout, "200 0\n404 0\n", "{}", recorded.stderr);
        drop(origin);
        let replayed = asked(&["replay", "one"]);
        // 35: the alert of TLS says that access is denied.
        assert_eq!(replayed.stdout, "200 0\n000 35\n", "{}", replayed.stderr);
        let told = "other.example was tunnelled when one was recorded; record with --intercept other.example";
        assert!(replayed.stderr.contains(told), "{}", replayed.stderr);
        // It had no CONNECT.
        assert!(
            replayed
                .stderr
                .contains("missing: connection to other.example:443 ("),
            "{}",
            replayed.stderr
        );
        let went = "1 answered, 1 missing, 0 went to the network";
        assert!(replayed.stderr.contains(went), "{}", replayed.stderr);
    });
}
