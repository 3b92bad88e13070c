//! Where answers are kept, in the order in which they are asked for.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tempfile::NamedTempFile;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{Answer, Content, FRESH, Proof};
use super::disk::Disk;
use super::fetch::Flights;
use super::guard::Guard;
use super::item::Item;
use super::memory::Memory;
use super::purge::{Epoch, Purge, Purges};
use super::shared::{Found, Shared};
use crate::clock::Clock;

/// How long a disk may take before a request goes on without it.
const DISK: Duration = Duration::from_secs(2);

/// How long it may take to keep an answer, beside the time for a large body.
const KEEPING: Duration = Duration::from_secs(5);

/// How long it may take to remove what a purge covers.
const PURGING: Duration = Duration::from_secs(30);

/// How fast a large body is read and written at least, bytes a second.
const SLOWEST: u64 = 4 << 20;

/// Jobs on the disk at once: what hangs holds so many threads, and no more.
const DISK_JOBS: usize = 64;

/// Uses that wait to be noted on the disk, at most: others are noted within the next hour.
const USES: usize = 10_000;

/// Where an answer came from, in the words of `X-Modtape-Cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Memory,
    Disk,
    /// The store that is shared with other machines.
    Store,
    /// What replicas share that changes.
    Redis,
}

impl Tier {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Store => "store",
            Self::Redis => "redis",
        }
    }
}

/// A file for a body that is coming.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) file: NamedTempFile,
    /// Whether the store can keep it.
    pub(super) is_in_store: bool,
}

impl Begun {
    /// One in the folder of temporary files: what cannot be kept is passed on all the same.
    pub(super) fn elsewhere() -> io::Result<Self> {
        Ok(Self {
            file: NamedTempFile::new()?,
            is_in_store: false,
        })
    }
}

/// Whether a tier is used at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct TierState {
    pub(super) name: &'static str,
    pub(super) is_used: bool,
    /// Without it, requests had better go to another replica.
    pub(super) is_needed: bool,
}

/// What a bounded tier holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stock {
    /// Of memory or of the disk.
    pub(super) bytes: u64,
    /// Answers.
    pub(super) entries: u64,
    /// Bytes that it may have.
    pub(super) most: u64,
    /// What has made room since the process began: answers of memory, files of the disk.
    pub(super) evictions: u64,
}

/// How a tier fares that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Faults {
    /// Whether it is used at the moment.
    pub(super) is_used: bool,
    /// What has failed since the process began.
    pub(super) failures: u64,
}

/// All tiers. What one cannot do is said once, and the build goes on.
#[derive(Debug)]
pub(crate) struct Tiers {
    memory: Memory,
    disk: Disk,
    /// The paths of answers that were used, which the disk is to note.
    // A std Mutex: held for operations on the list, never across an await.
    uses: Arc<Mutex<Vec<String>>>,
    reads: Guard,
    /// Apart, since a full disk can still be read.
    writes: Guard,
    /// What other machines have, too.
    shared: Option<Shared>,
    /// Held by the thread that notes uses, and by the one that makes room.
    noting: Arc<Semaphore>,
    making_room: Arc<Semaphore>,
    // A std Mutex: held for an operation on the list, never across an await.
    expected: Mutex<Vec<Weak<Flights>>>,
    /// What memory and the disk have dropped, for what is read meanwhile.
    purges: Purges,
    /// Bytes that the disk may have.
    most: u64,
    /// Bytes that were written since the disk was last looked through.
    written: AtomicU64,
    /// Files of the disk that made room.
    evictions: Arc<AtomicU64>,
}

impl Tiers {
    /// Memory, and a disk that may have so many bytes.
    pub(crate) fn new(clock: Clock, memory: Memory, disk: Disk, most: u64) -> Self {
        let guard = |what, limit| Guard::new(clock, what, limit, DISK_JOBS);
        Self {
            memory,
            disk,
            uses: Arc::default(),
            reads: guard("reading from the store", DISK),
            writes: guard("writing to the store", KEEPING),
            shared: None,
            noting: Arc::new(Semaphore::new(1)),
            making_room: Arc::new(Semaphore::new(1)),
            expected: Mutex::default(),
            purges: Purges::default(),
            most,
            // It is looked through with the first answer.
            written: AtomicU64::new(most),
            evictions: Arc::default(),
        }
    }

