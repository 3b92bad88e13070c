//! The modules that a command got from their repositories, as they stand in its module cache.
//!
//! The go command keeps what it makes of a repository where it keeps what a module proxy gave it,
//! `cache/download/PATH/@v/VERSION.{info,mod,zip}` ("Module cache" in the Go modules reference). What is
//! new there, and was answered by no module proxy, came from a repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::files::read_small;
use crate::gomod::{Kind, Route, escape_path, unescape_path, unescape_version};
use crate::redact::url_without_userinfo;

/// How coarse the times of files may be.
const TICK: Duration = Duration::from_secs(1);

/// The longest `.info` that is read, bytes.
const INFO_LIMIT: u64 = 1 << 20;

/// What a command asked and was answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// Hosts and paths that modules may lie below: of repositories, and of pages that name some.
    pub(crate) roots: BTreeSet<String>,
    /// Hosts and paths of the repositories, without `.git`.
    pub(crate) repositories: BTreeSet<String>,
    /// What module proxies answered.
    pub(crate) answered: BTreeSet<(Kind, String, String)>,
}

/// A module version that came from its repository.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) module: String,
    pub(crate) version: String,
    /// The repository's URL, if the go command noted it, without credentials.
    pub(crate) repository: Option<String>,
    /// Where its files lie; no `.info` that has credentials.
    pub(crate) files: BTreeMap<Kind, PathBuf>,
}

/// `.info`, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    #[serde(default)]
    origin: Option<Origin>,
}

/// Where a version came from; since Go 1.19.
#[derive(Deserialize)]
struct Origin {
    #[serde(rename = "VCS", default)]
    vcs: String,
    #[serde(rename = "URL", default)]
    url: String,
}

/// Finds the versions in the module cache `cache` that came from repositories since then.
pub(crate) fn direct_modules(cache: &Path, since: SystemTime, asked: &Asked) -> Vec<Found> {
    let download = cache.join("cache").join("download");
    let since = since.checked_sub(TICK).unwrap_or(since);
    let mut folders = version_folders(&download, &asked.roots);
    folders.sort();
    folders.dedup();
    let found = folders.iter().flat_map(|(module, folder)| {
        let versions = versions(folder);
        versions.into_iter().filter_map(|(version, mut files)| {
            let answer = |kind| (kind, module.clone(), version.clone());
            let noted = came_direct(&files, since, asked, answer)?;
            let repository = noted.as_deref().map(url_without_userinfo);
            if repository != noted {
                files.remove(&Kind::Info);
            }
            Some(Found {
                module: module.clone(),
                version,
                repository,
                files,
            })
        })
    });
    found.collect()
}

/// The folders `@v` of modules at or below these paths.
fn version_folders(download: &Path, roots: &BTreeSet<String>) -> Vec<(String, PathBuf)> {
    // The path of a module may end like that of its repository.
    let both = roots
        .iter()
        .flat_map(|root| [root.clone(), format!("{root}.git")]);
    let mut left: Vec<PathBuf> = both
        .filter_map(|root| escape_path(&root).ok())
        .map(|root| download.join(root))
        .collect();
    let mut found = Vec::new();
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name() != "@v" {
                left.push(entry.path());
                continue;
            }
            let module = folder.strip_prefix(download).ok();
            let module = module.and_then(|path| unescape_path(path.to_str()?).ok());
            found.extend(module.map(|module| (module, entry.path())));
        }
    }
    found
}

/// The files of each version in a folder `@v`.
fn versions(folder: &Path) -> BTreeMap<String, BTreeMap<Kind, PathBuf>> {
    let mut versions: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((version, extension)) = name.to_str().and_then(|name| name.rsplit_once('.'))
        else {
            continue;
        };
        let kind = match extension {
            "info" => Kind::Info,
            "mod" => Kind::Mod,
            "zip" => Kind::Zip,
            _ => continue,
        };
        if let Ok(version) = unescape_version(version) {
            let files = versions.entry(version).or_default();
            files.insert(kind, entry.path());
        }
    }
    versions
}

