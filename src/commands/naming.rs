//! The name of a recording, and its folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use time::OffsetDateTime;
use time::macros::format_description;

use super::failure::Advise as _;
use crate::child::is_go;
use crate::cli::{Global, RecordArgs};
use crate::clock::Clock;
use crate::recording::format::JOURNAL;
use crate::recording::{folder, writer};
use crate::shell;

/// The folder of a recording, and how its name was chosen.
pub(super) struct Naming {
    pub(super) dir: PathBuf,
    pub(super) replace: bool,
    /// The verb that the recording is named after; `None` if the user chose the name.
    pub(super) verb: Option<String>,
}

impl Naming {
    pub(super) fn of(args: &RecordArgs, global: &Global) -> anyhow::Result<Self> {
        let verb = verb(&args.command);
        Self::named(args.output.as_deref(), args.force, verb, global)
    }

    /// The folder that `output` names, else one named after `verb`.
    pub(super) fn named(
        output: Option<&Path>,
        replace: bool,
        verb: String,
        global: &Global,
    ) -> anyhow::Result<Self> {
        let verb = output.is_none().then_some(verb);
        let dir = match output {
            Some(output) => {
                let text = output.to_string_lossy();
                if folder::is_path(&text) {
                    // Such as `.`, which has no name of its own that a new folder could be renamed
                    // to.
                    let help = "name a new folder, such as ./recording";
                    let named = output.file_name();
                    let named = named.with_context(|| format!("-o {text} does not name a folder"));
                    named.help(help)?;
                    output.to_owned()
                } else {
                    folder::check_name(&text).with_context(|| format!("-o {text}"))?;
                    global.recordings.join(output)
                }
            }
            None => free_name(&global.recordings, verb.as_deref().unwrap_or_default()),
        };
        Ok(Self { dir, replace, verb })
    }

    /// Makes the folder.
    pub(super) fn make(&mut self) -> anyhow::Result<writer::Folder> {
        loop {
            match (writer::create(&self.dir, self.replace), self.next()) {
                (Err(writer::CreateError::Exists(_)), Some(next)) => self.dir = next,
                (made, _) => return self.explain(made),
            }
        }
    }

