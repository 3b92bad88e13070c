//! MT110: a module proxy redirects to a host that cannot be reached.

use super::Found;
use super::dead::Dead;
use crate::diagnose::case::Case;
use crate::diagnose::hosts::Role;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let dead = Dead::all(case, |_| true);
    let dead = dead.filter(|dead| dead.host.role == Some(Role::Redirected));
    dead.map(|dead| {
        let from = case.redirects.get(dead.name).copied();
        let from = from.map(|index| (index, &case.asked[index].listed));
        let proxy = from.map_or_else(|| "the module proxy".into(), |(_, one)| one.host.clone());
        let what = from.map_or_else(|| "zips".into(), |(_, one)| one.what());
        let title = format!(
            "{proxy} redirects {what} to {}, which cannot be reached: {}",
            dead.name,
            dead.how(case)
        );
        let hint = format!(
            "allow {} where {proxy} is allowed; or use a GOPROXY that serves zips itself",
            dead.name
        );
        let mut found = dead.found(case, title, Some(hint));
        if let Some((index, one)) = from {
            let shows = format!("{} was redirected to {}", one.what(), dead.name);
            found.evidence.insert(0, case.exhibit(index, shows));
        }
        found
    })
    .collect()
}
