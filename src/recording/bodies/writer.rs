//! The thread that writes body files: what it is told, and what it does.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::super::recorder::Durability;
use super::super::sync::{Syncer, sync_dir};
use super::most_open;
use crate::exchange::{Digest, Hex};

/// What the thread is told.
pub(super) enum Job {
    Chunk(u64, Bytes, OwnedSemaphorePermit),
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
                        // The exchange was given up meanwhile: nobody listens.
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

    fn chunk(&mut self, key: u64, chunk: &Bytes) {
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

    /// Gives the file its name; one that stands there already holds the same octets.
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
