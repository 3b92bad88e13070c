//! MT116: an entry of GOPROXY that never answers stands before a bar, and every request pays for it.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::estimate::Change;
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::hosts::{Host, Role, next_entry, separator_of};
use crate::diagnose::public_hosts::is_public_entry;
use crate::gomod::Separator;
use crate::recording::reader::RowState;
use crate::words::{count, duration};

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let hosts = case.hosts.iter();
    hosts
        .filter_map(|(name, host)| of_entry(case, name, host))
        .collect()
}

fn of_entry(case: &Case<'_>, name: &str, host: &Host) -> Option<Found> {
    let Some(Role::Proxy { entry }) = host.role else {
        return None;
    };
    let is_bar = separator_of(case, entry) == Some(Separator::Pipe);
    let next = next_entry(case, entry).filter(|_| is_bar)?;
    // What never ended is a hang and not a failure; a refusal of 401 or 429 says something else.
    let is_failed = |item: &usize| {
        let asked = case.asked_by(&case.timeline.items[*item]);
        asked.is_none_or(|asked| match asked.row.state {
            RowState::Ended => asked.row.status.is_some_and(|status| status >= 500),
            RowState::Aborted | RowState::InFlight => false,
        })
    };
    let has_answered = host.items.iter().any(|item| {
        let asked = case.asked_by(&case.timeline.items[*item]);
        asked.is_some_and(|asked| asked.row.status.is_some_and(|status| status < 500))
    });
    let items: Vec<usize> = host.items.iter().copied().filter(is_failed).collect();
    // One that answered others is not dead.
    if items.is_empty() || has_answered {
        return None;
    }
    let us = |item: &usize| case.timeline.items[*item].until - case.timeline.items[*item].from;
    let longest = items.iter().map(us).max().unwrap_or(0);
    let evidence = items.iter().map(|item| {
        let asked = case.asked_by(&case.timeline.items[*item]);
        let status = asked.filter(|asked| !asked.is_ours());
        let status = status.and_then(|asked| asked.row.status);
        let dial = case.dial_of(&case.timeline.items[*item]);
        let error = dial.and_then(|dial| dial.error.clone());
        let answer = status.map_or_else(|| error.unwrap_or_default(), |status| status.to_string());
        let (what, took) = (case.what(*item), duration(us(item)));
        case.exhibit(*item, format!("{what}: {answer} after {took}"))
    });
    let rest = without_entry(case, entry);
    let requests = count(items.len() as u64, "request");
    Some(Found {
        severity: Severity::Slow,
        title: format!(
            "{name} is dead, and each request waits for it before the go command asks {next}: {requests}, up to {} each",
            duration(longest)
        ),
        confidence: Confidence::Certain,
        evidence: evidence.collect(),
        hint: Some(match rest {
            // Its private modules would be asked of the next entry for as long as it is left out.
            _ if !is_public_entry(&case.goproxy, entry) => format!(
                "ask who runs {name}, or connect the VPN that leads to it; leave it out of GOPROXY only if it has no private modules"
            ),
            Some(rest) => format!(
                "{} leaves it out: the go command remembers no failure from one request to the next",
                case.assignment("GOPROXY", &rest)
            ),
            None => format!(
                "leave {name} out of GOPROXY: the go command remembers no failure from one request to the next"
            ),
        }),
        explains: Explained::pieces(case.pieces_of(&items, None)).but_for(Change::Without(items)),
    })
}

/// GOPROXY without one of its entries; `None` if it holds what was redacted.
fn without_entry(case: &Case<'_>, entry: usize) -> Option<String> {
    let mut rest = case.goproxy.clone();
    rest.entries.remove(entry);
    let text = rest.to_string();
    (!text.contains("redacted:")).then_some(text)
}
