//! The runtime of the verbs, which is one thread; and signals that stop a long job, between two
//! steps, so that no partial output is left.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use anyhow::{Context as _, anyhow};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::failure::Failure;
use crate::child::{Heard, Signals};

/// A runtime of one thread: to pass an exchange from thread to thread costs more than a second
/// thread brings.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("cannot start")
}

/// Runs a task on a runtime of its own. A name lookup that is still running then is not waited for.
pub(super) fn block_on<T>(task: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(task);
    runtime.shutdown_background();
    Ok(outcome)
}

/// Whether a signal was received. The second signal ends the process at once. The default is never told of one.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    signal: Arc<Signalled>,
    /// Ends the thread that listens, with the last clone.
    _listening: Option<Arc<DropGuard>>,
}

#[derive(Debug, Default)]
struct Signalled {
    /// The exit code of the signal; 0 as long as there was none.
    code: AtomicU8,
    /// Cancelled with the signal.
    token: CancellationToken,
}

impl Stop {
    /// Listens to the signals that are not ignored.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let signal = Arc::<Signalled>::default();
        let runtime = runtime()?;
        let mut signals = {
            let _inside = runtime.enter();
            Signals::listen().context("cannot listen to signals")?
        };
        let is_over = CancellationToken::new();
        let listening = is_over.clone().drop_guard();
        let told = Arc::clone(&signal);
        let listener = move || {
            runtime.block_on(is_over.run_until_cancelled(async {
                let Heard { signal, .. } = signals.next().await;
                told.code.store(code(signal.as_raw()), Ordering::Relaxed);
                told.token.cancel();
                let Heard { signal, .. } = signals.next().await;
                std::process::exit(code(signal.as_raw()).into());
            }));
        };
        let named = thread::Builder::new().name("signals".into());
        named.spawn(listener).context("cannot start")?;
        Ok(Self {
            signal,
            _listening: Some(Arc::new(listening)),
        })
    }

    /// Whether one was received.
    pub(super) fn is_heard(&self) -> bool {
        self.code().is_some()
    }

    /// Waits until one is received.
    pub(super) async fn heard(&self) {
        self.signal.token.cancelled().await;
    }

    /// The exit code of the one that was received.
    pub(super) fn code(&self) -> Option<u8> {
        let code = self.signal.code.load(Ordering::Relaxed);
        (code > 0).then_some(code)
    }

    /// An error if a signal was received.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.is_heard() {
            false => Ok(()),
            true => Err(io::Error::other("stopped by a signal")),
        }
    }

    /// Takes a signal for the reason of a failure.
    pub(super) fn explain<T>(&self, outcome: anyhow::Result<T>) -> Result<T, Failure> {
        match (outcome, self.code()) {
            (Err(_), Some(code)) => {
                let error = anyhow!("stopped by a signal: nothing was written");
                Err(Failure::new(code, error))
            }
            (outcome, _) => Ok(outcome?),
        }
    }
}

/// The exit code of a shell for a signal: 128 + N.
fn code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// A writer that fails once a signal was received.
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
