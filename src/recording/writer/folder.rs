//! Makes a recording's folder, and sets aside what `--force` replaces.
//!
//! A recording that is to be replaced is renamed to `.NAME.replaced` beside it. It goes when its
//! successor has something to show, and comes back when there is none: at once, or, where a recorder
//! was killed, when the next one is made there. Never touches what no recorder made.

use std::borrow::Cow;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::recording::format::{
    BODIES, CAPTURE, HAR, INDEX, JOURNAL, LIVE_CAPTURE, MAIN_MOD, MAIN_SUM, MAIN_WORK,
    MAIN_WORK_SUM, MANIFEST, RESERVE,
};

/// Why a recording cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is one of that name.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// `--force` found something that no recorder made.
    #[error("{} is not a recording, so it is not replaced", .0.display())]
    Foreign(PathBuf),
    /// `--force` found a recorder at work.
    #[error("{} is being written by another recorder", .0.display())]
    Busy(PathBuf),
    /// The file system said no.
    #[error("cannot write {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A new recording's folder with its journal, which is locked as long as the file is open.
#[derive(Debug)]
pub struct Folder {
    /// The folder.
    pub(crate) dir: PathBuf,
    /// The lowest folder above it that was there before.
    pub(crate) above: PathBuf,
    /// `journal.ndjson`, open for appending.
    pub(crate) journal: File,
    /// The recording that stood there before, with `--force`.
    pub(crate) replaced: Option<Replaced>,
    /// What its journal holds already: nothing, unless a run is appended.
    pub(crate) written: Written,
}

/// What a journal holds before a run is written to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// The highest sequence number.
    pub(crate) seq: u64,
    /// Its bytes.
    pub(crate) bytes: u64,
}

/// Makes `dir` (mode 0700) and what stands in it; with `replace`, a recording there is set aside.
pub fn create(dir: &Path, replace: bool) -> Result<Folder, CreateError> {
    let at = |path: &Path, source| CreateError::Io {
        path: path.to_owned(),
        source,
    };
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let above = parent.ancestors().find(|folder| folder.exists());
    let above = above.unwrap_or_else(|| Path::new(".")).to_owned();
    make_parent(parent).map_err(|source| at(parent, source))?;
    recover(dir)?;
    let is_there = replace && dir.exists();
    let replaced = is_there.then(|| Replaced::set_aside(dir)).transpose()?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(CreateError::Exists(dir.to_owned()));
        }
        made => made.map_err(|source| at(dir, source))?,
    }
    let journal = fill(dir).inspect_err(|_| {
        // What cannot be filled is no recording, and what was set aside wants its place back.
        let _ = fs::remove_dir_all(dir);
    })?;
    Ok(Folder {
        dir: dir.to_owned(),
        above,
        journal,
        replaced,
        written: Written::default(),
    })
}

/// The journal of the recording in `dir`, open for appending and locked.
pub(crate) fn lock_to_append(dir: &Path) -> Result<File, CreateError> {
    if !is_recording(dir) {
        return Err(CreateError::Foreign(dir.to_owned()));
    }
    let path = dir.join(JOURNAL);
    let journal = OpenOptions::new().append(true).open(&path);
    let journal = journal.map_err(|source| io_at(&path, source))?;
    rustix::fs::flock(&journal, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| CreateError::Busy(dir.to_owned()))?;
    Ok(journal)
}

/// Makes what stands in a new folder; the journal, locked.
fn fill(dir: &Path) -> Result<File, CreateError> {
    let at = |path: &Path, source| CreateError::Io {
        path: path.to_owned(),
        source,
    };
    let bodies = dir.join(BODIES);
    let made = DirBuilder::new().mode(0o700).create(&bodies);
    made.map_err(|source| at(&bodies, source))?;
    let path = dir.join(JOURNAL);
    let journal = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| at(&path, source))?;
    rustix::fs::flock(&journal, FlockOperation::NonBlockingLockExclusive)
        .map_err(|errno| at(&path, errno.into()))?;
    Ok(journal)
}

/// Fails where [`place`] would, as far as that can be known before.
pub(crate) fn check(dir: &Path, replace: bool) -> Result<(), CreateError> {
    if fs::symlink_metadata(dir).is_err() {
        return Ok(());
    }
    if !replace {
        return Err(CreateError::Exists(dir.to_owned()));
    }
    check_replaced(dir)
}

