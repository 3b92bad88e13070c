//! Attacks on the frames of one connection, with an honest client beside them on another.
//!
//! Each is named after the advisories that taught it. It is made again and again, on one connection
//! after the other, while the honest client works: each of its connections must be ended, and the
//! recording names what was wrong with it.

mod attacks;
mod keys;
mod slow;

use std::net::SocketAddr;
use std::time::Duration;

use modtape::clock::Clock;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::wire::Wire;
use crate::support::{Content, Hello, Origin, Recorder, Rule, Session, is_release};
use attacks::{ATTACKS, Attack};

/// An attack must be over after so long, on a machine that has nothing else to do.
const ENDED_WITHIN: Duration = Duration::from_secs(2);

/// What an honest request may take in 99 of 100 cases, on the same machine.
const HONEST: Duration = Duration::from_millis(250);

/// How much longer both may take without optimisation: frames cost ten times as much there.
const UNOPTIMISED: u32 = 3;

/// What all attacks together may add to the recorder's memory.
const GROWTH_KIB: u64 = 32 * 1024;

/// Honest requests beside each attack.
const REQUESTS: usize = 200;

/// An origin that answers at once, but for what ends in `/silent`, and sends 200 KB as `/large`.
pub fn origin() -> Origin {
    Origin::builder(Content::default())
        .rule(Rule::suffix("/silent").silent())
        .rule(Rule::suffix("/large").status(200).generated(200_000))
        .rule(Rule::any().status(200).body("honest"))
        .start()
}

/// What is promised of a release on a quiet machine, or as much as this machine needs by itself.
pub fn most(promised: Duration, by_itself: Duration) -> Duration {
    let times = if is_release() { 1 } else { UNOPTIMISED };
    (times * promised).max(by_itself)
}

/// The 99th percentile of the time that honest requests take.
async fn p99(clock: Clock, session: &mut Session) -> Duration {
    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        let started = clock.now();
        let response = session.get("/honest").await.expect("an honest answer");
        assert_eq!(response.text(), "honest");
        times.push(clock.now().since(started));
    }
    times.sort();
    times[REQUESTS * 99 / 100]
}

/// Attacks on one connection after the other while the honest client is there; how long each lived.
async fn assault(
    attack: &'static Attack,
    (proxy, hello): (SocketAddr, Hello),
    alone: CancellationToken,
) -> Vec<Duration> {
    let (host, clock) = (attack.host(), Clock::start());
    let mut lives = Vec::new();
    while lives.len() < attack.strikes && (lives.is_empty() || !alone.is_cancelled()) {
        let wire = Wire::greeted(proxy, hello.clone(), &host, attack.settings).await;
        let started = clock.now();
        // Far above what is promised: what lives longer is found by its age.
        let _ = timeout(10 * ENDED_WITHIN, strike((attack, &host), wire)).await;
        lives.push(clock.now().since(started));
    }
    lives
}

/// Sends round after round until the connection is gone.
async fn strike((attack, host): (&Attack, &str), mut wire: Wire) {
    // Of the recorder's own first frames: the attack does not depend on them.
    wire.client.forget_read();
    let (mut reading, mut writing) = tokio::io::split(wire.client.into_stream());
    let gone = ended(&mut reading);
    let send = async {
        for round in 0.. {
            if writing
                .write_all(&(attack.round)(host, round))
                .await
                .is_err()
            {
                break;
            }
            if writing.flush().await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = gone => {}
        () = send => {}
    }
}

/// Reads and forgets until there is nothing more to come.
pub async fn ended(stream: &mut (impl AsyncRead + Unpin)) {
    let mut bytes = vec![0; 64 * 1024];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

/// What went wrong, a line each.
async fn beside(
    attack: &'static Attack,
    (recorder, honest): (&Recorder, &mut Session),
    (clock, quiet): (Clock, Duration),
) -> Vec<String> {
    let alone = CancellationToken::new();
    let mut attacker = JoinSet::new();
    let door = (recorder.proxy(), recorder.hello(&attack.host()));
    attacker.spawn(assault(attack, door, alone.clone()));
    let p99 = p99(clock, honest).await;
    alone.cancel();
    let lives = attacker.join_next().await.expect("one task");
    let lives = lives.expect("an attacker does not fail");
    let longest = lives.iter().max().copied().unwrap_or_default();
    let name = attack.name;
    eprintln!(
        "{name}: {} times, longest {longest:?}, honest p99 {p99:?}",
        lives.len()
    );
    let mut wrong = Vec::new();
    // A machine with other work is slower for everybody, and that work may have come since.
    let quiet = match longest > ENDED_WITHIN || p99 > HONEST {
        true => quiet.max(self::p99(clock, honest).await),
        false => quiet,
    };
    if longest > most(ENDED_WITHIN, quiet * 80) {
        wrong.push(format!("{name} went on for {longest:?}"));
    }
    if p99 > most(HONEST, quiet * 10) {
        wrong.push(format!(
            "{name}: honest requests took {p99:?}, {quiet:?} without"
        ));
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flood_of_frames_lasts_or_slows_an_honest_client() {
    let (origin, clock) = (origin(), Clock::start());
    let recorder = Recorder::to(&origin, &["--intercept-all"]);
    let mut honest = recorder.session("honest.test").await;
    p99(clock, &mut honest).await;
    let quiet = p99(clock, &mut honest).await;
    let before = recorder.peak_rss_kib();
    let mut wrong = Vec::new();
    for attack in ATTACKS {
        wrong.extend(beside(attack, (&recorder, &mut honest), (clock, quiet)).await);
    }
    let growth = recorder.peak_rss_kib() - before;
    eprintln!("quiet p99 {quiet:?}, memory +{growth} KiB");
    if growth > GROWTH_KIB {
        wrong.push(format!("memory grew by {growth} KiB"));
    }
    drop(honest);
    let recorded = recorder.finish().await;
    for row in recorded.recording.connections() {
        let (Some(opened), Some(closed)) = (&row.opened, &row.closed) else {
            wrong.push(format!("a connection has no end: {row:?}"));
            continue;
        };
        let attack = ATTACKS
            .iter()
            .find(|a| opened.target == format!("{}:443", a.host()));
        if let Some(attack) = attack
            && !attack.why.iter().any(|why| closed.why.contains(why))
        {
            wrong.push(format!("{} was ended: {}", attack.name, closed.why));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
