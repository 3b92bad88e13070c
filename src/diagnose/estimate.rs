//! What a run would have taken if one thing had been different: its requests are run again, in a model of
//! the go command.
//!
//! The model: the go command has as many workers as GOMAXPROCS says (`par.Queue` in cmd/go's `modload`,
//! the semaphore of `go mod download`). A worker takes a module, asks for what it needs of it one after
//! another, and takes the next. Lists, probes and repositories are not bounded by that.
//!
//! What each request waited for is read off the recording:
//! - the step before of the same module, where that ended just before;
//! - where all workers were busy, one that became free; and what has the module loaded: the go.mod that
//!   requires it, or the begin of the time since when they were busy, before which it would have been
//!   asked for at once;
//! - else all that had ended by then: the go command takes many steps together.
//!
//! Each request takes as long as it took. A model that does not come to the recorded time when nothing is
//! changed is not asked what would be if something were.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};

use super::case::Case;
use super::requirements::Requirements;
use super::timeline::{Item, Source};
use crate::exchange::{MadeBy, Phase};
use crate::gomod::{Kind, ModuleVersion};
use crate::recording::reader::RowState;

/// What is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The go command has so many workers.
    Workers(u32),
    /// These requests are not sent: items of the timeline.
    Without(Vec<usize>),
    /// This host speaks HTTP/2: one connection carries all requests.
    Http2(String),
    /// These requests go to a host that is connected to anyway, and whose first byte takes so long,
    /// microseconds.
    Elsewhere {
        /// Items of the timeline.
        items: Vec<usize>,
        /// Until the first byte.
        wait_us: u64,
        /// Items that are not sent then.
        without: Vec<usize>,
    },
}

/// What began within this time after something else ended may have waited for just that, microseconds.
const CLOSE_US: u64 = 50_000;

/// The model may miss the recorded time by this part of it.
const MISS_PART: u64 = 10;

/// No more than this part of the time may go into what more workers do not shorten as the model says.
const OTHER_PART: u64 = 10;

/// An estimate is worth telling if it saves so much, microseconds, and this part of the wall time.
const LEAST_US: u64 = 500_000;
const LEAST_PART: u64 = 10;

/// Longer recordings are not run again, microseconds: a week. Numbers that are larger are no times, and
/// sums of any number of smaller ones do not overflow.
const LONGEST_US: u64 = 7 * 86_400 * 1_000_000;

/// The recorded requests, as jobs of workers.
pub(crate) struct Schedule<'a, 'r> {
    case: &'a Case<'r>,
    workers: usize,
    /// By item of the timeline.
    requests: Vec<Request>,
    /// By number.
    jobs: Vec<Job>,
    /// The items in the order in which they ended.
    by_end: Vec<usize>,
    /// How long what stood in a queue for an unknown reason took, microseconds.
    guessed_us: u64,
}

/// How a request came about.
#[derive(Debug, Clone, Copy)]
struct Request {
    /// Its job.
    job: usize,
    /// True for the first of a job.
    is_first: bool,
    after: After,
    /// How long after that it could begin, microseconds.
    ready_us: u64,
    /// How long it took from then, and from when a worker was free, microseconds.
    lead_us: u64,
}

/// What a request waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// Another one.
    Item(usize),
    /// So many, the first by their end.
    All(usize),
}

/// What one worker does without a break.
#[derive(Debug, Clone, Copy)]
struct Job {
    /// How many requests it has.
    requests: usize,
    /// True if a worker is needed for it.
    is_bounded: bool,
    /// When its last request ended.
    until: u64,
}

impl<'a, 'r> Schedule<'a, 'r> {
    /// Reads a recording; `None` if the command failed, if its number of workers is not known, or if the
    /// model is not good enough for it.
    pub(crate) fn of(case: &'a Case<'r>) -> Option<Self> {
        let has_succeeded = case.is_closed && case.manifest.exit_code == Some(0);
        let workers = case.manifest.processors.filter(|number| *number > 0)?;
        let is_short = case.timeline.wall_us <= LONGEST_US;
        if !has_succeeded || !is_short || case.timeline.items.is_empty() {
            return None;
        }
        let schedule = Reader::new(case, usize::try_from(workers).ok()?).read();
        let wall_us = case.timeline.wall_us;
        let again = schedule.run(None)?;
        (again.abs_diff(wall_us) <= wall_us / MISS_PART).then_some(schedule)
    }

