//! The third tier: an object store that several machines share. It has what is proved and never changes.
//!
//! ```text
//! v1/answers/github.com/!burnt!sushi/toml/@v/v1.3.2.mod   as in the folder (`kept.rs`)
//! v1/bodies/ab/cdef…                                      a large body, by its SHA-256
//! ```
//! A body is there before an answer names it, so that whoever reads finds both, or nothing. What is found is held
//! against its digest: who can write to the store is trusted as far as who can write to the folder.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{Answer, Content, Proof};
use super::disk::{Removed, digest_of};
use super::guard::Guard;
use super::kept::{Head, LONGEST, body_path, hex};
use super::purge::{Epoch, Purge, Purges};
use crate::clock::Clock;
use crate::gomod::ZIP_LIMIT;
use crate::objects::{Failure, Object, Objects};

/// How long the store may take for an answer's head, and for the first bytes of a large body; what comes after that may
/// not pause (`objects/http.rs`).
const READ: Duration = Duration::from_secs(2);

/// How long it may take to keep an answer, beside the time for a large body.
const WRITE: Duration = Duration::from_secs(10);

/// How fast a large body is sent or received at least, bytes a second.
const SLOWEST: u64 = 256 << 10;

/// Answers that are sent to the store at once.
const UPLOADS: usize = 16;

/// Reads from the store at once.
const DOWNLOADS: usize = 128;

/// What may wait to be sent, KiB.
const QUEUE: u32 = 256 << 10;

/// What an answer counts in the queue at least, KiB: one with a file holds a descriptor.
const LEAST: (u32, u32) = (64, 256);

/// Damaged objects that are remembered until others take their place.
const REMEMBERED: usize = 1000;

/// How long is waited before each try to remove what came to the store after it was purged.
const UNDOING: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// A place in an object store.
#[derive(Debug)]
pub(crate) struct Shared {
    objects: Objects,
    reads: Guard,
    writes: Guard,
    uploads: Semaphore,
    downloads: Semaphore,
    queue: Arc<Semaphore>,
    has_overflown: AtomicBool,
    /// Keys of what was found damaged: it is replaced.
    // A std Mutex: held for an operation on the set, never across an await.
    damaged: Mutex<HashSet<String>>,
    /// For what is on its way to the store.
    purges: Purges,
}

/// An answer that the store has.
pub(super) enum Found {
    Whole(Answer),
    /// Its body is an object of its own.
    Large(Head),
}

impl Found {
    pub(super) fn proof(&self) -> &Proof {
        match self {
            Self::Whole(answer) => &answer.proof,
            Self::Large(head) => &head.proof,
        }
    }
}

impl Shared {
    pub(crate) fn new(clock: Clock, objects: Objects) -> Self {
        let guard = |what, limit| Guard::new(clock, what, limit, 0);
        Self {
            objects,
            reads: guard("reading from the shared store", READ),
            writes: guard("writing to the shared store", WRITE),
            uploads: Semaphore::new(UPLOADS),
            downloads: Semaphore::new(DOWNLOADS),
            queue: Arc::new(Semaphore::new(QUEUE as usize)),
            has_overflown: AtomicBool::new(false),
            damaged: Mutex::default(),
            purges: Purges::default(),
        }
    }

    pub(super) fn is_read(&self) -> bool {
        !self.reads.is_left_out()
    }

    pub(super) fn is_written(&self) -> bool {
        !self.writes.is_left_out()
    }

    /// Requests to it that failed so far or took too long, and answers that were damaged.
    pub(super) fn failures(&self) -> u64 {
        self.reads.failures() + self.writes.failures()
    }

    /// The answer to a path, but for a large body.
    pub(super) async fn get(&self, path: &str) -> Option<Found> {
        let key = answer_key(path);
        let read = self.reads.run(async {
            let _place = self.downloads.acquire().await;
            let Some(object) = self.objects.get(&key).await? else {
                return Ok(None);
            };
            let kept = object.whole(LONGEST).await?;
            // A sign-in page, for example: then all objects are.
            match kept.starts_with(b"{") {
                true => Ok(Some(kept)),
                false => Err(Failure::new(format!(
                    "it answers {key} with something else"
                ))),
            }
        });
        let kept = read.await??;
        let found = Head::read(path, &kept).and_then(|(head, body)| {
            if !head.is_inline() {
                return Ok(Found::Large(head));
            }
            let content = head.checked(body)?;
            Ok(Found::Whole(head.answer(content)))
        });
        found.map_err(|why| self.is_damaged(&key, why)).ok()
    }

