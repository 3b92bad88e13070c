//! Where the time went: the wall time, split among what the requests were doing.
//!
//! Each instant is shared equally among the requests then in flight, and each share goes to the
//! phase that its request is in; what no request covers is idle. So the parts add up to the wall
//! time, however many requests ran side by side, which sums of phases never do. Never guesses:
//! what the rows do not tell is stated at [`Split::of`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Index;

use crate::clock::Timestamp;
use crate::exchange::{ConnectionId, Phase, Timings};
use crate::gomod::Location;
use crate::recording::ConnectionRow;
use crate::recording::Row;

/// The client connections of a recording, by run and id, as
/// [`crate::recording::reader::table::Table::connections`] holds them.
pub(crate) type Connections = BTreeMap<(u32, ConnectionId), ConnectionRow>;

/// The wall time and its parts, in microseconds.
///
/// `idle_us`, `own_us` and the shares of all phases add up to `wall_us` exactly, so do those of all
/// hosts, and so does `in_flight_us`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Split {
    /// From the start of the recording to its end.
    pub(crate) wall_us: u64,
    /// While no request was in flight.
    pub(crate) idle_us: u64,
    /// While modtape itself was at work behind the last byte of an answer, and kept its end back:
    /// for the disk, most of all.
    pub(crate) own_us: u64,
    /// What each phase took.
    pub(crate) phases: Shares,
    /// What each phase took, by the URL's host (with `:port` where it is not the scheme's own).
    pub(crate) by_host: BTreeMap<String, Shares>,
    /// At index k: how long exactly k requests were in flight. Never ends with a zero, unless
    /// nothing at all was recorded; index 0 is `idle_us`.
    pub(crate) in_flight_us: Vec<u64>,
}

/// What each phase took of the wall time, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shares([u64; Phase::ALL.len()]);

