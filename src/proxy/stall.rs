//! Upstreams that are silent: each silence on record while it lasts, and notices for people, one a cause
//! and minute.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::context::Context;
use super::live::{InFlight, Kept, Live};
use crate::child::{self, Ends};
use crate::clock::Timestamp;
use crate::diagnose::stuck::{self, Limits, Stuck, Waiting};
use crate::exchange::{Phase, Stall};
use crate::gomod::Base;
use crate::recording::Recorder;
use crate::recording::format::Event;
use crate::recording::processes::Sample;
use crate::tls::Protocol;

/// A silence that goes on is reported again, and recorded again, after so long at the latest.
const AGAIN: Duration = Duration::from_micros(AGAIN_US);
const AGAIN_US: u64 = 60_000_000;

/// What TCP says of a silent connection is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Where it could not tell yet: what is lost is sent again after a fifth of a second at the earliest.
const ASK_SOON: Duration = Duration::from_millis(500);

/// How long what TCP says is waited for, before a silence is told without it.
const ANSWER: Duration = Duration::from_millis(200);

/// What keeps something waiting.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    /// The cause.
    pub(crate) stuck: Stuck,
    /// The exchange or dial that has waited longest for it.
    pub(crate) entry: InFlight,
}

/// Finds silences, records each, and reports each cause once a minute.
pub(crate) struct Stalls {
    live: Live,
    limits: Limits,
    bases: Arc<[Base]>,
    recorder: Option<Recorder>,
    /// What TCP says of those that are silent, and when it was asked, by the entry's key.
    sent: HashMap<u64, (Timestamp, Option<u64>)>,
    asking: Option<Asking>,
    /// When to look again. Kept here, since `next` may be called in many short turns.
    look_at: Timestamp,
    /// The silences that last, by the entry's key.
    silences: HashMap<u64, Silence>,
    /// Over once the last record is written.
    writing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    reported: Vec<Reported>,
}

/// TCP is asked, on a thread of its own.
struct Asking {
    /// The connections of which it is asked, by the entry's key.
    whom: Vec<(u64, Ends)>,
    since: Timestamp,
    answer: JoinHandle<HashMap<Ends, u64>>,
}

/// A silence that lasts.
#[derive(Debug)]
struct Silence {
    /// As it was last recorded.
    stall: Stall,
    /// The entry, which may be over when it is looked for next.
    entry: Option<Kept>,
}

/// A cause that was reported.
#[derive(Debug)]
struct Reported {
    code: &'static str,
    whom: String,
    at: Timestamp,
    about: Wait,
    /// When it was last seen: what flows for a while afterwards is a new matter.
    seen_at: Timestamp,
}

/// One wait of one exchange or dial: it stays the same while a response trickles in.
#[derive(Debug, PartialEq, Eq)]
struct Wait {
    key: u64,
    phase: Phase,
}

impl Wait {
    const fn of(entry: &InFlight) -> Self {
        Self {
            key: entry.key,
            phase: entry.phase,
        }
    }
}

impl Silence {
    /// True if something came since.
    fn is_over(&self, entry: &InFlight) -> bool {
        self.stall.since_us != entry.progress
    }
}

impl Stalls {
    /// Watches what is in flight in a session.
    pub(crate) fn of(context: &Context, limits: Limits) -> Self {
        let bases = Arc::clone(&context.bases);
        Self::new(
            context.live.clone(),
            limits,
            bases,
            context.recorder.clone(),
        )
    }

    fn new(live: Live, limits: Limits, bases: Arc<[Base]>, recorder: Option<Recorder>) -> Self {
        Self {
            look_at: live.now(),
            live,
            limits,
            bases,
            recorder,
            sent: HashMap::new(),
            asking: None,
            silences: HashMap::new(),
            writing: None,
            reported: Vec::new(),
        }
    }

    /// What is in flight.
    pub(crate) const fn live(&self) -> &Live {
        &self.live
    }

