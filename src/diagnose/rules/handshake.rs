//! MT107: TCP connects, and the TLS handshake gets no answer, or a late one.

use super::dead::Dead;
use super::{Found, slow};
use crate::diagnose::case::Case;
use crate::diagnose::dials::Step;
use crate::exchange::Phase;
use crate::words::{count, duration};

/// A handshake that takes longer is slow, microseconds, unless the way is: it takes one round trip, with
/// TLS 1.2 two, and TCP's takes one.
const SLOW_US: u64 = 1_000_000;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let is_slow = |item: usize, us: u64| {
        let connect_us = case.phase_us(&case.timeline.items[item], Phase::Connect);
        us >= SLOW_US && slow::is_far_above(us, connect_us)
    };
    let slow = slow::steps(case, Phase::Tls, is_slow).map(|slow| {
        let host = slow.host;
        let title = format!(
            "{host} is slow to shake hands: {} took up to {}, though TCP connected sooner",
            count(slow.items.len() as u64, "TLS handshake"),
            duration(slow.longest_us)
        );
        let hint = format!(
            "{host} or an inspecting box before it is busy, or packets of the handshake were lost: `modtape doctor` tries it by itself, with a small and a large ClientHello"
        );
        slow.found(case, Phase::Tls, title, "to shake hands", hint)
    });
    failed(case).into_iter().chain(slow).collect()
}

fn failed(case: &Case<'_>) -> Vec<Found> {
    let dead = Dead::all(case, |step| step == Step::Handshake);
    dead.map(|dead| {
        let does = match dead.is_silent() {
            false => "breaks off",
            true => "does not answer",
        };
        let title = format!(
            "{} takes connections and then {does} the TLS handshake: {}",
            dead.name,
            dead.how(case)
        );
        let is_v6 = dead.is_over_v6(case);
        let title = match is_v6 {
            true => format!("{title}; over IPv6, which may connect and carry nothing here"),
            false => title,
        };
        let hint = match dead.is_silent() {
            _ if is_v6 => format!(
                "`curl -4 -sSI https://{0}/` and the same with -6 tell whether only IPv6 is dead; then mend it, or prefer IPv4 (a line `precedence ::ffff:0:0/96 100` in /etc/gai.conf)",
                dead.name
            ),
            false => format!("something on the way may forbid {} by its name: try another network, or a GOPROXY that this one lets through; `modtape doctor` tries the host by itself", dead.name),
            true => format!(
            "`modtape doctor` tries {} with a small and a large ClientHello: if only the large one is lost, a box on the way drops it, and GODEBUG=tlsmlkem=0 makes go's smaller (Go 1.24 and later)",
            dead.name
            ),
        };
        dead.found(case, title, Some(hint))
    })
    .collect()
}
