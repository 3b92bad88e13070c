//! Who holds a place that another client wants.

use modtape::clock::{Clock, Timestamp};
use modtape::proxy::Deadlines;
use modtape::upstream::ParentProxies;

use super::*;
use crate::http2::wire::Wire;
use crate::support::frames::{Frame, get, kind};

/// A proxy with room for one client.
async fn one_place(origin: &Origin) -> Inside {
    let upstream = (origin.addr(), origin.root());
    let all = (Deadlines::default(), NO_LIMITS, 1);
    Inside::behind(HOST, upstream, ParentProxies::none(), all).await
}

#[tokio::test]
async fn who_never_says_that_it_heard_us_loses_its_place_all_the_same() {
    let origin = Origin::start(files());
    let mut inside = one_place(&origin).await;
    let mut wire = Wire::greeted(inside.proxy, inside.hello(HOST), HOST, &[]).await;
    let asked = [Frame::headers(1, &get(HOST, "/a"), true)];
    wire.send(&asked).await.expect("it takes a request");
    while within(wire.next()).await.expect("an answer").kind != kind::HEADERS {}
    let clock = Clock::start();
    let hello = inside.hello(HOST);
    let other = async {
        let mut session = Client::session(inside.proxy, &hello).await;
        session.get("/a").await.expect("an answer")
    };
    // It never reads again, and always has something to say.
    let talk = async {
        let mut turns = tokio::time::interval(Duration::from_millis(200));
        loop {
            turns.tick().await;
            if wire.send(&[Frame::ping([0; 8])]).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let answer = tokio::select! {
        answer = other => answer,
        () = talk => unreachable!("it talks for ever"),
    };
    assert!(answer.is_whole_ok(), "{answer:?}");
    let after = clock.now().since(Timestamp::default());
    // Three seconds are promised; a loaded machine gets more.
    assert!(after < Duration::from_secs(10), "{after:?}");
    drop(wire);
    let recording = inside.finish().await;
    let closed = recording.connection(1).and_then(|row| row.closed.clone());
    let why = closed.expect("it was closed").why;
    assert!(why.contains("wanted by another client"), "{why}");
}

#[tokio::test]
async fn who_leaves_while_we_dial_for_it_leaves_its_place() {
    let dead = Blackhole::start();
    let root = TestRoot::new();
    let limits = modtape::upstream::Limits {
        connect: 20 * LIMIT,
        ..NO_LIMITS
    };
    let all = (Deadlines::default(), limits, 1);
    let upstream = (dead.addr(), &root);
    let mut inside = Inside::behind(HOST, upstream, ParentProxies::none(), all).await;
    let mut leaving = Client::open(inside.proxy).await;
    let head = format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    leaving.send(head).await.expect("the proxy takes it");
    let mut next = Client::open(inside.proxy).await;
    leaving.shutdown().await.expect("it can leave");
    next.send("CONNECT nowhere HTTP/1.1\r\n\r\n")
        .await
        .expect("the kernel takes it");
    let answer = next.read_head().await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let (rest, _) = leaving.read_to_end().await;
    assert_eq!(rest, b"");
    drop((leaving, next));
    let recording = inside.finish().await;
    let row = recording.connection(1).expect("it is on record");
    let opened = row.opened.as_ref().expect("it was opened");
    let why = opened.error.as_deref().unwrap_or_default();
    assert!(why.starts_with("the client gave up while"), "{opened:?}");
    assert_eq!(opened.tries[0].error.as_deref(), Some("no answer"));
}

#[tokio::test]
async fn who_says_much_behind_a_connect_still_reads_why_it_was_refused() {
    let origin = Origin::start(files());
    let upstream = (origin.addr(), origin.root());
    let all = (Deadlines::default(), NO_LIMITS, 1);
    let mut inside = Inside::behind(HOST, upstream, ParentProxies::none(), all).await;
    let mut client = Client::open(inside.proxy).await;
    let head = "CONNECT 127.0.0.1:x HTTP/1.1\r\n\r\n";
    let words = [head.as_bytes(), &[b'x'; 500_000]].concat();
    let sent = client.send(words).await;
    let (answer, ended) = client.read_to_end().await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 400 "),
        "{sent:?} {answer} {ended:?}"
    );
    ended.expect("no reset");
    drop(client);
    inside.finish().await;
}
