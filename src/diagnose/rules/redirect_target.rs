//! MT110: a redirect leads nowhere: to a host that cannot be reached, or in a loop.

use std::collections::{BTreeMap, BTreeSet};

use super::dead::Dead;
use super::{Explained, Found, and_more};
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;
use crate::diagnose::hosts::Role;
use crate::diagnose::routes::{STEPS, is_redirect};
use crate::words::count;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut found = unreachable(case);
    found.extend(in_loops(case));
    found
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
    // By what was asked for: its first request, and its redirects.
    let mut loops: BTreeMap<String, (usize, Vec<usize>)> = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        if firsts.contains(&(asked.row.run, asked.row.id)) {
            loops
                .entry(asked.listed.what())
                .or_insert((item, Vec::new()));
        }
        if is_redirect(asked.row)
            && let Some((_, hops)) = loops.get_mut(&asked.listed.what())
        {
            hops.push(item);
        }
    }
    let mut by_host: BTreeMap<&str, Vec<(String, (usize, Vec<usize>))>> = BTreeMap::new();
    for (what, found) in loops {
        let host = &*case.timeline.items[found.0].host;
        by_host.entry(host).or_default().push((what, found));
    }
    let found = by_host.into_iter().map(|(host, mut loops)| {
        loops.sort_by_key(|(_, (first, _))| *first);
        let evidence = loops.iter().map(|(what, (first, hops))| {
            case.exhibit(*first, format!("{what}: {}", count(hops.len() as u64, "redirect")))
        });
        let evidence = evidence.collect();
        let items: Vec<usize> = loops.iter().flat_map(|(_, (_, hops))| hops.clone()).collect();
        Found {
            severity: case.severity(),
            title: format!(
                "{host} redirects {} in a loop, and the go command follows {STEPS} redirects at most{}",
                loops[0].0,
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
