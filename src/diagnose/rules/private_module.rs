//! MT114: a private module was asked of a public proxy or checksum database.

use super::Found;
use super::refusals::{self, is_public, shortened};
use crate::diagnose::case::{Asked, Case};
use crate::words::count;

/// What a public proxy's git writes of a repository that it may not read, or whose host it does not
/// know.
const PRIVATE: [&str; 11] = [
    "could not read username",
    "terminal prompts disabled",
    "authentication failed",
    "authentication required",
    "invalid credentials",
    "permission denied (publickey)",
    "repository not found",
    "no such host",
    "could not resolve host",
    "server misbehaving",
    "access denied",
];

/// Whether a refusal tells of a private module.
pub(super) fn is_private(asked: &Asked<'_>) -> bool {
    let said = asked.said();
    let is_gone = matches!(asked.row.status, Some(403 | 404 | 410));
    let is_asked = asked.listed.route.module.is_some() && is_public(&asked.listed.host);
    is_gone && is_asked && PRIVATE.iter().any(|words| said.contains(words))
}

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let pattern = |asked: &Asked<'_>| pattern(asked.listed.route.module.as_deref());
    let refused = refusals::all(case, pattern, |asked| {
        is_private(asked) && !super::failed_upstream::is_disguised(asked)
    });
    refused
        .iter()
        .map(|refused| {
            let first = refused.first(case);
            let module = refusals::module(first);
            let pattern = pattern(first);
            let said = first.said();
            let line = said
                .lines()
                .find(|line| PRIVATE.iter().any(|words| line.contains(words)));
            let said = line.map(shortened).unwrap_or_default();
            let requests = count(refused.items.len() as u64, "request");
            let title = format!(
                "{module} looks private, and {} was asked for it ({requests} told it the path); GOPRIVATE does not name it: {said}",
                refused.host
            );
            let hint = format!(
                "go env -w GOPRIVATE='{}' makes go ask neither a public proxy nor the checksum database for it, but its own repository",
                with(case.setting("GOPRIVATE"), &pattern)
            );
            refused.found(case, case.severity(), title, Some(hint))
        })
        .collect()
}

/// A pattern for GOPRIVATE that takes a module and its neighbours: the host, and of a host that many
/// share the owner too.
fn pattern(module: Option<&str>) -> String {
    const SHARED: [&str; 4] = ["github.com", "gitlab.com", "bitbucket.org", "gitee.com"];
    let module = module.unwrap_or_default();
    let (host, rest) = module.split_once('/').unwrap_or((module, ""));
    match SHARED.contains(&host) {
        true => format!("{host}/{}", rest.split('/').next().unwrap_or_default()),
        false => host.to_owned(),
    }
}

/// A list of patterns with one more.
fn with(list: &str, pattern: &str) -> String {
    match list.is_empty() {
        true => pattern.to_owned(),
        false => format!("{list},{pattern}"),
    }
}