    /// The same, and what is shared with other machines.
    #[must_use]
    pub(crate) fn sharing(self, shared: Option<Shared>) -> Self {
        Self { shared, ..self }
    }

    /// The answer that the shared store has to an item, held against its digest; it is kept on the disk and in
    /// memory. `None` if there is none, its proof is not enough, or the store does not give it in time. Whether the item
    /// may be looked for there is for the caller to say.
    pub(super) async fn get_shared(
        &self,
        item: &Item,
        accepts: impl Fn(&Proof) -> bool,
    ) -> Option<Answer> {
        let (shared, path) = (self.shared.as_ref()?, item.path());
        let found = shared.get(path).await?;
        // Who put it there verifies less: it is kept nowhere, and ours takes its place.
        if !accepts(found.proof()) {
            shared.replaces(path);
            return None;
        }
        let head = match found {
            Found::Whole(answer) => {
                self.put(path, &answer).await;
                return Some(answer);
            }
            Found::Large(head) => head,
        };
        let begun = self.begin().await.ok()?;
        let (file, sha256) = shared.receive(path, &head, begun.file).await?;
        let (reader, bytes) = (Arc::new(file.reopen().ok()?), head.bytes);
        let answer = head.answer(Content::File(reader, bytes));
        if begun.is_in_store {
            self.put_file(path, &answer, file, sha256).await;
        }
        Some(answer)
    }

    /// Keeps an answer in the shared store, and returns once it is there: true, or false if the store does not take it,
    /// or not in time, or if it was purged since `epoch`. Whether it may be kept there is for the caller to say.
    pub(super) async fn put_shared(&self, item: &Item, answer: &Answer, epoch: Epoch) -> bool {
        match &self.shared {
            Some(shared) => shared.put(item.path(), answer, epoch).await,
            None => false,
        }
    }

    /// Now, as far as purges of the shared store go: what is fetched from here on was not there before.
    pub(super) fn epoch(&self) -> Epoch {
        self.shared
            .as_ref()
            .map_or_else(Epoch::default, Shared::epoch)
    }

    /// Waits for what has to be undone in the shared store.
    pub(super) async fn close_shared(&self) {
        if let Some(shared) = &self.shared {
            shared.close().await;
        }
    }

    /// Whether there is a shared store.
    pub(super) fn has_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// A place among what waits to be kept in the shared store; `None` if there is no store, or too much waits.
    pub(super) fn queue_shared(&self, answer: &Answer) -> Option<OwnedSemaphorePermit> {
        self.shared.as_ref()?.queue(answer)
    }

    /// The answer to a path, of whatever age, and where it was.
    pub(super) async fn get(&self, path: &str) -> Option<(Answer, Tier)> {
        let now = Clock::wall_now();
        if let Some((answer, is_used_anew)) = self.memory.get(path, now) {
            // Another process may have a better one on the disk than what was good for a minute.
            let age = now.duration_since(answer.at);
            if answer.proof != Proof::None || age.is_ok_and(|age| age <= FRESH) {
                if is_used_anew {
                    self.used(path);
                }
                return Some((answer, Tier::Memory));
            }
        }
        let epoch = self.purges.epoch();
        let answer = self.get_of_disk(path).await?;
        if let Content::Bytes(_) = &answer.content {
            self.put_of_disk(path, &answer, epoch);
        }
        Some((answer, Tier::Disk))
    }

    /// Keeps in memory what was read from the disk after `epoch`, unless it was purged since.
    fn put_of_disk(&self, path: &str, answer: &Answer, epoch: Epoch) {
        self.memory.put(path, answer);
        // A purge from here on finds it in memory.
        if self.purges.cover_since(epoch, path) {
            self.memory.forget(path);
        }
    }

