//! MT123: a proxy could not fetch a module in time and says 404, as if there were no such version.

use super::Found;
use super::refusals::{self, module};
use crate::diagnose::case::{Asked, Case};
use crate::words::duration;

/// What a proxy writes when its own fetch failed (golang/go#73403, #72118, #57185).
const FAILED: [&str; 9] = [
    "timed out",
    "timeout",
    "deadline exceeded",
    "bad upstream",
    "failed to connect",
    "connection refused",
    "connection reset",
    "early eof",
    "remote end hung up",
];

/// Whether a refusal that says that there is no such thing is a failure of the proxy's.
pub(super) fn is_disguised(asked: &Asked<'_>) -> bool {
    let said = asked.said();
    matches!(asked.row.status, Some(404 | 410)) && FAILED.iter().any(|words| said.contains(words))
}

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let refused = refusals::all(case, module, is_disguised);
    refused
        .iter()
        .map(|refused| {
            let first = refused.first(case);
            let (module, host) = (module(first), refused.host);
            let status = first.row.status.unwrap_or_default();
            let said = first.said();
            let said = FAILED.iter().find(|words| said.contains(*words)).copied();
            let took = duration(refused.longest_us(case));
            let title = format!(
                "{host} could not fetch {module} in time ({}) and answered {status} after {took}: the version may well exist",
                said.unwrap_or_default()
            );
            let path = first.listed.route.module.as_deref().unwrap_or_default();
            let hint = format!(
                "try again in some minutes, as the proxy may go on fetching; or fetch this module from its repository: GOPROXY=direct go mod download {module} (checksums are still verified){}",
                match path.is_empty() {
                    true => "",
                    false => "; a large repository helps itself with smaller tags",
                }
            );
            refused.found(case, case.severity(), title, Some(hint))
        })
        .collect()
}