/// Puts a recording that was made elsewhere into its place; with `replace`, the one there goes.
pub(crate) fn place(made: &Path, dir: &Path, replace: bool) -> Result<(), CreateError> {
    recover(dir)?;
    check(dir, replace)?;
    let replaced = dir.exists().then(|| Replaced::set_aside(dir)).transpose()?;
    fs::rename(made, dir).map_err(|source| CreateError::Io {
        path: dir.to_owned(),
        source,
    })?;
    replaced.map_or(Ok(()), Replaced::remove)
}

/// A folder of recordings that we make ourselves keeps out of version control.
pub(crate) fn make_parent(parent: &Path) -> io::Result<()> {
    if parent.exists() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)?;
    fs::write(parent.join(".gitignore"), "*\n")
}

/// What stands in a recording's folder besides the bodies and others need: an index and a HAR file can be made of
/// it anew.
pub(crate) const SHARED: [&str; 8] = [
    MANIFEST,
    JOURNAL,
    CAPTURE,
    LIVE_CAPTURE,
    MAIN_MOD,
    MAIN_SUM,
    MAIN_WORK,
    MAIN_WORK_SUM,
];

/// What stands in a recording's folder besides the bodies.
const FILES: [&str; 11] = [
    MANIFEST,
    JOURNAL,
    HAR,
    INDEX,
    RESERVE,
    CAPTURE,
    LIVE_CAPTURE,
    MAIN_MOD,
    MAIN_SUM,
    MAIN_WORK,
    MAIN_WORK_SUM,
];

/// A recording that was set aside; back in its place when this is dropped, if that is free.
#[derive(Debug)]
pub(crate) struct Replaced {
    dir: PathBuf,
    aside: PathBuf,
}

impl Replaced {
    /// Sets the recording in `dir` aside. What an earlier one left there goes.
    fn set_aside(dir: &Path) -> Result<Self, CreateError> {
        check_replaced(dir)?;
        let aside = beside(dir);
        if fs::symlink_metadata(&aside).is_ok() {
            remove(&aside)?;
        }
        fs::rename(dir, &aside).map_err(|source| io_at(&aside, source))?;
        let dir = dir.to_owned();
        Ok(Self { dir, aside })
    }

    /// Removes it: its successor stays.
    pub(crate) fn remove(self) -> Result<(), CreateError> {
        remove(&self.aside)
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        // Fails, as it should, where the successor stands or this one was removed.
        let _ = fs::rename(&self.aside, &self.dir);
    }
}

/// Fails where a recording cannot be set aside: a recorder writes it, or it holds what no recorder
/// made.
fn check_replaced(dir: &Path) -> Result<(), CreateError> {
    drop(lock(dir)?);
    only_ours(dir)
}

/// Puts back what a killed recorder of `dir` had set aside, if its own recording tells of nothing.
fn recover(dir: &Path) -> Result<(), CreateError> {
    let aside = beside(dir);
    if !is_recording(&aside) {
        return Ok(());
    }
    if is_recording(dir) && is_blank(dir) {
        remove(dir)?;
    }
    if fs::symlink_metadata(dir).is_ok() {
        return Ok(());
    }
    fs::rename(&aside, dir).map_err(|source| io_at(dir, source))
}

/// Removes a recording, or the rest of one, and only what recorders put there.
fn remove(dir: &Path) -> Result<(), CreateError> {
    if is_recording(dir) {
        drop(lock(dir)?);
    }
    only_ours(dir)?;
    // The journal goes first: half of a recording is none, and never comes back.
    let journal = fs::remove_file(dir.join(JOURNAL));
    let is_gone = journal.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    let removed = is_gone.and_then(|()| fs::remove_dir_all(dir));
    removed.map_err(|source| io_at(dir, source))
}

/// True where nothing follows the journal's first line: a recorder that was killed before its
/// command ran, or before that did anything.
fn is_blank(dir: &Path) -> bool {
    let journal = File::open(dir.join(JOURNAL));
    journal.is_ok_and(|journal| BufReader::new(journal).split(b'\n').take(2).count() <= 1)
}

