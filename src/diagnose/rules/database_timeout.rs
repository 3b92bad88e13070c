//! MT125: a private proxy gives up on the checksum database before that answers.

use super::Found;
use super::failed_upstream::is_disguised;
use super::refusals;
use crate::diagnose::case::{Asked, Case};
use crate::diagnose::public_hosts::is_public;
use crate::gomod::Kind;
use crate::words::duration;

/// A proxy that refuses sooner has not waited for anybody, microseconds.
const WAITED_US: u64 = 1_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let is_meant = |asked: &Asked<'_>| {
        let kind = asked.listed.route.kind;
        let is_relayed = matches!(kind, Kind::Lookup | Kind::Tile | Kind::SumdbSupported)
            && case.entry_of(&asked.listed.host).is_some();
        let has_waited = asked.listed.total_us >= WAITED_US;
        // An honest "not found" or "who are you" may be slow too.
        let is_failure = match asked.row.status {
            Some(404 | 410) => kind != Kind::SumdbSupported && is_disguised(asked),
            status => status.is_some_and(|status| status >= 500),
        };
        is_relayed && has_waited && is_failure && !is_public(&asked.listed.host)
    };
    let refused = refusals::all(case, |_| (), is_meant);
    refused
        .iter()
        .map(|refused| {
            let first = refused.first(case);
            let (host, what) = (refused.host, first.listed.what());
            let status = first.row.status.unwrap_or_default();
            let took = duration(first.listed.total_us);
            let title = format!(
                "{host} gave up on the checksum database after {took} and answered {status} for {what}"
            );
            let hint = format!(
                "raise the timeout of {host} for the checksum database (a first lookup can take 15 s), or let it answer 404 on /sumdb/sum.golang.org/supported: go then asks the database itself"
            );
            refused.found(case, case.severity(), title, Some(hint))
        })
        .collect()
}