    /// Writes a large body to a file and holds it against its digest. Nothing of it was passed on yet, so that what is
    /// damaged, or breaks off, is asked for upstream.
    pub(super) async fn receive(
        &self,
        path: &str,
        head: &Head,
        file: NamedTempFile,
    ) -> Option<(NamedTempFile, [u8; 32])> {
        let key = body_key(&head.sha256);
        let began = self.reads.run(async {
            let place = self.downloads.acquire().await;
            let Some(mut object) = self.objects.get(&key).await? else {
                return Ok(None);
            };
            let first = object.next().await.transpose()?;
            Ok::<_, Failure>(Some((object, first, place)))
        });
        let Some((object, first, _place)) = began.await? else {
            // An answer without its body.
            self.replaces(path);
            return None;
        };
        if object.bytes() != head.bytes || head.bytes > ZIP_LIMIT {
            self.is_damaged(&key, "it has another length");
            return None;
        }
        let limit = READ + transfer(head.bytes);
        let received = receive(object, first, head.bytes, file);
        let received = tokio::time::timeout(limit, received).await;
        let slow = |_| {
            Err(Failure::new(format!(
                "not whole within {} s",
                limit.as_secs()
            )))
        };
        let (file, sha256) = match received.unwrap_or_else(slow) {
            Ok(received) => received,
            Err(why) => {
                let why = format!("{path} broke off: {why}");
                return self.reads.run(async { Err(why) }).await;
            }
        };
        if hex(sha256) != head.sha256 {
            self.is_damaged(&key, "it is another body");
            return None;
        }
        Some((file, sha256))
    }

    /// Now, as far as purges go.
    pub(super) fn epoch(&self) -> Epoch {
        self.purges.epoch()
    }

    /// Keeps an answer that was fetched after `epoch`, unless it was purged since; says whether it is there.
    pub(super) async fn put(&self, path: &str, answer: &Answer, epoch: Epoch) -> bool {
        let Ok(_place) = self.uploads.acquire().await else {
            return false;
        };
        if self.purges.cover_since(epoch, path) {
            return false;
        }
        let limit = WRITE + transfer(answer.bytes());
        let mut is_begun = false;
        let kept = self.writes.run_within(limit, async {
            is_begun = true;
            self.keep(path, answer).await
        });
        let is_kept = kept.await.is_some();
        // What failed may have come there all the same.
        if is_begun && self.purges.cover_since(epoch, path) {
            self.undo(path).await;
            return false;
        }
        is_kept
    }

    /// Removes an answer that was purged while it was sent, even if the store is left out at the moment.
    async fn undo(&self, path: &str) {
        let key = answer_key(path);
        for pause in UNDOING {
            tokio::time::sleep(pause).await;
            let removed = tokio::time::timeout(WRITE, self.objects.remove(&key));
            if let Ok(Ok(_)) = removed.await {
                return;
            }
        }
        tracing::warn!(target: "modtape::serve", "{path} is not purged from the shared store");
    }

    async fn keep(&self, path: &str, answer: &Answer) -> Result<(), Failure> {
        let sha256: [u8; 32] = match &answer.content {
            Content::Bytes(body) => Sha256::digest(body).into(),
            Content::File(file, bytes) => {
                let (file, bytes) = (Arc::clone(file), *bytes);
                let digest = tokio::task::spawn_blocking(move || digest_of(&file, bytes));
                let digest = digest.await.map_err(io::Error::other);
                digest.and_then(|it| it).map_err(failed)?
            }
        };
        let head = Head::new(path, answer, sha256);
        let inline = match head.is_inline() {
            true => answer.text().map_err(failed)?,
            false => {
                self.keep_body(&head, &answer.content).await?;
                Bytes::new()
            }
        };
        let kept = head.kept(&inline).map_err(|error| failed(error.into()))?;
        let key = answer_key(path);
        let is_damaged = self.damaged().remove(&key);
        match is_damaged {
            true => self.objects.put(&key, kept.into()).await,
            // Another machine may have been first: it has proved the same.
            false => self.objects.put_new(&key, kept.into()).await.map(drop),
        }
    }

