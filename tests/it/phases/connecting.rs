//! Name, TCP, parent proxy and TLS: whatever a dial took shows in its own phase.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use modtape::exchange::Mode;
use modtape::upstream::ParentProxies;

use super::*;

#[tokio::test]
async fn a_slow_handshake_shows_in_tls() {
    let slow = Handshake::any().delay(DELAY);
    let origin = Origin::builder(files()).handshake(slow).start();
    let recorder = Recorder::to(&origin, &[]);
    let seen = [ask(&recorder, BOTH[0]).await, ask(&recorder, BOTH[1]).await];
    let recorded = recorder.finish().await;
    for (exchange, seen) in recorded.exchanges().iter().zip(seen) {
        assert_only_slow(exchange, Phase::Tls, DELAY, seen);
    }
    assert_sums(&recorded.recording);
}

/// As long as the next address waits for one that does not answer (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// A recorder that finds `addresses` under the name of the origin, on the origin's port.
fn resolving(origin: &Origin, addresses: &str) -> Recorder {
    let port = origin.addr().port();
    let to = format!("--connect-to=::origin.example:{port}");
    let resolve = format!("--resolve=origin.example:{port}:{addresses}");
    Recorder::trusting(origin.root_pem_path(), &[&to, &resolve])
}

#[tokio::test]
async fn an_address_that_does_not_answer_shows_in_connect() {
    let origin = Origin::start(files());
    let elsewhere = IpAddr::from(Ipv4Addr::new(127, 0, 0, 2));
    let dead = Blackhole::at(SocketAddr::new(elsewhere, origin.addr().port()));
    let recorder = resolving(&origin, "127.0.0.2,127.0.0.1");
    let seen = [ask(&recorder, BOTH[0]).await, ask(&recorder, BOTH[1]).await];
    let recorded = recorder.finish().await;
    for (exchange, seen) in recorded.exchanges().iter().zip(seen) {
        assert_only_slow(exchange, Phase::Connect, HEAD_START, seen);
    }
    for opened in recorded.opened() {
        let tries: Vec<_> = opened.tries.iter().map(|tried| &tried.addr[..]).collect();
        assert_eq!(tries, [dead.addr().to_string(), origin.addr().to_string()]);
        assert_eq!(opened.tries[1].error, None);
        assert_eq!(opened.tries[0].error.as_deref(), Some("no answer"));
        let connect = opened.connect_us.expect("it connected");
        let dead_us = opened.tries[0].took_us;
        assert!(
            (HEAD_START.as_micros() as u64..=connect).contains(&dead_us),
            "{opened:?}"
        );
    }
    assert_sums(&recorded.recording);
}

#[tokio::test]
async fn an_address_that_refuses_costs_no_time() {
    let origin = Origin::start(files());
    // Nobody listens at either: without IPv6 the second is not even reachable.
    let recorder = resolving(&origin, "127.0.0.2,::1,127.0.0.1");
    ask(&recorder, Alpn::Http1).await;
    let recorded = recorder.finish().await;
    let connect = took(&recorded.only().timings(), Phase::Connect);
    assert!(connect.expect("it connected") < HEAD_START, "{connect:?}");
    let opened = recorded.opened().remove(0);
    let failed: Vec<_> = opened
        .tries
        .iter()
        .map(|tried| tried.error.is_some())
        .collect();
    assert_eq!(failed, [true, true, false], "{opened:?}");
}

const USER: &str = "ana";
const PASSWORD: &str = "p4r3nt-hunter2";

#[tokio::test]
async fn a_slow_parent_proxy_shows_in_connect_and_its_credentials_nowhere() {
    for (kind, is_socks) in [("http", false), ("socks5", true)] {
        let origin = Origin::start(files());
        let parent = match is_socks {
            false => ParentProxy::http(origin.addr()),
            true => ParentProxy::socks5(origin.addr()),
        };
        let parent = parent.delay(DELAY).credentials(USER, PASSWORD).start();
        let url = format!(
            "--upstream-proxy={kind}://{USER}:{PASSWORD}@{}",
            parent.addr()
        );
        let recorder = Recorder::trusting(origin.root_pem_path(), &[&url]);
        let seen = [ask(&recorder, BOTH[0]).await, ask(&recorder, BOTH[1]).await];
        let recorded = recorder.finish().await;
        for (exchange, seen) in recorded.exchanges().iter().zip(seen) {
            assert_only_slow(exchange, Phase::Connect, DELAY, seen);
        }
        for opened in recorded.opened() {
            let upstream = opened.upstream.expect("it was dialled");
            assert_eq!(upstream.via, Some(parent.url()));
            assert_eq!(upstream.addr, Some(parent.addr().to_string()));
        }
        let target = format!("{HOST}:443");
        assert_eq!(parent.targets(), [&target[..], &target[..]]);
        assert_sums(&recorded.recording);
        assert_no_credentials(&recorded);
    }
}

