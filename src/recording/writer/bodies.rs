//! Bodies: small ones stay in memory for the journal, large ones go to a file as they pass.
//!
//! A thread named `bodies` writes the files, so that a large body never delays the last byte of
//! another exchange. What waits for it is bounded; a full queue holds the sender back.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// What a body gathers before it goes to the thread, bytes. Waking the thread for each frame would cost
/// more than writing it; and the buffers that hyper reads into come back to it while they are in the cache.
const CHUNK: usize = 64 * 1024;

/// What is added at once, mostly: a TLS record, an HTTP/2 frame.
const FRAME: usize = 16 * 1024;

/// How many body files are open at once at most. A file is opened anew where its turn was taken, so
/// that any number of bodies may be on their way.
pub(crate) fn most_open() -> u64 {
    let limit = getrlimit(Resource::Nofile).current;
    // Opening anew costs little, but a descriptor costs nothing where there are plenty.
    if limit.is_none_or(|limit| limit >= 1024) {
        64
    } else {
        8
    }
}

/// Takes bodies; cheap to clone. The thread ends with the last clone.
#[derive(Clone)]
pub struct BodyStore {
    jobs: mpsc::UnboundedSender<Job>,
    room: Arc<Semaphore>,
    next: Arc<AtomicU64>,
    keep: bool,
}

impl BodyStore {
    pub(super) fn start(
        dir: &Path,
        durability: Durability,
        keep: bool,
        syncer: Option<Syncer>,
    ) -> io::Result<Self> {
        let jobs = start(dir.join(BODIES), durability, keep, syncer)?;
        Ok(Self {
            jobs,
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            next: Arc::default(),
            keep,
        })
    }

    /// A place for one body.
    pub fn sink(&self) -> BodySink {
        BodySink {
            room: PollSemaphore::new(Arc::clone(&self.room)),
            store: self.clone(),
            gathered: Vec::new(),
            file: None,
            is_queued: false,
        }
    }
}

/// One body on its way; dropping it before [`finish`](Self::finish) leaves nothing behind.
pub struct BodySink {
    store: BodyStore,
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
        if self.gathered.len() >= CHUNK {
            self.is_queued = true;
            let permit = ready!(self.room.poll_acquire_many(cx, room_for(&self.gathered)));
            self.is_queued = false;
            self.send(permit);
            self.gathered.reserve(CHUNK + FRAME);
        }
        Poll::Ready(())
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
        if self.file.is_some() || self.gathered.len() > INLINE_LIMIT {
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
pub(super) enum Job {
    Chunk(u64, Vec<u8>, OwnedSemaphorePermit),
    Finish(u64, oneshot::Sender<Stored>),
    Discard(u64),
}

/// A body that has passed whole.
pub(super) struct Stored {
    pub(super) sha256: Digest,
    pub(super) bytes: u64,
    pub(super) kept: io::Result<bool>,
}

/// Starts the thread that writes to `dir`; it ends with the last sender of jobs.
pub(super) fn start(
    dir: PathBuf,
    durability: Durability,
    keep: bool,
    syncer: Option<Syncer>,
) -> io::Result<mpsc::UnboundedSender<Job>> {
    let (jobs, queue) = mpsc::unbounded_channel();
    let writer = Writer {
        dir,
        durability,
        keep,
        syncer,
        open: HashMap::new(),
        turn: 0,
        most_open: most_open(),
    };
    std::thread::Builder::new()
        .name("bodies".into())
        .spawn(move || writer.run(queue))?;
    Ok(jobs)
}

/// What the thread owns.
struct Writer {
    dir: PathBuf,
    durability: Durability,
    keep: bool,
    syncer: Option<Syncer>,
    open: HashMap<u64, Open>,
    turn: u64,
    most_open: u64,
}

struct Open {
    file: io::Result<Option<Temporary>>,
    hasher: Sha256,
    bytes: u64,
}

/// A file that has no name yet.
struct Temporary {
    path: PathBuf,
    /// `None` while others use the descriptor.
    file: Option<File>,
    /// The chunk that it was written to with, of all chunks.
    turn: u64,
}

impl Temporary {
    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open(&self.path, OpenOptions::new().append(true))?,
        };
        Ok(self.file.insert(file))
    }
}

