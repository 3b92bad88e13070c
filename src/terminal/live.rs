//! What is printed while a command runs: stalls and the status line; and at its end, the requests
//! that are still in flight.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use super::look::{Look, Paint};
use super::output::{StatusLine, say, say_always};
use super::status::{StatusSource, in_words};
use super::words::{columns, count, cut, duration, size};
use crate::child::{Interruption, StatusSignals};
use crate::cli::Global;
use crate::clock::Timestamp;
use crate::diagnose::processes::Activity;
use crate::diagnose::stuck::{Limits, Stuck};
use crate::proxy::{InFlight, Live, Notice, Passed, Stalls};
use crate::recording::processes::Sample;

/// The shortest time between two updates of the status line.
const REFRESH: Duration = Duration::from_millis(250);

/// The status line appears after this time; a shorter command has none.
const QUIET_START: Duration = Duration::from_millis(750);

/// The width of a terminal that does not report it, columns.
const NARROW: usize = 80;

/// How many requests in flight are listed at the end.
const LISTED: usize = 20;

/// Prints stalls and the status line while a command runs.
pub(crate) struct Console {
    global: Global,
    look: Look,
    limits: Limits,
}

impl Console {
    pub(crate) fn new(global: &Global, limits: Limits) -> Self {
        Self {
            global: global.clone(),
            look: Look::of_stderr(global),
            limits,
        }
    }

    /// After what time a silence is a stall, and what modtape gives up by itself.
    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Watches until dropped; says what is waited for when a signal asks.
    pub(crate) async fn watch(
        self,
        mut stalls: Stalls,
        mut asks: StatusSignals,
        status: &StatusSource,
    ) -> Infallible {
        let live = stalls.live().clone();
        // A line can be rewritten only on a terminal, and only if no log lines come between.
        let draws = self.look.is_terminal && !self.global.quiet && self.global.verbose == 0;
        let mut line = StatusLine::default();
        let half = Duration::from_micros(self.limits.stall_us / 2);
        let mut starting = std::pin::pin!(tokio::time::sleep(QUIET_START.min(half)));
        let mut has_started = false;
        let mut waits = Waits::of(status);
        loop {
            tokio::select! {
                () = asks.next() => {
                    line.clear();
                    for told in status.now().await.lines(self.look) {
                        say_always(told);
                    }
                }
                () = &mut starting, if !has_started => has_started = true,
                due = stalls.next(), if has_started => {
                    // Whoever reads it may kill us.
                    stalls.on_record().await;
                    line.clear();
                    for notice in due {
                        say(&self.global, stall_line(&notice, self.look));
                    }
                }
                (stuck, sample) = waits.next(), if has_started => {
                    stalls.record_sample(sample);
                    stalls.on_record().await;
                    line.clear();
                    say(&self.global, process_line(&stuck, self.look));
                }
                () = tokio::time::sleep(REFRESH), if draws && has_started => {
                    let drawn = in_flight_line(&live, self.look);
                    line.draw(&drawn);
                }
            }
        }
    }
}

/// Finds what keeps the command's processes waiting, and reports each wait once a minute.
struct Waits<'a> {
    status: &'a StatusSource,
    /// When each was reported, on the clock of the session: by its code and by who waits.
    told: HashMap<(&'static str, String), Timestamp>,
    /// When to look again. Kept here, since `next` may be called in many short turns.
    look_at: Timestamp,
}

/// A wait that goes on is reported again after so long.
const AGAIN: Duration = Duration::from_secs(60);

impl<'a> Waits<'a> {
    fn of(status: &'a StatusSource) -> Self {
        Self {
            status,
            told: HashMap::new(),
            look_at: status.live.now(),
        }
    }

    /// Waits for the next one that is due to be reported.
    async fn next(&mut self) -> (Stuck, Sample) {
        let StatusSource { live, limits, .. } = self.status;
        let tick = Duration::from_micros(limits.stall_us / 10);
        let tick = tick.clamp(Duration::from_millis(20), Duration::from_secs(1));
        loop {
            tokio::time::sleep(self.look_at.since(live.now())).await;
            self.look_at = live.now() + tick;
            if let Some(due) = self.due() {
                return due;
            }
        }
    }

    fn due(&mut self) -> Option<(Stuck, Sample)> {
        let StatusSource {
            live,
            limits,
            processes,
            ..
        } = self.status;
        let doing = processes
            .get()
            .filter(|doing| doing.lasted_us >= limits.stall_us)?;
        let stuck = Activity::of(&doing.sample)?.stuck(doing.lasted_us)?;
        let now = live.now();
        self.told.retain(|_, at| now.since(*at) < AGAIN);
        let key = (stuck.code, stuck.whom.clone());
        if self.told.contains_key(&key) {
            return None;
        }
        self.told.insert(key, now);
        Some((stuck, doing.sample))
    }
}

/// The line that reports what keeps the command's processes waiting.
///
/// `modtape: still waiting: go mod tidy has waited 12 s for the module cache lock …, which go build
/// (pid 4121) holds [MT207]`
fn process_line(stuck: &Stuck, look: Look) -> String {
    let mark = look.paint(Paint::Yellow, "modtape: still waiting:");
    let (cause, code) = (look.plain(&stuck.cause), stuck.code);
    format!("{mark} {cause} [{code}]")
}

