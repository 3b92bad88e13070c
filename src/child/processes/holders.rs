//! Who holds locks on the files of a folder, whoever's processes they are.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::locks::{Held, held};
use super::proc::Proc;
use crate::diagnose::doctor::facts::Lock;
use crate::redact::Redactor;

/// How much of a process's command line is shown, characters.
const COMMAND: usize = 120;

/// The locks on files below `folder`, with their holders; `None` where the system has no list.
pub(crate) fn locks_below(folder: &Path, redactor: &Redactor) -> Option<Vec<Lock>> {
    let proc = Proc::new(Path::new("/proc"));
    if !proc.is_there() {
        return None;
    }
    let locks = held(&proc.locks()).into_iter().filter_map(|held| {
        let file = file_of(&proc, held, folder)?;
        let file = file.strip_prefix(folder).ok()?;
        Some(Lock {
            file: file.display().to_string(),
            pid: held.pid,
            command: command(&proc, held.pid, redactor),
        })
    });
    Some(locks.collect())
}

/// The file of a lock. Of another user's process only the lock of the whole cache can be told, by
/// its inode.
fn file_of(proc: &Proc, held: Held, folder: &Path) -> Option<PathBuf> {
    let lock = folder.join("cache/lock");
    let is_it = || fs::metadata(&lock).is_ok_and(|file| file.ino() == held.inode);
    match proc.path_of(held.pid, held.inode) {
        Some(path) => Some(path),
        None => is_it().then_some(lock),
    }
}

/// The command line of a process without the folders of its program, redacted and then cut.
fn command(proc: &Proc, pid: u32, redactor: &Redactor) -> String {
    let argv = redactor.argv(&proc.command_line(pid));
    let words = argv.iter().enumerate().map(|(number, word)| {
        let name = Path::new(word).file_name().and_then(OsStr::to_str);
        name.filter(|_| number == 0).unwrap_or(word)
    });
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().take(COMMAND).collect()
}
