//! When what was written is safe, and what could not be written.
//!
//! fsync for `group` and `strict` runs on a thread of its own, since the disk takes its time.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::files::sync_dir;

/// What a recorded exchange survives, and from when on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// A crash or kill of modtape: the exchange is written before the client sees its end. No fsync.
    #[default]
    Process,
    /// A power cut too, but for the last 50 ms: fsync follows, and the client does not wait for it.
    Group,
    /// A power cut too: the client's last byte waits for fsync.
    Strict,
}

/// What went wrong first; shared by the journal, the bodies and the recorder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<Failures>);

#[derive(Debug, Default)]
struct Failures {
    first: OnceLock<String>,
    unsynced: OnceLock<String>,
}

impl Health {
    /// The first thing that could not be written.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.0.first.get().map(String::as_str)
    }

    pub(super) fn fail(&self, why: &str) {
        let _ = self.0.first.set(why.to_owned());
    }

    /// Notes that what was written may not survive a power cut; the journal tells of it.
    pub(super) fn fail_to_sync(&self, why: &str) {
        self.fail(why);
        let _ = self.0.unsynced.set(why.to_owned());
    }

    pub(super) fn unsynced(&self) -> Option<&str> {
        self.0.unsynced.get().map(String::as_str)
    }
}

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
        // Never fails: the thread ends only when every sender is gone.
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
