//! The main module's go.mod and go.sum, kept beside the journal as `main.mod` and `main.sum`.
//!
//! What a proxy serves says what dependencies require; what the command's own module requires, and
//! which hashes it expects, stands in these two files alone. They are copied as they are, when a
//! recorder begins and once more when it ends. Replays and exports do not read them. The names are
//! those of `go build -modfile=main.mod`. A workspace has several main modules: then its go.work is kept
//! as `main.work`, and what belongs to its modules as `main.1.mod`, `main.1.sum` and so on.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::format::{MAIN_MOD, MAIN_SUM, MAIN_WORK, MAIN_WORK_SUM};
use super::reader::Recording;
use crate::files::{open_regular, replace_file};
use crate::gomod::{GoMod, GoSum, go_words, modfile};

/// The largest file that is kept, bytes: the go command takes no longer go.mod of a dependency.
const LIMIT: u64 = 16 << 20;

/// How many modules of a workspace are kept.
const MODULES: usize = 256;

/// How much is read of all of them, bytes.
const ALL: usize = 64 << 20;

/// What the command works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MainModule {
    /// A module, by its go.mod or by what stands in for that (`-modfile`).
    Module(PathBuf),
    /// The modules of a workspace, by its go.work.
    Workspace(PathBuf),
}

/// Copies what says what the main module requires, and the hashes beside it, to the recording in `dir`.
/// What is not there, or no regular file, is left out.
pub(crate) fn keep_main_module(dir: &Path, main: &MainModule) -> io::Result<()> {
    let go_work = match main {
        MainModule::Module(go_mod) => return keep_module(dir, go_mod, None),
        MainModule::Workspace(go_work) => go_work,
    };
    let Some(content) = keep(go_work, &dir.join(MAIN_WORK))? else {
        return Ok(());
    };
    let _ = keep(
        &go_work.with_file_name("go.work.sum"),
        &dir.join(MAIN_WORK_SUM),
    );
    let folders = modules(&content).into_iter();
    let folders = folders.map(|used| go_work.with_file_name(used).join("go.mod"));
    let mut kept = 0;
    for go_mod in folders {
        kept += 1;
        keep_module(dir, &go_mod, Some(kept))?;
    }
    // The command may have taken modules out of the workspace.
    for number in kept + 1..=MODULES {
        for name in [MAIN_MOD, MAIN_SUM] {
            let _ = fs::remove_file(dir.join(numbered(name, number)));
        }
    }
    Ok(())
}

/// Copies a go.mod, and the go.sum beside it, under the names of the module of this number in a
/// workspace.
fn keep_module(dir: &Path, go_mod: &Path, number: Option<usize>) -> io::Result<()> {
    let [go_mod_to, go_sum_to] = [MAIN_MOD, MAIN_SUM].map(|name| match number {
        None => dir.join(name),
        Some(number) => dir.join(numbered(name, number)),
    });
    keep(go_mod, &go_mod_to)?;
    // Without go.sum nothing is amiss but what it would tell.
    match keep(&go_mod.with_extension("sum"), &go_sum_to) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(()),
        kept => kept.map(drop),
    }
}

/// `main.2.mod`
fn numbered(name: &str, number: usize) -> String {
    name.replacen("main.", &format!("main.{number}."), 1)
}

/// The folders of a workspace's modules.
fn modules(go_work: &[u8]) -> Vec<String> {
    let mut folders = GoMod::parse(go_work).uses;
    folders.truncate(MODULES);
    folders
}