    /// The same, past memory.
    pub(super) async fn get_of_disk(&self, path: &str) -> Option<Answer> {
        // A thread of its own takes longer than what the kernel has in memory.
        if !self.reads.is_left_out()
            && let Ok(found) = self.disk.get_cached(path)
        {
            let found = found?;
            if found.is_used_anew {
                self.used(path);
            }
            return Some(found.answer);
        }
        let name = path.to_owned();
        let unverified = self.read(move |disk| Ok(Some(disk.unverified(&name))));
        let limit = DISK + Duration::from_secs(unverified.await? / SLOWEST);
        let name = path.to_owned();
        self.read_within(limit, move |disk| disk.get(&name)).await
    }

    /// Notes on the disk that an answer was used, beside what clients wait for.
    fn used(&self, path: &str) {
        let mut waiting = self.waiting();
        let is_first = waiting.is_empty();
        if waiting.len() < USES {
            waiting.push(path.to_owned());
        }
        drop(waiting);
        // One thread at a time, should the disk hang.
        if is_first && let Ok(alone) = Arc::clone(&self.noting).try_acquire_owned() {
            let (disk, uses) = (self.disk.clone(), Arc::clone(&self.uses));
            tokio::task::spawn_blocking(move || {
                let _alone = alone;
                let all =
                    || std::mem::take(&mut *uses.lock().unwrap_or_else(PoisonError::into_inner));
                for path in all() {
                    disk.used(&path);
                }
            });
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<String>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is good for a minute.
    pub(super) fn put_in_memory(&self, path: &str, answer: &Answer) {
        self.memory.put(path, answer);
    }

    /// A text in gzip, if it is kept under that name, and made of this answer.
    pub(super) fn compressed(&self, name: &str, of: &Answer) -> Option<Bytes> {
        let (kept, _) = self.memory.get(name, of.at)?;
        match kept.content {
            Content::Bytes(text) if kept.at == of.at && kept.proof == of.proof => Some(text),
            _ => None,
        }
    }

    /// Keeps a text.
    pub(super) async fn put(&self, path: &str, answer: &Answer) {
        self.memory.put(path, answer);
        let Content::Bytes(body) = &answer.content else {
            return;
        };
        let (path, answer, body) = (path.to_owned(), answer.clone(), body.clone());
        let bytes = body.len() as u64;
        self.write(move |disk| disk.put(&path, &answer, &body))
            .await;
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
        let (path, answer) = (path.to_owned(), answer.clone());
        let (disk, limit) = (
            self.disk.clone(),
            KEEPING + Duration::from_secs(bytes / SLOWEST),
        );
        let put = move || disk.put_file(&path, &answer, body, &sha256);
        self.writes.run_blocking_within(limit, put).await;
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
        self.make_room();
    }

    /// Looks through the disk, unless somebody does.
    pub(crate) fn make_room(&self) {
        let Ok(alone) = Arc::clone(&self.making_room).try_acquire_owned() else {
            return;
        };
        let (disk, most) = (self.disk.clone(), self.most);
        let evictions = Arc::clone(&self.evictions);
        tokio::task::spawn_blocking(move || {
            let _alone = alone;
            match disk.make_room(most) {
                Ok((_, 0)) => {}
                Ok((bytes, removed)) => {
                    // A disk that may have nothing keeps nothing: what came is not crowded out.
                    if most > 0 {
                        evictions.fetch_add(removed, Ordering::Relaxed);
                    }
                    tracing::info!(target: "modtape::serve", bytes, removed, "made room in the store");
                }
                Err(error) => {
                    tracing::warn!(target: "modtape::serve", %error, "cannot make room in the store");
                }
            }
        });
    }

    /// Drops one answer from memory and disk.
    pub(super) async fn forget(&self, path: &str) {
        self.memory.forget(path);
        let path = path.to_owned();
        self.write(move |disk| disk.forget(&path)).await;
    }

    /// Requests that are on their way and end here; a server that another one follows has some.
    pub(super) fn expect(&self, flights: &Arc<Flights>) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.retain(|flights| flights.strong_count() > 0);
        expected.push(Arc::downgrade(flights));
    }

    /// Drops what a purge covers from memory and disk, and from what is on its way; says whether that is done.
    pub(super) async fn purge(&self, purge: &Purge) -> bool {
        let expected = self
            .expected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for flights in expected.iter().filter_map(Weak::upgrade) {
            flights.purge(purge);
        }
        self.purge_memory(purge).await;
        // Whether or not the disk takes files at the moment: a full one removes them.
        let (disk, own) = (self.disk.clone(), purge.clone());
        let purging = tokio::task::spawn_blocking(move || disk.purge(&own));
        let purged = tokio::time::timeout(PURGING, purging).await;
        // Others may have read it from the disk meanwhile, and keep it in memory.
        self.purges.add(purge);
        self.purge_memory(purge).await;
        let why = match purged {
            Ok(Ok(Ok(_))) => return true,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(panicked)) => panicked.to_string(),
            Err(_) => format!("it takes longer than {} s", PURGING.as_secs()),
        };
        tracing::warn!(target: "modtape::serve", "{purge} is not purged yet: {why}");
        false
    }

