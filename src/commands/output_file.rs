//! Files that a command was told to write: whole or not at all.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use anyhow::Context as _;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::files::{file_beside, lock_file, replace_by};

/// Writes the file at `path`: beside it first, then in its place (mode 0600). What is there but is
/// no regular file, such as `/dev/null` or a pipe, is written to and stays, and so is what is open
/// already (`/dev/stdout`); a link is followed.
pub(super) fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let open = |path: &Path| File::options().write(true).open(path);
    let written = write_or_replace(path, open, write);
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// The same, but a pipe that nobody reads is an error: it does not wait for who may never come.
pub(super) fn write_file_at_once<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let written = write_or_replace(path, open_at_once, write);
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Fails where [`write_file`] would: a file is made where there is none, and what is no file is
/// not opened, since a pipe would wait for its reader.
pub(super) fn probe(path: &Path) -> io::Result<()> {
    let is_special = |found: fs::Metadata| !found.is_file() && !found.is_dir();
    if fs::metadata(path).is_ok_and(is_special) {
        return Ok(());
    }
    File::options().append(true).create(true).open(path)?;
    Ok(())
}

/// fifo(7): opening a pipe for writing blocks until it has a reader, or says that it has none.
fn open_at_once(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.file_type().is_fifo() {
        return File::options().write(true).open(path);
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let pipe = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NXIO => io::Error::other("no process reads this pipe"),
        errno => errno.into(),
    })?;
    rustix::fs::fcntl_setfl(&pipe, OFlags::empty())?;
    Ok(pipe.into())
}

fn write_or_replace<T>(
    path: &Path,
    open: impl FnOnce(&Path) -> io::Result<File>,
    write: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    match (fs::metadata(path), descriptor(path)) {
        (Ok(found), _) if !found.is_file() => write(&mut open(path)?),
        (Ok(_), Some(number)) => write(&mut opened(path, number)?),
        (Ok(_), None) => replace(&path.canonicalize()?, write),
        (Err(_), _) => replace(path, write),
    }
}

/// The most links that are followed; Linux's own bound (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// The number of the open file that a path means: `/dev/stdout`, `/dev/fd/3`, a link to one of them
/// (proc(5), "/proc/pid/fd/").
fn descriptor(path: &Path) -> Option<u32> {
    let own = fs::canonicalize("/proc/self/fd").ok();
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = parent
            .unwrap_or_else(|| Path::new("."))
            .canonicalize()
            .ok()?;
        if Some(&dir) == own.as_ref() || dir == Path::new("/dev/fd") {
            return path.file_name()?.to_str()?.parse().ok();
        }
        path = dir.join(fs::read_link(&path).ok()?);
    }
    None
}

/// What is open there, to go on where its owner is. Others than our own streams are opened anew:
/// at their end, since what is in there is not ours to overwrite.
fn opened(path: &Path, number: u32) -> io::Result<File> {
    Ok(match number {
        1 => io::stdout().as_fd().try_clone_to_owned()?.into(),
        2 => io::stderr().as_fd().try_clone_to_owned()?.into(),
        _ => File::options().append(true).open(path)?,
    })
}

fn replace<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut outcome = None;
    let replaced = replace_by(&file_beside(path), path, |file| {
        lock_file(file, path);
        let written = outcome.insert(write(file));
        let is_written = written.is_ok();
        is_written
            .then_some(())
            .ok_or_else(|| io::ErrorKind::Other.into())
    });
    match outcome {
        Some(Err(error)) => Err(error),
        Some(Ok(value)) => Ok(replaced.map(|()| value)?),
        None => match replaced {
            Err(error) => Err(error.into()),
            Ok(()) => unreachable!("the file is not in place before it is written"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.har");
        write_file(&path, |file| Ok(file.write_all(b"old")?)).unwrap();
        let failed: anyhow::Result<()> = write_file(&path, |file| {
            file.write_all(b"half")?;
            anyhow::bail!("the recording is gone")
        });
        let error = failed.unwrap_err();
        assert!(format!("{error:#}").ends_with("a.har: the recording is gone"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_open_already_is_written_to_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "old").unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        let link = dir.path().join("b");
        let number = file.as_raw_fd();
        symlink(format!("/dev/fd/{number}"), &link).unwrap();
        for path in [format!("/dev/fd/{number}").as_ref(), &*link] {
            write_file(path, |file| Ok(file.write_all(b"+")?)).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"old++");
        assert_eq!(descriptor("/dev/stdout".as_ref()), Some(1));
        for no in [&path, &dir.path().join("absent")] {
            assert_eq!(descriptor(no), None);
        }
    }

    #[test]
    fn devices_and_links_stay_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&path, "old").unwrap();
        symlink(&path, &link).unwrap();
        write_file(&link, |file| Ok(file.write_all(b"new")?)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(link.is_symlink());
        let null = dir.path().join("null");
        symlink("/dev/null", &null).unwrap();
        write_file(&null, |file| Ok(file.write_all(b"new")?)).unwrap();
        assert!(!fs::metadata(&null).unwrap().is_file());
    }
}