/// The URL of the repository that a version came from, as it was noted, which may not be known; `None` if it did not come from one,
/// or earlier.
fn came_direct(
    files: &BTreeMap<Kind, PathBuf>,
    since: SystemTime,
    asked: &Asked,
    answer: impl Fn(Kind) -> (Kind, String, String),
) -> Option<Option<String>> {
    let is_new = |path: &PathBuf| {
        let made = fs::symlink_metadata(path).and_then(|file| file.modified());
        made.is_ok_and(|made| made >= since)
    };
    let is_own = |kind: &Kind| {
        let is_unanswered = !asked.answered.contains(&answer(*kind));
        files.get(kind).is_some_and(is_new) && is_unanswered
    };
    let info = files.get(&Kind::Info);
    let info = info.and_then(|path| read_small(path, INFO_LIMIT).ok());
    let info = info.and_then(|text| serde_json::from_slice::<Info>(&text).ok());
    match info.and_then(|info| info.origin) {
        Some(Origin { vcs, url }) => {
            let is_new = [Kind::Info, Kind::Mod, Kind::Zip].iter().any(is_own);
            let repository = Route::of(&format!("{url}/git-upload-pack"), &[]).module;
            let is_asked = repository.is_some_and(|it| asked.repositories.contains(&it));
            (vcs == "git" && is_new && is_asked).then_some(Some(url))
        }
        // What the go command asks a module proxy for, it asks for under the same name.
        None => [Kind::Mod, Kind::Zip].iter().any(is_own).then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module cache with these files, below `cache/download`.
    fn cache(files: &[(&str, &str)]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = temp.path().join("cache/download").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        temp
    }

    fn asked(answered: &[(Kind, &str, &str)]) -> Asked {
        let set = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
        Asked {
            roots: set(&["git.test/Lib", "git.test/Lib/sub"]),
            repositories: set(&["git.test/Lib"]),
            answered: answered
                .iter()
                .map(|&(kind, module, version)| (kind, module.into(), version.into()))
                .collect(),
        }
    }

    fn names(cache: &Path, since: SystemTime, asked: &Asked) -> Vec<String> {
        let found = direct_modules(cache, since, asked).into_iter();
        let name = |found: Found| {
            let kinds: String = found.files.keys().map(|kind| format!(" {kind}")).collect();
            format!("{}@{}{kinds}", found.module, found.version)
        };
        found.map(name).collect()
    }

    const OURS: &str =
        r#"{"Version":"v1.0.0","Origin":{"VCS":"git","URL":"https://git.test/Lib.git"}}"#;
    const OTHER: &str =
        r#"{"Version":"v1.0.0","Origin":{"VCS":"git","URL":"https://other.test/x"}}"#;

    #[test]
    fn credentials_of_a_repository_are_not_kept() {
        let noted = OURS.replace("//git", "//me:secret@git");
        let cache = cache(&[
            ("git.test/!lib/@v/v1.0.0.info", &noted),
            ("git.test/!lib/@v/v1.0.0.mod", "module git.test/Lib\n"),
        ]);
        let found = direct_modules(cache.path(), SystemTime::UNIX_EPOCH, &asked(&[]));
        let [found] = &found[..] else {
            panic!("{found:?}");
        };
        let repository = found.repository.as_deref();
        assert_eq!(repository, Some("https://git.test/Lib.git"));
        let kinds: Vec<_> = found.files.keys().collect();
        assert_eq!(kinds, [&Kind::Mod]);
    }

    #[test]
    fn what_is_new_and_no_proxy_gave_came_from_the_repository() {
        let cache = cache(&[
            ("git.test/!lib/@v/v1.0.0.info", OURS),
            ("git.test/!lib/@v/v1.0.0.mod", "module git.test/Lib\n"),
            ("git.test/!lib/@v/v1.0.0.zip", "PK"),
            ("git.test/!lib/@v/v1.0.0.ziphash", "h1:"),
            ("git.test/!lib/@v/list", "v1.0.0\n"),
            (
                "git.test/!lib/sub/v2/@v/v2.0.0.mod",
                "module git.test/Lib/sub/v2\n",
            ),
            ("git.test/!lib.git/@v/v1.0.0.zip", "PK"),
            ("git.test/!lib/other/@v/v1.0.0.info", OTHER),
            ("git.test/!lib/other/@v/v1.0.0.zip", "PK"),
            ("elsewhere.test/x/@v/v1.0.0.zip", "PK"),
        ]);
        let all = names(cache.path(), SystemTime::UNIX_EPOCH, &asked(&[]));
        let expected = [
            "git.test/Lib@v1.0.0 info mod zip",
            "git.test/Lib.git@v1.0.0 zip",
            "git.test/Lib/sub/v2@v2.0.0 mod",
        ];
        assert_eq!(all, expected);
        let answered =
            [Kind::Info, Kind::Mod, Kind::Zip].map(|kind| (kind, "git.test/Lib", "v1.0.0"));
        let some = names(cache.path(), SystemTime::UNIX_EPOCH, &asked(&answered));
        assert_eq!(some, expected[1..]);
        let made = fs::metadata(cache.path()).unwrap().modified().unwrap();
        let later = made + Duration::from_secs(60);
        assert!(names(cache.path(), later, &asked(&[])).is_empty());
    }
}
