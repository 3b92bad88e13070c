//! Making a recording's folder, and replacing its manifest.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::format::{BODIES, JOURNAL, MANIFEST, Manifest};
use super::replaced::{self, Replaced};
use super::sync::sync_dir;

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
    replaced::recover(dir, replace)?;
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
    })
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
    replaced::check(dir)
}

/// Puts a recording that was made elsewhere into its place; with `replace`, the one there goes.
pub(crate) fn place(made: &Path, dir: &Path, replace: bool) -> Result<(), CreateError> {
    replaced::recover(dir, replace)?;
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

/// Writes `recording.json` anew: a temporary file, then a rename.
pub fn write_manifest(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let text = manifest_text(manifest)?;
    replace_file(&dir.join(MANIFEST), |file| file.write_all(&text))
}

/// The same, and it survives a power cut that comes after.
pub(crate) fn write_manifest_durably(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let text = manifest_text(manifest)?;
    replace_file(&dir.join(MANIFEST), |file| {
        file.write_all(&text)?;
        file.sync_all()
    })?;
    sync_dir(dir)
}

fn manifest_text(manifest: &Manifest) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    Ok(text)
}

/// Puts a file in place whole or not at all: written beside it, then renamed (mode 0600).
pub(crate) fn replace_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    replace_by(&temporary, path, write)
}

/// The same, written to `temporary`, which stands beside it.
pub(crate) fn replace_by(
    temporary: &Path,
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    // Left by a recorder of our number that was killed, or planted as a link to something else.
    let _ = fs::remove_file(temporary);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)
        .and_then(|mut file| write(&mut file))
        .and_then(|()| fs::rename(temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::format::RESERVE;
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
        for name in [RESERVE, ".recording.json.4711", ".session.har.1"] {
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
}