    async fn keep_body(&self, head: &Head, content: &Content) -> Result<(), Failure> {
        let key = body_key(&head.sha256);
        let is_damaged = self.damaged().remove(&key);
        if !is_damaged && self.objects.size_of(&key).await? == Some(head.bytes) {
            return Ok(());
        }
        match content {
            Content::Bytes(body) => self.objects.put(&key, body.clone()).await,
            Content::File(file, bytes) => self.objects.put_file(&key, file, *bytes).await,
        }
    }

    /// What was fetched before a purge is not kept after it.
    pub(super) fn note(&self, purge: &Purge) {
        self.purges.add(purge);
    }

    /// Removes what a purge covers of a module, and of what `database` says of it. Bodies stay: other answers may
    /// have the same.
    pub(super) async fn purge(&self, purge: &Purge, database: Option<&str>) {
        self.note(purge);
        let module = purge.folder();
        let mut folders = vec![format!("{module}/@v")];
        if let Some(database) = database {
            let above = module.rsplit_once('/').map(|(above, _)| above);
            let lookups = format!("sumdb/{database}/lookup");
            folders.push(match above {
                Some(above) => format!("{lookups}/{above}"),
                None => lookups,
            });
        }
        let purged = self.writes.run(async {
            for folder in folders {
                for name in self.objects.below(&answer_key(&folder)).await? {
                    let path = format!("{folder}/{name}");
                    if purge.covers(&path) {
                        self.objects.remove(&answer_key(&path)).await?;
                    }
                }
            }
            Ok::<_, Failure>(())
        });
        if purged.await.is_none() {
            tracing::warn!(target: "modtape::serve", "{purge} is not purged from the shared store");
        }
    }

    /// A place among what waits to be sent; `None` if too much waits, which is said once.
    pub(super) fn queue(&self, answer: &Answer) -> Option<OwnedSemaphorePermit> {
        // What would fail in a moment needs no place.
        if self.writes.is_left_out() && self.queue.available_permits() < QUEUE as usize / 2 {
            return None;
        }
        let least = match answer.content {
            Content::Bytes(_) => LEAST.0,
            Content::File(..) => LEAST.1,
        };
        let needed = u32::try_from(answer.bytes() >> 10).unwrap_or(u32::MAX);
        let needed = needed.clamp(least, QUEUE);
        let place = Arc::clone(&self.queue).try_acquire_many_owned(needed).ok();
        if place.is_none() && !self.has_overflown.swap(true, Ordering::Relaxed) {
            let why = "answers come faster than it takes them";
            tracing::warn!(target: "modtape::serve", "the shared store lacks some answers: {why}");
        }
        place
    }

    /// Says that an object is damaged, and remembers to replace it.
    fn is_damaged(&self, key: &str, why: &str) {
        self.reads.blame();
        tracing::warn!(target: "modtape::serve", "the shared store: {key} is damaged: {why}");
        self.remember(key);
    }

    /// The next answer to a path takes the place of the one that is there.
    pub(super) fn replaces(&self, path: &str) {
        self.remember(&answer_key(path));
    }

    /// Waits a moment for what has to be undone.
    pub(super) async fn close(&self) {
        self.objects.close().await;
    }

    fn remember(&self, key: &str) {
        let mut damaged = self.damaged();
        if damaged.len() < REMEMBERED {
            damaged.insert(key.to_owned());
        }
    }

