//! MT118: a go.mod needs a newer Go than the one that runs, and GOTOOLCHAIN forbids to switch, or no proxy
//! has that Go.

use super::refusals::is_no_probe;
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Evidence, Exhibit, Severity};
use crate::diagnose::requirements::toolchain_name;
use crate::gomod::{Kind, compare_go};

/// Since this version a `go` line is a minimum.
const STRICT_FROM: &str = "1.21";

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut found = forbidden(case);
    found.extend(unavailable(case));
    found
}

/// The toolchain that was to run is not there.
fn unavailable(case: &Case<'_>) -> Option<Found> {
    let is_gone = |item: &usize| {
        let asked = &case.asked[*item];
        let is_toolchain = asked.listed.route.kind == Kind::Toolchain;
        is_toolchain && matches!(asked.row.status, Some(404 | 410)) && is_no_probe(asked)
    };
    let items: Vec<usize> = (0..case.asked.len()).filter(is_gone).collect();
    let asked = &case.asked[*items.first()?];
    if case.severity() != Severity::Problem {
        return None;
    }
    let (host, version) = (&asked.listed.host, asked.listed.route.version.as_deref()?);
    let name = toolchain_name(version)?;
    let asks = match case.requirements.asking_for(version) {
        Some((line, whose)) => format!("{whose} asks for {name} (`{line}`)"),
        None => format!("{name} was to run in place of the Go that is installed"),
    };
    let evidence = items.iter().map(|item| {
        let status = case.asked[*item].row.status.unwrap_or_default();
        case.exhibit(*item, format!("{}: {status}", case.what(*item)))
    });
    Some(Found {
        severity: Severity::Problem,
        title: format!("{asks}, and {host} does not have that toolchain"),
        confidence: Confidence::Certain,
        evidence: evidence.collect(),
        hint: Some(String::from(
            "see go.dev/dl for the releases that there are: `go mod edit -go=VERSION -toolchain=none` names one; a proxy without toolchains can be followed by another one in GOPROXY, or install that Go",
        )),
        explains: Explained::pieces(case.pieces_of(&items, None)),
    })
}

/// It may not run.
fn forbidden(case: &Case<'_>) -> Vec<Found> {
    let running = case.setting("GOVERSION");
    let allowed = case.setting("GOTOOLCHAIN");
    let is_fixed = !allowed.is_empty() && !allowed.contains("auto") && !allowed.contains("path");
    let has_failed = case.manifest.exit_code.is_some_and(|code| code != 0);
    let has_switched = case
        .asked
        .iter()
        .any(|asked| asked.listed.route.kind == Kind::Toolchain);
    let is_strict = !running.is_empty() && compare_go(running, STRICT_FROM).is_ge();
    if !is_fixed || !has_failed || has_switched || !is_strict {
        return Vec::new();
    }
    // `GOTOOLCHAIN=go1.22.3` runs that one.
    let runs = allowed.strip_prefix("go").map_or(running, |_| allowed);
    let is_newer = |go: &Option<String>| {
        go.as_deref()
            .filter(|go| compare_go(go, runs).is_gt())
            .map(str::to_owned)
    };
    let requirements = &case.requirements;
    let own = requirements.own_files();
    let own = own.filter_map(|(file, whose)| Some((is_newer(&file.go)?, None, whose)));
    let own = own.max_by(|a, b| compare_go(&a.0, &b.0));
    let mut of_files: Vec<(String, Option<usize>, String)> = requirements
        .files
        .iter()
        .filter_map(|(of, served)| {
            let go = is_newer(&served.go_mod.go)?;
            Some((go, Some(served.row), of.to_string()))
        })
        .collect();
    of_files.sort_by(|a, b| compare_go(&b.0, &a.0).then_with(|| a.2.cmp(&b.2)));
    let Some((go, row, whose)) = own.or_else(|| of_files.into_iter().next()) else {
        return Vec::new();
    };
    let shows = format!("GOTOOLCHAIN={allowed}, {running}");
    let setting = Evidence {
        what: Exhibit::Setting {
            name: "GOTOOLCHAIN".into(),
        },
        shows,
    };
    let file = row.map(|row| case.exhibit(row, format!("its go line is {go}")));
    let items: Vec<usize> = row.into_iter().collect();
    let hint = match row {
        None => format!(
            "GOTOOLCHAIN=auto lets go download go{go} and use it; or install it, or lower the line with `go mod edit -go=VERSION` if nothing needs it"
        ),
        Some(_) => format!(
            "GOTOOLCHAIN=auto lets go download go{go} and use it; or install it, or stay with an older version of {}",
            whose.split(' ').next().unwrap_or_default()
        ),
    };
    vec![Found {
        severity: Severity::Problem,
        title: format!(
            "{whose} needs Go {go}, and GOTOOLCHAIN={allowed} forbids any but {}",
            runs.strip_prefix("go").unwrap_or(runs)
        ),
        confidence: Confidence::Likely,
        evidence: file.into_iter().chain([setting]).collect(),
        hint: Some(hint),
        explains: Explained::pieces(case.pieces_of(&items, None)),
    }]
}
