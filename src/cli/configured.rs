//! A command line whose missing flags are taken from a file, which the flags themselves judge.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory as _};

use super::Cli;

/// Flags that make no sense in a file.
const NEVER: [&str; 3] = ["config", "help", "version"];

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing: it is there or not.
    Nothing,
    /// Nothing, and more often is more.
    Count,
    /// One value.
    One,
    /// A value each time that it is given.
    Many,
}

/// A flag that a file sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Its name without dashes.
    pub(crate) name: String,
    /// Its values in turn; each `None` is the flag alone.
    pub(crate) values: Vec<Option<String>>,
}

/// A command line with the settings of a file.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) cli: Cli,
    /// The values of each flag by its name, as they were given or are by default.
    pub(crate) values: BTreeMap<String, Vec<OsString>>,
}

impl Setting {
    fn words(&self) -> impl Iterator<Item = OsString> {
        let name = &self.name;
        self.values.iter().map(move |value| match value {
            Some(value) => format!("--{name}={value}").into(),
            None => format!("--{name}").into(),
        })
    }
}

impl Cli {
    /// The flags that a file may set for this verb, and what each takes.
    pub(crate) fn flags_of(verb: &str) -> Vec<(String, Takes)> {
        let verb = built(verb);
        let named = verb.get_arguments().filter_map(|argument| {
            let name = argument.get_long().filter(|name| !NEVER.contains(name))?;
            let takes = match argument.get_action() {
                ArgAction::SetTrue | ArgAction::SetFalse => Takes::Nothing,
                ArgAction::Count => Takes::Count,
                ArgAction::Append => Takes::Many,
                _ => Takes::One,
            };
            Some((name.to_owned(), takes))
        });
        named.collect()
    }

    /// Whether the verb's flag takes these values, whatever else is given.
    pub(crate) fn check(verb: &str, setting: &Setting) -> Result<(), Error> {
        let words = [OsString::from("modtape"), verb.into()];
        let words = words.into_iter().chain(setting.words());
        match Self::command().try_get_matches_from(words) {
            // It needs another flag, which may be there.
            Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => Ok(()),
            other => other.map(drop),
        }
    }

    /// Parses the words of a command line once more, with settings in place of the flags that are neither among
    /// them nor in a variable. A setting that excludes a flag of the command line is left out.
    pub(crate) fn configured(
        words: &[OsString],
        settings: &[Setting],
    ) -> Result<Configured, Error> {
        let before = Self::command().try_get_matches_from(words)?;
        let (name, given) = before.subcommand().unwrap_or(("", &before));
        let verb = built(name);
        let is_given = |argument: &Arg| is_given(given, argument);
        let wanted = settings.iter().filter(|setting| {
            let mut arguments = verb.get_arguments();
            let Some(own) = arguments.find(|one| one.get_long() == Some(&setting.name)) else {
                return true;
            };
            let excludes = |other: &Arg| {
                let of = |one, two: &Arg| {
                    let conflicts = verb.get_arg_conflicts_with(one);
                    conflicts.iter().any(|other| other.get_id() == two.get_id())
                };
                of(own, other) || of(other, own)
            };
            let mut arguments = verb.get_arguments();
            !is_given(own) && !arguments.any(|other| is_given(other) && excludes(other))
        });
        let end = words.iter().position(|word| word == "--");
        let (own, command) = words.split_at(end.unwrap_or(words.len()));
        let mut all = own.to_vec();
        all.extend(wanted.flat_map(Setting::words));
        all.extend_from_slice(command);
        let cli = Self::of(&all)?;
        let after = Self::command().try_get_matches_from(&all)?;
        let (_, after) = after.subcommand().unwrap_or(("", &after));
        let values = verb.get_arguments().filter_map(|argument| {
            let name = argument.get_long().filter(|name| !NEVER.contains(name))?;
            let id = argument.get_id().as_str();
            let raw = after.try_get_raw(id).ok().flatten();
            let values = raw.into_iter().flatten().map(OsString::from).collect();
            Some((name.to_owned(), values))
        });
        let values = values.collect();
        Ok(Configured { cli, values })
    }
}

