//! MT122: a server answers that it is asked too much (429), fails (5xx), or answers what is no answer to
//! the go command (204, 304, 400).

use super::Found;
use super::refusals;
use crate::diagnose::case::Case;
use crate::words::count;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let status = |status: Option<u16>| status.unwrap_or_default();
    let refused = refusals::all(
        case,
        |asked| {
            let status = status(asked.row.status);
            (status >= 500, Some(status).filter(|status| *status < 500))
        },
        // Other rules know what these mean.
        |asked| !matches!(status(asked.row.status), 401 | 403 | 404 | 407 | 410),
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
            let (title, hint) = match code {
                429 => (
                    format!("{host} limits requests: it answered {requests} with 429 Too Many Requests, first {what}{wait}"),
                    String::from("wait, and ask less at once: GODEBUG=cmdgonetlimit=4 lets go have four requests in flight; the go command heeds no Retry-After: it asks once more at once, and then gives up"),
                ),
                ..500 => (
                    format!("{host} answered {requests} with {code}, which the go command takes for an error, first {what}"),
                    format!("200 is the only answer for the go command, and 404 and 410 say that there is none: {code} is for the operator of {host}, or of what stands in front of it"),
                ),
                _ => (
                    format!("{host} failed: it answered {requests} with {code}, first {what}"),
                    format!("try again: the go command does not; the operator of {host} finds these requests by their time in its log"),
                ),
            };
            refused.found(case, case.severity(), title, Some(hint))
        })
        .collect()
}
