//! MT304: an answer is not what was asked for, whatever its status says.

use std::collections::BTreeSet;

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::Confidence;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let faults = &case.manifest.replayable.faults;
    let items = case.items_named(faults.iter().map(|fault| (fault.run, fault.exchange)));
    // Which of go.sum, the database and the server is the odd one is told elsewhere.
    let conflicts = case.manifest.conflicts.iter();
    let in_conflict: BTreeSet<_> = conflicts
        .flat_map(|conflict| &conflict.served)
        .map(|one| (one.run, one.exchange))
        .collect();
    faults
        .iter()
        .filter(|fault| !in_conflict.contains(&(fault.run, fault.exchange)))
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
