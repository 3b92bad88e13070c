//! `modtape help`, `man` and `version`: what modtape prints about itself.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use serde::Serialize;

use super::failure::{Advise as _, Failure, USAGE};
use super::output_file::write_file;
use super::selection::most_like;
use crate::cli::{Cli, Global, HelpArgs, ManArgs, VersionArgs};
use crate::diagnose::rules::{RULES, Rule};
use crate::recording::format::FORMAT_VERSION;
use crate::terminal::words::count;
use crate::terminal::{Look, json, plain, say, to_stdout};

/// The pages, by name.
const TOPICS: [(&str, &str); 3] = [
    ("filter", include_str!("help/filter.txt")),
    ("exit-codes", include_str!("help/exit-codes.txt")),
    ("environment", include_str!("help/environment.txt")),
];

/// Prints a page.
pub(crate) fn help(args: &HelpArgs, global: &Global) -> Result<ExitCode, Failure> {
    let look = Look::of_stdout(global);
    let text = match &args.about[..] {
        [topic] if topic == FINDINGS => findings(),
        [topic] if page(topic).is_some() => page(topic).unwrap_or_default().to_owned(),
        [code] if rule(code).is_some() => rule(code).map(rule_page).unwrap_or_default(),
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

/// The topic that lists the codes of findings.
const FINDINGS: &str = "findings";

/// The rule that has this code: `MT106`, `mt106`, `106`, and `[MT106]` as findings have it.
fn rule(code: &str) -> Option<&'static Rule> {
    let digits = digits_of(code)?;
    let mut rules = RULES.iter();
    rules.find(|rule| digits_of(rule.code) == Some(digits))
}

/// The digits of what is written as a code, whole or not.
fn digits_of(code: &str) -> Option<&str> {
    let code = code.trim_start_matches('[').trim_end_matches(']');
    let digits = match code.get(..2) {
        Some(letters) if letters.eq_ignore_ascii_case("mt") => &code[2..],
        _ => code,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(digits)
}

/// How many codes are suggested.
const SUGGESTED: usize = 5;

/// The rules for which `is_meant` says so, as a question.
fn suggested(is_meant: impl Fn(&Rule) -> bool) -> Option<String> {
    let mut rules: Vec<&Rule> = RULES.iter().filter(|rule| is_meant(rule)).collect();
    rules.sort_by_key(|rule| rule.code);
    let found = rules.iter().take(SUGGESTED);
    let found = found.map(|rule| format!("{} ({})", rule.code, rule.name));
    let found: Vec<String> = found.collect();
    (!found.is_empty()).then(|| format!("did you mean {}?", found.join(", ")))
}

/// The codes that could have been meant by one that there is not: those that begin so, or differ in
/// one digit.
pub(super) fn similar_codes(code: &str) -> Option<String> {
    let digits = digits_of(code)?;
    suggested(|rule| rule.code[2..].starts_with(digits))
        .or_else(|| suggested(|rule| strsim::levenshtein(&rule.code[2..], digits) == 1))
}

/// What could have been meant in place of a word that names nothing: codes, or a topic or command.
fn meant(word: &str, all: &Command) -> Option<String> {
    if digits_of(word).is_some() {
        return similar_codes(word);
    }
    let commands = all
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let names = commands.map(|command| command.get_name().to_owned());
    let names = names.chain(topics().map(str::to_owned));
    let near = most_like(&word.to_lowercase(), names);
    let near = near.map(|name| format!("did you mean `modtape help {name}`?"));
    let word = word.to_lowercase();
    near.or_else(|| suggested(|rule| rule.name.to_lowercase().contains(&word)))
        .filter(|_| !word.is_empty())
}

fn rule_page(rule: &Rule) -> String {
    let Rule {
        code, name, page, ..
    } = rule;
    format!("{code}: {name}\n\n{page}")
}

/// A line for each rule.
fn findings() -> String {
    let mut rules: Vec<&Rule> = RULES.iter().collect();
    rules.sort_by_key(|rule| rule.code);
    let lines = rules
        .iter()
        .map(|rule| format!("  {}  {}\n", rule.code, rule.name));
    let lines: String = lines.collect();
    format!("What `modtape report` finds; `modtape help CODE` explains one.\n\n{lines}")
}

/// The topics that have a page.
pub(super) fn topics() -> impl Iterator<Item = &'static str> {
    let topics = TOPICS.iter().map(|(name, _)| *name);
    topics.chain([FINDINGS])
}

fn page(topic: &str) -> Option<&'static str> {
    let mut topics = TOPICS.iter();
    topics
        .find(|(name, _)| *name == topic)
        .map(|(_, text)| *text)
}

