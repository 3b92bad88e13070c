//! The modules of a go.sum in the module cache: whether the go command can use what it finds there.
//!
//! The cheap checks only: of a zip its directory, of the unpacked files their names and lengths. A zip
//! is hashed where its recorded hash is not the one in go.sum. `go mod verify` hashes all. Sources:
//! cmd/go's `modfetch.DownloadDir`, `DownloadZip` and `checkMod`.

use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rawzip::FileReader;
use rustix::fs::{Access, access};

use super::module_cache::{error_text, forbidden};
use crate::clock::{Clock, Timestamp};
use crate::exchange::chain;
use crate::files::open_regular;
use crate::gomod::{GoSum, Kind, ModuleZip, escape_path, escape_version};
use crate::recording::caches::{CheckedModules, DAMAGED, Damage, Damaged};

/// The longest file with a hash that is read, bytes; a hash has 47.
const HASH: u64 = 128;

/// Looks at the modules whose zip `go_sum` has a hash of, in the module cache at `cache`, for as long as
/// `limit`.
pub(crate) fn check(cache: &Path, go_sum: &GoSum, limit: Duration) -> CheckedModules {
    let until = Deadline::within(limit);
    let mut checked = CheckedModules::default();
    for (module, version, sum) in go_sum.zips() {
        checked.named += 1;
        if until.is_over() {
            continue;
        }
        let Some(places) = Places::of(cache, module, version) else {
            continue;
        };
        checked.looked_at += 1;
        let expected = Expected {
            module,
            version,
            sum,
        };
        match places.damage(&expected, &until) {
            Ok(Looked::Sound) => {}
            Ok(Looked::Missing) => checked.missing += 1,
            Ok(Looked::Unfinished) => checked.looked_at -= 1,
            Err((path, damage)) if checked.damaged.len() < DAMAGED => {
                checked.damaged.push(Damaged {
                    module: module.to_owned(),
                    version: version.to_owned(),
                    path: below(cache, &path),
                    damage,
                });
            }
            Err(_) => {}
        }
    }
    checked
}

/// How many bytes more the module cache at `cache` needs for a file that was served with so many `bytes`:
/// a go.mod, or a zip with what it is unpacked to. `None` if it has all of it, or never will.
pub(crate) fn needs(
    cache: &Path,
    module: &str,
    version: &str,
    kind: Kind,
    bytes: u64,
) -> Option<u64> {
    let places = Places::of(cache, module, version)?;
    if kind == Kind::Mod {
        return (!places.zip.with_extension("mod").is_file()).then_some(bytes);
    }
    let Ok(zip) = open_regular(&places.zip) else {
        return Some(bytes);
    };
    if places.tree.is_dir() && !places.partial.exists() {
        return None;
    }
    let opened = ModuleZip::open(FileReader::from(zip), bytes, module, version);
    let unpacked = opened.map(|zip| zip.files().map(|(_, bytes)| bytes).sum());
    Some(unpacked.unwrap_or(bytes))
}

/// What came of looking at a module that is not damaged.
enum Looked {
    /// It is there.
    Sound,
    /// Nothing of it is there.
    Missing,
    /// The time was up before it was known.
    Unfinished,
}

/// When to stop.
pub(super) struct Deadline {
    clock: Clock,
    limit: Duration,
}

impl Deadline {
    pub(super) fn within(limit: Duration) -> Self {
        let clock = Clock::start();
        Self { clock, limit }
    }

    pub(super) fn is_over(&self) -> bool {
        self.clock.now().since(Timestamp::default()) >= self.limit
    }
}

struct Expected<'a> {
    module: &'a str,
    version: &'a str,
    sum: &'a str,
}

/// Where the module cache has a module version.
struct Places {
    zip: PathBuf,
    ziphash: PathBuf,
    /// There while the zip is unpacked.
    partial: PathBuf,
    tree: PathBuf,
}

/// A file or folder, and what is wrong with it.
type Fault = (PathBuf, Damage);

impl Places {
    fn of(cache: &Path, module: &str, version: &str) -> Option<Self> {
        let path = escape_path(module).ok()?;
        let version = escape_version(version).ok()?;
        let folder = cache.join("cache/download").join(&path).join("@v");
        let file = |suffix: &str| folder.join(format!("{version}.{suffix}"));
        Some(Self {
            zip: file("zip"),
            ziphash: file("ziphash"),
            partial: file("partial"),
            tree: cache.join(format!("{path}@{version}")),
        })
    }

