//! The journal's one owner: numbers lines, appends them, and says when they are safe.
//!
//! It takes all that is queued and writes it at once, so a busy recorder makes few writes. It starts
//! as a task on the traffic's runtime, where an exchange costs a fifth less CPU than with a thread
//! between, and moves to a thread with the first write that keeps the traffic waiting.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::bodies::BodyStore;
use super::durability::{Durability, Health, Syncer};
use super::folder::Folder;
use super::recorder::{Line, Recorder};
use crate::clock::{Clock, Timestamp};
use crate::files::sync_dir;
use crate::recording::format::{BODIES, Event, Gap, RESERVE};
use crate::recording::line::{to_text, write_line};

/// Lines written at once at most, so that the first of them is not kept waiting for the last.
const BATCH: usize = 256;

/// A write that takes this long waited for the disk: the page cache takes one in microseconds, and
/// another program has the processor for some milliseconds.
const SLOW: Duration = Duration::from_millis(20);

/// Space kept back on the disk, bytes: what is missing can still be told when it is full.
const RESERVE_BYTES: usize = 96 * 1024;

/// What stays of it for the journal's end and the last manifest; the rest goes with the first line
/// that does not fit, so that a recorder that is killed later has told as well.
const RESERVE_FOR_CLOSE: u64 = 64 * 1024;

/// Appends to one `journal.ndjson`.
pub struct Journal {
    file: Arc<File>,
    lines: mpsc::UnboundedReceiver<Line>,
    clock: Clock,
    health: Health,
    syncer: Option<Syncer>,
    durability: Durability,
    reserve: Option<Reserve>,
    seq: u64,
    length: u64,
    lost: Option<Lost>,
    told_unsynced: bool,
    buffer: Vec<u8>,
    /// A write that takes as long moves the journal to a thread of its own.
    slow: Duration,
}

/// Lines that could not be written since the last one that could.
struct Lost {
    count: u64,
    since: Timestamp,
    why: String,
}

impl Journal {
    /// A recorder that feeds `folder`, and the journal's owner, which the caller must [`run`].
    ///
    /// [`run`]: Self::run
    pub fn start(
        folder: Folder,
        clock: Clock,
        durability: Durability,
        keep_bodies: bool,
    ) -> io::Result<(Recorder, Self)> {
        let (sender, lines) = mpsc::unbounded_channel();
        let health = Health::default();
        let file = Arc::new(folder.journal);
        let syncer = match durability {
            Durability::Process => None,
            Durability::Group | Durability::Strict => Some(Syncer::start(
                Arc::clone(&file),
                durability,
                health.clone(),
            )?),
        };
        let bodies = BodyStore::start(&folder.dir, durability, keep_bodies, syncer.clone())?;
        if durability != Durability::Process {
            // Or a power cut takes the names away from under what is synced.
            sync_dir(&folder.dir.join(BODIES))?;
            let made = folder
                .dir
                .ancestors()
                .take_while(|dir| *dir != folder.above);
            for dir in made.filter(|dir| !dir.as_os_str().is_empty()) {
                sync_dir(dir)?;
            }
            sync_dir(&folder.above)?;
        }
        let journal = Self {
            file,
            lines,
            clock,
            health: health.clone(),
            syncer,
            durability,
            reserve: Reserve::keep_back(folder.dir.join(RESERVE)).ok(),
            seq: folder.written.seq,
            length: folder.written.bytes,
            lost: None,
            told_unsynced: false,
            buffer: Vec::new(),
            slow: SLOW,
        };
        Ok((Recorder::new(sender, bodies, health), journal))
    }

