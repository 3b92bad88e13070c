//! What `--force` replaces: set aside first, gone only when its successor has something to show.
//!
//! A recording that is to be replaced is renamed to a hidden folder beside it, and stays locked
//! there. Until it is [removed](Replaced::remove) it can come back, and does so when this is dropped
//! before its place is taken. What a killed recorder left aside is found by the next one. Never
//! touches what no recorder made.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::create::CreateError;
use super::format::{BODIES, CAPTURE, HAR, INDEX, JOURNAL, LIVE_CAPTURE, MANIFEST, RESERVE};

/// What stands in a recording's folder besides the bodies.
const FILES: [&str; 7] = [
    MANIFEST,
    JOURNAL,
    HAR,
    INDEX,
    RESERVE,
    CAPTURE,
    LIVE_CAPTURE,
];

/// `.NAME.replaced`: the old recording, while nobody knows yet whether the new one will be any.
const ASIDE: &str = "replaced";

/// `.NAME.removed`: what is about to go, whatever happens.
const GOING: &str = "removed";

/// A recording that was set aside; back in its place when this is dropped, if that is free.
#[derive(Debug)]
pub(crate) struct Replaced {
    dir: PathBuf,
    aside: PathBuf,
    /// Its journal, locked.
    lock: Option<File>,
}

impl Replaced {
    /// Sets the recording in `dir` aside, if it is one that only recorders wrote to.
    pub(super) fn set_aside(dir: &Path) -> Result<Self, CreateError> {
        let lock = Some(lock(dir)?);
        only_ours(dir)?;
        let aside = beside(dir, ASIDE);
        fs::rename(dir, &aside).map_err(|source| io_at(&aside, source))?;
        let dir = dir.to_owned();
        Ok(Self { dir, aside, lock })
    }

    /// Removes it: its successor stays.
    pub(crate) fn remove(mut self) -> Result<(), CreateError> {
        self.lock = None;
        discard(&self.dir, &self.aside)
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        // Fails, as it should, where the successor stands or this one was removed.
        let _ = fs::rename(&self.aside, &self.dir);
    }
}

/// Fails where a recording cannot be set aside.
pub(super) fn check(dir: &Path) -> Result<(), CreateError> {
    drop(lock(dir)?);
    only_ours(dir)
}

/// Puts in order what a killed recorder of `dir` left beside it.
///
/// What it had set aside comes back if its own recording tells of nothing; otherwise it goes if
/// `replace` says so.
pub(super) fn recover(dir: &Path, replace: bool) -> Result<(), CreateError> {
    // Whoever is at it already finishes it.
    let _ = remove_rest(&beside(dir, GOING));
    let aside = beside(dir, ASIDE);
    if !is_recording(&aside) {
        return Ok(());
    }
    let busy = |_| CreateError::Busy(dir.to_owned());
    drop(lock(&aside).map_err(busy)?);
    if is_recording(dir) {
        if !is_blank(dir) {
            return if replace {
                discard(dir, &aside)
            } else {
                Ok(())
            };
        }
        remove(dir)?;
    }
    if fs::symlink_metadata(dir).is_ok() {
        return Ok(());
    }
    fs::rename(&aside, dir).map_err(|source| io_at(dir, source))
}

/// True for the name of a folder that is no recording of its own, but one that is being replaced.
pub(super) fn is_aside(name: &str) -> bool {
    let ends = |word: &&str| name.ends_with(&format!(".{word}"));
    name.starts_with('.') && [ASIDE, GOING].iter().any(ends)
}

/// Under another name first: half of a recording never comes back as one.
fn discard(dir: &Path, aside: &Path) -> Result<(), CreateError> {
    let going = beside(dir, GOING);
    fs::rename(aside, &going).map_err(|source| io_at(aside, source))?;
    remove(&going)
}

/// Removes a recording, and only what recorders put there.
fn remove(dir: &Path) -> Result<(), CreateError> {
    let _lock = lock(dir)?;
    only_ours(dir)?;
    remove_rest(dir).map_err(|source| io_at(dir, source))
}

/// The journal goes last: by it the next one knows what a killed one left.
fn remove_rest(dir: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name());
    }
    let bodies = dir.join(BODIES);
    if bodies.is_dir() && !bodies.is_symlink() {
        fs::remove_dir_all(&bodies)?;
    }
    names.retain(|name| name != BODIES);
    names.sort_by_key(|name| name == JOURNAL);
    for name in names {
        fs::remove_file(dir.join(name))?;
    }
    fs::remove_dir(dir)
}

fn beside(dir: &Path, word: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(dir.file_name().unwrap_or_default());
    name.push(format!(".{word}"));
    dir.with_file_name(name)
}

/// A folder, no link to one, with a journal.
fn is_recording(dir: &Path) -> bool {
    let is_dir = fs::symlink_metadata(dir).is_ok_and(|dir| dir.is_dir());
    let journal = fs::symlink_metadata(dir.join(JOURNAL));
    is_dir && journal.is_ok_and(|journal| journal.is_file())
}

/// The journal, locked: no recorder writes it.
fn lock(dir: &Path) -> Result<File, CreateError> {
    if !is_recording(dir) {
        return Err(CreateError::Foreign(dir.to_owned()));
    }
    let path = dir.join(JOURNAL);
    let journal = File::open(&path).map_err(|source| io_at(&path, source))?;
    rustix::fs::flock(&journal, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| CreateError::Busy(dir.to_owned()))?;
    Ok(journal)
}

