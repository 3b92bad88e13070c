//! What GOPROXY and its kin make of a failure: which entry is asked next, and what that costs.

use std::time::Duration;

use super::resolver::Name;
use super::run::Run;
use super::world::{ELSEWHERE, INTERNET, REFUSING, World};
use crate::support::*;

#[test]
fn a_comma_does_not_pass_on_what_cannot_be_reached() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let internet = internet.start();
        world.name("goproxy.corp", Name::at([REFUSING]));
        let run = Run::go(world, &["mod", "download"])
            .env("GOPROXY", "https://goproxy.corp,https://proxy.golang.org")
            .in_other_words();
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("connection refused"));
        assert_eq!(internet.connections(), 0, "the second entry was asked");
        both.recorded.first("MT111", "problem", &["goproxy.corp"]);
    });
}

#[test]
fn a_comma_does_not_pass_on_an_error() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let broken = Rule::host("goproxy.corp")
            .status(502)
            .body("bad upstream\n");
        let _internet = internet.rule(broken).start();
        world.name("goproxy.corp", Name::at([INTERNET]));
        let run = Run::go(world, &["mod", "download"])
            .env("GOPROXY", "https://goproxy.corp,https://proxy.golang.org");
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("502 Bad Gateway"));
        both.recorded
            .first("MT111", "problem", &["goproxy.corp", "502"]);
    });
}

/// Of a public proxy nobody learns a secret: a bar may lead on.
#[test]
fn a_comma_behind_a_public_proxy() {
    World::stage(|world| {
        let Some(mirror) = world.mirror("hello") else {
            return;
        };
        let broken = Rule::host("goproxy.cn").status(502).body("bad upstream\n");
        let _mirror = mirror.rule(broken).start();
        let run = Run::go(world, &["mod", "download"])
            .env("GOPROXY", "https://goproxy.cn,https://proxy.golang.org");
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        let names = ["goproxy.cn", "502", "proxy.golang.org"];
        both.recorded.first("MT111", "problem", &names);
        run.as_hinted(&both.recorded).is_mended("MT111");
    });
}

#[test]
fn a_dead_first_entry_costs_each_request_its_patience() {
    World::stage(|world| {
        let Some(mirror) = world.mirror("hello") else {
            return;
        };
        let _mirror = mirror.start();
        let patient = Rule::any().delay(Duration::from_millis(500)).status(504);
        let _dead = world
            .server(ELSEWHERE, Content::default())
            .rule(patient)
            .start();
        world.name("goproxy.cn", Name::at([ELSEWHERE]));
        let run = Run::go(world, &["mod", "download"])
            .env("GOPROXY", "https://goproxy.cn|https://proxy.golang.org");
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(
            both.plain.took > Duration::from_millis(2000),
            "{:?}",
            both.plain.took
        );
        both.recorded.first("MT116", "slow", &["goproxy.cn"]);
        run.as_hinted(&both.recorded).is_mended("MT116");
    });
}

#[test]
fn a_checksum_database_that_refuses_connections() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        world.name("sum.golang.org", Name::at([REFUSING]));
        let run = Run::go(world, &["mod", "download"]).in_other_words();
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("connection refused"));
        both.recorded.first("MT112", "problem", &["sum.golang.org"]);
        world.name("sum.golang.google.cn", Name::at([INTERNET]));
        run.as_hinted(&both.recorded).is_mended("MT112");
    });
}

/// The same failure before a bar: the second entry answers, and nothing is wrong.
#[test]
fn a_bar_passes_on_what_cannot_be_reached() {
    World::stage(|world| {
        let Some(mirror) = world.mirror("hello") else {
            return;
        };
        let mirror = mirror.start();
        world.name("goproxy.corp", Name::at([REFUSING]));
        let run = Run::go(world, &["mod", "download"])
            .env("GOPROXY", "https://goproxy.corp|https://proxy.golang.org");
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(mirror.connections() > 0);
        both.recorded.nothing();
    });
}
