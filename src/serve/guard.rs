//! A tier that is slow, full or away holds nobody up: it is left out for a while, which is said once.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::breaker::Breaker;
use crate::clock::Clock;

/// Stands before what may fail, and is not needed for an answer.
#[derive(Debug)]
pub(crate) struct Guard {
    clock: Clock,
    /// What it is, at the beginning of a sentence.
    name: String,
    /// How long one job may take.
    limit: Duration,
    breaker: Breaker,
    /// Jobs that failed, or took too long.
    failures: AtomicU64,
    /// Threads at once; a job that is given up keeps its own until it is over.
    places: Arc<Semaphore>,
}

impl Guard {
    /// A guard of what is called `name`. A job may take as long as `limit`, and `at_once`
    /// may hold a thread.
    pub(crate) fn new(
        clock: Clock,
        name: impl Into<String>,
        limit: Duration,
        at_once: usize,
    ) -> Self {
        Self {
            clock,
            name: name.into(),
            limit,
            breaker: Breaker::default(),
            failures: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// Does something; `None` if it fails, takes too long, or something like it did a moment ago.
    pub(crate) async fn run<T, E: Display>(
        &self,
        job: impl Future<Output = Result<T, E>>,
    ) -> Option<T> {
        self.run_within(self.limit, job).await
    }

    /// The same for a job that may take another time.
    pub(crate) async fn run_within<T, E: Display>(
        &self,
        limit: Duration,
        job: impl Future<Output = Result<T, E>>,
    ) -> Option<T> {
        if !self.breaker.admits(self.clock.now()) {
            return None;
        }
        let why = match tokio::time::timeout(limit, job).await {
            Ok(Ok(done)) => {
                if self.breaker.answered() {
                    tracing::warn!(target: "modtape::serve", "{} is used again", self.name);
                }
                return Some(done);
            }
            Ok(Err(why)) => why.to_string(),
            Err(_) => format!("it takes longer than {} s", limit.as_secs_f32()),
        };
        self.blame();
        if self.breaker.failed(self.clock.now()) {
            tracing::warn!(target: "modtape::serve", "{} is left out: {why}", self.name);
        }
        None
    }

    /// The same on a thread where it holds nobody up.
    pub(crate) async fn run_blocking<T: Send + 'static, E: Display + Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Option<T> {
        self.run_blocking_within(self.limit, job).await
    }

    /// The same for a job that may take another time.
    pub(crate) async fn run_blocking_within<T: Send + 'static, E: Display + Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Option<T> {
        // Waiting for a thread is no fault of this job; those that hang are blamed themselves.
        let place = Arc::clone(&self.places).acquire_owned();
        let place = tokio::time::timeout(limit, place).await.ok()?;
        self.run_within(limit, async {
            let done = tokio::task::spawn_blocking(move || {
                let done = job();
                drop(place);
                done
            });
            match done.await {
                Ok(done) => done.map_err(|error| error.to_string()),
                Err(panicked) => Err(panicked.to_string()),
            }
        })
        .await
    }

    /// Counts a failure that leaves it in use, such as an answer that is damaged.
    pub(crate) fn blame(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Jobs that failed so far, or took too long.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether it is left out.
    pub(crate) fn is_left_out(&self) -> bool {
        self.breaker.is_open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new(Clock::start(), "it", Duration::from_secs(2), 2)
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_costs_its_limit_once() {
        let guard = guard();
        let hangs = std::future::pending::<Result<(), String>>();
        assert_eq!(guard.run(hangs).await, None);
        assert!(guard.is_left_out());
        // Nobody waits any more.
        let is_run = std::cell::Cell::new(false);
        let job = async {
            is_run.set(true);
            Ok::<_, String>(())
        };
        assert_eq!(guard.run(job).await, None);
        assert!(!is_run.get());
    }

    #[tokio::test]
    async fn an_error_is_none_and_a_result_is_given() {
        let guard = guard();
        assert_eq!(guard.run_blocking(|| Ok::<_, String>(7)).await, Some(7));
        assert_eq!(guard.run_blocking(|| Err::<u8, _>("full")).await, None);
        assert!(guard.is_left_out());
        // What is not tried is no failure.
        assert_eq!(guard.run_blocking(|| Err::<u8, _>("full")).await, None);
        assert_eq!(guard.failures(), 1);
    }
}
