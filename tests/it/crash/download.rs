//! A download by several clients, who keep a list of what they received whole.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::JoinSet;

use super::recorder::Started;
use crate::support::*;

/// Whose exchanges are recorded.
pub(super) const HOST: &str = "proxy.golang.org";

/// A response that a client received whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// What is downloaded: half of it over HTTP/1.1, half over HTTP/2, four requests at a time.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Requests in all.
    pub(super) requests: usize,
    /// The largest bodies, bytes.
    pub(super) largest: u64,
}

impl Plan {
    /// What the request number `n` asks for.
    pub(super) fn path(n: usize) -> String {
        format!("/m/@v/v1.{n}.0.zip")
    }

    /// How long that is: no two are equal, and every second one lies in a file of its own.
    pub(super) fn bytes(self, n: usize) -> u64 {
        let class = match n % 6 {
            0 => 200,
            1 => 17_000,
            2 => 4_000,
            3 => 60_000,
            4 => 15_900,
            _ => self.largest,
        };
        class + n as u64
    }

    /// All bytes of all bodies.
    pub(super) fn all_bytes(self) -> u64 {
        (0..self.requests).map(|n| self.bytes(n)).sum()
    }

    /// The origin of it.
    pub(super) fn origin(self) -> Origin {
        self.origin_that_takes(Duration::ZERO)
    }

    /// The same, with a delay before each answer.
    pub(super) fn origin_that_takes(self, delay: Duration) -> Origin {
        let origin = Origin::start(Content::default());
        for n in 0..self.requests {
            let rule = Rule::suffix(&Self::path(n)).generated(self.bytes(n));
            let rule = rule.status(200).delay(delay);
            // Without a length it is the end of the chunks that is held back.
            origin.add_rule(if n % 4 == 3 { rule.chunked() } else { rule });
        }
        origin
    }

    /// The digest that the body of a path must have.
    pub(super) fn sha256(self, path: &str) -> Option<String> {
        let n = (0..self.requests).find(|n| Self::path(*n) == path)?;
        Some(generated_sha256(self.bytes(n)))
    }
}

/// What the clients know; shared between them and the judge.
#[derive(Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    bytes: u64,
    got: Vec<Got>,
}

impl Ledger {
    /// What was received whole so far.
    pub(super) fn received(&self) -> Vec<Got> {
        self.lock().got.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().expect("no panic while locked")
    }
}

/// Downloads until all is there or the recorder is gone.
///
/// `each_chunk` is told of all bytes so far, `each_end` of all exchanges so far.
pub(super) async fn download(
    started: &Started,
    plan: Plan,
    ledger: &Ledger,
    each_chunk: impl Fn(u64) + Clone + Send + Sync + 'static,
    each_end: impl Fn(&Got) + Clone + Send + Sync + 'static,
) {
    let hello = started.hello(HOST);
    let half = plan.requests / 2;
    let Some(first) = started.session(&hello.clone().alpn(Alpn::Http1)).await else {
        return;
    };
    let Some(second) = started.session(&hello.alpn(Alpn::Http2)).await else {
        return;
    };
    let mut clients = JoinSet::new();
    let lanes = (0..4).map(|lane| (second.fork(), half + lane, plan.requests, 4));
    let lanes: Vec<_> = [(first, 0, half, 1)].into_iter().chain(lanes).collect();
    for (mut session, from, to, step) in lanes {
        let ledger = ledger.clone();
        let (each_chunk, each_end) = (each_chunk.clone(), each_end.clone());
        clients.spawn(async move {
            for n in (from..to).step_by(step) {
                let path = Plan::path(n);
                let Ok(response) = session.start(session.request(&path)).await else {
                    return;
                };
                let count = |bytes: usize| {
                    let mut noted = ledger.lock();
                    noted.bytes += bytes as u64;
                    let bytes = noted.bytes;
                    drop(noted);
                    each_chunk(bytes);
                };
                let response = Response::read_each(response, count).await;
                if !response.is_whole_ok() {
                    continue;
                }
                let got = Got {
                    path,
                    bytes: response.body_bytes,
                    sha256: response.body_sha256,
                };
                ledger.lock().got.push(got.clone());
                each_end(&got);
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("no client panics");
    }
    drop(second);
}

/// Runs a download on a runtime of this thread.
pub(super) fn block_on<T>(download: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime can be made").block_on(download)
}