    /// Writes until the last [`Recorder`] is gone.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.lines.recv_many(&mut batch, BATCH).await > 0 {
            let began = self.clock.now();
            self.write(&mut batch);
            let took = self.clock.now().since(began);
            if took >= self.slow {
                tracing::warn!(
                    "a write to the journal took {took:?}: a thread writes it from now on"
                );
                return self.move_to_thread().await;
            }
        }
        if let Some(synced) = self.end() {
            // An error says that the thread is gone, which it told already.
            let _ = synced.await;
        }
    }

    /// Continues on a thread of its own; here, if there is none to be had.
    async fn move_to_thread(mut self) {
        self.slow = Duration::MAX;
        let health = self.health.clone();
        let runtime = Handle::current();
        let (journal, given) = oneshot::channel::<Self>();
        let (ended, end) = oneshot::channel();
        let thread = std::thread::Builder::new().name("journal".into());
        let started = thread.spawn(move || {
            if let Ok(journal) = given.blocking_recv() {
                runtime.block_on(journal.run());
            }
            let _ = ended.send(());
        });
        if started.is_err() {
            return Box::pin(self.run()).await;
        }
        let _ = journal.send(self);
        if end.await.is_err() {
            health.fail("the thread that writes the journal panicked");
        }
    }

    /// Writes a batch, and tells those who wait for its lines once they are safe.
    fn write(&mut self, batch: &mut Vec<Line>) {
        self.append(batch);
        let waiting = batch.drain(..).filter_map(|line| line.written);
        match &self.syncer {
            Some(syncer) if self.durability == Durability::Strict => {
                syncer.sync_journal(waiting.collect());
            }
            syncer => {
                for written in waiting {
                    // Fails where the exchange was given up meanwhile.
                    let _ = written.send(());
                }
                if let Some(syncer) = syncer {
                    syncer.sync_journal(Vec::new());
                }
            }
        }
    }

    /// Writes what is still to be told of losses. What is returned is sent to once all is durable, if
    /// that was asked for.
    fn end(mut self) -> Option<oneshot::Receiver<()>> {
        // What comes next is the manifest.
        drop(self.reserve.take());
        if self.lost.is_some() {
            self.append(&[]);
        }
        let syncer = self.syncer.as_ref()?;
        let (synced, done) = oneshot::channel();
        syncer.sync_journal(vec![synced]);
        Some(done)
    }

    /// Writes the lines that the disk takes, in order, and counts the others as lost.
    fn append(&mut self, batch: &[Line]) {
        let Err(error) = self.try_to_append(batch) else {
            return;
        };
        match batch {
            [] => {}
            [line] => self.lose(line, &error),
            // One line may be too long for a disk that has room for the others.
            _ => {
                let (first, second) = batch.split_at(batch.len() / 2);
                self.append(first);
                self.append(second);
            }
        }
    }

    /// Writes what is to be told of losses and the batch, or nothing of it.
    fn try_to_append(&mut self, batch: &[Line]) -> io::Result<()> {
        let mut seq = self.seq;
        let unsynced = self.health.unsynced().filter(|_| !self.told_unsynced);
        let gaps = [
            self.lost
                .as_ref()
                .map(|lost| Gap::of_lines(lost.count, lost.since, lost.why.clone())),
            unsynced.map(|why| Gap {
                what: String::from("what a power cut would take"),
                why: why.to_owned(),
            }),
        ];
        let told_unsynced = self.told_unsynced || unsynced.is_some();
        self.buffer.clear();
        for gap in gaps.into_iter().flatten() {
            seq += 1;
            let text = to_text(self.clock.now(), &Event::Gap(gap));
            write_line(&mut self.buffer, seq, &text);
        }
        for line in batch {
            seq += 1;
            write_line(&mut self.buffer, seq, &line.text);
        }
        self.write_buffer()?;
        self.lost = None;
        self.told_unsynced = told_unsynced;
        self.seq = seq;
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let written = (&*self.file).write_all(&self.buffer);
        if written.is_err() && self.file.set_len(self.length).is_err() {
            // What was written of a line that did not fit stays before the next one, which a reader
            // finds all the same; it must not be taken for room that is free.
            self.length = self.file.metadata().map_or(self.length, |file| file.len());
        }
        written
    }

    /// Counts a line as lost and tells of it at once, if the reserve makes room for that.
    fn lose(&mut self, line: &Line, error: &io::Error) {
        let why = format!("cannot write the journal: {error}");
        self.health.fail(&why);
        if line.is_last {
            drop(self.reserve.take());
            if self.try_to_append(std::slice::from_ref(line)).is_err() {
                self.add_lost(why);
            }
            return;
        }
        self.add_lost(why);
        if self.reserve.as_mut().is_some_and(Reserve::shrink) {
            // If the disk takes not even this, it is told before the next line that fits.
            let _ = self.try_to_append(&[]);
        }
    }

    fn add_lost(&mut self, why: String) {
        // The number of a lost line is skipped, so a reader sees the gap even without our word.
        self.seq += 1;
        let now = self.clock.now();
        let lost = self.lost.get_or_insert(Lost {
            count: 0,
            since: now,
            why,
        });
        lost.count += 1;
    }
}

/// Space on the disk that is kept back; freed when dropped.
struct Reserve {
    file: File,
    path: PathBuf,
    is_whole: bool,
}

