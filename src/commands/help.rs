//! `modtape help`: the help of a command, or a page on what all commands share.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Command, CommandFactory as _};

use super::advice::Advise as _;
use super::terminal::{Look, to_stdout};
use super::{Failure, USAGE};
use crate::cli::{Cli, Global, HelpArgs};

/// The pages, by name.
const TOPICS: [(&str, &str); 3] = [
    ("filter", include_str!("help/filter.txt")),
    ("exit-codes", include_str!("help/exit-codes.txt")),
    ("environment", include_str!("help/environment.txt")),
];

/// Prints a page.
pub(super) fn run(args: &HelpArgs, global: &Global) -> Result<ExitCode, Failure> {
    let look = Look::of_stdout(global);
    let text = match &args.about[..] {
        [topic] if page(topic).is_some() => page(topic).unwrap_or_default().to_owned(),
        words => {
            let mut all = Cli::command();
            all.build();
            let help = named(&mut all, words)?.render_long_help();
            match look.colour {
                true => help.ansi().to_string(),
                false => help.to_string(),
            }
        }
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(ExitCode::SUCCESS)
}

fn page(topic: &str) -> Option<&'static str> {
    let mut topics = TOPICS.iter();
    topics
        .find(|(name, _)| *name == topic)
        .map(|(_, text)| *text)
}

/// The command that these words name, one below the other.
fn named<'a>(all: &'a mut Command, words: &[String]) -> Result<&'a mut Command, Failure> {
    let mut command = all;
    for word in words {
        let Some(next) = command.find_subcommand_mut(word) else {
            let topics = TOPICS.map(|(name, _)| name).join(", ");
            let told = anyhow!("there is no help on {}", words.join(" "));
            let help = format!("topics are {topics}; `modtape --help` lists the commands");
            let told = Err(told).help(help);
            return told.map_err(|error| Failure::new(USAGE, error));
        };
        command = next;
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::gomod::Kind;

    #[test]
    fn the_filters_of_the_page_are_filters_and_every_kind_is_named() {
        let page = page("filter").unwrap();
        let examples = page.lines().filter_map(|line| line.strip_prefix("  -f '"));
        let examples: Vec<_> = examples
            .filter_map(|line| line.split_once('\''))
            .map(|(filter, _)| filter)
            .collect();
        assert!(examples.len() > 10, "{page}");
        for example in examples {
            assert!(example.parse::<Filter>().is_ok(), "{example}");
        }
        for kind in Kind::ALL {
            assert!(page.contains(kind.name()), "{kind}");
        }
    }

    #[test]
    fn pages_fit_a_terminal() {
        for (name, text) in TOPICS {
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(80), "{name}");
            assert!(text.ends_with('\n') && text.is_ascii(), "{name}");
        }
    }
}
