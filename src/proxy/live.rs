//! What is going on right now: every dial and exchange in flight, its phase and since when.
//!
//! Fed by the legs, read by the status line, the stall notices and the list at Ctrl-C. Also holds why
//! the run was cut off, if it was: clients that leave then do not do so of their own accord.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::exchange::{CUT_OFF, ConnectionId, ExchangeId, LONG_SILENCE_US, Phase};
use crate::gomod::{Base, Kind, Route};
use crate::tls::Protocol;
use crate::upstream::News;

/// Something in flight.
#[derive(Debug, Clone)]
pub struct InFlight {
    /// Names it in the live view: no other entry ever has the same.
    pub(crate) key: u64,
    /// The exchange; `None` while its connection is still being made.
    pub(crate) id: Option<ExchangeId>,
    /// The client connection.
    pub(crate) connection: ConnectionId,
    /// The host that it waits for.
    pub(crate) host: String,
    /// `host:port`, of a dial.
    pub(crate) target: Option<String>,
    /// The protocol of a request.
    pub(crate) protocol: Option<Protocol>,
    /// What a request asks for.
    pub(crate) kind: Option<Kind>,
    /// The module request in words; empty for a dial.
    pub(crate) what: String,
    /// What it is doing.
    pub(crate) phase: Phase,
    /// When it began.
    pub(crate) started: Timestamp,
    /// When the upstream last sent something, or the phase began.
    pub(crate) progress: Timestamp,
    /// The last long silence that is over: since when, and how long it was (microseconds).
    pub(crate) silence: Option<(Timestamp, u64)>,
    /// Bytes of the body so far.
    pub(crate) bytes: u64,
    /// How many bytes the body has in all, if the head said so.
    pub(crate) length: Option<u64>,
    /// The address it is connected to; while it connects, all that were tried, `, ` between them.
    pub(crate) address: Option<String>,
    /// Our end of that connection, if it is set up.
    pub(crate) local: Option<SocketAddr>,
    /// The parent proxy on the way there, without credentials.
    pub(crate) via: Option<String>,
    /// True while the parent proxy has not answered our CONNECT.
    pub(crate) is_asking: bool,
    /// True if there is TLS below the request.
    pub(crate) is_tls: bool,
    /// True if its upstream connection has answered a request before.
    pub(crate) is_reused: bool,
    /// True while we wait for the client or for our disk, and not for the upstream.
    pub(crate) is_paused: bool,
    /// The program that is asked for credentials, before anything is sent: `GOAUTH program NAME`.
    pub(crate) awaits: Option<String>,
}

/// Ctrl-C reaches the processes of the command too, and they may be gone before we handle it: what
/// they gave up this shortly before was in flight for the user.
const MOMENT: Duration = Duration::from_millis(500);

/// How many such entries are kept, which is more than are ever listed.
const ABANDONED_MOST: usize = 64;

/// Everything in flight, and what has passed; cheap to clone.
#[derive(Debug, Clone)]
pub struct Live {
    clock: Clock,
    // A std Mutex: held for a map operation, never across an await.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    lines: BTreeMap<u64, Arc<Line>>,
    done: u64,
    bytes: u64,
    /// The last entries whose clients gave them up.
    abandoned: VecDeque<Abandoned>,
    /// What cut everything off: `cut off by Ctrl-C`.
    cut: Option<String>,
}

/// An entry whose client gave it up.
#[derive(Debug)]
struct Abandoned {
    at: Timestamp,
    key: u64,
    line: Arc<Line>,
}

/// A line of the view, whose text is made when it is shown: most are over before.
#[derive(Debug)]
struct Line {
    id: Option<ExchangeId>,
    connection: ConnectionId,
    host: String,
    target: Option<String>,
    protocol: Option<Protocol>,
    route: Option<LazyRoute>,
    awaits: Option<String>,
    started: Timestamp,
    // A std Mutex: held for a few stores, never across an await.
    progress: Mutex<Progress>,
}

/// How far it is; the fields are those of [`InFlight`].
#[derive(Debug)]
struct Progress {
    phase: Phase,
    at: Timestamp,
    silence: Option<(Timestamp, u64)>,
    bytes: u64,
    length: Option<u64>,
    address: Option<Arc<str>>,
    local: Option<SocketAddr>,
    via: Option<Arc<str>>,
    is_asking: bool,
    is_reused: bool,
    is_paused: bool,
    /// True once it ended by itself, and not because its client gave it up.
    is_done: bool,
}

