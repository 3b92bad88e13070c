//! MT204: a new connection for nearly each request.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::estimate::Change;
use crate::diagnose::finding::{Confidence, Severity};
use crate::diagnose::timeline::sum;
use crate::exchange::Phase;
use crate::words::{count, duration};

/// Fewer connections say nothing.
const LEAST: usize = 4;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    // What a client offers is offered to each host; which it was stands nowhere else.
    let chosen = case.hosts.values().flat_map(|host| &host.protocols);
    let offers_h2 = chosen.into_iter().any(|protocol| protocol == "h2");
    let dialling = [Phase::Dns, Phase::Connect, Phase::Tls];
    let hosts = case.hosts.iter().filter_map(|(name, host)| {
        if host.protocols.is_empty() || host.protocols.iter().any(|protocol| protocol == "h2") {
            return None;
        }
        let us = |item: &usize| {
            let item = &case.timeline.items[*item];
            sum(dialling.iter().map(|phase| case.phase_us(item, *phase)))
        };
        let items: Vec<usize> = host
            .items
            .iter()
            .copied()
            .filter(|item| case.asked_by(&case.timeline.items[*item]).is_some_and(|asked| !asked.row.is_connect()))
            .filter(|item| us(item) > 0)
            .collect();
        let requests = usize::try_from(host.requests).unwrap_or(usize::MAX);
        if items.len() < LEAST || items.len() * 2 < requests {
            return None;
        }
        let all = sum(items.iter().map(us));
        let each = duration(all / items.len() as u64);
        let mut pieces = case.pieces_of(&host.items, None);
        pieces.retain(|piece| {
            let phase = case.timeline.pieces[*piece].phase;
            phase.is_some_and(|phase| dialling.contains(&phase))
        });
        let mut slowest = items.clone();
        slowest.sort_by_key(|item| std::cmp::Reverse(us(item)));
        let evidence = slowest.iter().map(|item| {
            let what = case.what(*item);
            case.exhibit(*item, format!("{what}: {} to connect", duration(us(item))))
        });
        let (speaks, first) = match offers_h2 {
            true => ("speaks", ""),
            false => ("spoke", "if GODEBUG has http2client=0, take that out; else "),
        };
        Some(Found {
            severity: Severity::Slow,
            title: format!(
                "{name} {speaks} only HTTP/1.1, of which go keeps two idle connections at most: {} for {}, {each} each",
                count(items.len() as u64, "handshake"),
                count(host.requests, "request"),
            ),
            confidence: match offers_h2 {
                true => Confidence::Certain,
                false => Confidence::Likely,
            },
            evidence: evidence.collect(),
            hint: Some(format!(
                "{first}let {name}, or the inspecting proxy before it, speak HTTP/2: go then uses one connection for everything; keep-alive for HTTP/1.1 helps too"
            )),
            explains: Explained::pieces(pieces).but_for(Change::Http2(name.clone())),
        })
    });
    hosts.collect()
}
