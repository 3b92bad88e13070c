//! How verbs run their tasks: on one thread; and what a signal does to a long job: it ends between two
//! steps, so that nothing half-made stays.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use anyhow::{Context as _, anyhow};

use super::failure::Failure;
use crate::child::{Heard, Signals};

/// All traffic runs on one thread: no exchange crosses another, which is what costs.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("cannot start")
}

/// Runs a task on a runtime of its own; a name that is still being looked up keeps nobody waiting.
pub(super) fn block_on<T>(task: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(task);
    runtime.shutdown_background();
    Ok(outcome)
}

/// Whether a signal has come; the second one ends the process where it stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicU8>);

impl Stop {
    /// Listens from now on to the signals that are not ignored.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let stop = Self::default();
        let runtime = runtime()?;
        let mut signals = {
            let _inside = runtime.enter();
            Signals::listen().context("cannot listen to signals")?
        };
        let heard = stop.clone();
        let listener = move || {
            runtime.block_on(async {
                let Heard { signal, .. } = signals.next().await;
                heard.0.store(code(signal.as_raw()), Ordering::Relaxed);
                let Heard { signal, .. } = signals.next().await;
                std::process::exit(code(signal.as_raw()).into());
            });
        };
        let named = thread::Builder::new().name("signals".into());
        named.spawn(listener).context("cannot start")?;
        Ok(stop)
    }

    /// An error once a signal has come.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(io::Error::other("stopped by a signal")),
        }
    }

    /// What failed after a signal failed because of it.
    pub(super) fn explain<T>(&self, outcome: anyhow::Result<T>) -> Result<T, Failure> {
        match (outcome, self.0.load(Ordering::Relaxed)) {
            (Err(_), code @ 1..) => {
                let error = anyhow!("stopped by a signal: nothing was written");
                Err(Failure::new(code, error))
            }
            (outcome, _) => Ok(outcome?),
        }
    }
}

/// As shells have it: 128 and the signal.
fn code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// Takes no more once a signal has come.
pub(super) struct Stoppable<'a, W: ?Sized> {
    pub(super) out: &'a mut W,
    pub(super) stop: &'a Stop,
}

impl<W: Write + ?Sized> Write for Stoppable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stop.check()?;
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
