//! From the words of a command line to a [`Cli`], and what a wrong one is told.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};

use super::{Cli, Command, void};

impl Cli {
    /// Parses all words, the program's name included.
    pub fn of(words: &[OsString]) -> Result<Self, Error> {
        let parsed = Self::command().try_get_matches_from(words);
        let matches = parsed.map_err(|error| hint(error, words))?;
        let cli = Self::from_arg_matches(&matches)?;
        void::check(&matches)?;
        // Left out by mistake, a command is missing: it would be waited for until Ctrl-C.
        if words.last().is_some_and(|last| last == "--") && cli.command.lacks_a_command() {
            let told = "there is no command after --; without a command, leave -- out";
            return Err(Self::command().error(ErrorKind::MissingRequiredArgument, told));
        }
        Ok(cli)
    }

    /// True if these words name a verb that wraps a command: its exit codes are not ours to use.
    pub(crate) fn wraps(words: &[OsString]) -> bool {
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

/// Who writes `record go mod tidy` or `record --har a.har` is told what is missing.
fn hint(mut error: Error, words: &[OsString]) -> Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) if !argument.starts_with('-') => argument.clone(),
        _ => return error,
    };
    let has_dashes = words.iter().any(|word| word == "--");
    let tip = match flag_of(&argument, words) {
        Some(flag) => format!("its value stands after an equals sign: `{flag}={argument}`"),
        None if Cli::wraps(words) && !has_dashes => {
            format!("the command stands after two dashes: `-- {argument} …`")
        }
        None => return error,
    };
    let tips = ContextValue::StyledStrs(vec![tip.into()]);
    error.insert(ContextKind::Suggested, tips);
    error
}

/// The flag before `argument` that takes a value only after an equals sign, since it needs none.
fn flag_of(argument: &str, words: &[OsString]) -> Option<String> {
    let own: Vec<&str> = words
        .iter()
        .take_while(|word| *word != "--")
        .filter_map(|word| word.to_str())
        .collect();
    let pairs = own.windows(2).filter(|pair| pair[1] == argument);
    let mut flags = pairs.filter_map(|pair| pair[0].strip_prefix("--"));
    let verbs = Cli::command();
    let mut optional = verbs
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .filter(|flag| flag.is_require_equals_set());
    let flag = flags.next()?;
    optional
        .find_map(|known| known.get_long().filter(|long| *long == flag))
        .map(|long| format!("--{long}"))
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
    fn a_value_without_its_equals_sign_is_told_so() {
        let verbs = Cli::command();
        let flags = verbs.get_subcommands().flat_map(|verb| {
            let flags = verb
                .get_arguments()
                .filter(|flag| flag.is_require_equals_set());
            flags.map(|flag| (verb.get_name(), flag.get_long().unwrap()))
        });
        let flags: Vec<_> = flags.collect();
        assert_eq!(flags, [("record", "har")]);
        for (verb, flag) in flags {
            for rest in ["", " -- go build", " go build"] {
                let line = format!("modtape {verb} --{flag} a.x{rest}");
                let error = Cli::of(&words(&line)).unwrap_err().to_string();
                assert!(
                    error.contains(&format!("`--{flag}=a.x`")),
                    "{line}: {error}"
                );
            }
        }
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