/// Whatever else lies there is the user's: then nothing is touched.
fn only_ours(dir: &Path) -> Result<(), CreateError> {
    for entry in fs::read_dir(dir).map_err(|source| io_at(dir, source))? {
        let name = entry.map_err(|source| io_at(dir, source))?.file_name();
        let is_ours = name
            .to_str()
            .is_some_and(|name| name == BODIES || is_ours(name));
        if !is_ours {
            return Err(CreateError::Foreign(dir.to_owned()));
        }
    }
    Ok(())
}

/// True for the files that recorders make, and for what a killed one left of them.
fn is_ours(name: &str) -> bool {
    let is_left_over = |file: &&str| {
        let rest = name
            .strip_prefix('.')
            .and_then(|name| name.strip_prefix(file));
        let pid = rest.and_then(|rest| rest.strip_prefix('.'));
        pid.is_some_and(|pid| pid.bytes().all(|octet| octet.is_ascii_digit()))
    };
    FILES.contains(&name) || FILES.iter().any(is_left_over)
}

/// True where nothing came after the journal's first line: a recorder that was killed before its
/// command ran, or before that did anything.
fn is_blank(dir: &Path) -> bool {
    let journal = File::open(dir.join(JOURNAL));
    journal.is_ok_and(|journal| BufReader::new(journal).split(b'\n').take(2).count() <= 1)
}

fn io_at(path: &Path, source: io::Error) -> CreateError {
    CreateError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::create::create;
    use super::*;

    /// A folder with the recording `one`, whose HAR says `old`.
    fn with_one() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("one");
        drop(create(&dir, false).unwrap());
        fs::write(dir.join(HAR), "old").unwrap();
        (temp, dir)
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn is_old(dir: &Path) -> bool {
        fs::read(dir.join(HAR)).is_ok_and(|har| har == b"old")
    }

    #[test]
    fn what_is_replaced_goes_only_when_it_is_told_to() {
        let (temp, dir) = with_one();
        let mut folder = create(&dir, true).unwrap();
        let replaced = folder.replaced.take().unwrap();
        assert_eq!(names(temp.path()), [".one.replaced", "one"]);
        assert!(!is_old(&dir));
        replaced.remove().unwrap();
        assert_eq!(names(temp.path()), ["one"]);
        assert!(!is_old(&dir));
    }

    #[test]
    fn what_is_replaced_comes_back_when_its_successor_is_gone() {
        let (temp, dir) = with_one();
        let mut folder = create(&dir, true).unwrap();
        let replaced = folder.replaced.take();
        fs::remove_dir_all(&dir).unwrap();
        drop(replaced);
        assert_eq!(names(temp.path()), ["one"]);
        assert!(is_old(&dir));
    }

    #[test]
    fn what_a_killed_recorder_set_aside_comes_back_unless_its_own_has_something() {
        for (line, replace, is_old_kept, left) in [
            ("", false, true, &["one"][..]),
            ("open\n", false, true, &["one"]),
            ("", true, true, &[".one.replaced", "one"]),
            ("open\nbegin\n", false, false, &[".one.replaced", "one"]),
            ("open\nbegin\n", true, false, &[".one.replaced", "one"]),
        ] {
            let (temp, dir) = with_one();
            fs::rename(&dir, temp.path().join(".one.replaced")).unwrap();
            let mut killed = create(&temp.path().join("two"), false).unwrap();
            killed.journal.write_all(line.as_bytes()).unwrap();
            drop(killed);
            fs::rename(temp.path().join("two"), &dir).unwrap();
            let made = create(&dir, replace);
            assert_eq!(made.is_ok(), replace, "{line:?}: {made:?}");
            assert_eq!(names(temp.path()), left, "{line:?} {replace}");
            let place = if replace { ".one.replaced" } else { "one" };
            assert_eq!(is_old(&temp.path().join(place)), is_old_kept, "{line:?}");
        }
    }

    #[test]
    fn a_removal_that_was_cut_short_is_finished() {
        let (temp, dir) = with_one();
        let going = temp.path().join(".one.removed");
        fs::rename(&dir, &going).unwrap();
        fs::remove_file(going.join(HAR)).unwrap();
        let folder = create(&dir, false).unwrap();
        assert!(folder.replaced.is_none());
        assert_eq!(names(temp.path()), ["one"]);
    }

    #[test]
    fn the_journal_goes_last() {
        let (temp, dir) = with_one();
        // Cannot be removed as a file, so the removal stops there.
        fs::create_dir(dir.join(MANIFEST)).unwrap();
        remove_rest(&dir).unwrap_err();
        assert_eq!(names(&dir), [JOURNAL, MANIFEST]);
        drop(temp);
    }

    #[test]
    fn nobody_takes_what_a_living_recorder_set_aside() {
        let (_temp, dir) = with_one();
        let folder = create(&dir, true).unwrap();
        for replace in [false, true] {
            let made = create(&dir, replace);
            assert!(matches!(made, Err(CreateError::Busy(_))), "{made:?}");
        }
        drop(folder);
    }
}
