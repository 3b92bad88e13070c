//! MT102: a name cannot be looked up, or that takes long.

use super::dead::Dead;
use super::{Found, slow};
use crate::diagnose::case::Case;
use crate::diagnose::dials::Step;
use crate::diagnose::hosts::Role;
use crate::diagnose::stuck::host_of;
use crate::exchange::Phase;
use crate::words::{count, duration};

/// A lookup that takes longer is slow, microseconds: a resolver in the same building takes a
/// thousandth of it.
const SLOW_US: u64 = 500_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let failed = Dead::all(case, |step| step == Step::Name).map(|dead| {
        let title = match dead.is_silent() {
            false => format!(
                "{} cannot be looked up: {}",
                dead.name,
                reason(&dead.why(case))
            ),
            true => format!(
                "the resolver does not answer for {}: {}",
                dead.name,
                dead.how(case)
            ),
        };
        // A resolver that fails says nothing about the name.
        let is_name = !dead.is_silent() && !dead.why(case).contains("Temporary failure");
        let hint = match (dead.host.role, is_name) {
            (Some(Role::Proxy { .. }), true) => format!(
                "check the name in GOPROXY; `getent hosts {}` asks the same resolver",
                dead.name
            ),
            _ => format!(
                "check the resolver (/etc/resolv.conf, VPN): `getent hosts {}` asks the same one",
                dead.name
            ),
        };
        dead.found(case, title, Some(hint))
    });
    let slow = slow::steps(case, Phase::Dns, |_, us| us >= SLOW_US).map(|slow| {
        let lookups = count(slow.items.len() as u64, "lookup");
        let name = slow.items.first().and_then(|item| parent(case, *item));
        let name = name.unwrap_or(slow.host);
        let up_to = if slow.items.len() == 1 { "" } else { "up to " };
        let longest = duration(slow.longest_us);
        let title = format!("the resolver is slow: {lookups} of {name} took {up_to}{longest}");
        let hint = format!(
                "ask for both families: `getent ahostsv4 {name}` and `getent ahostsv6 {name}`; if only the second is slow, the resolver drops AAAA questions: mend it, or use another (/etc/resolv.conf)"
        );
        slow.found(case, Phase::Dns, title, "to look up the name", hint)
    });
    failed.chain(slow).collect()
}

/// What the resolver said, without what went before it.
fn reason(why: &str) -> &str {
    let said = why.split_once("failed to lookup address information: ");
    let said = said.or_else(|| why.split_once(": "));
    said.map_or(why, |(_, said)| said)
}

/// The parent proxy whose name was looked up instead of the host's, if there is one on the way.
fn parent<'a>(case: &Case<'a>, item: usize) -> Option<&'a str> {
    let dial = case.dial_of(&case.timeline.items[item])?;
    let via = dial.upstream.as_ref()?.via.as_deref()?;
    host_of(via)
}
