//! MT122: a server answers that it is asked too much (429), or fails (5xx).

use super::Found;
use super::refusals;
use crate::diagnose::case::Case;
use crate::words::count;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let status = |status: Option<u16>| status.unwrap_or_default();
    let is_limit = |code: u16| code == 429;
    let refused = refusals::all(
        case,
        |asked| is_limit(status(asked.row.status)),
        |asked| matches!(status(asked.row.status), 429 | 500..),
    );
    refused
        .iter()
        .map(|refused| {
            let first = refused.first(case);
            let (host, code) = (refused.host, status(first.row.status));
            let requests = count(refused.items.len() as u64, "request");
            let wait = first.refusal.as_ref();
            let wait = wait.and_then(|refusal| refusal.field("retry-after"));
            let wait = wait.map_or_else(String::new, |wait| {
                let unit = match wait.trim().parse::<u64>() {
                    Ok(_) => " s",
                    Err(_) => "",
                };
                format!("; it asks to wait {}{unit}", wait.trim())
            });
            let what = first.listed.what();
            let (title, hint) = match is_limit(code) {
                true => (
                    format!("{host} limits requests: it answered {requests} with 429 Too Many Requests, first {what}{wait}"),
                    String::from("wait, and ask less at once: GODEBUG=cmdgonetlimit=4 lets go have four requests in flight; the go command heeds no Retry-After and does not try again"),
                ),
                false => (
                    format!("{host} failed: it answered {requests} with {code}, first {what}"),
                    format!("try again: the go command does not; the operator of {host} finds these requests by their time in its log"),
                ),
            };
            refused.found(case, case.severity(), title, Some(hint))
        })
        .collect()
}
