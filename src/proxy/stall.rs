//! Says that an upstream is silent, while it is: one notice a host, again every minute.

use std::collections::HashMap;
use std::time::Duration;

use super::live::{InFlight, Live};
use crate::clock::Timestamp;
use crate::exchange::Phase;

/// A silence is told again after so long.
const AGAIN: Duration = Duration::from_secs(60);

/// An upstream that keeps something waiting.
#[derive(Debug, Clone)]
pub struct Stall {
    /// What waits, and for whom.
    pub entry: InFlight,
    /// Since when nothing came.
    pub silent: Duration,
    /// How many others wait for the same host.
    pub others: usize,
}

/// Finds stalls; asked again and again, it tells each silence once a minute.
#[derive(Debug)]
pub struct Stalls {
    live: Live,
    after: Duration,
    /// When to look again. Kept here, since whoever waits may do so in many short turns.
    look_at: Timestamp,
    told: HashMap<String, Timestamp>,
}

impl Stalls {
    /// Calls a silence of `after` a stall.
    pub fn new(live: Live, after: Duration) -> Self {
        Self {
            look_at: live.now(),
            live,
            after,
            told: HashMap::new(),
        }
    }

    /// Waits for the next stalls that are due to be told.
    pub async fn next(&mut self) -> Vec<Stall> {
        let tick = (self.after / 10).clamp(Duration::from_millis(20), Duration::from_secs(1));
        loop {
            let wait = self.look_at.since(self.live.now());
            tokio::time::sleep(wait).await;
            self.look_at = self.live.now() + tick;
            let due = self.due();
            if !due.is_empty() {
                return due;
            }
        }
    }

    fn due(&mut self) -> Vec<Stall> {
        let now = self.live.now();
        let mut silent: Vec<_> = self
            .live
            .in_flight()
            .into_iter()
            .filter(|entry| is_upstreams(entry) && now.since(entry.progress) >= self.after)
            .collect();
        silent.sort_by_key(|entry| entry.progress);
        self.told
            .retain(|host, _| silent.iter().any(|entry| entry.host == *host));
        let mut due: Vec<Stall> = Vec::new();
        for entry in silent {
            if let Some(same) = due.iter_mut().find(|stall| stall.entry.host == entry.host) {
                same.others += 1;
                continue;
            }
            let told = self.told.get(&entry.host);
            if told.is_none_or(|told| now.since(*told) >= AGAIN) {
                due.push(Stall {
                    silent: now.since(entry.progress),
                    entry,
                    others: 0,
                });
            }
        }
        for stall in &due {
            self.told.insert(stall.entry.host.clone(), now);
        }
        due
    }
}

/// True while it is the upstream that keeps everybody waiting.
fn is_upstreams(entry: &InFlight) -> bool {
    !entry.is_held && entry.phase != Phase::Blocked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_told_to_whoever_waits_in_short_turns() {
        let live = Live::new(Clock::start());
        let _one = live.begin(Some(1), "sum.golang.org", None, Phase::Wait);
        let mut stalls = Stalls::new(live.clone(), Duration::from_secs(10));
        let turn = Duration::from_millis(250);
        while tokio::time::timeout(turn, stalls.next()).await.is_err() {
            assert!(seconds(&live) < 12, "nothing was told");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_client_uploads_nothing_is_told_of_the_upstream() {
        let live = Live::new(Clock::start());
        let entry = live.begin(Some(1), "slow.example", None, Phase::Wait);
        let upload = entry.upload();
        let mut stalls = Stalls::new(live.clone(), Duration::from_secs(10));
        let telling = async {
            for _ in 0..3 {
                upload.is_held();
                tokio::time::sleep(Duration::from_secs(30)).await;
                upload.passes();
            }
            std::future::pending::<()>().await;
        };
        let told = tokio::select! {
            told = stalls.next() => told,
            () = telling => unreachable!(),
        };
        assert_eq!(told.len(), 1);
        assert!((100..=101).contains(&seconds(&live)), "{}", seconds(&live));
    }

    fn seconds(live: &Live) -> u64 {
        live.now().as_micros() / 1_000_000
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_told_once_a_host_and_again_after_a_minute() {
        let live = Live::new(Clock::start());
        let one = live.begin(Some(1), "sum.golang.org", None, Phase::Wait);
        let _two = live.begin(Some(2), "sum.golang.org", None, Phase::Wait);
        let _held = live.begin(Some(3), "slow.example", None, Phase::Blocked);
        let mut stalls = Stalls::new(live.clone(), Duration::from_secs(10));
        let first = stalls.next().await;
        assert!((10..=11).contains(&seconds(&live)), "{}", seconds(&live));
        let [stall] = &first[..] else {
            panic!("{first:?}")
        };
        assert_eq!((stall.entry.id, stall.others), (Some(1), 1));
        stalls.next().await;
        assert!((70..=73).contains(&seconds(&live)), "{}", seconds(&live));
        one.enter(Phase::Receive);
        let third = stalls.next().await;
        assert_eq!(third[0].entry.id, Some(2));
    }
}
