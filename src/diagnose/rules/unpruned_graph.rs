//! MT134: hundreds of go.mod files were read for few modules, as their graph is not pruned.

use std::collections::BTreeSet;

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::requirements::is_unpruned;
use crate::diagnose::timeline::PARTS;
use crate::gomod::Kind;
use crate::words::count;

/// So many go.mod files are worth a note.
const NOTED: usize = 150;

/// So many are a cause, if they took so long, microseconds.
const MANY: usize = 1000;
const SLOW_US: u64 = 5_000_000;

/// For one zip at least so many go.mod files.
const PER_ZIP: usize = 3;

/// Where one in so many hangs at one requirement, it is named.
const DOOR: usize = 4;

/// How many of them are shown.
const EVIDENCE: usize = 5;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let requirements = &case.requirements;
    let files = requirements.files.len();
    let zips: BTreeSet<_> = case
        .asked
        .iter()
        .map(|asked| &asked.listed.route)
        .filter(|route| route.kind == Kind::Zip)
        .map(|route| (&route.module, &route.version))
        .collect();
    let old = requirements.files.values();
    let old = old.filter(|served| is_unpruned(&served.go_mod));
    let old_rows: Vec<usize> = old.map(|served| served.row).collect();
    let old = old_rows.len();
    if files < NOTED || files < zips.len() * PER_ZIP || old * 2 < files {
        return Vec::new();
    }
    let graph = case.graph();
    // The requirement at which many of them hang, if there is one.
    let door = graph.shares().first().copied();
    let door = door.filter(|(_, hanging)| hanging * DOOR >= files);
    let door = door.map(|(door, hanging)| (&graph.nodes[door].of, hanging));
    let items = case.items(|item| {
        let asked = case.asked_by(item);
        asked.is_some_and(|asked| asked.listed.route.kind == Kind::Mod)
    });
    let pieces = case.pieces_of(&items, None);
    let share: u128 = pieces
        .iter()
        .map(|piece| case.timeline.pieces[*piece].share)
        .sum();
    let is_slow = files >= MANY && share >= u128::from(SLOW_US) * PARTS;
    let evidence = old_rows.iter().take(EVIDENCE).map(|item| {
        let go_mod = case.asked[*item].listed.route.module.clone();
        let version = case.asked[*item].listed.route.version.clone();
        let of = [go_mod.unwrap_or_default(), version.unwrap_or_default()].join(" ");
        case.exhibit(*item, format!("the go.mod of {of} is from before Go 1.17"))
    });
    let zips = match zips.len() {
        0 => String::from("no zip was needed"),
        zips => format!("only {} needed", count(zips as u64, "zip")),
    };
    let is_own = graph
        .mains
        .iter()
        .any(|main| graph.nodes[*main].is_unpruned);
    let hint = match door {
        _ if is_own => String::from(
            "`go mod tidy -go=1.21` writes all that is needed into your go.mod: then go need not read on from there; a module cache that is kept between runs has all of these files",
        ),
        Some((of, _)) => format!(
            "`go get {}@latest` may bring one whose go.mod is newer (`modtape why MODULE` shows what leads to a module); a module cache that is kept between runs has all of these files",
            of.path
        ),
        None => String::from(
            "newer versions of what you require may have a go line of 1.17 or later (`go list -m -u all` lists them); a module cache that is kept between runs has all of these files",
        ),
    };
    let hanging = door.map_or_else(String::new, |(of, hanging)| {
        format!("; {hanging} hang at {of}")
    });
    vec![Found {
        severity: match is_slow {
            true => Severity::Slow,
            false => Severity::Note,
        },
        title: format!(
            "{} were read, {zips}: {old} of them are from before Go 1.17, so all that they require was read too{hanging}",
            count(files as u64, "go.mod file"),
        ),
        confidence: Confidence::Certain,
        evidence: evidence.collect(),
        hint: Some(hint),
        explains: Explained::pieces(pieces),
    }]
}
