//! MT106: a host cannot be connected to.

use super::Found;
use super::dead::Dead;
use crate::diagnose::case::Case;
use crate::diagnose::hosts::Role;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    Dead::unreachable(case)
        .map(|dead| {
            let title = format!("{} cannot be reached: {}", dead.name, dead.how(case));
            let hint = match dead.host.role {
                Some(Role::Proxy { .. }) => format!(
                    "if this network blocks {}, name a module proxy that it lets through: go env -w GOPROXY=https://goproxy.cn,direct, or your company's; if it wants an HTTP proxy, set HTTPS_PROXY",
                    dead.name
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
