//! From the words of a command line to a [`Cli`], and what a wrong one is told.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{CommandFactory as _, Parser as _};

use super::{Cli, Command};

impl Cli {
    /// Parses all words, the program's name included.
    pub fn of(words: &[OsString]) -> Result<Self, Error> {
        let cli = Self::try_parse_from(words).map_err(|error| hint(error, words))?;
        // Left out by mistake, a command is missing: it would be waited for until Ctrl-C.
        if words.last().is_some_and(|last| last == "--") && cli.command.lacks_a_command() {
            let told = "there is no command after --; without a command, leave -- out";
            return Err(Self::command().error(ErrorKind::MissingRequiredArgument, told));
        }
        Ok(cli)
    }

    /// True if these words name a verb that wraps a command: its exit codes are not ours to use.
    pub fn wraps(words: &[OsString]) -> bool {
        let verbs = Self::command();
        let own = words.iter().skip(1).take_while(|word| *word != "--");
        let mut named = own.filter_map(|word| {
            let word = word.to_str()?;
            verbs.get_subcommands().find(|verb| verb.get_name() == word)
        });
        named
            .next()
            .is_some_and(|verb| matches!(verb.get_name(), "record" | "replay"))
    }
}

impl Command {
    fn lacks_a_command(&self) -> bool {
        match self {
            Self::Record(args) => args.command.is_empty(),
            Self::Replay(args) => args.command.is_empty(),
            _ => false,
        }
    }
}

/// Who writes `record go mod tidy` is told what is missing.
fn hint(mut error: Error, words: &[OsString]) -> Error {
    let unknown = error.kind() == ErrorKind::UnknownArgument;
    if !unknown || !Cli::wraps(words) || words.iter().any(|word| word == "--") {
        return error;
    }
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) if !argument.starts_with('-') => argument.clone(),
        _ => return error,
    };
    let tip = format!("the command stands after two dashes: `-- {argument} …`");
    let tips = ContextValue::StyledStrs(vec![tip.into()]);
    error.insert(ContextKind::Suggested, tips);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn only_record_and_replay_wrap() {
        for (line, wraps) in [
            ("modtape record --cld", true),
            ("modtape -q replay x --strct -- true", true),
            ("modtape ls record --x", false),
            ("modtape recrod -- modtape record", false),
            ("modtape", false),
        ] {
            assert_eq!(Cli::wraps(&words(line)), wraps, "{line}");
        }
    }

    #[test]
    fn a_command_without_its_dashes_is_told_so() {
        let error = Cli::of(&words("modtape record go mod tidy")).unwrap_err();
        assert!(error.to_string().contains("`-- go …`"), "{error}");
        let error = Cli::of(&words("modtape record --cld")).unwrap_err();
        assert!(error.to_string().contains("--cold"), "{error}");
    }

    #[test]
    fn dashes_without_a_command_are_a_mistake() {
        for line in ["modtape record --", "modtape replay x --"] {
            let error = Cli::of(&words(line)).unwrap_err();
            assert!(error.to_string().contains("no command after --"), "{error}");
        }
        assert!(Cli::of(&words("modtape record -- echo --")).is_ok());
    }
}
