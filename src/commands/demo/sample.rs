//! The embedded sample: the files of `recordings/hello`.

use std::fs;
use std::io;
use std::path::Path;

/// A file's path below the folder, and its bytes.
type File = (&'static str, &'static [u8]);

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_bytes!(concat!("../../../recordings/hello/", $path)))),*]
    };
}

/// The recording.
const RECORDING: [File; 5] = files![
    "bodies/18/1870e7a196f7119d4c6edba7de9cdfc49ee13c8cb7921f3a947568171c6152e0",
    "bodies/5d/5de246a0cb4c256f3fd5d0db8a08a114f58af0c2e193bbf0ad9012104adbb6b2",
    "bodies/9d/9d9d6cfb28ce6dbe4b518c42c6bccd67bb531a106859808f36e82a5c3fb8c64d",
    "journal.ndjson",
    "recording.json",
];

/// The project that it was recorded in.
const PROJECT: [File; 2] = files!["project/go.mod", "project/main.go"];

/// Writes the recording to `folder`.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    for (path, bytes) in RECORDING {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// Writes the project to `folder`; without a go.sum, so that every checksum is looked up.
pub(super) fn write_project(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (path, bytes) in PROJECT {
        let name = Path::new(path).file_name().unwrap_or_default();
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Recording;

    fn below(folder: &Path, found: &mut Vec<String>, root: &Path) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                below(&entry.path(), found, root);
            } else {
                let path = entry.path().strip_prefix(root).unwrap().to_owned();
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }

    #[test]
    fn every_file_of_the_sample_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/hello");
        let mut found = Vec::new();
        below(&folder, &mut found, &folder);
        found.retain(|path| path != "README.md");
        found.sort();
        let mut embedded: Vec<_> = RECORDING
            .iter()
            .chain(&PROJECT)
            .map(|file| file.0)
            .collect();
        embedded.sort_unstable();
        assert_eq!(found, embedded);
    }

    #[test]
    fn the_sample_opens_undamaged() {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path()).unwrap();
        let recording = Recording::open(temp.path()).unwrap();
        assert!(recording.damage().is_empty(), "{:?}", recording.damage());
        assert!(recording.rows().len() >= 20);
    }
}
