//! Many clients that stall, and one that does not.

use modtape::clock::{Clock, Timestamp};

use super::stalls::{Stall, talk};
use super::*;

/// Where they stop, in turn.
const STALLS: [Stall; 5] = [
    Stall::Silent,
    Stall::HalfConnect,
    Stall::NoHello,
    Stall::HalfHello,
    Stall::HalfHead,
];

/// What the honest client is promised.
const PROMISED: Duration = Duration::from_millis(100);

/// The median time of twenty requests, each on a connection of its own.
async fn median(recorder: &Recorder) -> Duration {
    let mut times = Vec::new();
    for number in 0..20 {
        let clock = Clock::start();
        let answer = session(recorder, BOTH[number % 2]).await.get("/a").await;
        assert!(answer.expect("an answer").is_whole_ok());
        times.push(clock.now().since(Timestamp::default()));
    }
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
async fn two_thousand_that_stall_do_not_delay_one_that_does_not() {
    let _all = take_descriptors().await;
    let crowd = count(500, 2_000);
    let origin = Origin::start(files());
    let recorder = Recorder::to(&origin, &[]);
    let alone = median(&recorder).await;
    let hello = recorder.hello(HOST);
    let mut stalled = Vec::new();
    for number in 0..crowd {
        stalled.push(talk(recorder.proxy(), &hello, STALLS[number % STALLS.len()]).await);
    }
    let among = median(&recorder).await;
    eprintln!("alone {alone:?}, among {crowd} that stall {among:?}");
    drop(stalled);
    // A machine that is slow without them, before or after, is no fault of theirs.
    let alone = match among < PROMISED {
        true => alone,
        false => alone.max(median(&recorder).await),
    };
    let most = PROMISED.max(alone * 3);
    assert!(among < most, "alone {alone:?}, among {crowd} {among:?}");
    recorder.finish().await;
}
