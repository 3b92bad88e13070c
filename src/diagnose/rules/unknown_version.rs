//! MT124: a proxy does not know a version: not tagged, a typing error, or tagged a moment ago.

use super::failed_upstream::is_disguised;
use super::private_module::is_private;
use super::refusals::{self, is_no_probe, module, shortened};
use super::{Confidence, Found};
use crate::diagnose::case::{Asked, Case};
use crate::diagnose::finding::Severity;
use crate::gomod::Kind;
use crate::recording::reader::RowState;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let is_meant = |asked: &Asked<'_>| {
        let kind = asked.listed.route.kind;
        let is_of_version = matches!(kind, Kind::Info | Kind::Mod | Kind::Zip | Kind::Lookup);
        let is_gone = matches!(asked.row.status, Some(404 | 410));
        is_gone && is_of_version && is_no_probe(asked) && !is_disguised(asked) && !is_private(asked)
    };
    let refused = refusals::all(case, module, is_meant);
    refused
        .iter()
        .filter_map(|refused| {
            let first = refused.first(case);
            let module = module(first);
            let host = refused.host;
            let elsewhere = answered_elsewhere(case, first);
            // What another place had is no failure; if that cost time, MT113 or MT116 says so.
            let severity = match (&elsewhere, case.severity()) {
                (Some(_), _) => Severity::Note,
                (None, Severity::Problem) => Severity::Problem,
                (None, _) => return None,
            };
            let said = first.refusal.as_ref().map_or("", |refusal| &*refusal.text);
            let said = said.lines().find(|line| !line.trim().is_empty());
            let said = said.map_or_else(String::new, |said| format!(": {}", shortened(said)));
            let title = match &elsewhere {
                Some(other) => format!("{host} does not know {module}, {other} does{said}"),
                None => format!("{host} does not know {module}{said}"),
            };
            let path = first.listed.route.module.as_deref().unwrap_or_default();
            let hint = match elsewhere {
                Some(_) => format!(
                    "{host} keeps \"not found\" for up to 30 minutes: a version that was tagged a moment ago turns up then"
                ),
                None => format!(
                    "`go list -m -versions {path}` lists the versions that there are; one that was tagged a moment ago turns up when {host} forgets its \"not found\" (up to 30 minutes), and GOPROXY=direct go mod download {module} does not wait for that; if the module is private, GOPRIVATE has to name it"
                ),
            };
            let mut found = refused.found(case, severity, title, Some(hint));
            found.confidence = Confidence::Likely;
            Some(found)
        })
        .collect()
}

/// The host that did have what another had not.
fn answered_elsewhere(case: &Case<'_>, refused: &Asked<'_>) -> Option<String> {
    let wanted = &refused.listed.route;
    let mut answered = case.asked.iter().filter(|asked| {
        let is_answer = asked.row.state == RowState::Ended && asked.row.status == Some(200);
        let route = &asked.listed.route;
        let is_same = route.module == wanted.module && route.version == wanted.version;
        let is_repository = matches!(route.kind, Kind::Vcs) && is_below(route, wanted);
        is_answer
            && !asked.is_ours()
            && asked.listed.host != refused.listed.host
            && (is_same || is_repository)
    });
    answered.next().map(|asked| asked.listed.host.clone())
}

/// Whether a repository may hold the module.
fn is_below(repository: &crate::gomod::Route, module: &crate::gomod::Route) -> bool {
    let (Some(repository), Some(module)) = (&repository.module, &module.module) else {
        return false;
    };
    module.starts_with(repository.as_str())
}
