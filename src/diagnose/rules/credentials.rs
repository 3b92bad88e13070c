//! MT115: a proxy or repository wants credentials, or does not take those that it got.

use std::collections::BTreeSet;

use super::Found;
use super::refusals::{self, is_no_probe};
use crate::diagnose::case::{Asked, Case};
use crate::diagnose::public_hosts::is_public;
use crate::gomod::{Kind, compare_go};

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let is_meant = |asked: &Asked<'_>| {
        let is_refused = matches!(asked.row.status, Some(401 | 403));
        is_refused && is_no_probe(asked) && !is_public(&asked.listed.host)
    };
    let version = case.setting("GOVERSION");
    let is_by_host = !version.is_empty() && compare_go(version, "1.24").is_lt();
    let refused = refusals::all(
        case,
        |asked| (asked.row.status, asked.listed.route.module.clone()),
        is_meant,
    );
    let is_ok = |asked: &&Asked<'_>| {
        asked.row.status.is_some_and(|status| status < 400) && !asked.is_ours()
    };
    let answered: BTreeSet<_> = case.asked.iter().filter(is_ok).map(place).collect();
    refused
        .iter()
        // git asks once without credentials to learn which are wanted (RFC 9110 section 11.6.1).
        .filter(|refused| !answered.contains(&place(refused.first(case))))
        .map(|refused| {
            let first = refused.first(case);
            let host = refused.host;
            let name = host.split(':').next().unwrap_or(host);
            let status = first.row.status.unwrap_or_default();
            let had = match has_credentials(case, refused.items[0]) {
                Some(true) => ", though it was given some",
                Some(false) => ", and was given none",
                None => "",
            };
            let wants = match status {
                401 => "wants credentials",
                _ => "forbids it",
            };
            let what = first.listed.what();
            let title = format!("{host} {wants} ({status}) for {what}{had}");
            let hint = match first.listed.route.kind {
                Kind::Vcs => format!(
                    "git needs credentials for {name}: `git ls-remote https://{name}/REPOSITORY` shows whether it has them; or `git config --global url.\"ssh://git@{name}/\".insteadOf https://{name}/`"
                ),
                _ => format!(
                    "go sends what a line `machine {} login USER password TOKEN` in ~/.netrc says; GOAUTH has other ways; `modtape doctor` tells which lines go uses",
                    // Up to Go 1.23 the port does not count, and must not be there.
                    if is_by_host { name } else { host }
                ),
            };
            refused.found(case, case.severity(), title, Some(hint))
        })
        .collect()
}

/// What stays the same once credentials were added: the host, and the repository or the URL.
fn place<'a>(asked: &'a Asked<'_>) -> (&'a str, Option<&'a str>) {
    let what = match asked.listed.route.kind {
        Kind::Vcs => asked.listed.route.module.as_deref(),
        _ => Some(&*asked.row.url),
    };
    (&asked.listed.host, what)
}

/// Whether a request came with credentials; `None` if its header is not known.
fn has_credentials(case: &Case<'_>, item: usize) -> Option<bool> {
    let refusal = case.asked[item].refusal.as_ref()?;
    Some(refusal.had_credentials)
}
