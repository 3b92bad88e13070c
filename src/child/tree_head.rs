//! The tree head of a checksum database that a go command remembers.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::files::open_regular;
use crate::sumdb::Head;

/// The longest note that is read, bytes.
const LIMIT: u64 = 1 << 20;

/// A remembered tree head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The file that holds it.
    pub(crate) path: PathBuf,
    /// How many records its tree has.
    pub(crate) size: u64,
}

/// The head that go commands with this GOPATH hold every other head of the database `name` against
/// (`cmd/go/internal/modfetch.dbClient.ReadConfig`); `None` where they know none. Its signature is for go to
/// verify.
pub(crate) fn remembered(gopath: &str, name: &str) -> Option<Remembered> {
    let first = std::env::split_paths(gopath).next()?;
    // Only the path of a database leads there, as of a URL.
    let is_plain = |element: &str| !matches!(element, "" | "." | "..");
    let is_name = name.split('/').all(is_plain);
    let folder = first.join("pkg").join("sumdb").join(Path::new(name));
    let path = is_name.then(|| folder.join("latest"))?;
    let mut note = String::new();
    let file = open_regular(&path).ok()?;
    file.take(LIMIT).read_to_string(&mut note).ok()?;
    let head: Head = note.parse().ok()?;
    let size = head.size;
    Some(Remembered { path, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_in_the_first_folder_of_gopath_by_the_name_of_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("pkg/sumdb/sums.corp/db");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("latest");
        let root = "3fdDl5hW2rMG0Ke1pV0bGk3eh6C2d2y5nRRVyyAlTkA=";
        let note = format!("go.sum database tree\n71909756\n{root}\n\n\u{2014} sums.corp/db x\n");
        let gopath = format!("{}:/opt/go", dir.path().display());
        for (text, size) in [
            (note.as_str(), Some(71_909_756)),
            // As go leaves it before the first lookup.
            ("", None),
            ("go.sum database tree\nmany\n", None),
        ] {
            std::fs::write(&path, text).unwrap();
            let found = remembered(&gopath, "sums.corp/db");
            let expected = size.map(|size| Remembered {
                path: path.clone(),
                size,
            });
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(remembered("/opt/go", "sums.corp/db"), None);
        std::fs::write(&path, &note).unwrap();
        assert_eq!(remembered(&gopath, "sums.corp/../sums.corp/db"), None);
    }
}
