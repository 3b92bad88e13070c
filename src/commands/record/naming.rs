//! What a recording is called, and where it lies.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use time::OffsetDateTime;
use time::macros::format_description;

use super::super::advice::Advise as _;
use crate::cli::{Global, RecordArgs};
use crate::clock::Clock;
use crate::diagnose::again::shell_word;
use crate::recording::format::JOURNAL;
use crate::recording::{create, folder};

/// Where the recording goes, and what it is called.
pub(in crate::commands) struct Naming {
    pub(in crate::commands) dir: PathBuf,
    pub(in crate::commands) replace: bool,
    /// What it is named after; `None` where the name was asked for, and no other will do.
    pub(in crate::commands) verb: Option<String>,
}

impl Naming {
    pub(in crate::commands) fn of(args: &RecordArgs, global: &Global) -> anyhow::Result<Self> {
        let verb = verb(&args.command);
        Self::named(args.output.as_deref(), args.force, verb, global)
    }

    /// As `output` says, else after `verb`.
    pub(in crate::commands) fn named(
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
                    // Such as `.`: it stands below no other name, so nothing can be put in its place.
                    let help = "name a folder that is to be made, such as ./recording";
                    let named = output.file_name();
                    let named = named.with_context(|| format!("-o {text} is no name of a folder"));
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
    pub(in crate::commands) fn make(&mut self) -> anyhow::Result<create::Folder> {
        loop {
            match (create::create(&self.dir, self.replace), self.next()) {
                (Err(create::CreateError::Exists(_)), Some(next)) => self.dir = next,
                (made, _) => return self.explain(made),
            }
        }
    }

    /// Fails where [`Self::place`] would, as far as that can be known before.
    pub(in crate::commands) fn check(&self) -> anyhow::Result<()> {
        self.explain(create::check(&self.dir, self.replace))
    }

    /// Puts a recording that was made elsewhere into its place.
    pub(in crate::commands) fn place(&mut self, made: &Path) -> anyhow::Result<()> {
        loop {
            match (create::place(made, &self.dir, self.replace), self.next()) {
                (Err(create::CreateError::Exists(_)), Some(next)) => self.dir = next,
                (placed, _) => return self.explain(placed),
            }
        }
    }

    fn explain<T>(&self, made: Result<T, create::CreateError>) -> anyhow::Result<T> {
        use create::CreateError::{Exists, Foreign, Io};
        let dir = self.dir.to_string_lossy();
        let dir = shell_word(&dir);
        let replaceable = self.dir.join(JOURNAL).is_file();
        let help = match &made {
            Err(Exists(_)) if replaceable => {
                format!(
                    "--force replaces it, -o NAME takes another; see it with `modtape ls {dir}`"
                )
            }
            Err(Exists(_) | Foreign(_)) => String::from("take another name with -o NAME"),
            Err(Io { .. }) => {
                String::from("name another folder with --recordings DIR, or a path with -o")
            }
            _ => return Ok(made?),
        };
        made.help(help)
    }

    /// The next free name, where another recorder took this one since it was chosen.
    fn next(&self) -> Option<PathBuf> {
        let dir = free_name(self.dir.parent()?, self.verb.as_deref()?);
        (dir != self.dir).then_some(dir)
    }

    pub(in crate::commands) fn name(&self) -> String {
        let name = self.dir.file_name().unwrap_or(self.dir.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

/// `tidy` for `go mod tidy`, `build` for `go build ./...`, else the program's name.
pub(super) fn verb(command: &[OsString]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    let Some(program) = words.first() else {
        return String::from("session");
    };
    let program = Path::new(&**program)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let mut verbs = words.iter().skip(1).filter(|word| !word.starts_with('-'));
    let verb = match (&*program, verbs.next()) {
        ("go", Some(group)) if matches!(&**group, "mod" | "work" | "tool") => {
            verbs.next().unwrap_or(group)
        }
        ("go", Some(verb)) => verb,
        _ => &program,
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
pub(in crate::commands) fn free_name(recordings: &Path, verb: &str) -> PathBuf {
    let wall = OffsetDateTime::from(Clock::start().wall_start());
    let offset = time::UtcOffset::current_local_offset().unwrap_or(time::UtcOffset::UTC);
    let form = format_description!("[month][day]-[hour][minute]");
    let stamp = wall.to_offset(offset).format(&form).unwrap_or_default();
    let first = recordings.join(format!("{verb}-{stamp}"));
    let others = (2..).map(|n| recordings.join(format!("{verb}-{stamp}-{n}")));
    let mut names = std::iter::once(first.clone()).chain(others);
    names.find(|path| !path.exists()).unwrap_or(first)
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
            ("go -C dir mod -json download", "dir"),
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
        let first = free_name(temp.path(), "tidy");
        std::fs::create_dir(&first).unwrap();
        let second = free_name(temp.path(), "tidy");
        assert_ne!(first, second);
        assert!(second.to_string_lossy().ends_with("-2") || !second.exists());
        // Another recorder was faster; a name that was asked for is no other.
        let naming = |verb: Option<&str>| Naming {
            dir: first.clone(),
            replace: false,
            verb: verb.map(str::to_owned),
        };
        assert_eq!(naming(Some("tidy")).next(), Some(second));
        assert_eq!(naming(None).next(), None);
    }
}