    /// The wall time with a change, microseconds; `None` if it is not known well enough, or not worth
    /// telling.
    pub(crate) fn wall_us(&self, change: &Change) -> Option<u64> {
        if matches!(change, Change::Workers(_)) && !self.is_bound_by_workers() {
            return None;
        }
        let wall_us = self.case.timeline.wall_us;
        let us = self.run(Some(change))?;
        let saved = wall_us.checked_sub(us)?;
        (saved >= LEAST_US && saved * LEAST_PART >= wall_us).then_some(us)
    }

    /// Whether more workers shorten the run as the model says: nearly all of the requests' time went into
    /// go.mod files over HTTP/2, of which is known why they were read, and next to nothing into bodies.
    /// With zips a run is bound by unpacking them, too: the model is off by a third there.
    fn is_bound_by_workers(&self) -> bool {
        let timeline = &self.case.timeline;
        let (mut all_us, mut other_us) = (0_u64, 0_u64);
        for item in &timeline.items {
            let us = item.until - item.from;
            let asked = self.case.asked_by(item);
            let is_mod = asked.is_some_and(|asked| asked.listed.route.kind == Kind::Mod);
            all_us = all_us.saturating_add(us);
            if !is_mod || !self.is_http2(&item.host) {
                other_us = other_us.saturating_add(us);
            }
        }
        let bodies = timeline.pieces.iter();
        let bodies = bodies.filter(|piece| piece.phase == Some(Phase::Receive));
        let bodies = bodies.map(|piece| piece.share).sum::<u128>() / super::timeline::PARTS;
        let other_us = other_us.saturating_add(self.guessed_us);
        other_us.saturating_mul(OTHER_PART) <= all_us
            && bodies * u128::from(OTHER_PART) <= u128::from(timeline.wall_us)
    }

    fn is_http2(&self, host: &str) -> bool {
        let host = self.case.hosts.get(host);
        host.is_some_and(|host| host.protocols.iter().any(|protocol| protocol == "h2"))
    }

    /// Runs the requests again; `None` if they do not come to an end.
    fn run(&self, change: Option<&Change>) -> Option<u64> {
        let last = self
            .by_end
            .last()
            .map(|item| end(&self.case.timeline.items[*item]));
        let tail = self.case.timeline.wall_us.saturating_sub(last?);
        let workers = match change {
            Some(Change::Workers(workers)) => usize::try_from(*workers).ok()?,
            _ => self.workers,
        };
        let ended = Run::new(self, workers, Durations::of(self, change)).finish()?;
        Some(ended.saturating_add(tail))
    }
}

/// The time of an item for the order of things: what took no time ended after it began all the same.
fn end(item: &Item) -> u64 {
    item.until.max(item.from.saturating_add(1))
}

/// Reads the jobs off a recording.
struct Reader<'a, 'r> {
    case: &'a Case<'r>,
    workers: usize,
    /// The items in the order in which they began.
    by_begin: Vec<usize>,
    by_end: Vec<usize>,
    /// For each item how many others had ended when it began.
    ended: Vec<usize>,
    requests: Vec<Request>,
    jobs: Vec<Job>,
    guessed_us: u64,
}

/// A time since when all workers were busy.
#[derive(Debug, Clone, Copy)]
struct Window {
    run: u32,
    from: u64,
    /// How many items had ended by then.
    ended: usize,
}

impl<'a, 'r> Reader<'a, 'r> {
    fn new(case: &'a Case<'r>, workers: usize) -> Self {
        let items = &case.timeline.items;
        let mut by_begin: Vec<usize> = (0..items.len()).collect();
        by_begin.sort_by_key(|item| items[*item].from);
        let mut by_end: Vec<usize> = (0..items.len()).collect();
        by_end.sort_by_key(|item| end(&items[*item]));
        let ended = items
            .iter()
            .map(|item| by_end.partition_point(|other| end(&items[*other]) <= item.from));
        Self {
            ended: ended.collect(),
            case,
            workers,
            by_begin,
            by_end,
            requests: Vec::new(),
            jobs: Vec::new(),
            guessed_us: 0,
        }
    }

