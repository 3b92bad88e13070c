//! MT131: a Go toolchain was downloaded.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::timeline::sum;
use crate::gomod::Kind;
use crate::words::{duration, size};

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let is_toolchain = |item: &usize| {
        let asked = &case.asked[*item];
        asked.listed.route.kind == Kind::Toolchain && asked.row.bytes > 0
    };
    let items: Vec<usize> = (0..case.asked.len()).filter(is_toolchain).collect();
    let Some(first) = items.first() else {
        return Vec::new();
    };
    let first = &case.asked[*first];
    let version = first.listed.route.version.as_deref().unwrap_or_default();
    let bytes = sum(items.iter().map(|item| case.asked[*item].row.bytes));
    let us = sum(items.iter().map(|item| case.asked[*item].listed.total_us));
    let evidence = items.iter().map(|item| {
        let asked = &case.asked[*item];
        let took = duration(asked.listed.total_us);
        case.exhibit(
            *item,
            format!("{}: {} in {took}", case.what(*item), size(asked.row.bytes)),
        )
    });
    let local = case
        .manifest
        .go_version
        .as_deref()
        .unwrap_or("the local go");
    vec![Found {
        severity: Severity::Slow,
        title: format!(
            "{}, and {local} downloaded it: {} in {}",
            wanted(case, version),
            size(bytes),
            duration(us)
        ),
        confidence: Confidence::Certain,
        evidence: evidence.collect(),
        hint: Some(match names_release(case, release(version)) {
            true => format!(
                "install {} where this runs often (CI images), or take it out of GOTOOLCHAIN",
                release(version)
            ),
            false => String::from(
                "install that Go where this runs often (CI images), or GOTOOLCHAIN=local to use the one that is there, if the go line of go.mod allows it",
            ),
        }),
        explains: Explained::pieces(case.pieces_of(&items, None)),
    }]
}

/// What wanted a toolchain, as a sentence that can go on.
fn wanted(case: &Case<'_>, version: &str) -> String {
    let release = release(version);
    match case.requirements.asking_for(version) {
        Some((line, whose)) => format!("{whose} asks for {release} (`{line}`)"),
        None if names_release(case, release) => format!("GOTOOLCHAIN asks for {release}"),
        None => format!("{release} was to run"),
    }
}

/// Whether GOTOOLCHAIN names a release: `go1.27.3`, `go1.27.3+auto`.
fn names_release(case: &Case<'_>, release: &str) -> bool {
    let allowed = case.setting("GOTOOLCHAIN");
    allowed.split('+').next() == Some(release)
}

/// The release in a toolchain's version: `go1.27.3` of `v0.0.1-go1.27.3.linux-amd64`.
fn release(version: &str) -> &str {
    let release = version.strip_prefix("v0.0.1-").unwrap_or(version);
    match release.rsplit_once('.') {
        Some((release, platform)) if platform.contains('-') => release,
        _ => release,
    }
}
