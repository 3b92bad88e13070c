//! MT303: a version that is used was retracted, or its module is deprecated.

use std::collections::BTreeMap;

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
    let selection = case.requirements.graph().select();
    let mut found = Vec::new();
    for (path, (of, served)) in newest {
        let used = match selection.chosen.get(path) {
            Some(version) => version.clone(),
            None => match used_zip(case, path) {
                Some(version) => version,
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
        let is_direct = case.requirements.main.as_ref().is_none_or(|main| {
            let mut lines = main.require.iter();
            lines.any(|line| line.of.path == path && !line.is_indirect)
        });
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

/// The version of a module whose zip was asked for.
fn used_zip(case: &Case<'_>, path: &str) -> Option<String> {
    let mut routes = case.asked.iter().map(|asked| &asked.listed.route);
    let zip = routes.find(|route| route.kind == Kind::Zip && route.module.as_deref() == Some(path));
    zip?.version.clone()
}
