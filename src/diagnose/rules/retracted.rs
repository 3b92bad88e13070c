//! MT303: a version that is used was retracted, or its module is deprecated.

use std::collections::{BTreeMap, BTreeSet};

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::requirements::Served;
use crate::gomod::{Kind, ModuleVersion, compare_versions};

/// How much of a reason is repeated, characters.
const SHOWN: usize = 160;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    // As go does, the newest go.mod decides, as far as it is known.
    let mut newest: BTreeMap<&str, (&ModuleVersion, &Served)> = BTreeMap::new();
    for (of, served) in &case.requirements.files {
        let known = newest.entry(&of.path).or_insert((of, served));
        if compare_versions(&of.version, &known.0.version).is_gt() {
            *known = (of, served);
        }
    }
    let selection = case.selection();
    let zips = used_zips(case);
    let mains = &case.requirements.mains;
    let lines = mains.iter().flat_map(|main| &main.require);
    let lines = lines.filter(|line| !line.is_indirect);
    let mut direct: BTreeSet<&str> = lines.map(|line| &*line.of.path).collect();
    direct.extend(case.manifest.command.iter().flat_map(|word| named(word)));
    let mut found = Vec::new();
    for (path, (of, served)) in newest {
        let used = match selection.chosen.get(path) {
            Some(version) => version.clone(),
            None => match zips.get(path) {
                Some(version) => (*version).to_owned(),
                None => continue,
            },
        };
        let retracted = served.go_mod.retract.iter().find(|it| {
            compare_versions(&it.low, &used).is_le() && compare_versions(&used, &it.high).is_le()
        });
        let item = served.row;
        let note = |title: String, shows: String, hint: String| Found {
            severity: Severity::Note,
            title,
            confidence: Confidence::Certain,
            evidence: vec![case.exhibit(item, shows)],
            hint: Some(hint),
            explains: Explained::default(),
        };
        if let Some(retracted) = retracted {
            found.push(note(
                format!(
                    "{path} {used} was retracted by its authors{}",
                    reason(&retracted.rationale)
                ),
                format!("the go.mod of {} retracts it", of.version),
                format!("`go get {path}@latest` takes a version that is not retracted"),
            ));
        }
        let is_direct = mains.is_empty() || direct.contains(path);
        if let Some(why) = served.go_mod.deprecated.as_deref().filter(|_| is_direct) {
            found.push(note(
                format!("{path} is deprecated{}", reason(why)),
                format!("the go.mod of {} says so", of.version),
                String::from("its authors say what to use in its place; `go get` repeats it"),
            ));
        }
    }
    found
}

/// `: superseded by …`, in one line.
fn reason(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let words = words.join(" ");
    match words.is_empty() {
        true => String::new(),
        false => format!(": {}", words.chars().take(SHOWN).collect::<String>()),
    }
}

/// The modules whose zips were asked for, with the version of the first.
fn used_zips<'a>(case: &'a Case<'_>) -> BTreeMap<&'a str, &'a str> {
    let mut zips = BTreeMap::new();
    for asked in &case.asked {
        let route = &asked.listed.route;
        if let (Kind::Zip, Some(module), Some(version)) =
            (route.kind, &route.module, &route.version)
        {
            zips.entry(&**module).or_insert(&**version);
        }
    }
    zips
}

/// The modules that a word of the command may name, as that or by a package: `go get MODULE@VERSION`.
fn named(word: &str) -> impl Iterator<Item = &str> {
    let path = word.split('@').next().unwrap_or_default();
    let ends = path.match_indices('/').map(|(end, _)| end);
    ends.chain([path.len()]).map(|end| &path[..end])
}
