//! Hours in seconds, or in as many minutes as wished: nothing is lost, nothing grows.

use std::collections::BTreeSet;

use modtape::clock::{Clock, Timestamp};
use modtape::exchange::Ending;
use tokio::task::JoinSet;

use super::*;

/// Clients at once.
const CLIENTS: usize = 8;

/// One of so many requests is given up before its end.
const ABORTS: u64 = 20;

/// What memory may grow by after the first fifth, whatever time passes.
const GROWTH_KIB: u64 = 4 << 10;

/// How long: `MODTAPE_SOAK_SECONDS`, else half an hour in the long run, else 20 s.
fn duration() -> Duration {
    let wished = std::env::var("MODTAPE_SOAK_SECONDS").ok();
    let wished = wished.and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(wished.unwrap_or(count(20, 30 * 60) as u64))
}

/// Asks until `until`, and rests as long as each answer took; the paths that came whole.
async fn client(
    number: usize,
    (proxy, hello): (std::net::SocketAddr, Hello),
    (clock, until): (Clock, Timestamp),
) -> Vec<String> {
    let mut whole = Vec::new();
    let mut session = Client::session(proxy, &hello).await;
    let mut request = 0_u64;
    while clock.now() < until {
        request += 1;
        let began = clock.now();
        let size = ["small", "large"][usize::from(request.is_multiple_of(10))];
        let path = format!("/{number}/{request}/{size}");
        if request.is_multiple_of(ABORTS) {
            let asked = session.request(&path);
            let response = session.start(asked).await.expect("a head");
            drop(response);
            session = Client::session(proxy, &hello).await;
        } else {
            let answer = session.get(&path).await.expect("an answer");
            assert!(answer.is_whole_ok(), "{answer:?}");
            whole.push(path);
        }
        // Half load, and no more than a few hundred requests a second: not a wait for anything.
        let rest = clock.now().since(began).max(Duration::from_millis(15));
        tokio::time::sleep(rest).await;
    }
    whole
}

#[tokio::test]
async fn at_half_load_with_aborts_nothing_is_lost_and_nothing_grows() {
    let origin = Origin::builder(files())
        .rule(Rule::suffix("/small").status(200).generated(2_000))
        .rule(Rule::suffix("/large").status(200).generated(100_000))
        .start();
    let recorder = Recorder::to(&origin, &[]);
    session(&recorder, Alpn::Http1)
        .await
        .get("/a")
        .await
        .expect("an answer");
    let process = recorder.process();
    let fewest = process.descriptors();
    let (clock, duration) = (Clock::start(), duration());
    let until = clock.now() + duration;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let hello = recorder.hello(HOST).alpn(BOTH[number % 2]);
        clients.spawn(client(number, (recorder.proxy(), hello), (clock, until)));
    }
    tokio::time::sleep_until(clock.instant(Timestamp::default() + duration / 5)).await;
    let warm = process.rss_kib();
    let whole: BTreeSet<_> = clients.join_all().await.into_iter().flatten().collect();
    let (end, open) = (process.rss_kib(), process.descriptors());
    eprintln!(
        "{duration:?}: {} whole, RSS {warm} KiB after a fifth, {end} KiB at the end, \
         descriptors {fewest} before, {open} after",
        whole.len()
    );
    assert!(end < warm + GROWTH_KIB, "{warm} KiB, {end} KiB");
    assert!(open <= fewest + 4, "{fewest} before, {open} after");
    let recorded = recorder.finish().await;
    let exchanges = recorded.exchanges().into_iter();
    let ended = exchanges.filter(|exchange| matches!(exchange.ending, Ending::Ended(_)));
    let ended: BTreeSet<_> = ended
        .filter_map(|exchange| {
            Some(
                exchange
                    .begin
                    .url
                    .strip_prefix("https://proxy.golang.org")?
                    .to_owned(),
            )
        })
        .collect();
    let lost: Vec<_> = whole.difference(&ended).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
