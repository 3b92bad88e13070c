//! Files that a command was told to write: whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::Context as _;

use crate::recording::create::replace_file;

/// Writes the file at `path`: beside it first, then in its place (mode 0600). What is there but is
/// no regular file, such as `/dev/null` or a pipe, is written to and stays; a link is followed.
pub(super) fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    write_or_replace(path, write).with_context(|| format!("cannot write {}", path.display()))
}

fn write_or_replace<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => write(&mut File::options().write(true).open(path)?),
        Ok(_) => replace(&path.canonicalize()?, write),
        Err(_) => replace(path, write),
    }
}

fn replace<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut outcome = None;
    let replaced = replace_file(path, |file| {
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
