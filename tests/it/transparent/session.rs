//! How a redirected connection begins, and what becomes of it.

use std::future::Future;
use std::net::SocketAddr;

use modtape::exchange::Mode;
use modtape::proxy::Deadlines;
use modtape::recording::reader::ConnectionRow;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::support::*;
use super::{REMOTE, has_rules, sh};

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

fn here(test: impl Future<Output = ()>) {
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
            assert_eq!(opened[0].tries[0].note, None);
            let upstream = opened[0].upstream.as_ref().expect("it was dialled");
            assert_eq!(upstream.addr.as_deref(), Some("192.0.2.1:443"));
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
            let root = certs();
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

fn certs() -> TestRoot {
    TestRoot::new()
}
