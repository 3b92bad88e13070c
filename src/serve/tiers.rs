//! Where answers are kept, in the order in which they are asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::answer::{Answer, Content, FRESH, Proof};
use super::disk::Disk;
use super::memory::Memory;
use crate::clock::Clock;

/// How long a disk may take before a request goes on without it.
const DISK: Duration = Duration::from_secs(2);

/// Where an answer came from, in the words of `X-Modtape-Cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Memory,
    Disk,
}

impl Tier {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

/// All tiers. What one cannot do is said once, and the build goes on.
#[derive(Debug, Clone)]
pub(crate) struct Tiers {
    memory: Memory,
    disk: Disk,
    /// Bytes that the disk may have.
    most: u64,
    /// Bytes that were written since the disk was last looked through.
    written: Arc<AtomicU64>,
    /// The disk has failed, and that was said.
    is_told: Arc<AtomicBool>,
}

impl Tiers {
    /// Memory, and a disk that may have so many bytes.
    pub(crate) fn new(memory: Memory, disk: Disk, most: u64) -> Self {
        Self {
            memory,
            disk,
            most,
            // It is looked through with the first answer.
            written: Arc::new(AtomicU64::new(most)),
            is_told: Arc::default(),
        }
    }

    /// The answer to a path, of whatever age, and where it was.
    pub(super) async fn get(&self, path: &str) -> Option<(Answer, Tier)> {
        if let Some(answer) = self.memory.get(path) {
            // Another process may have a better one on the disk than what was good for a minute.
            let age = Clock::wall_now().duration_since(answer.at);
            if answer.proof != Proof::None || age.is_ok_and(|age| age <= FRESH) {
                return Some((answer, Tier::Memory));
            }
        }
        let (disk, name) = (self.disk.clone(), path.to_owned());
        let answer = self.on_disk(move || disk.get(&name)).await??;
        self.memory.put(path, &answer);
        Some((answer, Tier::Disk))
    }

    /// Keeps what is good for a minute.
    pub(super) fn put_in_memory(&self, path: &str, answer: &Answer) {
        self.memory.put(path, answer);
    }

    /// Keeps a text.
    pub(super) async fn put(&self, path: &str, answer: &Answer) {
        self.memory.put(path, answer);
        let Content::Bytes(body) = &answer.content else {
            return;
        };
        let (disk, path) = (self.disk.clone(), path.to_owned());
        let (answer, body): (Answer, Bytes) = (answer.clone(), body.clone());
        let bytes = body.len() as u64;
        self.on_disk(move || disk.put(&path, &answer, &body)).await;
        self.wrote(bytes);
    }

    /// Keeps what was written to a file of the disk.
    pub(super) async fn put_file(
        &self,
        path: &str,
        answer: &Answer,
        body: NamedTempFile,
        sha256: [u8; 32],
    ) {
        let bytes = answer.bytes();
        let (disk, path, answer) = (self.disk.clone(), path.to_owned(), answer.clone());
        let put = move || disk.put_file(&path, &answer, body, &sha256);
        self.on_disk(put).await;
        self.wrote(bytes);
    }

    /// Makes room, beside what clients wait for, once a twentieth of it was written anew.
    fn wrote(&self, bytes: u64) {
        let written = self.written.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if written < self.most / 20 {
            return;
        }
        // Only one of those who come here makes it.
        if self.written.swap(0, Ordering::Relaxed) < self.most / 20 {
            return;
        }
        let (disk, most) = (self.disk.clone(), self.most);
        tokio::task::spawn_blocking(move || match disk.make_room(most) {
            Ok((_, 0)) => {}
            Ok((bytes, removed)) => {
                tracing::info!(target: "modtape::serve", bytes, removed, "made room in the store");
            }
            Err(error) => {
                tracing::warn!(target: "modtape::serve", %error, "cannot make room in the store");
            }
        });
    }

    /// The versions of a module that can be served whole.
    pub(super) async fn whole_versions(&self, folder: &str) -> Vec<String> {
        let (disk, folder) = (self.disk.clone(), folder.to_owned());
        let versions = self.on_disk(move || disk.whole_versions(&folder)).await;
        versions.unwrap_or_default()
    }

    /// A file for a body that is coming.
    pub(super) async fn begin(&self) -> Option<NamedTempFile> {
        let disk = self.disk.clone();
        match self.on_disk(move || disk.begin()).await {
            Some(file) => Some(file),
            None => self.on_disk(Disk::begin_elsewhere).await,
        }
    }

    /// The widest kept version of a tile, if it is as wide as `least`.
    pub(super) async fn wider_tile(&self, folder: &str, least: u16) -> Option<String> {
        let (disk, folder) = (self.disk.clone(), folder.to_owned());
        self.on_disk(move || disk.wider_tile(&folder, least))
            .await?
    }

    /// Whether the store takes files.
    pub(super) async fn is_ready(&self) -> bool {
        let disk = self.disk.clone();
        self.on_disk(move || disk.begin()).await.is_some()
    }

    /// Does something on the disk, on a thread where it holds nobody up.
    async fn on_disk<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let job = tokio::task::spawn_blocking(job);
        let failed: String = match tokio::time::timeout(DISK, job).await {
            Ok(Ok(Ok(done))) => {
                self.is_told.store(false, Ordering::Relaxed);
                return Some(done);
            }
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(panicked)) => panicked.to_string(),
            Err(_) => format!("it takes longer than {} s", DISK.as_secs()),
        };
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(target: "modtape::serve", "the store: {failed}");
        }
        None
    }
}
