//! MT124: a proxy does not know a version: not tagged, a typing error, or tagged a moment ago.

use std::collections::{BTreeMap, BTreeSet};

use super::failed_upstream::is_disguised;
use super::private_module::is_private;
use super::refusals::{self, Refused, is_no_probe, module, shortened};
use super::{Confidence, Found};
use crate::diagnose::case::{Asked, Case};
use crate::diagnose::finding::Severity;
use crate::gomod::Kind;
use crate::recording::reader::RowState;
use crate::words::count;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let is_meant = |asked: &Asked<'_>| {
        let kind = asked.listed.route.kind;
        let is_of_version = matches!(kind, Kind::Info | Kind::Mod | Kind::Zip | Kind::Lookup);
        let is_gone = matches!(asked.row.status, Some(404 | 410));
        is_gone && is_of_version && is_no_probe(asked) && !is_disguised(asked) && !is_private(asked)
    };
    let answers = Answers::of(case);
    let refused = refusals::all(case, module, is_meant);
    let (elsewhere, nowhere): (Vec<_>, Vec<_>) = refused
        .into_iter()
        .map(|refused| (answers.elsewhere(refused.first(case)), refused))
        .partition(|(elsewhere, _)| elsewhere.is_some());
    let mut found: Vec<Found> = Vec::new();
    // What another place had is no failure; if that cost time, MT113 or MT116 says so.
    let mut hosts: BTreeMap<(&str, String), Vec<usize>> = BTreeMap::new();
    for (elsewhere, refused) in &elsewhere {
        let key = (refused.host, elsewhere.clone().unwrap_or_default());
        hosts.entry(key).or_default().extend(&refused.items);
    }
    found.extend(hosts.into_iter().map(|((host, other), items)| {
        let refused = Refused { host, items };
        let requests = count(refused.items.len() as u64, "request");
        let first = module(refused.first(case));
        let title = format!("{host} does not have {first}, and {other} does; {requests} of that kind");
        let hint = format!(
            "{host} keeps \"not found\" for up to 30 minutes: a version that was tagged a moment ago turns up then"
        );
        refused.found(case, Severity::Note, title, Some(hint))
    }));
    if case.severity() != Severity::Problem {
        return found;
    }
    // The first of them tells the story; a thousand would bury it.
    found.extend(nowhere.iter().take(NAMED).map(|(_, refused)| {
        let first = refused.first(case);
        let (module, host) = (module(first), refused.host);
        let said = first.refusal.as_ref().map_or("", |refusal| &*refusal.text);
        let said = said.lines().find(|line| !line.trim().is_empty());
        let said = said.map_or_else(String::new, |said| format!(": {}", shortened(said)));
        let more = match nowhere.len() {
            1 => String::new(),
            all => format!(" ({} such in all)", count(all as u64, "version")),
        };
        let path = first.listed.route.module.as_deref().unwrap_or_default();
        let hint = format!(
            "`go list -m -versions {path}` lists the versions that there are; one that was tagged a moment ago turns up when {host} forgets its \"not found\" (up to 30 minutes), and GOPROXY=direct go mod download {module} does not wait for that; if the module is private, GOPRIVATE has to name it"
        );
        let title = format!("{host} does not know {module}{more}{said}");
        let mut found = refused.found(case, Severity::Problem, title, Some(hint));
        found.confidence = Confidence::Likely;
        found
    }));
    found
}

/// How many versions are told of one by one.
const NAMED: usize = 5;

/// Which hosts had what.
struct Answers<'a> {
    /// By module and version.
    versions: BTreeMap<(Option<&'a str>, Option<&'a str>), BTreeSet<&'a str>>,
    /// Repositories that answered, with their hosts.
    repositories: BTreeMap<&'a str, &'a str>,
}

impl<'a> Answers<'a> {
    fn of(case: &'a Case<'_>) -> Self {
        let mut answers = Self {
            versions: BTreeMap::new(),
            repositories: BTreeMap::new(),
        };
        for asked in &case.asked {
            let is_answer = asked.row.state == RowState::Ended && asked.row.status == Some(200);
            if !is_answer || asked.is_ours() {
                continue;
            }
            let (route, host) = (&asked.listed.route, &*asked.listed.host);
            match (&route.module, route.kind) {
                (Some(module), Kind::Vcs) => {
                    let repository = module.strip_suffix(".git").unwrap_or(module);
                    answers.repositories.insert(repository, host);
                }
                _ => {
                    let key = (route.module.as_deref(), route.version.as_deref());
                    answers.versions.entry(key).or_default().insert(host);
                }
            }
        }
        answers
    }

    /// The host that did have what another had not.
    fn elsewhere(&self, refused: &Asked<'_>) -> Option<String> {
        let route = &refused.listed.route;
        let key = (route.module.as_deref(), route.version.as_deref());
        let hosts = self.versions.get(&key).into_iter().flatten();
        let other = hosts.copied().find(|host| *host != refused.listed.host);
        let other = other.or_else(|| {
            let module = route.module.as_deref()?;
            // Each path above the module may be its repository.
            let ends = module.match_indices('/').map(|(at, _)| at);
            let mut paths = ends.chain([module.len()]).map(|end| &module[..end]);
            paths.find_map(|path| self.repositories.get(path).copied())
        });
        other.map(str::to_owned)
    }
}
