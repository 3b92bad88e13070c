//! MT110: a redirect leads nowhere: to a host that cannot be reached, or in a loop.

use std::collections::{BTreeMap, BTreeSet};

use super::dead::Dead;
use super::{Explained, Found, and_more};
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;
use crate::diagnose::hosts::Role;
use crate::gomod::REDIRECTS;
use crate::words::count;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut found = unreachable(case);
    found.extend(in_loops(case));
    found
}

/// Something that was redirected in a loop.
struct Looped {
    /// What was asked for, in words.
    what: String,
    /// The first request for it, as an item.
    first: usize,
    /// The requests that were redirected.
    redirects: Vec<usize>,
}

/// Requests that were redirected in a loop, by the host that was asked first.
fn in_loops(case: &Case<'_>) -> Vec<Found> {
    if case.loops.is_empty() {
        return Vec::new();
    }
    let firsts: BTreeSet<_> = case
        .loops
        .iter()
        .map(|found| (found.run, found.id))
        .collect();
    let mut loops: BTreeMap<String, Looped> = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        if firsts.contains(&(asked.row.run, asked.row.id)) {
            let what = asked.listed.what();
            let looped = loops.entry(what.clone());
            looped.or_insert(Looped {
                what,
                first: item,
                redirects: Vec::new(),
            });
        }
        if asked.row.is_redirect()
            && let Some(looped) = loops.get_mut(&asked.listed.what())
        {
            looped.redirects.push(item);
        }
    }
    let mut by_host: BTreeMap<&str, Vec<Looped>> = BTreeMap::new();
    for looped in loops.into_values() {
        let host = &*case.timeline.items[looped.first].host;
        by_host.entry(host).or_default().push(looped);
    }
    let found = by_host.into_iter().map(|(host, mut loops)| {
        loops.sort_by_key(|looped| looped.first);
        let evidence = loops.iter().map(|looped| {
            let redirects = count(looped.redirects.len() as u64, "redirect");
            case.exhibit(looped.first, format!("{}: {redirects}", looped.what))
        });
        let evidence = evidence.collect();
        let items: Vec<usize> = loops.iter().flat_map(|looped| looped.redirects.clone()).collect();
        Found {
            severity: case.severity(),
            title: format!(
                "{host} redirects {} in a loop, and the go command follows {REDIRECTS} redirects at most{}",
                loops[0].what,
                and_more(loops.len() - 1)
            ),
            confidence: Confidence::Certain,
            evidence,
            hint: Some(format!(
                "`modtape ls -f status:3xx` lists where they lead; that is for the operator of {host}, and another GOPROXY goes around it"
            )),
            explains: Explained::pieces(case.pieces_of(&items, None)),
        }
    });
    found.collect()
}

fn unreachable(case: &Case<'_>) -> Vec<Found> {
    let dead = Dead::all(case, |_| true);
    let dead = dead.filter(|dead| dead.host.role == Some(Role::Redirected));
    dead.map(|dead| {
        let from = case.redirects.get(dead.name).copied();
        let from = from.map(|index| (index, &case.asked[index].listed));
        let proxy = from.map_or_else(|| "the module proxy".into(), |(_, one)| one.host.clone());
        let what = from.map_or_else(|| "zips".into(), |(_, one)| one.what());
        let title = format!(
            "{proxy} redirects {what} to {}, which {}: {}",
            dead.name,
            dead.is_not_reached(),
            dead.how(case)
        );
        let hint = format!(
            "allow {} where {proxy} is allowed; or use a GOPROXY that serves zips itself",
            dead.name
        );
        let mut found = dead.found(case, title, Some(hint));
        if let Some((index, one)) = from {
            let shows = format!("{} was redirected to {}", one.what(), dead.name);
            found.evidence.insert(0, case.exhibit(index, shows));
        }
        found
    })
    .collect()
}