    fn read(mut self) -> Schedule<'a, 'r> {
        let steps = self.steps();
        self.find_jobs(&steps);
        self.find_queues(&steps);
        Schedule {
            case: self.case,
            workers: self.workers,
            requests: self.requests,
            jobs: self.jobs,
            by_end: self.by_end,
            guessed_us: self.guessed_us,
        }
    }

    fn item(&self, item: usize) -> &'a Item {
        &self.case.timeline.items[item]
    }

    fn kind(&self, item: usize) -> Kind {
        let asked = self.case.asked_by(self.item(item));
        asked.map_or(Kind::Other, |asked| asked.listed.route.kind)
    }

    fn run_of(&self, item: usize) -> u32 {
        match self.item(item).source {
            Source::Row(row) => self.case.asked[row].row.run,
            Source::Dial((run, _), _) => run,
        }
    }

    /// How long an item began after another one had ended, microseconds.
    fn gap(&self, from: usize, to: usize) -> u64 {
        self.item(to).from.saturating_sub(end(self.item(from)))
    }

    /// The step before of each item: the last one of the same module in the same version that had ended; of
    /// a tile the last lookup or tile.
    fn steps(&self) -> Vec<Option<usize>> {
        let mut of_module: HashMap<(u32, &str, &str), usize> = HashMap::new();
        let mut of_database: HashMap<u32, usize> = HashMap::new();
        let mut steps = vec![None; self.case.timeline.items.len()];
        let mut ended = 0;
        let module = |item: usize| {
            let route = &self.case.asked_by(self.item(item))?.listed.route;
            let version = route.version.as_deref().unwrap_or_default();
            Some((self.run_of(item), route.module.as_deref()?, version))
        };
        for item in &self.by_begin {
            while ended < self.ended[*item] {
                let done = self.by_end[ended];
                if let Some(module) = module(done) {
                    of_module.insert(module, done);
                }
                if matches!(self.kind(done), Kind::Lookup | Kind::Tile) {
                    of_database.insert(self.run_of(done), done);
                }
                ended += 1;
            }
            steps[*item] = match self.kind(*item) {
                Kind::Tile => of_database.get(&self.run_of(*item)).copied(),
                _ => module(*item).and_then(|module| of_module.get(&module).copied()),
            };
        }
        steps
    }

    /// What follows a step of the same module closely is of one job with it. Anything else waits for all
    /// that had ended.
    fn find_jobs(&mut self, steps: &[Option<usize>]) {
        let unknown = Request {
            job: 0,
            is_first: true,
            after: After::All(0),
            ready_us: 0,
            lead_us: 0,
        };
        self.requests = vec![unknown; self.case.timeline.items.len()];
        for index in 0..self.by_begin.len() {
            let item = self.by_begin[index];
            let until = end(self.item(item));
            let step = steps[item].filter(|step| self.gap(*step, item) <= CLOSE_US);
            let (job, after, ready_us) = match step {
                Some(step) => {
                    let job = self.requests[step].job;
                    (job, After::Item(step), self.gap(step, item))
                }
                None => {
                    self.jobs.push(Job {
                        requests: 0,
                        is_bounded: is_bounded(self.kind(item)),
                        until,
                    });
                    let ended = self.ended[item];
                    let since = self.time_of(ended);
                    let ready_us = self.item(item).from - since;
                    (self.jobs.len() - 1, After::All(ended), ready_us)
                }
            };
            let of = &mut self.jobs[job];
            of.requests += 1;
            of.until = of.until.max(until);
            self.requests[item] = Request {
                job,
                is_first: step.is_none(),
                after,
                ready_us,
                lead_us: 0,
            };
        }
    }

    /// When the first so many had ended.
    fn time_of(&self, ended: usize) -> u64 {
        let last = ended.checked_sub(1).map(|last| self.by_end[last]);
        last.map_or(0, |last| end(self.item(last)))
    }

    /// Finds what stood in a queue for a worker, and what it had waited for before.
    fn find_queues(&mut self, steps: &[Option<usize>]) {
        let required = Required::of(&self.case.requirements);
        let mut open: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
        // When workers became free that have not got another job since.
        let mut free: VecDeque<u64> = VecDeque::new();
        let mut window: Option<Window> = None;
        // The go command reads all go.mod files of the graph before it takes the first zip.
        let mut graph: BTreeMap<u32, usize> = BTreeMap::new();
        for index in 0..self.by_begin.len() {
            let item = self.by_begin[index];
            let request = self.requests[item];
            let job = self.jobs[request.job];
            if !request.is_first || !job.is_bounded {
                continue;
            }
            let from = self.item(item).from;
            let run = self.run_of(item);
            while let Some(Reverse(until)) = open.peek().copied().filter(|open| open.0 <= from) {
                open.pop();
                free.push_back(until);
            }
            while free.front().is_some_and(|since| from - since > CLOSE_US) {
                free.pop_front();
            }
            let is_busy = open.len() + free.len() >= self.workers;
            window = window.filter(|window| is_busy && window.run == run);
            let handed = free.pop_front();
            let is_file = matches!(self.kind(item), Kind::Zip | Kind::Info);
            let graph = match is_file {
                true => Some(*graph.entry(run).or_insert(self.ended[item])),
                false => None,
            };
            if let Some(window) = window {
                let reason = match self.kind(item) {
                    Kind::Mod => {
                        required.reason(self.case, &self.case.timeline.items[item], |row| {
                            end(self.item(row)) <= from
                        })
                    }
                    _ => steps[item].map(Reason::Item),
                };
                self.set_queued(item, window, reason, graph, handed);
            }
            open.push(Reverse(job.until));
            if open.len() >= self.workers && window.is_none() {
                window = Some(Window {
                    run,
                    from,
                    ended: self.ended[item],
                });
            }
        }
    }

    /// An item that stood in a queue had its reason since the window began, or later.
    fn set_queued(
        &mut self,
        item: usize,
        window: Window,
        reason: Option<Reason>,
        graph: Option<usize>,
        handed: Option<u64>,
    ) {
        let from = self.item(item).from;
        let begin = (window.from, After::All(window.ended));
        let graph = graph.map(|ended| (self.time_of(ended), After::All(ended)));
        let step = match reason {
            Some(Reason::Item(step)) => Some((end(self.item(step)), After::Item(step))),
            Some(Reason::Begin) => None,
            None => {
                self.guessed_us += self.item(item).until - from;
                None
            }
        };
        let known = [Some(begin), graph, step].into_iter().flatten();
        let Some((since, after)) = known.max_by_key(|(since, _)| *since) else {
            return;
        };
        let ended = match after {
            After::Item(step) => end(self.item(step)),
            After::All(ended) => self.time_of(ended),
        };
        let request = &mut self.requests[item];
        request.after = after;
        request.ready_us = since.saturating_sub(ended);
        request.lead_us = from.saturating_sub(since.max(handed.unwrap_or(0)));
    }
}

