//! MT105: the HTTP proxy on the way refuses, or does not answer.

use super::Found;
use super::dead::Dead;
use crate::diagnose::case::Case;
use crate::diagnose::dials::Step;
use crate::diagnose::setting::no_proxy;
use crate::exchange::DialFailure;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let dead = Dead::all(case, |step| step == Step::Parent);
    dead.map(|dead| {
        let via = dead.items.iter().find_map(|item| {
            let dial = case.dial_of(&case.timeline.items[*item])?;
            dial.upstream.as_ref()?.via.clone()
        });
        let via = via.unwrap_or_default();
        let (why, name) = (dead.why(case), dead.name);
        let (title, hint) = if dead.reason == DialFailure::Proxy407 {
            (
                format!("the proxy {via} wants credentials before it lets {name} through (407)"),
                remedy(&why),
            )
        } else if dead.reason.is_before_tcp() {
            (
                format!("the proxy {via} on the way to {name} cannot be reached: {why}"),
                String::from("check HTTPS_PROXY: its host and port; a VPN that is off takes such a proxy along"),
            )
        } else if dead.is_silent() {
            (
                format!("the proxy {via} does not answer the request for {name}: {}", dead.how(case)),
                format!("check HTTPS_PROXY; if {name} is inside this network: {}", no_proxy(name)),
            )
        } else {
            (
                format!("the proxy {via} does not let {name} through: {}", answered(&why)),
                format!("have {name} allowed on the proxy; if it is inside this network: {}; or use a GOPROXY that the proxy lets through", no_proxy(name)),
            )
        };
        dead.found(case, title, Some(hint))
    })
    .collect()
}

/// What the parent proxy's offer lets one do, as it was recorded (`upstream::ParentError`).
fn remedy(why: &str) -> String {
    let recorded = why
        .split_once("answered 407 ")
        .and_then(|(_, rest)| rest.split_once(": "));
    match recorded {
        Some((_, remedy)) if !remedy.is_empty() => remedy.to_owned(),
        _ => String::from(
            "put them into the variable: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT (percent-encode special characters)",
        ),
    }
}

/// From what it answered on.
fn answered(why: &str) -> &str {
    why.find("answered").map_or(why, |at| &why[at..])
}