    /// Waits for the next causes that are due to be reported.
    pub(crate) async fn next(&mut self) -> Vec<Notice> {
        let tick = Duration::from_micros(self.limits.stall_us / 10);
        let tick = tick.clamp(Duration::from_millis(20), Duration::from_secs(1));
        loop {
            let wait = self.look_at.since(self.live.now());
            tokio::time::sleep(wait).await;
            self.ask_tcp();
            self.hear_tcp().await;
            self.look_at = self.live.now() + tick;
            let (now, entries) = (self.live.now(), self.live.in_flight());
            self.record(now, &entries);
            let due = self.due(now, &entries);
            if !due.is_empty() {
                return due;
            }
        }
    }

    /// Asks TCP about the connections that are silent: seldom, since it tells of all that there are.
    fn ask_tcp(&mut self) {
        let (now, entries) = (self.live.now(), self.live.in_flight());
        let silent = entries.iter().filter(|entry| self.is_silent(entry, now));
        let silent: HashMap<u64, Ends> = silent
            .filter_map(|entry| Some((entry.key, ends(entry)?)))
            .collect();
        self.sent.retain(|key, _| silent.contains_key(key));
        let is_known = |key: &u64| {
            let known = self.sent.get(key);
            known.is_some_and(|(asked, told)| {
                let again = if told.is_some() { ASK_AGAIN } else { ASK_SOON };
                now.since(*asked) < again
            })
        };
        if self.asking.is_some() || silent.keys().all(is_known) {
            return;
        }
        let wanted: HashSet<Ends> = silent.values().copied().collect();
        self.asking = Some(Asking {
            whom: silent.into_iter().collect(),
            since: now,
            answer: tokio::task::spawn_blocking(move || child::unacknowledged(&wanted)),
        });
    }

    /// Takes what TCP says, if it says so soon; else at a later turn. Dropped in between, it goes on with
    /// the next call.
    async fn hear_tcp(&mut self) {
        let Some(asking) = &mut self.asking else {
            return;
        };
        let left = (asking.since + ANSWER).since(self.live.now());
        let Ok(answer) = tokio::time::timeout(left, &mut asking.answer).await else {
            return;
        };
        let told = answer.unwrap_or_default();
        if let Some(Asking { whom, since, .. }) = self.asking.take() {
            let told = |(key, ends)| (key, (since, told.get(&ends).copied()));
            self.sent.extend(whom.into_iter().map(told));
        }
    }

    fn is_silent(&self, entry: &InFlight, now: Timestamp) -> bool {
        is_upstreams(entry) && now.micros_since(entry.progress) >= self.limits.stall_us
    }

    /// Records what the command's processes do, since that is about to be told.
    pub(crate) fn record_sample(&mut self, sample: Sample) {
        let now = self.live.now();
        let recorder = self.recorder.as_ref();
        let written = recorder.map(|recorder| recorder.queue(now, &Event::Sample(sample)));
        if let Some(written) = written {
            self.writing = Some(Box::pin(written));
        }
    }