/// Whether one of the workers asks for it, and has no other at the same time.
const fn is_bounded(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Info | Kind::Mod | Kind::Zip | Kind::Lookup | Kind::Toolchain
    )
}

/// Why a go.mod file is read.
enum Reason {
    /// Another module requires it.
    Item(usize),
    /// The main module requires it.
    Begin,
}

/// Which go.mod files have others read.
struct Required {
    /// By module, the rows of those that require it; `None` for the main module.
    by: HashMap<ModuleVersion, Vec<Option<usize>>>,
}

impl Required {
    fn of(requirements: &Requirements) -> Self {
        let graph = requirements.graph();
        let mains: HashSet<usize> = graph.mains.iter().copied().collect();
        let row = |node: usize| {
            let of = &graph.nodes[node].of;
            match mains.contains(&node) {
                true => Some(None),
                false => requirements.files.get(of).map(|served| Some(served.row)),
            }
        };
        let after = graph.read_after().into_iter().enumerate();
        let by = after.map(|(node, by)| {
            let by = by.into_iter().filter_map(row).collect();
            (graph.nodes[node].of.clone(), by)
        });
        Self { by: by.collect() }
    }

    /// The first to have it read, of those for whose rows `had_ended` says so.
    fn reason(
        &self,
        case: &Case<'_>,
        item: &Item,
        had_ended: impl Fn(usize) -> bool,
    ) -> Option<Reason> {
        let route = &case.asked_by(item)?.listed.route;
        let of = ModuleVersion::of(route.module.as_deref()?, route.version.as_deref()?);
        let by = self.by.get(&of)?;
        if by.contains(&None) {
            return Some(Reason::Begin);
        }
        let rows = by.iter().copied().flatten().filter(|row| had_ended(*row));
        let first = rows.min_by_key(|row| end(&case.timeline.items[*row]));
        first.map(Reason::Item)
    }
}

