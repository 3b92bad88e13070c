//! MT306: a module in the module cache is damaged.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::damage::{advice, sentence};
use crate::diagnose::finding::{Confidence, Evidence, Exhibit};
use crate::recording::caches::{Damage, Damaged};

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let Some(caches) = &case.manifest.caches else {
        return Vec::new();
    };
    let cache = &caches.modules.path;
    // With another content than go.sum names, go.sum may be what is wrong.
    let damaged = caches.checked.damaged.iter();
    let damaged: Vec<_> = damaged
        .filter(|one| !matches!(one.damage, Damage::Content { .. }))
        .collect();
    let Some(first) = damaged.first() else {
        return Vec::new();
    };
    let (module, version) = (&first.module, &first.version);
    let more = match damaged.len() {
        1 => String::new(),
        all => format!(", and {} more", all - 1),
    };
    let evidence = damaged.iter().map(|one| Evidence {
        what: Exhibit::File {
            path: format!("{cache}/{}", one.path),
        },
        shows: sentence(one),
    });
    let others = match damaged.len() {
        1 => "",
        _ => "; `go clean -modcache` removes all of the cache",
    };
    vec![Found {
        severity: case.severity(),
        title: format!(
            "the module cache has {module} {version} damaged{more}: {}",
            why(first)
        ),
        // Whether the command needed it, no request tells.
        confidence: Confidence::Likely,
        evidence: evidence.collect(),
        hint: Some(format!(
            "{}{others}; `go mod verify` checks every module",
            advice(cache, first)
        )),
        explains: Explained::default(),
    }]
}

/// What is wrong, in a few words.
fn why(damaged: &Damaged) -> String {
    match &damaged.damage {
        Damage::Unreadable { why, .. } => format!("{} cannot be read: {why}", damaged.path),
        Damage::Zip { why } => format!("of its zip, {why}"),
        Damage::Ziphash { .. } => String::from("its ziphash is not that of its zip"),
        Damage::Content { .. } => String::from("its zip is another"),
        Damage::Tree { why } => format!("of an unpacked file, {why}"),
    }
}
