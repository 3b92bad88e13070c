//! Notices of upstreams that are silent: one a host, again every minute.

use std::collections::HashMap;
use std::time::Duration;

use super::live::{InFlight, Live};
use crate::clock::Timestamp;
use crate::exchange::{ExchangeId, Phase};

/// A silence that goes on is reported again after so long.
const AGAIN: Duration = Duration::from_secs(60);

/// An upstream that keeps something waiting.
#[derive(Debug, Clone)]
pub(crate) struct Stall {
    /// The exchange or dial that waits.
    pub(crate) entry: InFlight,
    /// Since when nothing came.
    pub(crate) silent: Duration,
    /// How many others wait for the same host.
    pub(crate) others: usize,
}

/// Finds stalls, and reports each once a minute.
#[derive(Debug)]
pub(crate) struct Stalls {
    live: Live,
    after: Duration,
    /// When to look again. Kept here, since `next` may be called in many short turns.
    look_at: Timestamp,
    /// By host.
    notices: HashMap<String, Notice>,
}

/// The last notice of a host.
#[derive(Debug)]
struct Notice {
    at: Timestamp,
    about: Wait,
    /// When the host was last seen silent: what flows for a while afterwards is a new matter.
    silent_at: Timestamp,
}

/// One wait of one exchange or dial: it stays the same while a response trickles in.
#[derive(Debug, PartialEq, Eq)]
struct Wait {
    id: Option<ExchangeId>,
    started: Timestamp,
    phase: Phase,
}

impl Wait {
    const fn of(entry: &InFlight) -> Self {
        Self {
            id: entry.id,
            started: entry.started,
            phase: entry.phase,
        }
    }
}

impl Stalls {
    /// Calls a silence of `after` a stall.
    pub(crate) fn new(live: Live, after: Duration) -> Self {
        Self {
            look_at: live.now(),
            live,
            after,
            notices: HashMap::new(),
        }
    }

    /// Waits for the next stalls that are due to be reported.
    pub(crate) async fn next(&mut self) -> Vec<Stall> {
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
        let mut entries = self.live.in_flight();
        // A response that trickles in is reported once: between its bytes the wait is still the same.
        self.notices.retain(|_, notice| {
            let goes_on = entries.iter().any(|entry| Wait::of(entry) == notice.about);
            goes_on && now.since(notice.silent_at) < AGAIN
        });
        entries.retain(|entry| is_upstreams(entry) && now.since(entry.progress) >= self.after);
        entries.sort_by_key(|entry| entry.progress);
        let mut due: Vec<Stall> = Vec::new();
        for entry in entries {
            if let Some(same) = due.iter_mut().find(|stall| stall.entry.host == entry.host) {
                same.others += 1;
                continue;
            }
            let noticed = self.notices.get_mut(&entry.host).map(|notice| {
                notice.silent_at = now;
                notice.at.max(entry.progress)
            });
            if noticed.is_none_or(|since| now.since(since) >= AGAIN) {
                due.push(Stall {
                    silent: now.since(entry.progress),
                    entry,
                    others: 0,
                });
            }
        }
        for stall in &due {
            let notice = Notice {
                at: now,
                about: Wait::of(&stall.entry),
                silent_at: now,
            };
            self.notices.insert(stall.entry.host.clone(), notice);
        }
        due
    }
}

/// True while it is the upstream that we wait for.
fn is_upstreams(entry: &InFlight) -> bool {
    !entry.is_paused && entry.phase != Phase::Blocked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_reported_where_the_wait_for_it_is_cut_into_short_turns() {
        let live = Live::new(Clock::start());
        let _one = live.begin(Some(1), "sum.golang.org", None, Phase::Wait);
        let mut stalls = Stalls::new(live.clone(), Duration::from_secs(10));
        let turn = Duration::from_millis(250);
        while tokio::time::timeout(turn, stalls.next()).await.is_err() {
            assert!(seconds(&live) < 12, "nothing was reported");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_client_uploads_nothing_is_reported_of_the_upstream() {
        let live = Live::new(Clock::start());
        let entry = live.begin(Some(1), "slow.example", None, Phase::Wait);
        let upload = entry.upload();
        let mut stalls = Stalls::new(live.clone(), Duration::from_secs(10));
        let uploading = async {
            for _ in 0..3 {
                upload.pauses();
                tokio::time::sleep(Duration::from_secs(30)).await;
                upload.passes();
            }
            std::future::pending::<()>().await;
        };
        let reported = tokio::select! {
            reported = stalls.next() => reported,
            () = uploading => unreachable!(),
        };
        assert_eq!(reported.len(), 1);
        assert!((100..=101).contains(&seconds(&live)), "{}", seconds(&live));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_trickles_in_is_reported_once_until_it_stops() {
        let live = Live::new(Clock::start());
        let entry = live.begin(Some(1), "slow.example", None, Phase::Receive);
        let mut stalls = Stalls::new(live.clone(), Duration::from_secs(2));
        let mut trickle = Box::pin(async {
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(3)).await;
                entry.add_bytes(1);
                entry.wants_more();
            }
        });
        let mut reported = Vec::new();
        loop {
            tokio::select! {
                () = &mut trickle => break,
                stalls = stalls.next() => reported.push((seconds(&live), stalls)),
            }
        }
        drop(trickle);
        assert_eq!(reported.len(), 1, "{reported:?}");
        assert!((2..=3).contains(&reported[0].0), "{reported:?}");
        stalls.next().await;
        assert!((360..=362).contains(&seconds(&live)), "{}", seconds(&live));
        // Another exchange of the same host is another matter.
        drop(entry);
        let _other = live.begin(Some(2), "slow.example", None, Phase::Wait);
        assert_eq!(stalls.next().await[0].entry.id, Some(2));
        assert!((362..=365).contains(&seconds(&live)), "{}", seconds(&live));
    }

    fn seconds(live: &Live) -> u64 {
        live.now().as_micros() / 1_000_000
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_reported_once_a_host_and_again_after_a_minute() {
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
        one.enter(Phase::Receive, live.now());
        let third = stalls.next().await;
        assert_eq!(third[0].entry.id, Some(2));
    }
}
