//! Runs in which every answer is fine and the sum is not: how many at once, how many one after another.

use std::time::Duration;

use super::distance::{Distance, FAR};
use super::resolver::Name;
use super::run::Run;
use super::world::World;
use crate::support::*;

/// `go mod graph` of `web`: 168 go.mod files, each answered after so long.
pub(super) fn graph(world: &World, delay: Duration) -> Option<(Origin, Run<'_>)> {
    let internet = world.internet("web")?;
    let internet = internet.rule(Rule::suffix(".mod").delay(delay)).start();
    let run = Run::go(world, &["mod", "graph"]).project("web");
    Some((internet, run.with_sums()))
}

#[test]
#[ignore = "a few seconds more than every run has; in tests/long"]
fn as_many_requests_at_once_as_processors() {
    World::stage(|world| {
        let Some((_internet, run)) = graph(world, Duration::from_millis(30)) else {
            return;
        };
        let Some(both) = run.env("GOMAXPROCS", "2").both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(
            both.plain.took > Duration::from_millis(2400),
            "{:?}",
            both.plain.took
        );
        both.recorded.first("MT201", "slow", &["GOMAXPROCS"]);
    });
}

#[test]
#[ignore = "a few seconds more than every run has; in tests/long"]
fn a_chain_of_requirements() {
    World::stage(|world| {
        let Some((_internet, run)) = graph(world, Duration::from_millis(250)) else {
            return;
        };
        let Some(both) = run.env("GOMAXPROCS", "64").both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(
            both.plain.took > Duration::from_millis(1500),
            "{:?}",
            both.plain.took
        );
        both.recorded.first("MT202", "slow", &["proxy.golang.org"]);
    });
}

/// Every answer begins at once and comes slowly.
#[test]
#[ignore = "a few seconds more than every run has; in tests/long"]
fn a_line_that_is_slow() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let slow = Rule::suffix(".zip").trickle(1700, Duration::from_millis(20));
        let _internet = internet.rule(slow).start();
        let run = Run::go(world, &["mod", "download"]);
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        let took = both.plain.took;
        assert!(took > Duration::from_secs(3), "{took:?}");
        both.recorded.first("MT205", "slow", &["line"]);
    });
}

/// Each packet takes its time, and the server none.
#[test]
#[ignore = "a few seconds more than every run has; in tests/long"]
fn a_host_that_is_far_away() {
    World::stage(|world| {
        let Some((_internet, run)) = graph(world, Duration::ZERO) else {
            return;
        };
        let Some(_distance) = Distance::of(150) else {
            return;
        };
        world.name("proxy.golang.org", Name::at([FAR]));
        let Some(both) = run.env("GOMAXPROCS", "16").both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        let took = both.plain.took;
        assert!(took > Duration::from_secs(3), "{took:?}");
        both.recorded
            .first("MT203", "slow", &["proxy.golang.org", "30"]);
    });
}
