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
