//! MT109: a server, or something on the way, broke responses off.

use std::collections::BTreeMap;

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::dials::is_given_up;
use crate::diagnose::finding::Confidence;
use crate::recording::reader::RowState;
use crate::words::size;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut by_host: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        let why = asked.refusal.as_ref().map_or("", |refusal| &*refusal.why);
        let is_lost = match asked.row.state {
            RowState::Aborted => !is_given_up(why) && !why.contains("silence for"),
            // Nothing came, so modtape had to answer.
            RowState::Ended => asked.is_ours() && BROKEN.iter().any(|words| why.contains(words)),
            RowState::InFlight => false,
        };
        if is_lost && !asked.row.is_connect() {
            by_host
                .entry(&case.timeline.items[item].host)
                .or_default()
                .push(item);
        }
    }
    by_host
        .iter()
        .map(|(host, items)| {
            let why = |item: usize| {
                let refusal = case.asked[item].refusal.as_ref();
                let why = refusal.map_or("", |refusal| refusal.why.trim());
                why.lines().next().unwrap_or_default().to_owned()
            };
            let first = items[0];
            let more = match items.len() - 1 {
                0 => String::new(),
                1 => ", and 1 more request".into(),
                more => format!(", and {more} more requests"),
            };
            let bytes = match case.asked[first].row.bytes {
                0 => String::new(),
                bytes => format!(" after {}", size(bytes)),
            };
            let evidence = items.iter().map(|item| {
                let what = case.what(*item);
                case.exhibit(*item, format!("{what}: {}", why(*item)))
            });
            let is_h2 = ["RST_STREAM", "GOAWAY"]
                .iter()
                .any(|frame| why(first).contains(frame));
            let test = match is_h2 {
                true => {
                    "; if it comes back, GODEBUG=http2client=0 tells whether HTTP/2 is the reason"
                }
                false => "",
            };
            Found {
                severity: case.severity(),
                title: format!(
                    "{host} broke off {}{bytes}: {}{more}",
                    case.what(first),
                    why(first)
                ),
                confidence: Confidence::Certain,
                evidence: evidence.collect(),
                hint: Some(format!(
                    "run it again: the go command does not, and keeps what it has{test}"
                )),
                explains: Explained::pieces(case.pieces_of(items, None)),
            }
        })
        .collect()
}

/// How our words for a lost connection have it (`proxy::cause`).
const BROKEN: [&str; 6] = [
    "RST_STREAM",
    "GOAWAY",
    "closed the connection",
    "reset the connection",
    "aborted the connection",
    "the upstream was lost",
];