impl Writer {
    fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        while let Some(job) = queue.blocking_recv() {
            match job {
                Job::Chunk(key, chunk, permit) => {
                    self.chunk(key, &chunk);
                    drop(permit);
                }
                Job::Finish(key, reply) => {
                    if let Some(open) = self.open.remove(&key) {
                        // Fails where the exchange was given up meanwhile.
                        let _ = reply.send(self.finish(key, open));
                    }
                }
                Job::Discard(key) => {
                    if let Some(Open {
                        file: Ok(Some(Temporary { path, .. })),
                        ..
                    }) = self.open.remove(&key)
                    {
                        let _ = fs::remove_file(path);
                    }
                }
            }
        }
    }

    fn chunk(&mut self, key: u64, chunk: &[u8]) {
        self.turn += 1;
        self.make_room(key);
        let (dir, keep, turn) = (&self.dir, self.keep, self.turn);
        let open = self.open.entry(key).or_insert_with(|| Open {
            file: if keep {
                create(dir, key).map(Some)
            } else {
                Ok(None)
            },
            hasher: Sha256::new(),
            bytes: 0,
        });
        open.hasher.update(chunk);
        open.bytes += chunk.len() as u64;
        if let Ok(Some(temporary)) = &mut open.file {
            temporary.turn = turn;
            if let Err(error) = temporary.file().and_then(|file| file.write_all(chunk)) {
                // The room that the half of it takes is better used by others.
                let _ = fs::remove_file(&temporary.path);
                open.file = Err(error);
            }
        }
    }

    /// Closes the file whose turn is longest ago, if `key` needs a descriptor and all are taken.
    fn make_room(&mut self, key: u64) {
        let is_open = |open: &Open| matches!(&open.file, Ok(Some(file)) if file.file.is_some());
        if self.open.get(&key).is_some_and(is_open) {
            return;
        }
        let taken = self.open.values_mut().filter(|open| is_open(open));
        let mut taken: Vec<_> = taken
            .filter_map(|open| open.file.as_mut().ok()?.as_mut())
            .collect();
        if taken.len() as u64 >= self.most_open
            && let Some(oldest) = taken.iter_mut().min_by_key(|file| file.turn)
        {
            oldest.file = None;
        }
    }

    fn finish(&mut self, key: u64, open: Open) -> Stored {
        let sha256 = Hex(open.hasher.finalize().into());
        let kept = open.file.and_then(|file| match file {
            None => Ok(false),
            Some(mut temporary) => {
                self.make_room(key);
                let published = temporary.file().map(|_| ());
                let Temporary { path, file, .. } = temporary;
                let published = published.and_then(|()| match file {
                    Some(file) => self.publish(file, &path, sha256).map(|()| true),
                    None => Ok(false),
                });
                if published.is_err() {
                    // It may stand under its name already; under its own it is in the way.
                    let _ = fs::remove_file(&path);
                }
                published
            }
        });
        Stored {
            sha256,
            bytes: open.bytes,
            kept,
        }
    }

    /// Gives the file its name; one that stands there already holds the same bytes.
    fn publish(&self, file: File, temporary: &Path, sha256: Digest) -> io::Result<()> {
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
        let same = fs::symlink_metadata(&path).is_ok_and(|there| {
            there.is_file() && there.len() == file.metadata().map_or(0, |m| m.len())
        });
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

fn create(dir: &Path, key: u64) -> io::Result<Temporary> {
    let path = dir.join(format!(".{}-{key}", std::process::id()));
    let file = open(&path, OpenOptions::new().write(true).create_new(true))?;
    Ok(Temporary {
        path,
        file: Some(file),
        turn: 0,
    })
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.mode(0o600).open(path)
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
        let part = vec![7; CHUNK / 4];
        let mut parked = Vec::new();
        for _ in 0..2 * QUEUE_BYTES / CHUNK {
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
        let room = store.room.clone();
        let taken = room.acquire_many_owned(QUEUE_BYTES as u32).await.unwrap();
        let mut parked = Vec::new();
        for _ in 0..2 * QUEUE_BYTES / CHUNK {
            let mut sink = store.sink();
            sink.push(&[7; CHUNK]);
            let ready = poll_fn(|cx| Poll::Ready(sink.poll_ready(cx).is_ready())).await;
            assert!(!ready);
            sink.idle();
            parked.push(sink);
        }
        drop(taken);
        assert_eq!(store.room.available_permits(), QUEUE_BYTES);
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
        let part = |body: usize, part: usize| vec![(body * PARTS + part) as u8; CHUNK];
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
            assert!(open_below(temp.path()) <= most_open() as usize, "{body}");
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
            .room
            .clone()
            .acquire_many_owned(QUEUE_BYTES as u32)
            .await
            .unwrap();
        let mut sink = store.sink();
        sink.push(&[7; CHUNK]);
        let ready = poll_fn(|cx| Poll::Ready(sink.poll_ready(cx).is_ready())).await;
        assert!(!ready);
        drop(taken);
        poll_fn(|cx| sink.poll_ready(cx)).await;
    }
}
