//! The journal's one owner: numbers lines, appends them, and says when they are safe.
//!
//! It takes all that is queued and writes it at once, so a busy recorder makes few writes. Whether
//! it runs as a task on the traffic's runtime or on a thread of its own is the caller's one line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::bodies::BodyStore;
use super::create::Folder;
use super::format::{self, Event, Gap, RESERVE};
use super::recorder::{Durability, Health, Line, Recorder};
use super::sync::Syncer;
use crate::clock::Clock;

/// Lines written at once at most, so that the first of them is not kept waiting for the last.
const BATCH: usize = 256;

/// Space kept back on the disk so that the gap and the end can still be written when it is full.
const RESERVE_BYTES: usize = 64 * 1024;

/// Appends to one `journal.ndjson`.
pub struct Journal {
    file: Arc<File>,
    lines: mpsc::UnboundedReceiver<Line>,
    clock: Clock,
    health: Health,
    syncer: Option<Syncer>,
    durability: Durability,
    reserve: Option<PathBuf>,
    seq: u64,
    length: u64,
    lost: Option<Lost>,
    buffer: Vec<u8>,
}

/// Lines that could not be written since the last one that could.
struct Lost {
    count: u64,
    why: String,
}

impl Journal {
    /// A recorder that feeds `folder`, and the journal's owner, which somebody must [`run`].
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
        let reserve = folder.dir.join(RESERVE);
        let journal = Self {
            file,
            lines,
            clock,
            health: health.clone(),
            syncer,
            durability,
            reserve: keep_back(&reserve).is_ok().then_some(reserve),
            seq: 0,
            length: 0,
            lost: None,
            buffer: Vec::new(),
        };
        Ok((Recorder::new(sender, bodies, health), journal))
    }

    /// Writes until the last [`Recorder`] is gone.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.lines.recv_many(&mut batch, BATCH).await > 0 {
            self.append(&batch);
            let waiting = batch.drain(..).filter_map(|line| line.written);
            match &self.syncer {
                Some(syncer) if self.durability == Durability::Strict => {
                    syncer.sync_journal(waiting.collect());
                }
                syncer => {
                    for written in waiting {
                        // The exchange was given up meanwhile: nobody listens.
                        let _ = written.send(());
                    }
                    if let Some(syncer) = syncer {
                        syncer.sync_journal(Vec::new());
                    }
                }
            }
        }
        if self.lost.is_some() {
            self.append(&[]);
        }
        if let Some(reserve) = self.reserve.take() {
            let _ = std::fs::remove_file(reserve);
        }
        if let Some(syncer) = &self.syncer {
            let (synced, done) = oneshot::channel();
            syncer.sync_journal(vec![synced]);
            // An error says that the thread is gone, which it told already.
            let _ = done.await;
        }
    }

    fn append(&mut self, batch: &[Line]) {
        let mut seq = self.seq;
        self.buffer.clear();
        if let Some(lost) = &self.lost {
            let text = format::to_text(
                self.clock.now(),
                &Event::Gap(Gap {
                    what: format!("{} lines before this one", lost.count),
                    why: lost.why.clone(),
                }),
            );
            seq += 1;
            format::write_line(&mut self.buffer, seq, &text);
        }
        for line in batch {
            seq += 1;
            format::write_line(&mut self.buffer, seq, &line.text);
        }
        match self.write_buffer() {
            Ok(()) => {
                self.lost = None;
                self.seq = seq;
                self.length += self.buffer.len() as u64;
            }
            Err(error) => self.lose(batch, &error),
        }
    }

    fn write_buffer(&self) -> io::Result<()> {
        (&*self.file).write_all(&self.buffer).inspect_err(|_| {
            // What was written of a line that did not fit goes, so that the next one begins afresh.
            let _ = self.file.set_len(self.length);
        })
    }

    fn lose(&mut self, batch: &[Line], error: &io::Error) {
        let why = format!("cannot write the journal: {error}");
        self.health.fail(&why);
        let count = batch.len() as u64 + self.lost.take().map_or(0, |lost| lost.count);
        // The numbers of lost lines are skipped, so a reader sees the gap even without our word.
        self.seq += batch.len() as u64;
        self.lost = Some(Lost { count, why });
        if let Some(reserve) = self.reserve.take() {
            let _ = std::fs::remove_file(reserve);
            self.append(&[]);
        }
    }
}

fn keep_back(reserve: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600);
    made.open(reserve)?.write_all(&[0; RESERVE_BYTES])
}

#[cfg(test)]
mod tests {
    use super::super::create;
    use super::super::format::{JOURNAL, Record};
    use super::*;
    use crate::clock::Timestamp;

    fn gap(what: &str) -> Event {
        Event::Gap(Gap {
            what: what.into(),
            why: String::new(),
        })
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
            let folder = create::create(&dir, false).unwrap();
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
    async fn a_full_disk_leaves_a_gap_and_does_not_stop_anybody() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("one");
        let folder = create::create(&dir, false).unwrap();
        let (recorder, mut journal) =
            Journal::start(folder, Clock::start(), Durability::Process, true).unwrap();
        // /dev/full answers every write with ENOSPC.
        let full = File::options().write(true).open("/dev/full").unwrap();
        let disk = std::mem::replace(&mut journal.file, Arc::new(full));
        let line = |what| Line {
            text: format::to_text(Timestamp::default(), &gap(what)),
            written: None,
        };
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
        assert_eq!(gap.what, "2 lines before this one");
    }
}
