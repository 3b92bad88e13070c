//! Where the time went: the wall time, split among what the requests were doing.
//!
//! Each instant is shared equally among the requests then in flight, and each share goes to the
//! phase that its request is in; what no request covers is idle. So the parts add up to the wall
//! time, however many requests ran side by side, which sums of phases never do.

use std::collections::BTreeMap;
use std::ops::Index;

use super::timeline::{PARTS, Timeline};
use crate::exchange::Phase;

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
    /// Splits the wall time of a timeline.
    pub(crate) fn of(timeline: &Timeline) -> Self {
        let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
        for item in &timeline.items {
            let next = hosts.len();
            hosts.entry(&item.host).or_insert(next);
        }
        let own = hosts.len() * Phase::ALL.len();
        let mut sums = vec![0_u128; own + 1];
        for item in &timeline.items {
            let host = hosts[&*item.host] * Phase::ALL.len();
            for piece in &timeline.pieces[item.pieces.clone()] {
                let cell = piece.phase.map_or(own, |phase| host + phase as usize);
                sums[cell] += piece.share;
            }
        }
        let idle_us = timeline.idle_us();
        let cells = rounded(&sums, timeline.wall_us - idle_us);
        let by_host: BTreeMap<String, Shares> = hosts
            .into_iter()
            .map(|(host, index)| (host.to_owned(), shares_of(&cells, index)))
            .collect();
        let mut phases = Shares::default();
        for shares in by_host.values() {
            for (sum, share) in phases.0.iter_mut().zip(shares.0) {
                *sum += share;
            }
        }
        Self {
            wall_us: timeline.wall_us,
            idle_us,
            own_us: cells[own],
            phases,
            by_host,
            in_flight_us: timeline.in_flight_us.clone(),
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
