//! Reads that may wait for a disk: each on a thread where it holds nobody up, few at once, and none waited for for ever.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::Semaphore;

/// How long a read may take, with the wait for a thread: a busy disk takes tenths of a second, one that hangs takes
/// for ever.
const LIMIT: Duration = Duration::from_secs(15);

/// Threads at once, for each part of the server that reads: what hangs keeps so many, and leaves the others.
const THREADS: usize = 64;

/// Those of the bodies that clients get.
pub(super) static BODIES: LazyLock<Reads> = LazyLock::new(|| Reads::new(THREADS, LIMIT));

/// Those of what is fetched: files of a tree, and zips that go has made.
pub(super) static FETCHED: LazyLock<Reads> = LazyLock::new(|| Reads::new(THREADS, LIMIT));

/// A part of the server that reads files while clients wait.
#[derive(Debug)]
pub(super) struct Reads {
    threads: Arc<Semaphore>,
    limit: Duration,
}

impl Reads {
    fn new(threads: usize, limit: Duration) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(threads)),
            limit,
        }
    }

    /// Does something on a thread; an error of the kind `TimedOut` if that takes too long. Then the thread is taken
    /// until it is over.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let done = async {
            let thread = Arc::clone(&self.threads).acquire_owned().await;
            let done = tokio::task::spawn_blocking(move || {
                let _thread = thread;
                job()
            });
            done.await.map_err(io::Error::other)?
        };
        match tokio::time::timeout(self.limit, done).await {
            Ok(done) => done,
            Err(_) => {
                let why = format!("the disk takes longer than {} s", self.limit.as_secs_f32());
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_disk_that_hangs_costs_each_read_its_limit_and_no_more_threads_than_there_are() {
        let reads = Reads::new(2, Duration::from_millis(50));
        let (release, hangs) = mpsc::channel::<()>();
        let hangs = Arc::new(std::sync::Mutex::new(hangs));
        let (begun, has_begun) = mpsc::channel();
        for _ in 0..5 {
            let (hangs, begun) = (Arc::clone(&hangs), begun.clone());
            let hung = reads.run(move || {
                let _ = begun.send(());
                let _ = hangs.lock().expect("no panic").recv();
                Ok(())
            });
            let error = hung.await.expect_err("it hangs");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        }
        assert_eq!(has_begun.try_iter().count(), 2);
        drop(release);
        let reads = Reads::new(2, Duration::from_secs(60));
        assert_eq!(reads.run(|| Ok(7)).await.expect("it is done"), 7);
    }
}