/// How long requests take.
struct Durations {
    /// By item.
    parts: Vec<Parts>,
    /// By host, if one connection carries all of its requests.
    shared: Vec<Option<Shared>>,
}

/// The parts of a request's time.
#[derive(Debug, Clone, Copy)]
struct Parts {
    /// The number of its host.
    host: usize,
    /// Its dial, microseconds; 0 if it came on a connection that was there.
    dial_us: u64,
    /// All after that, microseconds; 0 if it is not sent.
    rest_us: u64,
    /// True if its host had a connection when it began, so that it lost that.
    is_again: bool,
}

/// A connection that carries all requests to a host.
#[derive(Debug, Clone, Copy)]
struct Shared {
    /// How long its dial takes, microseconds.
    dial_us: u64,
    /// When it was up on the recording, if there was one.
    recorded: Option<u64>,
    /// When it is up.
    up: Option<u64>,
}

impl Durations {
    fn of(schedule: &Schedule<'_, '_>, change: Option<&Change>) -> Self {
        let case = schedule.case;
        let items = &case.timeline.items;
        let mut hosts: HashMap<&str, usize> = HashMap::new();
        let mut parts: Vec<Parts> = Vec::with_capacity(items.len());
        for item in items {
            let next = hosts.len();
            let dial_us = dial_us(case, item);
            parts.push(Parts {
                host: *hosts.entry(&item.host).or_insert(next),
                dial_us,
                rest_us: (item.until - item.from).saturating_sub(dial_us),
                is_again: false,
            });
        }
        // The first to be up of those that were dialled at the same time.
        let mut first: Vec<Option<(u64, u64)>> = vec![None; hosts.len()];
        for (item, part) in items
            .iter()
            .zip(&parts)
            .filter(|(_, part)| part.dial_us > 0)
        {
            let up = (item.from + part.dial_us, part.dial_us);
            let known = &mut first[part.host];
            *known = Some(known.map_or(up, |known| known.min(up)));
        }
        let mut shared = vec![None; hosts.len()];
        for (name, host) in &hosts {
            let is_changed = matches!(change, Some(Change::Http2(of)) if of == name);
            let first = first[*host].filter(|_| is_changed || schedule.is_http2(name));
            shared[*host] = first.map(|(up, dial_us)| Shared {
                dial_us,
                recorded: (!is_changed).then_some(up),
                up: None,
            });
        }
        for (item, part) in items.iter().zip(&mut parts) {
            let recorded = shared[part.host].and_then(|shared| shared.recorded);
            part.is_again = recorded.is_some_and(|up| item.from >= up);
        }
        match change {
            Some(Change::Without(without)) => {
                without.iter().for_each(|item| parts[*item].rest_us = 0);
            }
            Some(Change::Elsewhere {
                items: elsewhere,
                wait_us,
                without,
            }) => {
                for item in elsewhere {
                    let wait = case.phase_us(&items[*item], Phase::Wait);
                    let part = &mut parts[*item];
                    part.dial_us = 0;
                    part.rest_us -= wait.saturating_sub(*wait_us).min(part.rest_us);
                    shared[part.host] = None;
                }
                without.iter().for_each(|item| parts[*item].rest_us = 0);
            }
            Some(Change::Workers(_) | Change::Http2(_)) | None => {}
        }
        Self { parts, shared }
    }

    /// How long an item takes that begins now, microseconds.
    fn take(&mut self, item: usize, now: u64) -> u64 {
        let Parts {
            host,
            dial_us,
            rest_us,
            is_again,
        } = self.parts[item];
        // What is not sent.
        if rest_us == 0 {
            return 0;
        }
        let dial_us = match &mut self.shared[host] {
            None => dial_us,
            Some(shared) => match shared.up {
                None => {
                    shared.up = Some(now + shared.dial_us);
                    shared.dial_us
                }
                // Those that begin meanwhile dial too, and take the first connection that is up.
                Some(up) if now < up => up - now,
                Some(_) if is_again => dial_us,
                Some(_) => 0,
            },
        };
        dial_us.saturating_add(rest_us)
    }
}

