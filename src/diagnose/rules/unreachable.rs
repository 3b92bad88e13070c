//! MT106: a host cannot be connected to, or only late.

use super::dead::Dead;
use super::{Found, slow};
use crate::diagnose::case::Case;
use crate::diagnose::hosts::Role;
use crate::diagnose::public_hosts::is_public;
use crate::exchange::Phase;
use crate::words::{count, duration};

/// TCP that takes longer has lost its first packet, which it sends again after a second (RFC 6298 section
/// 2), unless the way is so long that TLS takes as many times as long.
const SLOW_US: u64 = 900_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let is_slow = |item: usize, us: u64| {
        let item = &case.timeline.items[item];
        let tls_us = case.phase_us(item, Phase::Tls);
        let dial = case.dial_of(item);
        // Of a parent proxy nobody knows what it waited for; another address that failed is another cause.
        let is_plain = dial.is_some_and(|dial| {
            let upstream = dial.upstream.as_ref();
            let is_first = dial.tries.iter().all(|tried| tried.error.is_none());
            is_first && upstream.is_some_and(|upstream| upstream.via.is_none())
        });
        us >= SLOW_US && tls_us > 0 && slow::is_far_above(us, tls_us) && is_plain
    };
    let slow = slow::steps(case, Phase::Connect, is_slow).map(|slow| {
        let host = slow.host;
        let title = format!(
            "{host} is slow to take connections: {} took up to {}, and TLS behind it much less",
            count(slow.items.len() as u64, "TCP connect"),
            duration(slow.longest_us)
        );
        let hint = format!(
            "the first packets to {host} were lost, and TCP sends them again after 1, 3 and 7 s: a firewall, a VPN, or a server whose queue is full; `modtape doctor` tries it by itself"
        );
        slow.found(case, Phase::Connect, title, "to connect", hint)
    });
    failed(case).into_iter().chain(slow).collect()
}

fn failed(case: &Case<'_>) -> Vec<Found> {
    Dead::unreachable(case)
        .map(|dead| {
            let title = format!("{} {}: {}", dead.name, dead.is_not_reached(), dead.how(case));
            let hint = match dead.host.role {
                _ if dead.is_reached_at_times() => format!(
                    "{} answered other requests: run the command again; if it comes back, packets are lost on the way, or the server is busy",
                    dead.name
                ),
                // A public proxy in its place would be told the paths of private modules.
                Some(Role::Proxy { .. }) if !is_public(dead.name) => format!(
                    "connect the VPN, if {} is inside a network, or ask its operator; if this network wants an HTTP proxy for it, set HTTPS_PROXY",
                    dead.name
                ),
                Some(Role::Proxy { .. }) => format!(
                    "if this network blocks {}, name a module proxy that it lets through: {}, or your company's; if it wants an HTTP proxy, set HTTPS_PROXY",
                    dead.name,
                    case.assignment("GOPROXY", "https://goproxy.cn,direct")
                ),
                Some(Role::Direct) => format!(
                    "the module comes straight from {}: a GOPROXY that has it needs no such connection; if this network wants an HTTP proxy, set HTTPS_PROXY",
                    dead.name
                ),
                _ => format!(
                    "`modtape doctor` tells whether name, route or firewall is to blame; if this network wants an HTTP proxy, set HTTPS_PROXY for {}",
                    dead.name
                ),
            };
            dead.found(case, title, Some(hint))
        })
        .collect()
}
