//! MT109: a server, or something on the way, broke responses off.

use std::collections::BTreeMap;

use super::{Explained, Found, and_more};
use crate::diagnose::case::Case;
use crate::diagnose::dials::{is_given_up, is_timed_out};
use crate::diagnose::finding::Confidence;
use crate::recording::reader::RowState;
use crate::words::size;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let mut by_host: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (item, asked) in case.asked.iter().enumerate() {
        let why = asked.refusal.as_ref().map_or("", |refusal| &*refusal.why);
        let is_lost = match asked.row.state {
            RowState::Aborted => !is_given_up(why) && !is_timed_out(why),
            // No answer came that could be passed on, so modtape had to answer.
            RowState::Ended => {
                let item = &case.timeline.items[item];
                let is_bad =
                    asked.is_ours() && asked.row.status.is_some_and(|status| status >= 500);
                is_bad && !is_timed_out(why) && case.failure_of(item).is_none()
            }
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
                let line = why.lines().next().unwrap_or_default();
                // An answer of ours says who speaks.
                line.strip_prefix("modtape: ").unwrap_or(line).to_owned()
            };
            let first = items[0];
            let is_ours = case.asked[first].is_ours();
            let more = and_more(items.len() - 1);
            // What modtape answered instead has a body of its own.
            let bytes = match case.asked[first].row.bytes {
                0 => String::new(),
                _ if is_ours => String::new(),
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
                    "; GODEBUG=http2client=0 tells whether HTTP/2 is the reason"
                }
                false => "",
            };
            Found {
                severity: case.severity(),
                title: match is_ours {
                    true => format!(
                        "{host} gave {} no answer that could be passed on: {}{more}",
                        case.what(first),
                        why(first)
                    ),
                    false if why(first).starts_with("modtape") => format!(
                        "modtape had to break off {} of {host}{bytes}: {}{more}",
                        case.what(first),
                        why(first)
                    ),
                    false => format!(
                        "{host} broke off {}{bytes}: {}{more}",
                        case.what(first),
                        why(first)
                    ),
                },
                confidence: Confidence::Certain,
                evidence: evidence.collect(),
                hint: Some(format!(
                    "run it again, since the go command does not by itself; if it comes back, it is for the operator of {host}, or of what stands in front of it{test}"
                )),
                explains: Explained::pieces(case.pieces_of(items, None)),
            }
        })
        .collect()
}
