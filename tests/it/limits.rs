//! Memory, time and descriptors: what one client, one origin or one body can take of them.
//!
//! Figures are the recorder's own, read from the kernel. `MODTAPE_LONG` asks for the full counts.

mod back_pressure;
mod descriptors;
mod idle_connections;
mod memory;
mod places;
mod soak;
mod stalled_clients;
mod stalls;

use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::*;

const HOST: &str = "proxy.golang.org";

/// Both protocols, as what the client offers: the upstream gets the same offer.
const BOTH: [Alpn; 2] = [Alpn::Http1, Alpn::Http2];

/// Limits that no test comes near.
const NO_LIMITS: modtape::upstream::Limits = modtape::upstream::Limits {
    connect: LIMIT,
    tls: LIMIT,
};

fn files() -> Content {
    Content::files([((HOST, "/a"), (200, "text/plain", "a body"))])
}

/// All descriptors that this process may have, for one test at a time.
struct Descriptors {
    limit: usize,
    _turn: MutexGuard<'static, ()>,
}

/// This process holds both ends of every connection: whoever needs thousands takes turns.
async fn take_descriptors() -> Descriptors {
    static TURNS: Mutex<()> = Mutex::const_new(());
    let turn = TURNS.lock().await;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    Descriptors {
        limit: usize::try_from(limit.maximum.unwrap_or(u64::MAX)).unwrap_or(usize::MAX),
        _turn: turn,
    }
}

async fn session(recorder: &Recorder, alpn: Alpn) -> Session {
    let hello = recorder.hello(HOST).alpn(alpn);
    Client::session(recorder.proxy(), &hello).await
}

/// A tunnel to a host that is not intercepted.
async fn blind(recorder: &Recorder) -> Client {
    let connected = Client::open_narrow(recorder.proxy())
        .await
        .connect("elsewhere.example:443", &[])
        .await;
    assert_eq!(connected.status, 200, "{}", connected.head);
    connected.client
}

/// How long an answer of [`clock_rule`] takes.
const TICK: Duration = Duration::from_millis(200);

/// What a test asks for on another connection to let time pass in which others are at work.
fn clock_rule() -> Rule {
    Rule::suffix("/tick").delay(TICK).status(200).body("tick")
}

/// Bytes of bodies that the origin has sent, without those of ticks.
fn sent(origin: &Origin) -> u64 {
    let requests = origin.requests().into_iter();
    let others = requests.filter(|served| !served.path.ends_with("/tick"));
    others.map(|served| served.body_bytes).sum()
}

/// Asks for ticks until `figure` is the same after two of them; what it is then.
async fn settled(other: &mut Session, figure: impl Fn() -> u64) -> u64 {
    let (mut last, mut same) = (figure(), 0);
    while same < 2 {
        other.get("/tick").await.expect("an answer");
        let now = figure();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}
