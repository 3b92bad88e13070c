//! MT202: requests had to wait for one another; MT203 says when distance is the reason.

use std::collections::BTreeMap;

use super::processors::saturated;
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::chain::chain;
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::timeline::sum;
use crate::exchange::Phase;
use crate::gomod::Kind;
use crate::words::{count, duration, percent};

/// A chain has so many links at least.
const LINKS: usize = 5;

/// And takes so long, microseconds.
const LEAST_US: u64 = 1_500_000;

/// Links that are shorter on average are no fault of anybody's, microseconds.
const FAR_US: u64 = 80_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let links = chain(case);
    let took = sum(links.iter().map(|link| link.took_us));
    let wall_us = case.timeline.wall_us;
    if links.len() < LINKS || took < LEAST_US || took.saturating_mul(2) < wall_us {
        return Vec::new();
    }
    if let Some(processors) = case.manifest.processors {
        // Where all workers are busy, what follows one another did not have to.
        let (full, busy) = saturated(case, processors);
        if full.saturating_mul(2) > busy {
            return Vec::new();
        }
    }
    let waits = links.iter().map(|link| {
        let item = &case.timeline.items[link.item];
        case.phase_us(item, Phase::Wait)
    });
    let waited = sum(waits);
    // What is slow in itself is a matter of other rules: a chain is made of many short waits.
    let longest = links.iter().map(|link| link.took_us).max().unwrap_or(0);
    let is_quick = waited < FAR_US.saturating_mul(links.len() as u64);
    if is_quick || waited.saturating_mul(2) < took || longest.saturating_mul(2) > took {
        return Vec::new();
    }
    let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
    for link in &links {
        *hosts.entry(&link.host).or_default() += 1;
    }
    let Some((host, _)) = hosts.into_iter().max_by_key(|(_, links)| *links) else {
        return Vec::new();
    };
    let items: Vec<usize> = links.iter().map(|link| link.item).collect();
    let is_mod = |item: &usize| {
        let asked = case.asked_by(&case.timeline.items[*item]);
        asked.is_some_and(|asked| asked.listed.route.kind == Kind::Mod)
    };
    let why = match items.iter().filter(|item| is_mod(item)).count() * 2 > items.len() {
        true => "; a go.mod must be there before what it requires can be asked for",
        false => "",
    };
    let each = duration(waited / links.len() as u64);
    vec![Found {
        severity: Severity::Slow,
        title: format!(
            "{} came one after another, {each} each for {host}: {} of {} ({} %){why}",
            count(links.len() as u64, "request"),
            duration(took),
            duration(wall_us),
            percent(took, wall_us)
        ),
        // The order of time is known, the reason for it is not.
        confidence: Confidence::Likely,
        evidence: items
            .iter()
            .map(|item| {
                let us = case.phase_us(&case.timeline.items[*item], Phase::Wait);
                case.exhibit(
                    *item,
                    format!(
                        "{}: {} until the first byte",
                        case.what(*item),
                        duration(us)
                    ),
                )
            })
            .collect(),
        hint: Some(String::from(
            "a module proxy that is nearer shortens every link; a go line of 1.17 or later in the go.mod files of your own modules prunes the graph; `go mod graph` shows what is deep",
        )),
        explains: Explained::pieces(case.pieces_of(&items, Some(Phase::Wait))),
    }]
}