/// The flags that an error names, without dashes, the first first.
pub(crate) fn flags_in(error: &Error) -> Vec<String> {
    let named = [ContextKind::InvalidArg, ContextKind::PriorArg].map(|kind| error.get(kind));
    let texts = named.into_iter().flatten().flat_map(|value| match value {
        ContextValue::String(text) => vec![text.clone()],
        ContextValue::Strings(texts) => texts.clone(),
        _ => Vec::new(),
    });
    let flags = texts.filter_map(|text| {
        let name = text.strip_prefix("--")?;
        let end = name.find([' ', '=', '[']).unwrap_or(name.len());
        Some(name[..end].to_owned())
    });
    flags.collect()
}

/// An error without what a terminal shows beside it: one line, without `error: `.
pub(crate) fn in_one_line(error: &Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let first = text.split("\n\n").next().unwrap_or_default();
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The verb, with the flags of every verb among its own.
fn built(verb: &str) -> clap::Command {
    let mut all = Cli::command();
    all.build();
    all.find_subcommand(verb).cloned().unwrap_or(all)
}

/// Whether a flag is on the command line or in a variable; an empty variable counts as not set.
fn is_given(words: &ArgMatches, argument: &Arg) -> bool {
    let id = argument.get_id().as_str();
    let has_id = words.try_contains_id(id).is_ok();
    match has_id.then(|| words.value_source(id)).flatten() {
        Some(ValueSource::CommandLine) => true,
        Some(ValueSource::EnvVariable) => {
            let mut raw = words.get_raw(id).into_iter().flatten();
            raw.any(|value| !value.is_empty())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn setting(name: &str, values: &[&str]) -> Setting {
        Setting {
            name: name.to_owned(),
            values: values
                .iter()
                .map(|value| Some((*value).to_owned()))
                .collect(),
        }
    }

    fn flag(name: &str) -> Setting {
        Setting {
            name: name.to_owned(),
            values: vec![None],
        }
    }

    #[test]
    fn what_the_command_line_has_wins_and_what_it_excludes_is_left_out() {
        let settings = [
            setting("memory", &["1MB"]),
            setting("resolve", &["a:1:127.0.0.1", "b:1:127.0.0.1"]),
            flag("offline"),
            flag("no-ahead"),
        ];
        let line = "modtape serve --memory 2MB --upstream https://a.example -- go --memory";
        let all = Cli::configured(&words(line), &settings).unwrap();
        let Command::Serve(args) = all.cli.command else {
            panic!("not serve")
        };
        assert_eq!(
            (args.memory, args.offline, args.no_ahead),
            (2_000_000, false, true)
        );
        assert_eq!(args.dial.resolve, ["a:1:127.0.0.1", "b:1:127.0.0.1"]);
        assert_eq!(args.command, ["go", "--memory"]);
        assert_eq!(all.values["memory"], ["2MB"]);
        assert_eq!(all.values["disk-max"], ["20GB"]);
        // A list on the command line stands for that of the file.
        let line = "modtape serve --resolve c:1:127.0.0.1";
        let all = Cli::configured(&words(line), &settings).unwrap();
        assert_eq!(all.values["resolve"], ["c:1:127.0.0.1"]);
    }

    #[test]
    fn each_flag_is_judged_alone_and_then_all_together() {
        let error = Cli::check("serve", &setting("listen", &["here"])).unwrap_err();
        assert_eq!(flags_in(&error), ["listen"]);
        let told = "invalid value 'here' for '--listen <ADDR[:PORT]>': expected an IP address, such as 127.0.0.1, \
                    127.0.0.1:4040 or [::1]:4040";
        assert_eq!(in_one_line(&error), told);
        assert!(Cli::check("serve", &setting("listen", &["127.0.0.1"])).is_ok());
        let both = [flag("offline"), setting("upstream", &["https://a.example"])];
        let error = Cli::configured(&words("modtape serve"), &both).unwrap_err();
        assert_eq!(flags_in(&error)[0], "offline", "{error}");
        let alone = [setting("log-format", &["json"])];
        assert!(Cli::configured(&words("modtape serve"), &alone).is_err());
    }

    #[test]
    fn every_flag_but_three_can_be_set() {
        let flags = Cli::flags_of("serve");
        for (name, takes) in [
            ("listen", Takes::One),
            ("resolve", Takes::Many),
            ("offline", Takes::Nothing),
            ("verbose", Takes::Count),
            ("log-file", Takes::One),
        ] {
            assert!(
                flags.contains(&(name.to_owned(), takes)),
                "{name}: {flags:?}"
            );
        }
        for name in NEVER {
            assert!(flags.iter().all(|(flag, _)| flag != name), "{name}");
        }
    }
}
