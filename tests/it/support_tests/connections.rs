//! Handshakes, protocols and the ends of connections.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::*;

const HOST: &str = "sum.golang.org";

#[tokio::test]
async fn the_protocol_is_what_both_sides_have() {
    for (server, client, chosen) in [
        (Alpn::Both, Alpn::Both, Some("h2")),
        (Alpn::Both, Alpn::Http1, Some("http/1.1")),
        (Alpn::Http1, Alpn::Both, Some("http/1.1")),
        (Alpn::Silent, Alpn::Both, None),
        (Alpn::Both, Alpn::Silent, None),
    ] {
        let origin = Origin::builder(Content::default()).alpn(server).start();
        let hello = hello(&origin).alpn(client);
        let connected = handshake(&origin, &hello).await.expect("a handshake");
        let tls = connected.tls.clone().expect("it is TLS");
        assert_eq!(tls.alpn.as_deref(), chosen, "{server:?} {client:?}");
        let mut session = connected.into_session().await.expect("HTTP begins");
        assert_eq!(session.get("/x").await.expect("an answer").status, 404);
        let seen = origin.log().connections.remove(0);
        assert_eq!(
            (seen.sni.as_deref(), seen.alpn.as_deref()),
            (Some(HOST), chosen)
        );
        assert_eq!(seen.offered_alpn, client.protocols());
    }
}

