//! MT133: `go mod download` fetched zips that no build of the project uses.

use std::collections::BTreeMap;

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Evidence, Exhibit, Severity};
use crate::diagnose::timeline::sum;
use crate::gomod::{Kind, go_words};
use crate::words::{count, percent, size};

/// They are told from this part of the bytes of all zips on, in percent.
const LEAST_PERCENT: u64 = 10;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    found(case).into_iter().collect()
}

fn found(case: &Case<'_>) -> Option<Found> {
    // A tidy go.sum has the hash of each zip that a package is built from, and `go mod download` adds
    // none. Without any there is no tidy go.sum.
    let go_sum = case.go_sum.as_ref()?;
    go_sum.zips().next()?;
    if !downloads_all(&case.manifest.command) || case.manifest.exit_code != Some(0) {
        return None;
    }
    let mut zips = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        let route = &asked.listed.route;
        if let (Kind::Zip, Some(module), Some(version), Some(200)) =
            (route.kind, &route.module, &route.version, asked.row.status)
        {
            zips.insert((module.as_str(), version.as_str()), item);
        }
    }
    let bytes = |item: usize| case.asked[item].row.bytes;
    let all = sum(zips.values().map(|item| bytes(*item)));
    let extra = zips.iter().filter(|((module, version), _)| {
        // One that it has no line of at all was added to go.mod since.
        let is_known = !go_sum.of(Kind::Mod, module, version).is_empty();
        is_known && go_sum.of(Kind::Zip, module, version).is_empty()
    });
    let mut extra: Vec<usize> = extra.map(|(_, item)| *item).collect();
    let extra_bytes = sum(extra.iter().map(|item| bytes(*item)));
    if extra.is_empty() || percent(extra_bytes, all) < LEAST_PERCENT {
        return None;
    }
    extra.sort_by_key(|item| std::cmp::Reverse(bytes(*item)));
    let evidence = extra.iter().map(|item| {
        let what = case.what(*item);
        let shows = format!(
            "{what}: {}, and go.sum has no hash of it",
            size(bytes(*item))
        );
        case.exhibit(*item, shows)
    });
    let command = Evidence {
        what: Exhibit::File {
            path: "go.sum".into(),
        },
        shows: format!(
            "has hashes of {}",
            count(go_sum.zips().count() as u64, "zip")
        ),
    };
    Some(Found {
        severity: Severity::Note,
        title: format!(
            "{} of {} ({} of {}) are of modules that no package of this project is built from",
            extra.len(),
            count(zips.len() as u64, "zip"),
            size(extra_bytes),
            size(all),
        ),
        confidence: Confidence::Certain,
        evidence: evidence.chain([command]).collect(),
        hint: Some(String::from(
            "`go list -deps -test ./... >/dev/null` in place of `go mod download` fetches only what is built; with a go line of 1.17 or later (`go mod tidy -go=VERSION`) `go mod download` leaves out the rest of the graph, too",
        )),
        explains: Explained::pieces(case.pieces_of(&extra, None)),
    })
}

/// Whether the command is `go mod download` without the names of modules; with `all`, somebody wants them.
fn downloads_all(command: &[String]) -> bool {
    let words = go_words(command).unwrap_or_default();
    let rest = words.strip_prefix(&["mod", "download"]);
    rest.is_some_and(|rest| rest.iter().all(|word| word.starts_with('-')))
}