impl Reserve {
    fn keep_back(path: PathBuf) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let mut reserve = Self {
            file,
            path,
            is_whole: true,
        };
        reserve.file.write_all(&[0; RESERVE_BYTES])?;
        Ok(reserve)
    }

    /// Gives back all but what the end needs; false if that was done before.
    fn shrink(&mut self) -> bool {
        std::mem::take(&mut self.is_whole) && self.file.set_len(RESERVE_FOR_CLOSE).is_ok()
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::folder::create;
    use super::*;
    use crate::recording::format::{JOURNAL, Record};

    fn gap(what: &str) -> Event {
        Event::Gap(Gap {
            what: what.into(),
            why: String::new(),
        })
    }

    fn line(what: &str) -> Line {
        Line {
            text: to_text(Timestamp::default(), &gap(what)),
            written: None,
            is_last: false,
        }
    }

    fn read(dir: &std::path::Path) -> Vec<Record> {
        let journal = std::fs::read(dir.join(JOURNAL)).unwrap();
        let lines = journal.split_inclusive(|&c| c == b'\n');
        lines
            .map(|line| Record::parse_line(line.strip_suffix(b"\n").unwrap()).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn lines_are_numbered_without_a_gap_and_written_before_the_answer() {
        for durability in [Durability::Process, Durability::Group, Durability::Strict] {
            let temp = tempfile::tempdir().unwrap();
            let dir = temp.path().join("one");
            let folder = create(&dir, false).unwrap();
            let (recorder, journal) =
                Journal::start(folder, Clock::start(), durability, true).unwrap();
            let mut owner = tokio::task::JoinSet::new();
            owner.spawn(journal.run());
            recorder.note(Timestamp::default(), &gap("a"));
            recorder.write(Timestamp::default(), &gap("b")).await;
            let seqs: Vec<_> = read(&dir).iter().map(|record| record.seq).collect();
            assert_eq!(seqs, [1, 2]);
            recorder.note(Timestamp::default(), &gap("c"));
            drop(recorder);
            owner.join_all().await;
            assert_eq!(read(&dir).len(), 3);
            assert!(!dir.join(RESERVE).exists());
        }
    }

    #[tokio::test]
    async fn a_disk_that_blocks_a_write_keeps_no_traffic_waiting() {
        let temp = tempfile::tempdir().unwrap();
        let (recorder, mut journal) = started(&temp.path().join("one"));
        let (mut disk, pipe) = std::io::pipe().unwrap();
        journal.file = Arc::new(File::from(std::os::fd::OwnedFd::from(pipe)));
        // The first write says that the disk is slow.
        journal.slow = Duration::ZERO;
        let mut owner = tokio::task::JoinSet::new();
        owner.spawn(journal.run());
        recorder.write(Timestamp::default(), &gap("a")).await;
        // More than a pipe holds: the write blocks until somebody reads.
        let long = gap(&"b".repeat(1 << 20));
        let (turn, passed) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let passed = passed.recv_timeout(Duration::from_secs(10));
            let mut all = Vec::new();
            disk.read_to_end(&mut all).unwrap();
            passed.map(|()| all)
        });
        tokio::join!(recorder.write(Timestamp::default(), &long), async {
            // The journal's task has its turn, and the traffic has its own after it.
            tokio::task::yield_now().await;
            turn.send(()).unwrap();
        });
        drop(recorder);
        owner.join_all().await;
        let all = reader.join().unwrap().expect("the traffic went on");
        assert_eq!(all.iter().filter(|&&byte| byte == b'\n').count(), 2);
    }

    fn started(dir: &std::path::Path) -> (Recorder, Journal) {
        let folder = create(dir, false).unwrap();
        Journal::start(folder, Clock::start(), Durability::Process, true).unwrap()
    }

    /// From now on every write fails; returns the file of before.
    fn fill_disk(journal: &mut Journal) -> Arc<File> {
        // /dev/full answers every write with ENOSPC.
        let full = File::options().write(true).open("/dev/full").unwrap();
        std::mem::replace(&mut journal.file, Arc::new(full))
    }

    #[tokio::test]
    async fn a_full_disk_leaves_a_gap_and_does_not_stop_anybody() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("one");
        let (recorder, mut journal) = started(&dir);
        let disk = fill_disk(&mut journal);
        journal.append(&[line("a"), line("b")]);
        journal.file = disk;
        journal.append(&[line("c")]);
        assert!(recorder.failure().unwrap().contains("No space left"));
        let records = read(&dir);
        let seqs: Vec<_> = records.iter().map(|record| record.seq).collect();
        assert_eq!(seqs, [3, 4]);
        let Event::Gap(gap) = &records[0].event else {
            panic!("{records:?}")
        };
        assert_eq!(gap.lost_lines(), Some(2), "{gap:?}");
        assert!(gap.what.starts_with("2 journal lines since "), "{gap:?}");
    }

    #[tokio::test]
    async fn the_end_is_written_where_what_came_before_it_found_no_room() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("one");
        let (recorder, mut journal) = started(&dir);
        let disk = fill_disk(&mut journal);
        journal.append(&[line("a")]);
        let left = std::fs::metadata(dir.join(RESERVE)).unwrap().len();
        assert_eq!(left, RESERVE_FOR_CLOSE, "room was made for the gap only");
        journal.append(&[line("b")]);
        journal.file = disk;
        let last = Line {
            is_last: true,
            ..line("close")
        };
        journal.append(&[last]);
        drop(recorder);
        let records = read(&dir);
        let Event::Gap(gap) = &records[0].event else {
            panic!("{records:?}")
        };
        assert_eq!((gap.lost_lines(), records[0].seq), (Some(2), 3));
        assert_eq!(records.len(), 2);
    }
}