impl Progress {
    /// The upstream sent something, or a phase begins. Returns how long it was silent before,
    /// microseconds; 0 if it was not its turn.
    fn moves(&mut self, now: Timestamp) -> u64 {
        let silent_us = match self.is_paused {
            true => 0,
            false => now.micros_since(self.at),
        };
        if silent_us >= LONG_SILENCE_US {
            self.silence = Some((self.at, silent_us));
        }
        self.at = now;
        silent_us
    }
}

impl Line {
    fn to_in_flight(&self, key: u64) -> InFlight {
        let route = self.route.as_ref();
        let progress = self.lock();
        InFlight {
            key,
            id: self.id,
            connection: self.connection,
            host: self.host.clone(),
            target: self.target.clone(),
            protocol: self.protocol,
            kind: route.map(|route| route.get().kind),
            what: route.map_or_else(String::new, |route| route.get().what()),
            phase: progress.phase,
            started: self.started,
            progress: progress.at,
            silence: progress.silence,
            bytes: progress.bytes,
            length: progress.length,
            address: progress.address.as_deref().map(str::to_owned),
            local: progress.local,
            via: progress.via.as_deref().map(str::to_owned),
            is_asking: progress.is_asking,
            is_tls: route.is_some_and(|route| route.url.starts_with("https:")),
            is_reused: progress.is_reused,
            is_paused: progress.is_paused,
            awaits: self.awaits.clone(),
        }
    }

    /// A dial came a step further.
    fn update(&self, now: Timestamp, news: News<'_>) {
        let mut progress = self.lock();
        match news {
            News::Through(via) => progress.via = Some(via.into()),
            News::Entered(phase) => {
                if phase == Phase::Connect {
                    progress.address = None;
                }
                progress.moves(now);
                (progress.phase, progress.is_asking) = (phase, false);
            }
            News::Trying(addr) => {
                let tried = progress.address.take();
                let tried = tried.map_or_else(String::new, |tried| format!("{tried}, "));
                progress.address = Some(format!("{tried}{addr}").into());
            }
            News::Connected(addr) => progress.address = Some(addr.to_string().into()),
            News::Asking => {
                progress.moves(now);
                progress.is_asking = true;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Exchanges that are over.
    pub(crate) exchanges: u64,
    /// Bytes of their bodies.
    pub(crate) bytes: u64,
}

/// How much goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activity {
    /// How many dials and exchanges have begun so far.
    pub(crate) begun: u64,
    /// How many of them are not over.
    pub(crate) in_flight: usize,
    /// Whether one of these is silent.
    pub(crate) is_silent: bool,
}

impl Live {
    /// Nothing in flight.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Arc::default(),
        }
    }

    /// Everything in flight, oldest first.
    pub fn in_flight(&self) -> Vec<InFlight> {
        let state = self.lock();
        state
            .lines
            .iter()
            .map(|(key, line)| line.to_in_flight(*key))
            .collect()
    }

    /// An entry to look at later, whether it is in flight then or not; `None` if it is over now.
    pub(super) fn keep(&self, key: u64) -> Option<Kept> {
        let line = self.lock().lines.get(&key).cloned();
        line.map(|line| Kept { key, line })
    }

    /// From now on everything ends because of `what`: `Ctrl-C`, `--timeout 6s`. Returns what is in
    /// flight, oldest first; if that `reached_clients` too, also what they gave up a moment before.
    pub(crate) fn cut_off_by(&self, what: &str, reached_clients: bool) -> Vec<InFlight> {
        let now = self.clock.now();
        let mut state = self.lock();
        let cut = || format!("{CUT_OFF}{what}");
        state.cut.get_or_insert_with(cut);
        let abandoned = state.abandoned.iter();
        let abandoned = abandoned.filter(|entry| reached_clients && now.since(entry.at) <= MOMENT);
        let abandoned = abandoned.map(|entry| (&entry.key, &entry.line));
        let all: BTreeMap<u64, InFlight> = abandoned
            .chain(&state.lines)
            .map(|(key, line)| (*key, line.to_in_flight(*key)))
            .collect();
        all.into_values().collect()
    }

