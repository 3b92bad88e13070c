//! Files of the command that are kept beside the bodies of exchanges, as these are: by their digest.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::durability::Durability;
use crate::exchange::Hex;
use crate::files::sync_dir;
use crate::recording::format::{BODIES, KeptFile};

/// How much is copied at once, bytes.
const CHUNK: usize = 64 << 10;

/// Copies a file into the recording in `dir`. One of more than `limit` bytes is an error.
pub(crate) fn keep_file(
    dir: &Path,
    mut from: File,
    limit: u64,
    durability: Durability,
) -> io::Result<KeptFile> {
    let bodies = dir.join(BODIES);
    // Named as an unfinished body is.
    let mut to = tempfile::Builder::new().prefix(".").tempfile_in(&bodies)?;
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        bytes += read as u64;
        if bytes > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        hasher.update(&chunk[..read]);
        to.write_all(&chunk[..read])?;
    }
    let kept = KeptFile {
        sha256: Hex(hasher.finalize().into()),
        bytes,
    };
    let name = kept.sha256.to_string();
    let folder = bodies.join(&name[..2]);
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let path = folder.join(&name);
    let there = fs::symlink_metadata(&path);
    if there.is_ok_and(|there| there.is_file() && there.len() == bytes) {
        return Ok(kept);
    }
    if durability != Durability::Process {
        to.as_file().sync_all()?;
    }
    to.persist(&path).map_err(|error| error.error)?;
    if durability != Durability::Process {
        sync_dir(&folder)?;
        sync_dir(&bodies)?;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::reader::body::body_path;

    #[test]
    fn a_file_is_kept_once_by_its_digest_and_one_that_is_too_large_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let bodies = temp.path().join(BODIES);
        fs::create_dir(&bodies).unwrap();
        let source = temp.path().join("lib.zip");
        fs::write(&source, vec![7; CHUNK + 1]).unwrap();
        let keep = |limit: u64| {
            let file = File::open(&source).unwrap();
            keep_file(temp.path(), file, limit, Durability::Strict)
        };
        let kept = keep(1 << 20).unwrap();
        assert_eq!(kept.bytes, CHUNK as u64 + 1);
        assert_eq!(
            fs::read(body_path(temp.path(), kept.sha256)).unwrap(),
            vec![7; CHUNK + 1]
        );
        assert_eq!(keep(1 << 20).unwrap(), kept);
        assert!(keep(CHUNK as u64).is_err());
        assert_eq!(fs::read_dir(&bodies).unwrap().count(), 1);
    }
}
