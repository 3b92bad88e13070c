//! The module cache before a command uses it: whether it can be written, and who holds its locks.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use super::cached_modules::{self, Deadline};
use super::processes::locks_below;
use crate::diagnose::doctor::facts::Cache;
use crate::gomod::GoSum;
use crate::recording::caches::{CacheFolder, CheckedModules, Forbidden};
use crate::redact::Redactor;

/// How long the modules in the cache are looked at.
const MODULES: Duration = Duration::from_secs(2);

/// The modules of `go_sum` in the module cache at `path`.
pub(crate) fn check_modules(path: &Path, go_sum: &GoSum) -> CheckedModules {
    cached_modules::check(path, go_sum, MODULES)
}

/// Looks at what is around and in the module cache at `path`, of which [`storage`] has told; not at the
/// modules. In `home` another one could be.
pub(crate) fn look_at(
    folder: CacheFolder,
    path: &Path,
    home: Option<&Path>,
    redactor: &Redactor,
) -> Cache {
    let above = nearest(path);
    let file_system = file_system(&above);
    let is_writable = folder.exists && folder.write_error.is_none();
    let inside = is_writable.then(|| forbidden_part(path)).flatten();
    Cache {
        elsewhere: home.and_then(|home| elsewhere(path, home)),
        forbidden: folder.forbidden.clone().or(inside),
        looked_at: above.display().to_string(),
        is_remote: file_system.as_deref().is_some_and(is_remote),
        file_system,
        locks: locks_below(
            &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
            redactor,
        ),
        ..Cache::of(folder)
    }
}

/// The folder of a cache: whether a file can be made in it, which is removed again, and how much is free.
pub(crate) fn storage(path: &Path) -> CacheFolder {
    let exists = path.is_dir();
    let folder = nearest(path);
    // Where nothing is free, a file can be made and not written.
    let probe = tempfile::Builder::new()
        .prefix("modtape-")
        .tempfile_in(&folder)
        .and_then(|mut file| file.write_all(&[0]));
    let write_error = match (&probe, fs::symlink_metadata(path)) {
        (_, Ok(found)) if !exists && !found.is_symlink() => {
            Some(String::from("it is not a folder"))
        }
        (_, Ok(_)) if !exists => Some(String::from("it is a link to nowhere")),
        (Err(error), _) => Some(error_text(error)),
        (Ok(()), _) => None,
    };
    let is_right = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let is_forbidden = probe.as_ref().is_err_and(is_right);
    let free = rustix::fs::statvfs(&folder).ok();
    CacheFolder {
        path: path.display().to_string(),
        exists,
        write_error,
        forbidden: is_forbidden.then(|| forbidden(&folder)).flatten(),
        free_bytes: free.map(|free| free.f_bavail.saturating_mul(free.f_frsize)),
    }
}

/// Another place for the module cache at `path`: below the home folder, where it is the user's own and on
/// a local disk.
fn elsewhere(path: &Path, home: &Path) -> Option<String> {
    let owner = fs::metadata(home).ok()?.uid();
    let is_own = owner == rustix::process::geteuid().as_raw();
    let is_local = file_system(home).is_none_or(|kind| !is_remote(&kind));
    let other = home.join(".cache/gomodcache");
    let is_fine = is_own && is_local && home.is_absolute() && other != path;
    let can_write = !is_forbidden(home, Access::WRITE_OK | Access::EXEC_OK);
    (is_fine && can_write).then(|| other.display().to_string())
}

/// So many names of the cache are looked at, for so long: one of many thousands is not worth the wait.
const LOOKED_AT: usize = 5_000;
const PARTS: Duration = Duration::from_secs(2);

/// The first folder or lock of the module cache that this user cannot write, though the go command
/// has to: it adds files to the folders above the modules, and opens locks to write.
pub(super) fn forbidden_part(cache: &Path) -> Option<Forbidden> {
    let mut folders = VecDeque::from([cache.to_owned()]);
    let mut left = LOOKED_AT;
    let until = Deadline::within(PARTS);
    while let Some(folder) = folders.pop_front() {
        if is_forbidden(&folder, Access::WRITE_OK | Access::EXEC_OK) {
            return forbidden(&folder);
        }
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            left = left.checked_sub(1).filter(|_| !until.is_over())?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() && !is_read_only(&folder, &name) {
                folders.push_back(entry.path());
            }
            let is_lock = name == "lock" || name.ends_with(".lock");
            if kind.is_file() && is_lock && is_forbidden(&entry.path(), Access::WRITE_OK) {
                return forbidden(&entry.path());
            }
        }
    }
    None
}

/// Whether the go command itself takes away the right to write there: a module's files, which lie in a
/// folder `PATH@VERSION`. Clones (`cache/vcs`) are large, and git's own.
fn is_read_only(above: &Path, name: &str) -> bool {
    let is_module = name.contains('@') && name != "@v";
    is_module || (name == "vcs" && above.ends_with("cache"))
}

fn is_forbidden(path: &Path, access: Access) -> bool {
    // By the rights of the effective user, as `open` asks.
    let asked = rustix::fs::accessat(rustix::fs::CWD, path, access, AtFlags::EACCESS);
    matches!(asked, Err(Errno::ACCESS | Errno::PERM))
}

