//! The main module's go.mod and go.sum, kept beside the journal as `main.mod` and `main.sum`.
//!
//! What a proxy serves says what dependencies require; what the command's own module requires, and
//! which hashes it expects, stands in these two files alone. They are copied as they are, when a
//! recorder begins and once more when it ends. Replays and exports do not read them. The names are
//! those of `go build -modfile=main.mod`.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::format::{MAIN_MOD, MAIN_SUM};
use super::reader::Recording;
use crate::files::{open_regular, replace_file};

/// The largest file that is kept, bytes.
const LIMIT: u64 = 1 << 20;

/// Copies the go.mod at `go_mod`, and the go.sum beside it, to the recording in `dir`. What is not
/// there, or no regular file, is left out.
pub(crate) fn keep_main_module(dir: &Path, go_mod: &Path) -> io::Result<()> {
    for (from, to) in [
        (go_mod.to_owned(), MAIN_MOD),
        (go_mod.with_file_name("go.sum"), MAIN_SUM),
    ] {
        let found = match read_whole(&from) {
            // Without go.sum nothing is amiss but what it would tell.
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge && to == MAIN_MOD => {
                let path = from.display();
                let what = format!("{path} is larger than {} MiB", LIMIT >> 20);
                return Err(io::Error::new(error.kind(), what));
            }
            // It may be a link, a folder, or not there at all: the go command judges that.
            found => found.ok(),
        };
        if let Some(content) = found {
            replace_file(&dir.join(to), |file| file.write_all(&content))?;
        }
    }
    Ok(())
}

/// A regular file of at most [`LIMIT`] bytes.
fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = open_regular(path)?;
    file.take(LIMIT + 1).read_to_end(&mut content)?;
    match content.len() as u64 > LIMIT {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(content),
    }
}

impl Recording {
    /// The go.mod of the main module, if it was kept.
    pub(crate) fn main_mod(&self) -> Option<Vec<u8>> {
        read_whole(&self.dir().join(MAIN_MOD)).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn both_files_are_kept_as_they_are_and_the_last_one_counts() {
        let temp = tempfile::tempdir().unwrap();
        let (from, to) = (temp.path().join("project"), temp.path().join("recording"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        let go_mod = from.join("go.mod");
        let kept = || {
            let read = |name| fs::read(to.join(name)).ok();
            (read(MAIN_MOD), read(MAIN_SUM))
        };
        keep_main_module(&to, &go_mod).unwrap();
        assert_eq!(kept(), (None, None));
        fs::write(&go_mod, "module a.b/c\n").unwrap();
        keep_main_module(&to, &go_mod).unwrap();
        assert_eq!(kept(), (Some(b"module a.b/c\n".to_vec()), None));
        fs::write(&go_mod, "module a.b/d\n").unwrap();
        fs::write(from.join("go.sum"), b"\xff\n").unwrap();
        keep_main_module(&to, &go_mod).unwrap();
        let sum = b"\xff\n".to_vec();
        assert_eq!(kept(), (Some(b"module a.b/d\n".to_vec()), Some(sum)));
    }

    #[test]
    fn what_is_too_large_is_told_and_what_is_no_file_is_left_out() {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("recording");
        fs::create_dir(&to).unwrap();
        let go_mod = temp.path().join("go.mod");
        let limit = usize::try_from(LIMIT).unwrap();
        fs::write(&go_mod, vec![b'/'; limit]).unwrap();
        keep_main_module(&to, &go_mod).unwrap();
        fs::write(&go_mod, vec![b'/'; limit + 1]).unwrap();
        let error = keep_main_module(&to, &go_mod).unwrap_err();
        assert!(error.to_string().ends_with("go.mod is larger than 1 MiB"));
        fs::remove_file(&go_mod).unwrap();
        symlink("/etc/passwd", &go_mod).unwrap();
        fs::create_dir(temp.path().join("go.sum")).unwrap();
        keep_main_module(&to, &go_mod).unwrap();
        assert!(!to.join(MAIN_SUM).exists());
    }
}
