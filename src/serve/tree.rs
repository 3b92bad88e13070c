//! A folder of files in the place of an upstream: the tree of a module proxy, as `modtape export goproxy` writes it, or
//! as Go's own module cache has it (`GOMODCACHE/cache/download`).

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::entries::Asked;
use super::failure::Failure;
use super::item::Item;
use super::reads::FETCHED;
use crate::gomod::{Kind, TEXT_LIMIT, is_canonical_version, is_pseudo_version, unescape_version};

/// How many folders are looked into for the first module, before a folder is taken for something else.
const LOOKED_INTO: usize = 10_000;

/// The files of a module proxy.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: Arc<Path>,
    /// Whether a version of which it has no `.info` is told by its name alone.
    makes_infos: bool,
}

impl Tree {
    /// The tree in a folder, or that of the module cache that the folder is; `None` if the folder holds no module.
    pub(crate) fn open(folder: &Path) -> io::Result<Option<Self>> {
        let downloads = folder.join("cache/download");
        let root = match downloads.is_dir() {
            true => downloads,
            false => folder.to_owned(),
        };
        Ok(holds_module(&root)?.then(|| Self {
            root: root.into(),
            makes_infos: true,
        }))
    }

    /// The same for what is to be kept: it has the files that are there, and no others.
    #[must_use]
    pub(crate) fn without_made_infos(self) -> Self {
        Self {
            makes_infos: false,
            ..self
        }
    }

    /// Whether it has records of that checksum database.
    pub(super) fn has_database(&self, name: &str) -> bool {
        // A name out of a request has no slash and no element of dots.
        self.root.join("sumdb").join(name).is_dir()
    }

    /// The file that answers a request. One that is not there is a 404, as it is of a GOPROXY with `file://`.
    pub(super) async fn ask(&self, item: &Item) -> Asked {
        let (tree, own) = (self.clone(), item.clone());
        let path = item.path();
        match FETCHED.run(move || tree.read(&own)).await {
            Ok(Some(asked)) => asked,
            Ok(None) => {
                let text = format!("not found: the tree that is served has no {path}\n");
                Asked::Absent(StatusCode::NOT_FOUND, text)
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                Asked::Failed(Failure::timeout(format!("{path}: {error}")))
            }
            Err(error) => Asked::Failed(Failure::bad_gateway(format!("{path}: {error}"))),
        }
    }

    fn read(&self, item: &Item) -> io::Result<Option<Asked>> {
        let Some(file) = self.find(item)? else {
            let text = match item.kind() {
                Kind::List => self.list(item)?,
                Kind::Info => self.info(item),
                _ => None,
            };
            return Ok(text.map(|text| Asked::Text(text.into())));
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        if item.is_zip() {
            return Ok(Some(Asked::File(file, metadata.len())));
        }
        let mut text = Vec::new();
        file.take(TEXT_LIMIT + 1).read_to_end(&mut text)?;
        if text.len() as u64 > TEXT_LIMIT {
            return Err(io::Error::other(format!(
                "it is longer than {TEXT_LIMIT} bytes"
            )));
        }
        if let Some(tile) = item.route.tile {
            // It may come from a wider one.
            text.truncate(tile.len_bytes());
        }
        Ok(Some(Asked::Text(Bytes::from(text))))
    }

    fn find(&self, item: &Item) -> io::Result<Option<File>> {
        let path = self.root.join(item.path());
        if let Some(file) = open(&path)? {
            return Ok(Some(file));
        }
        let Some(tile) = item.route.tile.filter(|tile| !tile.is_full()) else {
            return Ok(None);
        };
        // A module cache has each tile as wide as go has asked for it.
        let Some(partial) = path.parent() else {
            return Ok(None);
        };
        let wider = widths(partial)?.into_iter();
        let wider = wider.filter(|width| *width >= tile.width).min();
        match wider {
            Some(width) => open(&partial.join(width.to_string())),
            None => open(&partial.with_extension("")),
        }
    }

    /// What go takes for a version's `.info`, where the tree has its files alone: go asks for none where the
    /// version is known, and so a module cache may have none.
    fn info(&self, item: &Item) -> Option<String> {
        let path = self.root.join(item.path());
        let is_there = |kind| path.with_extension(kind).is_file();
        let version = item.version();
        let is_whole =
            self.makes_infos && is_canonical_version(version) && is_there("mod") && is_there("zip");
        is_whole.then(|| format!("{}\n", serde_json::json!({ "Version": version })))
    }

    /// The versions of which the tree has the go.mod file and the zip, where it has no list.
    fn list(&self, item: &Item) -> io::Result<Option<String>> {
        let path = self.root.join(item.path());
        let Some(folder) = path.parent() else {
            return Ok(None);
        };
        let Some(names) = names(folder)? else {
            return Ok(None);
        };
        let mut text = String::new();
        for name in &names {
            let version = name.strip_suffix(".zip");
            let version = version.filter(|it| names.binary_search(&format!("{it}.mod")).is_ok());
            let version = version.and_then(|version| unescape_version(version).ok());
            // go takes pseudo-versions from no list.
            if let Some(version) = version.filter(|version| !is_pseudo_version(version)) {
                text.push_str(&version);
                text.push('\n');
            }
        }
        Ok(Some(text))
    }
}

/// Whether a folder `@v` lies somewhere below a folder.
fn holds_module(root: &Path) -> io::Result<bool> {
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    let mut looked_into = 0;
    while let Some(folder) = folders.pop() {
        looked_into += 1;
        if looked_into > LOOKED_INTO {
            break;
        }
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if folder == root => return Err(error),
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name() == "@v" {
                return Ok(true);
            }
            folders.push(entry.path());
        }
    }
    Ok(false)
}

