//! A private folder for GOPATH and the module cache, removed at the end.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::FdFlags;

/// The prefix of the names of these folders.
const PREFIX: &str = "modtape-cold-";

/// A younger folder does not count as a leftover: it may be new and not locked yet.
const SETTLED: Duration = Duration::from_secs(60);

/// A private folder, which is removed with its content on drop.
///
/// It is locked as long as the process that made it or any of its children lives, so that a later
/// process can tell a leftover from a folder in use.
#[derive(Debug)]
pub(crate) struct PrivateDir {
    path: PathBuf,
    /// Inherited by every child: a command may outlive its recorder.
    _lock: File,
}

impl PrivateDir {
    /// Makes one below `parent` (mode 0700), and removes the leftovers of killed processes there.
    pub(crate) fn new(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = open_dir(dir.path())?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        rustix::io::fcntl_setfd(&lock, FdFlags::empty())?;
        Ok(Self {
            path: dir.keep(),
            _lock: lock,
        })
    }

    /// The path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes the folders that killed processes of this user left in `parent`.
fn sweep(parent: &Path) {
    let user = rustix::process::getuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_named_so = name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        // A link is not opened, so nothing outside is ever changed.
        let Some(dir) = is_named_so.then(|| open_dir(&entry.path()).ok()).flatten() else {
            continue;
        };
        let is_left = dir.metadata().is_ok_and(|dir| {
            let age = dir.modified().ok().and_then(|made| made.elapsed().ok());
            dir.uid() == user && age.is_some_and(|age| age > SETTLED)
        });
        if is_left && rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&entry.path());
        }
    }
}

/// Opens a folder; a link is an error.
pub(crate) fn open_dir(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Removes a folder with its content, as far as possible.
fn remove(dir: &Path) {
    // The go command makes the folders of its module cache read-only.
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let _ = fs::set_permissions(&folder, Permissions::from_mode(0o700));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        // The type of the entry itself: the target of a link is not changed.
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(below.map(|entry| entry.path()));
    }
    let _ = fs::remove_dir_all(dir);
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_goes_even_with_read_only_folders_and_leaves_what_links_point_to() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o500)).unwrap();
        let private = PrivateDir::new(temp.path()).unwrap();
        for module in 0..50 {
            let below = private
                .path()
                .join(format!("pkg/mod/cache/m{module}/@v/a/b"));
            fs::create_dir_all(&below).unwrap();
            fs::write(below.join("list"), "v1.0.0").unwrap();
        }
        let module = private.path().join("pkg/mod/m@v1");
        fs::create_dir_all(&module).unwrap();
        fs::write(module.join("go.mod"), "module m").unwrap();
        std::os::unix::fs::symlink(&outside, module.join("link")).unwrap();
        fs::set_permissions(&module, Permissions::from_mode(0o555)).unwrap();
        let path = private.path().to_owned();
        drop(private);
        assert!(!path.exists());
        assert_eq!(
            fs::metadata(&outside).unwrap().permissions().mode() & 0o777,
            0o500
        );
    }

    #[test]
    fn what_a_killed_one_left_goes_with_the_next_and_what_is_in_use_stays() {
        let temp = tempfile::tempdir().unwrap();
        let aged = |name: &str| {
            let dir = temp.path().join(name);
            fs::create_dir_all(dir.join("pkg")).unwrap();
            let long_ago = std::time::SystemTime::UNIX_EPOCH;
            open_dir(&dir).unwrap().set_modified(long_ago).unwrap();
            dir
        };
        let (left, used, foreign) = (
            aged("modtape-cold-left"),
            aged("modtape-cold-used"),
            aged("go-build1"),
        );
        let young = temp.path().join("modtape-cold-young");
        fs::create_dir(&young).unwrap();
        let lock = open_dir(&used).unwrap();
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let private = PrivateDir::new(temp.path()).unwrap();
        assert!(!left.exists());
        for dir in [&used, &foreign, &young, private.path()] {
            assert!(dir.exists(), "{}", dir.display());
        }
    }

    #[test]
    fn a_command_that_outlives_its_maker_keeps_it_locked() {
        let temp = tempfile::tempdir().unwrap();
        let private = PrivateDir::new(temp.path()).unwrap();
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let PrivateDir { path, .. } = &private;
        let other = open_dir(path).unwrap();
        let locked = || rustix::fs::flock(&other, FlockOperation::NonBlockingLockExclusive);
        // As a kill would: the descriptor goes, the folder stays.
        let path = path.clone();
        fs::rename(&path, temp.path().join("elsewhere")).unwrap();
        drop(private);
        assert!(locked().is_err());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(locked().is_ok());
    }
}
