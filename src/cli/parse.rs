//! From the words of a command line to a [`Cli`], and what a wrong one is told.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::{Cli, Command};

impl Cli {
    /// Parses all words, the program's name included.
    pub fn of(words: &[OsString]) -> Result<Self, Error> {
        let parsed = Self::command().try_get_matches_from(words);
        let matches = parsed.map_err(|error| hint(error, words))?;
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.note_given(&matches);
        check(&matches)?;
        // Left out by mistake, a command is missing: it would be waited for until Ctrl-C.
        if words.last().is_some_and(|last| last == "--") && cli.command.lacks_a_command() {
            let told = "there is no command after --; without a command, leave -- out";
            return Err(Self::command().error(ErrorKind::MissingRequiredArgument, told));
        }
        Ok(cli)
    }

    /// Notes which flags are on the command line rather than in a variable.
    fn note_given(&mut self, matches: &ArgMatches) {
        let Some((_, words)) = matches.subcommand() else {
            return;
        };
        self.global.recordings_is_given = is_given(words, "recordings");
        if let Command::Record(args) = &mut self.command {
            args.run.token_is_given = is_given(words, "token");
        }
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

/// A flag that is void under a condition.
struct Void {
    /// The verbs that have it.
    verbs: &'static [&'static str],
    /// Its name as clap has it.
    flag: &'static str,
    /// When.
    when: fn(&ArgMatches) -> bool,
    /// Why, as a sentence that begins with the flag.
    why: &'static str,
}

const VOID: [Void; 15] = [
    Void {
        verbs: &["record", "import"],
        flag: "force",
        when: |words| !is_given(words, "output"),
        why: "replaces the recording that -o NAME names, and there is no -o",
    },
    Void {
        verbs: &["record"],
        flag: "har_bodies",
        when: |words| words.get_flag("no_har"),
        why: "is void beside --no-har, which writes no HAR",
    },
    Void {
        verbs: &["record"],
        flag: "har_bodies",
        when: |words| is(words, "bodies", "none") && !is(words, "har_bodies", "none"),
        why: "shows bodies, and --bodies none keeps none",
    },
    Void {
        verbs: &["record"],
        flag: "har",
        when: |words| is(words, "har", "-"),
        why: "cannot write to stdout, which is the command's: name a file",
    },
    Void {
        verbs: &["record"],
        flag: "pcap_bodies",
        when: |words| is(words, "pcap", "none"),
        why: "is void beside --pcap none, which writes no capture",
    },
    Void {
        verbs: &["record"],
        flag: "pcap_bodies",
        when: |words| is(words, "bodies", "none") && !is(words, "pcap_bodies", "none"),
        why: "shows bodies, and --bodies none keeps none",
    },
    Void {
        verbs: &["record"],
        flag: "tunnel",
        when: |words| {
            values(words, "tunnel").any(|host| {
                values(words, "intercept").any(|other| other.eq_ignore_ascii_case(host))
            })
        },
        why: "names a host that --intercept names too",
    },
    Void {
        verbs: &["replay"],
        flag: "warm",
        when: |words| !is_given(words, "command"),
        why: "is about a command's module cache, and there is no command",
    },
    Void {
        verbs: &["replay"],
        flag: "keep_env",
        when: |words| !is_given(words, "command"),
        why: "is about a command's settings, and there is no command",
    },
    Void {
        verbs: &["export"],
        flag: "har_bodies",
        when: |words| !is(words, "format", "har"),
        why: "is for the format har",
    },
    Void {
        verbs: &["export"],
        flag: "pcap_bodies",
        when: |words| !is(words, "format", "pcapng"),
        why: "is for the format pcapng",
    },
    Void {
        verbs: &["export"],
        flag: "filter",
        when: |words| is(words, "format", "goproxy"),
        why: "is not for the format goproxy: a tree holds all that a recording has of a module",
    },
    Void {
        verbs: &["env"],
        flag: "recording",
        when: |words| words.get_flag("unset"),
        why: "is void beside --unset, which takes back what this shell has",
    },
    Void {
        verbs: &[],
        flag: "log_format",
        when: |words| !is_given(words, "log_file") && words.get_count("verbose") == 0,
        why: "is about log lines, and there are none: add -v or --log-file FILE",
    },
    Void {
        verbs: &[],
        flag: "log_file",
        when: |words| is(words, "log_file", "-"),
        why: "takes a file: -v logs to stderr",
    },
];

/// Refuses a command line that has a void flag.
fn check(matches: &ArgMatches) -> Result<(), Error> {
    let Some((verb, words)) = matches.subcommand() else {
        return Ok(());
    };
    let is_about = |rule: &&Void| rule.verbs.is_empty() || rule.verbs.contains(&verb);
    let is_void = |rule: &&Void| is_given(words, rule.flag) && (rule.when)(words);
    match VOID.iter().filter(is_about).find(is_void) {
        None => Ok(()),
        Some(rule) => {
            let told = format!("--{} {}", rule.flag.replace('_', "-"), rule.why);
            let mut all = Cli::command();
            all.build();
            let told_by = all
                .find_subcommand_mut(verb)
                .map(|verb| verb.error(ErrorKind::ArgumentConflict, &told));
            Err(told_by.unwrap_or_else(|| Cli::command().error(ErrorKind::ArgumentConflict, told)))
        }
    }
}

/// Whether it stands on the command line; a variable does not count.
fn is_given(words: &ArgMatches, flag: &str) -> bool {
    words.value_source(flag) == Some(ValueSource::CommandLine)
}

fn is(words: &ArgMatches, flag: &str, value: &str) -> bool {
    values(words, flag).any(|one| one == value)
}

fn values<'a>(words: &'a ArgMatches, flag: &str) -> impl Iterator<Item = &'a OsStr> {
    words.get_raw(flag).into_iter().flatten()
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