#[tokio::test]
async fn a_parent_proxy_that_refuses_is_named_without_credentials() {
    let origin = Origin::start(files());
    let http = ParentProxy::http(origin.addr())
        .refuse(403, "not for you")
        .start();
    let socks = ParentProxy::socks5(origin.addr()).refuse(5, "").start();
    let wants_more = ParentProxy::http(origin.addr())
        .credentials("other", "secret")
        .start();
    for (parent, scheme, word) in [
        (&http, "http", "403 not for you"),
        (&socks, "socks5", "refused"),
        (&wants_more, "http", "407"),
    ] {
        let url = format!(
            "--upstream-proxy={scheme}://{USER}:{PASSWORD}@{}",
            parent.addr()
        );
        let recorder = Recorder::trusting(origin.root_pem_path(), &[&url]);
        let client = Client::open(recorder.proxy()).await;
        let answer = client.connect(&format!("{HOST}:443"), &[]).await;
        assert_eq!(answer.status, 502, "{}", answer.head);
        let begins = format!("modtape: parent proxy {}", parent.url());
        assert!(answer.reason.starts_with(&begins), "{}", answer.reason);
        assert!(
            answer.reason.to_lowercase().contains(word),
            "{}",
            answer.reason
        );
        let recorded = recorder.finish().await;
        let opened = recorded.opened().remove(0);
        assert_eq!(opened.mode, Mode::Refuse);
        assert!(opened.connect_us.is_some(), "{opened:?}");
        assert_no_credentials(&recorded);
    }
    assert_eq!(origin.connections(), 0);
}

/// Goes through a parent proxy that answers CONNECT with these pieces.
fn behind(pieces: &[&'static str]) -> (RawOrigin, Recorder) {
    let steps: Vec<Step> = pieces.iter().map(Step::send).collect();
    let parent = RawOrigin::start(move |_| steps.clone());
    let url = format!("--upstream-proxy=http://{}", parent.addr());
    let recorder = Recorder::trusting(parent.root_pem_path(), &[&url]);
    (parent, recorder)
}

#[tokio::test]
async fn the_answer_of_a_parent_proxy_ends_with_its_empty_line_in_whatever_pieces() {
    for pieces in [
        &["HTTP/1.1 200 OK\nVia: x\n\nSSH-2.0-x\r\n"][..],
        &["HTTP/1.0 200 OK\r\nVia: ", "x\r\n\r", "\nSSH-2.0-x\r\n"],
        &["HTTP/1.1 200\n", "\n", "SSH-2.0-x\r\n"],
    ] {
        let (_parent, recorder) = behind(pieces);
        let client = Client::open(recorder.proxy()).await;
        let answer = client.connect("elsewhere.example:22", &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        let mut client = answer.client;
        let said = client
            .read_exactly(11)
            .await
            .expect("the server speaks first");
        assert_eq!(said, b"SSH-2.0-x\r\n", "{pieces:?}");
        drop(client);
        recorder.finish().await;
    }
}

#[tokio::test]
async fn a_parent_proxy_that_wants_credentials_is_told_of_with_what_can_be_done() {
    let (_parent, recorder) = behind(&[
        "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\n\
         Proxy-Authenticate: Negotiate\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n",
    ]);
    let client = Client::open(recorder.proxy()).await;
    let answer = client.connect(&format!("{HOST}:443"), &[]).await;
    let expected = "answered 407 Proxy Authentication Required: it offers NTLM, Negotiate, and \
                    modtape supports only Basic: connect through a local proxy that signs in, such \
                    as px or cntlm (--upstream-proxy)";
    assert_eq!(answer.status, 502);
    assert!(answer.reason.ends_with(expected), "{}", answer.reason);
    recorder.finish().await;
}

/// No file of the recording and no word of the recorder holds the password, in whatever form.
#[track_caller]
fn assert_no_credentials(recorded: &Recorded) {
    let basic = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let holds = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        text.contains(PASSWORD) || text.contains(&basic)
    };
    assert!(
        !holds(recorded.output.stderr.as_bytes()),
        "{}",
        recorded.output.stderr
    );
    let mut files = 0;
    for_each_file(recorded.recording.dir(), &mut |path| {
        files += 1;
        let text = fs::read(path).expect("a file of the recording");
        assert!(!holds(&text), "{}", path.display());
    });
    assert!(files >= 2, "at least manifest and journal");
}

fn for_each_file(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a folder can be listed").path();
        match path.is_dir() {
            true => for_each_file(&path, visit),
            false => visit(&path),
        }
    }
}

