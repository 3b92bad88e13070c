//! The folder as those see it who look after it, while servers may run on it: nothing here notes a use, and what a
//! server is about to name is left alone.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;

use super::{Disk, HOUR, LEFT, digest_of};
use crate::clock::Clock;
use crate::gomod::Kind;
use crate::serve::answer::{Answer, Content};
use crate::serve::item::Item;
use crate::serve::kept::{Head, INLINE, hex};

/// An answer that lies in the folder.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// What it answers.
    pub(crate) item: Item,
    /// Of its body.
    pub(crate) bytes: u64,
    /// When it was last sent, to the hour.
    pub(crate) used: SystemTime,
    /// Its own file.
    file: PathBuf,
    sha256: String,
    /// Whether it is right for as long as its kind can be, for the settings that it was kept under.
    is_found: bool,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lying {
    /// When it was last used or written.
    pub(crate) used: SystemTime,
    pub(crate) bytes: u64,
    pub(crate) path: PathBuf,
}

/// All that lies in the folder.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// The answers, by path.
    pub(crate) kept: Vec<Kept>,
    /// Files among the answers that are none, and why.
    pub(crate) damaged: Vec<(PathBuf, String)>,
    /// All files, the answers' own ones among them.
    pub(crate) files: Vec<Lying>,
    /// Those of them that are bodies which no answer names.
    pub(crate) unnamed: Vec<Lying>,
    /// What was being written, and is still there.
    pub(crate) unfinished: Vec<Lying>,
}

/// What makes room.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sweep {
    /// Bytes that there may be, if they are bounded.
    pub(crate) most: Option<u64>,
    /// What was not used for so long goes.
    pub(crate) older: Option<Duration>,
    /// Nothing is removed: what would be is told.
    pub(crate) is_dry: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Swept {
    /// Files of answers and bodies.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Bodies among them that no answer named.
    pub(crate) unnamed: u64,
    /// Files that were being written when a process was killed.
    pub(crate) leftovers: u64,
    /// Bytes that are left.
    pub(crate) left: u64,
}

impl Kept {
    /// Whether a module proxy has such a file: not a 404 that is kept for a minute.
    pub(crate) const fn is_found(&self) -> bool {
        self.is_found
    }
}

impl Disk {
    /// Looks at everything. What others remove meanwhile is not there.
    pub(crate) fn inventory(&self) -> io::Result<Inventory> {
        let mut inventory = Inventory::default();
        let mut named = HashSet::new();
        let answers = self.root.join("answers");
        for file in lying(&answers)? {
            inventory.files.push(file.clone());
            let path = file.path.strip_prefix(&answers).ok().and_then(Path::to_str);
            let Some(path) = path else {
                let why = String::from("its name is no text");
                inventory.damaged.push((file.path, why));
                continue;
            };
            let head = match head_of(&file.path, path)? {
                Ok(Some(head)) => head,
                Ok(None) => continue,
                Err(why) => {
                    inventory.damaged.push((file.path, why));
                    continue;
                }
            };
            if !head.is_inline() {
                named.insert(self.body_file(&head.sha256));
            }
            // The largest tree head, which nobody can ask for.
            if let Ok(item) = Item::of_path(&format!("/{path}")) {
                inventory.kept.push(Kept {
                    item,
                    bytes: head.bytes,
                    used: file.used,
                    file: file.path,
                    is_found: head.is_found(),
                    sha256: head.sha256,
                });
            }
        }
        inventory
            .kept
            .sort_by(|a, b| a.item.path().cmp(b.item.path()));
        for file in lying(&self.root.join("bodies"))? {
            if !named.contains(&file.path) {
                inventory.unnamed.push(file.clone());
            }
            inventory.files.push(file);
        }
        inventory.unfinished = lying(&self.root.join("tmp"))?;
        Ok(inventory)
    }