/// Copies a file and returns its content; `None` if there is none.
fn keep(from: &Path, to: &Path) -> io::Result<Option<Vec<u8>>> {
    let found = match read_whole(from) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let path = from.display();
            let what = format!("{path} is larger than {} MiB", LIMIT >> 20);
            return Err(io::Error::new(error.kind(), what));
        }
        // It may be a link, a folder, or not there at all: the go command judges that.
        found => found.ok(),
    };
    if let Some(content) = &found {
        replace_file(to, |file| file.write_all(content))?;
    }
    Ok(found)
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
    /// The go.work of the workspace that the command worked in, if it was kept.
    pub(crate) fn main_work(&self) -> Option<Vec<u8>> {
        read_whole(&self.dir().join(MAIN_WORK)).ok()
    }

    /// The go.mod of the main module, or those of the modules of a workspace; what was not kept is left
    /// out.
    pub(crate) fn main_mods(&self) -> Vec<Vec<u8>> {
        let names: Vec<String> = match self.main_work() {
            None => vec![MAIN_MOD.to_owned()],
            Some(go_work) => {
                let numbers = 1..=modules(&go_work).len();
                numbers.map(|number| numbered(MAIN_MOD, number)).collect()
            }
        };
        let mut left = ALL;
        let files = names.iter();
        let files = files.filter_map(|name| read_whole(&self.dir().join(name)).ok());
        let fits = |content: &Vec<u8>| {
            let rest = left.checked_sub(content.len());
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        files.take_while(fits).collect()
    }

    /// The go.sum of the main module, or what those of a workspace say together, if any was kept.
    pub(crate) fn main_sum(&self) -> Option<GoSum> {
        // The file's name here, and where it was.
        let names: Vec<(String, String)> = match self.main_work() {
            None => vec![(MAIN_SUM.to_owned(), self.main_sum_name())],
            Some(go_work) => {
                let folders = modules(&go_work).into_iter();
                let numbered = (1..).zip(folders).map(|(number, folder)| {
                    let folder = folder.trim_end_matches('/');
                    (numbered(MAIN_SUM, number), format!("{folder}/go.sum"))
                });
                // As the go command, which looks there first.
                let first = (MAIN_WORK_SUM.to_owned(), String::from("go.work.sum"));
                std::iter::once(first).chain(numbered).collect()
            }
        };
        let mut sums = None;
        for (name, was) in names {
            if let Ok(content) = read_whole(&self.dir().join(name)) {
                let sums: &mut GoSum = sums.get_or_insert_default();
                sums.add(&was, &content);
            }
        }
        sums
    }

    /// `go.sum`, or the one beside what stands in for go.mod.
    fn main_sum_name(&self) -> String {
        let manifest = self.manifest();
        let goflags = manifest.go_env.get("GOFLAGS").map_or("", String::as_str);
        let words = go_words(&manifest.command).unwrap_or_default();
        let other = modfile(goflags, &words).and_then(|file| file.strip_suffix(".mod"));
        other.map_or_else(|| String::from("go.sum"), |file| format!("{file}.sum"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn both_files_are_kept_as_they_are_and_the_last_one_counts() {
        let temp = tempfile::tempdir().unwrap();
        let (from, to) = (temp.path().join("project"), temp.path().join("recording"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        let go_mod = from.join("go.mod");
        let main = MainModule::Module(go_mod.clone());
        let kept = || {
            let read = |name| fs::read(to.join(name)).ok();
            (read(MAIN_MOD), read(MAIN_SUM))
        };
        keep_main_module(&to, &main).unwrap();
        assert_eq!(kept(), (None, None));
        fs::write(&go_mod, "module a.b/c\n").unwrap();
        keep_main_module(&to, &main).unwrap();
        assert_eq!(kept(), (Some(b"module a.b/c\n".to_vec()), None));
        fs::write(&go_mod, "module a.b/d\n").unwrap();
        fs::write(from.join("go.sum"), b"\xff\n").unwrap();
        keep_main_module(&to, &main).unwrap();
        let sum = b"\xff\n".to_vec();
        assert_eq!(kept(), (Some(b"module a.b/d\n".to_vec()), Some(sum)));
    }

    #[test]
    fn what_is_too_large_is_told_and_what_is_no_file_is_left_out() {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("recording");
        fs::create_dir(&to).unwrap();
        let go_mod = temp.path().join("go.mod");
        let main = MainModule::Module(go_mod.clone());
        let limit = usize::try_from(LIMIT).unwrap();
        fs::write(&go_mod, vec![b'/'; limit]).unwrap();
        keep_main_module(&to, &main).unwrap();
        fs::write(&go_mod, vec![b'/'; limit + 1]).unwrap();
        let error = keep_main_module(&to, &main).unwrap_err();
        assert!(error.to_string().ends_with("go.mod is larger than 16 MiB"));
        fs::remove_file(&go_mod).unwrap();
        symlink("/etc/passwd", &go_mod).unwrap();
        fs::create_dir(temp.path().join("go.sum")).unwrap();
        keep_main_module(&to, &main).unwrap();
        assert!(!to.join(MAIN_SUM).exists());
    }

    #[test]
    fn another_file_than_go_mod_has_hashes_of_its_own() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["go.mod", "go.sum", "tools.mod", "tools.sum"] {
            fs::write(temp.path().join(name), name).unwrap();
        }
        let to = temp.path().join("recording");
        fs::create_dir(&to).unwrap();
        let main = MainModule::Module(temp.path().join("tools.mod"));
        keep_main_module(&to, &main).unwrap();
        assert_eq!(fs::read(to.join(MAIN_MOD)).unwrap(), b"tools.mod");
        assert_eq!(fs::read(to.join(MAIN_SUM)).unwrap(), b"tools.sum");
    }

    #[test]
    fn the_modules_of_a_workspace_are_numbered_and_those_that_left_it_go() {
        let temp = tempfile::tempdir().unwrap();
        let to = temp.path().join("recording");
        fs::create_dir(&to).unwrap();
        for name in ["app", "lib"] {
            fs::create_dir(temp.path().join(name)).unwrap();
            fs::write(temp.path().join(name).join("go.mod"), name).unwrap();
        }
        fs::write(temp.path().join("lib/go.sum"), "sums").unwrap();
        let go_work = temp.path().join("go.work");
        let main = MainModule::Workspace(go_work.clone());
        let kept = || {
            let mut names: Vec<String> = fs::read_dir(&to)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        keep_main_module(&to, &main).unwrap();
        assert_eq!(kept(), [""; 0]);
        fs::write(&go_work, "use (\n\t./none\n\t./app\n\t./lib\n)\n").unwrap();
        keep_main_module(&to, &main).unwrap();
        assert_eq!(
            kept(),
            ["main.2.mod", "main.3.mod", "main.3.sum", "main.work"]
        );
        assert_eq!(fs::read(to.join("main.3.mod")).unwrap(), b"lib");
        fs::write(&go_work, "use ./none\nuse ./app\n").unwrap();
        keep_main_module(&to, &main).unwrap();
        assert_eq!(kept(), ["main.2.mod", "main.work"]);
    }
}