    /// Fails if [`Self::place`] would, as far as that can be known in advance.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.explain(writer::check(&self.dir, self.replace))
    }

    /// Moves a recording that was made elsewhere to its folder.
    pub(super) fn place(&mut self, made: &Path) -> anyhow::Result<()> {
        loop {
            match (writer::place(made, &self.dir, self.replace), self.next()) {
                (Err(writer::CreateError::Exists(_)), Some(next)) => self.dir = next,
                (placed, _) => return self.explain(placed),
            }
        }
    }

    fn explain<T>(&self, made: Result<T, writer::CreateError>) -> anyhow::Result<T> {
        use writer::CreateError::{Exists, Foreign, Io};
        let dir = self.dir.to_string_lossy();
        let dir = shell::word(&dir);
        let replaceable = self.dir.join(JOURNAL).is_file();
        let help = match &made {
            Err(Exists(_)) if replaceable => {
                format!(
                    "--force replaces it, -o NAME chooses another name; to see it: `modtape ls {dir}`"
                )
            }
            Err(Exists(_) | Foreign(_)) => String::from("choose another name with -o NAME"),
            Err(Io { .. }) => {
                String::from("name another folder with --recordings DIR, or a path with -o")
            }
            _ => return Ok(made?),
        };
        made.help(help)
    }

    /// The next free name, if another recorder has taken this one since it was chosen.
    fn next(&self) -> Option<PathBuf> {
        let dir = free_name(self.dir.parent()?, self.verb.as_deref()?);
        (dir != self.dir).then_some(dir)
    }

    pub(super) fn name(&self) -> String {
        let name = self.dir.file_name().unwrap_or(self.dir.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

/// `tidy` for `go mod tidy`, `build` for `go build ./...`, else the program's name.
fn verb(command: &[OsString]) -> String {
    let mut words = command.iter().map(|word| word.to_string_lossy()).peekable();
    let Some(mut program) = words.next() else {
        return String::from("session");
    };
    // `env NAME=VALUE go …` is about go.
    if Path::new(&*program).file_name() == Some("env".as_ref()) {
        while words.next_if(|word| word.contains('=')).is_some() {}
        program = words
            .next_if(|word| !word.starts_with('-'))
            .unwrap_or(program);
    }
    let program = Path::new(&*program).file_name().unwrap_or_default();
    let mut verbs = std::iter::from_fn(|| {
        loop {
            let word = words.next()?;
            match &*word {
                // cmd/go's only flag before a verb; its value is the next word.
                "-C" | "--C" => drop(words.next()),
                flag if flag.starts_with('-') => {}
                _ => return Some(word),
            }
        }
    });
    let verb = match is_go(program).then(|| verbs.next()).flatten() {
        Some(group) if matches!(&*group, "mod" | "work" | "tool") => verbs.next().unwrap_or(group),
        Some(verb) => verb,
        None => program.to_string_lossy(),
    };
    let plain: String = verb
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let plain = plain.trim_start_matches('-');
    if plain.is_empty() {
        String::from("session")
    } else {
        plain.to_owned()
    }
}

/// `VERB-MMDD-HHMM` in local time, with `-2` and so on if it is taken.
pub(super) fn free_name(recordings: &Path, verb: &str) -> PathBuf {
    let wall = OffsetDateTime::from(Clock::start().wall_start());
    let offset = time::UtcOffset::current_local_offset().unwrap_or(time::UtcOffset::UTC);
    let form = format_description!("[month][day]-[hour][minute]");
    let stamp = wall.to_offset(offset).format(&form).unwrap_or_default();
    free(recordings.join(format!("{verb}-{stamp}")))
}

/// This path, or the first of `PATH-2`, `PATH-3` and so on where it is taken.
fn free(path: PathBuf) -> PathBuf {
    let numbered = |n: u32| {
        let mut name = path.clone().into_os_string();
        name.push(format!("-{n}"));
        PathBuf::from(name)
    };
    let mut names = std::iter::once(path.clone()).chain((2..).map(numbered));
    names.find(|path| !path.exists()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb_of(command: &str) -> String {
        let words: Vec<_> = command.split_whitespace().map(OsString::from).collect();
        verb(&words)
    }

    #[test]
    fn a_recording_is_named_after_what_was_done() {
        for (command, name) in [
            ("go mod tidy", "tidy"),
            ("/opt/go/bin/go build -x ./...", "build"),
            ("go -C dir mod download -json", "download"),
            ("go -C=dir build", "build"),
            ("go mod -C dir tidy", "tidy"),
            ("go work -C", "work"),
            ("go -C", "go"),
            ("go1.21.13 get x@latest", "get"),
            ("go.exe test ./...", "test"),
            ("env GOFLAGS=-x GOWORK=off go mod tidy", "tidy"),
            ("env A=1", "env"),
            ("env", "env"),
            ("env -u A go build", "env"),
            ("sh -c go", "sh"),
            ("make all", "make"),
            ("", "session"),
            ("./../..", "session"),
        ] {
            assert_eq!(verb_of(command), name, "{command}");
        }
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let temp = tempfile::tempdir().unwrap();
        let first = temp.path().join("tidy-1122-0452");
        for expected in ["tidy-1122-0452", "tidy-1122-0452-2", "tidy-1122-0452-3"] {
            let name = free(first.clone());
            assert_eq!(name, temp.path().join(expected));
            std::fs::create_dir(name).unwrap();
        }
        // Another recorder was faster; a name that was asked for is no other.
        let naming = |verb: Option<&str>| Naming {
            dir: first.clone(),
            replace: false,
            verb: verb.map(str::to_owned),
        };
        let next = naming(Some("tidy")).next().unwrap();
        assert!(next.starts_with(temp.path()) && !next.exists(), "{next:?}");
        assert_eq!(naming(None).next(), None);
    }
}
