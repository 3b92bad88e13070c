//! Who holds locks on the files of a folder, whoever's processes they are.

use std::ffi::OsStr;
use std::path::Path;

use super::locks::held;
use super::proc::Proc;
use crate::diagnose::doctor::facts::Lock;
use crate::files::open_regular;
use crate::redact::Redactor;

/// How much of a process's command line is shown, characters.
const COMMAND: usize = 120;

/// The locks on files below `folder`, with their holders; `None` where the system has no list.
pub(crate) fn locks_below(folder: &Path, redactor: &Redactor) -> Option<Vec<Lock>> {
    let proc = Proc::new(Path::new("/proc"));
    if !proc.is_there() {
        return None;
    }
    let whole = folder.join("cache/lock");
    let opened = open_regular(&whole).ok();
    let whole_id = opened.and_then(|file| proc.own_file(&file));
    let locks = held(&proc.locks()).into_iter().filter_map(|held| {
        // Of another user's process only the lock of the whole cache can be told.
        let is_whole = || Some(held.file) == whole_id;
        let file = proc.path_of(held.pid, held.file);
        let file = file.or_else(|| is_whole().then(|| whole.clone()))?;
        let file = file.strip_prefix(folder).ok()?;
        Some(Lock {
            file: file.display().to_string(),
            pid: held.pid,
            command: command(&proc, held.pid, redactor),
        })
    });
    Some(locks.collect())
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
