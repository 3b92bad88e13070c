//! A folder of one's own for a GOPATH and module cache, which goes at the end.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A private folder; removed with all that is in it when dropped.
#[derive(Debug)]
pub struct PrivateDir(PathBuf);

impl PrivateDir {
    /// Makes one below `parent` (mode 0700).
    pub fn new(parent: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("modtape-")
            .tempdir_in(parent)?;
        Ok(Self(dir.keep()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Threads that remove at once, at most: beyond that the disk is what they wait for.
const REMOVERS: usize = 4;

/// Removes a folder and all that is in it, with a thread for each core: somebody waits for it, and a
/// module cache has tens of thousands of files. What cannot be removed stays.
fn remove(dir: &Path) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_even_with_read_only_folders_and_leaves_what_links_point_to() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o500)).unwrap();
        let private = PrivateDir::new(temp.path()).unwrap();
        for module in 0..50 {
            let below = private
                .path()
                .join(format!("pkg/mod/cache/m{module}/@v/a/b"));
            fs::create_dir_all(&below).unwrap();
            fs::write(below.join("list"), "v1.0.0").unwrap();
        }
        let module = private.path().join("pkg/mod/m@v1");
        fs::create_dir_all(&module).unwrap();
        fs::write(module.join("go.mod"), "module m").unwrap();
        std::os::unix::fs::symlink(&outside, module.join("link")).unwrap();
        fs::set_permissions(&module, Permissions::from_mode(0o555)).unwrap();
        let path = private.path().to_owned();
        drop(private);
        assert!(!path.exists());
        assert_eq!(
            fs::metadata(&outside).unwrap().permissions().mode() & 0o777,
            0o500
        );
    }
}
