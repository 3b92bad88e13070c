//! MT304: an answer is not what was asked for, whatever its status says.

use std::collections::{BTreeMap, BTreeSet};

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let faults = &case.manifest.replayable.faults;
    let named: BTreeSet<_> = faults
        .iter()
        .map(|fault| (fault.run, fault.exchange))
        .collect();
    let mut items = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        let key = (asked.row.run, asked.row.id);
        if named.contains(&key) {
            items.entry(key).or_insert(item);
        }
    }
    faults
        .iter()
        .filter_map(|fault| {
            let item = *items.get(&(fault.run, fault.exchange))?;
            let (what, host, why) = (&fault.what, &fault.host, &fault.why);
            Some(Found {
                severity: case.severity(),
                title: format!("{host} answered {what} with something else: {why}"),
                confidence: Confidence::Certain,
                evidence: vec![case.exhibit(item, why.clone())],
                hint: Some(format!(
                    "`modtape show {}` shows what came; a login page or an error page with status 200 comes from a box on the way, anything else is for the operator of {host}",
                    fault.exchange
                )),
                explains: Explained::pieces(case.pieces_of(&[item], None)),
            })
        })
        .collect()
}
