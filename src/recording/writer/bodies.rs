//! Bodies: small ones stay in memory for the journal, large ones go to a file as they pass.
//!
//! A thread named `bodies` writes the files, so that a large body never delays the last byte of
//! another exchange. What waits for it is bounded; a full queue holds the sender back.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::process::{Resource, getrlimit};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::PollSemaphore;

use super::durability::{Durability, Syncer};
use crate::exchange::{Body, ByteString, Digest, Hex};
use crate::files::sync_dir;
use crate::recording::format::{BODIES, INLINE_LIMIT};

/// Bytes on their way to the disk at most, over all bodies.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// What a body gathers before it goes to the thread, bytes, while few are on their way: waking the
/// thread for each frame would cost more than writing it.
const CHUNK_MOST: usize = 256 * 1024;

/// The same however many are on their way: what each of them holds in memory besides the queue.
const CHUNK_LEAST: usize = INLINE_LIMIT;

/// What is added at once at most, mostly: a read of HTTP/1.1, some frames of HTTP/2.
const READ: usize = 64 * 1024;

/// How many buffers wait to be used again at most.
const SPARE: usize = 4;

/// Buffers of chunks that were written, for the next ones: with memory that is touched for the first
/// time, a body would take a tenth more CPU.
#[derive(Clone, Default)]
struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    /// A buffer for a chunk and one read more.
    fn take(&self) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(CHUNK_MOST + READ))
    }

    fn give(&self, mut buffer: Vec<u8>) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE && buffer.capacity() >= CHUNK_MOST {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

/// How many files the thread keeps open at most, one a body. Those of further bodies are opened for
/// each chunk, which takes longer than writing it (ext4 gives a file its blocks when it is closed); but
/// any number of bodies may be on their way.
pub(crate) fn most_open() -> u64 {
    let limit = getrlimit(Resource::Nofile).current;
    if limit.is_none_or(|limit| limit >= 1024) {
        64
    } else {
        8
    }
}

/// Takes bodies; cheap to clone. The thread ends with the last clone.
#[derive(Clone)]
pub struct BodyStore(Arc<Shared>);

/// What the store shares with its sinks.
struct Shared {
    jobs: mpsc::UnboundedSender<Job>,
    room: Arc<Semaphore>,
    next: AtomicU64,
    spare: Spare,
    keep: bool,
}

impl BodyStore {
    pub(super) fn start(
        dir: &Path,
        durability: Durability,
        keep: bool,
        syncer: Option<Syncer>,
    ) -> io::Result<Self> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let spare = Spare::default();
        let writer = Writer {
            dir: dir.join(BODIES),
            durability,
            keep,
            syncer,
            spare: spare.clone(),
            arriving: HashMap::new(),
            most_open: usize::try_from(most_open()).unwrap_or(usize::MAX),
        };
        std::thread::Builder::new()
            .name("bodies".into())
            .spawn(move || writer.run(queue))?;
        Ok(Self(Arc::new(Shared {
            jobs,
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            next: AtomicU64::new(0),
            spare,
            keep,
        })))
    }

    /// A place for one body.
    pub fn sink(&self) -> BodySink {
        BodySink {
            room: PollSemaphore::new(Arc::clone(&self.0.room)),
            store: Arc::clone(&self.0),
            gathered: Vec::new(),
            file: None,
            is_queued: false,
        }
    }
}

/// One body on its way; dropping it before [`finish`](Self::finish) leaves nothing behind.
pub struct BodySink {
    store: Arc<Shared>,
    room: PollSemaphore,
    /// What has not gone to the thread: all of a body of up to [`INLINE_LIMIT`], which never does.
    gathered: Vec<u8>,
    /// The body's number once some of it has gone to the thread.
    file: Option<u64>,
    /// True while it waits for room.
    is_queued: bool,
}

/// The body passed, but could not be kept.
#[derive(Debug)]
pub struct NotKept {
    /// Digest and length, all that is left of it.
    pub(crate) body: Body,
    /// Why.
    pub(crate) why: io::Error,
}

