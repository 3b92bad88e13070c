//! Which entry of GOPROXY answered for each module, and what asking the others cost.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::case::{Asked, Case};
use super::hosts::Role;
use crate::gomod::Kind;

/// A module for which more than one place was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rung {
    /// The module path.
    pub(crate) module: String,
    /// The host that answered; `None` if none did.
    pub(crate) answered_by: Option<String>,
    /// The places that did not, in the order in which they were asked.
    pub(crate) refused_by: Vec<Refused>,
    /// What asking those took, summed up, microseconds.
    pub(crate) lost_us: u64,
}

/// A place that did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Refused {
    /// The host.
    pub(crate) host: String,
    /// The first status, or `None` if it could not be asked.
    pub(crate) status: Option<u16>,
    /// How many requests.
    pub(crate) requests: u64,
}

/// The modules for which more than one place was asked, or none answered; the costliest first.
pub(crate) fn ladder(case: &Case<'_>) -> Vec<Rung> {
    let mut modules: BTreeMap<&str, Rung> = BTreeMap::new();
    // Where a host stands among those that refused a module.
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for asked in &case.asked {
        let Some(module) = asked.listed.route.module.as_deref() else {
            continue;
        };
        if !is_of_a_module(asked) {
            continue;
        }
        let host = &asked.listed.host;
        let rung = modules.entry(module).or_insert_with(|| Rung {
            module: module.to_owned(),
            answered_by: None,
            refused_by: Vec::new(),
            lost_us: 0,
        });
        if !asked.is_failure() && asked.row.status.is_some_and(|status| status < 400) {
            rung.answered_by.get_or_insert_with(|| host.clone());
            continue;
        }
        if asked.listed.outcome == crate::filter::Outcome::Probe {
            continue;
        }
        rung.lost_us = rung.lost_us.saturating_add(asked.listed.total_us);
        let next = rung.refused_by.len();
        let place = *places.entry((module, host.as_str())).or_insert(next);
        match rung.refused_by.get_mut(place) {
            Some(one) => one.requests += 1,
            None => rung.refused_by.push(Refused {
                host: host.clone(),
                status: asked.row.status.filter(|_| !asked.is_ours()),
                requests: 1,
            }),
        }
    }
    let rungs = modules.into_values().map(|mut rung| {
        // What the same place had of another version, or later, is not another place's answer.
        let answered_by = rung.answered_by.as_ref();
        rung.refused_by.retain(|one| Some(&one.host) != answered_by);
        rung
    });
    let is_told = |rung: &Rung| !rung.refused_by.is_empty();
    let mut rungs: Vec<Rung> = rungs.filter(is_told).collect();
    rungs.sort_by(|a, b| {
        let rank = |rung: &Rung| std::cmp::Reverse(rung.lost_us);
        rank(a).cmp(&rank(b)).then_with(|| a.module.cmp(&b.module))
    });
    rungs
}

/// Whether the go command goes from entry to entry with it, or asks the repository in the end.
const fn is_of_a_module(asked: &Asked<'_>) -> bool {
    matches!(
        asked.listed.route.kind,
        Kind::List
            | Kind::Latest
            | Kind::Info
            | Kind::Mod
            | Kind::Zip
            | Kind::Toolchain
            | Kind::Vcs
            | Kind::Discovery
    )
}

/// How many modules each host answered for.
pub(crate) fn answered(case: &Case<'_>) -> BTreeMap<String, u64> {
    let mut modules: BTreeMap<&str, std::collections::BTreeSet<&str>> = BTreeMap::new();
    for asked in &case.asked {
        let is_answer = asked.row.status.is_some_and(|status| status < 300) && !asked.is_failure();
        let Some(module) = asked.listed.route.module.as_deref() else {
            continue;
        };
        if is_answer && is_of_a_module(asked) {
            modules
                .entry(&asked.listed.host)
                .or_default()
                .insert(module);
        }
    }
    let is_entry = |host: &str| {
        let role = case.hosts.get(host).and_then(|host| host.role);
        matches!(role, Some(Role::Proxy { .. } | Role::Direct))
    };
    modules
        .into_iter()
        .filter(|(host, _)| is_entry(host))
        .map(|(host, modules)| (host.to_owned(), modules.len() as u64))
        .collect()
}
