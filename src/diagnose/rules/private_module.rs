//! MT114: a private module was asked of a public proxy or checksum database.

use super::Found;
use super::failed_upstream::words_of;
use super::refusals::{self, is_no_probe, shortened};
use crate::diagnose::case::{Asked, Case};
use crate::diagnose::finding::Confidence;
use crate::diagnose::public_hosts::is_public;
use crate::gomod::matches_patterns;
use crate::words::count;

/// What a public proxy's git writes of a repository that it may not read, or whose host it does not
/// know.
const PRIVATE: [&str; 9] = [
    "could not read username",
    "terminal prompts disabled",
    "authentication failed",
    "authentication required",
    "invalid credentials",
    "permission denied (publickey)",
    "repository not found",
    "server misbehaving",
    "access denied",
];

/// What it writes of a host that it does not know: one of a private network, or a misspelt one.
const UNKNOWN_HOST: [&str; 2] = ["no such host", "could not resolve host"];

fn tells(said: &str, words: &[&str]) -> bool {
    words.iter().any(|words| said.contains(words))
}

/// Whether a refusal tells of a private module.
pub(super) fn is_private(asked: &Asked<'_>) -> bool {
    let said = words_of(asked);
    let is_gone = matches!(asked.row.status, Some(403 | 404 | 410));
    let is_asked = asked.listed.route.module.is_some() && is_public(&asked.listed.host);
    is_gone
        && is_asked
        && is_no_probe(asked)
        && (tells(&said, &PRIVATE) || tells(&said, &UNKNOWN_HOST))
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
            let text = first.refusal.as_ref().map_or("", |refusal| &refusal.text);
            let line = text.lines().find(|line| {
                let line = line.to_ascii_lowercase();
                tells(&line, &PRIVATE) || tells(&line, &UNKNOWN_HOST)
            });
            let said = line.map(shortened).unwrap_or_default();
            let requests = count(refused.items.len() as u64, "request");
            let is_shared = SHARED.contains(&module.split('/').next().unwrap_or_default());
            // A host that many share answers a typing error like a private repository.
            let is_unknown = line.is_some_and(|line| !tells(&line.to_ascii_lowercase(), &PRIVATE));
            let looks = match (is_unknown, is_shared) {
                (true, _) => "is at a host that is misspelt, or private",
                (false, true) => "does not exist, or is private",
                (false, false) => "looks private",
            };
            let list = case.setting("GOPRIVATE");
            let path = first.listed.route.module.as_deref().unwrap_or_default();
            let below = below_domain(list, path);
            let names = match &below {
                Some((domain, _)) => format!("GOPRIVATE has {domain}, which covers no host below it"),
                None => String::from("GOPRIVATE does not name it"),
            };
            let title = format!(
                "{module} {looks}, and {} was asked for it ({requests} told it the path); {names}: {said}",
                refused.host
            );
            let pattern = below.map_or(pattern, |(_, pattern)| pattern);
            let first = match is_unknown {
                true => "check the spelling of the path first; if the host is one of your network, ",
                false => "",
            };
            let hint = format!(
                "{first}{} makes go ask neither a public proxy nor the checksum database for it, but its own repository",
                case.assignment("GOPRIVATE", &with(list, &pattern))
            );
            let mut found = refused.found(case, case.severity(), title, Some(hint));
            if is_shared || is_unknown {
                found.confidence = Confidence::Likely;
            }
            found
        })
        .collect()
}

/// Hosts on which anybody has repositories.
const SHARED: [&str; 4] = ["github.com", "gitlab.com", "bitbucket.org", "gitee.com"];

/// A pattern for GOPRIVATE: of a host that many share the repository, else the host.
pub(super) fn pattern(module: Option<&str>) -> String {
    let module = module.unwrap_or_default();
    let mut parts = module.split('/');
    let host = parts.next().unwrap_or_default();
    match SHARED.contains(&host) {
        true => {
            let repository: Vec<&str> = parts.take(2).collect();
            format!("{host}/{}", repository.join("/"))
        }
        false => host.split(':').next().unwrap_or(host).to_owned(),
    }
}

/// The pattern of a list that names the domain above the module's host, and the one that was meant:
/// `corp.example` and `*.corp.example`.
fn below_domain<'l>(list: &'l str, module: &str) -> Option<(&'l str, String)> {
    let host = module.split('/').next().unwrap_or_default();
    let is_above = |pattern: &&str| {
        let domain = pattern.split('/').next().unwrap_or_default();
        let rest = host.strip_suffix(domain).filter(|_| !domain.is_empty());
        rest.is_some_and(|rest| rest.ends_with('.'))
    };
    let pattern = list.split(',').find(is_above)?;
    let meant = format!("*.{pattern}");
    matches_patterns(&meant, module).then_some((pattern, meant))
}

/// A list of patterns with one more.
pub(super) fn with(list: &str, pattern: &str) -> String {
    match list.is_empty() {
        true => pattern.to_owned(),
        false => format!("{list},{pattern}"),
    }
}