/// A file, if it is there. Whatever else has its name, the caller judges.
fn open(path: &Path) -> io::Result<Option<File>> {
    // A pipe would wait for its writer.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(error),
    }
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a folder, sorted; `None` if there is no such folder.
fn names(folder: &Path) -> io::Result<Option<Vec<String>>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(Some(names))
}

/// How wide the partial versions of a tile are.
fn widths(folder: &Path) -> io::Result<Vec<u16>> {
    let names = names(folder)?.unwrap_or_default();
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, each with its own path as text.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("it has one")).expect("our own folder");
            fs::write(path, file).expect("our own folder");
        }
        folder
    }

    fn text(tree: &Tree, path: &str) -> Option<String> {
        let item = Item::of_path(path).expect("an item");
        match tree.read(&item).expect("it is read")? {
            Asked::Text(text) => Some(String::from_utf8_lossy(&text).into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_without_modules_is_no_tree() {
        let empty = folder(&["src/main.go"]);
        assert!(Tree::open(empty.path()).expect("it is read").is_none());
        assert!(Tree::open(&empty.path().join("none")).is_err());
        for file in ["a.b/c/@v/list", "cache/download/a.b/c/@v/list"] {
            let folder = folder(&[file]);
            let tree = Tree::open(folder.path()).expect("it is read");
            let tree = tree.expect("a tree");
            assert_eq!(text(&tree, "/a.b/c/@v/list").as_deref(), Some(file));
        }
    }

    #[test]
    fn what_is_not_there_is_made_of_what_is() {
        let folder = folder(&[
            "a.b/c/@v/v1.0.0.mod",
            "a.b/c/@v/v1.0.0.zip",
            "a.b/c/@v/v1.1.0.mod",
            "a.b/c/@v/v0.0.0-20200102030405-abcdefabcdef.mod",
            "a.b/c/@v/v0.0.0-20200102030405-abcdefabcdef.zip",
            "sumdb/s.t/tile/8/0/000.p/20",
            "sumdb/s.t/tile/8/0/000.p/30",
            "sumdb/s.t/tile/8/0/001",
        ]);
        let tree = Tree::open(folder.path())
            .expect("it is read")
            .expect("a tree");
        assert_eq!(text(&tree, "/a.b/c/@v/list").as_deref(), Some("v1.0.0\n"));
        assert_eq!(text(&tree, "/a.b/d/@v/list"), None);
        let info = text(&tree, "/a.b/c/@v/v1.0.0.info");
        assert_eq!(info.as_deref(), Some("{\"Version\":\"v1.0.0\"}\n"));
        assert_eq!(text(&tree, "/a.b/c/@v/v1.1.0.info"), None);
        assert_eq!(text(&tree, "/a.b/c/@latest"), None);
        let tile = |path: &str| text(&tree, path);
        let partial = "/sumdb/s.t/tile/8/0/000.p/25";
        assert_eq!(
            tile(partial).as_deref(),
            Some("sumdb/s.t/tile/8/0/000.p/30")
        );
        assert_eq!(tile("/sumdb/s.t/tile/8/0/000.p/31"), None);
        let of_full = tile("/sumdb/s.t/tile/8/0/001.p/9");
        assert_eq!(of_full.as_deref(), Some("sumdb/s.t/tile/8/0/001"));
        assert!(tree.has_database("s.t") && !tree.has_database("u.v"));
    }
}
