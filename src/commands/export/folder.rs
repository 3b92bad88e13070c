//! A folder that is made whole or not at all: beside its place first, then renamed.
//!
//! Never follows a link, and never touches a folder that holds anything.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::super::failure::Advise as _;
use crate::files::Working;

/// A folder in the making; removed when it is dropped unfinished.
#[derive(Debug)]
pub(super) struct Folder {
    working: Working,
    to: PathBuf,
}

impl Folder {
    /// Begins the folder `to`, which is not there yet, or empty.
    pub(super) fn create(to: &Path) -> anyhow::Result<Self> {
        let told = || format!("cannot write {}", to.display());
        check(to).with_context(told).help(HELP)?;
        let working = Working::create(to).with_context(told)?;
        let to = to.to_owned();
        Ok(Self { working, to })
    }

    /// A new file (mode 0600) at a path below the folder, whose elements are names.
    pub(super) fn file(&self, path: &str) -> io::Result<File> {
        let path = self.working.path().join(path);
        if let Some(parent) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(path)
    }

    /// A new file with this text.
    pub(super) fn text(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let written = self
            .file(path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| self.told(path))
    }

    /// Takes a file away again.
    pub(super) fn remove(&self, path: &str) -> anyhow::Result<()> {
        fs::remove_file(self.working.path().join(path)).with_context(|| self.told(path))
    }

    /// What stands before the reason why a file below it cannot be written.
    pub(super) fn told(&self, path: &str) -> String {
        format!("cannot write {}", self.to.join(path).display())
    }

    /// Puts it in its place.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let finished = self.working.finish(&self.to);
        finished.with_context(|| format!("cannot write {}", self.to.display()))
    }
}

const HELP: &str = "name a folder that is not there yet, or an empty one";

fn check(to: &Path) -> anyhow::Result<()> {
    let found = match fs::symlink_metadata(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if found.is_symlink() {
        bail!("it is a link");
    }
    if !found.is_dir() {
        bail!("it is not a folder");
    }
    if fs::read_dir(to)?.next().is_some() {
        bail!("it is not empty");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("tree");
        let folder = Folder::create(&to).unwrap();
        folder.text("a.b/c/@v/list", "v1.0.0\n").unwrap();
        assert!(!to.exists());
        drop(folder);
        assert!(names(dir.path()).is_empty());
        fs::create_dir(&to).unwrap();
        let folder = Folder::create(&to).unwrap();
        folder.text("a.b/c/@v/list", "v1.0.0\n").unwrap();
        folder.finish().unwrap();
        let list = fs::read(to.join("a.b/c/@v/list")).unwrap();
        assert_eq!(list, b"v1.0.0\n");
        assert_eq!(names(dir.path()), ["tree"]);
    }

    #[test]
    fn what_is_no_empty_folder_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let [full, file, empty, link] =
            ["full", "file", "empty", "link"].map(|name| dir.path().join(name));
        fs::create_dir(&full).unwrap();
        fs::create_dir(&empty).unwrap();
        fs::write(full.join("a"), "").unwrap();
        fs::write(&file, "").unwrap();
        symlink(&empty, &link).unwrap();
        for (to, why) in [
            (full, "it is not empty"),
            (file, "it is not a folder"),
            (link, "it is a link"),
        ] {
            let error = Folder::create(&to).unwrap_err();
            assert!(format!("{error:#}").ends_with(why), "{error:#}");
        }
        assert_eq!(names(dir.path()).len(), 4);
    }
}