#[tokio::test]
async fn the_tls_version_is_what_the_origin_speaks() {
    for (server, version) in [
        (Tls::Both, "TLSv1_3"),
        (Tls::V13, "TLSv1_3"),
        (Tls::V12, "TLSv1_2"),
    ] {
        let origin = Origin::builder(Content::default()).tls(server).start();
        let client = handshake(&origin, &hello(&origin))
            .await
            .expect("a handshake");
        assert_eq!(client.tls.expect("it is TLS").version, version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_without_common_ground_fails_and_is_logged() {
    let origin = Origin::builder(Content::default())
        .tls(Tls::V13)
        .alpn(Alpn::Http2)
        .start();
    for hello in [
        hello(&origin).tls(Tls::V12),
        hello(&origin).alpn(Alpn::Http1),
    ] {
        handshake(&origin, &hello)
            .await
            .err()
            .expect("they cannot agree");
    }
    let log = origin.wait_for(|log| log.tls_failures.len() == 2, LIMIT);
    assert_eq!(log.tls_failures[1].sni.as_deref(), Some(HOST));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_certificate_is_refused_by_a_client_that_checks() {
    for (leaf, reason) in [
        (Leaf::Expired, "expired"),
        (Leaf::NotYetValid, "not valid yet"),
        (Leaf::WrongHost, "not valid for name"),
        (Leaf::SelfSigned, "UnknownIssuer"),
        (Leaf::UnknownCa, "UnknownIssuer"),
    ] {
        let rule = Handshake::host(HOST).leaf(leaf);
        let origin = Origin::builder(Content::default()).handshake(rule).start();
        let error = handshake(&origin, &hello(&origin))
            .await
            .err()
            .expect("it is refused");
        assert!(error.to_string().contains(reason), "{leaf:?}: {error}");
        origin.wait_for(|log| log.tls_failures.len() == 1, LIMIT);
        let other = Hello::new("proxy.golang.org", origin.root_pem_path());
        handshake(&origin, &other)
            .await
            .expect("other hosts are good");
    }
}

#[tokio::test]
async fn a_leaf_is_for_the_address_when_no_name_is_sent() {
    let origin = Origin::start(Content::default());
    let by_address = Hello::new("127.0.0.1", origin.root_pem_path());
    handshake(&origin, &by_address)
        .await
        .expect("the leaf names the address");
    let by_name = hello(&origin).without_sni();
    handshake(&origin, &by_name)
        .await
        .err()
        .expect("the leaf does not name the host");
}

#[tokio::test]
async fn a_second_handshake_resumes_only_a_session_of_the_same_client() {
    let origin = Origin::start(Content::default());
    for _ in 0..2 {
        let client = handshake(&origin, &hello(&origin))
            .await
            .expect("a handshake");
        assert_eq!(client.tls.expect("it is TLS").chain.len(), 1);
    }
    assert!(origin.log().connections.iter().all(|seen| !seen.is_resumed));
}

#[tokio::test]
async fn clear_text_is_served_on_the_same_port() {
    let files = [((HOST, "/a"), (200, "text/plain", "clear"))];
    let origin = Origin::start(Content::files(files));
    let mut client = Client::open(origin.addr()).await;
    let head = format!("GET http://{HOST}/a HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    client.send(head).await.expect("it is taken");
    let (answer, ended) = client.read_to_end().await;
    ended.expect("it ends");
    assert!(answer.ends_with(b"\r\n\r\nclear"));
    assert_eq!(origin.log().connections[0].tls, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_can_stay_away_or_end() {
    let silent = Handshake::host(HOST).times(1).silent();
    let origin = Origin::builder(Content::default())
        .handshake(silent)
        .start();
    origin.add_handshake(Handshake::any().times(1).hang_up());
    origin.add_handshake(Handshake::any().times(1).reset());
    origin.add_handshake(Handshake::any().delay(Duration::from_millis(1)));
    let hello = hello(&origin);
    let waiting = timeout(Duration::from_millis(50), handshake(&origin, &hello)).await;
    waiting.err().expect("there is no answer");
    origin.wait_for(|log| log.connections[0].is_closed, LIMIT);
    let error = handshake(&origin, &hello).await.err().expect("it hangs up");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let error = handshake(&origin, &hello).await.err().expect("it resets");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    handshake(&origin, &hello)
        .await
        .expect("the last one answers");
}

#[tokio::test]
async fn a_reset_and_a_hang_up_differ_on_the_wire() {
    for (rule, is_expected) in [
        (Rule::any().reset(), io::ErrorKind::ConnectionReset),
        (Rule::any().hang_up(), io::ErrorKind::UnexpectedEof),
    ] {
        let origin = Origin::builder(Content::default()).rule(rule).start();
        let hello = hello(&origin).alpn(Alpn::Http1);
        let mut client = handshake(&origin, &hello).await.expect("a handshake");
        client
            .send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .expect("it is taken");
        let (bytes, ended) = client.read_to_end().await;
        assert_eq!(
            (bytes.len(), ended.expect_err("no goodbye").kind()),
            (0, is_expected)
        );
    }
}

#[tokio::test]
async fn an_end_after_the_answer_is_announced_or_not() {
    for (rule, announced) in [
        (Rule::any().close(), true),
        (Rule::any().close_unannounced(), false),
    ] {
        let origin = Origin::builder(Content::default())
            .rule(rule.clone())
            .start();
        let hello = hello(&origin);
        let client = handshake(&origin, &hello.clone().alpn(Alpn::Http1)).await;
        let mut client = client.expect("a handshake");
        client
            .send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .expect("it is taken");
        let (answer, ended) = client.read_to_end().await;
        ended.expect("it ends with a goodbye");
        let answer = String::from_utf8(answer)
            .expect("text")
            .to_ascii_lowercase();
        assert_eq!(answer.contains("connection: close"), announced, "{answer}");
        assert!(answer.ends_with("not found: /\n"));
        let client = handshake(&origin, &hello).await.expect("a handshake");
        let mut session = client.into_session().await.expect("HTTP begins");
        assert_eq!(session.get("/").await.expect("an answer").status, 404);
        session
            .get("/")
            .await
            .expect_err("the connection has ended");
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_last_request() {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let last = Handshake::any().goaway_after(2);
        let origin = Origin::builder(Content::default())
            .alpn(alpn)
            .handshake(last)
            .start();
        let client = handshake(&origin, &hello(&origin))
            .await
            .expect("a handshake");
        let mut session = client.into_session().await.expect("HTTP begins");
        for _ in 0..2 {
            assert_eq!(session.get("/").await.expect("an answer").status, 404);
        }
        session
            .get("/")
            .await
            .expect_err("the connection has ended");
        assert_eq!(origin.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_blackhole_neither_connects_nor_refuses() {
    let hole = Blackhole::start();
    for _ in 0..3 {
        let waiting = timeout(Duration::from_millis(50), TcpStream::connect(hole.addr())).await;
        waiting.expect_err("it does not come up");
    }
}

#[tokio::test]
async fn a_dropped_origin_is_gone_with_its_connections() {
    let origin = Origin::builder(Content::default())
        .rule(Rule::any().silent())
        .start();
    let addr = origin.addr();
    let hello = hello(&origin).alpn(Alpn::Http1);
    let mut client = handshake(&origin, &hello).await.expect("a handshake");
    client
        .send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("it is taken");
    drop(origin);
    assert!(client.read_to_end().await.0.is_empty());
    let error = TcpStream::connect(addr).await.expect_err("nobody listens");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

fn hello(origin: &Origin) -> Hello {
    Hello::new(HOST, origin.root_pem_path())
}

async fn handshake(origin: &Origin, hello: &Hello) -> io::Result<Client> {
    Client::open(origin.addr()).await.handshake(hello).await
}
