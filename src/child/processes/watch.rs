//! When to look at the processes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::budget::Budget;
use super::changes::Changes;
use super::look::Looker;
use super::proc::Proc;
use crate::clock::{Clock, Timestamp};
use crate::diagnose::processes::Lasting;
use crate::recording::processes::Sample;
use crate::redact::Redactor;

/// The shortest time between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// The part of a processor that all looks may take: where one takes longer, the next one comes later.
const SHARE: u32 = 100;

/// A look that is older says nothing any more. One that takes all the time that it may is followed by the
/// next one after two seconds.
const OLD: Duration = Duration::from_secs(10);

/// The last look at the processes, for those who say what the command does right now; cheap to
/// clone.
#[derive(Debug, Clone)]
pub(crate) struct Latest {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// When the last look began.
    at: Timestamp,
    sample: Option<Sample>,
    lasting: Lasting,
}

/// What the processes do, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Doing {
    pub(crate) sample: Sample,
    /// For how long the command has done what it does, microseconds.
    pub(crate) lasted_us: u64,
}

impl Latest {
    /// Of a command at which nobody looks yet.
    pub(crate) fn new(clock: Clock) -> Self {
        let state = Arc::default();
        Self { clock, state }
    }

    /// What the processes do; `None` while nobody looks, since requests are in flight, and if the last look
    /// is long ago: what was true then need not be so now.
    pub(crate) fn get(&self) -> Option<Doing> {
        let state = self.lock();
        let now = self.clock.now();
        let lasted_us = now.micros_since(state.lasting.since());
        let is_new = now.since(state.at) <= OLD;
        let sample = state.sample.clone().filter(|_| is_new)?;
        Some(Doing { sample, lasted_us })
    }

    fn set(&self, at: Timestamp, sample: Option<Sample>) {
        let mut state = self.lock();
        state.lasting.see(at, sample.as_ref());
        (state.at, state.sample) = (at, sample);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the processes of the command, which are those that this process has started.
#[derive(Debug)]
pub(crate) struct Watch {
    clock: Clock,
    latest: Latest,
    /// Away while it looks.
    looker: Option<Looker>,
    changes: Changes,
    spent: Duration,
}

impl Watch {
    /// `proxy` is where the proxy listens; `None` where all connections of the command lead to it but those
    /// on loopback.
    pub(crate) fn new(clock: Clock, proxy: Option<SocketAddr>, redactor: Redactor) -> Self {
        let proc = Proc::new(Path::new("/proc"));
        let looker = proc
            .is_there()
            .then(|| Looker::new(proc, std::process::id(), proxy, redactor));
        if looker.is_none() {
            tracing::info!("there is no /proc: what the command's processes wait for is not seen");
        }
        Self {
            clock,
            latest: Latest::new(clock),
            looker,
            changes: Changes::default(),
            spent: Duration::ZERO,
        }
    }

    /// The last look.
    pub(crate) fn latest(&self) -> Latest {
        self.latest.clone()
    }

    /// Looks while `is_quiet`, which is asked each time, and has recorded what has changed; until
    /// dropped.
    pub(crate) async fn run(
        mut self,
        mut is_quiet: impl FnMut() -> bool,
        record: impl Fn(Timestamp, Sample),
    ) -> Infallible {
        while self.looker.is_some() {
            tokio::time::sleep(LOOK).await;
            let now = self.clock.now();
            if !is_quiet() {
                self.latest.set(now, None);
                if self.changes.pause() {
                    record(now, Sample::default());
                }
            } else if self.spent * SHARE <= now.since(Timestamp::default())
                && let Some(sample) = self.look(now).await
            {
                if self.changes.is_due(now, &sample) {
                    record(now, sample.clone());
                }
                self.latest.set(now, Some(sample));
            }
        }
        std::future::pending().await
    }

    /// One look, on a thread of its own: `/proc` may keep it waiting.
    async fn look(&mut self, now: Timestamp) -> Option<Sample> {
        let mut looker = self.looker.take()?;
        let looked = tokio::task::spawn_blocking(move || {
            let budget = Budget::begin();
            let sample = looker.look(now, &budget);
            (looker, sample, budget.took())
        });
        let (looker, sample, took) = looked.await.ok()?;
        self.looker = Some(looker);
        self.spent += took;
        Some(sample)
    }
}
