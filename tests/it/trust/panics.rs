//! A panic in one task ends that task and nothing else: not the process, not its neighbours.

use std::time::Duration;

use modtape::proxy::Deadlines;
use modtape::upstream::Limits;

use super::*;

#[tokio::test]
async fn a_panic_in_one_connections_task_is_no_other_connections_matter() {
    let origin = Origin::start(Content::files([((HOST, "/a"), (200, "text/plain", "a"))]));
    let limits = Limits {
        connect: Duration::from_secs(30),
        tls: Duration::from_secs(9),
    };
    let upstream = (origin.addr(), origin.root());
    let mut inside = Inside::start(HOST, upstream, Deadlines::default(), limits).await;
    let mut before = Client::session(inside.proxy, &inside.hello(HOST)).await;
    inside.panic_in_a_task();
    assert_eq!(before.get("/a").await.expect("an answer").status, 200);
    let mut after = Client::session(inside.proxy, &inside.hello(HOST)).await;
    assert_eq!(after.get("/a").await.expect("an answer").status, 200);
    drop((before, after));
    // The tracker has forgotten the task that panicked: this returns.
    assert_eq!(inside.finish().await.rows().len(), 2);
}
