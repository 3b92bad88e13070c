//! The critical chain: the exchanges that had to wait for one another, from the last back to the first.
//!
//! Whatever is not on it could have been faster without the command ending any sooner.

use serde::Serialize;

use super::case::Case;
use super::timeline::Item;
use crate::gomod::Kind;

/// A link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Link {
    /// The item of the timeline.
    #[serde(skip)]
    pub(crate) item: usize,
    /// The run, from 0.
    pub(crate) run: u32,
    /// The exchange; `None` for a dial that failed.
    pub(crate) exchange: Option<u64>,
    /// What it asked for, in words.
    pub(crate) what: String,
    /// The host.
    pub(crate) host: String,
    /// How long nothing of the chain was in flight before it: the command's own time, microseconds.
    pub(crate) gap_us: u64,
    /// How long it took, microseconds.
    pub(crate) took_us: u64,
}

/// What ended so shortly before the latest could just as well have been waited for, microseconds.
const TIE_US: u64 = 5_000;

/// How many of what ended at nearly the same time are looked at.
const TIES: usize = 64;

/// The chain that ends with what ended last, in order. Each link is what ended last before the next
/// began; of what ended at nearly the same time, what the next one needs.
pub(crate) fn chain(case: &Case<'_>) -> Vec<Link> {
    let items = &case.timeline.items;
    let mut by_end: Vec<usize> = (0..items.len())
        .filter(|item| items[*item].until > items[*item].from)
        .collect();
    by_end.sort_by_key(|item| items[*item].until);
    let mut links = Vec::new();
    let mut next = by_end.last().copied();
    while let Some(item) = next {
        let begin = items[item].from;
        let before = by_end.partition_point(|other| items[*other].until <= begin);
        let previous = before.checked_sub(1).map(|last| by_end[last]);
        let previous = previous.map(|last| {
            let latest = items[last].until;
            let mut tied = by_end[..before].iter().rev();
            let tied = tied
                .by_ref()
                .take(TIES)
                .take_while(|other| items[**other].until.saturating_add(TIE_US) >= latest);
            let needed = tied
                .copied()
                .find(|other| is_needed(case, &items[*other], &items[item]));
            needed.unwrap_or(last)
        });
        let gap_us = begin - previous.map_or(0, |previous| items[previous].until);
        links.push(link(case, item, gap_us));
        next = previous;
    }
    links.reverse();
    links
}

/// Whether the go command asks for `next` because of `previous`: the same module at a later step, or a
/// tile after the lookup.
fn is_needed(case: &Case<'_>, previous: &Item, next: &Item) -> bool {
    let (Some(previous), Some(next)) = (case.asked_by(previous), case.asked_by(next)) else {
        return false;
    };
    let (previous, next) = (&previous.listed.route, &next.listed.route);
    match next.kind {
        Kind::Tile => previous.kind == Kind::Lookup,
        _ => previous.module.is_some() && previous.module == next.module,
    }
}

fn link(case: &Case<'_>, item: usize, gap_us: u64) -> Link {
    let Item {
        host, from, until, ..
    } = &case.timeline.items[item];
    let asked = case.asked_by(&case.timeline.items[item]);
    Link {
        item,
        run: asked.map_or(0, |asked| asked.row.run),
        exchange: asked.map(|asked| asked.row.id),
        what: case.what(item),
        host: host.clone(),
        gap_us,
        took_us: until - from,
    }
}