    /// Whether anything of the module is there, if nothing is wrong with it.
    fn damage(&self, expected: &Expected<'_>, until: &Deadline) -> Result<Looked, Fault> {
        let hash = self.hash()?;
        let zip = self.open(expected)?;
        match (&hash, &zip) {
            (Some(says), Some(zip)) if says != expected.sum => {
                let sum = zip.h1_unless(|| until.is_over());
                let sum = sum.map_err(|fault| (self.zip.clone(), zip_damage(chain(&fault))))?;
                // Which of both is wrong is not known.
                let Some(sum) = sum else {
                    return Ok(Looked::Unfinished);
                };
                return Err(match sum == expected.sum {
                    true => {
                        let says = says.clone();
                        (self.ziphash.clone(), Damage::Ziphash { says, sum })
                    }
                    false => (self.zip.clone(), expected.content(sum)),
                });
            }
            (Some(says), None) if says != expected.sum => {
                return Err((self.ziphash.clone(), expected.content(says.clone())));
            }
            _ => {}
        }
        let tree = self.tree(zip.as_ref(), until)?;
        Ok(match hash.is_some() || zip.is_some() || tree {
            true => Looked::Sound,
            false => Looked::Missing,
        })
    }

    /// The recorded hash of the zip. One that is no hash the go command computes anew.
    fn hash(&self) -> Result<Option<String>, Fault> {
        let file = found(open_regular(&self.ziphash));
        let file = file.map_err(|error| unreadable(&self.ziphash, &error))?;
        let Some(file) = file else {
            return Ok(None);
        };
        let mut text = String::new();
        // What is no text is no hash.
        let _ = file.take(HASH).read_to_string(&mut text);
        let text = text.trim();
        Ok(is_hash(text).then(|| text.to_owned()))
    }

    fn open(&self, expected: &Expected<'_>) -> Result<Option<ModuleZip<FileReader>>, Fault> {
        let damaged = |why: String| (self.zip.clone(), zip_damage(why));
        let unreadable = |error: io::Error| unreadable(&self.zip, &error);
        let Some(file) = found(open_regular(&self.zip)).map_err(unreadable)? else {
            return Ok(None);
        };
        let bytes = file.metadata().map_err(unreadable)?.len();
        let zip = FileReader::from(file);
        let opened = ModuleZip::open(zip, bytes, expected.module, expected.version);
        opened.map(Some).map_err(|fault| damaged(chain(&fault)))
    }

    /// Whether there are unpacked files. They are compared with the zip until the time is up.
    fn tree(&self, zip: Option<&ModuleZip<FileReader>>, until: &Deadline) -> Result<bool, Fault> {
        let damaged = |path: &Path, why: String| (path.to_owned(), Damage::Tree { why });
        let tree = &self.tree;
        let is_there = found(fs::metadata(tree)).map_err(|error| unreadable(tree, &error))?;
        // The go command unpacks the zip again.
        if is_there.is_none() || self.partial.exists() {
            return Ok(is_there.is_some());
        }
        access(tree, Access::READ_OK | Access::EXEC_OK)
            .map_err(|error| unreadable(tree, &error.into()))?;
        for (path, bytes) in zip.into_iter().flat_map(ModuleZip::files) {
            if until.is_over() {
                break;
            }
            let path = tree.join(path);
            let metadata = found(fs::metadata(&path)).map_err(|error| unreadable(&path, &error))?;
            let why = match &metadata {
                None => "it is missing, and its module's zip has it",
                Some(file) if !is_file_of(file, bytes) => "it is not the one in its module's zip",
                Some(_) => {
                    let readable = access(&path, Access::READ_OK);
                    readable.map_err(|error| unreadable(&path, &error.into()))?;
                    continue;
                }
            };
            return Err(damaged(&path, why.to_owned()));
        }
        Ok(true)
    }
}

impl Expected<'_> {
    fn content(&self, sum: String) -> Damage {
        let go_sum = self.sum.to_owned();
        Damage::Content { sum, go_sum }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    let is_right = error.kind() == io::ErrorKind::PermissionDenied;
    let damage = Damage::Unreadable {
        why: error_text(error),
        forbidden: is_right.then(|| forbidden(path)).flatten(),
    };
    (path.to_owned(), damage)
}