    /// Waits until what was found is on record, but not long for a disk that takes nothing.
    pub(crate) async fn on_record(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = tokio::time::timeout(Duration::from_secs(1), writing).await;
        }
    }

    /// Records the silences that are new, have lasted twice as long as when they were last recorded, or
    /// are over.
    fn record(&mut self, now: Timestamp, entries: &[InFlight]) {
        let Some(recorder) = self.recorder.clone() else {
            return;
        };
        let mut write = |stall: &Stall| {
            let written = recorder.queue(now, &Event::Stall(stall.clone()));
            self.writing = Some(Box::pin(written));
        };
        let mut before = std::mem::take(&mut self.silences);
        for entry in entries {
            let mut known = before.remove(&entry.key);
            if let Some(over) = known.take_if(|known| known.is_over(entry)) {
                write(&ended(over.stall, entry));
            }
            let silent_us = now.micros_since(entry.progress);
            let due_us = known.as_ref().map_or(self.limits.stall_us, |known| {
                let before_us = known.stall.silent_us;
                before_us.saturating_add(before_us.min(AGAIN_US))
            });
            let last = match known {
                _ if is_upstreams(entry) && silent_us >= due_us => {
                    let told = self.sent.get(&entry.key).and_then(|(_, told)| *told);
                    let stall = stall(entry, silent_us, told);
                    write(&stall);
                    let entry = self.live.keep(entry.key);
                    Some(Silence { stall, entry })
                }
                known => known,
            };
            self.silences
                .extend(last.map(|silence| (entry.key, silence)));
        }
        // What came last of an entry that is over may have come after a silence.
        for silence in before.into_values() {
            let last = silence.entry.as_ref().map(Kept::look);
            if let Some(last) = last.filter(|last| silence.is_over(last)) {
                write(&ended(silence.stall, &last));
            }
        }
    }

    fn due(&mut self, now: Timestamp, entries: &[InFlight]) -> Vec<Notice> {
        // A response that trickles in is reported once: between its bytes the wait is still the same.
        self.reported.retain(|reported| {
            let goes_on = entries
                .iter()
                .any(|entry| Wait::of(entry) == reported.about);
            goes_on && now.since(reported.seen_at) < AGAIN
        });
        let waiting: Vec<_> = entries
            .iter()
            .map(|entry| {
                let told = self.sent.get(&entry.key).and_then(|(_, told)| *told);
                waiting(entry, now, &self.bases, told)
            })
            .collect();
        let mut due = Vec::new();
        for stuck in stuck::causes(&waiting, &self.limits) {
            let Some(entry) = stuck.members.first().map(|first| &entries[*first]) else {
                continue;
            };
            let is_same = |known: &Reported| (known.code, &known.whom) == (stuck.code, &stuck.whom);
            if let Some(known) = self.reported.iter_mut().find(|known| is_same(known)) {
                known.seen_at = now;
                if now.since(known.at.max(entry.progress)) < AGAIN {
                    continue;
                }
                (known.at, known.about) = (now, Wait::of(entry));
            } else {
                self.reported.push(Reported {
                    code: stuck.code,
                    whom: stuck.whom.clone(),
                    at: now,
                    about: Wait::of(entry),
                    seen_at: now,
                });
            }
            let entry = entry.clone();
            due.push(Notice { stuck, entry });
        }
        due
    }
}

/// The ends of the connection that an entry is on, once it is set up.
pub(crate) fn ends(entry: &InFlight) -> Option<Ends> {
    Some(Ends {
        local: entry.local?,
        peer: entry.address.as_deref()?.parse().ok()?,
    })
}

/// The command may end before the next look: what came last is recorded in time.
impl Drop for Stalls {
    fn drop(&mut self) {
        let (now, entries) = (self.live.now(), self.live.in_flight());
        self.record(now, &entries);
    }
}

/// An entry as those see it who look for causes.
pub(crate) fn waiting<'a>(
    entry: &'a InFlight,
    now: Timestamp,
    bases: &[Base],
    unacknowledged_bytes: Option<u64>,
) -> Waiting<'a> {
    Waiting {
        id: entry.id,
        connection: entry.connection,
        host: &entry.host,
        is_sumdb: stuck::is_sumdb(&entry.host, bases),
        kind: entry.kind,
        is_h2: entry.protocol == Some(Protocol::H2),
        phase: entry.phase,
        is_asking: entry.is_asking,
        silent_us: now.micros_since(entry.progress),
        is_upstreams_turn: !entry.is_paused,
        bytes: entry.bytes,
        length: entry.length,
        address: entry.address.as_deref(),
        unacknowledged_bytes,
        via: entry.via.as_deref(),
        is_tls: entry.is_tls,
        is_reused: entry.is_reused,
        awaits: entry.awaits.as_deref(),
    }
}

/// True while it is the upstream that we wait for.
fn is_upstreams(entry: &InFlight) -> bool {
    !entry.is_paused && entry.phase != Phase::Blocked
}

fn stall(entry: &InFlight, silent_us: u64, unacknowledged_bytes: Option<u64>) -> Stall {
    Stall {
        id: entry.id,
        connection: entry.connection,
        host: entry.host.clone(),
        target: entry.target.clone(),
        phase: entry.phase,
        is_asking: entry.is_asking,
        since_us: entry.progress,
        silent_us,
        is_over: false,
        body_bytes: entry.bytes,
        length: entry.length,
        address: entry.address.clone(),
        unacknowledged_bytes,
        via: entry.via.clone(),
    }
}

