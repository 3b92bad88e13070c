//! What go does or waits for on this machine, while no request is in flight.

use super::run::{Ready, Run};
use super::world::World;
use crate::support::*;

/// Another go holds the lock of a module: it waits for a server.
#[test]
fn a_module_cache_that_another_go_holds() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let zip = "/github.com/google/uuid/@v/v1.3.1.zip";
        // Silent once for each of the two worlds' first go.
        let internet = internet.rule(Rule::suffix(zip).silent()).start();
        let run = Run::go(world, &["mod", "download", "github.com/google/uuid@v1.3.1"]);
        let others = std::cell::RefCell::new(Vec::new());
        let asked = |log: &Log, count: usize| {
            log.requests
                .iter()
                .filter(|served| served.path == zip)
                .count()
                == count
        };
        let hold = |ready: &Ready<'_>| {
            let mut others = others.borrow_mut();
            let other = ready.go(&["mod", "download", "github.com/google/uuid@v1.3.1"]);
            others.push(Spawned::start(other));
            internet.wait_for(|log| asked(log, others.len()), LIMIT);
        };
        let run = run.prepare(hold);
        let Some(both) = run.both_hang(|| (), "[MT207]") else {
            return;
        };
        internet.wait_for(|log| asked(log, 2), LIMIT);
        both.recorded
            .first("MT207", "problem", &["lock", "go mod download"]);
    });
}
