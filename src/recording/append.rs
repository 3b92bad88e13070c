//! Opens a recording to append a run to it: the journal gets a further `open` record, behind all that is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::format::{BODIES, JOURNAL, MANIFEST, RESERVE, State};
use super::manifest::write_manifest;
use super::reader::{DamageKind, OpenError, Recording};
use super::writer::CreateError;
use super::writer::folder::{Folder, Written, lock_to_append};

/// Why nothing can be appended to a recording.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be locked.
    #[error(transparent)]
    Lock(#[from] CreateError),
    /// What it was recorded with is not known.
    #[error("the manifest of {} is missing or damaged, so that Go's settings are not known", .0.display())]
    Manifest(PathBuf),
    /// Its journal or its manifest cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Locks the recording in `dir`, and reads it as it is now that nobody else writes it.
///
/// Half a line that a killed recorder left behind the last record is cut off: it tells nothing. The manifest
/// stays as it is until [`announce`] is called.
pub fn append(dir: &Path) -> Result<(Folder, Recording), AppendError> {
    // First as a reader, who has better words for what is no recording.
    drop(Recording::open(dir)?);
    let journal = lock_to_append(dir)?;
    let at = |name: &str| {
        let path = dir.join(name);
        move |source| AppendError::Write { path, source }
    };
    let recording = Recording::open_whole(dir)?;
    let mut damage = recording.damage().iter();
    if damage.any(|damage| damage.kind == DamageKind::Manifest) {
        return Err(AppendError::Manifest(dir.to_owned()));
    }
    let table = recording.table();
    let end = recording.torn_tail();
    let written = Written {
        seq: table.last_seq,
        bytes: end.map_or(table.journal_bytes, |tail| tail.offset),
    };
    if end.is_some() {
        journal.set_len(written.bytes).map_err(at(JOURNAL))?;
    }
    remove_left_over(dir);
    let folder = Folder {
        dir: dir.to_owned(),
        above: dir.to_owned(),
        journal,
        replaced: None,
        written,
    };
    Ok((folder, recording))
}

/// Says in the manifest that a recorder is at work again.
pub(crate) fn announce(recording: &Recording) -> Result<(), AppendError> {
    let mut manifest = recording.manifest().clone();
    manifest.state = State::Open;
    let written = write_manifest(recording.dir(), &manifest);
    written.map_err(|source| AppendError::Write {
        path: recording.dir().join(MANIFEST),
        source,
    })
}

/// Removes what a killed recorder left: the space that it kept back, and bodies that were on their way. Their
/// names hold its process id, which ours may be too.
fn remove_left_over(dir: &Path) {
    let _ = fs::remove_file(dir.join(RESERVE));
    let bodies = fs::read_dir(dir.join(BODIES));
    for body in bodies.into_iter().flatten().flatten() {
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let name = body.file_name();
        let name = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.split_once('-'));
        if name.is_some_and(|(pid, key)| is_number(pid) && is_number(key)) {
            let _ = fs::remove_file(body.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::recording::reader::Status;
    use crate::recording::writer::create;
    use crate::recording::{Durability, Journal, Recorder, sample};

    fn write(folder: Folder, write: impl FnOnce(&Recorder)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.build().unwrap();
        runtime.block_on(async {
            let (recorder, journal) =
                Journal::start(folder, Clock::start(), Durability::Process, true).unwrap();
            write(&recorder);
            drop(recorder);
            journal.run().await;
        });
    }

    /// A recording of one run, closed.
    fn recorded(dir: &Path) {
        write(create(dir, false).unwrap(), |recorder| {
            for event in sample::events() {
                recorder.note(Timestamp::default(), &event);
            }
        });
        sample::write_manifest(dir, State::Closed);
    }

    #[test]
    fn a_run_goes_on_behind_what_is_there() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("one");
        recorded(&dir);
        let before = Recording::open_whole(&dir).unwrap();
        let (folder, found) = append(&dir).unwrap();
        assert_eq!(found.rows(), before.rows());
        announce(&found).unwrap();
        assert_eq!(Recording::open(&dir).unwrap().status(), Status::Recording);
        assert!(matches!(
            append(&dir),
            Err(AppendError::Lock(CreateError::Busy(_)))
        ));
        write(folder, |recorder| {
            for event in sample::events() {
                recorder.note(Timestamp::default(), &event);
            }
        });
        let after = Recording::open_whole(&dir).unwrap();
        assert_eq!((after.damage(), after.torn_tail()), (before.damage(), None));
        assert_eq!(after.runs().len(), 2);
        assert_eq!(&after.rows()[..before.rows().len()], before.rows());
        assert_eq!(after.rows().len(), 2 * before.rows().len());
        let last = after.rows().last().unwrap();
        assert_eq!(last.run, 1);
        after.exchange(last).unwrap();
    }

    #[test]
    fn what_a_killed_recorder_left_half_written_goes() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("one");
        recorded(&dir);
        let rows = Recording::open_whole(&dir).unwrap().rows().len();
        let mut journal = OpenOptions::new()
            .append(true)
            .open(dir.join(JOURNAL))
            .unwrap();
        journal.write_all(b"{\"seq\":99,\"t_us\"").unwrap();
        sample::write_manifest(&dir, State::Open);
        fs::write(dir.join(RESERVE), "room").unwrap();
        fs::write(dir.join(BODIES).join(".7-3"), "half").unwrap();
        fs::write(dir.join(BODIES).join(".mine"), "kept").unwrap();
        let (folder, _) = append(&dir).unwrap();
        write(folder, |recorder| {
            recorder.note(Timestamp::default(), &sample::open())
        });
        let recording = Recording::open_whole(&dir).unwrap();
        assert_eq!((recording.damage(), recording.torn_tail()), (&[][..], None));
        assert_eq!((recording.runs().len(), recording.rows().len()), (2, rows));
        assert!(!dir.join(RESERVE).exists() && !dir.join(BODIES).join(".7-3").exists());
        assert!(dir.join(BODIES).join(".mine").exists());
    }

    #[test]
    fn nothing_is_appended_where_the_settings_are_lost() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("one");
        recorded(&dir);
        fs::write(dir.join(MANIFEST), "{").unwrap();
        assert!(matches!(append(&dir), Err(AppendError::Manifest(_))));
    }
}
