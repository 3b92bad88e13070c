//! MT117: a pattern of GOPRIVATE or the like matches no module.

use super::refusals::Refused;
use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Evidence, Exhibit, Severity};
use crate::gomod::{PATTERN_SETTINGS, corrected_patterns, matches_patterns, pattern_mistakes};
use crate::words::count;

/// The setting whose value the others take if they are not set.
const GOPRIVATE: &str = "GOPRIVATE";

/// What no hint should lead to: it takes the checks of certificates from the hosts that it names.
const GOINSECURE: &str = "GOINSECURE";

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let own = |name: &&&str| **name == GOPRIVATE || case.setting(name) != case.setting(GOPRIVATE);
    let names = PATTERN_SETTINGS
        .iter()
        .filter(|name| **name != GOINSECURE)
        .filter(own);
    names.filter_map(|name| malformed(case, name)).collect()
}

fn malformed(case: &Case<'_>, name: &str) -> Option<Found> {
    let list = case.setting(name);
    let mistakes = pattern_mistakes(list);
    let first = mistakes.first()?;
    let corrected = corrected_patterns(list);
    let title = format!(
        "{name} has a pattern that matches nothing: {:?} {}",
        first.pattern, first.what
    );
    let setting = Evidence {
        what: Exhibit::Setting {
            name: name.to_owned(),
        },
        shows: format!(
            "{list}: {} of no use",
            count(mistakes.len() as u64, "pattern")
        ),
    };
    let hint = corrected.as_ref().map(|corrected| {
        let set = case.assignment(name, corrected);
        format!("{set} is what was probably meant")
    });
    // A refused request for a module that the list was meant to take is what the mistake cost.
    let meant = |item: &usize| {
        let asked = &case.asked[*item];
        let module = asked.listed.route.module.as_deref();
        let is_refused = asked.row.status.is_some_and(|status| status >= 400) && !asked.is_ours();
        is_refused
            && module.is_some_and(|module| {
                corrected
                    .as_ref()
                    .is_some_and(|list| matches_patterns(list, module))
            })
    };
    let items: Vec<usize> = (0..case.asked.len()).filter(meant).collect();
    let Some(first) = items.first() else {
        return Some(Found {
            severity: Severity::Note,
            title,
            confidence: Confidence::Certain,
            evidence: vec![setting],
            hint,
            explains: Explained::default(),
        });
    };
    let host = &*case.timeline.items[*first].host;
    let title = format!("{title}; {host} was asked for modules that it was meant to take");
    let refused = Refused { host, items };
    let mut found = refused.found(case, case.severity(), title, hint);
    found.evidence.insert(0, setting);
    Some(found)
}