impl BodySink {
    /// Ready once one more chunk can be added: a full buffer waits for room on the way to the disk. A
    /// body takes none of it while it is read slowly, so that it stands in nobody's way.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What waits already goes on waiting when its part has grown: room may have been given to it.
        if self.is_queued || self.gathered.len() >= self.chunk() {
            self.is_queued = true;
            let permit = ready!(self.room.poll_acquire_many(cx, room_for(&self.gathered)));
            self.is_queued = false;
            self.send(permit);
            self.gathered = self.store.spare.take();
        }
        Poll::Ready(())
    }

    /// What this body may gather, bytes: its part of what the queue holds.
    fn chunk(&self) -> usize {
        let bodies = Arc::strong_count(&self.store);
        (QUEUE_BYTES / bodies).clamp(CHUNK_LEAST, CHUNK_MOST)
    }

    /// The reader has paused: gives up the place in the queue for room.
    pub(crate) fn idle(&mut self) {
        if std::mem::take(&mut self.is_queued) {
            // A place in the queue is served whether or not anybody comes for it.
            self.room = PollSemaphore::new(self.room.clone_inner());
        }
    }

    /// Adds a chunk; call [`poll_ready`](Self::poll_ready) before.
    pub fn push(&mut self, chunk: &[u8]) {
        self.gathered.extend_from_slice(chunk);
    }

    /// Hands what is gathered to the thread. `None`: the store is gone, and so is the thread.
    fn send(&mut self, permit: Option<OwnedSemaphorePermit>) {
        let next = || self.store.next.fetch_add(1, Ordering::Relaxed);
        let key = *self.file.get_or_insert_with(next);
        let chunk = std::mem::take(&mut self.gathered);
        if let Some(permit) = permit {
            let _ = self.store.jobs.send(Job::Chunk(key, chunk, permit));
        }
    }

    /// The body is whole: once this returns, it stands under its name or is known to be lost.
    pub async fn finish(mut self) -> Result<Body, NotKept> {
        self.idle();
        let is_inline = self.file.is_none() && self.gathered.len() <= INLINE_LIMIT;
        if !is_inline && !self.gathered.is_empty() {
            let room = Arc::clone(&self.store.room);
            let permit = room.acquire_many_owned(room_for(&self.gathered)).await;
            self.send(permit.ok());
        }
        let Some(key) = self.file.take() else {
            let small = std::mem::take(&mut self.gathered);
            return Ok(Body {
                sha256: Hex(Sha256::digest(&small).into()),
                bytes: small.len() as u64,
                inline: self.store.keep.then_some(ByteString(small)),
                kept: self.store.keep,
            });
        };
        let (reply, stored) = oneshot::channel();
        let _ = self.store.jobs.send(Job::Finish(key, reply));
        let stored = stored.await.unwrap_or_else(|_| Stored {
            sha256: Hex([0; 32]),
            bytes: 0,
            kept: Err(io::Error::other("the thread that writes bodies is gone")),
        });
        let mut body = Body {
            sha256: stored.sha256,
            bytes: stored.bytes,
            inline: None,
            kept: false,
        };
        match stored.kept {
            Ok(kept) => {
                body.kept = kept;
                Ok(body)
            }
            Err(why) => Err(NotKept { body, why }),
        }
    }
}

impl Drop for BodySink {
    fn drop(&mut self) {
        if let Some(key) = self.file.take() {
            let _ = self.store.jobs.send(Job::Discard(key));
        }
    }
}

/// The part of the queue that a chunk takes, bytes.
fn room_for(chunk: &[u8]) -> u32 {
    u32::try_from(chunk.len().min(QUEUE_BYTES)).unwrap_or(u32::MAX)
}

/// What the thread is told.
enum Job {
    Chunk(u64, Vec<u8>, OwnedSemaphorePermit),
    Finish(u64, oneshot::Sender<Stored>),
    Discard(u64),
}

/// A body that has passed whole.
struct Stored {
    sha256: Digest,
    bytes: u64,
    kept: io::Result<bool>,
}