#[tokio::test]
async fn the_first_plain_request_dials_and_has_no_tls() {
    let origin = Origin::start(files());
    let recorder = Recorder::to(&origin, &[]);
    let mut client = Client::open(recorder.proxy()).await;
    for _ in 0..2 {
        let request = format!("GET http://{HOST}/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        client
            .send(request)
            .await
            .expect("the proxy takes a request");
        let head = client.read_head().await.expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(client.read_exactly(6).await.expect("its body"), b"a body");
    }
    drop(client);
    let recorded = recorder.finish().await;
    let [first, second] = &recorded.exchanges()[..] else {
        panic!("two requests")
    };
    let dial = [Phase::Dns, Phase::Connect, Phase::Tls];
    assert_eq!(
        dial.map(|phase| first.timings()[phase].is_some()),
        [true, true, false]
    );
    assert_eq!(
        dial.map(|phase| second.timings()[phase].is_some()),
        [false; 3]
    );
    assert_eq!(recorded.opened()[0].mode, Mode::Plain);
    assert_sums(&recorded.recording);
}

#[tokio::test]
async fn each_host_that_one_connection_of_plain_requests_reaches_is_told() {
    let hosts = [HOST, "sum.golang.org"];
    let file = |host| ((host, "/a"), (200, "text/plain", "a body"));
    let origin = Origin::start(Content::files(hosts.map(file)));
    let recorder = Recorder::to(&origin, &[]);
    let mut client = Client::open(recorder.proxy()).await;
    for host in [hosts[0], hosts[1], hosts[0]] {
        let request = format!("GET http://{host}/a HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.send(request).await.expect("it takes a request");
        let head = client.read_head().await.expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(client.read_exactly(6).await.expect("its body"), b"a body");
    }
    drop(client);
    let recorded = recorder.finish().await;
    let opened = recorded.opened();
    let told = opened.iter().map(|dial| (&dial.target[..], dial.again));
    let expected = [
        (&format!("{HOST}:80")[..], false),
        ("sum.golang.org:80", true),
        (&format!("{HOST}:80")[..], true),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let totals = recorded.recording.manifest().totals;
    assert_eq!((totals.connections, totals.exchanges), (1, 3));
    // Each exchange is shown with the dial that it went through.
    let row = recorded.recording.connection(1).expect("it is there");
    for exchange in recorded.recording.rows() {
        let dial = row
            .dial_of(&exchange.url, exchange.until())
            .expect("a dial");
        let host = dial.target.trim_end_matches(":80");
        assert!(
            exchange.url.starts_with(&format!("http://{host}/")),
            "{dial:?}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_is_never_used_tells_what_it_took() {
    let slow = Handshake::any().delay(DELAY);
    let origin = Origin::builder(files()).handshake(slow).start();
    let recorder = Recorder::to(&origin, &[]);
    let target = format!("{HOST}:443");
    let dialled = Client::open(recorder.proxy())
        .await
        .connect(&target, &[])
        .await;
    let hello = recorder.hello(HOST);
    let shaken = Client::open(recorder.proxy())
        .await
        .connect(&target, &[])
        .await;
    let mut shaken = shaken.client.handshake(&hello).await.expect("a handshake");
    shaken.shutdown().await.expect("a connection can be ended");
    drop((dialled, shaken));
    let recorded = recorder.finish().await;
    assert_eq!(recorded.exchanges(), []);
    let opened = recorded.opened();
    assert!(
        opened.iter().all(|opened| opened.connect_us.is_some()),
        "{opened:?}"
    );
    assert_eq!(opened.len(), 2, "{opened:?}");
    let tls: Vec<_> = opened.iter().map(|opened| opened.tls_us).collect();
    assert_eq!(tls[0], None, "it never came to that");
    assert!(tls[1] >= Some(DELAY.as_micros() as u64), "{opened:?}");
}

#[tokio::test]
async fn a_dial_that_the_recorders_end_cuts_off_is_recorded_as_far_as_it_got() {
    let (dead, root) = (Blackhole::start(), TestRoot::new());
    let limits = Limits {
        connect: 20 * DELAY,
        tls: 20 * DELAY,
    };
    let all = (Deadlines::default(), limits, 8);
    let upstream = (dead.addr(), &root);
    let mut inside = Inside::behind(HOST, upstream, ParentProxies::none(), all).await;
    let mut waiting = Client::open(inside.proxy).await;
    let head = format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    waiting.send(head).await.expect("the proxy takes it");
    // Once the next client has its answer, the first one's head was read.
    let mut next = Client::open(inside.proxy).await;
    let nonsense = "CONNECT nowhere HTTP/1.1\r\n\r\n";
    next.send(nonsense).await.expect("the proxy takes it");
    next.read_head().await.expect("an answer");
    let recording = inside.finish().await;
    let row = recording.connection(1).expect("it is on record");
    let opened = row.opened.as_ref().expect("it was opened");
    let error = opened.error.as_deref().unwrap_or_default();
    assert!(
        error.starts_with("modtape stopped while its tunnel was being connected"),
        "{opened:?}"
    );
    assert_eq!(opened.tries[0].error.as_deref(), Some("no answer"));
    assert!(opened.connect_us.is_some(), "{opened:?}");
    drop((waiting, next));
}