/// Whose a file or folder is that this user may not use.
pub(super) fn forbidden(path: &Path) -> Option<Forbidden> {
    // What lies in a folder that cannot be entered is not seen: that one it is, then.
    let mut seen = path.ancestors().filter_map(|path| {
        let found = fs::symlink_metadata(path).ok()?;
        Some((path, found))
    });
    let (path, found) = seen.next()?;
    Some(Forbidden {
        path: path.display().to_string(),
        owner: found.uid(),
        is_own: found.uid() == rustix::process::geteuid().as_raw(),
    })
}

/// An error without the path of the temporary file, which is random.
pub(super) fn error_text(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code).to_string(),
        None => match error.get_ref().and_then(|inner| inner.source()) {
            Some(source) => source.to_string(),
            None => error.kind().to_string(),
        },
    }
}

/// The folder itself, or the nearest above it that exists.
fn nearest(path: &Path) -> PathBuf {
    let mut above = path.ancestors().filter(|folder| folder.is_dir());
    above.next().unwrap_or_else(|| Path::new("/")).to_owned()
}

/// The type of the file system that holds `folder` (proc_pid_mountinfo(5)).
#[cfg(target_os = "linux")]
fn file_system(folder: &Path) -> Option<String> {
    let folder = fs::canonicalize(folder).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    type_of_mount(&mounts, &folder)
}

#[cfg(not(target_os = "linux"))]
fn file_system(_: &Path) -> Option<String> {
    None
}

/// The type of the mount with the longest path that `folder` lies below; of two at the same path
/// the later one hides the other.
#[cfg(any(target_os = "linux", test))]
fn type_of_mount(mounts: &str, folder: &Path) -> Option<String> {
    let found = mounts.lines().filter_map(|line| {
        let (before, behind) = line.split_once(" - ")?;
        let point = unescaped(before.split(' ').nth(4)?);
        let point = Path::new(&point);
        let depth = point.components().count();
        folder
            .starts_with(point)
            .then(|| Some((depth, behind.split(' ').next()?.to_owned())))?
    });
    found.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

/// A path of that list: `\040` is a space.
#[cfg(any(target_os = "linux", test))]
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4);
        let code = code.and_then(|code| u8::from_str_radix(code, 8).ok());
        plain.push(code.map_or('\\', char::from));
        rest = &rest[at + if code.is_some() { 4 } else { 1 }..];
    }
    plain + rest
}

/// Whether a file system is shared with other machines, or with the host of a virtual one: there
/// locks and small files are slow, or do not work.
fn is_remote(kind: &str) -> bool {
    const REMOTE: [&str; 18] = [
        "9p",
        "afs",
        "afpfs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "drvfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
    ];
    const FUSE: [&str; 6] = ["sshfs", "s3fs", "gcsfuse", "glusterfs", "rclone", "davfs"];
    let fuse = kind.strip_prefix("fuse.");
    REMOTE.contains(&kind) || fuse.is_some_and(|name| FUSE.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_folder_is_the_nearest_and_the_latest() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      23 22 0:40 / /home/a\\040b rw shared:1 - nfs4 server:/home rw\n\
                      24 22 0:41 / /mnt rw - ext4 /dev/sdb rw\n\
                      25 22 0:42 / /mnt rw - fuse.sshfs host: rw\n";
        for (folder, kind) in [
            ("/var/tmp", "ext4"),
            ("/home/a b/go", "nfs4"),
            ("/home/a", "ext4"),
            ("/mnt/go", "fuse.sshfs"),
            ("/mnt2", "ext4"),
        ] {
            let found = type_of_mount(mounts, Path::new(folder));
            assert_eq!(found.as_deref(), Some(kind), "{folder}");
        }
        assert_eq!(type_of_mount("", Path::new("/")), None);
        assert!(
            ["nfs4", "9p", "fuse.sshfs", "virtiofs"]
                .iter()
                .all(|kind| is_remote(kind))
        );
        assert!(
            !["ext4", "overlay", "fuse.overlayfs", "btrfs", "tmpfs"]
                .iter()
                .any(|kind| is_remote(kind))
        );
        assert_eq!(unescaped("/a\\040b\\x\\134"), "/a b\\x\\");
    }

    #[test]
    fn another_place_is_in_a_folder_of_ones_own() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path();
        let other = home.join(".cache/gomodcache").display().to_string();
        let is_local = file_system(home).is_none_or(|kind| !is_remote(&kind));
        assert_eq!(elsewhere(Path::new("/x"), home).is_some(), is_local);
        assert_eq!(elsewhere(Path::new(&other), home), None);
        assert_eq!(elsewhere(Path::new("/x"), &home.join("none")), None);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above_it() {
        let looked = |path: &Path| look_at(storage(path), path, None, &Redactor::off());
        let temp = tempfile::tempdir().unwrap();
        let cache = looked(&temp.path().join("pkg/mod"));
        assert!(!cache.exists && cache.write_error.is_none(), "{cache:?}");
        assert_eq!(cache.looked_at, temp.path().display().to_string());
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = looked(&file);
        assert_eq!(cache.write_error.as_deref(), Some("it is not a folder"));
        assert_eq!(
            fs::read_dir(temp.path()).unwrap().count(),
            1,
            "nothing is left"
        );
    }
}