    /// What cut everything off, if anything did: `cut off by Ctrl-C`.
    pub(super) fn cut(&self) -> Option<String> {
        self.lock().cut.clone()
    }

    /// How many requests are in flight.
    pub(super) fn requests(&self) -> usize {
        let state = self.lock();
        let requests = state.lines.values().filter(|line| line.id.is_some());
        requests.count()
    }

    /// How many dials are on their way, for a request or before there is one.
    pub(super) fn dials(&self) -> usize {
        let state = self.lock();
        let dials = state.lines.values().filter(|line| {
            let phase = line.lock().phase;
            matches!(phase, Phase::Dns | Phase::Connect | Phase::Tls)
        });
        dials.count()
    }

    /// What has passed so far.
    pub(crate) fn passed(&self) -> Passed {
        let state = self.lock();
        Passed {
            exchanges: state.done,
            bytes: state.bytes,
        }
    }

    /// How much goes on; a response that has brought nothing for `silence` is silent.
    pub(crate) fn activity(&self, silence: Duration) -> Activity {
        let now = self.clock.now();
        let state = self.lock();
        let is_silent = |line: &Arc<Line>| {
            let progress = line.lock();
            !progress.is_paused && now.since(progress.at) >= silence
        };
        Activity {
            begun: state.next,
            in_flight: state.lines.len(),
            is_silent: state.lines.values().any(is_silent),
        }
    }