/// `.NAME.replaced`: where the old recording is until its successor is known to have something to show.
fn beside(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.replaced"))
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

/// Fails where the folder holds anything that no recorder made: it is the user's, and is not touched.
fn only_ours(dir: &Path) -> Result<(), CreateError> {
    if !fs::symlink_metadata(dir).is_ok_and(|found| found.is_dir()) {
        return Err(CreateError::Foreign(dir.to_owned()));
    }
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
    let name = &*unnumbered(name);
    let is_left_over = |file: &&str| {
        let rest = name
            .strip_prefix('.')
            .and_then(|name| name.strip_prefix(file));
        let pid = rest.and_then(|rest| rest.strip_prefix('.'));
        // Earlier versions of modtape left the mark out.
        let pid = pid.map(|pid| pid.strip_suffix(".modtape").unwrap_or(pid));
        pid.is_some_and(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
    };
    FILES.contains(&name) || FILES.iter().any(is_left_over)
}

/// `main.mod` for `main.7.mod`, and the like of what a killed recorder left.
fn unnumbered(name: &str) -> Cow<'_, str> {
    let numbered = || {
        let begin = name.find("main.")? + "main.".len();
        let digits = name[begin..].find(|c: char| !c.is_ascii_digit())?;
        let rest = name[begin + digits..]
            .strip_prefix('.')
            .filter(|_| digits > 0)?;
        let is_kept = matches!(&name[..begin], "main." | ".main.")
            && (rest.starts_with("mod") || rest.starts_with("sum"));
        is_kept.then(|| format!("{}{rest}", &name[..begin]))
    };
    numbered().map_or(Cow::Borrowed(name), Cow::Owned)
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_recording_is_private_and_its_parent_ignored_by_git() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("recordings/one");
        let folder = create(&dir, false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.dir), 0o700);
        assert_eq!(mode(&dir.join(JOURNAL)), 0o600);
        let ignored = fs::read_to_string(temp.path().join("recordings/.gitignore")).unwrap();
        assert_eq!(ignored, "*\n");
    }

    #[test]
    fn an_existing_recording_is_kept_unless_replacing_was_asked_for() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("one");
        let folder = create(&dir, false).unwrap();
        assert!(matches!(create(&dir, false), Err(CreateError::Exists(_))));
        assert!(matches!(create(&dir, true), Err(CreateError::Busy(_))));
        drop(folder);
        create(&dir, true).unwrap();
    }

    #[test]
    fn what_a_killed_recorder_left_is_replaced_too() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("one");
        drop(create(&dir, false).unwrap());
        for name in [RESERVE, ".recording.json.4711", ".session.har.1.modtape"] {
            fs::write(dir.join(name), "").unwrap();
        }
        create(&dir, true).unwrap();
    }

    #[test]
    fn replacing_never_removes_what_no_recorder_made() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("thesis");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("chapter1"), "words").unwrap();
        assert!(matches!(create(&dir, true), Err(CreateError::Foreign(_))));
        fs::write(dir.join(JOURNAL), "").unwrap();
        assert!(matches!(create(&dir, true), Err(CreateError::Foreign(_))));
        assert!(dir.join(JOURNAL).exists());
        assert_eq!(fs::read_to_string(dir.join("chapter1")).unwrap(), "words");
    }

    #[test]
    fn the_files_of_a_workspace_are_those_of_a_recorder_whatever_their_number() {
        for name in [
            "main.mod",
            "main.12.mod",
            "main.3.sum",
            ".main.3.mod.77.modtape",
            "main.work",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "main.go",
            "main.1.go",
            "main..mod",
            "main.1.2.mod",
            "remain.1.mod",
            "main.1.",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }

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
            ("open\nbegin\n", false, true, &[".one.replaced", "one"]),
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
            let place = left[0];
            assert_eq!(is_old(&temp.path().join(place)), is_old_kept, "{line:?}");
        }
    }

    #[test]
    fn half_of_a_recording_goes_and_never_comes_back() {
        let (temp, dir) = with_one();
        let aside = temp.path().join(".one.replaced");
        fs::rename(&dir, &aside).unwrap();
        fs::remove_file(aside.join(JOURNAL)).unwrap();
        drop(create(&dir, false).unwrap());
        assert!(!is_old(&dir));
        let mut folder = create(&dir, true).unwrap();
        folder.replaced.take().unwrap().remove().unwrap();
        assert_eq!(names(temp.path()), ["one"]);
        drop(folder);
        fs::create_dir(&aside).unwrap();
        fs::write(aside.join("notes"), "words").unwrap();
        let made = create(&dir, true);
        assert!(matches!(made, Err(CreateError::Foreign(_))), "{made:?}");
        assert!(aside.join("notes").exists());
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
