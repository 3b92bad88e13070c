//! What was in flight at each instant, in which phase, and for whom.
//!
//! The exchanges of a recording, and the dials that failed before there was one, laid out on one time
//! axis. Everything that is said about time is a sum over these pieces. Never guesses: what the
//! rows do not tell is stated at [`Timeline::of`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::clock::Timestamp;
use crate::exchange::{ConnectionId, Opened, Phase, Timings};
use crate::gomod::Location;
use crate::recording::{ConnectionRow, Row};

/// The client connections of a recording, by run and id, as
/// [`crate::recording::reader::table::Table::connections`] holds them.
pub(crate) type Connections = BTreeMap<(u32, ConnectionId), ConnectionRow>;

/// Everything that was in flight, on one time axis: microseconds since the start of the recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Timeline {
    /// From the start of the recording to its end.
    pub(crate) wall_us: u64,
    /// The exchanges in the order of their rows, then the failed dials.
    pub(crate) items: Vec<Item>,
    /// Their phases, those of one item next to each other.
    pub(crate) pieces: Vec<Piece>,
    /// At index k: how long exactly k requests were in flight. Never ends with a zero, unless
    /// nothing at all was recorded.
    pub(crate) in_flight_us: Vec<u64>,
    /// When no request was in flight: from, to; in order.
    pub(crate) idle: Vec<(u64, u64)>,
    /// Where each run begins and ends.
    runs: BTreeMap<u32, Extent>,
}

/// An exchange, or a dial that failed before there was one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Which.
    pub(crate) source: Source,
    /// The host of its URL or target, with `:port` where it is not the scheme's own.
    pub(crate) host: String,
    /// When it began.
    pub(crate) from: u64,
    /// When it was over, as far as is known.
    pub(crate) until: u64,
    /// Its phases, as a range of [`Timeline::pieces`].
    pub(crate) pieces: Range<usize>,
}

/// What an [`Item`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The row of this index.
    Row(usize),
    /// A dial of a connection: its key and which of [`ConnectionRow::dials`] it is.
    Dial((u32, ConnectionId), usize),
}

/// One phase of an item that took time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The item, as an index of [`Timeline::items`].
    pub(crate) item: usize,
    /// The phase; `None` for our own time behind the last.
    pub(crate) phase: Option<Phase>,
    /// When it began.
    pub(crate) from: u64,
    /// When it ended.
    pub(crate) to: u64,
    /// Its share of the wall time, in [`PARTS`] of a microsecond: each instant is shared equally
    /// among the pieces that cover it.
    pub(crate) share: u128,
}

impl Timeline {
    /// Lays out what there was within `wall_us`, the time from the start of the recording to its end.
    ///
    /// What the rows do not tell is settled thus:
    /// - A row without phases (in flight, or aborted without a trace of when) counts as waiting up
    ///   to the end of its run, unless `is_lost` says that its end was not written: of that nobody
    ///   knows when it was, and it takes no time.
    /// - A failed dial that no request followed counts as a request that got no further: the go
    ///   command waited for it all the same.
    /// - Runs follow each other without a break. Each but the last ends with its last known end.
    /// - A wall time that is shorter than what the rows cover (an unfinished recording does not
    ///   know it) is taken to be as long as that.
    pub(crate) fn of(
        rows: &[Row],
        connections: &Connections,
        wall_us: u64,
        is_lost: impl Fn(&Row) -> bool,
    ) -> Self {
        let stretches = stretches(rows, connections, is_lost);
        let (runs, wall_us) = lay_runs(&stretches, wall_us);
        let mut timeline = Self {
            wall_us,
            items: Vec::with_capacity(stretches.len()),
            pieces: Vec::with_capacity(3 * stretches.len()),
            ..Self::default()
        };
        for stretch in stretches {
            let run = runs[&stretch.run];
            let (item, first) = (timeline.items.len(), timeline.pieces.len());
            let pieces = &mut timeline.pieces;
            stretch.lay(run, |phase, from, to| {
                pieces.push(Piece {
                    item,
                    phase,
                    from,
                    to,
                    share: 0,
                });
            });
            let from = run.begin.saturating_add(stretch.started.as_micros());
            let until = pieces[first..].last().map_or(from, |piece| piece.to);
            let pieces = first..pieces.len();
            timeline.items.push(Item {
                source: stretch.source,
                host: stretch.host,
                from,
                until,
                pieces,
            });
        }
        timeline.runs = runs;
        timeline.sweep();
        timeline
    }

    /// An instant of a run on the time axis of the whole recording. What is later than the run's last known
    /// end counts as that end, so that the order of runs is that of their instants; a run without requests
    /// lies where the one before it ends.
    pub(crate) fn at(&self, run: u32, at: Timestamp) -> u64 {
        let at = at.as_micros();
        match self.runs.range(..=run).next_back() {
            Some((known, extent)) if *known == run => {
                extent.begin.saturating_add(at).min(extent.end)
            }
            Some((_, before)) => before.end,
            None => match self.runs.is_empty() {
                true => at.min(self.wall_us),
                false => 0,
            },
        }
    }

    /// How long no request was in flight.
    pub(crate) fn idle_us(&self) -> u64 {
        self.in_flight_us.first().copied().unwrap_or(0)
    }