    /// The present instant of the clock that the entries are stamped with.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Something begins; it is over when the entry is dropped.
    pub(super) fn begin(&self, subject: Subject<'_>, phase: Phase) -> Entry {
        let now = self.clock.now();
        let line = Arc::new(Line {
            id: subject.id,
            connection: subject.connection,
            host: subject.host.to_owned(),
            target: subject.target,
            protocol: subject.protocol,
            route: subject.route,
            awaits: subject.awaits,
            started: now,
            progress: Mutex::new(Progress {
                phase,
                at: now,
                silence: None,
                bytes: 0,
                length: None,
                address: None,
                local: None,
                via: None,
                is_asking: false,
                is_reused: false,
                is_paused: false,
                is_done: false,
            }),
        });
        let mut state = self.lock();
        state.next += 1;
        let key = state.next;
        state.lines.insert(key, Arc::clone(&line));
        Entry {
            live: self.clone(),
            key,
            line,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry that may be over by now.
#[derive(Debug)]
pub(super) struct Kept {
    key: u64,
    line: Arc<Line>,
}

impl Kept {
    /// How far it is, or how far it came.
    pub(super) fn look(&self) -> InFlight {
        self.line.to_in_flight(self.key)
    }
}

/// What begins: a request, or a dial that no request owns yet.
#[derive(Debug, Default)]
pub(super) struct Subject<'a> {
    pub(super) id: Option<ExchangeId>,
    pub(super) connection: ConnectionId,
    pub(super) host: &'a str,
    pub(super) target: Option<String>,
    pub(super) protocol: Option<Protocol>,
    pub(super) route: Option<LazyRoute>,
    /// As in [`InFlight`].
    pub(super) awaits: Option<String>,
}

/// An upstream connection that is set up.
#[derive(Debug)]
pub(super) struct ConnectedTo {
    /// The peer's address.
    pub(super) address: Option<Arc<str>>,
    /// Our end of it.
    pub(super) local: Option<SocketAddr>,
    /// The parent proxy that it goes through.
    pub(super) via: Option<Arc<str>>,
    /// True if it has answered a request before.
    pub(super) is_reused: bool,
}

/// One line of [`Live`], taken out when dropped.
#[derive(Debug)]
pub(super) struct Entry {
    live: Live,
    key: u64,
    line: Arc<Line>,
}

impl Entry {
    /// The host that it waits for.
    pub(super) fn host(&self) -> &str {
        &self.line.host
    }

    /// What the request is for; `None` for a dial.
    pub(super) fn route(&self) -> Option<&LazyRoute> {
        self.line.route.as_ref()
    }

    pub(super) fn enter(&self, phase: Phase, now: Timestamp) {
        let mut progress = self.line.lock();
        progress.moves(now);
        progress.phase = phase;
    }

    /// The head of the response is there; its body has so many bytes, if that is known.
    pub(super) fn enter_body(&self, now: Timestamp, length: Option<u64>) {
        let mut progress = self.line.lock();
        progress.moves(now);
        (progress.phase, progress.length) = (Phase::Receive, length);
    }

    /// A dial came a step further.
    pub(super) fn update(&self, news: News<'_>) {
        self.line.update(self.live.now(), news);
    }

    /// For a dial that may last longer than it is waited for.
    pub(super) fn follower(&self) -> Follower {
        Follower {
            clock: self.live.clock,
            line: Arc::clone(&self.line),
        }
    }

    /// What goes upstream goes on this connection.
    pub(super) fn connected(&self, connection: ConnectedTo) {
        let mut progress = self.line.lock();
        let ConnectedTo {
            address,
            local,
            via,
            is_reused,
        } = connection;
        (progress.address, progress.local) = (address, local);
        progress.is_reused = is_reused;
        if via.is_some() {
            progress.via = via;
        }
    }

    /// Some of the body passed. Returns how long the upstream was silent before, microseconds; 0 if it
    /// was not its turn.
    pub(super) fn add_bytes(&self, bytes: u64) -> u64 {
        let now = self.live.now();
        let mut progress = self.line.lock();
        progress.bytes += bytes;
        let silent_us = progress.moves(now);
        progress.is_paused = true;
        silent_us
    }

    /// How long the upstream has been silent, microseconds; 0 if it is not its turn.
    pub(super) fn silent_us(&self) -> u64 {
        let now = self.live.now();
        let progress = self.line.lock();
        match progress.is_paused {
            true => 0,
            false => now.micros_since(progress.at),
        }
    }

    /// The disk takes no more for now: silence is not the upstream's.
    pub(super) fn waits_for_disk(&self) {
        self.line.lock().is_paused = true;
    }

    /// What there was is taken: silence is the upstream's again.
    pub(super) fn wants_more(&self) {
        let mut progress = self.line.lock();
        if progress.is_paused {
            (progress.at, progress.is_paused) = (self.live.now(), false);
        }
    }

    /// It ends by itself, and not because its client gives it up.
    pub(super) fn done(&self) {
        self.line.lock().is_done = true;
    }

    /// For the request's body, if it has one.
    pub(super) fn upload(&self) -> UploadEntry {
        UploadEntry {
            clock: self.live.clock,
            line: Arc::clone(&self.line),
        }
    }
}

/// Tells one line of [`Live`] how a dial goes on.
#[derive(Debug)]
pub(super) struct Follower {
    clock: Clock,
    line: Arc<Line>,
}

impl Follower {
    /// A dial came a step further.
    pub(super) fn update(&self, news: News<'_>) {
        self.line.update(self.clock.now(), news);
    }
}

/// The request's body of one line of [`Live`], as long as there is no answer.
#[derive(Debug)]
pub(super) struct UploadEntry {
    clock: Clock,
    line: Arc<Line>,
}

impl UploadEntry {
    /// The client sends no more for now, or our disk takes none: silence is not the upstream's.
    pub(super) fn pauses(&self) {
        let mut progress = self.line.lock();
        if progress.phase == Phase::Wait {
            progress.is_paused = true;
        }
    }

    /// A part of it goes on, or all of it has.
    pub(super) fn passes(&self) {
        let now = self.clock.now();
        let mut progress = self.line.lock();
        if progress.phase == Phase::Wait {
            (progress.at, progress.is_paused) = (now, false);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (bytes, is_done) = {
            let progress = self.line.lock();
            (progress.bytes, progress.is_done)
        };
        let mut state = self.live.lock();
        let Some(line) = state.lines.remove(&self.key) else {
            return;
        };
        if line.id.is_some() {
            state.done += 1;
            state.bytes += bytes;
        }
        if !is_done {
            if state.abandoned.len() == ABANDONED_MOST {
                state.abandoned.pop_front();
            }
            let (at, key) = (self.live.clock.now(), self.key);
            state.abandoned.push_back(Abandoned { at, key, line });
        }
    }
}

/// A URL and what it means to the go command. That is parsed on first use: most exchanges are over
/// before, and it costs as much as writing their first line.
pub(super) struct LazyRoute {
    /// Redacted: it goes to the log and the terminal.
    pub(super) url: String,
    bases: Arc<[Base]>,
    route: OnceLock<Route>,
}

impl LazyRoute {
    pub(super) const fn new(url: String, bases: Arc<[Base]>) -> Self {
        let route = OnceLock::new();
        Self { url, bases, route }
    }

    /// What the URL means.
    pub(super) fn get(&self) -> &Route {
        self.route.get_or_init(|| Route::of(&self.url, &self.bases))
    }
}

impl fmt::Debug for LazyRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial(host: &str) -> Subject<'_> {
        Subject {
            host,
            ..Subject::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_client_gave_up_a_moment_before_the_cut_was_in_flight() {
        let live = Live::new(Clock::start());
        let begin = |host| live.begin(dial(host), Phase::Connect);
        drop(begin("long.ago"));
        tokio::time::advance(MOMENT * 2).await;
        let [answered, abandoned] = ["answered.example", "abandoned.example"].map(begin);
        let _waits = begin("waits.example");
        answered.done();
        drop((answered, abandoned));
        tokio::time::advance(MOMENT / 2).await;
        assert_eq!(live.cut(), None);
        let cut_off = |by, reached_clients| -> Vec<_> {
            let entries = live.cut_off_by(by, reached_clients).into_iter();
            entries.map(|entry| entry.host).collect()
        };
        let both = ["abandoned.example", "waits.example"];
        assert_eq!(cut_off("Ctrl-C", true), both);
        assert_eq!(cut_off("a signal", false), ["waits.example"]);
        let cut = Some(String::from("cut off by Ctrl-C"));
        assert_eq!(live.cut(), cut);
    }

    #[test]
    fn a_dial_tells_where_it_is() {
        let live = Live::new(Clock::start());
        let entry = live.begin(dial("a.example"), Phase::Dns);
        let [one, two] = ["192.0.2.1:3128", "192.0.2.2:3128"].map(|addr| addr.parse().unwrap());
        let at = |news: &[News<'_>]| {
            news.iter().for_each(|news| entry.update(*news));
            let dial = live.in_flight().remove(0);
            (dial.phase, dial.address.unwrap_or_default(), dial.is_asking)
        };
        entry.update(News::Through("http://proxy.corp:3128"));
        let connecting = [News::Entered(Phase::Connect), News::Trying(one)];
        assert_eq!(at(&connecting), (Phase::Connect, one.to_string(), false));
        let both = format!("{one}, {two}");
        assert_eq!(at(&[News::Trying(two)]), (Phase::Connect, both, false));
        let asking = [News::Connected(two), News::Asking];
        assert_eq!(at(&asking), (Phase::Connect, two.to_string(), true));
        let tls = [News::Entered(Phase::Tls)];
        assert_eq!(at(&tls), (Phase::Tls, two.to_string(), false));
        let via = live.in_flight().remove(0).via;
        assert_eq!(via.as_deref(), Some("http://proxy.corp:3128"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_there_until_it_is_dropped() {
        let live = Live::new(Clock::start());
        let dial = live.begin(dial("a.example"), Phase::Dns);
        let url = String::from("https://a.example/rsc.io/quote/@v/list");
        let route = LazyRoute::new(url, Arc::new([]));
        let entry = live.begin(
            Subject {
                id: Some(1),
                host: "a.example",
                route: Some(route),
                ..Subject::default()
            },
            Phase::Wait,
        );
        tokio::time::advance(std::time::Duration::from_secs(3)).await;
        entry.enter(Phase::Receive, live.now());
        entry.add_bytes(10);
        drop(dial);
        let [only] = &live.in_flight()[..] else {
            panic!()
        };
        assert_eq!(
            (only.phase, only.bytes, only.is_paused),
            (Phase::Receive, 10, true)
        );
        assert_eq!(only.what, "list rsc.io/quote");
        assert_eq!(only.progress.micros_since(only.started), 3_000_000);
        drop(entry);
        assert_eq!(
            live.passed(),
            Passed {
                exchanges: 1,
                bytes: 10
            }
        );
    }
}
