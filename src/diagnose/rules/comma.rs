//! MT111: an entry of GOPROXY failed, and after a comma the go command asked no other.

use super::dead::Dead;
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::dials::Step;
use crate::diagnose::finding::Confidence;
use crate::diagnose::hosts::{Role, next_entry, separator_of};
use crate::diagnose::outcome::is_refusal;
use crate::diagnose::public_hosts::is_public_entry;
use crate::gomod::{Base, ProxyTarget, Separator};
use crate::words::count;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let unreachable = Dead::all(case, |step| step != Step::Certificate).filter_map(|dead| {
        let (entry, next) = before_comma(case, dead.host.role)?;
        let title = format!(
            "{} {}, and after a comma the go command does not ask {next} instead: {}",
            dead.name,
            dead.is_not_reached(),
            dead.how(case)
        );
        Some(dead.found(case, title, Some(hint(case, entry))))
    });
    let refused = case.hosts.iter().filter_map(|(name, host)| {
        let (entry, next) = before_comma(case, host.role)?;
        let is_final = |item: &usize| {
            let asked = case.asked_by(&case.timeline.items[*item]);
            asked.is_some_and(|asked| {
                // Other rules know what these mean.
                let is_known = matches!(asked.row.status, Some(401 | 403 | 404 | 407 | 410 | 429));
                !asked.is_ours() && !is_known && is_refusal(asked.row, &asked.listed.route)
            })
        };
        let items: Vec<usize> = host.items.iter().copied().filter(is_final).collect();
        let first = case.asked_by(&case.timeline.items[*items.first()?])?;
        // A command that ended well had no need of another entry.
        if case.manifest.exit_code == Some(0) {
            return None;
        }
        let status = first.row.status?;
        let requests = count(items.len() as u64, "request");
        let evidence = items.iter().map(|item| {
            let asked = case.asked_by(&case.timeline.items[*item]);
            let status = asked.and_then(|asked| asked.row.status).unwrap_or_default();
            case.exhibit(*item, format!("{}: {status}", case.what(*item)))
        });
        Some(Found {
            severity: case.severity(),
            title: format!(
                "{name} answered {requests} with {status}, and after a comma the go command asks {next} only on 404 and 410"
            ),
            confidence: Confidence::Certain,
            evidence: evidence.collect(),
            hint: Some(hint(case, entry)),
            explains: Explained::pieces(case.pieces_of(&items, None)),
        })
    });
    unreachable.chain(refused).collect()
}

/// The number of an entry before a comma, and what stands behind that.
fn before_comma(case: &Case<'_>, role: Option<Role>) -> Option<(usize, String)> {
    let Some(Role::Proxy { entry }) = role else {
        return None;
    };
    let is_comma = separator_of(case, entry) == Some(Separator::Comma);
    Some((entry, next_entry(case, entry).filter(|_| is_comma)?))
}

/// A bar instead of the comma, but not behind an entry of one's own: then each of its bad days would tell
/// the paths of private modules to the next.
fn hint(case: &Case<'_>, entry: usize) -> String {
    let target = &case.goproxy.entries[entry].target;
    let name = match target {
        ProxyTarget::Url(url) => Base::of(url).map_or_else(|| url.clone(), |base| base.host),
        other => other.to_string(),
    };
    if !is_public_entry(&case.goproxy, entry) {
        return format!(
            "mend {name}, or leave it out of GOPROXY while it is down; a bar instead of the comma would lead on after any error, and tell the paths of private modules to the next entry"
        );
    }
    let mut list = case.goproxy.clone();
    list.entries[entry].separator = Some(Separator::Pipe);
    let text = list.to_string();
    if text.contains("redacted:") {
        return format!(
            "a bar instead of the comma behind {name} in GOPROXY goes on after any error"
        );
    }
    let bar = case.assignment("GOPROXY", &text);
    format!(
        "{bar} goes on after any error, which a bar does and a comma does not; each request still waits for {name} first, so leave it out if it stays dead"
    )
}
