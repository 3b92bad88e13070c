//! The folder of recordings: which there are, which one is meant, and what one may be called.
//!
//! Reads manifests only; never the environment, and never writes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::format::{JOURNAL, MANIFEST, Manifest};
use super::manifest::read_manifest;
use super::writer::folder::is_aside;

/// The longest name of a recording, octets: what file systems take.
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
    /// Folders of which it cannot be told whether they are recordings, and why not.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
}

/// The recordings in `recordings_dir`.
///
/// What is no recording is passed over; a folder that does not exist holds none.
pub(crate) fn list(recordings_dir: &Path) -> io::Result<Listing> {
    let found = match fs::read_dir(recordings_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
        found => found?,
    };
    let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
    for entry in found {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        // A name that is not text cannot be given on the command line either.
        let name = name.filter(|name| !is_aside(name));
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

/// Whether `path` looks like a recording: it opens, or says why not.
fn is_recording(path: &Path) -> bool {
    holds_recording(path).unwrap_or(false)
}

/// The same, or why it cannot be told. What is no folder, or a link to nothing, holds none.
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

/// Why a name means no recording.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// There is none of this name.
    #[error("there is no recording {name} in {recordings_dir}")]
    NotFound {
        /// The name that was given.
        name: String,
        /// Where it was looked for.
        recordings_dir: PathBuf,
        /// The name that is most like it.
        similar: Option<String>,
    },
    /// There is nothing at this path.
    #[error("there is no folder {path}")]
    NoFolder {
        /// The path that was given.
        path: PathBuf,
    },
    /// `@` with something that is not `last` or a number from 1.
    #[error("{name} is neither @last nor @ with a number from 1")]
    Reference {
        /// What was given.
        name: String,
    },
    /// There are fewer recordings than that.
    #[error("there is no {name}: {recordings_dir} holds {have} recording{}", if *.have == 1 { "" } else { "s" })]
    TooFew {
        /// What was given.
        name: String,
        /// Where it was looked for.
        recordings_dir: PathBuf,
        /// How many there are.
        have: usize,
    },
    /// The folder cannot be read.
    #[error("cannot read {recordings_dir}")]
    Unreadable {
        /// The folder.
        recordings_dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The folder of the recording that `name` means.
///
/// `@last` and `@1` mean the newest, `@2` the one before; what holds a separator, or is `.` or
/// `..`, is a path; anything else is a name in `recordings_dir`, or a folder here.
pub(crate) fn resolve(recordings_dir: &Path, name: &str) -> Result<PathBuf, ResolveError> {
    if let Some(reference) = name.strip_prefix('@') {
        return nth(recordings_dir, name, reference);
    }
    if is_path(name) {
        let path = PathBuf::from(name);
        return match path.is_dir() {
            true => Ok(path),
            false => Err(ResolveError::NoFolder { path }),
        };
    }
    let named = recordings_dir.join(name);
    if !name.is_empty() && named.is_dir() {
        return Ok(named);
    }
    let here = PathBuf::from(name);
    if is_recording(&here) && !name.is_empty() {
        return Ok(here);
    }
    let entries = entries(recordings_dir)?;
    Err(ResolveError::NotFound {
        name: name.into(),
        recordings_dir: recordings_dir.into(),
        similar: most_like(name, entries.into_iter().map(|entry| entry.name)),
    })
}

fn nth(recordings_dir: &Path, name: &str, reference: &str) -> Result<PathBuf, ResolveError> {
    let number = match reference {
        "last" => Some(1),
        digits if digits.bytes().all(|octet| octet.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    };
    let Some(index) = number.and_then(|number: usize| number.checked_sub(1)) else {
        return Err(ResolveError::Reference { name: name.into() });
    };
    let mut entries = entries(recordings_dir)?;
    if index < entries.len() {
        return Ok(entries.swap_remove(index).path);
    }
    Err(ResolveError::TooFew {
        name: name.into(),
        recordings_dir: recordings_dir.into(),
        have: entries.len(),
    })
}

fn entries(recordings_dir: &Path) -> Result<Vec<Entry>, ResolveError> {
    let listing = list(recordings_dir).map_err(|source| ResolveError::Unreadable {
        recordings_dir: recordings_dir.into(),
        source,
    });
    Ok(listing?.entries)
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

/// The candidate that `name` was most likely meant to be, if one is near.
fn most_like(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    // One slip in three letters, as cargo allows.
    let near = (name.chars().count() / 3).max(1);
    let measured = candidates.map(|candidate| (distance(name, &candidate), candidate));
    let best = measured.min_by_key(|(distance, _)| *distance)?;
    (best.0 <= near).then_some(best.1)
}

/// How many characters to insert, delete or replace to get from `a` to `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
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
    fn references_count_from_the_newest() {
        let dir = three();
        let at = |name| resolve(dir.path(), name).unwrap();
        assert_eq!(at("@last"), dir.path().join("build-1122-0453"));
        assert_eq!(at("@1"), at("@last"));
        assert_eq!(at("@3"), dir.path().join("get-1121-0101"));
        let error = |name| resolve(dir.path(), name).unwrap_err();
        assert!(matches!(error("@4"), ResolveError::TooFew { have: 3, .. }));
        for name in ["@", "@0", "@+1", "@first", "@99999999999999999999999"] {
            assert!(
                matches!(error(name), ResolveError::Reference { .. }),
                "{name}"
            );
        }
    }

    #[test]
    fn a_path_is_a_path_and_a_name_is_looked_up() {
        let dir = three();
        let path = dir.path().join("get-1121-0101");
        assert_eq!(
            resolve(Path::new("elsewhere"), path.to_str().unwrap()).unwrap(),
            path
        );
        assert_eq!(resolve(dir.path(), "get-1121-0101").unwrap(), path);
        let error = resolve(dir.path(), "./get-1121-0101").unwrap_err();
        assert!(matches!(error, ResolveError::NoFolder { .. }));
    }

    #[test]
    fn an_unknown_name_comes_with_the_nearest_one_if_it_is_near() {
        let dir = three();
        let similar = |name| match resolve(dir.path(), name).unwrap_err() {
            ResolveError::NotFound { similar, .. } => similar,
            other => panic!("{other:?}"),
        };
        assert_eq!(similar("tidy-1122-0425").as_deref(), Some("tidy-1122-0452"));
        assert_eq!(similar("vendor"), None);
        assert_eq!(similar(""), None);
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
