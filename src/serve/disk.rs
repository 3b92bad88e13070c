//! The second tier: a folder. Each answer lies at its own path; a large body is a file of its own, named by its
//! digest.
//!
//! ```text
//! answers/github.com/!burnt!sushi/toml/@v/v1.3.2.mod   a line of JSON ([`Head`]), then the body if it is small
//! bodies/ab/cdef…                                      a large body, by its SHA-256
//! tmp/                                                 what is being written
//! heard                                                the last purge that was heard of from Redis
//! purges                                               what was dropped, a line each: servers that run read on in it
//! ```
//! Files are written beside and renamed, so that whoever reads sees them whole, or not at all: two processes
//! may share the folder, and one that is killed leaves nothing but files in `tmp`. A file's time of modification is that
//! of its last use, to the hour: what was not used for longest makes room.

mod inventory;
mod verified;

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::answer::{Answer, Content};
use super::chunk;
use super::kept::{Head, LONGEST, body_path, hex};
use super::purge::Purge;
use crate::clock::Clock;

use verified::{Identity, Verified};

pub(crate) use inventory::{ByKind, Flaw, Inventory, Kept, Lying, Sweep, Swept};

/// The version of the layout: a folder of another one is not touched.
const VERSION: &str = "v1";

/// How exactly a file's last use is known.
const HOUR: Duration = Duration::from_secs(3600);

/// What is still in `tmp` after that long was left by a process that was killed.
const LEFT: Duration = Duration::from_secs(86_400);

/// How many files of answers, and how many large bodies, are known to be verified at once: together 10 MB.
const ANSWERS: usize = 16_384;
const BODIES: usize = 32_768;

/// The longest list of purges, bytes; then it begins anew.
const PURGES: u64 = 1 << 20;

/// An answer that a purge has removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Removed {
    /// Its path below a module proxy.
    pub(crate) path: String,
    /// Bytes of its body.
    pub(crate) bytes: u64,
}

/// The file of an answer, as it was when it was verified.
#[derive(Debug)]
struct Seen {
    head: Head,
    /// Bytes of the line, with its end.
    line: u64,
}

/// A folder of answers.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: Arc<Path>,
    /// The files of answers, by path.
    answers: Arc<Verified<Arc<Seen>>>,
    /// Large bodies, by digest.
    bodies: Arc<Verified<()>>,
    held: Arc<Held>,
    /// Whether nothing is to be changed: no use is noted, nothing removed, and nothing kept.
    only_looks: bool,
}

/// What the folder holds: as of the last look through it, and what this process has changed since. What other
/// processes change is seen with the next look.
#[derive(Debug, Default)]
struct Held {
    was_looked_through: AtomicBool,
    /// Of the disk, folders included. What was removed while the folder was looked through may make it negative.
    bytes: AtomicI64,
    /// Answers.
    entries: AtomicI64,
}

impl Held {
    fn change(&self, bytes: i64, entries: i64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.entries.fetch_add(entries, Ordering::Relaxed);
    }
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) answer: Answer,
    /// The last use that is noted on the disk is long ago.
    pub(super) is_used_anew: bool,
}

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Allowed,
    /// What would wait is an error.
    No,
}

impl Disk {
    /// The folder that it is in.
    pub(crate) fn folder(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    /// Opens a folder, and makes it if there is none.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let root = folder.join(VERSION);
        for name in ["answers", "bodies", "tmp"] {
            let mut builder = DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(root.join(name))?;
        }
        let disk = Self::at(&root);
        disk.sweep();
        Ok(disk)
    }

    fn at(root: &Path) -> Self {
        Self {
            root: root.into(),
            answers: Arc::new(Verified::new(ANSWERS)),
            bodies: Arc::new(Verified::new(BODIES)),
            held: Arc::default(),
            only_looks: false,
        }
    }

