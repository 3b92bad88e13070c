//! What a command line selects: a recording, and the exchanges in it that match a filter.
//!
//! The defects of a recording as a whole are reported once, when it is opened.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::failure::{Advise as _, Failure, USAGE};
use crate::cli::Global;
use crate::diagnose::outcome::Meaning;
use crate::diagnose::rerun;
use crate::filter::Filter;
use crate::recording::reader::Status;
use crate::recording::{Recording, Row, folder};
use crate::shell;
use crate::terminal::summary::missing;
use crate::terminal::words::{count, size};
use crate::terminal::{plain, say, warn};

/// Why a name does not select a recording.
#[derive(Debug, thiserror::Error)]
enum ResolveError {
    /// No recording has this name.
    #[error("there is no recording {name} in {recordings_dir}")]
    NotFound {
        /// The name that was given.
        name: String,
        /// The folder that was searched.
        recordings_dir: PathBuf,
        /// The most similar name.
        similar: Option<String>,
    },
    /// The path is not a folder.
    #[error("there is no folder {path}")]
    NoFolder {
        /// The path that was given.
        path: PathBuf,
    },
    /// `@` with something that is not `last` or a number from 1.
    #[error("{name} is neither @last nor @ with a number from 1")]
    Reference {
        /// The reference that was given.
        name: String,
    },
    /// There are fewer recordings.
    #[error("there is no {name}: {recordings_dir} holds {have} recording{}", if *.have == 1 { "" } else { "s" })]
    TooFew {
        /// The reference that was given.
        name: String,
        /// The folder that was searched.
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

impl ResolveError {
    /// What to try instead.
    fn help(&self, global: &Global) -> Option<String> {
        match self {
            Self::TooFew { have: 0, .. } => Some("try `modtape demo`".into()),
            Self::NotFound {
                similar: Some(similar),
                ..
            } => Some(format!("did you mean {similar}?")),
            Self::NotFound { .. } | Self::TooFew { .. } => {
                let words = rerun::recordings(global);
                let words = words.iter().map(|word| format!(" {}", shell::word(word)));
                let folder: String = words.collect();
                Some(format!("try `modtape recordings list{folder}`"))
            }
            Self::Reference { .. } => Some("@last is the newest, @2 the one before".into()),
            Self::NoFolder { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// The folder of the recording that `name` selects, or an error with help.
pub(crate) fn resolve(name: &str, global: &Global) -> anyhow::Result<PathBuf> {
    find(&global.recordings, name).or_else(|error| match error.help(global) {
        Some(help) => Err(error).help(help),
        None => Err(error.into()),
    })
}

/// `@last` and `@1` select the newest recording, `@2` the one before. A name with a separator, `.`
/// and `..` are paths. Any other name is a folder in `recordings_dir`, or else in the current
/// folder.
fn find(recordings_dir: &Path, name: &str) -> Result<PathBuf, ResolveError> {
    if let Some(reference) = name.strip_prefix('@') {
        return nth(recordings_dir, name, reference);
    }
    if folder::is_path(name) {
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
    if folder::is_recording(&here) && !name.is_empty() {
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
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
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

fn entries(recordings_dir: &Path) -> Result<Vec<folder::Entry>, ResolveError> {
    let listing = folder::list(recordings_dir).map_err(|source| ResolveError::Unreadable {
        recordings_dir: recordings_dir.into(),
        source,
    });
    Ok(listing?.entries)
}

/// The candidate that is most similar to `name`, if one is similar enough.
pub(super) fn most_like(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    // One mistake in three letters, as in cargo.
    let near = (name.chars().count() / 3).max(1);
    let distance = |candidate: &str| strsim::levenshtein(name, candidate);
    let measured = candidates.map(|candidate| (distance(&candidate), candidate));
    let best = measured.min_by_key(|(distance, _)| *distance)?;
    (best.0 <= near).then_some(best.1)
}

/// Opens the recording that `name` selects, and reports its defects on stderr.
pub(crate) fn open(name: &str, global: &Global) -> anyhow::Result<Recording> {
    let dir = resolve(name, global)?;
    let recording = Recording::open(&dir)?;
    report(&recording, global);
    Ok(recording)
}

fn report(recording: &Recording, global: &Global) {
    let name = recording.name();
    for defect in defects(recording) {
        let mut message = format!("{name} {}", defect.what);
        if defect.has_places {
            message.push_str(&format!("; `{}` shows where", info_line(recording)));
        }
        if defect.is_loss {
            warn(global, message);
        } else {
            say(global, plain(&message));
        }
    }
}

/// With the path, not the word that was given: `@last` may be another recording tomorrow.
fn info_line(recording: &Recording) -> String {
    let path = recording.dir().to_string_lossy();
    format!("modtape recordings info {}", shell::word(&path))
}

/// One defect of a recording as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defect {
    /// The text after the name of the recording: `is damaged in 2 places`.
    pub(crate) what: String,
    /// Whether data is lost, rather than not written yet.
    pub(crate) is_loss: bool,
    /// Whether `recordings info` shows details.
    pub(crate) has_places: bool,
}

/// All defects of a recording.
pub(crate) fn defects(recording: &Recording) -> Vec<Defect> {
    let state = match recording.status() {
        Status::Closed | Status::Sealed => None,
        Status::Recording => Some("is still being recorded"),
        Status::Unfinished => Some("is unfinished: its recorder was killed"),
    };
    let is_closed = state.is_none();
    let state = state.map(|what| Defect {
        what: what.into(),
        is_loss: false,
        has_places: false,
    });
    let missing = missing(recording.gaps()).map(|missing| Defect {
        what: format!("is incomplete: {missing}"),
        is_loss: true,
        has_places: false,
    });
    let places = recording.damage().len() as u64;
    // Half a line at the end is normal if the recorder was killed.
    let tail = recording.torn_tail().filter(|_| is_closed);
    let damage = match (places, tail) {
        (0, None) => None,
        (0, Some(tail)) => Some(format!("is damaged: {} at its end", size(tail.len))),
        (places, _) => Some(format!("is damaged in {}", count(places, "place"))),
    };
    let damage = damage.map(|what| Defect {
        what,
        is_loss: true,
        has_places: true,
    });
    [state, missing, damage].into_iter().flatten().collect()
}

/// Parses the filter of a command line. Without a filter, every exchange matches.
pub(crate) fn filter(text: Option<&str>) -> Result<Filter, Failure> {
    let text = text.unwrap_or_default();
    let filter: Result<Filter, _> = text.parse();
    filter
        .map_err(|error| anyhow!("--filter {text:?}, {error}"))
        .help("see `modtape help filter`")
        .map_err(|error| Failure::new(USAGE, error))
}

/// The rows of the exchanges that match the filter, by run, start and id.
pub(crate) fn rows<'a>(recording: &'a Recording, filter: &Filter) -> Vec<&'a Row> {
    let rows = recording.rows().iter();
    if *filter == Filter::default() {
        return rows.collect();
    }
    let meaning = Meaning::of(recording);
    let matches = |row: &&Row| filter.takes(&meaning.list(row).subject());
    rows.filter(matches).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::recording::format::{MANIFEST, State};
    use crate::recording::{manifest, sample};

    /// Three recordings, the newest first.
    fn three() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, started) in [
            ("build-1122-0453", "2026-11-22T04:52:00.5Z"),
            ("tidy-1122-0452", "2026-11-22T04:52:00Z"),
            ("get-1121-0101", "2026-11-21T01:01:00Z"),
        ] {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            sample::write(&path, &sample::journal(), State::Closed);
            let mut manifest = manifest::read_manifest(&path).unwrap();
            manifest.started = started.into();
            fs::write(path.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
        }
        dir
    }

    #[test]
    fn references_count_from_the_newest() {
        let dir = three();
        let at = |name| find(dir.path(), name).unwrap();
        assert_eq!(at("@last"), dir.path().join("build-1122-0453"));
        assert_eq!(at("@1"), at("@last"));
        assert_eq!(at("@3"), dir.path().join("get-1121-0101"));
        let error = |name| find(dir.path(), name).unwrap_err();
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
            find(Path::new("elsewhere"), path.to_str().unwrap()).unwrap(),
            path
        );
        assert_eq!(find(dir.path(), "get-1121-0101").unwrap(), path);
        let error = find(dir.path(), "./get-1121-0101").unwrap_err();
        assert!(matches!(error, ResolveError::NoFolder { .. }));
    }

    #[test]
    fn an_unknown_name_comes_with_the_nearest_one_if_it_is_near() {
        let dir = three();
        let similar = |name| match find(dir.path(), name).unwrap_err() {
            ResolveError::NotFound { similar, .. } => similar,
            other => panic!("{other:?}"),
        };
        assert_eq!(similar("tidy-1122-0425").as_deref(), Some("tidy-1122-0452"));
        assert_eq!(similar("vendor"), None);
        assert_eq!(similar(""), None);
    }

    #[test]
    fn who_has_no_recordings_is_shown_the_demo() {
        let words = ["modtape", "demo"].map(std::ffi::OsString::from);
        let global = crate::cli::Cli::of(&words).unwrap().global;
        let empty = tempfile::tempdir().unwrap();
        let help = |name| find(empty.path(), name).unwrap_err().help(&global);
        assert_eq!(help("@last").as_deref(), Some("try `modtape demo`"));
        let list = "try `modtape recordings list`";
        assert_eq!(help("ci").as_deref(), Some(list));
    }
}