    /// An answer, held against its digest; `None` if it is gone meanwhile.
    pub(crate) fn checked(&self, kept: &Kept) -> Result<Option<Answer>, Flaw> {
        let whole = match fs::read(&kept.file) {
            Ok(whole) => Bytes::from(whole),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Flaw::Unread(error)),
        };
        let (head, body) = Head::read(kept.item.path(), &whole).map_err(Flaw::Damaged)?;
        if head.is_inline() {
            let content = head.checked(body).map_err(Flaw::Damaged)?;
            return Ok(Some(head.answer(content)));
        }
        let body = match File::open(self.body_file(&head.sha256)) {
            Ok(body) => body,
            // Whoever makes room removes bodies before answers; the answer counts as absent.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Flaw::Unread(error)),
        };
        if body.metadata().map_err(Flaw::Unread)?.len() != head.bytes {
            return Err(Flaw::Damaged("its body has another length"));
        }
        let digest = digest_of(&body, head.bytes).map_err(Flaw::Unread)?;
        if hex(digest) != head.sha256 {
            return Err(Flaw::Damaged("its body is another one"));
        }
        let content = Content::File(Arc::new(body), head.bytes);
        Ok(Some(head.answer(content)))
    }

    /// Whether an answer is there, and its body.
    pub(crate) fn holds(&self, item: &Item) -> bool {
        self.is_whole(&self.answer_file(item.path()))
    }

    /// Removes an answer that is damaged, and its body.
    pub(crate) fn discard(&self, kept: &Kept) -> io::Result<()> {
        if kept.bytes > INLINE {
            absent_is_fine(fs::remove_file(self.body_file(&kept.sha256)))?;
        }
        absent_is_fine(fs::remove_file(&kept.file))
    }

    /// Makes room.
    pub(crate) fn sweep_by(&self, sweep: &Sweep) -> io::Result<Swept> {
        let now = Clock::wall_now();
        let age = |file: &Lying| now.duration_since(file.used).unwrap_or_default();
        let Inventory {
            mut files,
            unnamed,
            unfinished,
            ..
        } = self.inventory()?;
        let mut swept = Swept {
            left: files.iter().map(|file| file.bytes).sum(),
            ..Swept::default()
        };
        for file in unfinished.iter().filter(|file| age(file) > LEFT) {
            swept.leftovers += u64::from(remove(&file.path, None, sweep.is_dry)?);
        }
        // What was written a moment ago is about to be named.
        let unnamed: HashSet<PathBuf> = unnamed
            .into_iter()
            .filter(|file| age(file) > HOUR)
            .map(|file| file.path)
            .collect();
        files.sort_unstable();
        // A little more, so that the next file does not begin it anew.
        let enough = |most: u64| most - most / 10;
        let is_over = sweep.most.is_some_and(|most| swept.left > most);
        for file in files {
            // The largest tree head guards against a log that shrinks.
            if file.path.ends_with("latest") {
                continue;
            }
            let is_unnamed = unnamed.contains(&file.path);
            let is_old = sweep.older.is_some_and(|older| age(&file) > older);
            let is_too_much = is_over && sweep.most.is_some_and(|most| swept.left > enough(most));
            if !(is_unnamed || is_old || is_too_much) {
                continue;
            }
            // Not if somebody has used it since.
            if remove(&file.path, Some(file.used), sweep.is_dry)? {
                swept.files += 1;
                swept.bytes += file.bytes;
                swept.unnamed += u64::from(is_unnamed);
                swept.left -= file.bytes;
            }
        }
        Ok(swept)
    }

    /// A folder for what is not kept yet; it goes with the value.
    pub(crate) fn staging(&self) -> io::Result<tempfile::TempDir> {
        tempfile::TempDir::with_prefix_in("import-", self.root.join("tmp"))
    }
}

/// Why an answer is not as it was kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("{0}")]
    Damaged(&'static str),
    /// It may be right.
    #[error("cannot be read: {0}")]
    Unread(io::Error),
}

/// Files, bytes and kinds of what is kept.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ByKind(pub(crate) BTreeMap<&'static str, Amount>);

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Amount {
    pub(crate) answers: u64,
    /// Of their bodies.
    pub(crate) bytes: u64,
}

impl ByKind {
    pub(crate) fn of(kept: &[Kept]) -> Self {
        let mut by_kind = Self::default();
        for kept in kept {
            let amount = by_kind.0.entry(name_of(kept.item.kind())).or_default();
            amount.answers += 1;
            amount.bytes += kept.bytes;
        }
        by_kind
    }
}

/// The word for a kind of answer.
const fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::List => "list",
        Kind::Latest => "latest",
        Kind::Info => "info",
        Kind::Mod => "mod",
        Kind::Zip => "zip",
        Kind::Toolchain => "toolchain",
        Kind::Lookup => "lookup",
        Kind::Tile => "tile",
        _ => "other",
    }
}

/// The head of the answer to a path, or what is wrong with it; `None` if it is gone meanwhile.
fn head_of(file: &Path, path: &str) -> io::Result<Result<Option<Head>, String>> {
    let file = match File::open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
        Err(error) => return Err(error),
    };
    let mut line = Vec::new();
    let read = BufReader::new(file)
        .take(INLINE)
        .read_until(b'\n', &mut line);
    read?;
    let head = Head::read(path, &line.into());
    Ok(head.map(|(head, _)| Some(head)).map_err(str::to_owned))
}

/// All files below a folder. What vanishes meanwhile is left out.
fn lying(folder: &Path) -> io::Result<Vec<Lying>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match metadata.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(Lying {
                    used: metadata.modified()?,
                    bytes: metadata.len(),
                    path: entry.path(),
                }),
            }
        }
    }
    Ok(files)
}

/// Removes a file, unless it was used after `used`; whether it was there.
fn remove(path: &Path, used: Option<SystemTime>, is_dry: bool) -> io::Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if used.is_some_and(|used| metadata.modified().is_ok_and(|now| now > used)) {
        return Ok(false);
    }
    match is_dry {
        true => Ok(true),
        false => match metadata.is_dir() {
            true => fs::remove_dir_all(path).map(|()| true),
            false => fs::remove_file(path).map(|()| true),
        },
    }
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