    fn damaged(&self) -> MutexGuard<'_, HashSet<String>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long so many bytes may take.
const fn transfer(bytes: u64) -> Duration {
    Duration::from_secs(bytes / SLOWEST)
}

/// Removes what a purge covers from an object store, with the bodies: another answer with the same body is fetched
/// again. What the checksum database says stays, since it is proved.
pub(crate) async fn purge(objects: &Objects, purge: &Purge) -> Result<Vec<Removed>, Failure> {
    let folder = format!("{}/@v", purge.folder());
    let mut removed = Vec::new();
    for name in objects.below(&answer_key(&folder)).await? {
        let path = format!("{folder}/{name}");
        let key = answer_key(&path);
        if !purge.covers(&path) {
            continue;
        }
        let Some(object) = objects.get(&key).await? else {
            continue;
        };
        let kept = object.whole(LONGEST).await?;
        objects.remove(&key).await?;
        let head = Head::read(&path, &kept).ok().map(|(head, _)| head);
        if let Some(head) = head.as_ref().filter(|head| !head.is_inline()) {
            objects.remove(&body_key(&head.sha256)).await?;
        }
        let bytes = head.map_or(0, |head| head.bytes);
        removed.push(Removed { path, bytes });
    }
    removed.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(removed)
}

fn answer_key(path: &str) -> String {
    format!("v1/answers/{path}")
}

fn body_key(sha256: &str) -> String {
    format!("v1/bodies/{}", body_path(sha256))
}

fn failed(error: io::Error) -> Failure {
    Failure::new(error.to_string())
}

/// Writes an object of so many bytes to a file.
async fn receive(
    mut object: Object,
    first: Option<Bytes>,
    bytes: u64,
    file: NamedTempFile,
) -> Result<(NamedTempFile, [u8; 32]), Failure> {
    let mut writer = file.as_file().try_clone().map_err(failed)?;
    let (mut digest, mut received) = (Sha256::new(), 0);
    let mut next = first.map(Ok);
    while let Some(chunk) = next {
        let chunk = chunk?;
        received += chunk.len() as u64;
        if received > bytes {
            return Err(Failure::new(format!("it has more than {bytes} bytes")));
        }
        (writer, digest) = write(writer, digest, chunk).await.map_err(failed)?;
        next = object.next().await;
    }
    if received != bytes {
        return Err(Failure::new(format!("it ended after {received} bytes")));
    }
    Ok((file, digest.finalize().into()))
}

/// Writes on a thread where a slow disk holds nobody up.
async fn write(mut file: File, mut digest: Sha256, chunk: Bytes) -> io::Result<(File, Sha256)> {
    let written = tokio::task::spawn_blocking(move || {
        file.write_all(&chunk)?;
        digest.update(&chunk);
        Ok((file, digest))
    });
    written.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn answer() -> Answer {
        Answer {
            status: StatusCode::OK,
            content: Content::Bytes(Bytes::from_static(b"module a.example/x\n")),
            at: Clock::wall_now(),
            proof: Proof::Form,
        }
    }

    #[tokio::test]
    async fn what_was_fetched_before_a_purge_does_not_come_there_after_it() {
        let shared = Shared::new(Clock::start(), Objects::in_memory(Duration::ZERO));
        let [path, other] = ["a.example/x/@v/v1.0.0.mod", "a.example/y/@v/v1.0.0.mod"];
        let before = shared.epoch();
        let purge: Purge = "a.example/x".parse().expect("it is one");
        shared.purge(&purge, None).await;
        assert!(!shared.put(path, &answer(), before).await);
        assert!(shared.get(path).await.is_none());
        assert!(shared.put(other, &answer(), before).await);
        assert!(shared.put(path, &answer(), shared.epoch()).await);
        assert!(shared.get(path).await.is_some());
        // Purges that are not remembered count as purges of everything.
        for _ in 0..=1000 {
            shared
                .purge(&"a.example/z".parse().expect("it is one"), None)
                .await;
        }
        assert!(!shared.put(other, &answer(), before).await);
    }

    #[tokio::test]
    async fn a_purge_that_comes_while_an_answer_is_sent_removes_it() {
        let shared = Shared::new(
            Clock::start(),
            Objects::in_memory(Duration::from_millis(50)),
        );
        let path = "a.example/x/@v/v1.0.0.mod";
        let purge: Purge = "a.example/x".parse().expect("it is one");
        let (answer, epoch) = (answer(), shared.epoch());
        let sent = shared.put(path, &answer, epoch);
        let purged = async {
            tokio::task::yield_now().await;
            shared.purge(&purge, None).await;
        };
        let (is_kept, ()) = tokio::join!(sent, purged);
        assert!(!is_kept);
        assert!(shared.get(path).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_after_a_purge_is_removed_from_a_store_that_is_left_out() {
        let objects = Objects::in_memory(Duration::from_secs(60));
        let shared = Shared::new(Clock::start(), objects);
        let path = "a.example/x/@v/v1.0.0.mod";
        let purge: Purge = "a.example/x".parse().expect("it is one");
        let key = answer_key(path);
        // As if it had come there, and the response had not.
        let came = shared.objects.put(&key, Bytes::from_static(b"{}\n"));
        came.await.expect("it is kept");
        let (answer, epoch) = (answer(), shared.epoch());
        let heard = async {
            tokio::task::yield_now().await;
            shared.note(&purge);
        };
        let (is_kept, ()) = tokio::join!(shared.put(path, &answer, epoch), heard);
        assert!(!is_kept && !shared.is_written());
        let found = shared.objects.get(&key).await.expect("it is asked");
        assert!(found.is_none());
    }
}
