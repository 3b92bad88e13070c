//! A folder of one's own for a GOPATH and module cache, which goes at the end.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

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
        // The go command makes the folders of its module cache read-only.
        make_writable(&self.0);
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn make_writable(dir: &Path) {
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        // Of the entry itself, not of what a link points to: nothing outside is ever touched.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
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