/// The command that these words name, each a subcommand of the one before.
fn named<'a>(all: &'a mut Command, words: &[String]) -> Result<&'a mut Command, Failure> {
    let unknown = words.iter().try_fold(&*all, |command, word| {
        command.find_subcommand(word).ok_or(word)
    });
    if let Err(word) = unknown {
        let topics: Vec<&str> = topics().collect();
        let topics = format!(
            "topics are {}, and codes such as MT106; `modtape --help` lists the commands",
            topics.join(", ")
        );
        let is_code = digits_of(word).is_some();
        let message = match is_code {
            true => anyhow!("there is no finding with the code {}", plain(word)),
            false => anyhow!("there is no help on {}", plain(&words.join(" "))),
        };
        let help = match (meant(word, all), is_code) {
            (Some(meant), _) => meant,
            (None, true) => format!("`modtape help {FINDINGS}` lists the codes"),
            (None, false) => topics,
        };
        return Err(message)
            .help(help)
            .map_err(|error| Failure::new(USAGE, error));
    }
    let mut command = all;
    for word in words {
        command = command
            .find_subcommand_mut(word)
            .context("a command that was found is gone")?;
    }
    Ok(command)
}

/// Prints modtape(1), or writes a page for each command.
pub(crate) fn man(args: &ManArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let pages = man_pages()?;
    let Some(dir) = &args.dir else {
        to_stdout(|out| Ok(out.write_all(&pages[0].text)?))?;
        return Ok(ExitCode::SUCCESS);
    };
    write_pages(&pages, dir)?;
    let dir = dir.display().to_string();
    let pages = count(pages.len() as u64, "page");
    say(global, format!("{pages} written to {}", plain(&dir)));
    Ok(ExitCode::SUCCESS)
}

struct Page {
    /// `modtape-record.1`
    file: String,
    text: Vec<u8>,
}

/// A page for each command; that of modtape itself first.
fn man_pages() -> anyhow::Result<Vec<Page>> {
    let mut modtape = Cli::command().disable_help_subcommand(true);
    modtape.build();
    let mut pages = Vec::new();
    let mut pending = vec![modtape];
    while let Some(command) = pending.pop() {
        let visible = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        pending.extend(visible.cloned());
        let page = Man::new(command);
        let (file, mut text) = (page.get_filename(), Vec::new());
        page.render(&mut text)?;
        pages.push(Page { file, text });
    }
    Ok(pages)
}

fn write_pages(pages: &[Page], dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for page in pages {
        write_file(
            &dir.join(&page.file),
            |file| Ok(file.write_all(&page.text)?),
        )?;
    }
    Ok(())
}

/// What `version --json` shows.
#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
    recording_format: u32,
    os: &'static str,
    arch: &'static str,
}

/// Prints the version.
pub(crate) fn version(args: &VersionArgs) -> anyhow::Result<ExitCode> {
    let version = Version {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        recording_format: FORMAT_VERSION,
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
    };
    let text = match args.json {
        true => json::line(&version)?,
        false => format!("{} {}\n", version.name, version.version),
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(ExitCode::SUCCESS)
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

    #[test]
    fn every_rule_has_a_page_that_fits_a_terminal() {
        for rule in RULES {
            let page = rule_page(rule);
            let widest = page.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(80), "{}", rule.code);
            assert!(page.ends_with('\n') && page.is_ascii(), "{}", rule.code);
            assert!(page.lines().count() > 7, "{}", rule.code);
            assert_eq!(
                RULES.iter().filter(|other| other.code == rule.code).count(),
                1
            );
        }
        assert_eq!(findings().lines().count(), RULES.len() + 2);
    }

    #[test]
    fn a_code_is_found_however_it_is_written_and_what_is_near_is_suggested() {
        for code in ["MT106", "mt106", "106", "[MT106]"] {
            assert_eq!(rule(code).map(|rule| rule.code), Some("MT106"), "{code}");
        }
        for code in ["", "MT", "1", "MT1066", "MT10x", "\u{661}06", "m\u{e9}106"] {
            assert!(rule(code).is_none(), "{code}");
        }
        let mut all = Cli::command();
        all.build();
        let told = |word: &str| meant(word, &all).unwrap_or_default();
        let begins = told("mt11");
        assert!(begins.starts_with("did you mean MT110 ("), "{begins}");
        assert!(
            begins.contains("MT111 (") && !begins.contains("MT101"),
            "{begins}"
        );
        assert!(told("MT107x").is_empty());
        assert!(told("MT1O1").is_empty());
        assert!(told("401").contains("MT101 ("), "{}", told("401"));
        assert_eq!(told("999"), "");
        assert_eq!(told("reprot"), "did you mean `modtape help report`?");
        assert_eq!(told("Findngs"), "did you mean `modtape help findings`?");
        assert!(
            told("certificate").contains("MT104 ("),
            "{}",
            told("certificate")
        );
        assert_eq!(told("cheese"), "");
        assert_eq!(told(""), "");
    }

    #[test]
    fn every_command_has_a_page_of_its_own() {
        let pages = man_pages().unwrap();
        assert_eq!(pages[0].file, "modtape.1");
        let mut files: Vec<_> = pages.iter().map(|page| page.file.as_str()).collect();
        for file in [
            "modtape-record.1",
            "modtape-recordings-info.1",
            "modtape-ls.1",
        ] {
            assert!(files.contains(&file), "{file}: {files:?}");
        }
        files.sort_unstable();
        files.dedup();
        assert_eq!(files.len(), pages.len());
        for page in &pages {
            assert!(page.text.starts_with(b".ie"), "{}", page.file);
        }
    }
}
