//! The embedded sample as an origin: TLS on loopback, under whatever name is asked for.

use std::collections::BTreeSet;
use std::hash::RandomState;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ca::{self, CertificateAuthority, Leafs, Scope};
use crate::clock::Clock;
use crate::exchange::Hex;
use crate::proxy::{
    Access, Context, Deadlines, Entrance, Live, Others, Policy, Proxy, Responder, Windows,
};
use crate::recording::Recording;
use crate::redact::Redactor;
use crate::replay::Replay;
use crate::tls;

/// An origin on a thread of its own, until it is stopped.
pub(super) struct Origin {
    port: u16,
    root: PathBuf,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Origin {
    /// Answers from `sample`; its root certificate goes to `folder`.
    pub(super) fn start(sample: Recording, folder: &Path) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let hour = Duration::from_secs(3600);
        let scope = Scope::AllNames(BTreeSet::new());
        let authority = CertificateAuthority::new(&scope, clock.wall_start(), hour)?;
        let root = folder.join("origin.pem");
        std::fs::write(&root, ca::to_pem(authority.root())).context("cannot write the root")?;
        let stop = CancellationToken::new();
        let context = context(clock, Replay::new(sample, String::new()), authority, &stop)?;

        let runtime = super::super::runtime::runtime()?;
        let bound = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = bound.context("cannot listen on 127.0.0.1")?;
        let port = listener.local_addr()?.port();
        let proxy = Proxy::new(listener, Arc::new(context), Entrance::Origin);
        let thread = std::thread::Builder::new()
            .name(String::from("origin"))
            .spawn(move || runtime.block_on(proxy.run()))?;
        Ok(Self {
            port,
            root,
            stop,
            thread,
        })
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns once nobody listens any more.
    pub(super) fn stop(self) {
        self.stop.cancel();
        // A panic there would have shown already.
        let _ = self.thread.join();
    }
}

fn context(
    clock: Clock,
    sample: Replay,
    authority: CertificateAuthority,
    stop: &CancellationToken,
) -> anyhow::Result<Context> {
    Ok(Context {
        access: Access::open(),
        clock,
        deadlines: Deadlines::default(),
        policy: Policy {
            intercept: BTreeSet::new(),
            intercept_all: true,
            tunnel: BTreeSet::new(),
            others: Others::Tunnel,
        },
        leafs: Leafs::new(authority)?,
        bases: sample.bases().into(),
        responder: Responder::Replay(Arc::new(sample)),
        recorder: None,
        capture: None,
        redactor: Redactor::off(),
        live: Live::new(clock),
        windows: Windows::default(),
        trace: Hex(tls::random()),
        spans: RandomState::new(),
        tasks: TaskTracker::new(),
        stop: stop.clone(),
        next_exchange: AtomicU64::new(0),
        next_connection: AtomicU64::new(0),
    })
}