/// What the thread owns.
struct Writer {
    dir: PathBuf,
    durability: Durability,
    keep: bool,
    syncer: Option<Syncer>,
    spare: Spare,
    arriving: HashMap<u64, Arriving>,
    most_open: usize,
}

/// A body that has not come whole.
struct Arriving {
    /// Its file, which has no name yet; `None` if bodies are not kept.
    path: io::Result<Option<PathBuf>>,
    /// The same, if it stays open.
    file: Option<File>,
    hasher: Sha256,
    bytes: u64,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        while let Some(job) = queue.blocking_recv() {
            match job {
                Job::Chunk(key, chunk, permit) => {
                    self.chunk(key, &chunk);
                    self.spare.give(chunk);
                    drop(permit);
                }
                Job::Finish(key, reply) => {
                    if let Some(body) = self.arriving.remove(&key) {
                        // Fails where the exchange was given up meanwhile.
                        let _ = reply.send(self.finish(body));
                    }
                }
                Job::Discard(key) => {
                    if let Some(body) = self.arriving.remove(&key)
                        && let Ok(Some(path)) = body.path
                    {
                        let _ = fs::remove_file(path);
                    }
                }
            }
        }
    }

    fn chunk(&mut self, key: u64, chunk: &[u8]) {
        let bodies = self.arriving.len();
        let path = || self.dir.join(format!(".{}-{key}", std::process::id()));
        let body = self.arriving.entry(key).or_insert_with(|| Arriving {
            path: Ok(self.keep.then(path)),
            file: None,
            hasher: Sha256::new(),
            bytes: 0,
        });
        body.hasher.update(chunk);
        let is_new = body.bytes == 0;
        body.bytes += chunk.len() as u64;
        let Ok(Some(path)) = &body.path else { return };
        let stays_open = body.file.is_some() || bodies < self.most_open;
        let file = body.file.take().map_or_else(|| open(path, is_new), Ok);
        match file.and_then(|mut file| file.write_all(chunk).map(|()| file)) {
            Ok(file) => body.file = stays_open.then_some(file),
            Err(error) => {
                // The room that the half of it takes is better used by others.
                let _ = fs::remove_file(path);
                body.path = Err(error);
            }
        }
    }

    fn finish(&self, body: Arriving) -> Stored {
        let Arriving {
            path,
            file,
            hasher,
            bytes,
        } = body;
        let sha256 = Hex(hasher.finalize().into());
        let kept = path.and_then(|path| {
            let Some(path) = path else { return Ok(false) };
            let file = file.map_or_else(|| open(&path, false), Ok);
            let published = file.and_then(|file| self.publish(file, &path, sha256, bytes));
            if published.is_err() {
                // It may stand under its name already; under its own it is in the way.
                let _ = fs::remove_file(&path);
            }
            published.map(|()| true)
        });
        Stored {
            sha256,
            bytes,
            kept,
        }
    }

    /// Gives the file its name; one that stands there already holds the same bytes.
    fn publish(&self, file: File, temporary: &Path, sha256: Digest, bytes: u64) -> io::Result<()> {
        let name = sha256.to_string();
        let dir = self.dir.join(&name[..2]);
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) if self.durability != Durability::Process => {
                sync_dir(&self.dir).inspect_err(|_| {
                    // The next body of that folder tries again.
                    let _ = fs::remove_dir(&dir);
                })?;
            }
            _ => {}
        }
        if self.durability == Durability::Strict {
            file.sync_all()?;
        }
        let path = dir.join(&name);
        let same =
            fs::symlink_metadata(&path).is_ok_and(|there| there.is_file() && there.len() == bytes);
        if same {
            fs::remove_file(temporary)?;
        } else {
            fs::rename(temporary, &path)?;
        }
        match (self.durability, &self.syncer) {
            (Durability::Strict, _) => sync_dir(&dir)?,
            (Durability::Group, Some(syncer)) => syncer.sync_body(file, dir),
            _ => {}
        }
        Ok(())
    }
}

