//! Files and folders that are written whole or not at all: under a hidden name beside the final
//! one, then renamed. And small files that are read, or refused.
//!
//! `.NAME.PID.N.modtape` is such a folder, `.NAME.PID.modtape` a file. It is locked as long as a
//! process writes it, and removed if it is dropped unfinished. A leftover of a killed process has
//! no lock, and is removed by the next process that writes the same name. Never follows a link, and
//! never changes files of another user.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

/// How many names are tried: each may be a leftover of a killed process with the same PID.
const TRIES: u32 = 100;

/// The suffix of all hidden names, so that no hidden file of the user is mistaken for one.
const MARK: &str = ".modtape";

/// What a regular file of at most `limit` bytes holds. A pipe is not waited for, and a device is not
/// read to its end, which it may not have.
pub(crate) fn read_small(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    check_small(&fs::metadata(path)?, limit)?;
    // It may be another file by now.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    check_small(&file.metadata()?, limit)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(io::Error::other(format!("it grows beyond {limit} bytes"))),
        false => Ok(bytes),
    }
}

fn check_small(found: &Metadata, limit: u64) -> io::Result<()> {
    let kind = found.file_type();
    let what = if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if !kind.is_file() {
        "a device"
    } else if found.len() > limit {
        let len = found.len();
        return Err(io::Error::other(format!(
            "it has {len} bytes, more than the {limit} that are read"
        )));
    } else {
        return Ok(());
    };
    Err(io::Error::other(format!("it is {what}, not a file")))
}

/// A folder that is being written; removed if it is dropped unfinished.
#[derive(Debug)]
pub(crate) struct Working {
    path: PathBuf,
    is_finished: bool,
    _lock: File,
}

impl Working {
    /// Begins a folder (mode 0700) beside its final path `to`.
    pub(crate) fn create(to: &Path) -> io::Result<Self> {
        let name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let name = name.to_string_lossy();
        sweep(to, Kind::Folder);
        let mut made = Err(io::ErrorKind::AlreadyExists.into());
        for number in 0..TRIES {
            let hidden = format!(".{name}.{}.{number}{MARK}", std::process::id());
            let path = to.with_file_name(hidden);
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => made = Err(error),
                Err(error) => return Err(error),
                Ok(()) => match Self::lock(path)? {
                    Some(working) => return Ok(working),
                    // Another process took it for a leftover.
                    None => made = Err(io::ErrorKind::AlreadyExists.into()),
                },
            }
        }
        made
    }

    fn lock(path: PathBuf) -> io::Result<Option<Self>> {
        let Ok(lock) = File::open(&path) else {
            return Ok(None);
        };
        let is_ours = take(&lock) && is_same(&path, &lock.metadata()?);
        Ok(is_ours.then_some(Self {
            path,
            is_finished: false,
            _lock: lock,
        }))
    }

    /// Its current path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames it to its final path, where nothing or an empty folder is.
    pub(crate) fn finish(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if !self.is_finished {
            // If it cannot be removed, a hidden folder stays.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A file that is being written (mode 0600); removed if it is dropped unfinished.
#[derive(Debug)]
pub(crate) struct WorkingFile {
    file: File,
    temporary: PathBuf,
    to: PathBuf,
    is_finished: bool,
}

impl WorkingFile {
    /// Begins a file beside its final path `to`.
    pub(crate) fn create(to: &Path) -> io::Result<Self> {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let temporary = to.with_file_name(format!(".{name}.{}{MARK}", std::process::id()));
        // A leftover of a killed process with the same PID, or a link that was planted.
        let _ = fs::remove_file(&temporary);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600);
        Ok(Self {
            file: file.open(&temporary)?,
            temporary,
            to: to.to_owned(),
            is_finished: false,
        })
    }

    /// Locks the file, so that it does not count as a leftover, and removes the leftovers of killed
    /// processes.
    pub(crate) fn sweep(&self) {
        // Without locks, leftovers cannot be told from files that are being written.
        if take(&self.file) {
            sweep(&self.to, Kind::File);
        }
    }

    /// The file, to be written to.
    pub(crate) const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Renames it to its final path.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.to)?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for WorkingFile {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
}

/// Removes leftovers: what no process has locked.
fn sweep(to: &Path, kind: Kind) {
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(parent.unwrap_or_else(|| Path::new("."))) else {
        return;
    };
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    for entry in entries.filter_map(Result::ok) {
        let is_named = |found: &str| is_working_name(found, &name, kind);
        if entry.file_name().to_str().is_some_and(is_named) {
            // A leftover that cannot be removed stays, and the others are removed.
            let _ = remove_left(&entry.path(), kind);
        }
    }
}

fn remove_left(path: &Path, kind: Kind) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    if !is_ours || Kind::of(&found) != Some(kind) {
        return Ok(());
    }
    let lock = File::open(path)?;
    if !take(&lock) || !is_same(path, &lock.metadata()?) {
        return Ok(());
    }
    match kind {
        Kind::Folder => fs::remove_dir_all(path),
        Kind::File => fs::remove_file(path),
    }
}