    async fn purge_memory(&self, purge: &Purge) {
        let (memory, own) = (self.memory.clone(), purge.clone());
        let _ = tokio::task::spawn_blocking(move || memory.purge(&own)).await;
    }

    /// Drops what a purge covers from what is on its way to the shared store, and from the store if it was told a
    /// moment ago.
    pub(super) async fn purge_shared(
        &self,
        purge: &Purge,
        database: Option<&str>,
        is_recent: bool,
    ) {
        match &self.shared {
            Some(shared) if is_recent => shared.purge(purge, database).await,
            Some(shared) => shared.note(purge),
            None => {}
        }
    }

    /// How long the list of purges in the store is; `None` if it cannot be read.
    pub(super) async fn told(&self) -> Option<u64> {
        self.read(|disk| disk.told().map(Some)).await
    }

    /// The purges that were told on the disk behind the first `heard` bytes, and how many bytes are heard then.
    pub(super) async fn purges(&self, heard: u64) -> Option<(Vec<Purge>, u64)> {
        self.read(move |disk| disk.purges(heard).map(Some)).await
    }

    /// The last entry of the stream of purges that was heard here.
    pub(super) async fn heard(&self) -> Option<String> {
        self.read(Disk::heard).await
    }

    /// Notes the last entry that was heard.
    pub(super) async fn note_heard(&self, entry: &str) {
        let entry = entry.to_owned();
        self.write(move |disk| disk.note_heard(&entry)).await;
    }

    /// Keeps what another replica has fetched.
    pub(super) async fn put_of_replica(&self, path: &str, answer: &Answer) {
        match (answer.status, &answer.proof) {
            (StatusCode::OK, Proof::Form | Proof::Database(_)) => self.put(path, answer).await,
            _ => self.put_in_memory(path, answer),
        }
    }

    /// The versions of a module that can be served whole.
    pub(super) async fn whole_versions(&self, folder: &str) -> Vec<String> {
        let folder = folder.to_owned();
        let versions = self.read(move |disk| disk.whole_versions(&folder).map(Some));
        versions.await.unwrap_or_default()
    }

    /// A file for a body that is coming.
    pub(super) async fn begin(&self) -> io::Result<Begun> {
        if let Some(file) = self.write(Disk::begin).await {
            return Ok(Begun {
                file,
                is_in_store: true,
            });
        }
        let elsewhere = tokio::task::spawn_blocking(Begun::elsewhere);
        elsewhere.await.map_err(io::Error::other)?
    }

    /// The widest kept version of a tile, if it is as wide as `least`.
    pub(super) async fn wider_tile(&self, folder: &str, least: u16) -> Option<String> {
        let folder = folder.to_owned();
        self.read(move |disk| disk.wider_tile(&folder, least)).await
    }