impl Shares {
    /// The sum over all phases.
    pub(crate) fn total_us(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Index<Phase> for Shares {
    type Output = u64;

    fn index(&self, phase: Phase) -> &u64 {
        &self.0[phase as usize]
    }
}

impl Split {
    /// Splits `wall_us`, the time from the start of the recording to its end.
    ///
    /// What the rows do not tell is settled thus:
    /// - A row without phases (in flight, or aborted without a trace of when) counts as waiting up
    ///   to the end of its run.
    /// - A failed dial that no request followed counts as a request that got no further: the go
    ///   command waited for it all the same.
    /// - Runs follow each other without a break. Each but the last ends with its last known end.
    /// - A wall time that is shorter than what the rows cover (an unfinished recording does not
    ///   know it) is taken to be as long as that.
    pub(crate) fn of(rows: &[Row], connections: &Connections, wall_us: u64) -> Self {
        let stretches = stretches(rows, connections);
        let Layout { runs, wall_us } = Layout::of(&stretches, wall_us);
        let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
        for stretch in &stretches {
            let next = hosts.len();
            hosts.entry(&stretch.host).or_insert(next);
        }
        let own = hosts.len() * Phase::ALL.len();
        let mut edges = Vec::with_capacity(2 * stretches.len());
        for stretch in &stretches {
            let run = runs[&stretch.run];
            let host = hosts[&*stretch.host];
            stretch.lay(run, |phase, from, to| {
                let cell = match phase {
                    Some(phase) => host * Phase::ALL.len() + phase as usize,
                    None => own,
                };
                edges.push(Edge {
                    at: from,
                    begins: true,
                    cell,
                });
                edges.push(Edge {
                    at: to,
                    begins: false,
                    cell,
                });
            });
        }
        let swept = sweep(edges, own + 1, wall_us);
        let by_host: BTreeMap<String, Shares> = hosts
            .into_iter()
            .map(|(host, index)| (host.to_owned(), shares_of(&swept.cells, index)))
            .collect();
        let mut phases = Shares::default();
        for shares in by_host.values() {
            for (sum, share) in phases.0.iter_mut().zip(shares.0) {
                *sum += share;
            }
        }
        Self {
            wall_us,
            idle_us: swept.in_flight_us.first().copied().unwrap_or(0),
            own_us: swept.cells[own],
            phases,
            by_host,
            in_flight_us: swept.in_flight_us,
        }
    }

    /// The hosts with what they took of `phases` together, the longest first; none with nothing.
    pub(crate) fn hosts(&self, phases: &[Phase]) -> Vec<(&str, u64)> {
        let of_phases = |shares: &Shares| phases.iter().map(|phase| shares[*phase]).sum();
        let mut hosts: Vec<(&str, u64)> = self
            .by_host
            .iter()
            .map(|(host, shares)| (&**host, of_phases(shares)))
            .filter(|(_, us)| *us > 0)
            .collect();
        hosts.sort_by_key(|(_, us)| std::cmp::Reverse(*us));
        hosts
    }
}

/// The time of one request: phases end to end from `started`.
struct Stretch {
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

fn stretches(rows: &[Row], connections: &Connections) -> Vec<Stretch> {
    let of_row = |row: &Row| Stretch {
        run: row.run,
        host: Location::of(&row.url).host,
        started: row.started,
        phases: row.phases.iter().next().map(|_| row.phases),
        own_us: row.own_us,
    };
    let used: BTreeSet<(u32, ConnectionId)> =
        rows.iter().map(|row| (row.run, row.connection)).collect();
    let failed = connections
        .iter()
        .filter(|(key, _)| !used.contains(key))
        .flat_map(|((run, _), row)| row.dials().map(|dial| (*run, dial)))
        .filter(|(_, opened)| opened.error.is_some());
    let of_dial = failed.map(|(run, opened)| {
        let phases = [
            (Phase::Dns, opened.dns_us),
            (Phase::Connect, opened.connect_us),
            (Phase::Tls, opened.tls_us),
        ];
        let known = phases
            .into_iter()
            .filter_map(|(phase, us)| Some((phase, us?)));
        Stretch {
            run,
            host: Location::of(&opened.target).host,
            started: opened.started_us,
            phases: Some(known.collect()),
            own_us: 0,
        }
    });
    rows.iter().map(of_row).chain(of_dial).collect()
}

/// A part of the recording, in microseconds since its start.
#[derive(Debug, Clone, Copy)]
struct Extent {
    begin: u64,
    end: u64,
}

/// The runs, laid end to end.
struct Layout {
    runs: BTreeMap<u32, Extent>,
    /// How long all of them take.
    wall_us: u64,
}

impl Layout {
    fn of(stretches: &[Stretch], wall_us: u64) -> Self {
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
        Self { runs, wall_us }
    }
}

/// Where a phase of a request begins or ends.
#[derive(Debug, Clone, Copy)]
struct Edge {
    at: u64,
    begins: bool,
    /// Whose time it is: host and phase.
    cell: usize,
}

struct Swept {
    cells: Vec<u64>,
    in_flight_us: Vec<u64>,
}

/// Parts of a microsecond in which shares are counted.
///
/// A third of a microsecond has no exact binary form: each step of the sweep loses less than one
/// such part a request, always downwards. A million steps with a thousand requests each lose less
/// than a microsecond in all, which [`rounded`] hands out again.
const PARTS: u128 = 1 << 32;

/// Goes once over the sorted edges: O(n log n) for any number of requests in flight.
///
/// `share` is what a request would have got that was in flight all the time; a phase's own share
/// is what `share` grew by from its begin to its end.
fn sweep(mut edges: Vec<Edge>, cells: usize, wall_us: u64) -> Swept {
    edges.sort_unstable_by_key(|edge| edge.at);
    let mut sums = vec![0_u128; cells];
    let mut in_flight_us = Vec::new();
    let (mut share, mut in_flight, mut now) = (0_u128, 0_usize, 0_u64);
    for Edge { at, begins, cell } in edges {
        let passed = at - now;
        add_at(&mut in_flight_us, in_flight, passed);
        if in_flight > 0 {
            share += u128::from(passed) * PARTS / in_flight as u128;
        }
        now = at;
        // Modulo 2^128: the sums in between may leave the range, the results never do.
        if begins {
            in_flight += 1;
            sums[cell] = sums[cell].wrapping_sub(share);
        } else {
            in_flight -= 1;
            sums[cell] = sums[cell].wrapping_add(share);
        }
    }
    add_at(&mut in_flight_us, 0, wall_us - now);
    let idle_us = in_flight_us.first().copied().unwrap_or(0);
    Swept {
        cells: rounded(&sums, wall_us - idle_us),
        in_flight_us,
    }
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

/// Whole microseconds that add up to `total`: each sum is rounded down, and what is then missing
/// goes, one each, to those that lost most (the method of the largest remainder).
fn rounded(sums: &[u128], total: u64) -> Vec<u64> {
    let floor = |sum: &u128| u64::try_from(sum / PARTS).unwrap_or(u64::MAX);
    let mut cells: Vec<u64> = sums.iter().map(floor).collect();
    let missing = total.saturating_sub(cells.iter().sum());
    let mut by_loss: Vec<usize> = (0..sums.len()).filter(|cell| sums[*cell] > 0).collect();
    by_loss.sort_by_key(|cell| std::cmp::Reverse(sums[*cell] % PARTS));
    // No more than the cells themselves and what the sweep lost are missing: one round, or two.
    let round = by_loss.iter().cycle();
    for cell in round.take(usize::try_from(missing).unwrap_or(usize::MAX)) {
        cells[*cell] += 1;
    }
    cells
}

fn shares_of(cells: &[u64], host: usize) -> Shares {
    let mut shares = Shares::default();
    let first = host * Phase::ALL.len();
    shares
        .0
        .copy_from_slice(&cells[first..first + Phase::ALL.len()]);
    shares
}

#[cfg(test)]
mod tests;