impl Kind {
    /// `None` for links and devices, which are never leftovers.
    fn of(found: &Metadata) -> Option<Self> {
        match found {
            found if found.is_dir() => Some(Self::Folder),
            found if found.is_file() => Some(Self::File),
            _ => None,
        }
    }
}

/// True for `.NAME.PID.N.modtape`, or for a file `.NAME.PID.modtape`.
fn is_working_name(found: &str, name: &str, kind: Kind) -> bool {
    let rest = found
        .strip_prefix('.')
        .and_then(|found| found.strip_prefix(name));
    let rest = rest.and_then(|rest| rest.strip_suffix(MARK));
    let Some(numbers) = rest.and_then(|rest| rest.strip_prefix('.')) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match (kind, numbers.split_once('.')) {
        (Kind::Folder, Some((pid, number))) => is_number(pid) && is_number(number),
        (Kind::File, None) => is_number(numbers),
        _ => false,
    }
}

fn take(file: &File) -> bool {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Between opening and locking, the path may have been removed or replaced.
fn is_same(path: &Path, opened: &Metadata) -> bool {
    let found = fs::symlink_metadata(path);
    found.is_ok_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino()))
}

/// Replaces a file whole or not at all: written under a hidden name, then renamed (mode 0600).
pub(crate) fn replace_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut working = WorkingFile::create(path)?;
    write(working.file())?;
    working.finish()
}

/// Opens a regular file for reading. A link is not followed, and a pipe is not waited for.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        let message = "it is not a regular file";
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}

/// Makes the names in a folder survive a power cut (fsync of the folder).
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_no_small_file_is_named_and_not_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        let pipe = at("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        fs::write(at("file"), "12345").unwrap();
        symlink("file", at("link")).unwrap();
        let said = |name: &str, limit| read_small(&at(name), limit).unwrap_err().to_string();
        assert_eq!(said("pipe", 9), "it is a pipe, not a file");
        assert_eq!(said("socket", 9), "it is a socket, not a file");
        assert_eq!(said(".", 9), "it is a folder, not a file");
        let device = read_small(Path::new("/dev/zero"), 9).unwrap_err();
        assert_eq!(device.to_string(), "it is a device, not a file");
        assert_eq!(
            said("file", 4),
            "it has 5 bytes, more than the 4 that are read"
        );
        assert_eq!(read_small(&at("link"), 5).unwrap(), b"12345");
        let missing = read_small(&at("gone"), 5).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_a_killed_process_left_goes_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("tree");
        let at_work = Working::create(&to).unwrap();
        let stays = [
            ".tree.1.0",
            ".tree.1.modtape",
            ".tree.b.0.modtape",
            ".trees.1.0.modtape",
        ];
        let goes = [".tree.1.0.modtape", ".tree.99999999.7.modtape"];
        for left in stays.into_iter().chain(goes) {
            fs::create_dir(temp.path().join(left)).unwrap();
            fs::write(temp.path().join(left).join("a"), "").unwrap();
        }
        fs::write(temp.path().join(".tree.2.0.modtape"), "").unwrap();
        symlink(temp.path(), temp.path().join(".tree.3.0.modtape")).unwrap();
        let second = Working::create(&to).unwrap();
        assert!(at_work.path().is_dir() && second.path() != at_work.path());
        drop((at_work, second));
        let mut all = [&stays[..], &[".tree.2.0.modtape", ".tree.3.0.modtape"]].concat();
        all.sort_unstable();
        assert_eq!(names(temp.path()), all);
    }

    #[test]
    fn files_in_the_making_go_with_the_next_one_unless_somebody_writes_them() {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("a.har");
        let [_left, written, _other] = [".a.har.1.modtape", ".a.har.2.modtape", ".a.har.1"]
            .map(|name| File::create(temp.path().join(name)).unwrap());
        assert!(take(&written));
        let mut ours = WorkingFile::create(&to).unwrap();
        ours.sweep();
        let beside = format!(".a.har.{}.modtape", std::process::id());
        let mut stay = [".a.har.1", ".a.har.2.modtape", &beside];
        stay.sort_unstable();
        assert_eq!(names(temp.path()), stay);
        ours.file().write_all(b"whole").unwrap();
        ours.finish().unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"whole");
        drop(WorkingFile::create(&to).unwrap());
        assert_eq!(
            names(temp.path()),
            [".a.har.1", ".a.har.2.modtape", "a.har"]
        );
    }
}