/// A body's file, for appending.
fn open(path: &Path, is_new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .append(true)
        .create_new(is_new)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn store(dir: &Path, keep: bool) -> BodyStore {
        fs::create_dir_all(dir.join(BODIES)).unwrap();
        BodyStore::start(dir, Durability::Process, keep, None).unwrap()
    }

    async fn pass(store: &BodyStore, bytes: &[u8], chunk: usize) -> Result<Body, NotKept> {
        let mut sink = store.sink();
        for part in bytes.chunks(chunk) {
            poll_fn(|cx| sink.poll_ready(cx)).await;
            sink.push(part);
        }
        sink.finish().await
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir.join(BODIES)).unwrap().flatten() {
            if entry.path().is_dir() {
                found.extend(
                    fs::read_dir(entry.path())
                        .unwrap()
                        .flatten()
                        .map(|e| e.path()),
                );
            } else {
                found.push(entry.path());
            }
        }
        found
    }

    #[tokio::test]
    async fn a_small_body_is_inline_and_a_large_one_a_file_by_its_digest() {
        let temp = tempfile::tempdir().unwrap();
        let store = store(temp.path(), true);
        let bytes: Vec<u8> = (0..INLINE_LIMIT + 1).map(|i| (i % 251) as u8).collect();
        let small = pass(&store, &bytes[..INLINE_LIMIT], 1000).await.unwrap();
        assert_eq!(
            small.inline,
            Some(ByteString(bytes[..INLINE_LIMIT].to_vec()))
        );
        assert!(files(temp.path()).is_empty());
        let large = pass(&store, &bytes, 1000).await.unwrap();
        assert_eq!((large.inline, large.bytes), (None, bytes.len() as u64));
        let name = large.sha256.to_string();
        let path = temp.path().join(BODIES).join(&name[..2]).join(&name);
        assert_eq!(fs::read(path).unwrap(), bytes);
        assert_eq!(large.sha256, Hex(Sha256::digest(&bytes).into()));
    }

    #[tokio::test]
    async fn equal_bodies_are_kept_once_and_a_dropped_one_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let store = store(temp.path(), true);
        let bytes = vec![7; 1 << 20];
        pass(&store, &bytes, 1 << 16).await.unwrap();
        let mut dropped = store.sink();
        dropped.push(&bytes);
        poll_fn(|cx| dropped.poll_ready(cx)).await;
        drop(dropped);
        pass(&store, &bytes, 1 << 16).await.unwrap();
        assert_eq!(files(temp.path()).len(), 1);
    }

    #[tokio::test]
    async fn bodies_that_nobody_reads_on_take_no_room_from_the_others() {
        let temp = tempfile::tempdir().unwrap();
        let store = store(temp.path(), true);
        let part = vec![7; CHUNK_MOST / 4];
        let mut parked = Vec::new();
        for _ in 0..2 * QUEUE_BYTES / CHUNK_LEAST {
            let mut sink = store.sink();
            for _ in 0..4 {
                poll_fn(|cx| sink.poll_ready(cx)).await;
                sink.push(&part);
            }
            parked.push(sink);
        }
        let whole = pass(&store, &vec![8; 1 << 20], 1 << 16).await.unwrap();
        assert_eq!(whole.bytes, 1 << 20);
    }

    #[tokio::test]
    async fn bodies_that_wait_for_room_and_are_left_take_none_when_there_is_some() {
        let temp = tempfile::tempdir().unwrap();
        let store = store(temp.path(), true);
        let room = store.0.room.clone();
        let taken = room.acquire_many_owned(QUEUE_BYTES as u32).await.unwrap();
        let mut parked = Vec::new();
        for _ in 0..2 * QUEUE_BYTES / CHUNK_LEAST {
            let mut sink = store.sink();
            sink.push(&[7; CHUNK_MOST]);
            let ready = poll_fn(|cx| Poll::Ready(sink.poll_ready(cx).is_ready())).await;
            assert!(!ready);
            sink.idle();
            parked.push(sink);
        }
        drop(taken);
        assert_eq!(store.0.room.available_permits(), QUEUE_BYTES);
    }

    #[tokio::test]
    async fn a_body_that_waits_for_room_keeps_none_when_others_end_meanwhile() {
        let temp = tempfile::tempdir().unwrap();
        let store = store(temp.path(), true);
        let room = store.0.room.clone();
        let taken = room.acquire_many_owned(QUEUE_BYTES as u32).await.unwrap();
        let others: Vec<_> = (0..2 * QUEUE_BYTES / CHUNK_MOST)
            .map(|_| store.sink())
            .collect();
        let mut sink = store.sink();
        sink.push(&vec![7; CHUNK_MOST / 2]);
        let ready = poll_fn(|cx| Poll::Ready(sink.poll_ready(cx).is_ready())).await;
        assert!(!ready);
        // Its part of the queue is larger now than what it has gathered.
        drop(others);
        drop(taken);
        poll_fn(|cx| sink.poll_ready(cx)).await;
        assert!(
            sink.gathered.is_empty(),
            "it goes with the room that was given"
        );
    }

    /// Descriptors of this process that lead below `dir`.
    fn open_below(dir: &Path) -> usize {
        let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.filter(|target| target.starts_with(dir)).count()
    }

    #[tokio::test]
    async fn more_bodies_than_descriptors_are_kept_whole() {
        const PARTS: usize = 3;
        let temp = tempfile::tempdir().unwrap();
        let store = store(temp.path(), true);
        let bodies = most_open() as usize + 20;
        let part = |body: usize, part: usize| vec![(body * PARTS + part) as u8; CHUNK_LEAST];
        let mut sinks: Vec<_> = (0..bodies).map(|_| store.sink()).collect();
        for number in 0..PARTS {
            for (body, sink) in sinks.iter_mut().enumerate() {
                poll_fn(|cx| sink.poll_ready(cx)).await;
                sink.push(&part(body, number));
            }
        }
        for (body, sink) in sinks.into_iter().enumerate() {
            let kept = sink.finish().await.unwrap();
            let bytes: Vec<_> = (0..PARTS).flat_map(|number| part(body, number)).collect();
            assert_eq!(kept.sha256, Hex(Sha256::digest(&bytes).into()), "{body}");
            assert!(kept.kept, "{body}");
            assert!(
                open_below(temp.path()) <= most_open() as usize + 1,
                "{body}"
            );
        }
        assert_eq!(files(temp.path()).len(), bodies);
    }

    #[tokio::test]
    async fn without_keeping_only_the_digest_is_left() {
        let temp = tempfile::tempdir().unwrap();
        let store = store(temp.path(), false);
        for size in [10, 100_000] {
            let body = pass(&store, &vec![7; size], 4096).await.unwrap();
            assert_eq!(
                (body.kept, body.inline, body.bytes),
                (false, None, size as u64)
            );
        }
        assert!(files(temp.path()).is_empty());
    }

    #[tokio::test]
    async fn a_body_that_cannot_be_written_is_told_with_its_digest() {
        let temp = tempfile::tempdir().unwrap();
        let store = store(temp.path(), true);
        fs::remove_dir(temp.path().join(BODIES)).unwrap();
        let bytes = vec![7; 100_000];
        let lost = pass(&store, &bytes, 4096).await.unwrap_err();
        assert_eq!(lost.body.sha256, Hex(Sha256::digest(&bytes).into()));
        assert!(!lost.body.kept);
    }

    #[tokio::test]
    async fn a_slow_disk_holds_the_sender_back() {
        let temp = tempfile::tempdir().unwrap();
        let store = store(temp.path(), true);
        let taken = store
            .0
            .room
            .clone()
            .acquire_many_owned(QUEUE_BYTES as u32)
            .await
            .unwrap();
        let mut sink = store.sink();
        sink.push(&[7; CHUNK_MOST]);
        let ready = poll_fn(|cx| Poll::Ready(sink.poll_ready(cx).is_ready())).await;
        assert!(!ready);
        drop(taken);
        poll_fn(|cx| sink.poll_ready(cx)).await;
    }
}
