//! fsync for `group` and `strict`: a thread of its own, since the disk takes its time.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use tokio::sync::oneshot;

use super::recorder::{Durability, Health};

/// `group` is at most this far behind.
const BEHIND: Duration = Duration::from_millis(50);

enum Job {
    Journal(Vec<oneshot::Sender<()>>),
    Body(File, PathBuf),
}

/// Sends work to the thread; cheap to clone. The thread ends with the last clone.
#[derive(Clone)]
pub(super) struct Syncer {
    jobs: Sender<Job>,
}

impl Syncer {
    pub(super) fn start(
        journal: Arc<File>,
        durability: Durability,
        health: Health,
    ) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        std::thread::Builder::new()
            .name("sync".into())
            .spawn(move || run(&queue, &journal, durability, &health))?;
        Ok(Self { jobs })
    }

    /// Has all lines written so far made durable, then tells `waiting`.
    pub(super) fn sync_journal(&self, waiting: Vec<oneshot::Sender<()>>) {
        // The thread ends only when every sender is gone, so there is somebody to hear.
        let _ = self.jobs.send(Job::Journal(waiting));
    }

    /// Has a body's file and its folder made durable before the next journal.
    pub(super) fn sync_body(&self, file: File, dir: PathBuf) {
        let _ = self.jobs.send(Job::Body(file, dir));
    }
}

fn run(queue: &Receiver<Job>, journal: &File, durability: Durability, health: &Health) {
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        match durability {
            Durability::Group => gather(queue, &mut jobs),
            Durability::Process | Durability::Strict => jobs.extend(queue.try_iter()),
        }
        let mut waiting = Vec::new();
        let mut synced = Ok(());
        for job in jobs {
            match job {
                Job::Journal(more) => waiting.extend(more),
                Job::Body(file, dir) => {
                    synced = synced
                        .and_then(|()| file.sync_all())
                        .and_then(|()| sync_dir(&dir));
                }
            }
        }
        // After a failed fsync the kernel may drop the pages and the next one lies: say so, once.
        if let Err(error) = synced.and_then(|()| journal.sync_data()) {
            health.fail_to_sync(&format!("fsync failed: {error}"));
        }
        for written in waiting {
            let _ = written.send(());
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread that waits in real time"
)]
fn gather(queue: &Receiver<Job>, jobs: &mut Vec<Job>) {
    let until = std::time::Instant::now() + BEHIND;
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        match queue.recv_timeout(left) {
            Ok(job) => jobs.push(job),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &std::path::Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
