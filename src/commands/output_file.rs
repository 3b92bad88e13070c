//! The files that `-o` and similar flags name: written whole or not at all.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::files::WorkingFile;

/// A file that is being written under a hidden name, and renamed at the end (mode 0600).
///
/// A device, a pipe or a file that is open already (`/dev/stdout`) is written to and not replaced;
/// a link is followed.
#[derive(Debug)]
pub(super) struct OutputFile {
    path: PathBuf,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// A device, a pipe or an open file.
    InPlace(File),
    /// A regular file, old or new.
    Beside(WorkingFile),
}

impl OutputFile {
    /// Opens `path` for writing; a pipe waits for its reader.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        Self::open(path, |path| File::options().write(true).open(path))
    }

    /// The same, but a pipe without a reader is an error: it does not wait for one.
    pub(super) fn create_at_once(path: &Path) -> anyhow::Result<Self> {
        Self::open(path, open_at_once)
    }

    fn open(path: &Path, open: fn(&Path) -> io::Result<File>) -> anyhow::Result<Self> {
        let target = Target::open(path, open).with_context(|| cannot_write(path))?;
        let path = path.to_owned();
        Ok(Self { path, target })
    }

    /// The file, to be written to.
    pub(super) const fn file(&mut self) -> &mut File {
        match &mut self.target {
            Target::InPlace(file) => file,
            Target::Beside(working) => working.file(),
        }
    }

    /// Renames the file to its path if all was `written`; else the old file stays.
    pub(super) fn finish<T, E>(self, written: Result<T, E>) -> anyhow::Result<T>
    where
        Result<T, E>: anyhow::Context<T, E>,
    {
        let written = written.with_context(|| cannot_write(&self.path))?;
        if let Target::Beside(working) = self.target {
            working.finish().with_context(|| cannot_write(&self.path))?;
        }
        Ok(written)
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

impl Target {
    fn open(path: &Path, open: fn(&Path) -> io::Result<File>) -> io::Result<Self> {
        let to = match (fs::metadata(path), descriptor(path)) {
            (Ok(found), _) if !found.is_file() => return open(path).map(Self::InPlace),
            (Ok(_), Some(number)) => return opened(path, number).map(Self::InPlace),
            (Ok(_), None) => path.canonicalize()?,
            (Err(_), _) => path.to_owned(),
        };
        let working = WorkingFile::create(&to)?;
        working.sweep();
        Ok(Self::Beside(working))
    }
}

/// Writes the file at `path`, see [`OutputFile`].
pub(super) fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut output = OutputFile::create(path)?;
    let written = write(output.file());
    output.finish(written)
}

/// Fails if [`write_file`] would. A missing file is created; a device or a pipe is not opened,
/// since a pipe would wait for its reader.
pub(super) fn probe(path: &Path) -> io::Result<()> {
    let is_special = |found: fs::Metadata| !found.is_file() && !found.is_dir();
    if fs::metadata(path).is_ok_and(is_special) {
        return Ok(());
    }
    File::options().append(true).create(true).open(path)?;
    Ok(())
}

/// Opens without waiting: opening a pipe for writing blocks until it has a reader, unless it is
/// non-blocking (fifo(7)).
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

/// The most links that are followed; Linux's own bound (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// The descriptor that a path names: `/dev/stdout`, `/dev/fd/3`, or a link to one of them (proc(5),
/// "/proc/pid/fd/").
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

/// The file behind a descriptor. stdout and stderr are shared, so that writing goes on where they
/// are; other files are opened to append, so that their content is not overwritten.
fn opened(path: &Path, number: u32) -> io::Result<File> {
    Ok(match number {
        1 => io::stdout().as_fd().try_clone_to_owned()?.into(),
        2 => io::stderr().as_fd().try_clone_to_owned()?.into(),
        _ => File::options().append(true).open(path)?,
    })
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