/// The line that reports what keeps something waiting, and what of it waits.
///
/// `modtape: still waiting: sum.golang.org (142.250.4.141:443) takes connections but sends nothing: TCP
/// and TLS done, no response header for 34 s (lookup github.com/spf13/cobra@v1.8.1 and 3 more) [MT112]`
pub(super) fn stall_line(notice: &Notice, look: Look) -> String {
    let Notice { stuck, entry } = notice;
    let what = look.plain(&entry.what);
    let others = stuck.members.len().saturating_sub(1);
    let waits = match (what.is_empty(), others) {
        (true, 0) => String::new(),
        (true, others) => format!(" (and {others} more wait)"),
        (false, 0) => format!(" ({what})"),
        (false, others) => format!(" ({what} and {others} more)"),
    };
    let mark = look.paint(Paint::Yellow, "modtape: still waiting:");
    let (cause, code) = (look.plain(&stuck.cause), stuck.code);
    format!("{mark} {cause}{waits} [{code}]")
}

/// ` (192.0.2.1:443, TCP ok)`, without the parts that are empty.
fn bracketed(address: Option<&str>, steps: &str) -> String {
    let parts = address.into_iter().chain(Some(steps));
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    match &parts[..] {
        [] => String::new(),
        parts => format!(" ({})", parts.join(", ")),
    }
}

/// The status line; empty if no request is in flight, so that the terminal is the command's.
fn in_flight_line(live: &Live, look: Look) -> String {
    let in_flight = live.in_flight();
    if in_flight.is_empty() {
        return String::new();
    }
    // The last column stays free: on some terminals, erasing to the end of the line erases it too.
    let width = look.width.map(|width| width.saturating_sub(1));
    let look = Look { width, ..look };
    status_line(&in_flight, live.passed(), live.now(), look)
}

/// The text of the status line, not wider than the terminal.
///
/// `modtape: 2 in flight, 207 done, 12.3 MB: zip golang.org/x/net v0.34.0 3.2 s …`
pub(super) fn status_line(
    in_flight: &[InFlight],
    passed: Passed,
    now: Timestamp,
    look: Look,
) -> String {
    let width = look.width.unwrap_or(NARROW);
    let more = look.glyph(" …", " ...");
    let mut line = format!(
        "modtape: {} in flight, {} done, {}",
        in_flight.len(),
        passed.exchanges,
        size(passed.bytes)
    );
    let mut separator = ": ";
    for (index, entry) in in_flight.iter().enumerate() {
        let item = format!("{separator}{} {}", doing(entry, look), age(entry, now));
        let is_last = index + 1 == in_flight.len();
        let reserved = if is_last { 0 } else { columns(more) };
        if columns(&line) + columns(&item) + reserved > width {
            if index == 0 {
                line.push_str(&item);
            } else {
                line.push_str(more);
            }
            break;
        }
        line.push_str(&item);
        separator = ", ";
    }
    cut(&line, width, more).into_owned()
}

/// The requests that were in flight when a session ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftOver {
    /// The requests, oldest first.
    pub(crate) in_flight: Vec<InFlight>,
    /// When the session ended, on the clock of `in_flight`.
    pub(crate) at: Timestamp,
    /// What interrupted the session, if anything did.
    pub(crate) interruption: Option<Interruption>,
}

/// A line per request that was in flight at the end: its phase, age, host and module.
pub(super) fn left_over(left: &LeftOver, look: Look) -> Vec<String> {
    let in_flight = &left.in_flight;
    if in_flight.is_empty() {
        let ended = left.interruption == Some(Interruption::Timeout);
        let message = "modtape: --timeout expired; no request was in flight";
        return ended
            .then(|| look.paint(Paint::Yellow, message))
            .into_iter()
            .collect();
    }
    let was = if in_flight.len() == 1 { "was" } else { "were" };
    let requests = count(in_flight.len() as u64, "request");
    let when = match left.interruption {
        None => "at the end",
        Some(Interruption::Interrupt) => "at the interrupt",
        Some(Interruption::Terminate) => "at the termination signal",
        Some(Interruption::Timeout) => "when --timeout expired",
    };
    let head = format!("modtape: {requests} {was} still in flight {when}:");
    let mut lines = vec![look.paint(Paint::Yellow, &head)];
    let listed = in_flight.iter().take(LISTED);
    lines.extend(listed.map(|entry| {
        let id = entry.id.map_or_else(|| "-".into(), |id| format!("#{id}"));
        let (phase, age) = (in_words(entry.phase), age(entry, left.at));
        let (mut host, what) = (look.plain(&entry.host), look.plain(&entry.what));
        if let (true, Some(address)) = (what.is_empty(), &entry.address) {
            host.to_mut()
                .push_str(&bracketed(Some(&look.plain(address)), ""));
        }
        let awaits = entry.awaits.as_ref().map_or_else(String::new, |awaits| {
            format!(" (waits for {})", look.plain(awaits))
        });
        let line = format!("  {id:>5}  {phase:<15}  {age:>7}  {host}  {what}{awaits}");
        line.trim_end().to_owned()
    }));
    match in_flight.len().saturating_sub(LISTED) {
        0 => {}
        more => lines.push(format!("  and {more} more")),
    }
    lines
}

fn doing(entry: &InFlight, look: Look) -> String {
    if let Some(awaits) = &entry.awaits {
        return format!(
            "{} waits for {}",
            look.plain(&entry.what),
            look.plain(awaits)
        );
    }
    if entry.what.is_empty() {
        return format!("{} {}", in_words(entry.phase), look.plain(&entry.host));
    }
    look.plain(&entry.what).into_owned()
}

fn age(entry: &InFlight, now: Timestamp) -> String {
    duration(now.micros_since(entry.started))
}
