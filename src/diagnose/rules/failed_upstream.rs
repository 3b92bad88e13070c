//! MT123: a proxy could not fetch a module in time and says 404, as if there were no such version.

use super::Found;
use super::refusals::{self, is_no_probe, module};
use crate::diagnose::case::{Asked, Case};
use crate::words::duration;

/// What a proxy writes when its own fetch failed (golang/go#73403, #72118, #57185).
const FAILED: [&str; 10] = [
    "fetch timed out",
    "timed out",
    "deadline exceeded",
    "bad upstream",
    "failed to connect to",
    "connection reset by",
    "tls handshake timeout",
    "i/o timeout",
    "early eof",
    "remote end hung up",
];

/// Whether a refusal that says that there is no such thing is a failure of the proxy's.
pub(super) fn is_disguised(asked: &Asked<'_>) -> bool {
    matches!(asked.row.status, Some(404 | 410)) && failure(asked).is_some()
}

/// Whether the text of a refusal tells of a failure of the proxy's. Names in it do not count.
pub(crate) fn tells_of_failure(text: &str) -> bool {
    let is_name = |word: &&str| word.contains(['.', '@']) || word.contains("://");
    let words = text.split_whitespace().filter(|word| !is_name(word));
    let said = words.collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    FAILED.into_iter().any(|words| said.contains(words))
}

/// The words of a refusal that tell of a failure.
fn failure(asked: &Asked<'_>) -> Option<&'static str> {
    let said = words_of(asked);
    FAILED.into_iter().find(|words| said.contains(words))
}

/// What a refusal says, without the names that it repeats: a module may be called "timeout".
pub(super) fn words_of(asked: &Asked<'_>) -> String {
    let mut said = asked.said();
    let route = &asked.listed.route;
    for name in [&route.module, &route.version].into_iter().flatten() {
        said = said.replace(&name.to_ascii_lowercase(), "");
    }
    said
}

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let refused = refusals::all(case, module, |asked| {
        is_disguised(asked) && is_no_probe(asked)
    });
    refused
        .iter()
        .map(|refused| {
            let first = refused.first(case);
            let (module, host) = (module(first), refused.host);
            let status = first.row.status.unwrap_or_default();
            let said = failure(first);
            let took = duration(refused.longest_us(case));
            let title = format!(
                "{host} could not fetch {module} itself ({}), and answered {status} after {took}: the version may well exist",
                said.unwrap_or_default()
            );
            let hint = format!(
                "try again in some minutes, as the proxy may go on fetching; or fetch this module from its repository: GOPROXY=direct go mod download {module} (still verified, once the checksum database has it too)"
            );
            refused.found(case, case.severity(), title, Some(hint))
        })
        .collect()
}
