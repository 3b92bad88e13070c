//! MT305: a module's go.mod declares another path than the one that it was asked for by.

use std::collections::BTreeSet;

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Confidence, Severity};

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let requirements = &case.requirements;
    // Only the main module tells which modules it replaces by a fork, which keeps its name.
    if requirements.mains.is_empty() {
        return Vec::new();
    }
    let replacements = requirements.replacements();
    let replacements: BTreeSet<&str> = replacements.map(|it| &*it.new).collect();
    let renamed = requirements.files.iter().filter_map(|(of, served)| {
        let declared = served.go_mod.module.as_deref()?;
        (declared != of.path && !replacements.contains(&*of.path)).then_some((of, served, declared))
    });
    let graph = case.graph();
    renamed
        .map(|(of, served, declared)| {
            let by = graph.find(of).and_then(|node| graph.required_by(node).next());
            let by = by.map_or(String::new(), |node| {
                format!(" ({} requires it by the old path)", graph.nodes[node].of.to_string().trim_end())
            });
            let item = served.row;
            Found {
                // A go command that only looked at it goes on.
                severity: match case.manifest.exit_code {
                    Some(0) | None => Severity::Note,
                    Some(_) => Severity::Problem,
                },
                title: format!(
                    "{of} calls itself {declared} in its go.mod: the module was renamed{by}"
                ),
                confidence: Confidence::Certain,
                evidence: vec![
                    case.exhibit(item, format!("its go.mod declares the path {declared}")),
                ],
                hint: Some(format!(
                    "`go get {declared}@latest` and imports of {declared} in place of {}; if it is a dependency that requires it, update that, or `go mod edit -replace={}={declared}@VERSION` until it is mended",
                    of.path, of.path
                )),
                explains: Explained::pieces(case.pieces_of(&[item], None)),
            }
        })
        .collect()
}
