//! Parent proxies: what they relay, what they refuse and what they note.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

const HOST: &str = "proxy.golang.org";

#[tokio::test]
async fn a_tunnel_leads_to_the_origin_whatever_the_target() {
    let origin = origin("one");
    let parent = ParentProxy::http(origin.addr()).start();
    let hello = Hello::new(HOST, origin.root_pem_path());
    let mut session = Client::session(parent.addr(), &hello).await;
    assert_eq!(session.get("/who").await.expect("an answer").text(), "one");
    let request = parent.requests().remove(0);
    assert_eq!(request.target, "proxy.golang.org:443");
    assert_eq!(
        (request.method.as_str(), request.is_relayed),
        ("CONNECT", true)
    );
}

#[tokio::test]
async fn a_routed_target_leads_elsewhere() {
    let (one, two) = (origin("one"), origin("two"));
    let parent = ParentProxy::http(one.addr())
        .route("proxy.golang.org:443", two.addr())
        .start();
    let hello = Hello::new(HOST, two.root_pem_path());
    let mut session = Client::session(parent.addr(), &hello).await;
    assert_eq!(session.get("/who").await.expect("an answer").text(), "two");
}

#[tokio::test]
async fn credentials_are_wanted_and_noted() {
    let origin = origin("one");
    let parent = ParentProxy::http(origin.addr())
        .credentials("al", "se:cret")
        .start();
    let first = Client::open(parent.addr())
        .await
        .connect("h:443", &[])
        .await;
    assert_eq!(
        (first.status, first.reason.as_str()),
        (407, "Proxy Authentication Required")
    );
    assert!(
        first.head.contains("Proxy-Authenticate: Basic"),
        "{}",
        first.head
    );
    // base64 of al:se:cret
    let header = ("Proxy-Authorization", "Basic YWw6c2U6Y3JldA==");
    let second = first.client.connect("h:443", &[header]).await;
    assert_eq!(second.status, 200);
    let requests = parent.requests();
    assert_eq!(
        requests
            .iter()
            .map(|request| request.is_relayed)
            .collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(requests[1].credentials.as_deref(), Some("al:se:cret"));
}

#[tokio::test]
async fn a_refusal_carries_its_reason() {
    let origin = origin("one");
    let parent = ParentProxy::http(origin.addr())
        .refuse(403, "Not on my watch")
        .start();
    let connected = Client::open(parent.addr())
        .await
        .connect("h:443", &[])
        .await;
    assert_eq!(
        (connected.status, connected.reason.as_str()),
        (403, "Not on my watch")
    );
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn an_absolute_form_request_passes() {
    let origin = origin("one");
    let parent = ParentProxy::http(origin.addr()).start();
    let mut client = Client::open(parent.addr()).await;
    let head =
        format!("GET http://{HOST}/who HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    client.send(head).await.expect("it is taken");
    assert!(client.read_to_end().await.0.ends_with(b"one"));
    assert_eq!(parent.targets(), ["http://proxy.golang.org/who"]);
}

#[tokio::test]
async fn a_parent_can_be_reached_over_tls() {
    let origin = origin("one");
    let parent = ParentProxy::http(origin.addr()).tls(origin.root()).start();
    assert!(parent.url().starts_with("https://127.0.0.1:"));
    let to_parent = Hello::new("127.0.0.1", origin.root_pem_path());
    let client = Client::open(parent.addr())
        .await
        .handshake(&to_parent)
        .await;
    let connected = client
        .expect("a handshake")
        .connect("proxy.golang.org:443", &[])
        .await;
    let hello = Hello::new(HOST, origin.root_pem_path());
    let client = connected
        .client
        .handshake(&hello)
        .await
        .expect("a handshake inside");
    let mut session = client.into_session().await.expect("HTTP begins");
    assert_eq!(session.get("/who").await.expect("an answer").text(), "one");
}

#[tokio::test]
async fn socks5_relays_names_and_checks_credentials() {
    let origin = origin("one");
    let parent = ParentProxy::socks5(origin.addr())
        .credentials("al", "secret")
        .start();
    assert_eq!(socks(parent.addr(), "wrong").await.1, Some(1));
    let (mut stream, failure) = socks(parent.addr(), "secret").await;
    assert_eq!(failure, None);
    stream
        .write_all(b"\x05\x01\x00\x03\x0fsum.example.com\x01\xbb")
        .await
        .expect("it is taken");
    let mut reply = [0; 10];
    within(stream.read_exact(&mut reply))
        .await
        .expect("a reply");
    assert_eq!(reply[..2], [5, 0]);
    let head = format!("GET /who HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(head.as_bytes())
        .await
        .expect("it is taken");
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer))
        .await
        .expect("it ends");
    assert!(answer.ends_with(b"one"));
    let noted = parent.requests().pop().expect("it was noted");
    assert_eq!(
        (noted.target.as_str(), noted.method.as_str()),
        ("sum.example.com:443", "SOCKS5")
    );
    assert_eq!(noted.credentials.as_deref(), Some("al:secret"));
}

/// Greets as user `al`; gives the failure code of RFC 1929, if any.
async fn socks(proxy: SocketAddr, password: &str) -> (TcpStream, Option<u8>) {
    let mut stream = TcpStream::connect(proxy).await.expect("it listens");
    stream
        .write_all(b"\x05\x02\x00\x02")
        .await
        .expect("it is taken");
    let mut choice = [0; 2];
    within(stream.read_exact(&mut choice))
        .await
        .expect("a choice");
    assert_eq!(choice, [5, 2]);
    let login = [
        b"\x01\x02al".as_slice(),
        &[password.len() as u8],
        password.as_bytes(),
    ]
    .concat();
    stream.write_all(&login).await.expect("it is taken");
    let mut verdict = [0; 2];
    within(stream.read_exact(&mut verdict))
        .await
        .expect("a verdict");
    (stream, (verdict[1] != 0).then_some(verdict[1]))
}

fn origin(name: &'static str) -> Origin {
    Origin::start(Content::files([(
        (HOST, "/who"),
        (200, "text/plain", name),
    )]))
}
