//! Clients that take their time, or everybody's: windows that never open, heads that never end.

use std::time::Duration;

use modtape::clock::Clock;
use modtape::proxy::Deadlines;
use modtape::upstream::Limits;
use tokio::task::JoinSet;

use super::attacks::ask;
use super::{GROWTH_KIB, HONEST, most, origin, p99};
use crate::http2::wire::Wire;
use crate::support::frames::{Frame, PREFACE, block, flag, get, kind, setting};
use crate::support::{Ended, Inside, Recorder, within};

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(30),
    tls: Duration::from_secs(30),
};

/// Streams that the slow client leaves unread, 200 KB each.
const UNREAD: u32 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2019_9517_a_client_that_reads_nothing_stalls_no_other_of_the_same_host() {
    let (origin, clock) = (origin(), Clock::start());
    let recorder = Recorder::to(&origin, &["--intercept-all"]);
    let (host, mut honest) = ("same.test", recorder.session("same.test").await);
    p99(clock, &mut honest).await;
    let quiet = p99(clock, &mut honest).await;
    let before = recorder.peak_rss_kib();

    let closed = [(setting::INITIAL_WINDOW_SIZE, 0)];
    let hello = recorder.hello(host);
    let mut slow = Wire::greeted(recorder.proxy(), hello, host, &closed).await;
    let asked: Vec<_> = (0..UNREAD)
        .map(|n| ask(host, 2 * n + 1, "/large"))
        .collect();
    slow.send(&asked).await.expect("it takes requests");
    let mut answers = 0;
    while answers < UNREAD {
        let frame = slow.next().await.expect("the connection stays");
        answers += u32::from(frame.kind == kind::HEADERS);
        assert_ne!(frame.kind, kind::DATA, "the window is closed");
    }
    let beside = p99(clock, &mut honest).await;
    let large = honest.get("/large").await.expect("an answer");
    assert_eq!((large.body_bytes, large.ended), (200_000, Ended::Clean));
    let growth = recorder.peak_rss_kib() - before;
    eprintln!("quiet p99 {quiet:?}, beside {beside:?}, memory +{growth} KiB");
    assert!(
        beside <= most(HONEST, quiet * 10),
        "{beside:?}, {quiet:?} without"
    );
    assert!(growth < GROWTH_KIB, "memory grew by {growth} KiB");

    // What was held back is there as soon as the client wants it.
    slow.send(&[
        Frame::window_update(0, 1 << 20),
        Frame::window_update(1, 1 << 20),
    ])
    .await
    .expect("it takes updates");
    let mut bytes = 0;
    loop {
        let frame = slow.next().await.expect("the connection stays");
        bytes += frame.payload.len();
        if frame.stream == 1 && frame.has(flag::END_STREAM) {
            break;
        }
    }
    assert_eq!(bytes, 200_000);
}

/// What a client begins and does not finish, another request being in flight or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_up_a_connection_is_given_the_time_of_a_head() {
    let origin = origin();
    let limit = Duration::from_millis(500);
    let deadlines = Deadlines {
        request_head: limit,
        ..Deadlines::default()
    };
    let peer = (origin.addr(), origin.root());
    let mut inside = Inside::start("stuck.test", peer, deadlines, LIMITS).await;
    let begun = Frame::new(kind::HEADERS, 0, 3, block(&get("stuck.test", "/"))).encode();
    let go_on = Frame::new(kind::CONTINUATION, 0, 3, *b"").encode();
    let whole = ask("stuck.test", 3, "/").encode();
    let rows: [(&str, Vec<u8>); 5] = [
        ("a head without an end", begun.clone()),
        (
            "a head that goes on without an end",
            [begun, go_on].concat(),
        ),
        ("half a frame of a head", whole[..20].to_vec()),
        ("half a frame's own head", whole[..5].to_vec()),
        (
            "a setting's first bytes",
            Frame::settings(&[]).encode()[..8].to_vec(),
        ),
    ];
    let (clock, mut tasks) = (Clock::start(), JoinSet::new());
    for (what, bytes) in rows {
        for is_busy in [false, true] {
            let (proxy, hello, bytes) = (inside.proxy, inside.hello("stuck.test"), bytes.clone());
            tasks.spawn(async move {
                let mut wire = Wire::greeted(proxy, hello, "stuck.test", &[]).await;
                if is_busy {
                    let busy = ask("stuck.test", 1, "/silent");
                    wire.send(&[busy]).await.expect("it takes a request");
                }
                let started = clock.now();
                wire.client.send(bytes).await.expect("it takes bytes");
                while wire.next().await.is_some() {}
                (what, is_busy, clock.now().since(started))
            });
        }
    }
    for (what, is_busy, after) in within(tasks.join_all()).await {
        assert!(after >= limit, "{what}, busy {is_busy}: {after:?}");
        assert!(
            after < Duration::from_secs(60),
            "{what}, busy {is_busy}: {after:?}"
        );
    }
    let mut wire = Wire::open(inside.proxy, inside.hello("stuck.test"), "stuck.test").await;
    let half = &PREFACE[..10];
    wire.client.send(half).await.expect("it takes bytes");
    while wire.next().await.is_some() {}
    drop(wire);
    let recording = inside.finish().await;
    let whys: Vec<_> = recording
        .connections()
        .map(|row| row.closed.as_ref().map(|closed| closed.why.clone()))
        .collect();
    assert_eq!(whys.len(), 11);
    for why in whys {
        let why = why.expect("every connection has ended");
        assert!(why.contains("no whole request head in time"), "{why}");
    }
}