fn zip_damage(why: String) -> Damage {
    Damage::Zip { why }
}

fn is_file_of(file: &Metadata, bytes: u64) -> bool {
    file.is_file() && file.len() == bytes
}

/// `None` for what is not there.
fn found<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// `h1:` and the base64 of 32 bytes (`modfetch.isValidSum`).
fn is_hash(text: &str) -> bool {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let digest = text.strip_prefix("h1:");
    digest.is_some_and(|digest| digest.len() == 44 && digest.chars().all(is_base64))
}

fn below(cache: &Path, path: &Path) -> String {
    let below = path.strip_prefix(cache).unwrap_or(path);
    below.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const MODULE: &str = "a.b/C";
    const LIMIT: Duration = Duration::from_secs(60);

    /// A module cache with one module, and the hash of its zip.
    struct Made {
        cache: tempfile::TempDir,
        sum: String,
    }

    impl Made {
        fn new() -> Self {
            let cache = tempfile::tempdir().unwrap();
            let made = Self {
                cache,
                sum: String::new(),
            };
            let files = [("go.mod", "module a.b/C\n"), ("sub/c.go", "package sub\n")];
            let mut zip = rawzip::ZipArchiveWriter::new(Vec::new());
            for (name, content) in files {
                let name = format!("{MODULE}@v1.0.0/{name}");
                let (mut entry, config) = zip.new_file(&name).start().unwrap();
                let mut writer = config.wrap(&mut entry);
                writer.write_all(content.as_bytes()).unwrap();
                let (_, descriptor) = writer.finish().unwrap();
                entry.finish(descriptor).unwrap();
            }
            let zip = zip.finish().unwrap();
            let opened = ModuleZip::open(&zip[..], zip.len() as u64, MODULE, "v1.0.0");
            let sum = opened.unwrap().h1().unwrap();
            for (name, content) in files {
                made.write(&format!("a.b/!c@v1.0.0/{name}"), content.as_bytes());
            }
            made.write("cache/download/a.b/!c/@v/v1.0.0.zip", &zip);
            made.write("cache/download/a.b/!c/@v/v1.0.0.ziphash", sum.as_bytes());
            Self { sum, ..made }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.cache.path().join(name)
        }

        fn write(&self, name: &str, content: &[u8]) {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn remove(&self, name: &str) {
            fs::remove_file(self.path(name)).unwrap();
        }

        /// What is damaged, if go.sum expects this hash.
        fn found(&self, sum: &str) -> Option<(String, Damage)> {
            let go_sum = GoSum::parse(format!("{MODULE} v1.0.0 {sum}\n").as_bytes());
            let checked = check(self.cache.path(), &go_sum, LIMIT);
            assert_eq!((checked.named, checked.looked_at), (1, 1));
            let damaged = checked.damaged.into_iter().next();
            damaged.map(|one| (one.path, one.damage))
        }
    }

    const ZIP: &str = "cache/download/a.b/!c/@v/v1.0.0.zip";
    const ZIPHASH: &str = "cache/download/a.b/!c/@v/v1.0.0.ziphash";
    const OTHER: &str = "h1:o7IhLm0Msx3BaB+n3Ag7L8EVlByGnpq14C4YWiu/gL8=";

    #[test]
    fn a_sound_module_is_not_damaged_nor_one_that_is_not_there() {
        let made = Made::new();
        assert_eq!(made.found(&made.sum), None);
        // As after `rm -r cache/download`, and while another go unpacks it.
        made.remove(ZIP);
        made.remove(ZIPHASH);
        assert_eq!(made.found(&made.sum), None);
        fs::remove_dir_all(made.path("a.b")).unwrap();
        let go_sum = GoSum::parse(format!("{MODULE} v1.0.0 {OTHER}\n").as_bytes());
        let checked = check(made.cache.path(), &go_sum, LIMIT);
        assert_eq!((checked.missing, checked.damaged.len()), (1, 0));
        let checked = check(made.cache.path(), &go_sum, Duration::ZERO);
        assert_eq!((checked.named, checked.looked_at), (1, 0));
    }

    #[test]
    fn half_a_zip_is_damaged_and_one_that_is_being_unpacked_is_not() {
        let made = Made::new();
        let zip = fs::read(made.path(ZIP)).unwrap();
        made.write(ZIP, &zip[..zip.len() / 2]);
        let (path, damage) = made.found(&made.sum).unwrap();
        assert_eq!(path, ZIP);
        assert!(matches!(damage, Damage::Zip { .. }), "{damage:?}");
        made.write(ZIP, &zip);
        made.write("cache/download/a.b/!c/@v/v1.0.0.partial", b"");
        made.remove("a.b/!c@v1.0.0/go.mod");
        assert_eq!(made.found(&made.sum), None);
    }

    #[test]
    fn of_a_hash_that_is_not_that_of_go_sum_the_zip_tells_which_is_wrong() {
        let made = Made::new();
        let sum = made.sum.clone();
        let content = |sum: &str, go_sum: &str| Damage::Content {
            sum: sum.to_owned(),
            go_sum: go_sum.to_owned(),
        };
        assert_eq!(made.found(OTHER), Some((ZIP.into(), content(&sum, OTHER))));
        made.write(ZIPHASH, OTHER.as_bytes());
        let damage = Damage::Ziphash {
            says: OTHER.into(),
            sum: sum.clone(),
        };
        assert_eq!(made.found(&sum), Some((ZIPHASH.into(), damage)));
        made.remove(ZIP);
        let found = made.found(&sum);
        assert_eq!(found, Some((ZIPHASH.into(), content(OTHER, &sum))));
        // What is no hash, as a crash may leave it, is computed anew.
        for text in ["", "h1:x", "\0\0\0"] {
            made.write(ZIPHASH, text.as_bytes());
            assert_eq!(made.found(&sum), None, "{text:?}");
        }
    }

    #[test]
    fn a_zip_that_is_not_hashed_in_time_is_not_judged() {
        let made = Made::new();
        let places = Places::of(made.cache.path(), MODULE, "v1.0.0").unwrap();
        let expected = Expected {
            module: MODULE,
            version: "v1.0.0",
            sum: OTHER,
        };
        let looked = places.damage(&expected, &Deadline::within(Duration::ZERO));
        assert!(matches!(looked, Ok(Looked::Unfinished)));
    }

    #[test]
    fn a_recorded_hash_that_cannot_be_read_is_named() {
        let made = Made::new();
        made.remove(ZIPHASH);
        // A link to itself cannot be opened by anybody.
        std::os::unix::fs::symlink(made.path(ZIPHASH), made.path(ZIPHASH)).unwrap();
        let (path, damage) = made.found(&made.sum).unwrap();
        assert_eq!(path, ZIPHASH);
        let is_it = matches!(
            &damage,
            Damage::Unreadable {
                forbidden: None,
                ..
            }
        );
        assert!(is_it, "{damage:?}");
    }

    #[test]
    fn files_that_are_not_those_of_the_zip_are_damage() {
        let file = "a.b/!c@v1.0.0/sub/c.go";
        for (change, why) in [
            (None, "it is missing, and its module's zip has it"),
            (Some("package su"), "it is not the one in its module's zip"),
        ] {
            let made = Made::new();
            match change {
                None => made.remove(file),
                Some(text) => made.write(file, text.as_bytes()),
            }
            let why = why.to_owned();
            let expected = (file.to_owned(), Damage::Tree { why });
            assert_eq!(made.found(&made.sum), Some(expected));
        }
    }

    #[test]
    fn what_was_not_kept_needs_room() {
        let made = Made::new();
        let cache = made.cache.path();
        let zip = fs::metadata(made.path(ZIP)).unwrap().len();
        let room = |kind, bytes| needs(cache, MODULE, "v1.0.0", kind, bytes);
        assert_eq!(room(Kind::Zip, zip), None);
        assert_eq!(room(Kind::Mod, 13), Some(13));
        assert_eq!(needs(cache, "..", "v1.0.0", Kind::Mod, 13), None);
        fs::remove_dir_all(made.path("a.b")).unwrap();
        assert_eq!(room(Kind::Zip, zip), Some(25));
        made.remove(ZIP);
        assert_eq!(room(Kind::Zip, zip), Some(zip));
    }
}
