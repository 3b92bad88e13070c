//! What two parsers could read differently gets no further than us, and no client gets what another
//! one asked for.
//!
//! The judge is an origin that keeps every byte it gets ([`oracle`]), not what we say of ourselves.

mod aborts;
mod http1;
mod http1_rows;
mod http2;
mod http2_responses;
mod http2_rows;
mod oracle;
mod responses;

use modtape::proxy::Deadlines;
use modtape::recording::Recording;
use modtape::recording::format::{Connection, Event};
use modtape::upstream::Limits;

use crate::support::*;

const HOST: &str = "proxy.golang.org";

async fn inside(origin: &RawOrigin) -> Inside {
    let upstream = (origin.addr(), origin.root());
    let limits = Limits {
        connect: LIMIT,
        tls: LIMIT,
    };
    Inside::start(HOST, upstream, Deadlines::default(), limits).await
}

/// An intercepted connection that speaks whatever bytes a test writes.
async fn raw(inside: &Inside, alpn: Alpn) -> Client {
    let target = format!("{HOST}:443");
    let connected = Client::open(inside.proxy).await.connect(&target, &[]).await;
    assert_eq!(connected.status, 200, "{}", connected.head);
    let hello = inside.hello(HOST).alpn(alpn);
    let client = connected.client.handshake(&hello).await;
    client.expect("the handshake succeeds")
}

/// Why each client connection ended.
fn whys(recording: &Recording) -> Vec<String> {
    let why = |event| match event {
        Event::Connection(Connection::Closed(closed)) => Some(closed.why),
        _ => None,
    };
    let events = records(recording).into_iter().map(|(_, event)| event);
    events.filter_map(why).collect()
}