    /// Opens a folder that there is; `None` if it holds no answers.
    pub(crate) fn existing(folder: &Path) -> io::Result<Option<Self>> {
        let root = folder.join(VERSION);
        match fs::metadata(root.join("answers")) {
            Ok(found) => Ok(found.is_dir().then(|| Self::at(&root))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same, for somebody who changes nothing.
    #[must_use]
    pub(super) fn only_looking(&self) -> Self {
        Self {
            only_looks: true,
            ..self.clone()
        }
    }

    /// How many bytes of the disk are taken, and how many answers there are; `None` until [`make_room`](Self::make_room)
    /// has looked through the folder for the first time.
    pub(super) fn held(&self) -> Option<(u64, u64)> {
        let number = |held: &AtomicI64| u64::try_from(held.load(Ordering::Relaxed)).unwrap_or(0);
        let is_known = self.held.was_looked_through.load(Ordering::Relaxed);
        is_known.then(|| (number(&self.held.bytes), number(&self.held.entries)))
    }

    /// A file for a body that is being written.
    pub(super) fn begin(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(self.root.join("tmp"))
    }

    /// Drops one answer.
    pub(super) fn forget(&self, path: &str) -> io::Result<()> {
        let file = self.answer_file(path);
        let bytes = space_of(&file);
        match fs::remove_file(file) {
            Ok(()) => self.held.change(-bytes, -1),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The answer to a path; `None` if there is none. A damaged one is removed, and an error.
    pub(super) fn get(&self, path: &str) -> io::Result<Option<Answer>> {
        let read = self.read(path, Wait::Allowed, Clock::wall_now());
        // Not for want of descriptors, or the like.
        if let Err(error) = &read
            && error.kind() == io::ErrorKind::InvalidData
            && !self.only_looks
        {
            drop(self.forget(path));
        }
        Ok(read?.map(|found| {
            if found.is_used_anew {
                self.used(path);
            }
            found.answer
        }))
    }

    /// How many bytes of an answer have to be read and held against their digest, before they are sent for the first
    /// time.
    pub(super) fn unverified(&self, path: &str) -> u64 {
        let now = Clock::wall_now();
        let is_verified = |head: &Head| {
            let body = fs::metadata(self.body_file(&head.sha256));
            body.is_ok_and(|body| self.bodies.has(&head.sha256, &Identity::of(&body), now))
        };
        let head = head_of(&self.answer_file(path));
        let head = head.filter(|head| !head.is_inline() && !is_verified(head));
        head.map_or(0, |head| head.bytes)
    }

    /// The answer to a path where the kernel has all of it in memory, so that it takes no time; an error otherwise, and where that
    /// cannot be known. What was found and not used for long is to be handed to [`used`](Self::used).
    pub(super) fn get_cached(&self, path: &str) -> io::Result<Option<Found>> {
        self.read(path, Wait::No, Clock::wall_now())
    }

    fn read(&self, path: &str, wait: Wait, now: SystemTime) -> io::Result<Option<Found>> {
        let Some(file) = open(&self.answer_file(path), wait)? else {
            return Ok(None);
        };
        let known = self.answers.get(path, now);
        let known = known.and_then(|(identity, seen)| same(&file, &identity, seen, wait));
        let (seen, body, metadata) = match known {
            Some(known) => known,
            None => self.verify(path, &file, wait, now)?,
        };
        let content = match seen.head.is_inline() {
            true => Content::Bytes(body),
            false => match self.body(path, &seen.head, wait, now)? {
                Some(content) => content,
                // Whoever makes room removes bodies before answers.
                None => return Ok(None),
            },
        };
        let age = metadata.modified().map(|at| now.duration_since(at));
        Ok(Some(Found {
            answer: seen.head.answer(content),
            is_used_anew: matches!(age, Ok(Ok(age)) if age > HOUR),
        }))
    }

    /// Reads the file of an answer, and holds it against its digest: what it says, and the body if that is small.
    fn verify(
        &self,
        path: &str,
        file: &File,
        wait: Wait,
        now: SystemTime,
    ) -> io::Result<(Arc<Seen>, Bytes, Metadata)> {
        // What changes after this moment is another file.
        let metadata = file.metadata()?;
        if metadata.len() > LONGEST {
            return Err(damaged(path, "it is longer than any answer"));
        }
        let whole: Bytes = content(file, 0, metadata.len(), wait)?.into();
        let (head, body) = Head::read(path, &whole).map_err(|why| damaged(path, why))?;
        if head.is_inline() {
            head.check(&body).map_err(|why| damaged(path, why))?;
        }
        let line = (whole.len() - body.len()) as u64;
        let seen = Arc::new(Seen { head, line });
        let identity = Identity::of(&metadata);
        self.answers.insert(path, identity, Arc::clone(&seen), now);
        Ok((seen, body, metadata))
    }

    /// A large body, held against its digest; `None` if it is not there.
    fn body(
        &self,
        path: &str,
        head: &Head,
        wait: Wait,
        now: SystemTime,
    ) -> io::Result<Option<Content>> {
        let Some(body) = open(&self.body_file(&head.sha256), wait)? else {
            return Ok(None);
        };
        let identity = Identity::of(&body.metadata()?);
        if identity.bytes != head.bytes {
            return Err(damaged(path, "its body has another length"));
        }
        if !self.bodies.has(&head.sha256, &identity, now) {
            if wait == Wait::No {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if hex(digest_of(&body, head.bytes)?) != head.sha256 {
                if !self.only_looks {
                    let _ = fs::remove_file(self.body_file(&head.sha256));
                }
                return Err(damaged(path, "its body is another one"));
            }
            self.bodies.insert(&head.sha256, identity, (), now);
        }
        Ok(Some(Content::File(Arc::new(body), head.bytes)))
    }

    /// Notes that an answer was used, to the hour.
    pub(super) fn used(&self, path: &str) {
        if self.only_looks {
            return;
        }
        let now = Clock::wall_now();
        // Where that is not allowed, files make room in the order in which they came.
        let note = |file: &File| file.set_modified(now);
        let answer = self.answer_file(path);
        let _ = File::open(&answer).and_then(|file| note(&file));
        if let Some(head) = head_of(&answer)
            && !head.is_inline()
            && let Ok(body) = File::open(self.body_file(&head.sha256))
            && let Ok(before) = body.metadata()
        {
            let _ = note(&body);
            // A large one is not read again for that.
            if let Ok(after) = body.metadata() {
                let (before, after) = (Identity::of(&before), Identity::of(&after));
                self.bodies.renew(&head.sha256, &before, after);
            }
        }
    }

    /// Keeps an answer whose body is in memory.
    pub(super) fn put(&self, path: &str, answer: &Answer, body: &Bytes) -> io::Result<()> {
        if self.only_looks {
            return Ok(());
        }
        let head = Head::new(path, answer, Sha256::digest(body).into());
        if head.is_inline() {
            return self.put_head(path, &head, body);
        }
        let mut file = self.begin()?;
        file.write_all(body)?;
        self.keep_body(file, &head.sha256)?;
        self.put_head(path, &head, &[])
    }

    /// Keeps an answer whose body was written to a file that [`begin`](Self::begin) gave.
    pub(super) fn put_file(
        &self,
        path: &str,
        answer: &Answer,
        body: NamedTempFile,
        sha256: &[u8; 32],
    ) -> io::Result<()> {
        let head = Head::new(path, answer, *sha256);
        if head.is_inline() {
            return self.put_head(path, &head, &fs::read(body.path())?);
        }
        self.keep_body(body, &head.sha256)?;
        self.put_head(path, &head, &[])
    }

    /// A body is whole on the disk before an answer names it.
    fn keep_body(&self, file: NamedTempFile, sha256: &str) -> io::Result<()> {
        file.as_file().sync_data()?;
        self.put_in_place(file, &self.body_file(sha256))?;
        Ok(())
    }

    /// Gives a file its name; says whether it is the first that has it.
    fn put_in_place(&self, file: NamedTempFile, to: &Path) -> io::Result<bool> {
        let before = space_of(to);
        let after = file.as_file().metadata().map_or(0, |it| signed(space(&it)));
        persist(file, to)?;
        self.held.change(after - before, 0);
        Ok(before == 0)
    }

    fn put_head(&self, path: &str, head: &Head, inline: &[u8]) -> io::Result<()> {
        let mut file = self.begin()?;
        file.write_all(&head.kept(inline)?)?;
        if self.put_in_place(file, &self.answer_file(path))? {
            self.held.change(0, 1);
        }
        Ok(())
    }

    /// `path` is an item's, which has no element of dots and is short enough for a file.
    fn answer_file(&self, path: &str) -> PathBuf {
        let mut file = PathBuf::with_capacity(self.root.as_os_str().len() + path.len() + 16);
        file.extend([&*self.root, Path::new("answers"), Path::new(path)]);
        file
    }

    fn body_file(&self, sha256: &str) -> PathBuf {
        self.root.join("bodies").join(body_path(sha256))
    }

    /// The versions of a module of which .info, .mod and zip are kept. `folder` is its path in the alphabet of module
    /// paths.
    pub(super) fn whole_versions(&self, folder: &str) -> io::Result<Vec<String>> {
        let folder = self.root.join("answers").join(folder).join("@v");
        let files = match fs::read_dir(&folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut versions = Vec::new();
        for file in files {
            let name = file?.file_name();
            let version = name.to_str().and_then(|name| name.strip_suffix(".zip"));
            versions.extend(version.map(str::to_owned));
        }
        let has = |version: &str, kind| self.is_whole(&folder.join(format!("{version}.{kind}")));
        versions.retain(|version| ["info", "mod", "zip"].iter().all(|kind| has(version, kind)));
        Ok(versions)
    }

    /// Whether an answer is there, and its body.
    fn is_whole(&self, answer: &Path) -> bool {
        let is_there = |head: &Head| head.is_inline() || self.body_file(&head.sha256).is_file();
        head_of(answer).is_some_and(|head| head.is_proved() && is_there(&head))
    }

    /// Removes what was not used for longest, until all files and folders take `most` bytes of the disk or less. Returns
    /// how many bytes there are then, and how many files were removed.
    pub(super) fn make_room(&self, most: u64) -> io::Result<(u64, u64)> {
        let (mut files, mut all, mut answers) = (Vec::new(), 0, 0);
        let bodies = self.root.join("bodies");
        let mut folders = vec![self.root.join("answers"), bodies.clone()];
        while let Some(folder) = folders.pop() {
            // Another process may have removed what is not there.
            let Ok(entries) = fs::read_dir(folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                match metadata.is_dir() {
                    true => {
                        all += space(&metadata);
                        folders.push(entry.path());
                    }
                    // The largest tree head guards against a log that shrinks.
                    false if entry.path().ends_with("latest") => answers += 1,
                    false => {
                        let path = entry.path();
                        answers += i64::from(!path.starts_with(&bodies));
                        files.push((metadata.modified()?, space(&metadata), path));
                    }
                }
            }
        }
        all += files.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        let mut removed = 0;
        if all > most {
            files.sort_unstable();
            // A little more, so that the next file does not begin it anew.
            let enough = most - most / 10;
            for (_, bytes, path) in files {
                if all <= enough {
                    break;
                }
                match fs::remove_file(&path) {
                    Ok(()) => {
                        removed += 1;
                        answers -= i64::from(!path.starts_with(&bodies));
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                all = all.saturating_sub(bytes + self.remove_empty(&path));
            }
        }
        self.held.bytes.store(signed(all), Ordering::Relaxed);
        self.held.entries.store(answers, Ordering::Relaxed);
        self.held.was_looked_through.store(true, Ordering::Relaxed);
        Ok((all, removed))
    }

    /// Removes what a purge covers, with the bodies: another answer with the same body is fetched again.
    pub(crate) fn purge(&self, purge: &Purge) -> io::Result<Vec<Removed>> {
        let answers = self.root.join("answers");
        let module = answers.join(purge.folder());
        let mut files = vec![module.join("@latest")];
        files.extend(files_in(&module.join("@v"))?);
        let mut folders = vec![answers.join("sumdb")];
        while let Some(folder) = folders.pop() {
            let lookups = folder.join("lookup").join(purge.folder());
            files.extend(
                lookups
                    .parent()
                    .map(files_in)
                    .transpose()?
                    .unwrap_or_default(),
            );
            let below = files_and_folders(&folder)?.into_iter();
            // Tiles are of no module, and the name of a database may have slashes.
            let below = below.filter(|it| !it.ends_with("tile") && !it.ends_with("lookup"));
            folders.extend(below.filter(|it| it.is_dir()));
        }
        let mut removed = Vec::new();
        for file in files {
            let path = file.strip_prefix(&answers).ok().and_then(Path::to_str);
            if let Some(path) = path
                && purge.covers(path)
                && let Some(bytes) = self.remove(&file)?
            {
                let path = path.to_owned();
                removed.push(Removed { path, bytes });
            }
        }
        removed.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(removed)
    }

    /// Removes an answer and its body: how large that was, or `None` if there is no such answer.
    fn remove(&self, answer: &Path) -> io::Result<Option<u64>> {
        let head = head_of(answer);
        let bytes = space_of(answer);
        match fs::remove_file(answer) {
            Ok(()) => self.held.change(-bytes, -1),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        if let Some(head) = &head
            && !head.is_inline()
        {
            self.bodies.remove(&head.sha256);
            let body = self.body_file(&head.sha256);
            let bytes = space_of(&body);
            match fs::remove_file(&body) {
                Ok(()) => self.held.change(-bytes, 0),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Err(_) => {}
            }
        }
        Ok(Some(head.map_or(0, |head| head.bytes)))
    }

    /// Tells the servers that run on this folder of a purge.
    pub(crate) fn tell(&self, purge: &Purge) -> io::Result<()> {
        let path = self.root.join("purges");
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        if file.metadata()?.len() > PURGES {
            file.set_len(0)?;
        }
        // One write, so that lines of two commands do not mix.
        file.write_all(format!("{purge}\n").as_bytes())
    }

    /// How long the list of purges is, bytes.
    pub(super) fn told(&self) -> io::Result<u64> {
        match fs::metadata(self.root.join("purges")) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The purges behind the first `heard` bytes of the list, and how many bytes are heard then.
    pub(super) fn purges(&self, heard: u64) -> io::Result<(Vec<Purge>, u64)> {
        let length = self.told()?;
        if length == heard {
            return Ok((Vec::new(), heard));
        }
        // It has begun anew.
        let from = if length < heard { 0 } else { heard };
        let mut text = vec![0; usize::try_from(length - from).map_err(io::Error::other)?];
        File::open(self.root.join("purges"))?.read_exact_at(&mut text, from)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let lines = text[..whole].split(|byte| *byte == b'\n');
        // What is no purge was written by somebody else.
        let purges = lines.filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok());
        Ok((purges.collect(), from + whole as u64))
    }

    /// The last entry of the stream of purges that was heard; `None` if there is none.
    pub(super) fn heard(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.root.join("heard")) {
            Ok(entry) => Ok(Some(entry.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn note_heard(&self, entry: &str) -> io::Result<()> {
        let mut file = self.begin()?;
        file.write_all(format!("{entry}\n").as_bytes())?;
        persist(file, &self.root.join("heard"))
    }

    /// Removes the folders of a file that have become empty, but for the outermost. Returns how many bytes they took.
    fn remove_empty(&self, file: &Path) -> u64 {
        let (answers, bodies) = (self.root.join("answers"), self.root.join("bodies"));
        let mut bytes = 0;
        for folder in file.ancestors().skip(1) {
            if folder == answers || folder == bodies {
                break;
            }
            let taken = fs::metadata(folder).map_or(0, |it| space(&it));
            // One that is not empty stays.
            if fs::remove_dir(folder).is_err() {
                break;
            }
            bytes += taken;
        }
        bytes
    }

    /// The widest kept version of a tile if it is as wide as `least`: its path. `folder` is that of
    /// the partial ones, `….p`.
    pub(super) fn wider_tile(&self, folder: &str, least: u16) -> io::Result<Option<String>> {
        let files = match fs::read_dir(self.root.join("answers").join(folder)) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut widest = None;
        for file in files {
            let width = file?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u16>().ok());
            widest = widest.max(width.filter(|width| *width >= least));
        }
        Ok(widest.map(|width| format!("{folder}/{width}")))
    }

    /// Removes what processes that were killed have left.
    fn sweep(&self) {
        let Ok(files) = fs::read_dir(self.root.join("tmp")) else {
            return;
        };
        for file in files.flatten() {
            let modified = file.metadata().and_then(|it| it.modified());
            let is_left =
                modified.is_ok_and(|at: SystemTime| at.elapsed().is_ok_and(|it| it > LEFT));
            if is_left {
                // An import that was killed has left a folder.
                let _ = match file.path().is_dir() {
                    true => fs::remove_dir_all(file.path()),
                    false => fs::remove_file(file.path()),
                };
            }
        }
    }
}

/// The head of an answer's file, if it has one.
fn head_of(answer: &Path) -> Option<Head> {
    let mut head = String::new();
    let file = File::open(answer).ok()?;
    let line = BufReader::new(file).take(LONGEST).read_line(&mut head);
    line.ok()?;
    serde_json::from_str(&head).ok()
}

/// What is in a folder; nothing, if there is none.
fn files_and_folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|it| it.path())).collect(),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = files_and_folders(folder)?;
    files.retain(|file| !file.is_dir());
    Ok(files)
}

/// Opens a file; `None` if there is none.
fn open(path: &Path, wait: Wait) -> io::Result<Option<File>> {
    let opened = match wait {
        Wait::Allowed => File::open(path),
        Wait::No => open_cached(path),
    };
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(target_os = "linux")]
fn open_cached(path: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?;
    Ok(file.into())
}

#[cfg(not(target_os = "linux"))]
fn open_cached(_path: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Bytes of a small file, from one on.
fn content(file: &File, from: u64, bytes: u64, wait: Wait) -> io::Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    match wait {
        _ if bytes == 0 => {}
        Wait::Allowed => file.read_exact_at(&mut content, from)?,
        Wait::No => chunk::read_cached(file, &mut content, from)?,
    }
    Ok(content)
}

/// The body in a file that was verified, if it is small; `None` if the file is not that any more.
fn same(
    file: &File,
    identity: &Identity,
    seen: Arc<Seen>,
    wait: Wait,
) -> Option<(Arc<Seen>, Bytes, Metadata)> {
    let bytes = match seen.head.is_inline() {
        true => seen.head.bytes,
        false => 0,
    };
    let body = content(file, seen.line, bytes, wait).ok()?;
    // After that, so that what changes meanwhile is another file.
    let metadata = file.metadata().ok()?;
    (Identity::of(&metadata) == *identity).then(|| (seen, body.into(), metadata))
}

fn damaged(path: &str, why: &str) -> io::Error {
    let message = format!("the answer to {path} is damaged: {why}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// What a file or folder takes of the disk, bytes. Some file systems say how many blocks there are only later.
fn space(metadata: &Metadata) -> u64 {
    metadata.len().max(metadata.blocks() * 512)
}

/// The same of a file; 0 if there is none.
fn space_of(file: &Path) -> i64 {
    fs::symlink_metadata(file).map_or(0, |it| signed(space(&it)))
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Gives a file its name; its folder is made if need be.
fn persist(mut file: NamedTempFile, to: &Path) -> io::Result<()> {
    // Another process that makes room may remove an empty folder at this moment.
    for _ in 0..3 {
        file = match file.persist(to) {
            Ok(_) => return Ok(()),
            Err(failed) if failed.error.kind() == io::ErrorKind::NotFound => failed.file,
            Err(failed) => return Err(failed.error),
        };
        if let Some(shelf) = to.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(shelf)?;
        }
    }
    file.persist(to).map(drop).map_err(|failed| failed.error)
}

pub(super) fn digest_of(file: &File, bytes: u64) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut chunk = vec![0; 1 << 18];
    let mut at = 0;
    while at < bytes {
        let read = file.read_at(&mut chunk, at)?;
        if read == 0 {
            break;
        }
        digest.update(&chunk[..read]);
        at += read as u64;
    }
    Ok(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::StatusCode;

    use super::*;
    use crate::serve::answer::Proof;
    use crate::serve::kept::INLINE;

    fn answer(body: &[u8]) -> (Answer, Bytes) {
        let body = Bytes::copy_from_slice(body);
        let answer = Answer {
            status: StatusCode::OK,
            content: Content::Bytes(body.clone()),
            at: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            proof: Proof::Form,
        };
        (answer, body)
    }

    #[test]
    fn what_is_kept_comes_back_small_or_large() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it opens");
        for bytes in [0, 3, INLINE as usize, INLINE as usize + 1] {
            let (answer, body) = answer(&vec![7; bytes]);
            disk.put("a.b/c/@v/list", &answer, &body)
                .expect("it is kept");
            // Another process.
            let other = Disk::open(folder.path()).expect("it opens");
            let found = other.get("a.b/c/@v/list").expect("it is read");
            let found = found.expect("it is there");
            assert_eq!(found.text().expect("it is read"), body);
            assert_eq!(found.at, answer.at);
        }
        assert!(disk.get("a.b/d/@v/list").expect("no error").is_none());
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it opens");
        let (answer, body) = answer(&[7; 10_000]);
        for number in 0..10 {
            let path = format!("a.b/c/@v/v1.0.{number}.mod");
            disk.put(&path, &answer, &body).expect("it is kept");
            let file = File::open(disk.answer_file(&path)).expect("it is there");
            let used = UNIX_EPOCH + Duration::from_secs(1_000_000 + number);
            file.set_modified(used).expect("our own file");
        }
        // Used now.
        assert!(
            disk.get("a.b/c/@v/v1.0.0.mod")
                .expect("it is read")
                .is_some()
        );
        let (bytes, removed) = disk.make_room(80_000).expect("our own folder");
        assert!(bytes <= 80_000 && removed > 2, "{bytes} {removed}");
        assert_eq!(disk.held(), Some((bytes, 10 - removed)));
        let is_there = |number: u64| {
            let path = format!("a.b/c/@v/v1.0.{number}.mod");
            disk.get(&path).expect("it is read").is_some()
        };
        let left: Vec<_> = (0..10).filter(|number| is_there(*number)).collect();
        let expected: Vec<_> = [0].into_iter().chain(removed + 1..10).collect();
        assert_eq!(left, expected);
        assert_eq!(disk.make_room(80_000).expect("our own folder"), (bytes, 0));
        // Folders that are empty are no more.
        let (bytes, _) = disk.make_room(0).expect("our own folder");
        assert_eq!(bytes, 0);
        assert!(!disk.root.join("answers/a.b").exists());
    }

    #[test]
    fn what_is_held_is_what_a_look_would_find() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it opens");
        let put = |number: u32, bytes: usize| {
            let (answer, body) = answer(&vec![7; bytes]);
            let path = format!("a.b/c/@v/v1.0.{number}.mod");
            disk.put(&path, &answer, &body).expect("it is kept");
        };
        put(0, 100);
        assert_eq!(disk.held(), None);
        let look = || disk.make_room(u64::MAX).expect("our own folder").0;
        look();
        // The folders are there.
        for (number, bytes) in [
            (1, 10_000),
            (2, 300_000),
            (1, 20_000),
            (0, 50),
            (2, 300_000),
        ] {
            put(number, bytes);
        }
        let held = disk.held().expect("it was looked through");
        assert_eq!(held.1, 3);
        let bodies = 2 * space(&fs::metadata(folder.path()).expect("it is there"));
        let found = look();
        assert!(held.0.abs_diff(found) <= bodies, "{held:?} {found}");
        disk.forget("a.b/c/@v/v1.0.1.mod").expect("our own folder");
        let purge = "a.b/c@v1.0.2".parse().expect("a purge");
        disk.purge(&purge).expect("our own folder");
        let held = disk.held().expect("it was looked through");
        assert_eq!(held.1, 1);
        let found = look();
        assert!(held.0.abs_diff(found) <= 2 * bodies, "{held:?} {found}");
    }

    #[test]
    fn a_use_is_noted_of_an_answer_and_its_body() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it opens");
        let path = "a.b/c/@v/v1.0.0.zip";
        let (answer, body) = answer(&vec![7; INLINE as usize + 1]);
        disk.put(path, &answer, &body).expect("it is kept");
        let files = [
            disk.answer_file(path),
            disk.body_file(&hex(Sha256::digest(&body))),
        ];
        let long_ago = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let set = |file: &PathBuf| File::open(file)?.set_modified(long_ago);
        for is_cached in [false, true] {
            files.iter().try_for_each(set).expect("our own files");
            match is_cached {
                false => {
                    disk.get(path).expect("it is read").expect("it is there");
                }
                true => {
                    // Not every file system tells what is in memory.
                    if let Ok(found) = disk.get_cached(path) {
                        let found = found.expect("it is there");
                        assert_eq!(found.answer.text().expect("it is read"), body);
                        assert!(found.is_used_anew);
                    }
                    disk.used(path);
                }
            }
            for file in &files {
                let modified = fs::metadata(file).and_then(|it| it.modified());
                assert!(modified.expect("it is there") > long_ago + HOUR);
            }
        }
    }

    #[test]
    fn what_was_verified_counts_for_the_file_that_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it opens");
        let path = "a.b/c/@v/v1.0.0.zip";
        // Nothing in it is of this moment any more.
        let later = Clock::wall_now() + Duration::from_secs(10);
        let text = |byte, bytes| {
            disk.put(
                path,
                &answer(&vec![byte; bytes]).0,
                &vec![byte; bytes].into(),
            )
            .expect("it is kept");
            disk.answer_file(path)
        };
        let read = || {
            let found = disk.read(path, Wait::Allowed, later)?;
            found.expect("it is there").answer.text()
        };
        for bytes in [100, INLINE as usize + 1] {
            let kept = text(1, bytes);
            for _ in 0..2 {
                assert_eq!(read().expect("it is read"), vec![1; bytes]);
                assert!(disk.answers.get(path, later).is_some());
            }
            // Another one of the same length takes its place.
            text(2, bytes);
            assert_eq!(read().expect("it is read"), vec![2; bytes]);
            assert_eq!(read().expect("it is read"), vec![2; bytes]);
            // A use changes its times, and nothing else.
            disk.used(path);
            assert_eq!(read().expect("it is read"), vec![2; bytes]);
            // A byte changes, and the end goes.
            let file = match bytes {
                100 => kept,
                _ => disk.body_file(&hex(Sha256::digest(vec![2; bytes]))),
            };
            let whole = fs::read(&file).expect("it is there");
            let mut changed = whole.clone();
            *changed.last_mut().expect("a byte") ^= 1;
            for spoilt in [&changed[..], &whole[..whole.len() - 1]] {
                fs::write(&file, &whole).expect("our own folder");
                assert_eq!(read().expect("it is read"), vec![2; bytes]);
                fs::write(&file, spoilt).expect("our own folder");
                let error = read().expect_err("it is damaged");
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            }
        }
    }

    #[test]
    fn a_file_of_this_moment_is_verified_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it opens");
        let path = "a.b/c/@v/v1.0.0.zip";
        let (answer, body) = answer(&vec![7; INLINE as usize + 1]);
        disk.put(path, &answer, &body).expect("it is kept");
        let digest = hex(Sha256::digest(&body));
        let now = Clock::wall_now();
        for (now, is_verified) in [(now, false), (now + Duration::from_secs(10), true)] {
            let found = disk.read(path, Wait::Allowed, now).expect("it is read");
            assert!(found.is_some());
            assert_eq!(disk.answers.get(path, now).is_some(), is_verified);
            assert_eq!(disk.bodies.get(&digest, now).is_some(), is_verified);
        }
    }

    #[test]
    fn a_file_that_is_longer_than_any_answer_is_damaged_and_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it opens");
        let path = "a.b/c/@v/v1.0.0.mod";
        let (answer, body) = answer(b"module a.b/c\n");
        disk.put(path, &answer, &body).expect("it is kept");
        // More than the memory of any machine, all of it a hole.
        let file = OpenOptions::new().write(true).open(disk.answer_file(path));
        let file = file.expect("it is there");
        file.set_len(1 << 40).expect("a file with a hole");
        assert_eq!(disk.unverified(path), 0);
        let error = disk.get(path).expect_err("it is damaged");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(disk.get(path).expect("no error").is_none());
    }

    #[test]
    fn versions_count_that_are_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it opens");
        let (answer, body) = answer(b"x");
        for name in [
            "v1.0.0.info",
            "v1.0.0.mod",
            "v1.0.0.zip",
            "v1.1.0.mod",
            "v1.1.0.zip",
        ] {
            disk.put(&format!("a.b/c/@v/{name}"), &answer, &body)
                .expect("it is kept");
        }
        assert_eq!(
            disk.whole_versions("a.b/c").expect("it is read"),
            ["v1.0.0"]
        );
        assert!(disk.whole_versions("a.b/d").expect("no error").is_empty());
    }

    #[test]
    fn a_damaged_answer_is_an_error_once_and_then_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it opens");
        let (answer, body) = answer(b"module a.b/c\n");
        disk.put("a.b/c/@v/v1.0.0.mod", &answer, &body)
            .expect("it is kept");
        let file = disk.answer_file("a.b/c/@v/v1.0.0.mod");
        let whole = fs::read(&file).expect("it is there");
        for cut in [0, 10, whole.len() - 1] {
            fs::write(&file, &whole[..cut]).expect("our own folder");
            assert!(disk.get("a.b/c/@v/v1.0.0.mod").is_err());
            assert!(disk.get("a.b/c/@v/v1.0.0.mod").expect("no error").is_none());
        }
        let mut other = whole;
        *other.last_mut().expect("a byte") ^= 1;
        fs::write(&file, other).expect("our own folder");
        assert!(disk.get("a.b/c/@v/v1.0.0.mod").is_err());
    }
}