/// How long the dial of an answered request took, microseconds.
fn dial_us(case: &Case<'_>, item: &Item) -> u64 {
    let is_answered = case.asked_by(item).is_some_and(|asked| {
        asked.row.state == RowState::Ended && asked.row.made_by == Some(MadeBy::Origin)
    });
    let phases = [Phase::Dns, Phase::Connect, Phase::Tls];
    let dialling = phases.iter().map(|phase| case.phase_us(item, *phase));
    dialling.filter(|_| is_answered).sum()
}

/// The requests, run again.
struct Run<'s> {
    requests: &'s [Request],
    jobs: &'s [Job],
    by_end: &'s [usize],
    durations: Durations,
    /// What happens when; of two at the same time the one that was told first.
    events: BinaryHeap<Reverse<(u64, usize, Event)>>,
    told: usize,
    /// Workers without a job.
    free: usize,
    /// First requests of jobs, without a worker.
    queue: VecDeque<usize>,
    /// How many requests each job still has.
    left: Vec<usize>,
    /// By item, those that wait for it.
    after_item: Vec<Vec<usize>>,
    /// By number, those that wait for so many.
    after_all: Vec<Vec<usize>>,
    has_ended: Vec<bool>,
    /// So many of [`Self::by_end`] have ended without one missing.
    ended: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// It could begin, but for a worker.
    Ready(usize),
    /// It is over.
    End(usize),
}

impl<'s> Run<'s> {
    fn new(schedule: &'s Schedule<'_, '_>, workers: usize, durations: Durations) -> Self {
        let requests = &schedule.requests[..];
        let mut after_item = vec![Vec::new(); requests.len()];
        let mut after_all = vec![Vec::new(); requests.len() + 1];
        for (item, request) in requests.iter().enumerate() {
            match request.after {
                After::Item(other) => after_item[other].push(item),
                After::All(ended) => after_all[ended].push(item),
            }
        }
        for waiting in after_item.iter_mut().chain(&mut after_all) {
            waiting.sort_by_key(|item| schedule.case.timeline.items[*item].from);
        }
        Self {
            requests,
            jobs: &schedule.jobs,
            by_end: &schedule.by_end,
            durations,
            events: BinaryHeap::new(),
            told: 0,
            free: workers,
            queue: VecDeque::new(),
            left: schedule.jobs.iter().map(|job| job.requests).collect(),
            after_item,
            after_all,
            has_ended: vec![false; requests.len()],
            ended: 0,
        }
    }

    /// When the last has ended; `None` if some never began.
    fn finish(mut self) -> Option<u64> {
        let mut now = 0;
        let begin = std::mem::take(&mut self.after_all[0]);
        self.make_ready(begin, now);
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            now = at;
            match event {
                Event::Ready(item) => self.take_up(item, now),
                Event::End(item) => self.end(item, now),
            }
        }
        (self.ended == self.requests.len()).then_some(now)
    }

    fn tell(&mut self, at: u64, event: Event) {
        self.told += 1;
        self.events.push(Reverse((at, self.told, event)));
    }

    fn make_ready(&mut self, items: Vec<usize>, now: u64) {
        for item in items {
            let at = now.saturating_add(self.requests[item].ready_us);
            self.tell(at, Event::Ready(item));
        }
    }

    fn take_up(&mut self, item: usize, now: u64) {
        let Request { job, is_first, .. } = self.requests[item];
        if is_first && self.jobs[job].is_bounded {
            match self.free.checked_sub(1) {
                Some(free) => self.free = free,
                None => return self.queue.push_back(item),
            }
        }
        self.begin(item, now);
    }

    fn begin(&mut self, item: usize, now: u64) {
        let begin = now.saturating_add(self.requests[item].lead_us);
        let took = self.durations.take(item, begin);
        self.tell(begin.saturating_add(took), Event::End(item));
    }

    fn end(&mut self, item: usize, now: u64) {
        self.has_ended[item] = true;
        let waiting = std::mem::take(&mut self.after_item[item]);
        self.make_ready(waiting, now);
        while self
            .by_end
            .get(self.ended)
            .is_some_and(|item| self.has_ended[*item])
        {
            self.ended += 1;
            let waiting = std::mem::take(&mut self.after_all[self.ended]);
            self.make_ready(waiting, now);
        }
        let job = self.requests[item].job;
        self.left[job] -= 1;
        if self.left[job] == 0 && self.jobs[job].is_bounded {
            match self.queue.pop_front() {
                Some(next) => self.begin(next, now),
                None => self.free += 1,
            }
        }
    }
}