    /// What memory holds.
    pub(super) fn memory_stock(&self) -> Stock {
        self.memory.stock()
    }

    /// What the disk holds; `None` until it was looked through for the first time.
    pub(super) fn disk_stock(&self) -> Option<Stock> {
        let (bytes, entries) = self.disk.held()?;
        Some(Stock {
            bytes,
            entries,
            most: self.most,
            evictions: self.evictions.load(Ordering::Relaxed),
        })
    }

    /// The tiers that can fail. Unlike [`states`](Self::states) this tries nothing.
    pub(super) fn faults(&self) -> Vec<(Tier, Faults)> {
        let disk = Faults {
            is_used: !self.reads.is_left_out() && !self.writes.is_left_out(),
            failures: self.reads.failures() + self.writes.failures(),
        };
        let shared = self.shared.as_ref().map(|shared| Faults {
            is_used: shared.is_read() && shared.is_written(),
            failures: shared.failures(),
        });
        let shared = shared.map(|faults| (Tier::Store, faults));
        [(Tier::Disk, disk)].into_iter().chain(shared).collect()
    }

    /// Each tier that can fail, and whether it is used at the moment.
    pub(super) async fn states(&self) -> Vec<TierState> {
        // A folder that was not written to for long is tried.
        let is_written = self.write(Disk::begin).await.is_some();
        let state = |name, is_used, is_needed| TierState {
            name,
            is_used,
            is_needed,
        };
        let mut states = vec![
            state("memory", true, true),
            state("disk, reading", !self.reads.is_left_out(), true),
            state("disk, writing", is_written, true),
        ];
        if let Some(shared) = &self.shared {
            states.push(state("store, reading", shared.is_read(), false));
            states.push(state("store, writing", shared.is_written(), false));
        }
        states
    }

    /// Reads from the disk. What is damaged is none, and is said each time.
    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Disk) -> io::Result<Option<T>> + Send + 'static,
    ) -> Option<T> {
        self.read_within(DISK, job).await
    }

    async fn read_within<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce(&Disk) -> io::Result<Option<T>> + Send + 'static,
    ) -> Option<T> {
        let disk = self.disk.clone();
        let job = move || match job(&disk) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(target: "modtape::serve", "the store: {error}");
                Ok(Err(()))
            }
            done => done.map(Ok),
        };
        let read = self.reads.run_blocking_within(limit, job).await?;
        read.unwrap_or_else(|()| {
            self.reads.blame();
            None
        })
    }

    /// Writes to the disk.
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Disk) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let disk = self.disk.clone();
        self.writes.run_blocking(move || job(&disk)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_read_from_the_disk_while_it_is_purged_does_not_stay_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it opens");
        let tiers = Tiers::new(Clock::start(), Memory::new(1 << 20), disk, 1 << 30);
        let paths = ["a.example/x/@v/v1.0.0.mod", "a.example/y/@v/v1.0.0.mod"];
        let answer = Answer {
            status: StatusCode::OK,
            content: Content::Bytes(Bytes::from_static(b"module a.example/x\n")),
            at: Clock::wall_now(),
            proof: Proof::Form,
        };
        let mut read = Vec::new();
        for path in paths {
            tiers.put(path, &answer).await;
            let epoch = tiers.purges.epoch();
            let found = tiers.get_of_disk(path).await.expect("it is there");
            read.push((path, found, epoch));
        }
        let purge = "a.example/x".parse().expect("it is one");
        assert!(tiers.purge(&purge).await);
        for (path, answer, epoch) in read {
            tiers.put_of_disk(path, &answer, epoch);
        }
        let is_there = paths.map(|path| tiers.memory.get(path, Clock::wall_now()).is_some());
        assert_eq!(is_there, [false, true]);
        // What is fetched after it stays.
        tiers.put(paths[0], &answer).await;
        assert!(tiers.get(paths[0]).await.is_some());
    }
}