/// The last record of a silence, after which something came. How long it was is known exactly of a long
/// silence, and else up to the last thing that came.
fn ended(stall: Stall, entry: &InFlight) -> Stall {
    let exact = entry.silence.filter(|(since, _)| *since == stall.since_us);
    let until_us = entry.progress.micros_since(stall.since_us);
    Stall {
        silent_us: exact.map_or(until_us, |(_, silent_us)| silent_us),
        is_over: true,
        ..stall
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::exchange::ExchangeId;
    use crate::proxy::live::{ConnectedTo, Subject};

    fn subject(id: ExchangeId, host: &str) -> Subject<'_> {
        Subject {
            id: Some(id),
            connection: 1,
            host,
            ..Subject::default()
        }
    }

    fn stalls(live: &Live, after_s: u64) -> Stalls {
        let limits = Limits {
            stall_us: after_s * 1_000_000,
            ..Limits::default()
        };
        Stalls::new(live.clone(), limits, Arc::new([]), None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_reported_where_the_wait_for_it_is_cut_into_short_turns() {
        let live = Live::new(Clock::start());
        let _one = live.begin(subject(1, "sum.golang.org"), Phase::Wait);
        let mut stalls = stalls(&live, 10);
        let turn = Duration::from_millis(250);
        while tokio::time::timeout(turn, stalls.next()).await.is_err() {
            assert!(seconds(&live) < 12, "nothing was reported");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_client_uploads_nothing_is_reported_of_the_upstream() {
        let live = Live::new(Clock::start());
        let entry = live.begin(subject(1, "slow.example"), Phase::Wait);
        let upload = entry.upload();
        let mut stalls = stalls(&live, 10);
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
        let entry = live.begin(subject(1, "slow.example"), Phase::Receive);
        let mut stalls = stalls(&live, 2);
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
        let _other = live.begin(subject(2, "slow.example"), Phase::Wait);
        assert_eq!(stalls.next().await[0].entry.id, Some(2));
        assert!((362..=365).contains(&seconds(&live)), "{}", seconds(&live));
    }

    fn seconds(live: &Live) -> u64 {
        live.now().as_micros() / 1_000_000
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_reported_once_a_host_and_again_after_a_minute() {
        let live = Live::new(Clock::start());
        let one = live.begin(subject(1, "sum.golang.org"), Phase::Wait);
        let _two = live.begin(subject(2, "sum.golang.org"), Phase::Wait);
        let _held = live.begin(subject(3, "slow.example"), Phase::Blocked);
        let mut stalls = stalls(&live, 10);
        let first = stalls.next().await;
        assert!((10..=11).contains(&seconds(&live)), "{}", seconds(&live));
        let [stall] = &first[..] else {
            panic!("{first:?}")
        };
        assert_eq!((stall.entry.id, stall.stuck.members.len()), (Some(1), 2));
        stalls.next().await;
        assert!((70..=73).contains(&seconds(&live)), "{}", seconds(&live));
        one.enter(Phase::Receive, live.now());
        let third = stalls.next().await;
        assert_eq!(third[0].entry.id, Some(2));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(start_paused = true)]
    async fn tcp_is_asked_of_connections_that_are_set_up_and_of_no_dial() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connection = std::net::TcpStream::connect(address).unwrap();
        let live = Live::new(Clock::start());
        let request = live.begin(subject(1, "silent.example"), Phase::Wait);
        request.connected(ConnectedTo {
            address: Some(address.to_string().into()),
            local: connection.local_addr().ok(),
            via: None,
            is_reused: false,
        });
        let _dial = live.begin(
            Subject {
                id: None,
                ..subject(1, "dead.example")
            },
            Phase::Connect,
        );
        let mut stalls = stalls(&live, 10);
        let told = stalls.next().await;
        let cause = |host| told.iter().find(|one| one.stuck.whom == host).unwrap();
        let cause = &cause("silent.example").stuck.cause;
        assert!(
            cause.ends_with("although its TCP acknowledges the request"),
            "{cause}"
        );
        let asked: Vec<u64> = stalls.sent.keys().copied().collect();
        assert_eq!(asked, [told[0].entry.key.min(told[1].entry.key)]);
    }
}
