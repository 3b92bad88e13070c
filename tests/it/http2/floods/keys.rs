//! TLS 1.3 key updates without end: below HTTP/2, and rustls counts them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use modtape::clock::Clock;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{ENDED_WITHIN, HONEST, most, origin, p99};
use crate::support::frames::{Frame, PREFACE};
use crate::support::{Alpn, Recorder, Tls, within};

/// TLS 1.3 through the recorder, with the session in the test's hands.
async fn opened(recorder: &Recorder, host: &str) -> TlsStream<TcpStream> {
    let mut stream = TcpStream::connect(recorder.proxy())
        .await
        .expect("it listens");
    stream.set_nodelay(true).expect("a socket can be set");
    let head = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
    stream
        .write_all(head.as_bytes())
        .await
        .expect("it takes a head");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(within(stream.read_u8()).await.expect("it answers"));
    }
    let config = recorder
        .hello(host)
        .alpn(Alpn::Http2)
        .tls(Tls::V13)
        .config();
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    within(connector.connect(name, stream))
        .await
        .expect("the handshake succeeds")
}

/// Asks for new keys until the connection is gone; with `between` after each time.
async fn strike(stream: &mut TlsStream<TcpStream>, between: &[u8]) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        for _ in 0..20 {
            let session = stream.get_mut().1;
            session
                .refresh_traffic_keys()
                .expect("TLS 1.3 has key updates");
            if !between.is_empty() && stream.write_all(between).await.is_err() {
                return;
            }
        }
        let sent = stream.flush().await;
        // What is there already, so that nothing waits for us.
        let got = poll_immediate(stream.read(&mut bytes)).await;
        if sent.is_err() || got.is_some_and(|got| got.is_ok_and(|got| got == 0)) {
            return;
        }
    }
}

/// What a future gives at once.
async fn poll_immediate<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2026_32283_key_updates_end_the_connection() {
    let (origin, clock) = (origin(), Clock::start());
    let recorder = Recorder::to(&origin, &["--intercept-all"]);
    let mut honest = recorder.session("honest.test").await;
    p99(clock, &mut honest).await;
    let quiet = p99(clock, &mut honest).await;

    let mut attacker = opened(&recorder, "keys.test").await;
    let started = clock.now();
    let limit = 10 * ENDED_WITHIN;
    let over = timeout(limit, strike(&mut attacker, b"")).await;
    let after = clock.now().since(started);
    assert!(
        over.is_ok() && after < most(ENDED_WITHIN, quiet * 80),
        "{after:?}"
    );

    // With a byte of an endless frame after each, rustls counts anew; they are read one by one.
    let mut attacker = opened(&recorder, "slower.test").await;
    let first = [
        PREFACE,
        &Frame::settings(&[]).encode(),
        b"\0\x40\0\xee\0\0\0\0\0",
    ]
    .concat();
    attacker
        .write_all(&first)
        .await
        .expect("it takes a preface");
    let beside = tokio::select! {
        beside = p99(clock, &mut honest) => beside,
        () = strike(&mut attacker, b"x") => p99(clock, &mut honest).await,
    };
    eprintln!("ended after {after:?}; quiet p99 {quiet:?}, beside {beside:?}");
    assert!(
        beside <= most(HONEST, quiet * 10),
        "{beside:?}, {quiet:?} without"
    );

    drop((attacker, honest));
    let recorded = recorder.finish().await;
    let why = recorded.recording.connections().find_map(|row| {
        let is_attack = row.opened.as_ref()?.target == "keys.test:443";
        is_attack.then(|| row.closed.clone())?
    });
    let why = why.expect("its end is recorded").why;
    assert!(why.contains("too many key update requests"), "{why}");
}
