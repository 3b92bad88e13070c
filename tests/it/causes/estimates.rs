//! What a report says that a run would have taken, held against a run that is changed so: each estimate is
//! within a fifth of it.
//!
//! All of them wait for the network most of the time, so that a busy machine makes no difference.

use std::time::Duration;

use super::resolver::Name;
use super::run::{Ran, Run};
use super::shape::graph;
use super::world::{ELSEWHERE, INTERNET, World};
use crate::support::*;

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

/// Asserts that the first finding of `ran` is of this code and tells how long `changed` took.
#[track_caller]
fn agrees(ran: &Ran, code: &str, changed: &Ran) {
    let (report, after) = (ran.report(), changed.report());
    let first = &report["findings"][0];
    let said = format!("{report:#}\n--- changed:\n{after:#}\n{}", changed.stderr);
    assert_eq!(first["code"], code, "{said}");
    assert_eq!(changed.code, 0, "{said}");
    let estimate = first["estimate_us"].as_u64();
    let estimate = estimate.unwrap_or_else(|| panic!("no estimate: {said}"));
    let took = wall_us(changed);
    assert!(
        estimate.abs_diff(took) * 5 <= took,
        "estimated {estimate} us, then {took} us: {said}"
    );
}

fn wall_us(ran: &Ran) -> u64 {
    ran.report()["wall_us"].as_u64().expect("a number")
}

/// `go mod graph` with two workers, and with as many as the hint says.
fn more_workers(world: &World, delay: Duration) {
    let Some((_internet, run)) = graph(world, delay) else {
        return;
    };
    let run = run.env("GOMAXPROCS", "2");
    let ran = run.recorded().expect("go is there");
    agrees(&ran, "MT201", &run.as_hinted(&ran));
}

#[test]
#[ignore = "takes the time of its waits; in tests/long"]
fn more_workers_for_many_short_waits() {
    World::stage(|world| more_workers(world, MILLIS(60)));
}

#[test]
#[ignore = "takes the time of its waits; in tests/long"]
fn more_workers_for_many_long_waits() {
    World::stage(|world| more_workers(world, MILLIS(150)));
}

/// The database takes so long for a lookup, a module proxy so long for anything; and then a proxy that
/// relays the database.
fn relayed_database(world: &World, lookup: Duration, proxy: Duration, workers: &str) {
    let is_database = |served: &Served| served.host == "sum.golang.org";
    let (Some(internet), Some(content)) = (
        world.internet("hello"),
        Content::corpus("hello", Sumdb::Proxy),
    ) else {
        return;
    };
    let internet = internet.rule(Rule::when(is_database).delay(lookup));
    let _internet = internet.rule(Rule::any().delay(proxy)).start();
    let mirror = world.server(ELSEWHERE, content);
    let _mirror = mirror.rule(Rule::any().delay(proxy)).start();
    world.name("goproxy.cn", Name::at([ELSEWHERE]));
    let run = Run::go(world, &["mod", "download"]).env("GOMAXPROCS", workers);
    let ran = run.recorded().expect("go is there");
    let changed = run.recorded_with("GOPROXY", "https://goproxy.cn,direct");
    agrees(&ran, "MT112", &changed);
}

#[test]
fn a_database_that_a_proxy_relays() {
    World::stage(|world| relayed_database(world, MILLIS(2100), MILLIS(500), "4"));
}

#[test]
#[ignore = "takes the time of its waits; in tests/long"]
fn a_database_that_a_proxy_relays_to_one_worker() {
    World::stage(|world| relayed_database(world, MILLIS(1800), MILLIS(400), "1"));
}

/// Each request pays for a dead entry first, which `dies`; and then it is left out.
fn without_the_dead_entry(
    world: &World,
    dies: impl FnOnce(OriginBuilder) -> OriginBuilder,
    workers: &str,
) {
    let Some(mirror) = world.mirror("hello") else {
        return;
    };
    let _mirror = mirror.rule(Rule::any().delay(MILLIS(600))).start();
    let _dead = dies(world.server(ELSEWHERE, Content::default())).start();
    world.name("goproxy.cn", Name::at([ELSEWHERE]));
    let run = Run::go(world, &["mod", "download"])
        .env("GOPROXY", "https://goproxy.cn|https://proxy.golang.org")
        .env("GOMAXPROCS", workers);
    let ran = run.recorded().expect("go is there");
    agrees(&ran, "MT116", &run.as_hinted(&ran));
}

#[test]
fn a_dead_entry_that_is_left_out() {
    let dies = |dead: OriginBuilder| dead.rule(Rule::any().delay(MILLIS(700)).status(504));
    World::stage(|world| without_the_dead_entry(world, dies, "4"));
}

#[test]
#[ignore = "takes the time of its waits; in tests/long"]
fn a_dead_entry_that_is_left_out_by_two_workers() {
    let dies = |dead: OriginBuilder| dead.rule(Rule::any().delay(MILLIS(900)).status(502));
    World::stage(|world| without_the_dead_entry(world, dies, "2"));
}

#[test]
#[ignore = "takes the time of its waits; in tests/long"]
fn an_entry_whose_handshakes_fail_that_is_left_out() {
    let dies = |dead: OriginBuilder| dead.handshake(Handshake::any().delay(MILLIS(900)).hang_up());
    World::stage(|world| without_the_dead_entry(world, dies, "2"));
}

/// Each request has a connection of its own; and then the host speaks HTTP/2.
fn one_connection(world: &World, handshake: Duration, workers: &str) {
    let Some(internet) = world.internet("hello") else {
        return;
    };
    let slow = Handshake::any().delay(handshake);
    let alone = slow.clone().alpn(Alpn::Http1).goaway_after(1);
    let internet = internet.rule(Rule::any().delay(MILLIS(500)));
    let internet = internet.handshake(alone).start();
    world.name("sum.golang.org", Name::at([INTERNET]));
    let run = Run::go(world, &["mod", "download"])
        .with_sums()
        .env("GOMAXPROCS", workers);
    let ran = run.recorded().expect("go is there");
    internet.clear_rules();
    internet.add_rule(Rule::any().delay(MILLIS(500)));
    internet.add_handshake(slow);
    let changed = run.recorded().expect("go is there");
    agrees(&ran, "MT204", &changed);
}

#[test]
fn one_connection_for_all_requests() {
    World::stage(|world| one_connection(world, MILLIS(900), "2"));
}

#[test]
#[ignore = "takes the time of its waits; in tests/long"]
fn one_connection_for_all_requests_of_one_worker() {
    World::stage(|world| one_connection(world, MILLIS(700), "1"));
}
