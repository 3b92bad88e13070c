//! The folder of recordings: which there are, and what one may be called.
//!
//! Reads manifests only; never the environment, and never writes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::format::{JOURNAL, MANIFEST, Manifest};
use super::manifest::read_manifest;

/// The longest name of a recording, bytes: what file systems take.
const NAME_LIMIT: usize = 255;

/// A recording in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its folder's name.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) path: PathBuf,
    /// Its manifest, if it can be read.
    pub(crate) manifest: Option<Manifest>,
}

impl Entry {
    /// When it was started, if that is known.
    pub(crate) fn started(&self) -> Option<OffsetDateTime> {
        let started = &self.manifest.as_ref()?.started;
        OffsetDateTime::parse(started, &Rfc3339).ok()
    }
}

/// What a folder of recordings holds.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The recordings, newest first; those of equal age by name.
    pub(crate) entries: Vec<Entry>,
    /// Folders that could not be searched for a recording, and why not.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
}

/// The recordings in `recordings_dir`.
///
/// Anything else in it is skipped; a folder that does not exist holds none.
pub(crate) fn list(recordings_dir: &Path) -> io::Result<Listing> {
    let found = match fs::read_dir(recordings_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
        found => found?,
    };
    let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
    for entry in found {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        // A name that is not text cannot be given on the command line, and one that is hidden is not
        // that of a recording but of one that is being made or replaced.
        let name = name.filter(|name| !name.starts_with('.'));
        let Some(name) = name else { continue };
        let found = holds_recording(&path).unwrap_or_else(|error| {
            unreadable.push((path.clone(), error));
            false
        });
        if found {
            let name = name.to_owned();
            let manifest = read_manifest(&path).ok();
            let entry = Entry {
                name,
                path,
                manifest,
            };
            entries.push((entry.started(), entry));
        }
    }
    entries.sort_by(|(a_started, a), (b_started, b)| {
        b_started.cmp(a_started).then_with(|| a.name.cmp(&b.name))
    });
    unreadable.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Listing {
        entries: entries.into_iter().map(|(_, entry)| entry).collect(),
        unreadable,
    })
}

/// Whether `path` is a folder with a journal or a manifest.
pub(crate) fn is_recording(path: &Path) -> bool {
    holds_recording(path).unwrap_or(false)
}

/// The same, or why that cannot be found out. A path that leads nowhere holds no recording.
fn holds_recording(path: &Path) -> io::Result<bool> {
    for name in [JOURNAL, MANIFEST] {
        match fs::metadata(path.join(name)) {
            Ok(found) if found.is_file() => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(false)
}

/// Whether `name` is a path rather than a name in the folder of recordings.
pub(crate) fn is_path(name: &str) -> bool {
    name.contains(std::path::is_separator) || matches!(name, "." | "..")
}

/// Why a recording cannot have this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// It is empty.
    #[error("a recording's name cannot be empty")]
    Empty,
    /// It is longer than file systems take.
    #[error("a recording's name cannot be longer than {NAME_LIMIT} bytes")]
    TooLong,
    /// It starts as hidden files, references or options do.
    #[error("a recording's name cannot start with {0:?}")]
    Start(char),
    /// It holds a separator or a control character.
    #[error("a recording's name cannot hold {0:?}")]
    Character(char),
}

/// Checks that a recording may be made under `name`, which is not a path.
pub(crate) fn check_name(name: &str) -> Result<(), NameError> {
    let Some(first) = name.chars().next() else {
        return Err(NameError::Empty);
    };
    if name.len() > NAME_LIMIT {
        return Err(NameError::TooLong);
    }
    // A backslash too: the folder may be carried to a system where it separates.
    let refused = |c: &char| c.is_control() || matches!(c, '/' | '\\');
    match name.chars().find(refused) {
        Some(character) => Err(NameError::Character(character)),
        None if matches!(first, '.' | '@' | '-') => Err(NameError::Start(first)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::State;
    use super::super::sample;
    use super::*;

    /// Recordings with the given names and starts.
    fn recordings(of: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, started) in of {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            sample::write(&path, &sample::journal(), State::Closed);
            let mut manifest = read_manifest(&path).unwrap();
            manifest.started = (*started).into();
            fs::write(path.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
        }
        dir
    }

    fn three() -> tempfile::TempDir {
        recordings(&[
            ("tidy-1122-0452", "2026-11-22T04:52:00Z"),
            ("build-1122-0453", "2026-11-22T04:52:00.5Z"),
            ("get-1121-0101", "2026-11-21T01:01:00Z"),
        ])
    }

    fn names(dir: &Path) -> Vec<String> {
        list(dir)
            .unwrap()
            .entries
            .into_iter()
            .map(|entry| entry.name)
            .collect()
    }

    #[test]
    fn recordings_are_listed_newest_first_and_nothing_else_is() {
        let dir = three();
        fs::write(dir.path().join(".gitignore"), "*\n").unwrap();
        fs::create_dir(dir.path().join("empty")).unwrap();
        // What is being replaced is no recording beside its successor.
        let old = recordings(&[("old", "2026-11-22T04:52:00Z")]);
        let aside = dir.path().join(".get-1121-0101.replaced");
        fs::rename(old.path().join("old"), aside).unwrap();
        let expected = ["build-1122-0453", "tidy-1122-0452", "get-1121-0101"];
        assert_eq!(names(dir.path()), expected);
        assert!(names(&dir.path().join("absent")).is_empty());
    }

    #[test]
    fn a_recording_without_a_readable_manifest_is_listed_last() {
        let dir = three();
        fs::write(dir.path().join("build-1122-0453").join(MANIFEST), "{").unwrap();
        assert_eq!(names(dir.path())[2], "build-1122-0453");
        assert_eq!(list(dir.path()).unwrap().entries[2].manifest, None);
    }

    #[test]
    fn names_that_would_leave_the_folder_or_hide_in_it_are_refused() {
        for name in ["tidy-1122-0452", "a b", "größe", "v1.2.3", &"x".repeat(255)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert_eq!(check_name(&"x".repeat(256)), Err(NameError::TooLong));
        for name in [".", "..", ".hidden", "@last", "-rf"] {
            assert!(
                matches!(check_name(name), Err(NameError::Start(_))),
                "{name}"
            );
        }
        for name in [
            "../x",
            "a/b",
            "a\\b",
            "a\nb",
            "a\0b",
            "\u{1b}[31m",
            "x\u{85}",
        ] {
            assert!(
                matches!(check_name(name), Err(NameError::Character(_))),
                "{name:?}"
            );
        }
    }
}
