//! Removing a folder that somebody waits for: a module cache has tens of thousands of files, and the
//! go command makes their folders read-only.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Threads that remove at once, at most: beyond that the disk is what they wait for.
const REMOVERS: usize = 4;

/// Removes a folder and all that is in it, with a thread for each core. What cannot be removed stays.
pub(super) fn remove(dir: &Path) {
    let queue = Queue {
        state: Mutex::new(State {
            waiting: vec![dir.to_owned()],
            busy: 0,
            emptied: Vec::new(),
        }),
        changed: Condvar::new(),
    };
    let removers =
        std::thread::available_parallelism().map_or(1, |cores| cores.get().min(REMOVERS));
    std::thread::scope(|scope| {
        for _ in 1..removers {
            scope.spawn(|| queue.empty_all());
        }
        queue.empty_all();
    });
    let state = queue.state.into_inner();
    let emptied = state.unwrap_or_else(PoisonError::into_inner).emptied;
    // A folder is listed before those in it.
    for dir in emptied.iter().rev() {
        let _ = fs::remove_dir(dir);
    }
}

/// Folders to be emptied, shared by those who empty them.
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: Vec<PathBuf>,
    busy: usize,
    /// Without files now, but perhaps with folders.
    emptied: Vec<PathBuf>,
}

impl Queue {
    /// Takes folders until none is left and nobody can find more.
    fn empty_all(&self) {
        while let Some(dir) = self.next() {
            let below = empty(&dir);
            let mut state = self.lock();
            state.busy -= 1;
            state.waiting.extend(below);
            drop(state);
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<PathBuf> {
        let mut state = self.lock();
        loop {
            if let Some(dir) = state.waiting.pop() {
                state.busy += 1;
                state.emptied.push(dir.clone());
                return Some(dir);
            }
            if state.busy == 0 {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the files of a folder, and returns the folders in it.
fn empty(dir: &Path) -> Vec<PathBuf> {
    // The go command makes the folders of its module cache read-only.
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    let mut below = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        // Of the entry itself, not of what a link points to: nothing outside is ever touched.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => below.push(entry.path()),
            _ => {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    below
}