    /// Goes once over the sorted edges: O(n log n) for any number of requests in flight.
    ///
    /// `share` is what a request would have got that was in flight all the time; a piece's own share
    /// is what `share` grew by from its begin to its end.
    fn sweep(&mut self) {
        let mut edges = Vec::with_capacity(2 * self.pieces.len());
        for (piece, Piece { from, to, .. }) in self.pieces.iter().enumerate() {
            edges.push((*from, true, piece));
            edges.push((*to, false, piece));
        }
        edges.sort_unstable_by_key(|(at, ..)| *at);
        let (mut share, mut in_flight, mut now) = (0_u128, 0_usize, 0_u64);
        for (at, begins, piece) in edges {
            let passed = at - now;
            add_at(&mut self.in_flight_us, in_flight, passed);
            match in_flight {
                0 => add_gap(&mut self.idle, now, at),
                _ => share += u128::from(passed) * PARTS / in_flight as u128,
            }
            now = at;
            let piece = &mut self.pieces[piece].share;
            // Modulo 2^128: the difference in between may leave the range, the result never does.
            if begins {
                in_flight += 1;
                *piece = piece.wrapping_sub(share);
            } else {
                in_flight -= 1;
                *piece = piece.wrapping_add(share);
            }
        }
        add_at(&mut self.in_flight_us, 0, self.wall_us - now);
        add_gap(&mut self.idle, now, self.wall_us);
    }
}

/// Parts of a microsecond in which shares are counted.
///
/// A third of a microsecond has no exact binary form: each step of the sweep loses less than one
/// such part a request, always downwards. A million steps with a thousand requests each lose less
/// than a microsecond in all.
pub(crate) const PARTS: u128 = 1 << 32;

/// The sum of microseconds or bytes that stand in a recording, which may be any numbers: at most
/// [`u64::MAX`].
pub(crate) fn sum(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

fn add_at(sums: &mut Vec<u64>, index: usize, us: u64) {
    if us == 0 {
        return;
    }
    if sums.len() <= index {
        sums.resize(index + 1, 0);
    }
    sums[index] += us;
}

/// Adds a gap behind the last, or makes that one longer: pieces that take turns leave none.
fn add_gap(gaps: &mut Vec<(u64, u64)>, from: u64, to: u64) {
    match gaps.last_mut() {
        _ if from == to => {}
        Some(last) if last.1 == from => last.1 = to,
        _ => gaps.push((from, to)),
    }
}

/// The time of one request: phases end to end from `started`.
struct Stretch {
    source: Source,
    run: u32,
    host: String,
    started: Timestamp,
    /// `None` up to the end of the run.
    phases: Option<Timings>,
    /// What we took after that.
    own_us: u64,
}

impl Stretch {
    /// The last instant that is known of it.
    fn end(&self) -> u64 {
        let total = self.phases.map_or(0, |phases| phases.total_us());
        let total = total.saturating_add(self.own_us);
        self.started.as_micros().saturating_add(total)
    }

    /// Calls `piece(phase, from, to)` for each phase that took time, then with `None` for our own time.
    /// Microseconds of the whole recording, of which `run` is the part of this request's run.
    fn lay(&self, run: Extent, mut piece: impl FnMut(Option<Phase>, u64, u64)) {
        let mut at = run.begin.saturating_add(self.started.as_micros());
        let Some(phases) = self.phases else {
            if at < run.end {
                piece(Some(Phase::Wait), at, run.end);
            }
            return;
        };
        let own = std::iter::once((None, self.own_us));
        let phases = phases.iter().map(|(phase, us)| (Some(phase), us));
        for (phase, us) in phases.chain(own) {
            let to = at.saturating_add(us);
            if at < to {
                piece(phase, at, to);
            }
            at = to;
        }
    }
}

fn stretches(
    rows: &[Row],
    connections: &Connections,
    is_lost: impl Fn(&Row) -> bool,
) -> Vec<Stretch> {
    let of_row = |(index, row): (usize, &Row)| Stretch {
        source: Source::Row(index),
        run: row.run,
        host: Location::of(&row.url).host,
        started: row.started,
        phases: Some(row.phases).filter(|phases| phases.iter().next().is_some() || is_lost(row)),
        own_us: row.own_us,
    };
    let used: BTreeSet<(u32, ConnectionId)> =
        rows.iter().map(|row| (row.run, row.connection)).collect();
    let unused = connections.iter().filter(|(key, _)| !used.contains(key));
    let dials = unused.flat_map(|(key, row)| {
        let dials = row.dials().enumerate();
        dials.map(|(index, dial)| (Source::Dial(*key, index), key.0, dial))
    });
    let failed = dials.filter(|(.., opened)| opened.error.is_some());
    let of_dial = failed.map(|(source, run, opened)| Stretch {
        source,
        run,
        host: Location::of(&opened.target).host,
        started: opened.started_us,
        phases: Some(phases_of(opened)),
        own_us: 0,
    });
    let rows = rows.iter().enumerate();
    rows.map(of_row).chain(of_dial).collect()
}

/// The phases of a dial.
fn phases_of(opened: &Opened) -> Timings {
    let phases = [
        (Phase::Dns, opened.dns_us),
        (Phase::Connect, opened.connect_us),
        (Phase::Tls, opened.tls_us),
    ];
    let known = phases.into_iter();
    known.filter_map(|(phase, us)| Some((phase, us?))).collect()
}

/// A part of the recording, in microseconds since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    begin: u64,
    end: u64,
}

/// The runs, laid end to end, and how long all of them take.
fn lay_runs(stretches: &[Stretch], wall_us: u64) -> (BTreeMap<u32, Extent>, u64) {
    let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
    for stretch in stretches {
        let end = ends.entry(stretch.run).or_default();
        *end = stretch.end().max(*end);
    }
    let mut runs = BTreeMap::new();
    let mut offset = 0_u64;
    for (run, length) in ends {
        let end = offset.saturating_add(length);
        runs.insert(run, Extent { begin: offset, end });
        offset = end;
    }
    let wall_us = wall_us.max(offset);
    if let Some(mut last) = runs.last_entry() {
        last.get_mut().end = wall_us;
    }
    (runs, wall_us)
}
